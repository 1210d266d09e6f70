//! Reconstruction losses, Kullback-Leibler divergence and the cosine metric.

use super::config::Reconstruction;
use crate::ops::squared_error::squared_error;
use crate::so3::irreps::Irreps;
use candle_core::{DType, Device, Result, Tensor};

/// Per-coefficient weights that the losses need, in the published flat order.
pub struct LossWeights {
    /// 1.
    even: Tensor,
    /// `1 / (2l + 1)`.
    per_order: Tensor,
    per_order_values: Vec<f64>,
    /// `sqrt(2l + 1) / sqrt(sum of multiplicities)`: the dot product of e3nn's tensor product
    /// with `norm` irreps.
    cosine: Tensor,
    cosine_values: Vec<f64>,
}

impl LossWeights {
    pub fn new(irreps: &Irreps, dtype: DType, device: &Device) -> Result<Self> {
        let total: usize = (0..=irreps.lmax()).map(|l| irreps.channels(l)).sum();
        let (mut per_order_values, mut cosine_values) = (Vec::new(), Vec::new());
        for l in 0..=irreps.lmax() {
            let n = 2 * l + 1;
            let len = irreps.channels(l) * n;
            per_order_values.extend(std::iter::repeat_n(1.0 / n as f64, len));
            cosine_values.extend(std::iter::repeat_n((n as f64 / total as f64).sqrt(), len));
        }
        let tensor = |v: &[f64]| Tensor::from_slice(v, v.len(), device)?.to_dtype(dtype);
        Ok(Self {
            even: tensor(&vec![1.0; irreps.dim()])?,
            per_order: tensor(&per_order_values)?,
            per_order_values,
            cosine: tensor(&cosine_values)?,
            cosine_values,
        })
    }

    /// The reconstruction loss of a batch, mean over samples.
    pub fn reconstruction(
        &self,
        kind: Reconstruction,
        rebuilt: &Tensor,
        x: &Tensor,
    ) -> Result<Tensor> {
        match self.weights(kind) {
            Some(weights) => squared_error(rebuilt, x, weights)?.sum_all()? / x.elem_count() as f64,
            None => {
                let dot = |a: &Tensor, b: &Tensor| (a * b)?.broadcast_mul(&self.cosine)?.sum(1);
                let size = ((dot(rebuilt, rebuilt)? * dot(x, x)?)?.sqrt()? + 1e-9)?;
                1.0 - (dot(rebuilt, x)? / size)?.mean_all()?
            }
        }
    }

    /// Of squared errors.
    fn weights(&self, kind: Reconstruction) -> Option<&Tensor> {
        match kind {
            Reconstruction::Mse => Some(&self.even),
            Reconstruction::MseNormalized => Some(&self.per_order),
            Reconstruction::Cosine => None,
        }
    }

    /// The reconstruction loss of every sample, `[B]`, where they are.
    pub fn samples(&self, kind: Reconstruction, rebuilt: &Tensor, x: &Tensor) -> Result<Tensor> {
        match self.weights(kind) {
            Some(weights) => squared_error(rebuilt, x, weights)? / x.dim(1)? as f64,
            None => self.cosines(rebuilt, x),
        }
    }

    /// [`LossWeights::cosine`] of every sample, `[B]`, where they are.
    pub fn cosines(&self, rebuilt: &Tensor, x: &Tensor) -> Result<Tensor> {
        let dot = |a: &Tensor, b: &Tensor| (a * b)?.broadcast_mul(&self.cosine)?.sum(1);
        let size = ((dot(rebuilt, rebuilt)? * dot(x, x)?)?.sqrt()? + 1e-9)?;
        1.0 - (dot(rebuilt, x)? / size)?
    }

    /// The reconstruction loss of one sample in f64.
    pub fn sample(&self, kind: Reconstruction, rebuilt: &[f32], x: &[f32]) -> f64 {
        let error = |(&a, &b): (&f32, &f32)| (a as f64 - b as f64).powi(2);
        let n = x.len() as f64;
        match kind {
            Reconstruction::Mse => rebuilt.iter().zip(x).map(error).sum::<f64>() / n,
            Reconstruction::MseNormalized => {
                let errors = rebuilt.iter().zip(x).map(error);
                errors
                    .zip(&self.per_order_values)
                    .map(|(e, w)| e * w)
                    .sum::<f64>()
                    / n
            }
            Reconstruction::Cosine => self.cosine(rebuilt, x),
        }
    }

    /// Cosine loss of one sample in f64 (paper equation A.18, with the published code's degree
    /// weights): 0 for a perfect reconstruction, 1 for an orthogonal one.
    pub fn cosine(&self, rebuilt: &[f32], x: &[f32]) -> f64 {
        let (mut ab, mut aa, mut bb) = (0f64, 0f64, 0f64);
        for ((&a, &b), &w) in rebuilt.iter().zip(x).zip(&self.cosine_values) {
            let (a, b) = (a as f64, b as f64);
            ab += w * a * b;
            aa += w * a * a;
            bb += w * b * b;
        }
        1.0 - ab / ((aa * bb).sqrt() + 1e-9)
    }
}

/// Mean over the batch of the divergence from the standard normal, per latent dimension.
pub fn kl(mean: &Tensor, log_variance: &Tensor) -> Result<Tensor> {
    let per_sample = ((log_variance + 1.0)? - mean.sqr()? - log_variance.exp()?)?.sum(1)?;
    per_sample.mean_all()? * (-0.5 / mean.dim(1)? as f64)
}

/// [`kl`] of every sample, `[B]`, where they are.
pub fn kl_samples(mean: &Tensor, log_variance: &Tensor) -> Result<Tensor> {
    let terms = ((log_variance + 1.0)? - mean.sqr()? - log_variance.exp()?)?.sum(1)?;
    terms * (-0.5 / mean.dim(1)? as f64)
}

/// [`kl`] of one sample in f64.
pub fn kl_sample(mean: &[f32], log_variance: &[f32]) -> f64 {
    let terms = mean.iter().zip(log_variance).map(|(&m, &v)| {
        let (m, v) = (m as f64, v as f64);
        1.0 + v - m * m - v.exp()
    });
    -0.5 * terms.sum::<f64>() / mean.len() as f64
}
