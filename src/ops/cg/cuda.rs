//! The Clebsch-Gordan step on a GPU.

use super::{Cg, Plan};
use crate::ops::cuda::{cached_for, input, run_one, run_tensors};
use crate::ops::device::cg::{self as sequence, Tables};
use candle_core::{CudaStorage, Layout, Result, Shape, Tensor, bail};
use std::sync::Arc;

fn tables(plan: &Arc<Plan>) -> Arc<Tables> {
    cached_for(plan, |plan: &Plan| Tables::new(plan))
}

impl Cg {
    pub(super) fn cuda_forward(
        &self,
        [h, weights, norm]: [(&CudaStorage, &Layout); 3],
    ) -> Result<(CudaStorage, Shape)> {
        let batch = h.1.dims()[0];
        let sequence = sequence::forward(&tables(&self.plan), batch);
        let inputs = [
            input(h.0, h.1)?,
            input(weights.0, weights.1)?,
            input(norm.0, norm.1)?,
        ];
        let out = run_one(&h.0.device, &sequence, &inputs)?;
        Ok((out, (batch, self.plan.output.dim()).into()))
    }

    /// Gradients of input, weights and norm.
    pub(super) fn cuda_backward(&self, arguments: &[&Tensor; 5]) -> Result<[Tensor; 3]> {
        let [h, ..] = arguments;
        let sequence = sequence::backward(&tables(&self.plan), h.dim(0)?)?;
        match <[Tensor; 3]>::try_from(run_tensors(&sequence, arguments)?) {
            Ok([gh, gweights, gnorm]) => Ok([gh.reshape(h.shape())?, gweights, gnorm]),
            Err(_) => bail!("the Clebsch-Gordan step has three gradients"),
        }
    }
}
