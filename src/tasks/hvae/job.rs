//! Job files of H-(V)AE.

use crate::models::hvae::HvaeConfig;
use crate::ops::zernike;
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The sections that only jobs of this task have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HvaeSections {
    pub data: Data,
    #[serde(default)]
    pub zernike: zernike::Settings,
    pub model: HvaeConfig,
}

/// The `[data]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// A dataset file of `holosig prepare`.
    pub dataset: PathBuf,
    /// Keep the atoms of the central residue other than its CA, as the published model does.
    #[serde(default = "yes")]
    pub central_residue: bool,
    /// Keep the atoms of other residues. Without them a sample is one residue, as in the paper's
    /// experiment on amino acids (A.5.4).
    #[serde(default = "yes")]
    pub surroundings: bool,
    /// In structures without a ligand, pieces of one to three residues of the chain play the
    /// ligand's part in three neighborhoods of four: contacts as in a complex.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub played_ligands: bool,
    /// Train on a choice of residues instead of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residues: Option<Residues>,
}

/// How many residues to train and to validate on, every type in equal shares
/// (`data::balance`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Residues {
    /// Residues to train on.
    pub train: usize,
    /// Residues to validate on.
    pub validation: usize,
    /// Residues to test on. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<usize>,
    /// Chooses them.
    #[serde(default)]
    pub seed: u64,
}

fn yes() -> bool {
    true
}

impl HvaeSections {
    pub(super) fn check(&self) -> Result<()> {
        if !(self.data.central_residue || self.data.surroundings) {
            return Err(Error::input(
                "data.central_residue = false and data.surroundings = false leave no atoms",
            ));
        }
        self.zernike.validate()?;
        if self.data.played_ligands && !self.zernike.is_two_sided() {
            return Err(Error::input(
                "data.played_ligands needs zernike.channels of the ligand's side (ligand:C, ...)",
            ));
        }
        if self.model.conditions > 0 {
            return Err(Error::input(
                "model.conditions: neighborhoods have no labels; it is for task = \"spheres\"",
            ));
        }
        self.model.validate(&self.zernike.irreps())
    }
}
