//! Normalisation of features.

use crate::models::{Init, Parameter, Parameters, Scope};
use crate::ops::dual::Dual;
use candle_core::{D, Result, Tensor};

/// Normalises the last axis to mean 0 and variance 1, then scales and shifts.
pub struct LayerNorm {
    weight: Parameter,
    bias: Parameter,
}

impl LayerNorm {
    const EPS: f64 = 1e-5;

    pub fn new(b: &mut Scope, width: usize) -> Self {
        Self {
            weight: b.parameter("weight", width, Init::Constant(1.0)),
            bias: b.parameter("bias", width, Init::Constant(0.0)),
        }
    }

    /// `[.., width]` to the same.
    pub fn forward(&self, x: &Tensor, p: &Parameters) -> Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        centred
            .broadcast_div(&(variance + Self::EPS)?.sqrt()?)?
            .broadcast_mul(&p.get(&self.weight)?)?
            .broadcast_add(&p.get(&self.bias)?)
    }

    /// [`LayerNorm::forward`] of a value with a tangent.
    ///
    /// # Errors
    /// Another width.
    pub fn dual(&self, x: &Dual, p: &Parameters) -> Result<Dual> {
        let (weight, bias) = (p.get(&self.weight)?, p.get(&self.bias)?);
        let centred = x.linear(|x| x.broadcast_sub(&x.mean_keepdim(D::Minus1)?))?;
        let variance = centred
            .mul(&centred)?
            .linear(|s| s.mean_keepdim(D::Minus1))?;
        let inverse = variance.sqrt(Self::EPS)?.recip()?;
        let scaled = Dual::multilinear([&centred, &inverse], |[x, s]| {
            x.broadcast_mul(s)?.broadcast_mul(&weight)
        })?;
        scaled.map(|x| x.broadcast_add(&bias), |_, t| Ok(t.clone()))
    }
}
