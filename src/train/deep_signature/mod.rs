//! Training Deep Signature on the segments of a trajectories file, and its test.

mod job;
mod scores;

pub use job::{Data, DeepSignatureJob, DeepSignatureWeights, Goal};
pub use scores::{ClassScores, Scores};

use super::trainer::check_slices;
use super::{
    Costs, Outcome, Part, Plan, RunFolder, Start, Task, job as jobs, outcome, probe, train,
};
use crate::comm::{Place, World, pulse, slice_range};
use crate::data::trajectory::{Dataset, Partition};
use crate::models::Model;
use crate::models::deep_signature::{
    Clip, DeepSignature, Description, Graph, Objective, clip, graphs,
};
use crate::{Error, Result};
use candle_core::DType;
use std::sync::Arc;

/// Opens the data, builds the model, trains it in `folder`, and tests the best model of the
/// validation once. Collective.
///
/// # Errors
/// Those of the job, the dataset and [`train`].
pub fn run(world: &World, job: &DeepSignatureJob, folder: &RunFolder, start: Start) -> Result<()> {
    world.agree(check_slices(job.data.slices, world.size()))?;
    let text = world.agree(jobs::to_text(job))?;
    let place = world.agree(world.place(job.train.device))?;
    let checkpoint = folder.open(world, start)?;
    let mut dataset = Dataset::open(world, &job.data.dataset)?;
    if job.data.shuffle_labels {
        dataset.shuffle_labels(job.train.seed);
    }
    let task = world.agree(DeepSignatureTask::new(job, &dataset, &place))?;
    place.announce(world);
    train(world, &plan(&task, job, text, folder), checkpoint.as_ref())?;
    let step = outcome::choose(world, folder, task.model().parameters())?;
    let scores = task.test(world)?;
    if world.reports_progress() {
        print!("{}", scores.table());
    }
    let scores = world.agree(serde_json::to_value(&scores).map_err(Error::internal))?;
    Outcome::write(world, folder, step, &job.data.dataset, Some(scores))
}

/// Tells what [`run`] would take, and writes nothing. Collective.
///
/// # Errors
/// As [`run`].
pub fn dry_run(world: &World, job: &DeepSignatureJob, folder: &RunFolder) -> Result<()> {
    tried(world, job, folder, |plan| probe(world, plan))
}

/// Measures what the job costs each rank, and writes nothing. Collective.
///
/// # Errors
/// As [`run`].
pub fn costs(world: &World, job: &DeepSignatureJob) -> Result<Costs> {
    let folder = RunFolder::new("");
    tried(world, job, &folder, |plan| super::costs(world, plan))
}

/// Tries the job's plan out.
fn tried<R>(
    world: &World,
    job: &DeepSignatureJob,
    folder: &RunFolder,
    with: impl FnOnce(&Plan<DeepSignatureTask, DeepSignatureWeights>) -> Result<R>,
) -> Result<R> {
    world.agree(check_slices(job.data.slices, world.size()))?;
    let place = world.agree(world.place(job.train.device))?;
    let dataset = Dataset::open(world, &job.data.dataset)?;
    let task = world.agree(DeepSignatureTask::new(job, &dataset, &place))?;
    place.announce(world);
    with(&plan(&task, job, String::new(), folder))
}

fn plan<'a>(
    task: &'a DeepSignatureTask<'a>,
    job: &'a DeepSignatureJob,
    text: String,
    folder: &'a RunFolder,
) -> Plan<'a, DeepSignatureTask<'a>, DeepSignatureWeights> {
    Plan {
        task,
        settings: &job.train,
        batch: job.data.batch,
        slices: job.data.slices,
        job: text,
        folder,
    }
}

/// A trajectories file's segments as clips, and the model for them.
pub struct DeepSignatureTask<'a> {
    dataset: &'a Dataset,
    partition: Partition,
    graphs: Vec<Arc<Graph>>,
    model: DeepSignature,
    description: Description,
}

impl<'a> DeepSignatureTask<'a> {
    /// Divides the data and builds the model.
    ///
    /// # Errors
    /// A partition with an empty part, one class only, labels that are no numbers where numbers
    /// are to be predicted, a graph without edges, settings that make no model.
    pub fn new(job: &DeepSignatureJob, dataset: &'a Dataset, place: &Place) -> Result<Self> {
        let partition = dataset.partition(job.data.protocol, job.data.fold)?;
        for (id, segment) in dataset.segments().iter().enumerate() {
            let usable = job.model.check_frames(segment.frames as usize);
            usable.map_err(|e| Error::file(dataset.path(), format!("segment {id}: {e}")))?;
        }
        let mut description = Description {
            model: job.model.clone(),
            features: dataset.dimensions(),
            objective: objective(dataset, job.data.goal)?,
            classes: dataset.classes().to_vec(),
            scale: job.data.scale.unwrap_or_else(|| default_scale(dataset)),
            mean: 0.0,
            deviation: 1.0,
        };
        if description.objective == Objective::Regression {
            (description.mean, description.deviation) = moments(dataset, &partition.train)?;
        }
        Ok(Self {
            graphs: graphs(dataset, job.model.variant)?,
            model: description.build(job.train.seed, DType::F32, &place.device)?,
            partition,
            dataset,
            description,
        })
    }

    fn ids(&self, part: Part) -> &[u32] {
        match part {
            Part::Train => &self.partition.train,
            Part::Validation => &self.partition.validation,
            Part::Test => &self.partition.test,
        }
    }

    fn target(&self, id: u32) -> Result<f64> {
        match self.description.objective {
            Objective::Regression => {
                let value = self.dataset.value_of(id)?;
                Ok((value - self.description.mean) / self.description.deviation)
            }
            _ => self.dataset.class_of(id).map(f64::from),
        }
    }

    fn clips(&self, ids: &[u32]) -> Result<Vec<Clip>> {
        let device = self.model.parameters().device();
        let clip = |&id: &u32| {
            let target = self.target(id)?;
            let clip = clip(self.dataset, &self.graphs, &self.description, id, target)?;
            clip.to_device(device)
        };
        ids.iter().map(clip).collect()
    }

    /// Scores on the test segments. Collective.
    fn test(&self, world: &World) -> Result<Scores> {
        let ids = &self.partition.test;
        let own = slice_range(ids.len(), world.rank(), world.size());
        let width = self.description.objective.outputs();
        let predicted = || -> Result<Vec<f64>> {
            let mut out = Vec::with_capacity(own.len() * width);
            for id in &ids[own.clone()] {
                pulse::tick();
                let outputs = self.model.forward(&self.clips(&[*id])?)?;
                out.extend(self.model.predict(&outputs.logits)?.concat());
            }
            Ok(out)
        };
        let own = world.agree(predicted())?;
        let all = world.all_gather(&own).concat();
        let targets: Result<Vec<f64>> = ids.iter().map(|&id| self.target(id)).collect();
        let scores = targets.map(|targets| {
            let rows: Vec<&[f64]> = all.chunks_exact(width).collect();
            Scores::new(&self.description, &targets, &rows)
        });
        world.agree(scores)
    }
}

fn objective(dataset: &Dataset, goal: Goal) -> Result<Objective> {
    match (goal, dataset.classes().len()) {
        (Goal::Value, _) => Ok(Objective::Regression),
        (Goal::Class, 2) => Ok(Objective::Binary),
        (Goal::Class, n @ 3..) => Ok(Objective::Classes(n)),
        (Goal::Class, 1) => Err(Error::file(
            dataset.path(),
            format!(
                "all trajectories are of class {}; there is nothing to tell apart",
                dataset.classes()[0]
            ),
        )),
        (Goal::Class, _) => Err(Error::file(
            dataset.path(),
            "its trajectories have no labels; prepare it from a manifest with a label column",
        )),
    }
}

/// Nanometres for coordinates; anything else as it is.
fn default_scale(dataset: &Dataset) -> f64 {
    match dataset.unit() {
        "angstrom" => 0.1,
        _ => 1.0,
    }
}

/// Mean and standard deviation of the labels of training segments.
fn moments(dataset: &Dataset, ids: &[u32]) -> Result<(f64, f64)> {
    let values: Vec<f64> = ids
        .iter()
        .map(|&id| dataset.value_of(id))
        .collect::<Result<_>>()?;
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    match variance > 0.0 {
        true => Ok((mean, variance.sqrt())),
        false => Err(Error::file(
            dataset.path(),
            format!("all training trajectories are labelled {mean}; there is nothing to predict"),
        )),
    }
}

impl Task for DeepSignatureTask<'_> {
    type Model = DeepSignature;

    fn model(&self) -> &DeepSignature {
        &self.model
    }

    fn samples(&self, part: Part) -> u64 {
        self.ids(part).len() as u64
    }

    fn batch(&self, part: Part, samples: &[u64]) -> Result<<DeepSignature as Model>::Batch> {
        let all = self.ids(part);
        let ids: Vec<u32> = samples.iter().map(|&s| all[s as usize]).collect();
        self.clips(&ids)
    }

    fn sample_name(&self, part: Part, sample: u64) -> String {
        let id = self.ids(part)[sample as usize];
        format!("{}, segment {id}", self.dataset.trajectory_of(id).name)
    }

    fn fingerprint(&self) -> String {
        self.dataset.fingerprint()
    }

    fn description(&self) -> Result<String> {
        self.description.to_toml()
    }
}
