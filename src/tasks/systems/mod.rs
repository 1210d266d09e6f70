//! Training a network of atoms on the targets of systems, and its test.
//!
//! A network learns `(target - baseline) / scale`; forces and stresses are divided by the scale of
//! the first target. So the terms of an energy and its derivatives keep the proportions that they
//! have in their units. References are taken off in f64, before anything is rounded to the network's f32.

mod baseline;
mod description;
mod job;
mod references;
mod scores;

pub use baseline::{Baseline, Kind};
pub use description::{Description, On, Predicted, TargetDescription};
pub use job::{Data, Goal, Names, SystemsSections};
pub use references::{References, Set};
pub use scores::{ClassScores, Measured, Scores, UNKNOWN, ValueScores, forces, known, stresses};

use super::{Job, Purpose, TaskKind};
use crate::comm::{Place, World};
use crate::data::noise::Noise;
use crate::data::system::System;
use crate::data::systems::{Systems, Target};
use crate::data::{Partition, Split};
use crate::elements::symbol;
use crate::models::graph::{Batch, GraphModel, KnownStress, NETWORK, Stresses};
use crate::models::{Describes, Model};
use crate::ops::in_pool;
use crate::train::{Origin, RunFolder, Task};
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use serde_json::Value;
use std::collections::BTreeMap;

/// The task `systems`.
#[derive(Debug)]
pub struct SystemsKind;

impl TaskKind for SystemsKind {
    const MODEL: &'static str = "a network of atoms";
    const BATCH: u64 = 32;
    const SLICES: usize = 4;
    type Sections = SystemsSections;
    type Input = Systems;
    type Task<'a> = SystemsTask<'a>;

    fn terms(sections: &SystemsSections) -> Vec<(&'static str, f64)> {
        sections.terms()
    }

    fn check(sections: &SystemsSections) -> Result<()> {
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
        purpose: Purpose,
    ) -> Result<SystemsTask<'a>> {
        let usable = check_derivatives(&job.sections.data, input);
        world.agree(usable.map_err(|e| e.in_file(&job.dataset)))?;
        let description = match purpose {
            Purpose::Training(Some(saved)) if saved.task() == Self::name() => {
                Self::description(saved.description()).and_then(|d| adopt(d, job, input))
            }
            _ => describe(&job.sections, input),
        };
        let built = description.and_then(|d| SystemsTask::new(job, input, place, d));
        world.agree(built.map_err(|e| e.in_file(&job.dataset)))
    }

    /// Scores of every target and of forces, on rank 0; also printed as a table.
    fn test(
        world: &World,
        _: &Job<Self>,
        task: &SystemsTask,
        _: &RunFolder,
    ) -> Result<Option<Value>> {
        if task.samples(Split::Test) == 0 {
            return Ok(None);
        }
        let Some(scores) = task.test(world)? else {
            return Ok(None);
        };
        if world.reports_progress() {
            crate::print::text(&scores.table());
        }
        serde_json::to_value(&scores)
            .map(Some)
            .map_err(Error::internal)
    }
}

/// The baselines and scales of a checkpoint of the same targets; a job of other targets makes its
/// own. The rest is the job's.
fn adopt(saved: Description, job: &Job<SystemsKind>, systems: &Systems) -> Result<Description> {
    let data = &job.sections.data;
    let names = saved.targets.iter().map(|t| &t.name);
    let classes = saved.targets.iter().any(|t| !t.classes.is_empty());
    let same = names.eq(data.targets()) && classes == (data.goal == Goal::Class);
    match same && saved.forces == data.forces {
        true => Ok(Description {
            targets: saved.targets,
            forces: data.forces,
            stress: data.stress,
            edges: data.edges,
            model: job.sections.model.clone(),
        }),
        false => describe(&job.sections, systems),
    }
}

/// What a job makes of a dataset: baselines and scales of the training systems, classes.
fn describe(sections: &SystemsSections, systems: &Systems) -> Result<Description> {
    let data = &sections.data;
    let train = systems.split(Split::Train);
    if train.is_empty() {
        return Err(Error::input("no system is for training"));
    }
    let targets = data.targets().iter().enumerate();
    let describe = |(i, name): (usize, &String)| {
        let target = systems.target(name)?;
        check_target(systems, target)?;
        match data.goal {
            Goal::Class => class_target(systems, target),
            Goal::Value => {
                let references = match &data.references {
                    Some(references) => references.of(target, i == 0)?,
                    None => BTreeMap::new(),
                };
                references::check_elements(&references, all_elements(systems))?;
                let baseline = Baseline::fit(data.baseline, systems, &train, target, &references);
                let forces = data.forces && i == 0;
                let same = || {
                    Error::input(format!(
                        "all training systems have the same {name} but for the baseline: there \
                         is nothing to learn"
                    ))
                };
                let scale = baseline::scale(systems, &train, target, &baseline, forces);
                Ok(TargetDescription {
                    name: name.clone(),
                    unit: target.unit.clone(),
                    scale: scale.ok_or_else(same)?,
                    classes: Vec::new(),
                    baseline,
                })
            }
        }
    };
    Ok(Description {
        forces: data.forces,
        stress: data.stress,
        edges: data.edges,
        targets: targets.map(describe).collect::<Result<_>>()?,
        model: sections.model.clone(),
    })
}

/// Symbols of all atoms, each with the name of its system.
fn all_elements(systems: &Systems) -> impl Iterator<Item = (&str, &str)> {
    (0..systems.len()).flat_map(move |i| {
        let symbols = systems.numbers(i).iter().filter_map(|&z| symbol(z));
        symbols.map(move |symbol| (symbol, systems.id(i)))
    })
}

/// Refuses systems without forces where these are learned, and training without stresses.
fn check_derivatives(data: &Data, systems: &Systems) -> Result<()> {
    let without = (0..systems.len()).find(|&i| systems.forces(i).is_none());
    if let (true, Some(without)) = (data.forces, without) {
        let id = systems.id(without);
        return Err(Error::input(format!(
            "{id} has no forces: data.forces = false"
        )));
    }
    let train = systems.split(Split::Train);
    if data.stress && !train.iter().any(|&i| systems.stress(i as usize).is_some()) {
        let what = "no training system has a stress: data.stress = false";
        return Err(Error::input(what));
    }
    Ok(())
}

fn check_target(systems: &Systems, target: &Target) -> Result<()> {
    match target.values.iter().position(|v| v.is_nan()) {
        None => Ok(()),
        Some(i) => Err(Error::input(format!(
            "{} has no {}: leave it out, or prepare the file with a table of targets",
            systems.id(i),
            target.name
        ))),
    }
}

/// Classes are the values that training systems have.
fn class_target(systems: &Systems, target: &Target) -> Result<TargetDescription> {
    const MOST: usize = 10_000;
    let mut classes: Vec<f64> = target.values.clone();
    classes.sort_by(f64::total_cmp);
    classes.dedup();
    let name = &target.name;
    match classes.len() {
        1 => Err(Error::input(format!(
            "all systems have {name} = {}: there is nothing to tell apart",
            classes[0]
        ))),
        n if n > MOST || (n > 20 && n == systems.len()) => Err(Error::input(format!(
            "{name} has {n} different values: too many for classes; data.goal = \"value\" learns \
             numbers"
        ))),
        _ => Ok(TargetDescription {
            name: name.clone(),
            unit: target.unit.clone(),
            scale: 1.0,
            classes,
            baseline: Baseline::default(),
        }),
    }
}

/// The place of a split in [`Split::ALL`].
fn place_of(split: Split) -> usize {
    match split {
        Split::Train => 0,
        Split::Validation => 1,
        Split::Test => 2,
    }
}

/// A dataset's systems as batches of graphs, and the model for them.
pub struct SystemsTask<'a> {
    systems: &'a Systems,
    parts: Partition,
    /// `[targets][systems]`, in the description's units.
    known: Vec<Vec<f64>>,
    /// Systems for each that has a stress, by split; `None` where none has, or none is learned.
    shares: [Option<f64>; 3],
    model: GraphModel,
    description: Description,
}

impl<'a> SystemsTask<'a> {
    fn new(
        job: &Job<SystemsKind>,
        systems: &'a Systems,
        place: &Place,
        description: Description,
    ) -> Result<Self> {
        let values = |t: &TargetDescription| {
            check_target(systems, systems.target(&t.name)?)?;
            known(systems, t)
        };
        let model = description.build(job.train.seed, DType::F32, &place.device)?;
        let parts = Partition::new(|split| Ok(systems.split(split)))?;
        let share = |split: Split| {
            let ids = parts.split(split);
            let known = |i: &&u32| systems.stress(**i as usize).is_some();
            let known = ids.iter().filter(known).count();
            let learned = description.stress && known > 0;
            learned.then(|| ids.len() as f64 / known as f64)
        };
        Ok(Self {
            shares: Split::ALL.map(share),
            known: description
                .targets
                .iter()
                .map(values)
                .collect::<Result<_>>()?,
            systems,
            parts,
            model,
            description,
        })
    }

    fn on(&self) -> On<'_> {
        On {
            dtype: DType::F32,
            device: self.model.parameters().device(),
        }
    }

    /// A target of systems, by its number, as the network learns it.
    fn target(&self, number: usize, ids: &[u32]) -> Result<Tensor> {
        let (target, values) = (&self.description.targets[number], &self.known[number]);
        let device = self.on().device;
        if !target.classes.is_empty() {
            let class = |&i: &u32| {
                let value = values[i as usize];
                let found = target.classes.iter().position(|c| *c == value);
                let unknown = || {
                    let (id, name) = (self.systems.id(i as usize), &target.name);
                    Error::input(format!("{id}: {name} = {value} is no class of the model"))
                };
                found.map(|c| c as u32).ok_or_else(unknown)
            };
            let classes = ids.iter().map(class).collect::<Result<Vec<u32>>>()?;
            return Ok(Tensor::from_vec(classes, ids.len(), device)?);
        }
        let learned = |&i: &u32| {
            let i = i as usize;
            let rest = values[i] - target.baseline.of(self.systems.numbers(i));
            (rest / target.scale) as f32
        };
        let learned: Vec<f32> = ids.iter().map(learned).collect();
        Ok(Tensor::from_vec(learned, ids.len(), device)?)
    }

    /// Forces on the atoms of systems as the network learns them.
    fn forces(&self, ids: &[u32]) -> Result<Tensor> {
        let scale = self.description.targets[0].scale;
        let known = forces(self.systems, ids, &self.description)?;
        let flat = known.as_flattened().iter();
        let flat: Vec<f32> = flat.map(|f| (f / scale) as f32).collect();
        let atoms = flat.len() / 3;
        Ok(Tensor::from_vec(flat, (atoms, 3), self.on().device)?)
    }

    /// Stresses of systems of a split as the network learns them.
    fn stresses(&self, split: Split, ids: &[u32]) -> Result<Option<Stresses>> {
        let Some(share) = self.shares[place_of(split)] else {
            return Ok(None);
        };
        let scale = self.description.targets[0].scale;
        let known = stresses(self.systems, ids, &self.description)?;
        let learned = |known: Option<KnownStress>| {
            let (stress, volume) = known?;
            Some((stress.map(|row| row.map(|x| x / scale)), volume))
        };
        let known: Vec<Option<KnownStress>> = known.into_iter().map(learned).collect();
        let On { dtype, device } = self.on();
        Stresses::new(&known, share, dtype, device).map(Some)
    }

    /// The batch of the systems `ids` of a split, each with its place as `change` makes it.
    fn batch_of(
        &self,
        split: Split,
        ids: &[u32],
        change: impl Fn(usize, System<f64>) -> System<f64>,
    ) -> Result<Batch> {
        let systems = ids.iter().map(|&i| self.systems.system(i as usize));
        let systems: Vec<System<f64>> = systems.enumerate().map(|(k, s)| change(k, s)).collect();
        let mut batch = self.description.batch(&self.model, &systems, self.on())?;
        let targets = (0..self.known.len()).map(|k| self.target(k, ids));
        batch.targets.graphs = targets.collect::<Result<_>>()?;
        if self.description.forces {
            batch.targets.forces = Some(self.forces(ids)?);
        }
        batch.targets.stress = self.stresses(split, ids)?;
        Ok(batch)
    }

    /// Scores on the test systems, on rank 0. Collective.
    fn test(&self, world: &World) -> Result<Option<Scores>> {
        /// Systems of one forward pass.
        const BLOCK: usize = 32;
        let ids = &self.parts.test;
        let mut all = Predicted::default();
        world.ordered(
            ids.len(),
            BLOCK,
            |range| {
                let own = ids[range].iter().map(|&i| self.systems.system(i as usize));
                let own: Vec<System<f64>> = own.collect();
                let forces = self.description.derivatives();
                let predict = || {
                    self.description
                        .predict(&self.model, &own, forces, self.on())
                };
                in_pool(predict)
            },
            |_, part| {
                all.append(part);
                Ok(())
            },
        )?;
        world.on_root(|| {
            let measured = Measured::of(self.systems, ids, &self.description)?;
            Ok(Scores::new(&self.description, &all, &measured))
        })
    }
}

impl Task for SystemsTask<'_> {
    const NAME: &'static str = "systems";

    const ORIGINS: &'static [Origin] = &[Origin {
        task: "pretrain",
        apart: &["head.*", "objective.*"],
    }];

    const RELEASED: Option<&'static str> = Some(NETWORK);

    type Model = GraphModel;

    type Description = Description;

    fn model(&self) -> &GraphModel {
        &self.model
    }

    fn samples(&self, split: Split) -> u64 {
        self.parts.split(split).len() as u64
    }

    fn batch(&self, split: Split, samples: &[u64]) -> Result<Batch> {
        let ids = self.parts.at(split, samples);
        self.batch_of(split, &ids, |_, system| system)
    }

    fn check_noise(&self) -> Result<()> {
        Ok(())
    }

    /// Targets, forces and stresses are those of the atoms before they move.
    fn noisy_batch(&self, samples: &[u64], noise: &Noise) -> Result<Batch> {
        let ids = self.parts.at(Split::Train, samples);
        self.batch_of(Split::Train, &ids, |place, mut system| {
            let mut steps = vec![[0f32; 3]; system.len()];
            noise.add(samples[place], steps.as_flattened_mut());
            let steps = steps.as_flattened().iter();
            let coordinates = system.positions.as_flattened_mut().iter_mut();
            coordinates
                .zip(steps)
                .for_each(|(x, step)| *x += f64::from(*step));
            system
        })
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
