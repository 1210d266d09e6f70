//! What an op is: its meaning, apart from how candle calls it. [`super::adapter`] makes a candle
//! op of every type that has these traits.
//!
//! An op of `N` arguments is an [`Op`], and one of two:
//!
//! - [`Closed`]: its gradients are made by ops that have gradients again, so that derivatives of
//!   any order are right. Linear and bilinear maps are closed at little cost, because their
//!   gradients are maps of the same kind.
//! - [`Once`]: its gradients are made by code of its own and have no gradient. To differentiate
//!   them is an error that names the op.

use super::cpu::Real;
use super::device::{Kind, Sequence};
use candle_core::{Result, Shape, Tensor, bail};
use std::ops::Deref;

/// A contiguous argument or result in the processor's memory.
#[derive(Debug, Clone, Copy)]
pub struct Array<'a, T> {
    pub data: &'a [T],
    pub shape: &'a Shape,
}

impl<T> Deref for Array<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        self.data
    }
}

/// An op of `N` arguments.
pub trait Op<const N: usize>: Send + Sync + Sized + 'static {
    /// Its name in messages.
    const NAME: &'static str;

    /// The shape of the result.
    ///
    /// # Errors
    /// Arguments of shapes that the op does not take.
    fn shape(&self, inputs: [&Shape; N]) -> Result<Shape>;

    /// The result on the processor.
    ///
    /// # Errors
    /// What only the arguments' content can tell.
    fn forward<T: Real>(&self, inputs: [Array<T>; N]) -> Result<Vec<T>>;

    /// Multiply-adds of the products that the result is made of: see [`super::count`].
    fn products(&self, _: [&Shape; N]) -> usize {
        0
    }

    /// The result on a GPU.
    ///
    /// # Errors
    /// An op without kernels; arguments that the kernels do not take.
    fn launches(&self, _: Kind, _: [&Shape; N]) -> Result<Call> {
        bail!("{} has no kernels for a GPU", Self::NAME)
    }
}

/// Gradients of an op's arguments, where they are wanted.
pub type Gradients<const N: usize> = [Option<Tensor>; N];

/// An op whose gradients are made by ops.
pub trait Closed<const N: usize>: Op<N> {
    /// The gradients of the arguments, given that of the result; at least of those that are
    /// `wanted`.
    ///
    /// # Errors
    /// Those of the ops that make them.
    fn backward(
        &self,
        inputs: [&Tensor; N],
        grad: &Tensor,
        wanted: [bool; N],
    ) -> Result<Gradients<N>>;
}

/// What the backward pass of an op is given.
pub struct Backward<'a, T, const N: usize> {
    pub inputs: [Array<'a, T>; N],
    pub output: Array<'a, T>,
    /// The gradient of the output.
    pub grad: Array<'a, T>,
    /// Which arguments' gradients are wanted; others may be left out.
    pub wanted: [bool; N],
}

/// An op that can be differentiated once.
pub trait Once<const N: usize>: Op<N> {
    /// The gradients of the arguments on the processor.
    ///
    /// # Errors
    /// A backward pass that came before the forward pass, where the op keeps something of that.
    fn vjp<T: Real>(&self, call: Backward<T, N>) -> Result<[Option<Vec<T>>; N]>;

    /// The gradients of the arguments on a GPU.
    ///
    /// # Errors
    /// As [`Op::launches`].
    fn vjp_launches(&self, _: Kind, _: [&Shape; N], _wanted: [bool; N]) -> Result<Call> {
        bail!("the gradient of {} has no kernels for a GPU", Self::NAME)
    }
}

/// What an op asks of a GPU: a sequence, and what its inputs and outputs are.
pub struct Call {
    pub sequence: Sequence,
    /// The inputs of the sequence, in order.
    pub operands: Vec<Operand>,
    /// Of a backward pass: whose gradient each output of the sequence is, by the arguments'
    /// numbers.
    pub gradients: Vec<usize>,
}

/// An input of a sequence.
pub enum Operand {
    /// The op's argument of this number.
    Input(usize),
    /// The op's result, in the backward pass.
    Output,
    /// The gradient of the result, in the backward pass.
    Grad,
    /// A tensor that the op holds, on any device.
    Constant(Tensor),
}

impl Call {
    /// A forward pass on the first `count` arguments of the op.
    pub fn forward(sequence: Sequence, count: usize) -> Self {
        Self {
            sequence,
            operands: (0..count).map(Operand::Input).collect(),
            gradients: Vec::new(),
        }
    }

    /// A backward pass on `operands` that makes the gradients of the arguments `gradients`.
    pub fn backward(sequence: Sequence, operands: Vec<Operand>, gradients: &[usize]) -> Self {
        Self {
            sequence,
            operands,
            gradients: gradients.to_vec(),
        }
    }
}
