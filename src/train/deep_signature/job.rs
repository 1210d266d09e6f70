//! Job files of Deep Signature.

use crate::data::trajectory::Protocol;
use crate::models::deep_signature::{DeepSignatureConfig, PUBLISHED_WEIGHTS};
use crate::train::schedule::WeightSchedule;
use crate::train::{Settings, job};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The task named by a job file of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    DeepSignature,
}

/// A job file for `holosig train`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeepSignatureJob {
    pub task: Name,
    pub data: Data,
    #[serde(default)]
    pub model: DeepSignatureConfig,
    pub train: Settings<DeepSignatureWeights>,
}

/// What is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// The label as one of the labels that occur.
    #[default]
    Class,
    /// The label as a number.
    Value,
}

/// The `[data]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// A trajectories file of `holosig prepare`.
    pub dataset: PathBuf,
    /// Clips of a global batch, over all ranks.
    #[serde(default = "default_batch")]
    pub batch: u64,
    /// Parts that a global batch is cut into, a power of two: at most that many ranks can
    /// share the work.
    #[serde(default = "default_slices")]
    pub slices: usize,
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
    /// Factor on node features; absent: coordinates to nanometres, anything else unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
}

fn default_batch() -> u64 {
    16
}

fn default_slices() -> usize {
    4
}

/// Weights of the objective's terms; defaults are the published ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeepSignatureWeights {
    pub prediction: f64,
    pub coordinates: f64,
    pub mincut: f64,
    pub orthogonality: f64,
}

impl Default for DeepSignatureWeights {
    fn default() -> Self {
        let [prediction, coordinates, mincut, orthogonality] = PUBLISHED_WEIGHTS;
        Self {
            prediction,
            coordinates,
            mincut,
            orthogonality,
        }
    }
}

impl WeightSchedule for DeepSignatureWeights {
    fn at(&self, _epoch: u64) -> Vec<f64> {
        self.last()
    }

    fn last(&self) -> Vec<f64> {
        vec![
            self.prediction,
            self.coordinates,
            self.mincut,
            self.orthogonality,
        ]
    }

    fn zero_epochs(&self) -> u64 {
        0
    }

    fn warmup_epochs(&self) -> u64 {
        0
    }
}

impl DeepSignatureJob {
    /// Reads a job file; see [`job::load`]. Paths become absolute: those in the file are
    /// relative to it, those in an override to the current folder.
    ///
    /// # Errors
    /// Those of [`job::load`], and settings out of range.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        let mut job: Self = job::load(path, overrides)?;
        job.data.dataset = job::absolute(path, overrides, "data.dataset", &job.data.dataset)?;
        job.check().map_err(|e| e.in_file(path))?;
        Ok(job)
    }

    fn check(&self) -> Result<()> {
        if self.data.batch == 0 {
            return Err(Error::input("data.batch = 0: 1 or more is needed"));
        }
        if let Some(scale) = self.data.scale.filter(|s| !s.is_finite() || *s <= 0.0) {
            return Err(Error::input(format!(
                "data.scale = {scale}: a positive number is needed"
            )));
        }
        let names = ["prediction", "coordinates", "mincut", "orthogonality"];
        for (name, value) in names.iter().zip(self.train.weights.last()) {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::input(format!(
                    "train.weights.{name} = {value}: a number from 0 up is needed"
                )));
            }
        }
        self.train.check()
    }
}
