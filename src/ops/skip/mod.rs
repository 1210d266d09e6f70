//! Additive skip connection between steerable tensors of different degrees and channels
//! (truncate or zero-pad channels, as the published code does).

mod cpu;
pub mod launches;

use super::adapter::apply;
use super::cache::cached;
use super::cpu::Real;
use super::device::Kind;
use super::op::{Array, Call, Closed, Gradients, Op};
use crate::so3::irreps::Irreps;
use candle_core::{Result, Shape, Tensor, bail};
use std::sync::Arc;

/// `out + input` on the degrees and channels that both have; the rest of `out` is kept.
/// `out` is `[batch, to.dim()]`, `input` is `[batch, from.dim()]`.
///
/// # Errors
/// Other shapes or types.
pub fn skip(out: &Tensor, to: &Irreps, input: &Tensor, from: &Irreps) -> Result<Tensor> {
    let sides = Sides {
        to: to.clone(),
        from: from.clone(),
    };
    apply(Skip(sides), [out, input])
}

#[derive(Clone)]
struct Sides {
    to: Irreps,
    from: Irreps,
}

impl Sides {
    fn turned(&self) -> Self {
        Self {
            to: self.from.clone(),
            from: self.to.clone(),
        }
    }

    fn tables(&self) -> Arc<launches::Tables> {
        let key = format!("skip {:?} {:?}", self.to, self.from);
        cached(key, || launches::Tables::new(&self.to, &self.from))
    }
}

/// Batch of samples of `irreps`.
fn batch(shape: &Shape, irreps: &Irreps) -> Result<usize> {
    match shape.dims2()? {
        (batch, dim) if dim == irreps.dim() => Ok(batch),
        _ => bail!(
            "a skip connection of samples {shape:?} of {} numbers",
            irreps.dim()
        ),
    }
}

struct Skip(Sides);

impl Op<2> for Skip {
    const NAME: &'static str = "the skip connection";

    fn shape(&self, [out, input]: [&Shape; 2]) -> Result<Shape> {
        match (batch(out, &self.0.to)?, batch(input, &self.0.from)?) {
            (a, b) if a == b => Ok(out.clone()),
            (a, b) => bail!("a skip connection of {b} samples to {a}"),
        }
    }

    fn forward<T: Real>(&self, [out, input]: [Array<T>; 2]) -> Result<Vec<T>> {
        Ok(cpu::add(&self.0.to, &self.0.from, &out, &input))
    }

    fn launches(&self, _: Kind, [out, _]: [&Shape; 2]) -> Result<Call> {
        let sequence = launches::forward(&self.0.tables(), out.dims()[0]);
        Ok(Call::forward(sequence, 2))
    }
}

impl Closed<2> for Skip {
    fn backward(&self, _: [&Tensor; 2], grad: &Tensor, wanted: [bool; 2]) -> Result<Gradients<2>> {
        let of_input = || apply(Shared(self.0.turned()), [grad]);
        Ok([Some(grad.clone()), wanted[1].then(of_input).transpose()?])
    }
}

/// What both sides have of samples of `from`, zero in the rest of `to`.
struct Shared(Sides);

impl Op<1> for Shared {
    const NAME: &'static str = "the gradient of the skip connection";

    fn shape(&self, [x]: [&Shape; 1]) -> Result<Shape> {
        Ok((batch(x, &self.0.from)?, self.0.to.dim()).into())
    }

    fn forward<T: Real>(&self, [x]: [Array<T>; 1]) -> Result<Vec<T>> {
        Ok(cpu::shared(&self.0.to, &self.0.from, &x))
    }

    fn launches(&self, _: Kind, [x]: [&Shape; 1]) -> Result<Call> {
        let sequence = launches::backward(&self.0.turned().tables(), x.dims()[0]);
        Ok(Call::forward(sequence, 1))
    }
}

impl Closed<1> for Shared {
    fn backward(&self, _: [&Tensor; 1], grad: &Tensor, _: [bool; 1]) -> Result<Gradients<1>> {
        Ok([Some(apply(Shared(self.0.turned()), [grad])?)])
    }
}
