//! One representation made of another one.

use super::Pass;
use super::contrast::unit_rows;
use crate::Result;
use crate::models::Scope;
use crate::models::layers::{BatchNorm, Linear};
use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Linear, batch norm, ReLU, linear: `[B, F]` to `[B, F]`.
pub struct Decoder {
    first: Linear,
    norm: BatchNorm,
    last: Linear,
}

impl Decoder {
    pub fn new(b: &mut Scope, width: usize) -> Self {
        let mut b = b.scope("decoder");
        Self {
            first: Linear::pytorch(&mut b.scope(0), width, width),
            norm: BatchNorm::new(&mut b.scope(1), width),
            last: Linear::pytorch(&mut b.scope(3), width, width),
        }
    }

    /// # Errors
    /// Another width.
    pub fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        let x = self.first.forward(x, pass.parameters)?;
        let x = self.norm.forward(&x, pass)?.relu()?;
        Ok(self.last.forward(&x, pass.parameters)?)
    }
}

/// How far a made representation is from the real one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// Mean absolute difference.
    L1,
    /// Mean squared difference.
    #[default]
    L2,
    /// Minus the mean cosine.
    Cosine,
}

impl Measure {
    /// # Errors
    /// Different shapes.
    pub fn of(self, made: &Tensor, real: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Measure::L1 => (made - real)?.abs()?.mean_all()?,
            Measure::L2 => (made - real)?.sqr()?.mean_all()?,
            Measure::Cosine => {
                let cosines = (unit_rows(made)? * unit_rows(real)?)?.sum(1)?;
                cosines.mean_all()?.neg()?
            }
        })
    }
}

/// A variational autoencoder from one representation to another.
pub struct Variational {
    mean: Linear,
    variance: Linear,
    decoder: Decoder,
    /// Weight of the divergence.
    pub beta: f64,
}

impl Variational {
    pub fn new(b: &mut Scope, width: usize, beta: f64) -> Self {
        Self {
            mean: Linear::pytorch(&mut b.scope("fc_mu"), width, width),
            variance: Linear::pytorch(&mut b.scope("fc_var"), width, width),
            decoder: Decoder::new(b, width),
            beta,
        }
    }

    /// `measure(decoder(z), y) + beta mean_b(-1/2 sum(1 + log v - mu^2 - v))` with
    /// `z = mu + sqrt(v) noise`; `noise` `[B, F]`.
    ///
    /// # Errors
    /// Different shapes.
    pub fn loss(
        &self,
        [x, y, noise]: [&Tensor; 3],
        measure: Measure,
        pass: &Pass,
    ) -> Result<Tensor> {
        let mean = self.mean.forward(x, pass.parameters)?;
        let log = self.variance.forward(x, pass.parameters)?;
        let z = (&mean + ((&log * 0.5)?.exp()? * noise)?)?;
        let made = self.decoder.forward(&z, pass)?;
        let inner = ((&log - mean.sqr()?)? - log.exp()?)?;
        let divergence = ((inner + 1.0)?.sum(1)?.mean_all()? * -0.5)?;
        Ok((measure.of(&made, y)? + (divergence * self.beta)?)?)
    }
}
