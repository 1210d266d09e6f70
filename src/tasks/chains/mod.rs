//! Training a network of residues on the classes or labels of protein chains, and its test.

mod job;
mod scores;

pub use job::{ChainsSections, Data, Goal};
pub use scores::{ClassScores, LabelScores, Scores, Tested, ranking};

use super::{Job, Purpose, TaskKind};
use crate::comm::{Place, World};
use crate::data::chains::{Chain, Chains};
use crate::data::noise::Noise;
use crate::data::{Partition, Split};
use crate::models::residues::{Batch, Network, Objective, ResidueModel, TERM};
use crate::models::{Describes, Model};
use crate::ops::in_pool;
use crate::train::{RunFolder, Task};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How to build a model, and what its outputs mean. A checkpoint carries it as TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    pub goal: Goal,
    /// Names of the classes or labels, in the order of the outputs.
    pub classes: Vec<String>,
    /// Share of the training chains that have each.
    pub frequencies: Vec<f64>,
    pub model: Network,
}

impl Describes for Description {
    type Model = ResidueModel;

    fn build(&self, seed: u64, dtype: DType, device: &Device) -> Result<ResidueModel> {
        let objective = match self.goal {
            Goal::Class => Objective::Class(self.classes.len()),
            Goal::Labels => Objective::Labels(self.classes.len()),
        };
        ResidueModel::new(&self.model, objective, seed, dtype, device)
    }
}

impl Description {
    /// Probabilities of the classes for the chains `ids`, `[chains * classes]` one chain after
    /// another. Collective; the result is on rank 0.
    ///
    /// # Errors
    /// A chain that the network can make nothing of.
    pub fn predict(
        &self,
        world: &World,
        model: &ResidueModel,
        chains: &Chains,
        ids: &[u32],
    ) -> Result<Vec<f64>> {
        /// Chains of one forward pass.
        const BLOCK: usize = 8;
        let mut all = Vec::new();
        world.ordered(
            ids.len(),
            BLOCK,
            |range| {
                let own: Vec<Chain> = ids[range]
                    .iter()
                    .map(|&i| chains.chain(i as usize))
                    .collect();
                in_pool(|| -> Result<Vec<f64>> {
                    let probabilities = model.probabilities(&model.batch(&own)?)?;
                    Ok(probabilities.flatten_all()?.to_vec1()?)
                })
            },
            |_, part: Vec<f64>| {
                all.extend(part);
                Ok(())
            },
        )?;
        Ok(all)
    }

    /// The labels of the chains as places in [`Description::classes`], `None` where a chain has one
    /// that is not there.
    pub fn places(&self, chains: &Chains, ids: &[u32]) -> Vec<Option<Vec<u32>>> {
        let place = |label: &u32| {
            let name = &chains.classes()[*label as usize];
            self.classes.binary_search(name).ok().map(|p| p as u32)
        };
        let of = |&i: &u32| chains.labels(i as usize).iter().map(place).collect();
        ids.iter().map(of).collect()
    }
}

/// The task `chains`.
#[derive(Debug)]
pub struct ChainsKind;

impl TaskKind for ChainsKind {
    const MODEL: &'static str = "a network of residues";
    const BATCH: u64 = 8;
    const SLICES: usize = 1;
    type Sections = ChainsSections;
    type Input = Chains;
    type Task<'a> = ChainsTask<'a>;

    fn terms(_: &ChainsSections) -> Vec<(&'static str, f64)> {
        vec![(TERM, 1.0)]
    }

    fn check(sections: &ChainsSections) -> Result<()> {
        sections.check()
    }

    fn open(world: &World, job: &Job<Self>) -> Result<Chains> {
        let data = &job.sections.data;
        let mut chains = Chains::open(world, &job.dataset)?;
        if data.shuffle_labels {
            chains.shuffle_labels(job.train.seed);
        }
        Ok(chains)
    }

    fn build<'a>(
        world: &World,
        job: &Job<Self>,
        input: &'a Chains,
        place: &Place,
        _: Purpose,
    ) -> Result<ChainsTask<'a>> {
        let built =
            describe(&job.sections, input).and_then(|d| ChainsTask::new(job, input, place, d));
        world.agree(built.map_err(|e| e.in_file(&job.dataset)))
    }

    /// Scores of all test chains and of each part of them; also printed as a table.
    fn test(
        world: &World,
        _: &Job<Self>,
        task: &ChainsTask,
        _: &RunFolder,
    ) -> Result<Option<Value>> {
        let ids = &task.parts.test;
        if ids.is_empty() {
            return Ok(None);
        }
        let probabilities = task
            .description
            .predict(world, &task.model, task.chains, ids)?;
        world.on_root(|| {
            let scores = score(&task.description, task.chains, ids, &probabilities);
            let scores =
                scores.ok_or_else(|| Error::internal("a test chain of an unknown class"))?;
            if world.reports_progress() {
                crate::print::text(&scores.table());
            }
            serde_json::to_value(&scores).map_err(Error::internal)
        })
    }
}

/// Scores of the chains `ids`, if all their labels are known to the model.
pub fn score(
    description: &Description,
    chains: &Chains,
    ids: &[u32],
    probabilities: &[f64],
) -> Option<Scores> {
    let places: Option<Vec<Vec<u32>>> = description.places(chains, ids).into_iter().collect();
    let places =
        places.filter(|p| description.goal == Goal::Labels || p.iter().all(|l| l.len() == 1))?;
    let rows = probabilities.chunks_exact(description.classes.len());
    let tested = ids
        .iter()
        .zip(&places)
        .zip(rows)
        .map(|((&i, labels), row)| Tested {
            part: chains.part(i as usize),
            labels,
            probabilities: row,
        });
    let tested: Vec<Tested> = tested.collect();
    Some(Scores::new(
        description.goal,
        &tested,
        &description.frequencies,
    ))
}

/// What a job makes of a dataset: its classes and how frequent they are.
fn describe(sections: &ChainsSections, chains: &Chains) -> Result<Description> {
    let goal = sections.data.goal;
    let train = chains.split(Split::Train);
    if train.is_empty() {
        return Err(Error::input("no chain is for training"));
    }
    if let (Goal::Class, Some(i)) = (
        goal,
        (0..chains.len()).find(|&i| chains.labels(i).len() != 1),
    ) {
        return Err(Error::input(format!(
            "{} has {} labels, a class is one; data.goal = \"labels\" learns any number of them",
            chains.id(i),
            chains.labels(i).len()
        )));
    }
    if chains.classes().len() < 2 {
        return Err(Error::input(format!(
            "there are {} classes: nothing to tell apart",
            chains.classes().len()
        )));
    }
    let mut counts = vec![0usize; chains.classes().len()];
    let labels = train.iter().flat_map(|&i| chains.labels(i as usize));
    labels.for_each(|&l| counts[l as usize] += 1);
    let frequency = |n: usize| n as f64 / train.len() as f64;
    Ok(Description {
        goal,
        classes: chains.classes().to_vec(),
        frequencies: counts.into_iter().map(frequency).collect(),
        model: sections.model.clone(),
    })
}

/// A dataset's chains as batches of graphs, and the model for them.
pub struct ChainsTask<'a> {
    chains: &'a Chains,
    parts: Partition,
    model: ResidueModel,
    description: Description,
}

impl<'a> ChainsTask<'a> {
    fn new(
        job: &Job<ChainsKind>,
        chains: &'a Chains,
        place: &Place,
        description: Description,
    ) -> Result<Self> {
        let model = description.build(job.train.seed, DType::F32, &place.device)?;
        let (slice, least) = (
            job.train.batch / job.train.slices as u64,
            model.encoder().least(),
        );
        if slice < least as u64 {
            return Err(Error::input(format!(
                "train.batch = {} in train.slices = {}: the network's batch norms need {least} chains \
                 or more in a slice",
                job.train.batch, job.train.slices
            )));
        }
        Ok(Self {
            chains,
            parts: Partition::new(|split| Ok(chains.split(split)))?,
            model,
            description,
        })
    }

    /// Classes `[chains]`, or labels `[chains, labels]`.
    fn targets(&self, ids: &[u32]) -> Result<Tensor> {
        let device = self.model.parameters().device();
        let labels = |i: u32| self.chains.labels(i as usize);
        match self.description.goal {
            Goal::Class => {
                let classes: Vec<u32> = ids
                    .iter()
                    .flat_map(|&i| labels(i).iter().copied())
                    .collect();
                Ok(Tensor::from_vec(classes, ids.len(), device)?)
            }
            Goal::Labels => {
                let width = self.description.classes.len();
                let mut all = vec![0f32; ids.len() * width];
                for (row, &i) in all.chunks_exact_mut(width).zip(ids) {
                    labels(i).iter().for_each(|&l| row[l as usize] = 1.0);
                }
                Ok(Tensor::from_vec(all, (ids.len(), width), device)?)
            }
        }
    }

    /// The batch of the samples of a split, each chain as `change` makes it.
    fn batch_of(
        &self,
        split: Split,
        samples: &[u64],
        change: impl Fn(u64, &mut Chain),
    ) -> Result<Batch> {
        let ids = self.parts.at(split, samples);
        let chain = |(&i, &sample): (&u32, &u64)| {
            let mut chain = self.chains.chain(i as usize);
            change(sample, &mut chain);
            chain
        };
        let chains: Vec<Chain> = ids.iter().zip(samples).map(chain).collect();
        let mut batch = self.model.batch(&chains)?;
        batch.targets = Some(self.targets(&ids)?);
        batch.samples = samples.to_vec();
        Ok(batch)
    }
}

impl Task for ChainsTask<'_> {
    const NAME: &'static str = "chains";

    type Model = ResidueModel;

    type Description = Description;

    fn model(&self) -> &ResidueModel {
        &self.model
    }

    fn samples(&self, split: Split) -> u64 {
        self.parts.split(split).len() as u64
    }

    fn batch(&self, split: Split, samples: &[u64]) -> Result<Batch> {
        self.batch_of(split, samples, |_, _| {})
    }

    fn check_noise(&self) -> Result<()> {
        Ok(())
    }

    /// Residues move as a whole: N, CA and C by the same step. Torsions stay.
    fn noisy_batch(&self, samples: &[u64], noise: &Noise) -> Result<Batch> {
        self.batch_of(Split::Train, samples, |sample, chain| {
            let mut steps = vec![[0f32; 3]; chain.len()];
            noise.add(sample, steps.as_flattened_mut());
            for (residue, step) in chain.backbone.iter_mut().zip(steps) {
                for atom in residue {
                    *atom = std::array::from_fn(|k| atom[k] + f64::from(step[k]));
                }
            }
        })
    }

    fn sample_name(&self, split: Split, sample: u64) -> String {
        let id = self.parts.split(split)[sample as usize];
        self.chains.id(id as usize).to_string()
    }

    fn fingerprint(&self) -> String {
        self.chains.fingerprint().to_string()
    }

    fn description(&self) -> &Description {
        &self.description
    }
}
