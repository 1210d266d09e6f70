//! Sparse products on a GPU.

use super::{Product, Sparse};
use crate::ops::cuda::{cached_for, input, of_tensor, run_one};
use crate::ops::device::sparse::{self as sequence, Tables};
use candle_core::op::BackpropOp;
use candle_core::{CudaStorage, Layout, Result, Shape, Storage, Tensor};

impl Product {
    pub(super) fn cuda_forward(
        &self,
        (x, layout): (&CudaStorage, &Layout),
    ) -> Result<(CudaStorage, Shape)> {
        let width = self.0.check(layout.shape())?;
        let tables = cached_for(&self.0, |sparse: &Sparse| Tables::new(sparse));
        let sequence = sequence::apply(&tables, false, width);
        let out = run_one(&x.device, &sequence, &[input(x, layout)?])?;
        Ok((out, (self.0.shape().0, width).into()))
    }

    pub(super) fn cuda_backward(&self, x: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let tables = cached_for(&self.0, |sparse: &Sparse| Tables::new(sparse));
        let sequence = sequence::apply(&tables, true, grad.dim(1)?);
        let device = grad.device().as_cuda_device()?;
        let out = Storage::Cuda(run_one(device, &sequence, &[of_tensor(grad)?])?);
        Ok(Tensor::from_storage(
            out,
            x.shape(),
            BackpropOp::none(),
            false,
        ))
    }
}
