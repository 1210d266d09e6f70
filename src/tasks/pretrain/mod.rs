//! Pretraining of a network of atoms on systems, by an objective (`models/pretrain`).
//!
//! What is kept for other jobs is the network: a `systems` job starts from it with `train.init`,
//! and draws its own head.

mod job;

pub use job::{Data, PretrainSections};

use super::{Job, Purpose, TaskKind};
use crate::comm::{Place, World};
use crate::data::neighbors::Rule;
use crate::data::systems::Systems;
use crate::data::{Partition, Split};
use crate::models::graph::NETWORK;
use crate::models::pretrain::{
    AnyObjective, Batch, Molecule, PretrainConfig, PretrainModel, Start,
};
use crate::models::{Describes, StepKey};
use crate::stats::{mean, population_deviation};
use crate::train::{Origin, Task};
use crate::{Error, Result};
use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};

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

    fn terms(sections: &PretrainSections) -> Vec<(&'static str, f64)> {
        sections.objective.config().terms()
    }

    fn check(sections: &PretrainSections) -> Result<()> {
        sections.check()
    }

    fn open(world: &World, job: &Job<Self>) -> Result<Systems> {
        Systems::open(world, &job.dataset)
    }

    fn build<'a>(
        world: &World,
        job: &Job<Self>,
        input: &'a Systems,
        place: &Place,
        _: Purpose,
    ) -> Result<PretrainTask<'a>> {
        let built = PretrainTask::new(job, input, place);
        world.agree(built.map_err(|e| e.in_file(&job.dataset)))
    }
}

/// Systems as molecules, and the model for them.
pub struct PretrainTask<'a> {
    systems: &'a Systems,
    parts: Partition,
    model: PretrainModel,
    description: Description,
    seed: u64,
}

impl<'a> PretrainTask<'a> {
    fn new(job: &Job<PretrainKind>, systems: &'a Systems, place: &Place) -> Result<Self> {
        let sections = &job.sections;
        let mut parts = Partition::new(|split| Ok(systems.split(split)))?;
        if sections.objective.config().bonded() {
            leave_out_unbound(systems, &mut parts);
        }
        if parts.train.is_empty() {
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
        let label = |name: &String| Label::new(systems, &parts.train, name);
        let description = Description {
            label: sections.label().map(label).transpose()?,
            edges: sections.data.edges,
            model: sections.model.clone(),
            objective: sections.objective.clone(),
        };
        let model = description.build(job.train.seed, DType::F32, &place.device)?;
        let masks = sections.objective.config().masks();
        check_elements(systems, &parts, model.encoder().elements(), masks)?;
        Ok(Self {
            systems,
            model,
            parts,
            description,
            seed: job.train.seed,
        })
    }

    fn molecule(&self, split: Split, sample: u64) -> Result<Molecule> {
        let i = self.parts.split(split)[sample as usize] as usize;
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
    parts: &Partition,
    elements: usize,
    masks: bool,
) -> Result<()> {
    let known = elements - usize::from(masks);
    let enough = match masks {
        true => "above all atomic numbers, as the last one stands for masked atoms",
        false => "as high as all atomic numbers",
    };
    for i in parts.all().map(|i| i as usize) {
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
fn leave_out_unbound(systems: &Systems, parts: &mut Partition) {
    let before = parts.all().count();
    let known = |i: &u32| {
        let i = *i as usize;
        !systems.bonds(i).is_empty() || systems.numbers(i).len() == 1
    };
    for split in Split::ALL {
        parts.split_mut(split).retain(known);
    }
    let left_out = before - parts.all().count();
    if left_out > 0 {
        log::warn!("{left_out} of {before} systems have no bonds and are left out");
    }
}

impl Describes for Description {
    type Model = PretrainModel;

    fn build(&self, seed: u64, dtype: DType, device: &Device) -> Result<PretrainModel> {
        let start = Start {
            seed,
            dtype,
            device: device.clone(),
        };
        PretrainModel::new(&self.model, self.edges, &self.objective, &start)
    }
}

impl Task for PretrainTask<'_> {
    const NAME: &'static str = "pretrain";

    const ORIGINS: &'static [Origin] = &[Origin {
        task: "systems",
        apart: &["head.*", "objective.*"],
    }];

    const RELEASED: Option<&'static str> = Some(NETWORK);

    type Model = PretrainModel;

    type Description = Description;

    fn model(&self) -> &PretrainModel {
        &self.model
    }

    fn samples(&self, split: Split) -> u64 {
        self.parts.split(split).len() as u64
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
        let id = self.parts.split(split)[sample as usize];
        self.systems.id(id as usize).to_string()
    }

    fn fingerprint(&self) -> String {
        self.systems.fingerprint().to_string()
    }

    fn description(&self) -> &Description {
        &self.description
    }
}
