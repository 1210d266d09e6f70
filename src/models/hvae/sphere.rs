//! What stands between a signal on the sphere and its latent, beside the parameters.

use super::{ClassifierConfig, Hvae, HvaeConfig, SphereClassifier};
use crate::Result;
use crate::data::spheres::{Signal, Spheres, class_number};
use crate::models::Describes;
use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};

/// How to build a model of signals on the sphere. A checkpoint carries it as TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SphereDescription {
    /// Coefficients are divided by this before they enter the model.
    pub norm_factor: f64,
    pub signal: Signal,
    /// Classes whose labels the decoder knows, in the order of the one-hot numbers; none unless the
    /// model is conditional.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    pub model: HvaeConfig,
}

impl Describes for SphereDescription {
    type Model = Hvae;

    fn build(&self, seed: u64, dtype: DType, device: &Device) -> Result<Hvae> {
        self.signal.check()?;
        Hvae::new(&self.model, &self.signal.irreps(), seed, dtype, device)
    }
}

impl SphereDescription {
    /// Coefficients of some samples as the model takes them, `[n, D]`.
    pub fn normalised(&self, data: &Spheres, samples: &[u32]) -> Vec<f32> {
        data.scaled(samples, self.norm_factor)
    }

    /// Labels as a conditional model takes them, one-hot `[n, K]`; nothing for another model.
    ///
    /// # Errors
    /// A label of none of the model's classes.
    pub fn one_hot<'a>(&self, labels: impl IntoIterator<Item = &'a str>) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        if !self.classes.is_empty() {
            for label in labels {
                let own = class_number(&self.classes, label)? as usize;
                all.extend((0..self.classes.len()).map(|k| f32::from(k == own)));
            }
        }
        Ok(all)
    }

    /// Refuses data that the model was not made for, with the first difference.
    ///
    /// # Errors
    /// Another number of channels, or another degree.
    pub fn check_data(&self, data: &Spheres) -> Result<()> {
        self.signal.check_same(data.signal())
    }
}

/// How to build a supervised network of signals on the sphere. A checkpoint carries it as TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierDescription {
    /// Coefficients are divided by this before they enter the network.
    pub norm_factor: f64,
    pub signal: Signal,
    /// In the order of the outputs.
    pub classes: Vec<String>,
    pub model: ClassifierConfig,
}

impl Describes for ClassifierDescription {
    type Model = SphereClassifier;

    fn build(&self, seed: u64, dtype: DType, device: &Device) -> Result<SphereClassifier> {
        self.signal.check()?;
        let (irreps, classes) = (self.signal.irreps(), self.classes.len());
        SphereClassifier::new(&self.model, &irreps, classes, seed, dtype, device)
    }
}
