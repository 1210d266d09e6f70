//! Job files of systems.

use super::baseline::Kind;
use super::references::References;
use crate::data::neighbors::Rule;
use crate::models::graph::{FORCES, GraphConfig, STRESS, keep};
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The sections that only jobs of this task have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SystemsSections {
    pub data: Data,
    pub model: GraphConfig,
}

/// What a target is learned as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// A number.
    #[default]
    Value,
    /// One of the numbers that occur.
    Class,
}

/// One name, or several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Names {
    One(String),
    Several(Vec<String>),
}

/// The `[data]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// A systems file of `holosig prepare`.
    pub dataset: PathBuf,
    /// What is learned: targets of the file. Each is a term of the loss under its name.
    #[serde(default = "energy")]
    pub target: Names,
    /// Learn forces too, as derivatives of the first target.
    #[serde(default)]
    pub forces: bool,
    /// Learn stresses of crystals too, as derivatives of the first target by a strain.
    #[serde(default)]
    pub stress: bool,
    /// What a target is learned as: a number, or one of the numbers that occur.
    #[serde(default)]
    pub goal: Goal,
    /// What is taken off targets before the network learns the rest.
    #[serde(default)]
    pub baseline: Kind,
    /// Numbers of free atoms that are taken off before that: `"qm9"`, or a number for each element
    /// in the unit of the first target, such as `{ H = -13.6, C = -1029.5 }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<References>,
    /// Which atoms edges join, within the network's cutoff.
    #[serde(default)]
    pub edges: Rule,
}

fn energy() -> Names {
    Names::One("energy".into())
}

impl Data {
    /// Names of the targets.
    pub fn targets(&self) -> &[String] {
        match &self.target {
            Names::One(name) => std::slice::from_ref(name),
            Names::Several(names) => names,
        }
    }
}

impl SystemsSections {
    pub(super) fn check(&self) -> Result<()> {
        let data = &self.data;
        let wrong = |what: &str| Err(Error::input(format!("data.{what}")));
        if data.targets().is_empty() {
            return wrong("target = []: a name is needed");
        }
        if data.targets().iter().any(|name| name == FORCES) {
            return wrong("target: forces are learned with data.forces = true");
        }
        if data.targets().iter().any(|name| name == STRESS) {
            return wrong("target: stresses are learned with data.stress = true");
        }
        if data.goal == Goal::Class && data.forces {
            return wrong("forces = true: classes have no forces");
        }
        if data.goal == Goal::Class && data.stress {
            return wrong("stress = true: classes have no stresses");
        }
        if let Some(references) = &data.references {
            references.check()?;
            if data.goal == Goal::Class {
                return wrong("references: classes have none");
            }
        }
        if let Rule::Nearest { count: 0 } = data.edges {
            return wrong("edges.count = 0: 1 or more is needed");
        }
        Ok(())
    }

    /// Terms of the loss and their weights where the job says none: those of Geom3D for an energy
    /// and its forces, beside which stresses have the weight of M3GNet (Chen and Ong, Nature
    /// Computational Science 2022) and CHGNet (Deng et al., Nature Machine Intelligence 2023): 0.1
    /// per GPa for 1 per eV/Å of forces, and 1 eV/Å^3 is 160.2 GPa.
    pub(super) fn terms(&self) -> Vec<(&'static str, f64)> {
        const FORCES_WEIGHT: f64 = 0.95;
        const STRESS_WEIGHT: f64 = 15.2;
        let data = &self.data;
        let energy = if data.forces || data.stress {
            0.05
        } else {
            1.0
        };
        let names = data.targets().iter().map(|name| (keep(name), energy));
        let forces = data.forces.then_some((FORCES, FORCES_WEIGHT));
        let stress = data.stress.then_some((STRESS, STRESS_WEIGHT));
        names.chain(forces).chain(stress).collect()
    }
}
