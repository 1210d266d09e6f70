//! Linear maps along edges, where the matrix of an edge is a linear function of its features.
//!
//! For an edge `e` from the row `s` of `x`, with features `f`,
//!
//! ```text
//! out[e, j, a, o] = sum_i R[e, j, i, o] x[s, a, i],    R[e, j, i, o] = sum_k w[j, i, o, k] f[e, k]
//! ```
//!
//! for every axis `a` and every map `j` of the edge. This is what the last layer of a network of
//! edges gives to the kernels of a tensor field network. `R` has thousands of numbers for an edge;
//! they are made for some edges at a time, in the forward pass and in the backward pass again, so
//! that memory is that of `x`, `f`, `w` and the result.
//!
//! The map is a [`form`](super::form) of `x`, `f`, `w` and the result, and closed under
//! differentiation. Sums go in an order that depends on the edges alone. There are no GPU kernels
//! yet.

mod cpu;

use super::cpu::Real;
use super::dual::Dual;
use super::form::{Arguments, Form, multiply};
use super::segment::Incidence;
use candle_core::{Result, Tensor};
use std::sync::Arc;

/// How many numbers there are of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Maps of an edge, `j`.
    pub maps: usize,
    /// Axes that a map acts on alike, `a`.
    pub axes: usize,
    /// Channels of the input, `i`.
    pub from: usize,
    /// Channels of the result, `o`.
    pub to: usize,
}

/// Maps `x` `[senders, axes * from]` by matrices made of `features` `[edges, K]` and `weights`
/// `[maps * from * to, K]` to `[edges, maps * axes * to]`; the last index of each is innermost.
///
/// # Errors
/// Shapes that do not fit the edges, the sizes or each other.
pub fn edge_map(
    edges: &Arc<Incidence>,
    sizes: Sizes,
    x: &Dual,
    features: &Dual,
    weights: &Tensor,
) -> Result<Dual> {
    let form = EdgeMap {
        edges: edges.clone(),
        sizes,
        features: features.value.dim(1)?,
    };
    Dual::multilinear([x, features], |[x, f]| {
        multiply(form.clone(), [x, f, weights])
    })
}

/// Arguments of the form.
const X: usize = 0;
const FEATURES: usize = 1;
const WEIGHTS: usize = 2;
const OUT: usize = 3;

#[derive(Debug, Clone)]
struct EdgeMap {
    edges: Arc<Incidence>,
    sizes: Sizes,
    features: usize,
}

impl EdgeMap {
    /// Rows of an argument, and numbers of each.
    fn rows(&self, argument: usize) -> [usize; 2] {
        let Sizes {
            maps,
            axes,
            from,
            to,
        } = self.sizes;
        match argument {
            X => [self.edges.sending(), axes * from],
            FEATURES => [self.edges.len(), self.features],
            WEIGHTS => [maps * from * to, self.features],
            _ => [self.edges.len(), maps * axes * to],
        }
    }
}

impl Form<3> for EdgeMap {
    const NAME: &'static str = "the linear map along edges";

    const OUT: usize = OUT;

    fn dims(&self, argument: usize) -> Vec<usize> {
        self.rows(argument).into()
    }

    fn derivative<T: Real>(&self, by: usize, arguments: Arguments<T>) -> Vec<T> {
        cpu::derivative(self, by, arguments)
    }

    /// Matrices, and products of `x` and the result, are made once for two of the derivatives.
    fn products(&self, by: usize) -> usize {
        let Sizes {
            maps,
            axes,
            from,
            to,
        } = self.sizes;
        let of_number = match by {
            X => axes,
            WEIGHTS => self.features,
            _ => axes + self.features,
        };
        self.edges.len() * maps * from * to * of_number
    }
}

#[cfg(test)]
mod tests;
