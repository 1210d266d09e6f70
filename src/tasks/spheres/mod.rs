//! Training an H-(V)AE on signals on the sphere: images and shapes (paper, sections IV.1 and IV.2).

mod classes;
mod job;

pub use classes::{ClassesKind, ClassesTask};
pub use job::{ClassesSections, Data, SpheresSections};

use super::{Job, Purpose, TaskKind};
use crate::comm::{Place, World};
use crate::data::Split;
use crate::data::spheres::{Spheres, size};
use crate::models::hvae::{Hvae, HvaeBatch, HvaeConfig, SphereDescription, TERMS};
use crate::models::{Describes, Model};
use crate::train::Task;
use crate::{Error, Result, stats};
use candle_core::{DType, Tensor};

/// The task `spheres`.
#[derive(Debug)]
pub struct SpheresKind;

impl TaskKind for SpheresKind {
    const MODEL: &'static str = "an H-(V)AE model of signals on the sphere";
    const BATCH: u64 = 100;
    const SLICES: usize = 1;
    type Sections = SpheresSections;
    type Input = Spheres;
    type Task<'a> = SpheresTask<'a>;

    /// Weights of the published configuration for images.
    fn terms(_: &SpheresSections) -> Vec<(&'static str, f64)> {
        vec![(TERMS[0].0, 50.0), (TERMS[1].0, 0.2)]
    }

    fn open(world: &World, job: &Job<Self>) -> Result<Spheres> {
        Spheres::open(world, &job.dataset)
    }

    /// The norm factor comes from the checkpoint, or from the training samples.
    fn build<'a>(
        _: &World,
        job: &Job<Self>,
        input: &'a Spheres,
        place: &Place,
        purpose: Purpose,
    ) -> Result<SpheresTask<'a>> {
        let blame = |e: Error| e.in_file(&job.dataset);
        let norm_factor = match purpose {
            Purpose::Training(Some(saved)) => Self::description(saved.description())?.norm_factor,
            _ => norm_factor(input).map_err(blame)?,
        };
        let model = job.sections.model.clone();
        let description = SphereDescription {
            norm_factor,
            signal: input.signal().clone(),
            classes: conditions(&model, input).map_err(blame)?,
            model,
        };
        Ok(SpheresTask {
            model: description.build(job.train.seed, DType::F32, &place.device)?,
            data: input,
            description,
        })
    }
}

/// Classes that a conditional model is told of; none for another.
fn conditions(model: &HvaeConfig, data: &Spheres) -> Result<Vec<String>> {
    if model.conditions == 0 {
        return Ok(Vec::new());
    }
    let classes = data.classes()?;
    match classes.len() == model.conditions {
        true => Ok(classes),
        false => Err(Error::input(format!(
            "model.conditions = {}, but the signals have {} classes: {}",
            model.conditions,
            classes.len(),
            classes.join(", ")
        ))),
    }
}

/// Mean size of the training samples' coefficients, which the published code divides by.
///
/// # Errors
/// No training samples, or empty ones.
pub fn norm_factor(data: &Spheres) -> Result<f64> {
    let irreps = data.signal().irreps();
    let of = |&sample: &u32| size(&irreps, data.coefficients(sample));
    let sizes: Vec<f64> = data.split(Split::Train).iter().map(of).collect();
    match stats::mean(&sizes) {
        mean if mean.is_finite() && mean > 0.0 => Ok(mean),
        _ => Err(Error::input("no signal to train on, or only empty ones")),
    }
}

/// The signals of a dataset, normalised, and the model for them.
pub struct SpheresTask<'a> {
    data: &'a Spheres,
    model: Hvae,
    description: SphereDescription,
}

impl Task for SpheresTask<'_> {
    const NAME: &'static str = "spheres";

    type Model = Hvae;

    type Description = SphereDescription;

    fn model(&self) -> &Hvae {
        &self.model
    }

    fn samples(&self, split: Split) -> u64 {
        self.data.split(split).len() as u64
    }

    fn batch(&self, split: Split, samples: &[u64]) -> Result<HvaeBatch> {
        let number = |&s: &u64| self.data.number(split, s);
        let numbers: Vec<u32> = samples.iter().map(number).collect();
        let x = self.description.normalised(self.data, &numbers);
        let (n, device) = (samples.len(), self.model.parameters().device());
        let of = |&sample: &u32| self.data.label(sample);
        let labels = self.description.one_hot(numbers.iter().map(of))?;
        let conditions = self.description.model.conditions;
        let labels = (conditions > 0).then(|| Tensor::from_vec(labels, (n, conditions), device));
        Ok(HvaeBatch {
            x: Tensor::from_vec(x, (n, self.data.dim()), device)?,
            ids: samples.to_vec(),
            labels: labels.transpose()?,
        })
    }

    fn sample_name(&self, split: Split, sample: u64) -> String {
        self.data.id(self.data.number(split, sample)).to_string()
    }

    fn fingerprint(&self) -> String {
        self.data.fingerprint().to_string()
    }

    fn description(&self) -> &SphereDescription {
        &self.description
    }
}
