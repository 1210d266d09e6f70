//! The hidden layer on a GPU.

use super::{Average, Project, Sizes};
use crate::ops::cuda::{input, of_tensor, run_one, run_tensors};
use crate::ops::device::hidden as sequence;
use candle_core::{CudaStorage, DType, Device, Layout, Result, Shape, Tensor, bail};

impl Sizes {
    fn on_device(self) -> sequence::Sizes {
        sequence::Sizes {
            nodes: self.nodes,
            frames: self.frames,
            features: self.features,
            width: self.width,
        }
    }
}

/// Gradients in the order of the sequence: those of the layer, of `others`, and of `u` if it is
/// there, each in the shape of what it belongs to.
fn shaped(gradients: Vec<Tensor>, like: &[&Tensor]) -> Result<Vec<Tensor>> {
    let pairs = gradients.iter().zip(like);
    pairs.map(|(g, like)| g.reshape(like.shape())).collect()
}

impl Average {
    fn weights_on(&self, device: &Device) -> Result<Tensor> {
        Tensor::new(&*self.weights, device)?.to_dtype(DType::F32)
    }

    pub(super) fn cuda_forward(
        &self,
        [u, layer]: [(&CudaStorage, &Layout); 2],
    ) -> Result<(CudaStorage, Shape)> {
        let s = Sizes::new(u.1.shape(), layer.1.shape())?;
        let weights = self.weights_on(&Device::Cuda(u.0.device.clone()))?;
        let sequence = sequence::average(&s.on_device());
        let inputs = [
            input(u.0, u.1)?,
            input(layer.0, layer.1)?,
            of_tensor(&weights)?,
        ];
        let out = run_one(&u.0.device, &sequence, &inputs)?;
        Ok((out, (s.nodes, s.width).into()))
    }

    /// Gradients of `u`, where it is wanted, and of the layer.
    pub(super) fn cuda_backward(
        &self,
        u: &Tensor,
        layer: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let s = Sizes::new(u.shape(), layer.shape())?;
        let weights = self.weights_on(u.device())?;
        let sequence = sequence::average_backward(&s.on_device(), u.track_op());
        let all = run_tensors(&sequence, &[u, layer, &weights, grad])?;
        let mut all = shaped(all, &[layer, u])?.into_iter();
        match all.next() {
            Some(glayer) => Ok((all.next(), Some(glayer))),
            None => bail!("a gradient is missing"),
        }
    }
}

impl Project {
    pub(super) fn cuda_forward(
        &self,
        [u, layer, right]: [(&CudaStorage, &Layout); 3],
    ) -> Result<(CudaStorage, Shape)> {
        let s = Sizes::new(u.1.shape(), layer.1.shape())?;
        let columns = right.1.shape().dims2()?.1;
        let sequence = sequence::project(&s.on_device(), self.words, columns);
        let inputs = [
            input(u.0, u.1)?,
            input(layer.0, layer.1)?,
            input(right.0, right.1)?,
        ];
        let out = run_one(&u.0.device, &sequence, &inputs)?;
        let shape = (s.nodes * self.words, s.frames * columns / self.words);
        Ok((out, shape.into()))
    }

    /// Gradients of `u`, where it is wanted, of the layer and of the projections.
    pub(super) fn cuda_backward(
        &self,
        u: &Tensor,
        layer: &Tensor,
        right: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let s = Sizes::new(u.shape(), layer.shape())?;
        let columns = right.dims2()?.1;
        let sequence =
            sequence::project_backward(&s.on_device(), self.words, columns, u.track_op());
        let all = run_tensors(&sequence, &[u, layer, right, grad])?;
        let mut all = shaped(all, &[layer, right, u])?.into_iter();
        match (all.next(), all.next()) {
            (Some(glayer), Some(gright)) => Ok((all.next(), Some(glayer), Some(gright))),
            _ => bail!("a gradient is missing"),
        }
    }
}
