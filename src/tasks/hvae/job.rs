//! Job files of H-(V)AE.

use crate::models::hvae::{HvaeConfig, Mask};
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
    /// Probability that all atoms of the ligand's side are hidden from the encoder in a step: the decoder
    /// is to rebuild them from what surrounds them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub masked_ligands: f64,
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

fn is_zero(probability: &f64) -> bool {
    *probability == 0.0
}

impl HvaeSections {
    /// What is hidden from the encoder in training, if anything.
    pub(super) fn mask(&self) -> Option<Mask> {
        (self.data.masked_ligands > 0.0).then(|| Mask {
            probability: self.data.masked_ligands,
            coefficients: self.zernike.ligand_coefficients(),
        })
    }

    pub(super) fn check(&self) -> Result<()> {
        if !(self.data.central_residue || self.data.surroundings) {
            return Err(Error::input(
                "data.central_residue = false and data.surroundings = false leave no atoms",
            ));
        }
        self.zernike.validate()?;
        let masked = self.data.masked_ligands;
        if !(0.0..=1.0).contains(&masked) {
            return Err(Error::input(format!(
                "data.masked_ligands = {masked}: a probability from 0 to 1 is needed"
            )));
        }
        let two_sided = [
            ("played_ligands", self.data.played_ligands),
            ("masked_ligands", masked > 0.0),
        ];
        for (key, used) in two_sided {
            if used && !self.zernike.is_two_sided() {
                return Err(Error::input(format!(
                    "data.{key} needs zernike.channels of the ligand's side (ligand:C, ...)"
                )));
            }
        }
        if self.model.conditions > 0 {
            return Err(Error::input(
                "model.conditions: neighborhoods have no labels; it is for task = \"spheres\"",
            ));
        }
        self.model.validate(&self.zernike.irreps())
    }
}
