//! Training an H-(V)AE on the neighborhoods of a dataset.

use super::checkpoint::Saved;
use super::evaluate::{evaluate, sum_blocks};
use super::schedule::HvaeWeights;
use super::trainer::check_slices;
use super::{
    Costs, Outcome, Part, Plan, RunFolder, Settings, Start, Task, job, outcome, probe, train,
};
use crate::comm::{Place, World};
use crate::data::Split;
use crate::data::balance;
use crate::data::dataset::Dataset;
use crate::data::neighborhoods::Finder;
use crate::data::zernikegrams::of_centres;
#[cfg(feature = "cuda")]
use crate::data::zernikegrams::on_device;
use crate::models::Model;
use crate::models::hvae::{Description, Hvae, HvaeBatch, HvaeConfig};
use crate::ops::zernike::{self, Transform};
use crate::so3::irreps::Irreps;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A job file for `holosig train`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HvaeJob {
    pub data: Data,
    #[serde(default)]
    pub zernike: zernike::Settings,
    pub model: HvaeConfig,
    pub train: Settings<HvaeWeights>,
}

/// The `[data]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// A dataset file of `holosig prepare`.
    pub dataset: PathBuf,
    /// Samples of a global batch, over all ranks.
    #[serde(default = "default_batch")]
    pub batch: u64,
    /// Parts that a global batch is cut into, a power of two: at most that many ranks can
    /// share the work. Batch norm takes its statistics over a slice, so one slice is the
    /// published full-batch norm.
    #[serde(default = "default_slices")]
    pub slices: usize,
    /// Keep the atoms of the central residue other than its CA, as the published model does.
    #[serde(default = "yes")]
    pub central_residue: bool,
    /// Keep the atoms of other residues. Without them a sample is one residue, as in the paper's
    /// experiment on amino acids (A.5.4).
    #[serde(default = "yes")]
    pub surroundings: bool,
    /// Train on a choice of residues instead of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residues: Option<Residues>,
}

/// How many residues to train and to validate on, every type in equal shares ([`balance::balanced`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Residues {
    pub train: usize,
    pub validation: usize,
    /// Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<usize>,
    /// Chooses them.
    #[serde(default)]
    pub seed: u64,
}

fn default_batch() -> u64 {
    512
}

fn default_slices() -> usize {
    1
}

fn yes() -> bool {
    true
}

impl HvaeJob {
    /// Reads a job file; see [`job::load`]. Paths become absolute: those in the file are
    /// relative to it, those in an override to the current folder.
    ///
    /// # Errors
    /// Those of [`job::load`], and settings out of range.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        let mut job: Self = job::load(path, overrides)?;
        job.data.dataset = job::absolute(path, overrides, "data.dataset", &job.data.dataset)?;
        job.check().map_err(|e| e.in_file(path))?;
        Ok(job)
    }

    fn check(&self) -> Result<()> {
        if self.data.batch == 0 {
            return Err(Error::input("data.batch = 0: 1 or more is needed"));
        }
        if !(self.data.central_residue || self.data.surroundings) {
            return Err(Error::input(
                "data.central_residue = false and data.surroundings = false leave no atoms",
            ));
        }
        self.train.check()?;
        self.train.weights.check()?;
        self.zernike.validate()?;
        self.model.validate(&self.zernike.irreps())
    }
}

/// Opens the data, builds the model, trains it in `folder`, and tests the best model of the
/// validation once. Collective.
///
/// # Errors
/// Those of the job, the dataset and [`train`].
pub fn run(world: &World, job: &HvaeJob, folder: &RunFolder, start: Start) -> Result<()> {
    // Before the work starts: a look at the data may take minutes.
    world.agree(check_slices(job.data.slices, world.size()))?;
    let text = world.agree(job::to_text(job))?;
    let place = world.agree(world.place(job.train.device))?;
    let checkpoint = folder.open(world, start)?;
    let dataset = world.agree(Dataset::open(&job.data.dataset))?;
    let task = HvaeTask::new(world, job, &dataset, &place, checkpoint.as_ref())?;
    place.announce(world);
    train(world, &plan(&task, job, text, folder), checkpoint.as_ref())?;
    let step = outcome::choose(world, folder, task.model().parameters())?;
    let test = match task.samples(Part::Test) {
        0 => None,
        _ => {
            let block = (job.data.batch / job.data.slices as u64).max(1);
            let means = evaluate(world, &task, Part::Test, block)?;
            Some(Value::from_iter(means))
        }
    };
    Outcome::write(world, folder, step, &job.data.dataset, test)
}

/// Tells what [`run`] would take, and writes nothing. Collective.
///
/// # Errors
/// As [`run`].
pub fn dry_run(world: &World, job: &HvaeJob, folder: &RunFolder) -> Result<()> {
    tried(world, job, folder, |plan| probe(world, plan))
}

/// Measures what the job costs each rank, and writes nothing. Collective.
///
/// # Errors
/// As [`run`].
pub fn costs(world: &World, job: &HvaeJob) -> Result<Costs> {
    let folder = RunFolder::new("");
    tried(world, job, &folder, |plan| super::costs(world, plan))
}

/// Tries the job's plan out.
fn tried<R>(
    world: &World,
    job: &HvaeJob,
    folder: &RunFolder,
    with: impl FnOnce(&Plan<HvaeTask, HvaeWeights>) -> Result<R>,
) -> Result<R> {
    world.agree(check_slices(job.data.slices, world.size()))?;
    let place = world.agree(world.place(job.train.device))?;
    let dataset = world.agree(Dataset::open(&job.data.dataset))?;
    // A pass over the data for the norm factor would change no cost.
    let task = world.agree(HvaeTask::build(job, &dataset, &place, 1.0))?;
    place.announce(world);
    with(&plan(&task, job, String::new(), folder))
}

fn plan<'a>(
    task: &'a HvaeTask<'a>,
    job: &'a HvaeJob,
    text: String,
    folder: &'a RunFolder,
) -> Plan<'a, HvaeTask<'a>, HvaeWeights> {
    Plan {
        task,
        settings: &job.train,
        batch: job.data.batch,
        slices: job.data.slices,
        job: text,
        folder,
    }
}

/// A dataset's neighborhoods as normalised zernikegrams, and the model for them.
pub struct HvaeTask<'a> {
    finder: Finder<'a>,
    /// Centres to train, to validate and to test on.
    centres: [Vec<u32>; 3],
    transform: Transform,
    model: Hvae,
    description: Description,
}

impl<'a> HvaeTask<'a> {
    /// Builds the model. The norm factor comes from `checkpoint`, or from a pass over the
    /// training samples. Collective.
    ///
    /// # Errors
    /// A dataset without training samples, a setting that cannot be built.
    pub fn new(
        world: &World,
        job: &HvaeJob,
        dataset: &'a Dataset,
        place: &Place,
        checkpoint: Option<&Saved>,
    ) -> Result<Self> {
        let known = checkpoint.map(|c| Description::from_toml(c.description()));
        let known = known.transpose().map(|d| d.map_or(1.0, |d| d.norm_factor));
        let mut task = world.agree(known.and_then(|f| Self::build(job, dataset, place, f)))?;
        if checkpoint.is_none() {
            let factor = task.norm_factor(world)?;
            let usable = match factor.is_finite() && factor > 0.0 {
                true => Ok(factor),
                false => Err(Error::file(
                    &job.data.dataset,
                    "no training sample with an atom in any of the channels",
                )),
            };
            task.description.norm_factor = world.agree(usable)?;
        }
        Ok(task)
    }

    fn build(job: &HvaeJob, dataset: &'a Dataset, place: &Place, norm_factor: f64) -> Result<Self> {
        let description = Description {
            norm_factor,
            central_residue: job.data.central_residue,
            surroundings: job.data.surroundings,
            model: job.model.clone(),
            zernike: job.zernike.clone(),
            read: dataset.read_options()?.unwrap_or_default(),
        };
        Ok(Self {
            finder: Finder::new(dataset, description.neighborhood()),
            centres: [
                centres(job, dataset, Split::Train)?,
                centres(job, dataset, Split::Validation)?,
                centres(job, dataset, Split::Test)?,
            ],
            transform: Transform::new(&job.zernike)?,
            model: description.build(job.train.seed, DType::F32, &place.device)?,
            description,
        })
    }

    fn ids(&self, part: Part) -> &[u32] {
        match part {
            Part::Train => &self.centres[0],
            Part::Validation => &self.centres[1],
            Part::Test => &self.centres[2],
        }
    }

    /// Zernikegrams of some samples, row-major `[samples, dim]`, not normalised.
    fn zernikegrams(&self, part: Part, samples: &[u64]) -> Result<Vec<f32>> {
        let all = self.ids(part);
        let centres: Vec<u32> = samples.iter().map(|&s| all[s as usize]).collect();
        of_centres(&self.transform, &self.finder, &centres)
    }

    /// Mean over the training samples of `sqrt(sum_f x_f^2 / (2 l_f + 1))`, by which the
    /// published code divides its input.
    fn norm_factor(&self, world: &World) -> Result<f64> {
        /// Samples that one thread transforms at a time.
        const BLOCK: u64 = 64;
        let samples = self.samples(Part::Train);
        let weights = norm_weights(self.transform.irreps());
        let sum = sum_blocks(world, samples, BLOCK, |range| {
            let ids: Vec<u64> = range.collect();
            let x = self.zernikegrams(Part::Train, &ids)?;
            Ok(vec![
                x.chunks(weights.len()).map(|x| norm(x, &weights)).sum(),
            ])
        })?;
        Ok(sum.first().map_or(0.0, |s| s / samples as f64))
    }
}

/// The centres of a split that a job uses.
fn centres(job: &HvaeJob, dataset: &Dataset, split: Split) -> Result<Vec<u32>> {
    let all = dataset.split(split);
    let Some(residues) = &job.data.residues else {
        return Ok(all.to_vec());
    };
    let n = match split {
        Split::Train => residues.train,
        Split::Validation => residues.validation,
        Split::Test => residues.test.unwrap_or(all.len()),
    };
    if n == all.len() {
        return Ok(all.to_vec());
    }
    balance::balanced(dataset, all, n, residues.seed)
        .map_err(|e| Error::file(&job.data.dataset, format!("split {split}: {e}")))
}

/// `1 / (2l + 1)` for every coefficient of a zernikegram.
fn norm_weights(irreps: &Irreps) -> Vec<f64> {
    (0..=irreps.lmax())
        .flat_map(|l| {
            let orders = 2 * l + 1;
            std::iter::repeat_n(1.0 / orders as f64, irreps.channels(l) * orders)
        })
        .collect()
}

fn norm(x: &[f32], weights: &[f64]) -> f64 {
    let squares = x
        .iter()
        .zip(weights)
        .map(|(&x, w)| w * f64::from(x).powi(2));
    squares.sum::<f64>().sqrt()
}

impl Task for HvaeTask<'_> {
    type Model = Hvae;

    fn model(&self) -> &Hvae {
        &self.model
    }

    fn samples(&self, part: Part) -> u64 {
        self.ids(part).len() as u64
    }

    fn batch(&self, part: Part, samples: &[u64]) -> Result<<Hvae as Model>::Batch> {
        let factor = self.description.norm_factor as f32;
        #[cfg(feature = "cuda")]
        if self.model.parameters().device().is_cuda() {
            let all = self.ids(part);
            let centres: Vec<u32> = samples.iter().map(|&s| all[s as usize]).collect();
            let device = self.model.parameters().device();
            return Ok(HvaeBatch {
                x: on_device(
                    &self.transform,
                    &self.finder,
                    &centres,
                    device,
                    1.0 / factor,
                )?,
                ids: samples.to_vec(),
            });
        }
        let mut x = self.zernikegrams(part, samples)?;
        x.iter_mut().for_each(|v| *v /= factor);
        let shape = (samples.len(), self.transform.irreps().dim());
        Ok(HvaeBatch {
            x: Tensor::from_vec(x, shape, &Device::Cpu)?,
            ids: samples.to_vec(),
        })
    }

    fn sample_name(&self, part: Part, sample: u64) -> String {
        let id = self
            .finder
            .dataset()
            .residue(self.ids(part)[sample as usize]);
        let residue = id.residue;
        let icode = char::from(residue.icode).to_string();
        format!(
            "{} {}{}{} {}",
            id.structure,
            residue.chain,
            residue.number,
            icode.trim(),
            residue.name
        )
    }

    fn fingerprint(&self) -> String {
        self.finder.dataset().fingerprint().to_string()
    }

    fn description(&self) -> Result<String> {
        self.description.to_toml()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_norm_weighs_each_degree_by_its_orders() {
        // Two channels of degree 0, one of degree 1.
        let weights = norm_weights(&Irreps::new(vec![2, 1]));
        assert_eq!(weights, [1.0, 1.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0]);
        let x = [1.0, -2.0, 3.0, 0.0, 3.0];
        assert!((norm(&x, &weights) - 11f64.sqrt()).abs() < 1e-12);
    }
}
