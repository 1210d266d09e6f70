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
//! Like [`tensor_product`](super::tensor_product) the op is the derivative of a form, here of
//! `x`, `f`, `w` and the result, by one of them, and closed under differentiation. Sums go in an
//! order that depends on the edges alone. There are no GPU kernels yet.

mod cpu;

use super::adapter::apply;
use super::cpu::Real;
use super::dual::Dual;
use super::op::{Array, Closed, Op};
use super::segment::Incidence;
use candle_core::{Result, Shape, Tensor, bail};
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
    let form = Form {
        edges: edges.clone(),
        sizes,
        features: features.value.dim(1)?,
        by: OUT,
    };
    Dual::multilinear([x, features], |[x, f]| apply(form.clone(), [x, f, weights]))
}

/// Arguments of the form.
const X: usize = 0;
const FEATURES: usize = 1;
const WEIGHTS: usize = 2;
const OUT: usize = 3;

/// The derivative of the form by one of its arguments; the op's inputs are the others in order.
#[derive(Debug, Clone)]
struct Form {
    edges: Arc<Incidence>,
    sizes: Sizes,
    features: usize,
    by: usize,
}

impl Form {
    /// The argument that input `k` is.
    fn argument(&self, k: usize) -> usize {
        k + usize::from(k >= self.by)
    }

    fn dims(&self, argument: usize) -> [usize; 2] {
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

impl Op<3> for Form {
    const NAME: &'static str = "the linear map along edges";

    fn shape(&self, inputs: [&Shape; 3]) -> Result<Shape> {
        for (k, shape) in inputs.iter().enumerate() {
            let expected = self.dims(self.argument(k));
            if shape.dims() != expected {
                bail!(
                    "{}: argument {k} is {shape:?}, not {expected:?}",
                    Self::NAME
                );
            }
        }
        Ok((&self.dims(self.by)).into())
    }

    fn forward<T: Real>(&self, inputs: [Array<T>; 3]) -> Result<Vec<T>> {
        let mut arguments: [&[T]; 4] = [&[]; 4];
        for (k, input) in inputs.iter().enumerate() {
            arguments[self.argument(k)] = input.data;
        }
        Ok(cpu::derivative(self, arguments))
    }

    /// Matrices, and products of `x` and the result, are made once for two of the derivatives.
    fn products(&self, _: [&Shape; 3]) -> usize {
        let Sizes {
            maps,
            axes,
            from,
            to,
        } = self.sizes;
        let of_number = match self.by {
            X => axes,
            WEIGHTS => self.features,
            _ => axes + self.features,
        };
        self.edges.len() * maps * from * to * of_number
    }
}

impl Closed<3> for Form {
    fn backward(
        &self,
        inputs: [&Tensor; 3],
        grad: &Tensor,
        wanted: [bool; 3],
    ) -> Result<[Option<Tensor>; 3]> {
        let mut arguments = [grad; 4];
        for (k, input) in inputs.into_iter().enumerate() {
            arguments[self.argument(k)] = input;
        }
        let mut gradients = [const { None }; 3];
        for k in (0..3).filter(|&k| wanted[k]) {
            let mut op = self.clone();
            op.by = self.argument(k);
            let inputs = [0, 1, 2].map(|i| arguments[op.argument(i)]);
            gradients[k] = Some(apply(op, inputs)?);
        }
        Ok(gradients)
    }
}

#[cfg(test)]
mod tests;
