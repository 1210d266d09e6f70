//! Pretraining of a network of atoms on systems, by an objective (`models/pretrain`).
//!
//! What is kept for other jobs is the network: a `systems` job starts from it with `train.init`,
//! and draws its own head.

mod job;

pub use job::{Data, PretrainSections};

use super::{Job, Purpose, TaskKind};
use crate::comm::{Place, World};
use crate::data::Split;
use crate::data::neighbors::Rule;
use crate::data::systems::Systems;
use crate::models::StepKey;
use crate::models::pretrain::{
    AnyObjective, Batch, Molecule, PretrainConfig, PretrainModel, Start,
};
use crate::stats::{mean, population_deviation};
use crate::train::{Origin, Task};
use crate::{Error, Result};
use candle_core::DType;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The task `pretrain`.
#[derive(Debug)]
pub struct PretrainKind;

/// How to build a pretrained model. A checkpoint carries it as TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// What is learned by a supervised objective.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    pub edges: Rule,
    pub model: PretrainConfig,
    pub objective: AnyObjective,
}

/// A target, and what is taken off it and divided by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    pub name: String,
    pub unit: String,
    pub mean: f64,
    pub deviation: f64,
}

impl Label {
    /// Mean and deviation of a target over the systems `train`.
    ///
    /// # Errors
    /// A target that the systems do not have, or that is the same everywhere.
    fn new(systems: &Systems, train: &[u32], name: &str) -> Result<Self> {
        let target = systems.target(name)?;
        let values: Vec<f64> = train.iter().map(|&i| target.values[i as usize]).collect();
        let label = Self {
            name: name.into(),
            unit: target.unit.clone(),
            mean: mean(&values),
            deviation: population_deviation(&values),
        };
        match label.deviation > 0.0 {
            true => Ok(label),
            false => Err(Error::input(format!(
                "data.target = {name:?}: not all training systems have it, or all have the same"
            ))),
        }
    }
}

impl TaskKind for PretrainKind {
    const MODEL: &'static str = "a pretrained network of atoms";
    const BATCH: u64 = 128;
    const SLICES: usize = 4;
    type Sections = PretrainSections;
    type Input = Systems;
    type Task<'a> = PretrainTask<'a>;
    type Description = Description;

    fn dataset(sections: &PretrainSections) -> &Path {
        &sections.data.dataset
    }

    fn terms(sections: &PretrainSections) -> Vec<(&'static str, f64)> {
        sections.objective.config().terms()
    }

    fn check(sections: &PretrainSections) -> Result<()> {
        sections.check()
    }

    fn open(world: &World, job: &Job<Self>) -> Result<Systems> {
        Systems::open(world, &job.sections.data.dataset)
    }

    fn build<'a>(
        world: &World,
        job: &Job<Self>,
        input: &'a Systems,
        place: &Place,
        _: Purpose,
    ) -> Result<PretrainTask<'a>> {
        let built = PretrainTask::new(job, input, place);
        world.agree(built.map_err(|e| e.in_file(&job.sections.data.dataset)))
    }
}

/// Systems as molecules, and the model for them.
pub struct PretrainTask<'a> {
    systems: &'a Systems,
    /// Systems to train, to validate and to test on.
    splits: [Vec<u32>; 3],
    model: PretrainModel,
    description: Description,
    seed: u64,
}

impl<'a> PretrainTask<'a> {
    fn new(job: &Job<PretrainKind>, systems: &'a Systems, place: &Place) -> Result<Self> {
        let sections = &job.sections;
        let mut splits = Split::ALL.map(|split| systems.split(split));
        if sections.objective.config().bonded() {
            leave_out_unbound(systems, &mut splits);
        }
        if splits[0].is_empty() {
            return Err(Error::input("no system is for training"));
        }
        let per_slice = job.train.batch / job.train.slices as u64;
        if sections.objective.config().couples() && per_slice < 2 {
            return Err(Error::input(format!(
                "train.batch = {}, train.slices = {}: this objective tells the molecules of a \
                 slice apart; at least two in each are needed",
                job.train.batch, job.train.slices
            )));
        }
        let label = |name: &String| Label::new(systems, &splits[0], name);
        let description = Description {
            label: sections.label().map(label).transpose()?,
            edges: sections.data.edges,
            model: sections.model.clone(),
            objective: sections.objective.clone(),
        };
        let start = Start {
            seed: job.train.seed,
            dtype: DType::F32,
            device: place.device.clone(),
        };
        let model = description.build(&start)?;
        let masks = sections.objective.config().masks();
        check_elements(systems, &splits, model.encoder().elements(), masks)?;
        Ok(Self {
            systems,
            model,
            splits,
            description,
            seed: job.train.seed,
        })
    }

    fn ids(&self, split: Split) -> &[u32] {
        match split {
            Split::Train => &self.splits[0],
            Split::Validation => &self.splits[1],
            Split::Test => &self.splits[2],
        }
    }

    fn molecule(&self, split: Split, sample: u64) -> Result<Molecule> {
        let i = self.ids(split)[sample as usize] as usize;
        let target = match &self.description.label {
            None => None,
            Some(label) => {
                let value = self.systems.target(&label.name)?.values[i];
                Some((value - label.mean) / label.deviation).filter(|v| v.is_finite())
            }
        };
        Ok(Molecule {
            sample,
            name: self.systems.id(i).into(),
            system: self.systems.system(i),
            target,
        })
    }

    fn batch_of(&self, split: Split, samples: &[u64], key: StepKey) -> Result<Batch> {
        let molecules = samples.iter().map(|&s| self.molecule(split, s));
        self.model
            .batch(&molecules.collect::<Result<Vec<_>>>()?, key)
    }
}

/// Refuses atoms that a network of this many elements does not know.
fn check_elements(
    systems: &Systems,
    splits: &[Vec<u32>; 3],
    elements: usize,
    masks: bool,
) -> Result<()> {
    let known = elements - usize::from(masks);
    let enough = match masks {
        true => "above all atomic numbers, as the last one stands for masked atoms",
        false => "as high as all atomic numbers",
    };
    for i in splits.iter().flatten().map(|&i| i as usize) {
        let largest = systems.numbers(i).iter().copied().max().unwrap_or(0);
        if usize::from(largest) > known {
            return Err(Error::input(format!(
                "{}: atomic number {largest}, model.elements = {elements}: model.elements must be \
                 {enough}",
                systems.id(i)
            )));
        }
    }
    Ok(())
}

/// Leaves out molecules of several atoms whose bonds are not known, and tells how many.
fn leave_out_unbound(systems: &Systems, splits: &mut [Vec<u32>; 3]) {
    let count = |splits: &[Vec<u32>; 3]| splits.iter().map(Vec::len).sum::<usize>();
    let before = count(splits);
    let known = |i: &u32| {
        let i = *i as usize;
        !systems.bonds(i).is_empty() || systems.numbers(i).len() == 1
    };
    splits.iter_mut().for_each(|ids| ids.retain(known));
    let left_out = before - count(splits);
    if left_out > 0 {
        log::warn!("{left_out} of {before} systems have no bonds and are left out");
    }
}

impl Description {
    /// The model.
    ///
    /// # Errors
    /// A setting that cannot be built, by name.
    pub fn build(&self, start: &Start) -> Result<PretrainModel> {
        PretrainModel::new(&self.model, self.edges, &self.objective, start)
    }
}

impl Task for PretrainTask<'_> {
    const NAME: &'static str = "pretrain";

    const ORIGINS: &'static [Origin] = &[Origin {
        task: "systems",
        apart: &["head.*", "objective.*"],
    }];

    type Model = PretrainModel;

    fn model(&self) -> &PretrainModel {
        &self.model
    }

    fn samples(&self, split: Split) -> u64 {
        self.ids(split).len() as u64
    }

    /// What is random in it is the same every time.
    fn batch(&self, split: Split, samples: &[u64]) -> Result<Batch> {
        let key = StepKey {
            seed: self.seed,
            step: u64::MAX,
        };
        self.batch_of(split, samples, key)
    }

    fn training_batch(&self, samples: &[u64], key: StepKey) -> Result<Batch> {
        self.batch_of(Split::Train, samples, key)
    }

    fn sample_name(&self, split: Split, sample: u64) -> String {
        let id = self.ids(split)[sample as usize];
        self.systems.id(id as usize).to_string()
    }

    fn fingerprint(&self) -> String {
        self.systems.fingerprint().to_string()
    }

    fn description(&self) -> Result<String> {
        toml::to_string_pretty(&self.description).map_err(Error::internal)
    }
}
