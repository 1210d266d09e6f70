//! Normalisation of features.

use crate::models::{Init, Parameter, Parameters, Scope};
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
}
