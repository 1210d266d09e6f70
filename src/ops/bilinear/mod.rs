//! A product of two small matrices for each row, and a linear map of it.
//!
//! ```text
//! out[e, o] = sum_ci w[o, c, i] sum_l a[e, c, l] s[e, l, i]
//! ```
//!
//! The products `[e, c, i]` are the widest thing in the networks that need this; they are made for
//! some rows at a time, in the forward pass and in the backward pass again.
//!
//! Like [`tensor_product`](super::tensor_product) the op is the derivative of a form, here of `a`,
//! `s`, `w` and the result, by one of them, and closed under differentiation. Sums go in an order
//! that depends on the rows alone. There are no GPU kernels yet.

mod cpu;

use super::adapter::apply;
use super::cpu::Real;
use super::dual::Dual;
use super::op::{Array, Closed, Op};
use candle_core::{Result, Shape, Tensor, bail};

/// `a` `[rows, C, L]`, `s` `[rows, L, I]` and `weights` `[O, C * I]` to `[rows, O]`.
///
/// # Errors
/// Shapes that do not fit each other.
pub fn bilinear(a: &Dual, s: &Dual, weights: &Tensor) -> Result<Dual> {
    let ((rows, left, middle), (own, inner, right)) = (a.value.dims3()?, s.value.dims3()?);
    let (out, width) = weights.dims2()?;
    if (rows, middle, left * right) != (own, inner, width) {
        let [a, s] = [a, s].map(|dual| dual.value.shape());
        bail!("a map {:?} of products of {a:?} and {s:?}", weights.shape());
    }
    let form = Form {
        rows,
        left,
        middle,
        right,
        out,
        by: OUT,
    };
    Dual::multilinear([a, s], |[a, s]| apply(form, [a, s, weights]))
}

/// Arguments of the form.
const LEFT: usize = 0;
const RIGHT: usize = 1;
const WEIGHTS: usize = 2;
const OUT: usize = 3;

/// The derivative of the form by one of its arguments; the op's inputs are the others in order.
#[derive(Debug, Clone, Copy)]
struct Form {
    rows: usize,
    /// `C`.
    left: usize,
    /// `L`.
    middle: usize,
    /// `I`.
    right: usize,
    /// `O`.
    out: usize,
    by: usize,
}

impl Form {
    /// The argument that input `k` is.
    fn argument(&self, k: usize) -> usize {
        k + usize::from(k >= self.by)
    }

    fn dims(&self, argument: usize) -> Vec<usize> {
        match argument {
            LEFT => vec![self.rows, self.left, self.middle],
            RIGHT => vec![self.rows, self.middle, self.right],
            WEIGHTS => vec![self.out, self.left * self.right],
            _ => vec![self.rows, self.out],
        }
    }

    /// Numbers of a row of an argument.
    fn width(&self, argument: usize) -> usize {
        self.dims(argument)[1..].iter().product()
    }
}

impl Op<3> for Form {
    const NAME: &'static str = "the map of products";

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
        Ok(self.dims(self.by).into())
    }

    fn forward<T: Real>(&self, inputs: [Array<T>; 3]) -> Result<Vec<T>> {
        let mut arguments: [&[T]; 4] = [&[]; 4];
        for (k, input) in inputs.iter().enumerate() {
            arguments[self.argument(k)] = input.data;
        }
        Ok(cpu::derivative(self, arguments))
    }

    /// Products and maps back are made once for two of the derivatives.
    fn products(&self, _: [&Shape; 3]) -> usize {
        let numbers = self.left * self.right;
        let of_number = match self.by {
            OUT | LEFT => self.middle + self.out,
            WEIGHTS => self.out,
            _ => self.middle,
        };
        self.rows * numbers * of_number
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
            let mut op = *self;
            op.by = self.argument(k);
            let inputs = [0, 1, 2].map(|i| arguments[op.argument(i)]);
            gradients[k] = Some(apply(op, inputs)?);
        }
        Ok(gradients)
    }
}

#[cfg(test)]
mod tests;
