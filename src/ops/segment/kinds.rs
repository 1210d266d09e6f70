//! What is multiplied and summed: rows of tensors at the edges and at their ends.

use super::incidence::Incidence;
use super::place::Place;
use candle_core::{Result, Tensor, bail};
use std::sync::Arc;

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

/// Rows that an edge and the edge back share.
pub const fn pair(row: Row) -> Kind {
    let place = Place::Pair;
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

impl Row {
    pub(super) const fn has_axes(self) -> bool {
        matches!(self, Row::Vector | Row::Vectors)
    }

    pub(super) const fn has_channels(self) -> bool {
        matches!(self, Row::Channels | Row::Vectors)
    }
}

/// Numbers of axes and channels; one where no factor has any.
#[derive(Debug, Clone, Copy)]
pub(super) struct Widths {
    pub axes: usize,
    pub channels: usize,
}

impl Widths {
    pub fn of(factors: &[Factor]) -> Result<Self> {
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
    pub fn row(self, row: Row) -> usize {
        let axes = if row.has_axes() { self.axes } else { 1 };
        let channels = if row.has_channels() { self.channels } else { 1 };
        axes * channels
    }
}

/// The op of [`super::contract`].
#[derive(Debug, Clone)]
pub struct Contraction<const N: usize> {
    pub(super) edges: Arc<Incidence>,
    pub(super) factors: [Kind; N],
    pub(super) out: Kind,
    pub(super) widths: Widths,
}
