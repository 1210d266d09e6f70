//! A job of any task.

use super::deep_signature::{self, DeepSignatureJob};
use super::hvae::{self, HvaeJob};
use super::{Costs, Reduction, RunFolder, Start, job};
use crate::comm::{DeviceKind, World};
use crate::data::trajectory::Dataset;
use crate::{Error, Result};
use std::path::Path;

/// A job file, understood.
#[derive(Debug, Clone, PartialEq)]
pub enum AnyJob {
    Hvae(HvaeJob),
    DeepSignature(DeepSignatureJob),
}

impl AnyJob {
    /// Reads a job file; see [`job::load`].
    ///
    /// # Errors
    /// Those of [`job::load`], an unknown task, settings out of range.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        match job::task(path, overrides)?.as_deref() {
            None => HvaeJob::load(path, overrides).map(Self::Hvae),
            Some("deep-signature") => {
                DeepSignatureJob::load(path, overrides).map(Self::DeepSignature)
            }
            Some(task) => Err(Error::file(
                path,
                format!("task = {task:?}: only \"deep-signature\" is known, and none for H-(V)AE"),
            )),
        }
    }

    /// Reads what [`AnyJob::to_text`] wrote; `path` is the file to blame.
    ///
    /// # Errors
    /// As [`job::parse`].
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let table: toml::Table = job::parse(path, text)?;
        match table.contains_key("task") {
            true => job::parse(path, text).map(Self::DeepSignature),
            false => job::parse(path, text).map(Self::Hvae),
        }
    }

    /// The job with every default filled in.
    ///
    /// # Errors
    /// A value that TOML cannot hold.
    pub fn to_text(&self) -> Result<String> {
        match self {
            Self::Hvae(job) => job::to_text(job),
            Self::DeepSignature(job) => job::to_text(job),
        }
    }

    /// Does the job in `folder`. Collective.
    ///
    /// # Errors
    /// Those of the task.
    pub fn run(&self, world: &World, folder: &RunFolder, start: Start) -> Result<()> {
        match self {
            Self::Hvae(job) => hvae::run(world, job, folder, start),
            Self::DeepSignature(job) => deep_signature::run(world, job, folder, start),
        }
    }

    /// Tells what [`AnyJob::run`] would take, and writes nothing. Collective.
    ///
    /// # Errors
    /// Those of the task.
    pub fn dry_run(&self, world: &World, folder: &RunFolder) -> Result<()> {
        match self {
            Self::Hvae(job) => hvae::dry_run(world, job, folder),
            Self::DeepSignature(job) => deep_signature::dry_run(world, job, folder),
        }
    }

    /// Measures what the job costs each rank, and writes nothing. Collective.
    ///
    /// # Errors
    /// Those of the task.
    pub fn costs(&self, world: &World) -> Result<Costs> {
        match self {
            Self::Hvae(job) => hvae::costs(world, job),
            Self::DeepSignature(job) => deep_signature::costs(world, job),
        }
    }

    pub fn reduction(&self) -> Reduction {
        match self {
            Self::Hvae(job) => job.train.reduction,
            Self::DeepSignature(job) => job.train.reduction,
        }
    }

    /// The dataset file.
    pub fn dataset(&self) -> &Path {
        match self {
            Self::Hvae(job) => &job.data.dataset,
            Self::DeepSignature(job) => &job.data.dataset,
        }
    }

    /// What the job asks to be computed on.
    pub fn device(&self) -> DeviceKind {
        match self {
            Self::Hvae(job) => job.train.device,
            Self::DeepSignature(job) => job.train.device,
        }
    }

    pub fn seed(&self) -> u64 {
        match self {
            Self::Hvae(job) => job.train.seed,
            Self::DeepSignature(job) => job.train.seed,
        }
    }

    /// Number of folds of the data.
    ///
    /// # Errors
    /// A task without folds, an unreadable dataset.
    pub fn folds(&self) -> Result<usize> {
        match self {
            Self::Hvae(_) => Err(Error::input(
                "--folds: structures are not dealt to folds; only Deep Signature jobs have them",
            )),
            Self::DeepSignature(job) => {
                Dataset::open(&World::alone(), &job.data.dataset)?.folds(job.data.protocol)
            }
        }
    }
}
