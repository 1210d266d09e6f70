//! What stands between a trajectory and the model's prediction, beside the parameters.

use super::{DeepSignature, DeepSignatureConfig, Objective};
use crate::Result;
use crate::models::Describes;
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

impl Describes for Description {
    type Model = DeepSignature;

    fn build(&self, seed: u64, dtype: DType, device: &Device) -> Result<DeepSignature> {
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
