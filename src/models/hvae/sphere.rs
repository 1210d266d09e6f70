//! What stands between a signal on the sphere and its latent, beside the parameters.

use super::{Hvae, HvaeConfig};
use crate::data::spheres::{Signal, Spheres};
use crate::{Error, Result};
use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};

/// How to build a model of signals on the sphere. A checkpoint carries it as TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SphereDescription {
    /// Coefficients are divided by this before they enter the model.
    pub norm_factor: f64,
    pub signal: Signal,
    pub model: HvaeConfig,
}

impl SphereDescription {
    /// # Errors
    /// Text of another program, or of a newer one.
    pub fn from_toml(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|e| {
            Error::input(format!(
                "not an H-(V)AE model of signals on the sphere: {}",
                e.message()
            ))
        })
    }

    /// # Errors
    /// A value that TOML cannot hold.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string_pretty(self).map_err(Error::internal)
    }

    /// The model, its parameters drawn from `seed`.
    ///
    /// # Errors
    /// A setting that cannot be built, by name.
    pub fn build(&self, seed: u64, dtype: DType, device: &Device) -> Result<Hvae> {
        self.signal.check()?;
        Hvae::new(&self.model, &self.signal.irreps(), seed, dtype, device)
    }

    /// Coefficients of some samples as the model takes them, `[n, D]`.
    pub fn normalised(&self, data: &Spheres, samples: &[u32]) -> Vec<f32> {
        let factor = self.norm_factor as f32;
        let rows = samples.iter().flat_map(|&sample| data.coefficients(sample));
        rows.map(|c| c / factor).collect()
    }

    /// Refuses data that the model was not made for, with the first difference.
    ///
    /// # Errors
    /// Another number of channels, or another degree.
    pub fn check_data(&self, data: &Spheres) -> Result<()> {
        let (own, theirs) = (&self.signal, data.signal());
        match own.lmax == theirs.lmax && own.channels == theirs.channels {
            true => Ok(()),
            false => Err(Error::input(format!(
                "signals of lmax {} with the channels {}, where the model takes lmax {} with {}",
                theirs.lmax,
                theirs.channels.join(", "),
                own.lmax,
                own.channels.join(", ")
            ))),
        }
    }
}
