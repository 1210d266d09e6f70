//! Batch norm on a GPU.

use super::{BatchNorm, Normalization, Statistics};
use crate::ops::cuda::{cached, input, of_tensor, run_one, run_tensors};
use crate::ops::device::batch_norm::{self as sequence, Tables};
use crate::so3::irreps::Irreps;
use candle_core::{CudaStorage, Layout, Result, Shape, Tensor, bail};
use std::sync::Arc;

fn tables(irreps: &Irreps) -> Arc<Tables> {
    cached(format!("batch norm {irreps:?}"), || Tables::new(irreps))
}

pub(super) fn statistics(
    x: &Tensor,
    irreps: &Irreps,
    normalization: Normalization,
) -> Result<Statistics> {
    let sequence = sequence::statistics(&tables(irreps), normalization, x.dim(0)?);
    match <[Tensor; 2]>::try_from(run_tensors(&sequence, &[x])?) {
        Ok([mean, variance]) => Ok(Statistics { mean, variance }),
        Err(_) => bail!("batch statistics are two vectors"),
    }
}

impl BatchNorm {
    pub(super) fn cuda_forward(
        &self,
        [x, weight, bias]: [(&CudaStorage, &Layout); 3],
    ) -> Result<(CudaStorage, Shape)> {
        let sequence = sequence::forward(&tables(&self.irreps), x.1.dims()[0]);
        let inputs = [
            input(x.0, x.1)?,
            input(weight.0, weight.1)?,
            input(bias.0, bias.1)?,
            of_tensor(&self.statistics.mean)?,
            of_tensor(&self.statistics.variance)?,
        ];
        let out = run_one(&x.0.device, &sequence, &inputs)?;
        Ok((out, x.1.shape().clone()))
    }

    /// Gradients of input, weight and bias.
    pub(super) fn cuda_backward(
        &self,
        x: &Tensor,
        weight: &Tensor,
        grad: &Tensor,
    ) -> Result<[Tensor; 3]> {
        let tables = tables(&self.irreps);
        let sequence = sequence::backward(&tables, self.normalization, self.mode, x.dim(0)?);
        let Statistics { mean, variance } = &self.statistics;
        match <[Tensor; 3]>::try_from(run_tensors(&sequence, &[x, weight, mean, variance, grad])?) {
            Ok([gx, gweight, gbias]) => Ok([gx.reshape(x.shape())?, gweight, gbias]),
            Err(_) => bail!("batch norm has three gradients"),
        }
    }
}
