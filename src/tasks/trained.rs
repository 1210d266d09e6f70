//! A model that has been trained, of whichever task.

use super::TaskKind;
use super::kind::Description;
use crate::Result;
use crate::comm::World;
use crate::models::{Describes, Model};
use crate::train::Checkpoint;
use crate::train::checkpoint::Progress;
use candle_core::{DType, Device};
use std::path::Path;

/// A trained model, ready for use.
pub struct Trained<K: TaskKind> {
    pub model: <Description<K> as Describes>::Model,
    pub description: Description<K>,
    /// Hash of parameters and buffers, as `holosig hash` prints it.
    pub hash: String,
    /// Where its training stood; none for an imported model.
    pub progress: Option<Progress>,
}

impl<K: TaskKind> Trained<K> {
    /// Reads a checkpoint on rank 0 and shares it. Collective.
    ///
    /// # Errors
    /// A file that is not a checkpoint of the task, is damaged, or does not hold the model that it
    /// describes.
    pub fn open(world: &World, path: &Path, device: &Device) -> Result<Self> {
        let checkpoint = world.on_root(|| Checkpoint::read(path))?;
        let checkpoint = Checkpoint::broadcast(world, checkpoint)?;
        world.agree(Self::of(&checkpoint, path, device))
    }

    /// The model of a checkpoint; `path` is the file to blame.
    ///
    /// # Errors
    /// As [`Trained::open`].
    pub fn of(checkpoint: &Checkpoint, path: &Path, device: &Device) -> Result<Self> {
        let description = K::describe(checkpoint, path)?;
        let model = description.build(0, DType::F32, device);
        let model = model.map_err(|e| e.in_file(path))?;
        checkpoint.load_into(path, model.parameters())?;
        let training = checkpoint.training.as_ref();
        Ok(Self {
            model,
            description,
            hash: checkpoint.hash().to_string(),
            progress: training.map(|(progress, _)| progress.clone()),
        })
    }

    /// The same model in f64, on the processor.
    ///
    /// # Errors
    /// A failure of the numerical backend.
    pub fn double(&self) -> Result<<Description<K> as Describes>::Model> {
        let own = self.model.parameters();
        let double = self.description.build(0, DType::F64, &Device::Cpu)?;
        double.parameters().set_flat(&own.flat()?)?;
        double.parameters().set_buffers(&own.buffers())?;
        Ok(double)
    }
}
