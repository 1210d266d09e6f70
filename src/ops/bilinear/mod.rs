//! A product of two small matrices for each row, and a linear map of it.
//!
//! ```text
//! out[e, o] = sum_ci w[o, c, i] sum_l a[e, c, l] s[e, l, i]
//! ```
//!
//! The products `[e, c, i]` are the widest thing in the networks that need this; they are made for
//! some rows at a time, in the forward pass and in the backward pass again.
//!
//! The product is a [`form`](super::form) of `a`, `s`, `w` and the result, and closed under
//! differentiation. Sums go in an order that depends on the rows alone. There are no GPU kernels
//! yet.

mod cpu;

use super::cpu::Real;
use super::dual::Dual;
use super::form::{Arguments, Form, multiply};
use candle_core::{Result, Tensor, bail};

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
    let form = Bilinear {
        rows,
        left,
        middle,
        right,
        out,
    };
    Dual::multilinear([a, s], |[a, s]| multiply(form, [a, s, weights]))
}

/// Arguments of the form.
const LEFT: usize = 0;
const RIGHT: usize = 1;
const WEIGHTS: usize = 2;
const OUT: usize = 3;

#[derive(Debug, Clone, Copy)]
struct Bilinear {
    rows: usize,
    /// `C`.
    left: usize,
    /// `L`.
    middle: usize,
    /// `I`.
    right: usize,
    /// `O`.
    out: usize,
}

impl Bilinear {
    /// Numbers of a row of an argument.
    fn width(&self, argument: usize) -> usize {
        self.dims(argument)[1..].iter().product()
    }
}

impl Form<3> for Bilinear {
    const NAME: &'static str = "the map of products";

    const OUT: usize = OUT;

    fn dims(&self, argument: usize) -> Vec<usize> {
        match argument {
            LEFT => vec![self.rows, self.left, self.middle],
            RIGHT => vec![self.rows, self.middle, self.right],
            WEIGHTS => vec![self.out, self.left * self.right],
            _ => vec![self.rows, self.out],
        }
    }

    fn derivative<T: Real>(&self, by: usize, arguments: Arguments<T>) -> Vec<T> {
        cpu::derivative(*self, by, arguments)
    }

    /// Products and maps back are made once for two of the derivatives.
    fn products(&self, by: usize) -> usize {
        let numbers = self.left * self.right;
        let of_number = match by {
            OUT | LEFT => self.middle + self.out,
            WEIGHTS => self.out,
            _ => self.middle,
        };
        self.rows * numbers * of_number
    }
}

#[cfg(test)]
mod tests;
