//! A long short-term memory over the steps of a sequence.

use crate::models::{Init, Parameter, Parameters, Scope};
use candle_core::{Result, Tensor};
use candle_nn::ops::sigmoid;

/// Which way a recurrent layer goes through its sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the first step to the last.
    Forward,
    /// From the last step to the first.
    Reverse,
}

/// One direction of an LSTM; gates in PyTorch's order i, f, g, o.
pub struct Lstm {
    direction: Direction,
    input: Parameter,
    hidden: Parameter,
    biases: [Parameter; 2],
    width: usize,
}

impl Lstm {
    pub fn new(b: &mut Scope, from: usize, width: usize, direction: Direction) -> Self {
        let init = Init::fan_in(width);
        let gates = 4 * width;
        let suffix = match direction {
            Direction::Forward => "",
            Direction::Reverse => "_reverse",
        };
        let mut add = |name: &str, shape: &[usize]| {
            b.parameter(format_args!("{name}_l0{suffix}"), shape, init.clone())
        };
        Self {
            direction,
            input: add("weight_ih", &[gates, from]),
            hidden: add("weight_hh", &[gates, width]),
            biases: ["bias_ih", "bias_hh"].map(|name| add(name, &[gates])),
            width,
        }
    }

    /// Says that all sequences have one step, which needs no recurrent weight.
    pub fn of_one_step(&self, b: &mut Scope) {
        b.unused(&self.hidden);
    }

    /// `[B, T, from]` to the outputs of every step, `[B, T, width]`.
    pub fn forward(&self, x: &Tensor, p: &Parameters) -> Result<Tensor> {
        let (batch, steps, from) = x.dims3()?;
        let [bias_ih, bias_hh] = &self.biases;
        let bias = (p.get(bias_ih)? + p.get(bias_hh)?)?;
        // The weight, which may be large, on the left: so its gradient needs no transpose.
        let rows = x.reshape((batch * steps, from))?;
        let gates = p
            .get(&self.input)?
            .matmul(&rows.t()?)?
            .t()?
            .broadcast_add(&bias)?
            .reshape((batch, steps, 4 * self.width))?;
        let recurrent = p.get(&self.hidden)?.t()?;
        let mut state: Option<(Tensor, Tensor)> = None;
        let mut outputs = Vec::with_capacity(steps);
        for i in 0..steps {
            let t = match self.direction {
                Direction::Forward => i,
                Direction::Reverse => steps - 1 - i,
            };
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
        if self.direction == Direction::Reverse {
            outputs.reverse();
        }
        Tensor::stack(&outputs, 1)
    }
}
