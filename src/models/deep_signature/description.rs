//! What stands between a trajectory and the model's prediction, beside the parameters.

use super::{DeepSignature, DeepSignatureConfig, Objective};
use crate::{Error, Result};
use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};

/// How to build a model and its input. A checkpoint carries it as TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Features per node.
    pub features: usize,
    /// Features are invariants, not coordinates in space, however many they are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub holographic: bool,
    /// Factor on features before they enter the model.
    pub scale: f64,
    /// Labels by class number.
    pub classes: Vec<String>,
    /// Predicted numbers are standardised by these.
    pub mean: f64,
    pub deviation: f64,
    pub objective: Objective,
    pub model: DeepSignatureConfig,
}

impl Description {
    /// # Errors
    /// Text of another model or program, or of a newer one.
    pub fn from_toml(text: &str) -> Result<Self> {
        toml::from_str(text)
            .map_err(|e| Error::input(format!("not a Deep Signature model: {}", e.message())))
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
    pub fn build(&self, seed: u64, dtype: DType, device: &Device) -> Result<DeepSignature> {
        DeepSignature::new(
            &self.model,
            self.features,
            self.objective,
            seed,
            dtype,
            device,
        )
    }
}
