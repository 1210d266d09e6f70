//! Training Deep Signature on the segments of a trajectories file, and its test.

mod job;
mod scores;

pub use job::{Data, DeepSignatureSections, Features, Goal};
pub use scores::{ClassScores, Scores};

use super::{Job, Purpose, TaskKind};
use crate::comm::{Place, World, pulse, slice_range};
use crate::data::noise::Noise;
use crate::data::trajectory::Dataset;
use crate::data::{Partition, Split};
use crate::models::deep_signature::{
    Clip, DeepSignature, Description, Graph, Objective, TERMS, graphs, noisy_clip,
};
use crate::models::{Describes, Model};
use crate::store::Kind;
use crate::train::{RunFolder, Task};
use crate::{Error, Result, stats};
use candle_core::DType;
use serde_json::Value;
use std::sync::Arc;

/// The task `deep-signature`.
#[derive(Debug)]
pub struct DeepSignatureKind;

impl TaskKind for DeepSignatureKind {
    const MODEL: &'static str = "a Deep Signature model";
    const BATCH: u64 = 16;
    const SLICES: usize = 4;
    type Sections = DeepSignatureSections;
    type Input = Dataset;
    type Task<'a> = DeepSignatureTask<'a>;

    fn terms(_: &DeepSignatureSections) -> Vec<(&'static str, f64)> {
        TERMS.to_vec()
    }

    fn check(sections: &DeepSignatureSections) -> Result<()> {
        sections.check()
    }

    fn open(world: &World, job: &Job<Self>) -> Result<Dataset> {
        let data = &job.sections.data;
        let mut dataset = Dataset::open(world, &job.dataset)?;
        world.agree(check_features(&dataset, data.features))?;
        if data.shuffle_labels {
            dataset.shuffle_labels(job.train.seed);
        }
        Ok(dataset)
    }

    fn build<'a>(
        world: &World,
        job: &Job<Self>,
        input: &'a Dataset,
        place: &Place,
        _: Purpose,
    ) -> Result<DeepSignatureTask<'a>> {
        world.agree(DeepSignatureTask::new(job, input, place))
    }

    /// Scores of classes or numbers; also printed as a table.
    fn test(
        world: &World,
        _: &Job<Self>,
        task: &DeepSignatureTask,
        _: &RunFolder,
    ) -> Result<Option<Value>> {
        let scores = task.test(world)?;
        if world.reports_progress() {
            crate::print::text(&scores.table());
        }
        world
            .agree(serde_json::to_value(&scores).map_err(Error::internal))
            .map(Some)
    }

    fn folds(job: &Job<Self>) -> Result<usize> {
        let data = &job.sections.data;
        Dataset::open(&World::alone(), &job.dataset)?.folds(data.protocol)
    }
}

/// A trajectories file's segments as clips, and the model for them.
pub struct DeepSignatureTask<'a> {
    dataset: &'a Dataset,
    parts: Partition,
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
    fn new(job: &Job<DeepSignatureKind>, dataset: &'a Dataset, place: &Place) -> Result<Self> {
        let DeepSignatureSections { data, model } = &job.sections;
        let parts = dataset.partition(data.protocol, data.fold)?;
        for (id, segment) in dataset.segments().iter().enumerate() {
            let usable = model.check_frames(segment.frames as usize);
            usable.map_err(|e| Error::file(dataset.path(), format!("segment {id}: {e}")))?;
        }
        let mut description = Description {
            model: model.clone(),
            features: dataset.dimensions(),
            objective: objective(dataset, data.goal)?,
            classes: dataset.classes().to_vec(),
            scale: match data.scale {
                Some(scale) => scale,
                None => default_scale(dataset)?,
            },
            holographic: dataset.kind() == Kind::InvariantPaths,
            mean: 0.0,
            deviation: 1.0,
        };
        if description.objective == Objective::Regression {
            let labels = parts.train.iter().map(|&id| dataset.value_of(id));
            let labels: Vec<f64> = labels.collect::<Result<_>>()?;
            description.mean = stats::mean(&labels);
            description.deviation = stats::population_deviation(&labels);
            let vary = description.deviation > 0.0;
            if !vary {
                let what = format!(
                    "all training trajectories are labelled {}; there is nothing to predict",
                    description.mean
                );
                return Err(Error::file(dataset.path(), what));
            }
        }
        Ok(Self {
            graphs: graphs(dataset, model)?,
            model: description.build(job.train.seed, DType::F32, &place.device)?,
            parts,
            dataset,
            description,
        })
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

    fn clips(&self, ids: &[u32], noise: Option<&Noise>) -> Result<Vec<Clip>> {
        let device = self.model.parameters().device();
        let (dataset, graphs, description) = (self.dataset, &self.graphs, &self.description);
        let clip = |&id: &u32| {
            let target = self.target(id)?;
            noisy_clip(dataset, graphs, description, id, target, noise)?.to_device(device)
        };
        ids.iter().map(clip).collect()
    }

    /// Scores on the test segments. Collective.
    fn test(&self, world: &World) -> Result<Scores> {
        let ids = &self.parts.test;
        let own = slice_range(ids.len(), world.rank(), world.size());
        let width = self.description.objective.outputs();
        let predicted = || -> Result<Vec<f64>> {
            let mut out = Vec::with_capacity(own.len() * width);
            for id in &ids[own.clone()] {
                pulse::tick();
                let outputs = self.model.forward(&self.clips(&[*id], None)?)?;
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

/// Refuses data of another kind than the job says.
fn check_features(dataset: &Dataset, features: Option<Features>) -> Result<()> {
    let (wanted, remedy) = match features {
        None => return Ok(()),
        Some(Features::Coordinates) => (Kind::Trajectories, "holosig prepare"),
        Some(Features::Holographic) => (Kind::InvariantPaths, "holosig embed --holographic"),
    };
    match dataset.kind() == wanted {
        true => Ok(()),
        false => Err(Error::file(
            dataset.path(),
            format!(
                "a file of {}, where data.features needs one of {wanted}, as `{remedy}` writes it",
                dataset.kind()
            ),
        )),
    }
}

/// Nanometres for coordinates, a mean deviation of one for invariants; anything else as it is.
fn default_scale(dataset: &Dataset) -> Result<f64> {
    if dataset.kind() != Kind::InvariantPaths {
        return Ok(match dataset.unit() {
            "angstrom" => 0.1,
            _ => 1.0,
        });
    }
    let deviations: Vec<f64> = dataset.root().read("deviation")?;
    let squares = deviations.iter().map(|d| d * d).sum::<f64>();
    let deviation = (squares / deviations.len().max(1) as f64).sqrt();
    match deviation > 0.0 && deviation.is_finite() {
        true => Ok(1.0 / deviation),
        false => Err(Error::file(
            dataset.path(),
            "its invariants do not vary; there is nothing to learn from them",
        )),
    }
}

impl Task for DeepSignatureTask<'_> {
    const NAME: &'static str = "deep-signature";

    type Model = DeepSignature;

    type Description = Description;

    fn model(&self) -> &DeepSignature {
        &self.model
    }

    fn samples(&self, split: Split) -> u64 {
        self.parts.split(split).len() as u64
    }

    fn batch(&self, split: Split, samples: &[u64]) -> Result<<DeepSignature as Model>::Batch> {
        self.clips(&self.parts.at(split, samples), None)
    }

    fn check_noise(&self) -> Result<()> {
        match self.dataset.unit() {
            "angstrom" => Ok(()),
            unit => Err(Error::file(
                self.dataset.path(),
                format!(
                    "train.coordinate_noise: its values are no coordinates in Å (their unit is \
                     {unit:?})"
                ),
            )),
        }
    }

    fn noisy_batch(
        &self,
        samples: &[u64],
        noise: &Noise,
    ) -> Result<<DeepSignature as Model>::Batch> {
        self.clips(&self.parts.at(Split::Train, samples), Some(noise))
    }

    fn sample_name(&self, split: Split, sample: u64) -> String {
        let id = self.parts.split(split)[sample as usize];
        format!("{}, segment {id}", self.dataset.trajectory_of(id).name)
    }

    fn fingerprint(&self) -> String {
        self.dataset.fingerprint()
    }

    fn description(&self) -> &Description {
        &self.description
    }
}
