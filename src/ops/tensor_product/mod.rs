//! Tensor products of features of irreps along edges, summed at their ends.
//!
//! For an edge `e` with the rows `x`, `y`, `w` of a left factor, a right factor and weights, path
//! `p` of a [`Plan`] adds to the row of the result that the edge ends in
//!
//! ```text
//! out_p[c, u] += w_p[u] sum_ab sqrt(2 l + 1) w3j[a, b, c] x[a, u] y[b]
//! ```
//!
//! where `y` may have channels `u` as well. Each of the four may be at the edges or at either
//! of their ends ([`segment`](super::segment) has the words), so that gathering, product and sum
//! are one walk over the edges of a row, and nothing of the size edges times paths is made.
//!
//! The product is a [`form`](super::form) of the four, and closed under differentiation. Sums go in
//! the order of the edges, so bits do not depend on the number of threads. There are no GPU kernels
//! yet.

mod cpu;
mod plan;

pub use plan::Plan;

use super::cpu::Real;
use super::dual::{At, Dual};
use super::form::{Arguments, Form, multiply};
use super::segment::{Incidence, Place};
use candle_core::{Result, bail};
use plan::Coupling;
use std::sync::Arc;

/// The product of `left` and `right`, each path with weight 1, summed into rows at `out`.
///
/// # Errors
/// Factors whose shapes do not fit the plan or the edges.
pub fn product(
    plan: &Arc<Plan>,
    edges: &Arc<Incidence>,
    left: At,
    right: At,
    out: Place,
) -> Result<Dual> {
    let form = TensorProduct::new(plan, edges, [left.0, right.0, out, out]);
    Dual::multilinear([left.1, right.1], |factors| multiply(form.clone(), factors))
}

/// The product of `left` and `right`, every path and channel with a weight of its own.
///
/// # Errors
/// As [`product`]; a right factor with channels.
pub fn weighted_product(
    plan: &Arc<Plan>,
    edges: &Arc<Incidence>,
    [left, right, weights]: [At; 3],
    out: Place,
) -> Result<Dual> {
    if plan.couplings.iter().any(|c| c.right_channels > 1) {
        bail!("{NAME}: weights and a right factor with channels");
    }
    let form = TensorProduct::new(plan, edges, [left.0, right.0, out, weights.0]);
    let factors = [left.1, right.1, weights.1];
    Dual::multilinear(factors, |factors| multiply(form.clone(), factors))
}

const NAME: &str = "the tensor product along edges";

/// Arguments of the form.
const LEFT: usize = 0;
const RIGHT: usize = 1;
const OUT: usize = 2;
const WEIGHTS: usize = 3;

/// A form of left, right and result, and of weights unless they are all 1.
#[derive(Debug, Clone)]
struct TensorProduct {
    plan: Arc<Plan>,
    edges: Arc<Incidence>,
    places: [Place; 4],
}

impl TensorProduct {
    fn new(plan: &Arc<Plan>, edges: &Arc<Incidence>, places: [Place; 4]) -> Self {
        Self {
            plan: plan.clone(),
            edges: edges.clone(),
            places,
        }
    }
}

impl<const N: usize> Form<N> for TensorProduct {
    const NAME: &'static str = NAME;

    const OUT: usize = OUT;

    fn dims(&self, argument: usize) -> Vec<usize> {
        let rows = self.edges.rows(self.places[argument]);
        vec![rows, self.plan.widths()[argument]]
    }

    fn derivative<T: Real>(&self, by: usize, arguments: Arguments<T>) -> Vec<T> {
        cpu::derivative(self, by, arguments, N == 3)
    }

    fn products(&self, _: usize) -> usize {
        let couplings = self.plan.couplings.iter();
        self.edges.len() * couplings.map(Coupling::products).sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
