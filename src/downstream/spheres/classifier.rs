//! A trained supervised network, as a judge of signals that a decoder made.

use crate::Result;
use crate::comm::World;
use crate::data::spheres::{Signal, class_number};
use crate::ops::in_pool;
use crate::tasks::Trained;
use crate::tasks::spheres::ClassesKind;
use candle_core::{Device, Tensor};
use std::path::Path;

/// Signals per forward pass.
const BLOCK: usize = 256;

/// A trained classifier of signals on the sphere.
pub type Classifier = Trained<ClassesKind>;

impl Classifier {
    /// [`Trained::open`] on the processor, for signals of the same kind as `signal`. Collective.
    ///
    /// # Errors
    /// Those of [`Trained::open`]; a classifier of other signals.
    pub fn open_for(world: &World, path: &Path, signal: &Signal) -> Result<Self> {
        let classifier = Self::open(world, path, &Device::Cpu)?;
        let same = classifier.description.signal.check_same(signal);
        world.agree(same.map_err(|e| e.in_file(path)))?;
        Ok(classifier)
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
