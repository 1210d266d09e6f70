//! What the properties need to know of a model.

use candle_core::{DType, Tensor};
use holosig::models::{Losses, Model, StepKey, Weights};

/// A change of the input, in f64 before it becomes the model's input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    None,
    /// Atoms in another order.
    Permuted,
    /// A rotation about the origin, by a seed.
    Rotated(u64),
    /// A translation along (1, 2, 3).
    Moved,
}

/// A model, its default job and samples for it.
pub trait Case {
    type Model: Model;

    /// Word of its task in jobs and checkpoints.
    const TASK: &'static str;

    /// A job that names the dataset and sizes for a test, everything else by default.
    fn job(&self) -> String;

    /// What a checkpoint of the job says of the model.
    fn description(&self) -> String;

    /// The model that a description stands for, its parameters drawn from `seed`.
    fn build(&self, description: &str, seed: u64, dtype: DType) -> holosig::Result<Self::Model>;

    /// The samples that `ids` stand for, changed.
    fn batch(&self, ids: &[u64], change: Change, dtype: DType) -> <Self::Model as Model>::Batch;

    /// What the model says of each sample in evaluation mode.
    fn predict(&self, model: &Self::Model, batch: &<Self::Model as Model>::Batch) -> Vec<Vec<f64>>;

    /// Changes that the prediction does not depend on, and the most that rounding may make of them
    /// in f64 and in f32, as a share of what predictions differ in.
    fn symmetries(&self) -> Vec<(Change, f64, f64)>;

    /// Weights of the objective's terms.
    fn weights(&self) -> Weights<'static>;

    fn model(&self, seed: u64, dtype: DType) -> Self::Model {
        self.build(&self.description(), seed, dtype).unwrap()
    }

    /// Losses of a batch in training mode.
    fn losses(&self, model: &Self::Model, batch: &<Self::Model as Model>::Batch) -> Losses {
        model.losses(batch, StepKey { seed: 1, step: 2 }).unwrap()
    }

    /// The objective of a batch in training mode.
    fn objective(&self, model: &Self::Model, batch: &<Self::Model as Model>::Batch) -> Tensor {
        let losses = self.losses(model, batch);
        losses.objective(&self.weights()).unwrap()
    }
}

/// A section of a job.
pub fn section<T: serde::de::DeserializeOwned>(job: &str, name: &str) -> T {
    let mut table: toml::Table = toml::from_str(job).unwrap();
    table.remove(name).unwrap().try_into().unwrap()
}
