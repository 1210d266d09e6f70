//! What stands between the atoms of a complex and its affinity, beside the parameters.

use super::{AffinityModel, HeadConfig};
use crate::data::complexes::Packing;
use crate::models::{Describes, hvae};
use crate::{Error, Result};
use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};

/// How to build a network of affinities and its input. A checkpoint carries it as TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The autoencoder that the encoder is of, and its input.
    pub encoder: hvae::Description,
    pub head: HeadConfig,
    /// Affinities of the training complexes, pK.
    pub label: Scale,
    /// Pooled features of the training complexes, before the first step: the head sees
    /// `(feature - mean) / deviation`.
    pub features: Vec<Scale>,
    /// Which atoms of a complex are centres.
    pub complexes: Packing,
}

/// Mean and standard deviation of a number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    pub mean: f64,
    pub deviation: f64,
}

impl Scale {
    /// Leaves numbers as they are.
    pub const ONE: Scale = Scale {
        mean: 0.0,
        deviation: 1.0,
    };

    /// A number in units of the deviation, about the mean.
    pub fn standardised(&self, value: f64) -> f64 {
        (value - self.mean) / self.deviation
    }

    /// The inverse of [`Scale::standardised`].
    pub fn physical(&self, value: f64) -> f64 {
        self.mean + self.deviation * value
    }
}

impl Describes for Description {
    type Model = AffinityModel;

    fn build(&self, seed: u64, dtype: DType, device: &Device) -> Result<AffinityModel> {
        self.encoder.zernike.validate()?;
        self.head.check()?;
        if self.features.len() != self.width() {
            return Err(Error::input(format!(
                "scales of {} features, the model has {}",
                self.features.len(),
                self.width()
            )));
        }
        AffinityModel::new(self, seed, dtype, device)
    }
}

impl Description {
    /// Length of a pocket's vector.
    pub fn width(&self) -> usize {
        self.head.views.len() * self.encoder.model.latent_dim
    }

    /// Refuses complexes with other centres than the model was trained on.
    ///
    /// # Errors
    /// The difference.
    pub fn check_packing(&self, packing: &Packing) -> Result<()> {
        let Packing {
            centres, cutoff, ..
        } = self.complexes;
        match (packing.centres, packing.cutoff) == (centres, cutoff) {
            true => Ok(()),
            false => Err(Error::input(format!(
                "its neighborhoods are centred on --centres {} within --cutoff {} Å, those of the \
                 model on {} within {cutoff} Å",
                packing.centres.name(),
                packing.cutoff,
                centres.name()
            ))),
        }
    }
}
