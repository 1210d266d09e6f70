//! Job files of chains.

use crate::Result;
use crate::models::residues::Network;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The sections that only jobs of this task have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChainsSections {
    pub data: Data,
    pub model: Network,
}

/// What is learned of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// Its class: it has one label.
    #[default]
    Class,
    /// Which labels it has, several or none.
    Labels,
}

/// The `[data]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// A file of chains of `holosig prepare`.
    pub dataset: PathBuf,
    /// What is learned: the class of a chain, or its labels.
    #[serde(default)]
    pub goal: Goal,
    /// Deal the labels of training and validation to their chains at random, as a control.
    #[serde(default)]
    pub shuffle_labels: bool,
}

impl ChainsSections {
    pub(super) fn check(&self) -> Result<()> {
        self.model.check()
    }
}
