//! Truncated signatures and log-signatures of batches of paths.
//!
//! A path `[batch, L, c]` is the piecewise linear curve through its `L` points. Its signature to
//! depth `N` is `[batch, c + c^2 + .. + c^N]`, its log-signature the same in the expanded basis,
//! or one number per Lyndon word; the order of terms is that of [`crate::words`]. The result does
//! not depend on where a path starts nor on how fast it runs. Everything is differentiable with
//! respect to the path; samples are independent, so bits do not depend on the number of threads.

mod horner;
pub mod launches;
mod logarithm;
mod lyndon;

use super::adapter::{apply, apply_once};
use super::cache::cached;
use super::cpu::Real;
use super::device::{Kind, Sequence};
use super::op::{Array, Backward, Call, Closed, Gradients, Once, Op, Operand};
use crate::words;
use candle_core::{DType, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::sync::Arc;

/// In which terms a log-signature is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// The coefficients of the Lyndon words, which determine all others.
    Words,
    /// The coefficients of all words.
    Expand,
}

/// Length of a signature; an error when it is beyond the machine's numbers.
fn terms(channels: usize, depth: usize) -> Result<usize> {
    if depth == 0 {
        bail!("a signature needs a depth of at least 1");
    }
    match words::terms(channels, depth) {
        Some(n) if n <= isize::MAX as usize / 16 => Ok(n),
        _ => bail!("a signature of {channels} channels to depth {depth} is too long"),
    }
}

/// The signature of `path` `[batch, L, c]` to `depth`, `[batch, c + .. + c^depth]`.
///
/// # Errors
/// Another rank or type, a path without points or channels, a depth of 0, more terms than
/// memory can address.
pub fn signature(path: &Tensor, depth: usize) -> Result<Tensor> {
    check(path)?;
    terms(path.dim(2)?, depth)?;
    apply_once(Signature { depth }, [path])
}

/// The logarithm of the signature of `path` `[batch, L, c]` to `depth`. In the expanded basis it
/// is `[batch, c + .. + c^depth]`; at Lyndon words `[batch, words::lyndon_terms(c, depth)]`, to
/// depth 3 without a signature in between. Otherwise an f32 path is treated in f64.
///
/// # Errors
/// As [`signature`].
pub fn log_signature(path: &Tensor, depth: usize, basis: Basis) -> Result<Tensor> {
    check(path)?;
    let channels = path.dim(2)?;
    if basis == Basis::Words && (1..=3).contains(&depth) {
        return apply_once(Lyndon { depth }, [path]);
    }
    // The series' terms cancel: in f32 the fourth and later levels would lose two digits.
    let signature = signature(&path.to_dtype(DType::F64)?, depth)?;
    let logarithm = apply_once(Logarithm { channels, depth }, [&signature])?;
    let logarithm = match basis {
        Basis::Expand => logarithm,
        Basis::Words => at_lyndon_words(&logarithm, channels, depth)?,
    };
    logarithm.to_dtype(path.dtype())
}

/// The coefficients of the Lyndon words among those of all words, `[batch, c + .. + c^depth]`.
///
/// # Errors
/// Another shape or type.
pub fn at_lyndon_words(words: &Tensor, channels: usize, depth: usize) -> Result<Tensor> {
    let choice = Choose {
        positions: words::lyndon_positions(channels, depth).into(),
        terms: terms(channels, depth)?,
        back: false,
    };
    apply(choice, [words])
}

fn check(path: &Tensor) -> Result<()> {
    let (_, points, channels) = path.dims3()?;
    if points == 0 || channels == 0 {
        bail!("a path needs at least one point and one channel, not {points} and {channels}");
    }
    if !matches!(path.dtype(), DType::F32 | DType::F64) {
        bail!("a path is f32 or f64, not {:?}", path.dtype());
    }
    Ok(())
}

/// Fills rows of `width` of a new vector, in parallel.
fn map_rows<T: Real>(rows: usize, width: usize, fill: impl Fn(usize, &mut [T]) + Sync) -> Vec<T> {
    let mut out = vec![T::zero(); rows * width];
    out.par_chunks_mut(width.max(1))
        .enumerate()
        .for_each(|(i, row)| fill(i, row));
    out
}

/// Row `i` of rows of equal width.
fn row<T>(data: &[T], rows: usize, i: usize) -> &[T] {
    let width = data.len() / rows;
    &data[i * width..(i + 1) * width]
}

/// What the sequence of an op of a path takes for its gradient.
fn backward_of_path(sequence: Sequence) -> Call {
    let operands = vec![Operand::Input(0), Operand::Output, Operand::Grad];
    Call::backward(sequence, operands, &[0])
}

struct Signature {
    depth: usize,
}

impl Op<1> for Signature {
    const NAME: &'static str = "the signature of paths";

    fn shape(&self, [path]: [&Shape; 1]) -> Result<Shape> {
        let (batch, _, channels) = path.dims3()?;
        Ok((batch, terms(channels, self.depth)?).into())
    }

    fn forward<T: Real>(&self, [path]: [Array<T>; 1]) -> Result<Vec<T>> {
        let (batch, _, channels) = path.shape.dims3()?;
        let shape = horner::Shape::new(channels, self.depth);
        Ok(map_rows(batch, shape.terms(), |i, out| {
            horner::forward(&shape, row(&path, batch, i), out)
        }))
    }

    fn launches(&self, kind: Kind, [path]: [&Shape; 1]) -> Result<Call> {
        let (batch, points, channels) = path.dims3()?;
        let sequence = launches::forward(kind, batch, points, channels, self.depth)?;
        Ok(Call::forward(sequence, 1))
    }
}

impl Once<1> for Signature {
    fn vjp<T: Real>(&self, call: Backward<T, 1>) -> Result<[Option<Vec<T>>; 1]> {
        let [path] = call.inputs;
        let (batch, points, channels) = path.shape.dims3()?;
        let shape = horner::Shape::new(channels, self.depth);
        let gradient = map_rows(batch, points * channels, |i, gpath| {
            let [path, out, grad] = [&path, &call.output, &call.grad].map(|x| row(x, batch, i));
            horner::backward(&shape, path, out, grad, gpath)
        });
        Ok([Some(gradient)])
    }

    fn vjp_launches(&self, kind: Kind, [path]: [&Shape; 1], _: [bool; 1]) -> Result<Call> {
        let (batch, points, channels) = path.dims3()?;
        let sequence = launches::backward(kind, batch, points, channels, self.depth)?;
        Ok(backward_of_path(sequence))
    }
}

struct Logarithm {
    channels: usize,
    depth: usize,
}

impl Op<1> for Logarithm {
    const NAME: &'static str = "the logarithm of signatures";

    fn shape(&self, [x]: [&Shape; 1]) -> Result<Shape> {
        Ok(x.dims2()?.into())
    }

    fn forward<T: Real>(&self, [x]: [Array<T>; 1]) -> Result<Vec<T>> {
        let (batch, terms) = x.shape.dims2()?;
        let shape = horner::Shape::new(self.channels, self.depth);
        Ok(map_rows(batch, terms, |i, out| {
            logarithm::forward(&shape, row(&x, batch, i), out)
        }))
    }

    fn launches(&self, kind: Kind, [x]: [&Shape; 1]) -> Result<Call> {
        let sequence = launches::logarithm(kind, x.dims()[0], self.channels, self.depth)?;
        Ok(Call::forward(sequence, 1))
    }
}

impl Once<1> for Logarithm {
    fn vjp<T: Real>(&self, call: Backward<T, 1>) -> Result<[Option<Vec<T>>; 1]> {
        let [x] = call.inputs;
        let (batch, terms) = x.shape.dims2()?;
        let shape = horner::Shape::new(self.channels, self.depth);
        let gradient = map_rows(batch, terms, |i, gx| {
            logarithm::backward(&shape, row(&x, batch, i), row(&call.grad, batch, i), gx)
        });
        Ok([Some(gradient)])
    }

    fn vjp_launches(&self, kind: Kind, [x]: [&Shape; 1], _: [bool; 1]) -> Result<Call> {
        let sequence = launches::logarithm_backward(kind, x.dims()[0], self.channels, self.depth)?;
        let operands = vec![Operand::Input(0), Operand::Grad];
        Ok(Call::backward(sequence, operands, &[0]))
    }
}

/// The log-signature at Lyndon words, to depth 3.
struct Lyndon {
    depth: usize,
}

impl Op<1> for Lyndon {
    const NAME: &'static str = "the log-signature of paths";

    fn shape(&self, [path]: [&Shape; 1]) -> Result<Shape> {
        let ((batch, _, channels), depth) = (path.dims3()?, self.depth);
        match words::lyndon_terms(channels, depth) {
            Some(terms) => Ok((batch, terms).into()),
            None => bail!("a log-signature of {channels} channels to depth {depth} is too long"),
        }
    }

    fn forward<T: Real>(&self, [path]: [Array<T>; 1]) -> Result<Vec<T>> {
        let (batch, _, channels) = path.shape.dims3()?;
        let (_, terms) = self.shape([path.shape])?.dims2()?;
        Ok(map_rows(batch, terms, |i, out| {
            lyndon::forward(channels, self.depth, row(&path, batch, i), out)
        }))
    }

    fn launches(&self, _: Kind, [path]: [&Shape; 1]) -> Result<Call> {
        let (batch, points, channels) = path.dims3()?;
        let sequence = launches::lyndon(batch, points, channels, self.depth)?;
        Ok(Call::forward(sequence, 1))
    }
}

impl Once<1> for Lyndon {
    fn vjp<T: Real>(&self, call: Backward<T, 1>) -> Result<[Option<Vec<T>>; 1]> {
        let [path] = call.inputs;
        let (batch, points, channels) = path.shape.dims3()?;
        let gradient = map_rows(batch, points * channels, |i, gpath| {
            let [path, out, grad] = [&path, &call.output, &call.grad].map(|x| row(x, batch, i));
            lyndon::backward(channels, self.depth, path, out, grad, gpath)
        });
        Ok([Some(gradient)])
    }

    fn vjp_launches(&self, _: Kind, [path]: [&Shape; 1], _: [bool; 1]) -> Result<Call> {
        let (batch, points, channels) = path.dims3()?;
        let sequence = launches::lyndon_backward(batch, points, channels, self.depth)?;
        Ok(backward_of_path(sequence))
    }
}

/// Chosen columns of `[batch, terms]`, or `back`: columns put in their places among zeros. Each is
/// the gradient of the other.
#[derive(Clone)]
struct Choose {
    positions: Arc<[usize]>,
    terms: usize,
    back: bool,
}

impl Choose {
    /// Columns of the argument and of the result.
    fn columns(&self) -> [usize; 2] {
        match self.back {
            false => [self.terms, self.positions.len()],
            true => [self.positions.len(), self.terms],
        }
    }
}

impl Op<1> for Choose {
    const NAME: &'static str = "the choice of words";

    fn shape(&self, [x]: [&Shape; 1]) -> Result<Shape> {
        match (x.dims2()?, self.columns()) {
            ((batch, given), [from, to]) if given == from => Ok((batch, to).into()),
            ((_, given), [from, _]) => bail!("a choice among {from} words of {given}"),
        }
    }

    fn forward<T: Real>(&self, [x]: [Array<T>; 1]) -> Result<Vec<T>> {
        let batch = x.shape.dims()[0];
        let [_, columns] = self.columns();
        Ok(map_rows(batch, columns, |i, out| {
            let x = row(&x, batch, i);
            for (i, &p) in self.positions.iter().enumerate() {
                match self.back {
                    false => out[i] = x[p],
                    true => out[p] = x[i],
                }
            }
        }))
    }

    fn launches(&self, kind: Kind, [x]: [&Shape; 1]) -> Result<Call> {
        let (positions, terms) = (&self.positions, self.terms);
        let sum: usize = positions.iter().sum();
        let key = format!("choice {terms} {} {sum}", positions.len());
        let choice = cached(key, || launches::Choice::new(positions, terms));
        let sequence = launches::choose(kind, &choice, self.back, x.dims()[0]);
        Ok(Call::forward(sequence, 1))
    }
}

impl Closed<1> for Choose {
    fn backward(&self, _: [&Tensor; 1], grad: &Tensor, _: [bool; 1]) -> Result<Gradients<1>> {
        let back = !self.back;
        let op = Choose {
            back,
            ..self.clone()
        };
        Ok([Some(apply(op, [grad])?)])
    }
}
