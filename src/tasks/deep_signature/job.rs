//! Job files of Deep Signature.

use crate::data::trajectory::Protocol;
use crate::models::deep_signature::DeepSignatureConfig;
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The sections that only jobs of this task have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeepSignatureSections {
    pub data: Data,
    #[serde(default)]
    pub model: DeepSignatureConfig,
}

/// What is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// The label as one of the labels that occur.
    #[default]
    Class,
    /// The label as a number.
    Value,
}

/// What the nodes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Features {
    /// Atoms with coordinates, or other nodes with values: a file of `holosig prepare`.
    Coordinates,
    /// Residues with the invariants of their neighborhoods: a file of `holosig embed
    /// --holographic`.
    Holographic,
}

/// The `[data]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// A trajectories file of `holosig prepare`, or paths of invariants of `holosig embed
    /// --holographic`.
    pub dataset: PathBuf,
    /// What the nodes are; the dataset must be of that kind. Absent: whatever it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Features>,
    /// How segments are divided for training, validation and test.
    #[serde(default)]
    pub protocol: Protocol,
    /// The fold that is held out.
    #[serde(default)]
    pub fold: usize,
    /// Labels as classes, or as numbers.
    #[serde(default)]
    pub goal: Goal,
    /// Deal the labels anew to the trajectories, drawn from `train.seed`: what chance scores.
    #[serde(default)]
    pub shuffle_labels: bool,
    /// Factor on node features; absent: coordinates to nanometres, invariants to a deviation of one,
    /// anything else unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
}

impl DeepSignatureSections {
    pub(super) fn check(&self) -> Result<()> {
        match self.data.scale.filter(|s| !s.is_finite() || *s <= 0.0) {
            Some(scale) => Err(Error::input(format!(
                "data.scale = {scale}: a positive number is needed"
            ))),
            None => Ok(()),
        }
    }
}
