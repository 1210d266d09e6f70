//! The layers of the model, with PyTorch's names, shapes and starts.

use crate::models::{Init, Parameters, ParametersBuilder};
use crate::ops::assign::assign;
use candle_core::{D, Result, Tensor};
use candle_nn::ops::sigmoid;

/// Uniform on +-1/sqrt(in).
fn default_init(from: usize) -> Init {
    Init::Uniform(1.0 / (from as f64).sqrt())
}

/// Glorot's uniform start.
pub(super) fn glorot(from: usize, to: usize) -> Init {
    Init::Uniform((6.0 / (from + to) as f64).sqrt())
}

/// One parameter of its own.
#[derive(Clone, Copy)]
struct Matrix {
    group: usize,
    shape: (usize, usize),
}

impl Matrix {
    fn new(b: &mut ParametersBuilder, name: String, shape: (usize, usize), init: Init) -> Self {
        Self {
            group: b.group([(name, vec![shape.0, shape.1], init)]),
            shape,
        }
    }

    /// `[out, in]`.
    fn plain(&self, p: &Parameters) -> Result<Tensor> {
        p.var(self.group).reshape(self.shape)
    }

    /// `[in, out]`.
    fn transposed(&self, p: &Parameters) -> Result<Tensor> {
        self.plain(p)?.t()
    }
}

fn vector(b: &mut ParametersBuilder, name: String, len: usize, init: Init) -> usize {
    b.group([(name, vec![len], init)])
}

/// `x W^T + b` on the last axis; weight `[out, in]`.
#[derive(Clone)]
pub(super) struct Linear {
    weight: Matrix,
    bias: Option<usize>,
}

impl Linear {
    pub fn new(b: &mut ParametersBuilder, name: &str, from: usize, to: usize) -> Self {
        Self {
            weight: Matrix::new(b, format!("{name}.weight"), (to, from), default_init(from)),
            bias: Some(vector(b, format!("{name}.bias"), to, default_init(from))),
        }
    }

    pub fn without_bias(b: &mut ParametersBuilder, name: &str, from: usize, to: usize) -> Self {
        Self {
            weight: Matrix::new(b, format!("{name}.weight"), (to, from), default_init(from)),
            bias: None,
        }
    }

    /// Weight and bias of chosen names and starts.
    pub fn named(
        b: &mut ParametersBuilder,
        (weight, bias): (String, String),
        (from, to): (usize, usize),
        init: Init,
    ) -> Self {
        Self {
            weight: Matrix::new(b, weight, (to, from), init),
            bias: Some(vector(b, bias, to, Init::Constant(0.0))),
        }
    }

    /// The weight as `[in, out]`.
    pub fn matrix(&self, p: &Parameters) -> Result<Tensor> {
        self.weight.transposed(p)
    }

    /// Weight and bias as one matrix `[in + 1, out]`, the bias last (zero without one).
    pub fn stacked(&self, p: &Parameters) -> Result<Tensor> {
        let weight = self.matrix(p)?;
        let bias = match self.bias {
            Some(bias) => p.var(bias).unsqueeze(0)?,
            None => weight.narrow(0, 0, 1)?.zeros_like()?,
        };
        Tensor::cat(&[weight, bias], 0)
    }

    /// `softmax(tanh(x W^T + b))` of the rows of `x` `[n, in]`.
    pub fn assign(&self, x: &Tensor, p: &Parameters) -> Result<Tensor> {
        let bias = match self.bias {
            Some(bias) => p.var(bias).clone(),
            None => Tensor::zeros(self.weight.shape.0, x.dtype(), x.device())?,
        };
        assign(x, &self.weight.plain(p)?, &bias)
    }

    pub fn forward(&self, x: &Tensor, p: &Parameters) -> Result<Tensor> {
        let (to, from) = self.weight.shape;
        let rows = x.elem_count() / from;
        let y = x.reshape((rows, from))?.matmul(&self.matrix(p)?)?;
        let y = match self.bias {
            Some(bias) => y.broadcast_add(p.var(bias))?,
            None => y,
        };
        let mut shape = x.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = to;
        }
        y.reshape(shape)
    }
}

/// Normalises the last axis to mean 0 and variance 1, then scales and shifts.
pub(super) struct LayerNorm {
    weight: usize,
    bias: usize,
}

impl LayerNorm {
    const EPS: f64 = 1e-5;

    pub fn new(b: &mut ParametersBuilder, name: &str, width: usize) -> Self {
        Self {
            weight: vector(b, format!("{name}.weight"), width, Init::Constant(1.0)),
            bias: vector(b, format!("{name}.bias"), width, Init::Constant(0.0)),
        }
    }

    pub fn forward(&self, x: &Tensor, p: &Parameters) -> Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        centred
            .broadcast_div(&(variance + Self::EPS)?.sqrt()?)?
            .broadcast_mul(p.var(self.weight))?
            .broadcast_add(p.var(self.bias))
    }
}

/// One direction of an LSTM; gates in PyTorch's order i, f, g, o.
pub(super) struct Lstm {
    input: Matrix,
    hidden: Matrix,
    biases: [usize; 2],
    width: usize,
}

impl Lstm {
    /// `suffix` is empty or `_reverse`.
    pub fn new(
        b: &mut ParametersBuilder,
        name: &str,
        suffix: &str,
        (from, width): (usize, usize),
    ) -> Self {
        let init = default_init(width);
        let full = |part: &str| format!("{name}.{part}_l0{suffix}");
        Self {
            input: Matrix::new(b, full("weight_ih"), (4 * width, from), init),
            hidden: Matrix::new(b, full("weight_hh"), (4 * width, width), init),
            biases: ["bias_ih", "bias_hh"].map(|n| vector(b, full(n), 4 * width, init)),
            width,
        }
    }

    /// `[B, T, in]` to the outputs of every step, `[B, T, width]`; `reverse` runs from the last
    /// step to the first.
    pub fn forward(&self, x: &Tensor, reverse: bool, p: &Parameters) -> Result<Tensor> {
        let (batch, steps, from) = x.dims3()?;
        let bias = (p.var(self.biases[0]) + p.var(self.biases[1]))?;
        // The weight, which may be large, on the left: so its gradient needs no transpose.
        let rows = x.reshape((batch * steps, from))?;
        let gates = self
            .input
            .plain(p)?
            .matmul(&rows.t()?)?
            .t()?
            .broadcast_add(&bias)?
            .reshape((batch, steps, 4 * self.width))?;
        let recurrent = self.hidden.transposed(p)?;
        let mut state: Option<(Tensor, Tensor)> = None;
        let mut outputs = Vec::with_capacity(steps);
        for i in 0..steps {
            let t = if reverse { steps - 1 - i } else { i };
            let mut gate = gates.narrow(1, t, 1)?.squeeze(1)?;
            if let Some((h, _)) = &state {
                gate = (gate + h.matmul(&recurrent)?)?;
            }
            let part = |k: usize| gate.narrow(1, k * self.width, self.width)?.contiguous();
            let (input, forget) = (sigmoid(&part(0)?)?, sigmoid(&part(1)?)?);
            let (new, out) = (part(2)?.tanh()?, sigmoid(&part(3)?)?);
            let mut cell = (input * new)?;
            if let Some((_, c)) = &state {
                cell = (cell + (forget * c)?)?;
            }
            let h = (out * cell.tanh()?)?;
            outputs.push(h.clone());
            state = Some((h, cell));
        }
        if reverse {
            outputs.reverse();
        }
        Tensor::stack(&outputs, 1)
    }
}
