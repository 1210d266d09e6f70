//! Data-parallel training of any [`Model`] under MPI.
//!
//! Read [`trainer`] first: it is the loop. A global batch is cut into a fixed number of slices;
//! ranks own contiguous slices; slice gradients are summed over a fixed tree
//! ([`crate::comm::World::tree_sum`]) and every rank makes the same optimizer step. In the
//! reproducible reduction, the same job and seed give the same bits for every number of ranks
//! and threads, with any number of kills and resumes between.

pub mod announce;
pub mod average;
pub mod calendar;
pub mod checkpoint;
pub mod evaluate;
pub mod events;
pub mod groups;
pub mod guard;
pub mod job;
pub mod loader;
pub mod metrics;
pub mod norm;
pub mod optimizer;
pub mod outcome;
pub mod progress;
pub mod rate;
pub mod run_folder;
pub mod schedule;
pub mod settings;
pub mod signal;
pub mod status;
pub mod trainer;
pub mod upgrade;
pub mod watch;
pub mod writer;

pub use calendar::Calendar;
pub use checkpoint::Checkpoint;
pub use outcome::Outcome;
pub use rate::LearningRateSchedule;
pub use run_folder::{RunFolder, Start};
pub use schedule::{LossSchedule, TermSchedule};
pub use settings::{Compression, OnNonfinite, OptimizerState, Reduction, Settings};
pub use trainer::{Costs, Plan, costs, init, probe, train};

use crate::data::Split;
use crate::data::noise::Noise;
use crate::models::{Model, StepKey};
use crate::{Error, Result};
use serde::Serialize;

/// Another task, from whose checkpoints a job may start (`train.init`).
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    pub task: &'static str,
    /// Patterns of names that the two do not share: they are left out, or drawn from the seed.
    pub apart: &'static [&'static str],
}

/// What is trained on what: a model and the batches for it.
pub trait Task: Sync {
    /// Names the task in jobs and checkpoints.
    const NAME: &'static str;

    /// Other tasks that a job may start from.
    const ORIGINS: &'static [Origin] = &[];

    /// What the names of a network's parameters begin with, without which they are those of the released
    /// code: a job may start from such weights (`train.init = "FILE.safetensors"`).
    const RELEASED: Option<&'static str> = None;

    type Model: Model;

    /// What a reader of a checkpoint needs to use the model; the checkpoint carries it as TOML.
    type Description: Serialize;

    fn model(&self) -> &Self::Model;

    /// Number of samples. Those of the test are seen once, by the chosen model.
    fn samples(&self, split: Split) -> u64;

    /// The batch of some samples, by their numbers in `0..samples(split)`. Called from another
    /// thread than the model, while the model computes.
    fn batch(&self, split: Split, samples: &[u64]) -> Result<<Self::Model as Model>::Batch>;

    /// The batch of training samples in a step; its key is that of everything random in it.
    ///
    /// # Errors
    /// As [`Task::batch`].
    fn training_batch(&self, samples: &[u64], _: StepKey) -> Result<<Self::Model as Model>::Batch> {
        self.batch(Split::Train, samples)
    }

    /// Makes sure that samples can take noise on their coordinates
    /// (`train.coordinate_noise`), as [`Task::noisy_batch`] makes them.
    ///
    /// # Errors
    /// Samples without coordinates in Å.
    fn check_noise(&self) -> Result<()> {
        Err(Error::input(format!(
            "train.coordinate_noise: the samples of task {} take no noise",
            Self::NAME
        )))
    }

    /// [`Task::batch`] of training samples with noise on their coordinates.
    ///
    /// # Errors
    /// As [`Task::batch`] and [`Task::check_noise`].
    fn noisy_batch(&self, samples: &[u64], noise: &Noise) -> Result<<Self::Model as Model>::Batch> {
        let _ = (samples, noise);
        self.check_noise()
            .and_then(|()| Err(Error::internal("no batch with noise")))
    }

    /// What a user calls a sample, for messages.
    fn sample_name(&self, split: Split, sample: u64) -> String;

    /// Identifies the data: a run is not resumed on other data.
    fn fingerprint(&self) -> String;

    fn description(&self) -> &Self::Description;
}
