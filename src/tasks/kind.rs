//! What a task is.

use super::Job;
use crate::comm::{Place, World};
use crate::data::Split;
use crate::models::Describes;
use crate::train::checkpoint::Saved;
use crate::train::evaluate::evaluate;
use crate::train::{Checkpoint, RunFolder, Task};
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Debug;
use std::path::Path;

/// What a model is built for.
#[derive(Clone, Copy)]
pub enum Purpose<'a> {
    /// To be trained, from a checkpoint if there is one: of this run, or what `train.init` names.
    Training(Option<&'a Saved>),
    /// To learn what training costs: the numbers of the model do not matter, so that nothing
    /// needs to be read off the data first.
    Trial,
}

/// What a checkpoint says of the model of a task.
pub type Description<K> = <<K as TaskKind>::Task<'static> as Task>::Description;

/// A task: which data, which model, what is learned. With a line in the registry
/// ([`super::TASKS`]) an implementation is a task of its own; reading its job files, training,
/// dry runs, costs, tests and checkpoints are written once, for all tasks.
pub trait TaskKind: Debug + Sized + Send + Sync + 'static {
    /// What is trained, with its article, for messages: `an H-(V)AE model`.
    const MODEL: &'static str;

    /// `train.batch` of a job that does not say it.
    const BATCH: u64;

    /// `train.slices` of a job that does not say it.
    const SLICES: usize;

    /// Sections of the job file that are the task's own: `[data]` with the file `dataset`,
    /// `[model]`, and whatever else it needs. `task`, `[train]` and `[loss]` are common to all
    /// tasks. Their comments are the reference of keys.
    type Sections: Serialize + DeserializeOwned + JsonSchema + Debug + Send + Sync;

    /// What is opened once and stays open: the dataset.
    type Input;

    /// What the trainer works on.
    type Task<'a>: Task<Description: Describes>;

    /// Terms of the objective, in the model's order, and their weights in a job that does not
    /// say them.
    fn terms(sections: &Self::Sections) -> Vec<(&'static str, f64)>;

    /// # Errors
    /// A setting out of range, by its key.
    fn check(_sections: &Self::Sections) -> Result<()> {
        Ok(())
    }

    /// Opens the data. Collective.
    ///
    /// # Errors
    /// Data that cannot be used.
    fn open(world: &World, job: &Job<Self>) -> Result<Self::Input>;

    /// Builds the model. Collective.
    ///
    /// # Errors
    /// Data or settings that make no model.
    fn build<'a>(
        world: &World,
        job: &Job<Self>,
        input: &'a Self::Input,
        place: &Place,
        purpose: Purpose,
    ) -> Result<Self::Task<'a>>;

    /// Scores of the chosen model on the test samples; none where there are no such samples. What
    /// is predicted of single samples goes to the run's folder. Collective.
    ///
    /// # Errors
    /// A sample that cannot be prepared or computed; a file that cannot be written.
    fn test(
        world: &World,
        job: &Job<Self>,
        task: &Self::Task<'_>,
        _folder: &RunFolder,
    ) -> Result<Option<Value>> {
        match task.samples(Split::Test) {
            0 => Ok(None),
            _ => {
                let means = evaluate(world, task, Split::Test, job.train.block())?;
                Ok(Some(Value::from_iter(means)))
            }
        }
    }

    /// Number of folds of the data.
    ///
    /// # Errors
    /// A task whose samples are not dealt to folds; an unreadable dataset.
    fn folds(_job: &Job<Self>) -> Result<usize> {
        Err(Error::input(format!(
            "--folds: the samples of {} are not dealt to folds",
            Self::MODEL
        )))
    }

    /// The word that names the task in jobs and checkpoints.
    fn name() -> &'static str {
        <Self::Task<'static> as Task>::NAME
    }

    /// What a checkpoint says of its model; `path` is the file to blame.
    ///
    /// # Errors
    /// A checkpoint of another task, or of a newer program.
    fn describe(checkpoint: &Checkpoint, path: &Path) -> Result<Description<Self>> {
        let described = match checkpoint.task == Self::name() {
            true => Self::description(&checkpoint.description),
            false => Err(Error::input(format!(
                "not {}: its task is {:?}",
                Self::MODEL,
                checkpoint.task
            ))),
        };
        described.map_err(|e| e.in_file(path))
    }

    /// Reads what [`Task::description`] says.
    ///
    /// # Errors
    /// Text of another program, or of a newer one.
    fn description(text: &str) -> Result<Description<Self>> {
        Describes::from_toml(text).map_err(|e| Error::input(format!("not {}: {e}", Self::MODEL)))
    }
}
