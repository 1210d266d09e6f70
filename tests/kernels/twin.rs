//! The CPU's op: its result and gradients.

use crate::host::Data;
use crate::random;
use candle_core::{Device, Result, Tensor, Var};

/// A random tensor.
pub fn tensor(seed: u64, shape: &[usize]) -> Tensor {
    let data = random(seed, shape.iter().product());
    Tensor::from_vec(data, shape, &Device::Cpu).expect("a tensor")
}

/// The elements of an f32 tensor.
pub fn f32s(t: &Tensor) -> Data {
    Data::F32(flat(t))
}

fn flat(t: &Tensor) -> Vec<f32> {
    let t = t.flatten_all().and_then(|t| t.to_vec1());
    t.expect("an f32 tensor")
}

/// What the CPU makes of an op, and of a random gradient of its result.
pub struct Twin {
    pub out: Vec<f32>,
    pub gradients: Vec<Vec<f32>>,
    grad: Tensor,
}

impl Twin {
    pub fn new(inputs: &[&Tensor], op: impl Fn(&[Tensor]) -> Result<Tensor>) -> Self {
        Self::make(inputs, op).expect("the CPU's op")
    }

    fn make(inputs: &[&Tensor], op: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<Self> {
        let vars = inputs.iter().map(|t| Var::from_tensor(t));
        let vars = vars.collect::<Result<Vec<_>>>()?;
        let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let out = op(&tensors)?;
        let grad = tensor(99, out.dims());
        let gradients = (&out * &grad)?.sum_all()?.backward()?;
        let gradient = |v: &Tensor| match gradients.get(v) {
            Some(g) => Ok(flat(g)),
            None => candle_core::bail!("an input without a gradient"),
        };
        Ok(Self {
            gradients: tensors.iter().map(gradient).collect::<Result<_>>()?,
            out: flat(&out),
            grad,
        })
    }

    /// The gradient of the result.
    pub fn grad(&self) -> Data {
        f32s(&self.grad)
    }
}
