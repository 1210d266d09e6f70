//! The skip connection on a GPU.

use super::Skip;
use crate::ops::cuda::{cached, input, run_one, run_tensors};
use crate::ops::device::skip::{self as sequence, Tables};
use candle_core::{CudaStorage, Layout, Result, Shape, Tensor, bail};
use std::sync::Arc;

impl Skip {
    fn tables(&self) -> Arc<Tables> {
        let key = format!("skip {:?} {:?}", self.to, self.from);
        cached(key, || Tables::new(&self.to, &self.from))
    }

    pub(super) fn cuda_forward(
        &self,
        [out, x]: [(&CudaStorage, &Layout); 2],
    ) -> Result<(CudaStorage, Shape)> {
        let sequence = sequence::forward(&self.tables(), out.1.dims()[0]);
        let inputs = [input(out.0, out.1)?, input(x.0, x.1)?];
        let sum = run_one(&out.0.device, &sequence, &inputs)?;
        Ok((sum, out.1.shape().clone()))
    }

    /// Gradient of the input.
    pub(super) fn cuda_backward(&self, x: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let sequence = sequence::backward(&self.tables(), grad.dim(0)?);
        match run_tensors(&sequence, &[grad])?.pop() {
            Some(gx) => gx.reshape(x.shape()),
            None => bail!("a gradient is missing"),
        }
    }
}
