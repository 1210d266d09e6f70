//! A Clebsch-Gordan block as one op: batch norm, tensor product of a steerable tensor with
//! itself, signal norm, linear map, skip connection (the norm and the skip where the plan has
//! them).
//!
//! With `h` the batch-normalised input, per sample and output degree `l3`:
//! ```text
//! t_l3[p, c, m3] = sum_{m1 m2} C(l1 l2 l3)[m1, m2, m3] h_l1[c, m1] h_l2[c, m2]   for pairs p = (l1, l2)
//! n              = sqrt( sum_l3 sum_{p c m3} t_l3[p, c, m3]^2 / (2 l3 + 1) + 1e-8 )
//! out_l3[j, m3]  = sum_{p c} W_l3[p c, j] (w_l3 t_l3[p, c, m3] / n + b [l3 = 0]) + x_l3[j, m3]
//! ```
//! The product is channel-wise. Its result is 10 to 20 times larger than input and output, so
//! it only ever exists for sixteen samples and a few pairs at a time in a core's cache: the
//! norm's scale is applied after the linear map, and the backward pass computes the product
//! again. Pairs whose product is identically zero (`(l, l)` to odd `l3`) cost nothing; their
//! weights stay.

mod backward;
#[cfg(feature = "cuda")]
mod cuda;
mod forward;
mod plan;
mod product;

pub(in crate::ops) use plan::Coefficient;
pub use plan::Plan;

use super::batch_norm::{BatchNorm, Map};
use super::cpu::{Real, dtype, output, slice, view};
use crate::with_real;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use std::sync::{Arc, OnceLock};

/// Added to the squared norm of a signal before its root.
pub const NORM_EPS: f64 = 1e-8;

/// Applies the step to `x` `[batch, plan.input.dim()]`; `parameters` are flat
/// ([`Plan::parameter_len`]). `norm` is there exactly if the plan has a batch norm. Returns
/// `[batch, plan.output.dim()]`.
pub fn cg(
    x: &Tensor,
    parameters: &Tensor,
    plan: &Arc<Plan>,
    norm: Option<BatchNorm>,
) -> Result<Tensor> {
    if norm.is_some() != plan.batch_norm.is_some() {
        bail!("statistics must be given exactly if the plan has a batch norm");
    }
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return cuda::cg(x, parameters, plan, norm);
    }
    let op = Cg {
        plan: plan.clone(),
        norm,
        inverses: OnceLock::new(),
    };
    x.contiguous()?.apply_op2(parameters, op)
}

struct Cg {
    plan: Arc<Plan>,
    norm: Option<BatchNorm>,
    /// `1 / n` of every sample, kept for the backward pass (f64 holds an f32 exactly).
    inverses: OnceLock<Vec<f64>>,
}

impl Cg {
    /// What the batch norm does to every feature, if there is one.
    fn map<T: Real>(&self, parameters: &[T]) -> Result<Option<Map<T>>> {
        let p = self.plan.split(parameters);
        self.norm
            .as_ref()
            .map(|norm| norm.map(p.gain, p.shift))
            .transpose()
    }
}

impl CustomOp2 for Cg {
    fn name(&self) -> &'static str {
        "clebsch-gordan"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let batch = l1.dims()[0];
        with_real!(dtype(s1), T => {
            let (x, parameters) = (slice::<T>(s1, l1)?, slice::<T>(s2, l2)?);
            let map = self.map(parameters)?;
            let (out, inverses) = forward::forward(&self.plan, map.as_ref(), x, parameters);
            self.inverses.get_or_init(|| inverses);
            Ok(output(out, (batch, self.plan.output.dim())))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        parameters: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let Some(inverses) = self.inverses.get() else {
            bail!("the backward pass of a Clebsch-Gordan step came before the forward pass");
        };
        with_real!(grad.dtype(), T => {
            let parameters_view = view::<T>(parameters)?;
            let map = self.map(&parameters_view)?;
            let saved = backward::Saved::<T> {
                norm: self.norm.as_ref().zip(map.as_ref()),
                x: &view(x)?,
                parameters: &parameters_view,
                inverses,
                out: &view(out)?,
                grad: &view(&grad)?,
            };
            let (gx, gradient) = backward::backward(&self.plan, &saved);
            Ok((Some(to_tensor(gx, x)?), Some(to_tensor(gradient, parameters)?)))
        })
    }
}

fn to_tensor<T: Real>(data: Vec<T>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(data, like.shape(), like.device())
}
