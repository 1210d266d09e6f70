//! Training a supervised network on the classes of signals on the sphere.

use super::{ClassesSections, norm_factor};
use crate::comm::{Place, World};
use crate::data::Split;
use crate::data::spheres::{Spheres, class_number};
use crate::models::hvae::{ClassifierDescription, LabelledBatch, SphereClassifier};
use crate::models::{Describes, Model};
use crate::tasks::{Job, Purpose, TaskKind};
use crate::train::Task;
use crate::{Error, Result};
use candle_core::{DType, Tensor};

/// The task `sphere-classes`.
#[derive(Debug)]
pub struct ClassesKind;

impl TaskKind for ClassesKind {
    const MODEL: &'static str = "a classifier of signals on the sphere";
    const BATCH: u64 = 100;
    const SLICES: usize = 1;
    type Sections = ClassesSections;
    type Input = Spheres;
    type Task<'a> = ClassesTask<'a>;

    fn terms(_: &ClassesSections) -> Vec<(&'static str, f64)> {
        vec![(SphereClassifier::TERM, 1.0)]
    }

    fn open(world: &World, job: &Job<Self>) -> Result<Spheres> {
        Spheres::open(world, &job.dataset)
    }

    /// Norm factor and classes come from the checkpoint, or from the training samples.
    fn build<'a>(
        _: &World,
        job: &Job<Self>,
        input: &'a Spheres,
        place: &Place,
        purpose: Purpose,
    ) -> Result<ClassesTask<'a>> {
        let norm_factor = match purpose {
            Purpose::Training(Some(saved)) => {
                Self::description(saved.description()).map(|d| d.norm_factor)
            }
            _ => norm_factor(input),
        };
        let built = norm_factor.and_then(|norm_factor| {
            let description = ClassifierDescription {
                norm_factor,
                signal: input.signal().clone(),
                classes: input.classes()?,
                model: job.sections.model.clone(),
            };
            if description.classes.len() < 2 {
                return Err(Error::input("signals of one class: nothing to tell apart"));
            }
            Ok(ClassesTask {
                model: description.build(job.train.seed, DType::F32, &place.device)?,
                data: input,
                description,
            })
        });
        built.map_err(|e| e.in_file(&job.dataset))
    }
}

/// The signals of a dataset, normalised, and the network for them.
pub struct ClassesTask<'a> {
    data: &'a Spheres,
    model: SphereClassifier,
    description: ClassifierDescription,
}

impl Task for ClassesTask<'_> {
    const NAME: &'static str = "sphere-classes";

    type Model = SphereClassifier;

    type Description = ClassifierDescription;

    fn model(&self) -> &SphereClassifier {
        &self.model
    }

    fn samples(&self, split: Split) -> u64 {
        self.data.split(split).len() as u64
    }

    fn batch(&self, split: Split, samples: &[u64]) -> Result<LabelledBatch> {
        let number = |&s: &u64| self.data.number(split, s);
        let numbers: Vec<u32> = samples.iter().map(number).collect();
        let (n, device) = (samples.len(), self.model.parameters().device());
        let x = self.data.scaled(&numbers, self.description.norm_factor);
        let class = |&s: &u32| class_number(&self.description.classes, self.data.label(s));
        let classes: Vec<u32> = numbers.iter().map(class).collect::<Result<_>>()?;
        Ok(LabelledBatch {
            x: Tensor::from_vec(x, (n, self.data.dim()), device)?,
            ids: samples.to_vec(),
            classes: Tensor::from_vec(classes, n, device)?,
        })
    }

    fn sample_name(&self, split: Split, sample: u64) -> String {
        self.data.id(self.data.number(split, sample)).to_string()
    }

    fn fingerprint(&self) -> String {
        self.data.fingerprint().to_string()
    }

    fn description(&self) -> &ClassifierDescription {
        &self.description
    }
}
