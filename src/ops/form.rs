//! Products that are linear in each of their factors.
//!
//! Summed against a tensor `g` of the result's shape, a product `out(x, y, ..)` is a number that is
//! linear in each of `x, y, .., g`: a *form*. Its derivative by `g` is the product, its derivatives
//! by the factors are the product's gradients, and the gradients of each of these are derivatives of
//! the same form again. So a [`Form`] says how it is differentiated by any one argument, and is
//! closed under differentiation.

use super::adapter::{Adapter, Apply, apply};
use super::cpu::Real;
use super::op::{Array, Closed, Gradients, Op};
use candle_core::{Result, Shape, Tensor, bail};

/// A form of `N + 1` arguments: `N` factors, and a tensor of their product's shape.
pub trait Form<const N: usize>: Clone + Send + Sync + 'static {
    /// The product's name in messages.
    const NAME: &'static str;

    /// The argument that is of the product's shape.
    const OUT: usize;

    /// The shape of an argument.
    fn dims(&self, argument: usize) -> Vec<usize>;

    /// The derivative by one of the `arguments`, on the processor; that one is not looked at.
    fn derivative<T: Real>(&self, by: usize, arguments: Arguments<T>) -> Vec<T>;

    /// Multiply-adds of a derivative: see [`super::count`].
    fn products(&self, by: usize) -> usize;
}

/// The arguments of a form; those beyond its own are empty.
pub type Arguments<'a, T> = [&'a [T]; 4];

/// The product of the factors.
///
/// # Errors
/// Factors of other shapes than the form's.
pub fn multiply<F: Form<N>, const N: usize>(form: F, factors: [&Tensor; N]) -> Result<Tensor>
where
    Adapter<Derivative<F>, N>: Apply<N>,
{
    apply(Derivative { form, by: F::OUT }, factors)
}

/// The derivative of a form by one of its arguments; the op's inputs are the others in order.
#[derive(Clone)]
pub struct Derivative<F> {
    form: F,
    by: usize,
}

impl<F> Derivative<F> {
    /// The argument that input `k` is.
    fn argument(&self, k: usize) -> usize {
        k + usize::from(k >= self.by)
    }
}

impl<F: Form<N>, const N: usize> Op<N> for Derivative<F> {
    const NAME: &'static str = F::NAME;

    fn shape(&self, inputs: [&Shape; N]) -> Result<Shape> {
        for (k, shape) in inputs.iter().enumerate() {
            let expected = self.form.dims(self.argument(k));
            if shape.dims() != expected {
                bail!("{}: argument {k} is {shape:?}, not {expected:?}", F::NAME);
            }
        }
        Ok(self.form.dims(self.by).into())
    }

    fn forward<T: Real>(&self, inputs: [Array<T>; N]) -> Result<Vec<T>> {
        let mut arguments: Arguments<T> = [&[]; 4];
        for (k, input) in inputs.iter().enumerate() {
            arguments[self.argument(k)] = input.data;
        }
        Ok(self.form.derivative(self.by, arguments))
    }

    fn products(&self, _: [&Shape; N]) -> usize {
        self.form.products(self.by)
    }
}

impl<F: Form<N>, const N: usize> Closed<N> for Derivative<F>
where
    Adapter<Self, N>: Apply<N>,
{
    fn backward(
        &self,
        inputs: [&Tensor; N],
        grad: &Tensor,
        wanted: [bool; N],
    ) -> Result<Gradients<N>> {
        let mut arguments = [grad; 4];
        for (k, input) in inputs.into_iter().enumerate() {
            arguments[self.argument(k)] = input;
        }
        let mut gradients = [const { None }; N];
        for k in (0..N).filter(|&k| wanted[k]) {
            let op = Self {
                form: self.form.clone(),
                by: self.argument(k),
            };
            let inputs = std::array::from_fn(|i| arguments[op.argument(i)]);
            gradients[k] = Some(apply(op, inputs)?);
        }
        Ok(gradients)
    }
}
