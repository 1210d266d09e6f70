//! Layers on values with tangents.

use super::Linear;
use crate::models::Parameters;
use crate::ops::dual::Dual;
use candle_core::{Result, Tensor};
use std::ops::Range;

impl Linear {
    /// [`Linear::forward`]; the tangent goes through the weight alone.
    ///
    /// # Errors
    /// Another width than the layer's.
    pub fn dual(&self, x: &Dual, p: &Parameters) -> Result<Dual> {
        x.map(|x| self.forward(x, p), |_, t| self.tangent(t, p))
    }

    /// Some of the channels of [`Linear::dual`]. A result that is cut into parts would be copied,
    /// and its gradient be put together from one of full width for each part; here the weight is
    /// cut, which is small.
    ///
    /// # Errors
    /// As [`Linear::dual`].
    pub fn dual_rows(&self, rows: Range<usize>, x: &Dual, p: &Parameters) -> Result<Dual> {
        let weight = self.weight(p)?.narrow(0, rows.start, rows.len())?.t()?;
        let times = |x: &Tensor| {
            let mut shape = x.dims().to_vec();
            let from = shape.pop().unwrap_or(1);
            shape.push(rows.len());
            let x = x.reshape((x.elem_count() / from, from))?;
            x.matmul(&weight)?.reshape(shape)
        };
        let value = |x: &Tensor| match self.has_bias() {
            true => {
                let bias = self.bias(p)?.narrow(0, rows.start, rows.len())?;
                times(x)?.broadcast_add(&bias)
            }
            false => times(x),
        };
        x.map(value, |_, t| times(t))
    }
}
