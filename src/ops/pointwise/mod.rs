//! Functions of one number with derivatives in closed form: activations, radial bases, cutoffs.
//!
//! [`values`] evaluates `count` functions at every element, [`slopes`] multiplies their
//! derivatives with a tangent (the rule of a dual pass in one walk through memory). Both are
//! closed under differentiation as far as the functions know derivatives; to ask for more is an
//! error that names the function. There are no GPU kernels yet.

mod activation;
mod functions;
mod tanh;

pub use activation::{Relu, ScaledSilu, ShiftedSoftplus, Sigmoid, Silu, Sine};
pub use functions::Functions;
pub use tanh::{Elu, Tanh};

use super::adapter::apply;
use super::cpu::Real;
use super::op::{Array, Closed, Op};
use crate::for_isa;
use candle_core::{Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::sync::Arc;

/// The functions at every element: `x` `[..]` to `[.., count]`, or to the shape of `x` for one
/// function.
///
/// # Errors
/// Another type than f32 and f64.
pub fn values<F: Functions>(f: &Arc<F>, x: &Tensor) -> Result<Tensor> {
    derivatives(f, 0, x)
}

/// The functions' derivatives times `tangent`, which has the shape of `x`: what a change of `x`
/// changes in [`values`].
///
/// # Errors
/// As [`values`]; a tangent of another shape.
pub fn slopes<F: Functions>(f: &Arc<F>, x: &Tensor, tangent: &Tensor) -> Result<Tensor> {
    apply(Spread(Derivative::new(f, 1)?), [x, tangent])
}

fn derivatives<F: Functions>(f: &Arc<F>, order: usize, x: &Tensor) -> Result<Tensor> {
    apply(Values(Derivative::new(f, order)?), [x])
}

/// Some functions' derivative of an order.
struct Derivative<F> {
    functions: Arc<F>,
    order: usize,
}

impl<F: Functions> Derivative<F> {
    fn new(functions: &Arc<F>, order: usize) -> Result<Self> {
        if order > F::HIGHEST {
            let name = F::NAME;
            bail!(
                "{name}: no derivative of order {order}, only up to {}",
                F::HIGHEST
            );
        }
        let functions = functions.clone();
        Ok(Self { functions, order })
    }

    fn next(&self) -> Result<Self> {
        Self::new(&self.functions, self.order + 1)
    }

    fn same(&self) -> Self {
        let functions = self.functions.clone();
        Self {
            functions,
            order: self.order,
        }
    }

    /// `[..]` to `[.., count]`.
    fn spread_shape(&self, x: &Shape) -> Shape {
        match self.functions.count() {
            1 => x.clone(),
            count => x
                .dims()
                .iter()
                .copied()
                .chain([count])
                .collect::<Vec<_>>()
                .into(),
        }
    }

    /// Fills `out` a block at a time and side by side: `block(x, first, out)` gets some elements,
    /// the number of the first, and their part of `out`, of `width` for each.
    fn blocks<T: Real>(
        x: &[T],
        width: usize,
        block: impl Fn(&[T], usize, &mut [T]) + Sync,
    ) -> Vec<T> {
        const ELEMENTS: usize = 4096;
        let rows = (ELEMENTS / width).max(1);
        let mut out = vec![T::zero(); x.len() * width];
        x.par_chunks(rows)
            .zip(out.par_chunks_mut(rows * width))
            .enumerate()
            .for_each(|(i, (x, out))| block(x, i * rows, out));
        out
    }
}

for_isa!(
    /// Multiplies element by element.
    fn multiply(values: &mut [T], factors: &[T]) = multiply_any
);

#[inline(always)]
fn multiply_any<T: Real, const FUSED: bool>(values: &mut [T], factors: &[T]) {
    for (value, &factor) in values.iter_mut().zip(factors) {
        *value *= factor;
    }
}

/// `f_k(x)`.
struct Values<F>(Derivative<F>);

/// `f_k(x) t`, of `x` and `t`.
struct Spread<F>(Derivative<F>);

/// `sum_k f_k(x) g_k`, of `x` and `g`.
struct Collect<F>(Derivative<F>);

impl<F: Functions> Op<1> for Values<F> {
    const NAME: &'static str = F::NAME;

    fn shape(&self, [x]: [&Shape; 1]) -> Result<Shape> {
        Ok(self.0.spread_shape(x))
    }

    fn forward<T: Real>(&self, [x]: [Array<T>; 1]) -> Result<Vec<T>> {
        let f = &self.0;
        let evaluate = |x: &[T], _, out: &mut [T]| f.functions.evaluate(f.order, x, out);
        Ok(Derivative::<F>::blocks(&x, f.functions.count(), evaluate))
    }
}

impl<F: Functions> Closed<1> for Values<F> {
    fn backward(
        &self,
        [x]: [&Tensor; 1],
        grad: &Tensor,
        _: [bool; 1],
    ) -> Result<[Option<Tensor>; 1]> {
        Ok([Some(apply(Collect(self.0.next()?), [x, grad])?)])
    }
}

impl<F: Functions> Op<2> for Spread<F> {
    const NAME: &'static str = F::NAME;

    fn shape(&self, [x, tangent]: [&Shape; 2]) -> Result<Shape> {
        match x == tangent {
            true => Ok(self.0.spread_shape(x)),
            false => bail!("{}: a tangent of shape {tangent:?} on {x:?}", F::NAME),
        }
    }

    fn forward<T: Real>(&self, [x, tangent]: [Array<T>; 2]) -> Result<Vec<T>> {
        let (f, count) = (&self.0, self.0.functions.count());
        let block = |x: &[T], first: usize, out: &mut [T]| {
            f.functions.evaluate(f.order, x, out);
            let tangent = &tangent[first..][..x.len()];
            if count == 1 {
                multiply(out, tangent);
                return;
            }
            for (out, &t) in out.chunks_exact_mut(count).zip(tangent) {
                out.iter_mut().for_each(|o| *o *= t);
            }
        };
        Ok(Derivative::<F>::blocks(&x, count, block))
    }
}

impl<F: Functions> Closed<2> for Spread<F> {
    fn backward(
        &self,
        [x, tangent]: [&Tensor; 2],
        grad: &Tensor,
        [wants_x, wants_tangent]: [bool; 2],
    ) -> Result<[Option<Tensor>; 2]> {
        let of_x = || apply(Collect(self.0.next()?), [x, grad])? * tangent;
        let of_tangent = || apply(Collect(self.0.same()), [x, grad]);
        Ok([
            wants_x.then(of_x).transpose()?,
            wants_tangent.then(of_tangent).transpose()?,
        ])
    }
}

impl<F: Functions> Op<2> for Collect<F> {
    const NAME: &'static str = F::NAME;

    fn shape(&self, [x, grad]: [&Shape; 2]) -> Result<Shape> {
        match &self.0.spread_shape(x) == grad {
            true => Ok(x.clone()),
            false => bail!("{}: a gradient of shape {grad:?} on {x:?}", F::NAME),
        }
    }

    fn forward<T: Real>(&self, [x, grad]: [Array<T>; 2]) -> Result<Vec<T>> {
        let (f, count) = (&self.0, self.0.functions.count());
        let block = |x: &[T], first: usize, out: &mut [T]| {
            let grad = &grad[first * count..][..x.len() * count];
            if count == 1 {
                f.functions.evaluate(f.order, x, out);
                multiply(out, grad);
                return;
            }
            let mut values = vec![T::zero(); grad.len()];
            f.functions.evaluate(f.order, x, &mut values);
            let rows = values.chunks_exact(count).zip(grad.chunks_exact(count));
            for (out, (values, grad)) in out.iter_mut().zip(rows) {
                *out = values.iter().zip(grad).map(|(&v, &g)| v * g).sum();
            }
        };
        Ok(Derivative::<F>::blocks(&x, 1, block))
    }
}

impl<F: Functions> Closed<2> for Collect<F> {
    fn backward(
        &self,
        [x, grad]: [&Tensor; 2],
        second: &Tensor,
        [wants_x, wants_grad]: [bool; 2],
    ) -> Result<[Option<Tensor>; 2]> {
        let of_x = || apply(Collect(self.0.next()?), [x, grad])? * second;
        let of_grad = || apply(Spread(self.0.same()), [x, second]);
        Ok([
            wants_x.then(of_x).transpose()?,
            wants_grad.then(of_grad).transpose()?,
        ])
    }
}

#[cfg(test)]
mod tests;
