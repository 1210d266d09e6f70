//! Message passing: what atoms send along edges, and its sum at the receivers.

use super::Linear;
use crate::models::Parameters;
use crate::ops::dual::{At, Dual};
use crate::ops::pointwise::Functions;
use crate::ops::segment::{Incidence, Row, contract, edge, on_edges, pair, receiver, sender};
use candle_core::{D, Result, Tensor, bail};
use std::sync::Arc;

/// The geometry of a batch's edges.
#[derive(Debug, Clone)]
pub struct Geometry {
    pub edges: Arc<Incidence>,
    /// Å, from each edge's receiver to its sender, `[E, 3]`.
    pub vectors: Dual,
    /// Å, `[E]`.
    pub distances: Dual,
}

impl Geometry {
    /// # Errors
    /// Vectors of another shape than `[edges, 3]`.
    pub fn new(edges: &Arc<Incidence>, vectors: Dual) -> Result<Self> {
        let factors = [(edge(Row::Vector), &vectors), (edge(Row::Vector), &vectors)];
        let distances = Dual::contract(edges, factors, edge(Row::Number))?.sqrt(0.0)?;
        Ok(Self {
            edges: edges.clone(),
            vectors,
            distances,
        })
    }

    /// The geometry of pairs of edges, a pair taken for its first edge: for functions of the distance,
    /// which an edge and the edge back have in common.
    ///
    /// # Errors
    /// Those of candle.
    pub fn pairs(&self) -> Result<Self> {
        let Some(pairs) = self.edges.pairs() else {
            return Ok(self.clone());
        };
        let factors = [(sender(Row::Vector), &self.vectors)];
        let vectors = Dual::contract(&pairs.firsts, factors, edge(Row::Vector))?;
        Self::new(&pairs.edges, vectors)
    }

    /// Unit vectors from each edge's receiver to its sender, `[E, 3]`.
    ///
    /// # Errors
    /// Those of candle.
    pub fn directions(&self) -> Result<Dual> {
        let inverse = self.distances.recip()?;
        let factors = [
            (edge(Row::Vector), &self.vectors),
            (edge(Row::Number), &inverse),
        ];
        Dual::contract(&self.edges, factors, edge(Row::Vector))
    }

    /// Functions of the distance, `[E, count]`, or `[E]` for one.
    ///
    /// # Errors
    /// Those of the functions.
    pub fn radial<F: Functions>(&self, f: &Arc<F>) -> Result<Dual> {
        self.distances.apply(f)
    }
}

/// A linear layer on features of an edge and its ends side by side, `[E, to]`: what `parts` say, in
/// the order of the layer's input. The ends' parts are products of the atoms, which are fewer than
/// the edges. All parts may be of vectors, `[.., 3, channels]`.
///
/// # Errors
/// Widths whose sum is not the layer's.
pub fn joined<const N: usize>(
    layer: &Linear,
    edges: &Arc<Incidence>,
    parts: [At; N],
    p: &Parameters,
) -> Result<Dual> {
    let (mut mapped, mut first) = (Vec::with_capacity(N), 0);
    for At(place, x) in parts {
        let columns = first..first + x.value.dim(D::Minus1)?;
        let bias = first == 0;
        first = columns.end;
        mapped.push((place, layer.dual_columns(columns, x, bias, p)?));
    }
    if first != layer.inputs() {
        bail!("{first} channels for a layer of {}", layer.inputs());
    }
    let values: Vec<_> = mapped.iter().map(|(place, y)| (*place, &y.value)).collect();
    let tangents: Vec<_> = mapped
        .iter()
        .filter_map(|(place, y)| Some((*place, y.tangent.as_ref()?)))
        .collect();
    Ok(Dual {
        value: on_edges(edges, &values)?,
        tangent: match tangents.is_empty() {
            true => None,
            false => Some(on_edges(edges, &tangents)?),
        },
    })
}

/// A convolution with a filter on `P` pairs of edges, channel by channel:
/// `out_i = sum over edges j -> i of x_j * filter_e * envelope_e`; `x` is `[N, F]`, `filter` `[P, F]`
/// and `envelope` `[P]`.
///
/// # Errors
/// Shapes that do not fit.
pub fn convolve(edges: &Arc<Incidence>, x: &Dual, filter: &Dual, envelope: &Dual) -> Result<Dual> {
    let factors = [
        (sender(Row::Channels), x),
        (pair(Row::Channels), filter),
        (pair(Row::Number), envelope),
    ];
    Dual::contract(edges, factors, receiver(Row::Channels))
}

/// [`convolve`] of vectors: `x` `[N, 3, F]`.
///
/// # Errors
/// Shapes that do not fit.
pub fn convolve_vectors(
    edges: &Arc<Incidence>,
    x: &Dual,
    filter: &Dual,
    envelope: &Dual,
) -> Result<Dual> {
    let factors = [
        (sender(Row::Vectors), x),
        (pair(Row::Channels), filter),
        (pair(Row::Number), envelope),
    ];
    Dual::contract(edges, factors, receiver(Row::Vectors))
}

/// Messages along a vector of each edge: `out_i = sum over edges j -> i of x_j * filter_e (x)
/// vector_e`; `x` `[N, F]`, `filter` `[P, F]`, `vectors` `[E, 3]`; result `[N, 3, F]`.
///
/// # Errors
/// Shapes that do not fit.
pub fn convolve_along(
    edges: &Arc<Incidence>,
    x: &Dual,
    filter: &Dual,
    vectors: &Dual,
) -> Result<Dual> {
    let factors = [
        (sender(Row::Channels), x),
        (pair(Row::Channels), filter),
        (edge(Row::Vector), vectors),
    ];
    Dual::contract(edges, factors, receiver(Row::Vectors))
}

/// Forces on the `[N, 3]` atoms from the gradient of the energy by the edges' vectors, `[E, 3]`: a
/// vector grows with its sender's position and shrinks with its receiver's.
///
/// # Errors
/// Another shape.
pub fn forces(edges: &Arc<Incidence>, gradient: &Tensor) -> Result<Tensor> {
    let along = [(edge(Row::Vector), gradient)];
    contract(edges, along, receiver(Row::Vector))? - contract(edges, along, sender(Row::Vector))?
}

/// The vectors of the edges for `[N, 3]` positions in one copy of space: from each edge's receiver
/// to its sender.
///
/// # Errors
/// Another shape.
pub fn differences(edges: &Arc<Incidence>, positions: &Tensor) -> Result<Tensor> {
    let at = |kind| contract(edges, [(kind, positions)], edge(Row::Vector));
    at(sender(Row::Vector))? - at(receiver(Row::Vector))?
}
