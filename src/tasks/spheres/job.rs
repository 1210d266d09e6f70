//! Job files of H-(V)AE on signals on the sphere.

use crate::models::hvae::{ClassifierConfig, HvaeConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The sections that only jobs of this task have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpheresSections {
    pub data: Data,
    pub model: HvaeConfig,
}

/// The sections that only jobs of supervised networks of signals have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassesSections {
    pub data: Data,
    pub model: ClassifierConfig,
}

/// The `[data]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// A dataset file of `holosig prepare images`, `prepare shapes` or `holosig sphere`.
    pub dataset: PathBuf,
}
