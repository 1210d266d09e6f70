//! Layers on values with tangents.

use super::{Activation, Linear};
use crate::models::Parameters;
use crate::ops::dense::{biased, dense};
use crate::ops::dual::Dual;
use crate::ops::pointwise::{Relu, Sigmoid, Silu};
use candle_core::{Result, Tensor};
use std::ops::Range;
use std::sync::Arc;

impl Linear {
    /// [`Linear::forward`]; the tangent goes through the weight alone.
    ///
    /// # Errors
    /// Another width than the layer's.
    pub fn dual(&self, x: &Dual, p: &Parameters) -> Result<Dual> {
        self.dual_rows(0..self.width(), x, p)
    }

    /// Some of the channels of [`Linear::dual`]. A result that is cut into parts would be copied,
    /// and its gradient be put together from one of full width for each part; here the weight is
    /// cut, which is small.
    ///
    /// # Errors
    /// As [`Linear::dual`].
    pub fn dual_rows(&self, rows: Range<usize>, x: &Dual, p: &Parameters) -> Result<Dual> {
        self.part(rows, 0..self.inputs(), x, self.has_bias(), p)
    }

    /// The part of [`Linear::dual`] that some channels `columns` of the input have in the result,
    /// with the bias or without it.
    ///
    /// # Errors
    /// As [`Linear::dual`].
    pub fn dual_columns(
        &self,
        columns: Range<usize>,
        x: &Dual,
        bias: bool,
        p: &Parameters,
    ) -> Result<Dual> {
        self.part(0..self.width(), columns, x, bias && self.has_bias(), p)
    }

    fn part(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        x: &Dual,
        bias: bool,
        p: &Parameters,
    ) -> Result<Dual> {
        let part = |t: Tensor| match rows.len() == self.width() {
            true => Ok(t),
            false => t.narrow(0, rows.start, rows.len()),
        };
        let mut weight = part(self.weight(p)?)?;
        if columns.len() < self.inputs() {
            weight = weight.narrow(1, columns.start, columns.len())?;
        }
        let bias = match bias {
            true => Some(part(self.bias(p)?)?),
            false => None,
        };
        let on_rows = |x: &Tensor, bias: Option<&Tensor>| {
            let mut shape = x.dims().to_vec();
            let from = shape.pop().unwrap_or(1);
            shape.push(rows.len());
            let x = x.reshape((x.elem_count() / from, from))?;
            let y = match bias {
                Some(bias) => biased(&x, &weight, bias)?,
                None => dense(&x, &weight)?,
            };
            y.reshape(shape)
        };
        x.map(|x| on_rows(x, bias.as_ref()), |_, t| on_rows(t, None))
    }
}

impl Activation {
    /// [`Activation::forward`] of a value with a tangent.
    ///
    /// # Errors
    /// Those of candle.
    pub fn dual(self, x: &Dual) -> Result<Dual> {
        match self {
            Activation::Identity => Ok(x.clone()),
            Activation::Relu => x.apply(&Arc::new(Relu)),
            Activation::Swish => x.apply(&Arc::new(Silu)),
            Activation::Sigmoid => x.apply(&Arc::new(Sigmoid)),
        }
    }
}
