//! Linear map over the channels of each degree (Schur's lemma: the only SO(3)-equivariant
//! linear map), between any two layouts.
//!
//! `out[b, l, m, j] = sum_i W_l[i, j] x[b, l, m, i]` for the degrees that both sides have.
//! The weights of all degrees are one flat tensor, `W_l` row-major `[in, out]`, `l` ascending
//! (`SO3_linearity` of the published code).
//!
//! With a gradient `g` of `out`, `sum g out` is linear in each of x, W and g: out, and the
//! gradients of x and of W, are what it is linear in x, W and g with. So the three are one kind of
//! op, and the gradients of each are the two others: derivatives of any order exist.

mod cpu;
pub mod launches;
mod sides;

pub use sides::{Order, Side, weight_shapes};

use super::adapter::apply;
use super::cache::cached;
use super::cpu::Real;
use super::device::Kind;
use super::op::{Array, Call, Closed, Gradients, Op};
use candle_core::{Result, Shape, Tensor, bail};

/// Applies the map: `x` `[batch, from.dim()]` to `[batch, to.dim()]`; degrees that `from` lacks
/// are zero in the output. `weights` is flat.
///
/// # Errors
/// Other shapes or types.
pub fn linear(x: &Tensor, weights: &Tensor, from: &Side, to: &Side) -> Result<Tensor> {
    let op = Linear {
        from: from.clone(),
        to: to.clone(),
        makes: Part::Output,
    };
    apply(op, [x, weights])
}

/// The parts of `sum g out`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Input,
    Weights,
    Output,
}

/// Makes one part of the other two, which are its arguments in the order of [`Part`].
#[derive(Clone)]
struct Linear {
    from: Side,
    to: Side,
    makes: Part,
}

impl Linear {
    fn weights(&self) -> usize {
        let shapes = weight_shapes(&self.from.irreps, &self.to.irreps);
        shapes.iter().map(|(i, o)| i * o).sum()
    }

    /// The batch of a part that has one.
    fn batch(&self, part: Part, shape: &Shape) -> Result<usize> {
        let side = match part {
            Part::Input => &self.from,
            _ => &self.to,
        };
        match (shape.dims2()?, side.irreps.dim()) {
            ((batch, dim), own) if dim == own => Ok(batch),
            (_, own) => bail!("a linear map of samples {shape:?}, which should have {own} numbers"),
        }
    }

    fn check_weights(&self, shape: &Shape) -> Result<()> {
        match (shape.dims1()?, self.weights()) {
            (len, own) if len == own => Ok(()),
            (len, own) => bail!("a linear map by {len} weights, which should be {own}"),
        }
    }

    fn makes(&self, makes: Part, inputs: [&Tensor; 2]) -> Result<Tensor> {
        let op = Linear {
            makes,
            ..self.clone()
        };
        apply(op, inputs)
    }
}

impl Op<2> for Linear {
    const NAME: &'static str = "the linear map of steerable tensors";

    fn shape(&self, [a, b]: [&Shape; 2]) -> Result<Shape> {
        match self.makes {
            Part::Output => {
                self.check_weights(b)?;
                Ok((self.batch(Part::Input, a)?, self.to.irreps.dim()).into())
            }
            Part::Input => {
                self.check_weights(a)?;
                Ok((self.batch(Part::Output, b)?, self.from.irreps.dim()).into())
            }
            Part::Weights => {
                self.batch(Part::Input, a)?;
                self.batch(Part::Output, b)?;
                Ok(self.weights().into())
            }
        }
    }

    fn forward<T: Real>(&self, [a, b]: [Array<T>; 2]) -> Result<Vec<T>> {
        Ok(match self.makes {
            Part::Output => cpu::map(&self.from, &self.to, &a, &b, false),
            Part::Input => cpu::map(&self.to, &self.from, &b, &a, true),
            Part::Weights => cpu::outer(&self.from, &self.to, &a, &b),
        })
    }

    fn launches(&self, _: Kind, [a, b]: [&Shape; 2]) -> Result<Call> {
        let key = format!("linear {:?} {:?}", self.from, self.to);
        let tables = cached(key, || launches::Tables::new(&self.from, &self.to));
        let sequence = match self.makes {
            Part::Output => launches::forward(&tables, a.dims()[0]),
            Part::Input => launches::backward_input(&tables, b.dims()[0]),
            Part::Weights => launches::backward_weights(&tables, a.dims()[0]),
        };
        Ok(Call::forward(sequence, 2))
    }
}

impl Closed<2> for Linear {
    fn backward(
        &self,
        [a, b]: [&Tensor; 2],
        grad: &Tensor,
        wanted: [bool; 2],
    ) -> Result<Gradients<2>> {
        let (of_a, of_b) = match self.makes {
            Part::Output => ((Part::Input, [b, grad]), (Part::Weights, [a, grad])),
            Part::Input => ((Part::Weights, [grad, b]), (Part::Output, [grad, a])),
            Part::Weights => ((Part::Input, [grad, b]), (Part::Output, [a, grad])),
        };
        let gradient = |wanted: bool, (part, inputs)| {
            let gradient = || self.makes(part, inputs);
            wanted.then(gradient).transpose()
        };
        Ok([gradient(wanted[0], of_a)?, gradient(wanted[1], of_b)?])
    }
}
