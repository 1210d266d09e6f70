//! A trained supervised network, as a judge of signals that a decoder made.

use crate::comm::World;
use crate::data::spheres::{Signal, class_number};
use crate::models::Model;
use crate::models::hvae::{ClassifierDescription, SphereClassifier};
use crate::ops::in_pool;
use crate::tasks::TaskKind;
use crate::tasks::spheres::ClassesKind;
use crate::train::Checkpoint;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::path::Path;

/// Signals per forward pass.
const BLOCK: usize = 256;

/// A trained classifier of signals on the sphere.
pub struct Classifier {
    model: SphereClassifier,
    description: ClassifierDescription,
}

impl Classifier {
    /// Reads a checkpoint on rank 0 and shares it.
    ///
    /// # Errors
    /// A file that is not a checkpoint of a classifier, or is damaged; one of other signals.
    pub fn open(world: &World, path: &Path, signal: &Signal) -> Result<Self> {
        let checkpoint = world.on_root(|| Checkpoint::read(path))?;
        let checkpoint = Checkpoint::broadcast(world, checkpoint)?;
        world.agree(Self::of(&checkpoint, path, signal))
    }

    fn of(checkpoint: &Checkpoint, path: &Path, signal: &Signal) -> Result<Self> {
        let description = ClassesKind::describe(checkpoint, path)?;
        let blame = |e: Error| Error::file(path, e);
        description.signal.check_same(signal).map_err(blame)?;
        let model = description.build(0, DType::F32, &Device::Cpu);
        let model = model.map_err(blame)?;
        checkpoint.load_into(path, model.parameters())?;
        Ok(Self { model, description })
    }

    /// Share of signals, coefficients `[n, D]` in the scale of the data, whose label is predicted.
    ///
    /// # Errors
    /// A label of none of its classes.
    pub fn accuracy(&self, coefficients: &[f32], labels: &[&str]) -> Result<f64> {
        let dim = self.description.signal.irreps().dim();
        let factor = self.description.norm_factor as f32;
        let mut right = 0;
        for (x, labels) in coefficients.chunks(BLOCK * dim).zip(labels.chunks(BLOCK)) {
            let x = x.iter().map(|c| c / factor).collect();
            let x = Tensor::from_vec(x, (labels.len(), dim), &Device::Cpu)?;
            let predicted = in_pool(|| -> Result<Vec<u32>> {
                Ok(self.model.logits(&x)?.argmax(1)?.to_vec1()?)
            })?;
            for (label, predicted) in labels.iter().zip(predicted) {
                right += usize::from(class_number(&self.description.classes, label)? == predicted);
            }
        }
        Ok(right as f64 / labels.len().max(1) as f64)
    }
}
