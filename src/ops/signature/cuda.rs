//! Signatures and log-signatures on a GPU.

use super::{Gather, Logarithm, Lyndon, Signature};
use crate::ops::cuda::{cached, input, run_one, run_tensors};
use crate::ops::device::{Kind, Sequence, signature as sequence};
use candle_core::{CudaStorage, DType, Layout, Result, Shape, Tensor, bail};
use std::sync::Arc;

fn kind(dtype: DType) -> Result<Kind> {
    match dtype {
        DType::F32 => Ok(Kind::F32),
        DType::F64 => Ok(Kind::F64),
        other => bail!("a path is f32 or f64, not {other:?}"),
    }
}

fn dtype(storage: &CudaStorage) -> DType {
    use candle_core::backend::BackendStorage;
    storage.dtype()
}

/// Runs a sequence of one argument and one result of `terms` numbers per row.
fn forward(
    (x, layout): (&CudaStorage, &Layout),
    sequence: &Sequence,
) -> Result<(CudaStorage, Shape)> {
    let batch = layout.dims()[0];
    let out = run_one(&x.device, sequence, &[input(x, layout)?])?;
    let len = crate::ops::cuda::elements(&out);
    Ok((out, (batch, len / batch.max(1)).into()))
}

fn backward(like: &Tensor, sequence: &Sequence, arguments: &[&Tensor]) -> Result<Tensor> {
    match run_tensors(sequence, arguments)?.pop() {
        Some(gradient) => gradient.reshape(like.shape()),
        None => bail!("a gradient is missing"),
    }
}

impl Signature {
    pub(super) fn cuda_forward(&self, x: (&CudaStorage, &Layout)) -> Result<(CudaStorage, Shape)> {
        let (batch, points, channels) = x.1.shape().dims3()?;
        let kind = kind(dtype(x.0))?;
        let sequence = sequence::forward(kind, batch, points, channels, self.depth)?;
        forward(x, &sequence)
    }

    pub(super) fn cuda_backward(
        &self,
        path: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> Result<Tensor> {
        let (batch, points, channels) = path.dims3()?;
        let kind = kind(path.dtype())?;
        let sequence = sequence::backward(kind, batch, points, channels, self.depth)?;
        backward(path, &sequence, &[path, out, grad])
    }
}

impl Logarithm {
    pub(super) fn cuda_forward(&self, x: (&CudaStorage, &Layout)) -> Result<(CudaStorage, Shape)> {
        let kind = kind(dtype(x.0))?;
        let sequence = sequence::logarithm(kind, x.1.dims()[0], self.channels, self.depth)?;
        forward(x, &sequence)
    }

    pub(super) fn cuda_backward(&self, x: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let kind = kind(x.dtype())?;
        let sequence = sequence::logarithm_backward(kind, x.dim(0)?, self.channels, self.depth)?;
        backward(x, &sequence, &[x, grad])
    }
}

impl Lyndon {
    pub(super) fn cuda_forward(&self, x: (&CudaStorage, &Layout)) -> Result<(CudaStorage, Shape)> {
        let (batch, points, channels) = x.1.shape().dims3()?;
        let sequence = sequence::lyndon(batch, points, channels, self.depth)?;
        forward(x, &sequence)
    }

    pub(super) fn cuda_backward(
        &self,
        path: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> Result<Tensor> {
        let (batch, points, channels) = path.dims3()?;
        let sequence = sequence::lyndon_backward(batch, points, channels, self.depth)?;
        backward(path, &sequence, &[path, out, grad])
    }
}

impl Gather {
    /// The choice among `terms` words.
    fn choice(&self, terms: usize) -> Arc<sequence::Choice> {
        let positions = &self.positions;
        let sum: usize = positions.iter().sum();
        let key = format!("gather {terms} {} {sum}", positions.len());
        cached(key, || sequence::Choice::new(positions, terms))
    }

    pub(super) fn cuda_forward(&self, x: (&CudaStorage, &Layout)) -> Result<(CudaStorage, Shape)> {
        let kind = kind(dtype(x.0))?;
        let (batch, terms) = x.1.shape().dims2()?;
        let sequence = sequence::choose(kind, &self.choice(terms), false, batch);
        forward(x, &sequence)
    }

    pub(super) fn cuda_backward(&self, x: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let (batch, terms) = x.dims2()?;
        let sequence = sequence::choose(kind(x.dtype())?, &self.choice(terms), true, batch);
        backward(x, &sequence, &[grad])
    }
}
