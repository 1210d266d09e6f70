//! Shares of the edges that end in an atom.

use crate::ops::dual::Dual;
use crate::ops::segment::{Incidence, Row, edge, receiver};
use candle_core::{DType, Result, Tensor};
use std::sync::Arc;

/// The softmax of `scores` `[E, heads]` over the edges of each receiver, with the edges' factors
/// `envelope` `[E]`, if there are any: `a_e = u_e^2 exp(s_e) / sum over e' of u_e' exp(s_e')`. An
/// edge whose factor goes to zero leaves the others' shares continuously, and has none itself even
/// where it is the only one.
///
/// # Errors
/// Shapes that do not fit.
pub fn edge_softmax(
    edges: &Arc<Incidence>,
    scores: &Dual,
    envelope: Option<&Dual>,
) -> Result<Dual> {
    /// So that a sum is not zero.
    const EPSILON: f64 = 1e-16;
    // The result does not depend on the largest score, so that it may count as a constant.
    let largest = largest(edges, &scores.value)?;
    let shifted = scores.map(|s| s - &largest, |_, t| Ok(t.clone()))?;
    let mut parts = shifted.map(|s| s.exp(), |s, t| s.exp()? * t)?;
    let times = |x: &Dual, u: &Dual| {
        let factors = [(edge(Row::Channels), x), (edge(Row::Number), u)];
        Dual::contract(edges, factors, edge(Row::Channels))
    };
    if let Some(envelope) = envelope {
        parts = times(&parts, envelope)?;
    }
    let sums = Dual::contract(
        edges,
        [(edge(Row::Channels), &parts)],
        receiver(Row::Channels),
    )?;
    let inverse = sums.map(|s| s + EPSILON, |_, t| Ok(t.clone()))?.recip()?;
    let factors = [
        (edge(Row::Channels), &parts),
        (receiver(Row::Channels), &inverse),
    ];
    let shares = Dual::contract(edges, factors, edge(Row::Channels))?;
    match envelope {
        Some(envelope) => times(&shares, envelope),
        None => Ok(shares),
    }
}

/// The largest score at each edge's receiver, `[E, heads]`, a constant.
fn largest(edges: &Incidence, scores: &Tensor) -> Result<Tensor> {
    let rows = scores.detach().to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let heads = scores.dim(1)?;
    let mut all = Vec::with_capacity(rows.len() * heads);
    for receiver in 0..edges.receiving() {
        let own = edges.of_receiver(receiver);
        let largest = |h: usize| {
            rows[own.clone()]
                .iter()
                .map(|r| r[h])
                .fold(f64::MIN, f64::max)
        };
        let row: Vec<f64> = (0..heads).map(largest).collect();
        own.clone().for_each(|_| all.extend_from_slice(&row));
    }
    Tensor::from_vec(all, (rows.len(), heads), scores.device())?.to_dtype(scores.dtype())
}
