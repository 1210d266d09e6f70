//! The Clebsch-Gordan step on a GPU: product, signal norm and linear map are one op, the batch
//! norm before it and the skip connection after it their own.

use super::Plan;
use crate::ops::batch_norm::{BatchNorm, batch_norm};
use crate::ops::cuda::{cached_for, input, run_one, run_tensors};
use crate::ops::device::cg::{self as sequence, Tables};
use crate::ops::skip::skip;
use candle_core::{CpuStorage, CudaStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use std::sync::Arc;

/// [`super::cg`] on a GPU.
pub(super) fn cg(
    x: &Tensor,
    parameters: &Tensor,
    plan: &Arc<Plan>,
    norm: Option<BatchNorm>,
) -> Result<Tensor> {
    let [gain, shift, scales] = plan.lengths();
    let part = |start, len| parameters.narrow(0, start, len)?.contiguous();
    let h = match norm {
        Some(norm) => batch_norm(x, &part(0, gain)?, &part(gain, shift)?, norm)?,
        None => x.contiguous()?,
    };
    let weights = part(gain + shift + scales, plan.weight_len())?;
    let step = Step { plan: plan.clone() };
    let out = h.apply_op3(&weights, &part(gain + shift, scales)?, step)?;
    match plan.skip {
        true => skip(&out, &plan.output, x, &plan.input),
        false => Ok(out),
    }
}

/// Product, signal norm and linear map.
struct Step {
    plan: Arc<Plan>,
}

fn tables(plan: &Arc<Plan>) -> Arc<Tables> {
    cached_for(plan, |plan: &Plan| Tables::new(plan))
}

impl CustomOp3 for Step {
    fn name(&self) -> &'static str {
        "clebsch-gordan-cuda"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("this form of the Clebsch-Gordan step is for GPUs")
    }

    fn cuda_fwd(
        &self,
        h: &CudaStorage,
        h_layout: &Layout,
        weights: &CudaStorage,
        weights_layout: &Layout,
        norm: &CudaStorage,
        norm_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let batch = h_layout.dims()[0];
        let sequence = sequence::forward(&tables(&self.plan), batch);
        let inputs = [
            input(h, h_layout)?,
            input(weights, weights_layout)?,
            input(norm, norm_layout)?,
        ];
        let out = run_one(&h.device, &sequence, &inputs)?;
        Ok((out, (batch, self.plan.output.dim()).into()))
    }

    fn bwd(
        &self,
        h: &Tensor,
        weights: &Tensor,
        norm: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let sequence = sequence::backward(&tables(&self.plan), h.dim(0)?)?;
        let arguments = [h, weights, norm, out, &grad.contiguous()?];
        match <[Tensor; 3]>::try_from(run_tensors(&sequence, &arguments)?) {
            Ok([gh, gweights, gnorm]) => {
                Ok((Some(gh.reshape(h.shape())?), Some(gweights), Some(gnorm)))
            }
            Err(_) => bail!("the Clebsch-Gordan step has three gradients"),
        }
    }
}
