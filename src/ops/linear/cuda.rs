//! The linear map on a GPU.

use super::Linear;
use crate::ops::cuda::{cached, input, run_one, run_tensors};
use crate::ops::device::linear::{self as sequence, Tables};
use candle_core::{CudaStorage, Layout, Result, Shape, Tensor, bail};
use std::sync::Arc;

impl Linear {
    fn tables(&self) -> Arc<Tables> {
        let key = format!("linear {:?} {:?}", self.from, self.to);
        cached(key, || Tables::new(&self.from, &self.to))
    }

    pub(super) fn cuda_forward(
        &self,
        [x, weights]: [(&CudaStorage, &Layout); 2],
    ) -> Result<(CudaStorage, Shape)> {
        let batch = x.1.dims()[0];
        let sequence = sequence::forward(&self.tables(), batch);
        let inputs = [input(x.0, x.1)?, input(weights.0, weights.1)?];
        let out = run_one(&x.0.device, &sequence, &inputs)?;
        Ok((out, (batch, self.to.irreps.dim()).into()))
    }

    /// Gradients of input, where it is wanted, and weights.
    pub(super) fn cuda_backward(
        &self,
        x: &Tensor,
        weights: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (tables, batch) = (self.tables(), x.dim(0)?);
        let one = |mut all: Vec<Tensor>| match all.pop() {
            Some(t) => Ok(t),
            None => bail!("a gradient is missing"),
        };
        let sequence = sequence::backward_weights(&tables, batch);
        let gw = one(run_tensors(&sequence, &[x, grad])?)?;
        let gx = match x.track_op() {
            true => {
                let sequence = sequence::backward_input(&tables, batch);
                let gx = one(run_tensors(&sequence, &[weights, grad])?)?;
                Some(gx.reshape(x.shape())?)
            }
            false => None,
        };
        Ok((gx, Some(gw)))
    }
}
