//! The Clebsch-Gordan step of a block as one op: tensor product of a steerable tensor with
//! itself, signal norm, linear map.
//!
//! With `h` the (batch-normalised) input, per sample and output degree `l3`:
//! ```text
//! t_l3[p, c, m3] = sum_{m1 m2} C(l1 l2 l3)[m1, m2, m3] h_l1[c, m1] h_l2[c, m2]   for pairs p = (l1, l2)
//! n              = sqrt( sum_l3 sum_{p c m3} t_l3[p, c, m3]^2 / (2 l3 + 1) + 1e-8 )
//! out_l3[j, m3]  = sum_{p c} W_l3[p c, j] (w_l3 t_l3[p, c, m3] / n + b [l3 = 0])
//! ```
//! The product is channel-wise. Its result is 10 to 20 times larger than input and output, so
//! it only ever exists for sixteen samples at a time in a core's cache: the norm's scale is
//! applied after the linear map, and the backward pass computes the product again. Pairs whose
//! product is identically zero (`(l, l)` to odd `l3`) cost nothing; their weights stay.

#[cfg(feature = "cuda")]
mod cuda;

mod kernel;
mod layout;
mod plan;
mod product;

pub use plan::Plan;

use super::cpu::{Real, dtype, output, slice, view};
use crate::with_real;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use std::sync::Arc;

/// Added to the squared norm of a signal before its root.
pub const NORM_EPS: f64 = 1e-8;

/// Samples in a block, one vector lane each.
const LANES: usize = 16;
type Lanes<T> = [T; LANES];

/// Applies the step to `h` `[batch, plan.input.dim()]`. `weights` are flat (`W_l3` row-major
/// `[pairs x channels, out channels]`, `l3` ascending); `norm` is `[w_0, .., w_L, b]`.
/// Returns `[batch, plan.output.dim()]`.
pub fn cg(h: &Tensor, weights: &Tensor, norm: &Tensor, plan: &Arc<Plan>) -> Result<Tensor> {
    h.contiguous()?
        .apply_op3(weights, norm, Cg { plan: plan.clone() })
}

struct Cg {
    plan: Arc<Plan>,
}

impl CustomOp3 for Cg {
    fn name(&self) -> &'static str {
        "clebsch-gordan"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let batch = l1.dims()[0];
        with_real!(dtype(s1), T => {
            let out = kernel::forward::<T>(&self.plan, slice(s1, l1)?, slice(s2, l2)?, slice(s3, l3)?);
            Ok(output(out, (batch, self.plan.output.dim())))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        s1: &candle_core::CudaStorage,
        l1: &Layout,
        s2: &candle_core::CudaStorage,
        l2: &Layout,
        s3: &candle_core::CudaStorage,
        l3: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        self.cuda_forward([(s1, l1), (s2, l2), (s3, l3)])
    }

    fn bwd(
        &self,
        h: &Tensor,
        weights: &Tensor,
        norm: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        #[cfg(feature = "cuda")]
        if grad.device().is_cuda() {
            let [gh, gweights, gnorm] = self.cuda_backward(&[h, weights, norm, out, &grad])?;
            return Ok((Some(gh), Some(gweights), Some(gnorm)));
        }
        with_real!(grad.dtype(), T => {
            let saved = kernel::Saved::<T> {
                h: &view(h)?,
                weights: &view(weights)?,
                norm: &view(norm)?,
                out: &view(out)?,
                grad: &view(&grad)?,
            };
            let g = kernel::backward(&self.plan, &saved);
            Ok((
                Some(to_tensor(g.h, h)?),
                Some(to_tensor(g.weights, weights)?),
                Some(to_tensor(g.norm, norm)?),
            ))
        })
    }
}

fn to_tensor<T: Real>(data: Vec<T>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(data, like.shape(), like.device())
}
