//! Data-parallel training of any [`Model`] under MPI.
//!
//! Read [`trainer`] first: it is the loop. A global batch is cut into a fixed number of slices;
//! ranks own contiguous slices; slice gradients are summed over a fixed tree
//! ([`crate::comm::World::tree_sum`]) and every rank makes the same optimizer step. In the
//! reproducible reduction, the same job and seed give the same bits for every number of ranks
//! and threads, with any number of kills and resumes between.

pub mod announce;
pub mod any;
pub mod checkpoint;
pub mod deep_signature;
pub mod evaluate;
pub mod guard;
pub mod hvae;
pub mod job;
pub mod loader;
pub mod metrics;
pub mod optimizer;
pub mod outcome;
pub mod progress;
pub mod run_folder;
pub mod schedule;
pub mod settings;
pub mod signal;
pub mod status;
pub mod sweep;
pub mod trainer;
pub mod writer;

pub use any::AnyJob;
pub use checkpoint::Checkpoint;
pub use outcome::Outcome;
pub use run_folder::{RunFolder, Start};
pub use settings::{Calendar, Compression, OnNonfinite, OptimizerState, Reduction, Settings};
pub use trainer::{Costs, Plan, costs, probe, train};

use crate::Result;
use crate::models::Model;

/// Which samples of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Train,
    Validation,
    /// Seen once, by the chosen model.
    Test,
}

/// What is trained on what: a model and the batches for it.
pub trait Task: Sync {
    type Model: Model;

    fn model(&self) -> &Self::Model;

    /// Number of samples.
    fn samples(&self, part: Part) -> u64;

    /// The batch of some samples, by their numbers in `0..samples(part)`. Called from another
    /// thread than the model, while the model computes.
    fn batch(&self, part: Part, samples: &[u64]) -> Result<<Self::Model as Model>::Batch>;

    /// What a user calls a sample, for messages.
    fn sample_name(&self, part: Part, sample: u64) -> String;

    /// Identifies the data: a run is not resumed on other data.
    fn fingerprint(&self) -> String;

    /// What a reader of a checkpoint needs to use the model, as TOML.
    fn description(&self) -> Result<String>;
}
