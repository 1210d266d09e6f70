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
//! Summed against a tensor of the result's shape this is a form that is linear in each of the
//! four. The op is the derivative of this form by one of them, and its gradients are the
//! derivatives by the others: it is closed under differentiation. Sums go in the order of the
//! edges, so bits do not depend on the number of threads. There are no GPU kernels yet.

mod cpu;
mod plan;

pub use plan::Plan;

use super::adapter::{Adapter, Apply, apply};
use super::cpu::Real;
use super::dual::Dual;
use super::op::{Array, Closed, Op};
use super::segment::{Incidence, Place};
use candle_core::{Result, Shape, Tensor, bail};
use plan::Coupling;
use std::sync::Arc;

/// A factor and where its rows are, `[rows, ..]`.
#[derive(Debug, Clone, Copy)]
pub struct At<'a>(pub Place, pub &'a Dual);

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
    let form = Form::<2>::new(plan, edges, [left.0, right.0, out, out]);
    Dual::multilinear([left.1, right.1], |factors| apply(form.clone(), factors))
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
    let form = Form::<3>::new(plan, edges, [left.0, right.0, out, weights.0]);
    let factors = [left.1, right.1, weights.1];
    Dual::multilinear(factors, |factors| apply(form.clone(), factors))
}

/// Arguments of the form.
const LEFT: usize = 0;
const RIGHT: usize = 1;
const OUT: usize = 2;
const WEIGHTS: usize = 3;

/// The derivative of the form of `N + 1` arguments (two: without weights) by one of them; the op's
/// inputs are the others in order.
#[derive(Debug, Clone)]
pub struct Form<const N: usize> {
    plan: Arc<Plan>,
    edges: Arc<Incidence>,
    places: [Place; 4],
    by: usize,
}

impl<const N: usize> Form<N> {
    fn new(plan: &Arc<Plan>, edges: &Arc<Incidence>, places: [Place; 4]) -> Self {
        Self {
            plan: plan.clone(),
            edges: edges.clone(),
            places,
            by: OUT,
        }
    }

    /// The argument that input `k` is.
    fn argument(&self, k: usize) -> usize {
        k + usize::from(k >= self.by)
    }
}

impl<const N: usize> Op<N> for Form<N> {
    const NAME: &'static str = "the tensor product along edges";

    fn shape(&self, inputs: [&Shape; N]) -> Result<Shape> {
        let widths = self.plan.widths();
        let expected = |a: usize| [self.edges.rows(self.places[a]), widths[a]];
        for (k, shape) in inputs.iter().enumerate() {
            let expected = expected(self.argument(k));
            if shape.dims() != expected {
                bail!(
                    "{}: argument {k} is {shape:?}, not {expected:?}",
                    Self::NAME
                );
            }
        }
        let narrow = |c: &Coupling| c.right_channels == 1;
        if N == 3 && !self.plan.couplings.iter().all(narrow) {
            bail!("{}: weights and a right factor with channels", Self::NAME);
        }
        Ok((&expected(self.by)).into())
    }

    fn forward<T: Real>(&self, inputs: [Array<T>; N]) -> Result<Vec<T>> {
        let mut arguments: [&[T]; 4] = [&[]; 4];
        for (k, input) in inputs.iter().enumerate() {
            arguments[self.argument(k)] = input.data;
        }
        Ok(cpu::derivative(self, arguments))
    }

    fn products(&self, _: [&Shape; N]) -> usize {
        let couplings = self.plan.couplings.iter();
        self.edges.len() * couplings.map(Coupling::products).sum::<usize>()
    }
}

impl<const N: usize> Closed<N> for Form<N>
where
    Adapter<Form<N>, N>: Apply<N>,
{
    fn backward(
        &self,
        inputs: [&Tensor; N],
        grad: &Tensor,
        wanted: [bool; N],
    ) -> Result<[Option<Tensor>; N]> {
        let mut arguments = [grad; 4];
        for (k, input) in inputs.into_iter().enumerate() {
            arguments[self.argument(k)] = input;
        }
        let mut gradients = [const { None }; N];
        for k in (0..N).filter(|&k| wanted[k]) {
            let mut op = self.clone();
            op.by = self.argument(k);
            let mut inputs = inputs;
            for (i, input) in inputs.iter_mut().enumerate() {
                *input = arguments[op.argument(i)];
            }
            gradients[k] = Some(apply(op, inputs)?);
        }
        Ok(gradients)
    }
}

#[cfg(test)]
mod tests;
