//! Products along edges, summed where they meet: gather, segment sum and everything between.
//!
//! A [`contract`]ion multiplies up to three factors on every edge and sums the products into the
//! rows of its result:
//!
//! `out[row, a, f] = sum over the edges e of row, and over axes and channels that the result has
//! not, of the product of factor_k[place_k(e), a, f]`
//!
//! The rows of a factor, and those of the result, lie at the edges, or at their receivers or
//! senders (then the edge takes its end's row: a gather; a result there is a sum over the edges of
//! each row), or are shared by an edge and the edge back. A row holds a number, a vector (axes, `a`), channels (`f`) or channels of vectors.
//! Examples, for `x` at the atoms and a filter `w` on the edges:
//!
//! | factors | result | what it is |
//! |---|---|---|
//! | `x` at the senders | edges | gather |
//! | `w` on the edges | receivers | segment sum |
//! | `x` at the senders, `w` on the edges | receivers | convolution with a filter |
//! | two vectors on the edges | a number on the edges | inner product |
//! | channels at the senders, `w`, a direction on the edges | vectors at the receivers | PaiNN's message |
//!
//! A contraction is linear in each factor, and the gradient of a factor is a contraction again (of
//! the result's gradient and the other factors), so the op is closed under differentiation and
//! nothing as long as the edges is kept that the caller has not made. Sums go in the order of the
//! edges, so bits do not depend on the number of threads. There are no GPU kernels yet.

mod cpu;
mod incidence;
mod kinds;
mod on_edges;
mod place;

pub use incidence::{Ends, Incidence, Pairs};
pub use kinds::{Contraction, Factor, Kind, Row, edge, pair, receiver, sender};
pub use on_edges::on_edges;
pub use place::Place;

use super::adapter::{Adapter, Apply, apply};
use super::cpu::Real;
use super::op::{Array, Closed, Op};
use candle_core::{Result, Shape, Tensor, bail};
use kinds::Widths;
use std::sync::Arc;

/// Multiplies one, two or three `factors` along the edges and sums into `out`.
///
/// # Errors
/// Factors whose shapes do not fit the edges, their kinds or each other.
pub fn contract<const N: usize>(
    edges: &Arc<Incidence>,
    factors: [Factor; N],
    out: Kind,
) -> Result<Tensor>
where
    Adapter<Contraction<N>, N>: Apply<N>,
{
    let op = Contraction {
        edges: edges.clone(),
        factors: factors.map(|(kind, _)| kind),
        out,
        widths: Widths::of(&factors)?,
    };
    apply(op, factors.map(|(_, tensor)| tensor))
}

/// `x` `[rows, channels]` at the senders, on every edge.
///
/// # Errors
/// As [`contract`].
pub fn gather(edges: &Arc<Incidence>, x: &Tensor) -> Result<Tensor> {
    contract(edges, [(sender(Row::Channels), x)], edge(Row::Channels))
}

/// The sums of `x` `[edges, channels]` over the edges of each receiver.
///
/// # Errors
/// As [`contract`].
pub fn segment_sum(edges: &Arc<Incidence>, x: &Tensor) -> Result<Tensor> {
    contract(edges, [(edge(Row::Channels), x)], receiver(Row::Channels))
}

impl<const N: usize> Op<N> for Contraction<N> {
    const NAME: &'static str = "the contraction along edges";

    fn shape(&self, inputs: [&Shape; N]) -> Result<Shape> {
        for (kind, shape) in self.factors.iter().zip(inputs) {
            let rows = self.edges.rows(kind.place);
            if shape.dims()[0] != rows {
                bail!(
                    "a factor of kind {kind:?} has {} rows, not {rows}",
                    shape.dims()[0]
                );
            }
        }
        let mut dims = vec![self.edges.rows(self.out.place)];
        if self.out.row.has_axes() {
            dims.push(self.widths.axes);
        }
        if self.out.row.has_channels() {
            dims.push(self.widths.channels);
        }
        Ok(dims.into())
    }

    fn forward<T: Real>(&self, inputs: [Array<T>; N]) -> Result<Vec<T>> {
        Ok(cpu::contract(self, inputs.map(|input| input.data)))
    }

    fn products(&self, _: [&Shape; N]) -> usize {
        match N {
            1 => 0,
            _ => self.edges.len() * self.widths.axes * self.widths.channels,
        }
    }
}

impl<const N: usize> Closed<N> for Contraction<N>
where
    Adapter<Contraction<N>, N>: Apply<N>,
{
    /// The gradient of a factor sums, into that factor's rows, the gradient of the result times
    /// the other factors.
    fn backward(
        &self,
        inputs: [&Tensor; N],
        grad: &Tensor,
        wanted: [bool; N],
    ) -> Result<[Option<Tensor>; N]> {
        let mut gradients = [const { None }; N];
        for k in (0..N).filter(|&k| wanted[k]) {
            let (mut factors, mut tensors) = (self.factors, inputs);
            factors[k] = self.out;
            tensors[k] = grad;
            let op = Self {
                edges: self.edges.clone(),
                factors,
                out: self.factors[k],
                widths: self.widths,
            };
            gradients[k] = Some(apply(op, tensors)?);
        }
        Ok(gradients)
    }
}

#[cfg(test)]
mod tests;
