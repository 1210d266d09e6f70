//! Job files of affinities.

use crate::models::affinity::HeadConfig;
use crate::models::hvae::HvaeConfig;
use crate::ops::zernike;
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The sections that only jobs of this task have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AffinitySections {
    pub data: Data,
    /// The input of the encoder. Absent: that of the checkpoint of `train.init`, with which it must
    /// agree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zernike: Option<zernike::Settings>,
    /// The autoencoder that the encoder is of. Absent: that of the checkpoint of `train.init`, with which
    /// it must agree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<HvaeConfig>,
    /// What stands behind the encoder.
    #[serde(default)]
    pub model: HeadConfig,
}

/// The `[data]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// A dataset file of `holosig prepare complexes`, from complexes with affinities.
    pub dataset: PathBuf,
    /// Folds that the complexes are dealt to, groups of like proteins kept together: one tests, the
    /// next one validates, all others train. Absent: the splits of the dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folds: Option<usize>,
    /// The fold that tests, from 0.
    #[serde(default)]
    pub fold: usize,
    /// Deals the folds.
    #[serde(default)]
    pub fold_seed: u64,
}

impl AffinitySections {
    pub(super) fn check(&self) -> Result<()> {
        self.data.check()?;
        self.model.check()?;
        if let Some(zernike) = &self.zernike {
            zernike.validate()?;
        }
        let Some(encoder) = &self.encoder else {
            return Ok(());
        };
        if encoder.conditions > 0 {
            return Err(Error::input(
                "encoder.conditions: neighborhoods have no labels; it is for task = \"spheres\"",
            ));
        }
        // Without its input in the job, what fits it is known when the model is built.
        match &self.zernike {
            Some(zernike) => encoder.validate(&zernike.irreps()),
            None => Ok(()),
        }
    }
}

impl Data {
    fn check(&self) -> Result<()> {
        /// One fold tests, another validates.
        const FEWEST: usize = 3;
        let wrong = |what: String| Err(Error::input(format!("data.{what}")));
        match self.folds {
            Some(folds) if folds < FEWEST => {
                wrong(format!("folds = {folds}: at least {FEWEST} are needed"))
            }
            Some(folds) if self.fold >= folds => {
                let (fold, last) = (self.fold, folds - 1);
                wrong(format!("fold = {fold}: the folds are 0 to {last}"))
            }
            None if self.fold > 0 => {
                let fold = self.fold;
                wrong(format!(
                    "fold = {fold}: data.folds, a number of folds, is needed"
                ))
            }
            _ => Ok(()),
        }
    }
}
