//! Shares of the edges of an atom.

use crate::ops::dual::Dual;
use crate::ops::segment::{Incidence, Kind, Place, Row, edge};
use candle_core::{DType, Result, Tensor};
use std::sync::Arc;

/// The softmax of `scores` `[E, heads]` over the edges of each row at `over`, the receivers or the
/// senders, with the edges' factors `envelope` `[E]`, if there are any: `a_e = u_e^2 exp(s_e) / sum over e' of u_e' exp(s_e')`. An
/// edge whose factor goes to zero leaves the others' shares continuously, and has none itself even
/// where it is the only one.
///
/// # Errors
/// Shapes that do not fit.
pub fn edge_softmax(
    edges: &Arc<Incidence>,
    over: Place,
    scores: &Dual,
    envelope: Option<&Dual>,
) -> Result<Dual> {
    /// So that a sum is not zero.
    const EPSILON: f64 = 1e-16;
    // The result does not depend on the largest score, so that it may count as a constant.
    let largest = largest(edges, over, &scores.value)?;
    let shifted = scores.map(|s| s - &largest, |_, t| Ok(t.clone()))?;
    let mut parts = shifted.map(|s| s.exp(), |s, t| s.exp()? * t)?;
    let times = |x: &Dual, u: &Dual| {
        let factors = [(edge(Row::Channels), x), (edge(Row::Number), u)];
        Dual::contract(edges, factors, edge(Row::Channels))
    };
    if let Some(envelope) = envelope {
        parts = times(&parts, envelope)?;
    }
    let row = Row::Channels;
    let at = Kind { place: over, row };
    let sums = Dual::contract(edges, [(edge(row), &parts)], at)?;
    let inverse = sums.map(|s| s + EPSILON, |_, t| Ok(t.clone()))?.recip()?;
    let factors = [(edge(Row::Channels), &parts), (at, &inverse)];
    let shares = Dual::contract(edges, factors, edge(Row::Channels))?;
    match envelope {
        Some(envelope) => times(&shares, envelope),
        None => Ok(shares),
    }
}

/// The largest score of each edge's row at `over`, `[E, heads]`, a constant.
fn largest(edges: &Incidence, over: Place, scores: &Tensor) -> Result<Tensor> {
    let rows = scores.detach().to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let heads = scores.dim(1)?;
    let row_of = match over {
        Place::Receiver => edges.receivers(),
        _ => edges.senders(),
    };
    let mut largest = vec![f64::MIN; edges.rows(over) * heads];
    for (row, scores) in row_of.iter().zip(&rows) {
        let own = &mut largest[*row as usize * heads..][..heads];
        own.iter_mut().zip(scores).for_each(|(l, s)| *l = l.max(*s));
    }
    let of_edge = |row: &u32| &largest[*row as usize * heads..][..heads];
    let all: Vec<f64> = row_of.iter().flat_map(of_edge).copied().collect();
    Tensor::from_vec(all, (rows.len(), heads), scores.device())?.to_dtype(scores.dtype())
}
