//! Batch normalisation of rows of channels.

use super::Pass;
use crate::models::{Buffer, Init, Parameter, Scope};
use crate::ops::batch_norm::{self, Mode, Normalization, Statistics, batch_norm};
use crate::so3::irreps::Irreps;
use candle_core::{Result, Tensor};

/// Normalises each channel to mean 0 and variance 1 over the rows, then scales and shifts (Ioffe and
/// Szegedy 2015): PyTorch's `BatchNorm1d`. Running variances are of the sample, those that divide
/// of the population, as there.
pub struct BatchNorm {
    weight: Parameter,
    bias: Parameter,
    mean: Buffer,
    variance: Buffer,
    channels: Irreps,
}

impl BatchNorm {
    pub fn new(b: &mut Scope, width: usize) -> Self {
        Self {
            weight: b.parameter("weight", width, Init::Constant(1.0)),
            bias: b.parameter("bias", width, Init::Constant(0.0)),
            mean: b.buffer("running_mean", width, 0.0),
            variance: b.buffer("running_var", width, 1.0),
            channels: Irreps::uniform(0, width),
        }
    }

    /// `[rows, width]` to the same. With rows of which there is one, or none, the batch tells no
    /// variance: a single row becomes the bias.
    ///
    /// # Errors
    /// Another width.
    pub fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        let (weight, bias) = (
            pass.parameters.get(&self.weight)?,
            pass.parameters.get(&self.bias)?,
        );
        if x.dim(0)? == 0 {
            for (buffer, start) in [(&self.mean, 0.0), (&self.variance, 1.0)] {
                pass.note(buffer, &weight.ones_like()?.affine(start, 0.0)?)?;
            }
            return Ok(x.clone());
        }
        let (statistics, mode) = match pass.running() {
            Some(buffers) => {
                let statistics = Statistics {
                    mean: self.mean.of(buffers)?,
                    variance: self.variance.of(buffers)?,
                };
                (statistics, Mode::Eval)
            }
            None => {
                let of = batch_norm::statistics(x, &self.channels, Normalization::Component)?;
                let rows = x.dim(0)? as f64;
                pass.note(&self.mean, &of.mean)?;
                let unbiased = (&of.variance * (rows / (rows - 1.0).max(1.0)))?;
                pass.note(&self.variance, &unbiased)?;
                (of, Mode::Train)
            }
        };
        let norm = batch_norm::BatchNorm {
            irreps: self.channels.clone(),
            statistics,
            normalization: Normalization::Component,
            mode,
        };
        batch_norm(x, &weight, &bias, norm)
    }
}
