//! The graph that is pooled.

use crate::ops::sparse::Sparse;
use std::sync::Arc;

/// Keeps the degree's root away from zero, as in the published code.
pub(super) const EPS: f64 = 1e-15;

/// A constant graph.
#[derive(Clone)]
pub struct Edges {
    /// `A[i, j]`.
    pub matrix: Arc<Sparse>,
    /// Row sums of A.
    pub degrees: Arc<[f64]>,
    /// Whether A equals its transpose.
    pub symmetric: bool,
}
