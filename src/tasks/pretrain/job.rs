//! Job files of pretraining.

use crate::data::neighbors::Rule;
use crate::models::pretrain::{AnyObjective, PretrainConfig};
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The sections that only jobs of this task have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PretrainSections {
    pub data: Data,
    pub model: PretrainConfig,
    /// What the network is pretrained by.
    pub objective: AnyObjective,
}

/// The `[data]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// A systems file of `holosig prepare`.
    pub dataset: PathBuf,
    /// The target that the objective `supervised` learns; no other objective looks at targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Which atoms edges join, within the network's cutoff.
    #[serde(default)]
    pub edges: Rule,
}

impl PretrainSections {
    pub(super) fn check(&self) -> Result<()> {
        let objective = self.objective.config();
        objective.check()?;
        if objective.labelled() && self.data.target.is_none() {
            return Err(Error::input(
                "data.target: the objective supervised learns a target; its name is needed",
            ));
        }
        match self.data.edges {
            Rule::Nearest { count: 0 } => {
                Err(Error::input("data.edges.count = 0: 1 or more is needed"))
            }
            _ => Ok(()),
        }
    }

    /// The target that is learned, if one is.
    pub(super) fn label(&self) -> Option<&String> {
        let labelled = self.objective.config().labelled();
        self.data.target.as_ref().filter(|_| labelled)
    }
}
