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
//! each row). A row holds a number, a vector (axes, `a`), channels (`f`) or channels of vectors.
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

pub use incidence::{Ends, Incidence};

use super::adapter::{Adapter, Apply, apply};
use super::cpu::Real;
use super::op::{Array, Closed, Op};
use candle_core::{Result, Shape, Tensor, bail};
use std::sync::Arc;

/// Where rows lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Receiver,
    Sender,
    Edge,
}

/// What a row holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// A tensor `[rows]`.
    Number,
    /// A tensor `[rows, axes]`.
    Vector,
    /// A tensor `[rows, channels]`.
    Channels,
    /// A tensor `[rows, axes, channels]`.
    Vectors,
}

/// Where the rows of a tensor lie and what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    pub place: Place,
    pub row: Row,
}

/// Rows at the edges.
pub const fn edge(row: Row) -> Kind {
    let place = Place::Edge;
    Kind { place, row }
}

/// Rows at the receivers of the edges.
pub const fn receiver(row: Row) -> Kind {
    let place = Place::Receiver;
    Kind { place, row }
}

/// Rows at the senders of the edges.
pub const fn sender(row: Row) -> Kind {
    let place = Place::Sender;
    Kind { place, row }
}

/// A factor of a contraction.
pub type Factor<'a> = (Kind, &'a Tensor);

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

impl Row {
    const fn has_axes(self) -> bool {
        matches!(self, Row::Vector | Row::Vectors)
    }

    const fn has_channels(self) -> bool {
        matches!(self, Row::Channels | Row::Vectors)
    }
}

/// Numbers of axes and channels; one where no factor has any.
#[derive(Debug, Clone, Copy)]
struct Widths {
    axes: usize,
    channels: usize,
}

impl Widths {
    fn of(factors: &[Factor]) -> Result<Self> {
        let (mut axes, mut channels) = (None, None);
        for (kind, tensor) in factors {
            let dims = tensor.dims();
            let rank = 1 + kind.row.has_axes() as usize + kind.row.has_channels() as usize;
            if dims.len() != rank {
                bail!("a factor of kind {kind:?} has shape {dims:?}");
            }
            for (has, dim, width) in [
                (kind.row.has_axes(), dims.get(1), &mut axes),
                (kind.row.has_channels(), dims.last(), &mut channels),
            ] {
                if has && *width.get_or_insert(dim) != dim {
                    bail!("factors of different widths along the same edges: {dims:?}");
                }
            }
        }
        let width = |w: Option<Option<&usize>>| w.flatten().copied().unwrap_or(1);
        Ok(Self {
            axes: width(axes),
            channels: width(channels),
        })
    }

    /// Elements of a row.
    fn row(self, row: Row) -> usize {
        let axes = if row.has_axes() { self.axes } else { 1 };
        let channels = if row.has_channels() { self.channels } else { 1 };
        axes * channels
    }
}

/// The op of [`contract`].
#[derive(Debug, Clone)]
pub struct Contraction<const N: usize> {
    edges: Arc<Incidence>,
    factors: [Kind; N],
    out: Kind,
    widths: Widths,
}

impl Incidence {
    /// Number of rows at a place.
    fn rows(&self, place: Place) -> usize {
        match place {
            Place::Receiver => self.receiving(),
            Place::Sender => self.sending(),
            Place::Edge => self.len(),
        }
    }
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
