//! A linear map of the last axis.

use crate::models::{Init, Parameter, Parameters, Scope};
use candle_core::{Result, Tensor};

/// `x W^T + b` on the last axis; weight `[to, from]`, bias `[to]`.
#[derive(Clone)]
pub struct Linear {
    weight: Parameter,
    bias: Option<Parameter>,
    from: usize,
    to: usize,
}

impl Linear {
    /// A weight that starts as `init` says, and a bias of zeros.
    pub fn new(b: &mut Scope, from: usize, to: usize, init: Init) -> Self {
        let weight = b.parameter("weight", (to, from), init);
        let bias = b.parameter("bias", to, Init::Constant(0.0));
        Self::of(weight, Some(bias))
    }

    /// PyTorch's default: weight and bias uniform on +-1/sqrt(from).
    pub fn pytorch(b: &mut Scope, from: usize, to: usize) -> Self {
        let weight = b.parameter("weight", (to, from), Init::fan_in(from));
        let bias = b.parameter("bias", to, Init::fan_in(from));
        Self::of(weight, Some(bias))
    }

    pub fn without_bias(b: &mut Scope, from: usize, to: usize, init: Init) -> Self {
        Self::of(b.parameter("weight", (to, from), init), None)
    }

    /// Of parameters that have other names: weight `[to, from]`, bias `[to]`.
    pub fn of(weight: Parameter, bias: Option<Parameter>) -> Self {
        let (to, from) = match weight.dims() {
            &[to, from] => (to, from),
            dims => unreachable!("a linear layer's weight of shape {dims:?}"),
        };
        Self {
            weight,
            bias,
            from,
            to,
        }
    }

    /// Declares that losses may not depend on it.
    pub fn unused(&self, b: &mut Scope) {
        b.unused(&self.weight);
        if let Some(bias) = &self.bias {
            b.unused(bias);
        }
    }

    /// `[.., from]` to `[.., to]`.
    pub fn forward(&self, x: &Tensor, p: &Parameters) -> Result<Tensor> {
        let mut shape = x.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = self.to;
        }
        let rows = x.reshape((x.elem_count() / self.from, self.from))?;
        let y = rows.matmul(&self.matrix(p)?)?;
        let y = match &self.bias {
            Some(bias) => y.broadcast_add(&p.get(bias)?)?,
            None => y,
        };
        y.reshape(shape)
    }

    /// What a change `dx` of the input changes in the result: `dx W^T`.
    pub fn tangent(&self, dx: &Tensor, p: &Parameters) -> Result<Tensor> {
        Self::of(self.weight.clone(), None).forward(dx, p)
    }

    /// Channels of the input.
    pub fn inputs(&self) -> usize {
        self.from
    }

    /// Channels of the result.
    pub fn width(&self) -> usize {
        self.to
    }

    /// The weight, `[to, from]`.
    pub fn weight(&self, p: &Parameters) -> Result<Tensor> {
        p.get(&self.weight)
    }

    /// The transpose of the weight, `[from, to]`.
    pub fn matrix(&self, p: &Parameters) -> Result<Tensor> {
        self.weight(p)?.t()
    }

    pub fn has_bias(&self) -> bool {
        self.bias.is_some()
    }

    /// The bias, `[to]`, or zeros.
    pub fn bias(&self, p: &Parameters) -> Result<Tensor> {
        match &self.bias {
            Some(bias) => p.get(bias),
            None => self.weight(p)?.narrow(1, 0, 1)?.squeeze(1)?.zeros_like(),
        }
    }
}
