//! Fine-tuning of an H-(V)AE's encoder on the affinities of complexes, end to end.
//!
//! A sample is a complex; its centres are those of the dataset. Begun with `train.init` from an
//! H-(V)AE, a job takes the encoder's parameters, running statistics and input from there, and draws
//! the head anew. How features scale is read off the training complexes before the first step.

mod job;
mod pockets;
mod scores;
mod start;

pub use job::{AffinitySections, Data};
pub use pockets::{Pockets, complexes};
pub use scores::{HEADER, Row, Scores, Tested, csv};

use super::{Job, Purpose, TaskKind};
use crate::comm::{Place, World};
use crate::data::dataset::Dataset;
use crate::data::noise::Noise;
use crate::data::{Partition, Split};
use crate::models::affinity::{AffinityModel, Batch, Description, TERMS};
use crate::train::{Origin, RunFolder, Task};
use crate::{Error, Result, store};
use serde_json::Value;

/// The task `affinity`.
#[derive(Debug)]
pub struct AffinityKind;

impl TaskKind for AffinityKind {
    const MODEL: &'static str = "a network of affinities";
    const BATCH: u64 = 16;
    const SLICES: usize = 4;
    type Sections = AffinitySections;
    type Input = Dataset;
    type Task<'a> = AffinityTask<'a>;

    fn terms(_: &AffinitySections) -> Vec<(&'static str, f64)> {
        TERMS.to_vec()
    }

    fn check(sections: &AffinitySections) -> Result<()> {
        sections.check()
    }

    fn open(world: &World, job: &Job<Self>) -> Result<Dataset> {
        world.agree(Dataset::open(&job.dataset))
    }

    fn build<'a>(
        world: &World,
        job: &Job<Self>,
        input: &'a Dataset,
        place: &Place,
        purpose: Purpose,
    ) -> Result<AffinityTask<'a>> {
        start::build(world, job, input, place, purpose)
    }

    /// Scores on the test complexes beside baselines, also printed, and a table of all predictions
    /// of validation and test complexes in the run's folder.
    fn test(
        world: &World,
        _: &Job<Self>,
        task: &AffinityTask,
        folder: &RunFolder,
    ) -> Result<Option<Value>> {
        let predict = |split| {
            let complexes = task.parts.split(split);
            task.pockets.predict(world, &task.model, complexes)
        };
        let validation = predict(Split::Validation)?;
        let test = predict(Split::Test)?;
        let write = || {
            let rows = task.rows(Split::Validation, &validation);
            let rows = rows.chain(task.rows(Split::Test, &test));
            store::write_bytes(&folder.predictions(), &csv(rows)?)?;
            if test.is_empty() {
                return Ok(None);
            }
            let tested = task.tested(&test);
            if world.reports_progress() {
                crate::print::text(&tested.table());
            }
            serde_json::to_value(&tested)
                .map(Some)
                .map_err(Error::internal)
        };
        world.on_root(write).map(Option::flatten)
    }

    fn folds(job: &Job<Self>) -> Result<usize> {
        let none = || Error::input("--folds: data.folds says how many there are");
        job.sections.data.folds.ok_or_else(none)
    }
}

/// A dataset's complexes as pockets, and the model for them.
pub struct AffinityTask<'a> {
    pockets: Pockets<'a>,
    parts: Partition,
    model: AffinityModel,
    description: Description,
}

impl AffinityTask<'_> {
    /// The affinity of a complex that has one, pK.
    fn affinity(&self, complex: u32) -> f64 {
        affinity(self.pockets.dataset(), complex)
    }

    /// The batch of samples of a split.
    fn batch_of(&self, split: Split, samples: &[u64], noise: Option<&Noise>) -> Result<Batch> {
        let complexes = self.parts.at(split, samples);
        let label = |c| self.description.label.standardised(self.affinity(c));
        let noise = noise.map(|noise| (noise, samples));
        self.pockets.batch(&self.model, &complexes, label, noise)
    }

    /// Rows of a table of predictions of a split.
    fn rows<'b>(&'b self, split: Split, predicted: &'b [f64]) -> impl Iterator<Item = Row<'b>> {
        let complexes = self.parts.split(split).iter().zip(predicted);
        complexes.map(move |(&complex, &predicted)| Row {
            split: split.to_string(),
            ..row(self.pockets.dataset(), complex, predicted)
        })
    }

    /// Scores of what is predicted of the test complexes.
    fn tested(&self, predicted: &[f64]) -> Tested {
        let dataset = self.pockets.dataset();
        let labels = |complexes: &[u32]| -> Vec<f64> {
            complexes.iter().map(|&c| self.affinity(c)).collect()
        };
        let sizes = |complexes: &[u32]| -> Vec<f64> {
            let size = |&c: &u32| ligand_size(dataset, c) as f64;
            complexes.iter().map(size).collect()
        };
        let Partition { train, test, .. } = &self.parts;
        let measured = labels(test);
        let mean = crate::stats::mean(&labels(train));
        let (intercept, slope) = scores::line(&sizes(train), &labels(train));
        let by_size = sizes(test).into_iter().map(|n| intercept + slope * n);
        Tested {
            model: Scores::of(predicted, &measured),
            mean_predictor: Scores::of(&vec![mean; test.len()], &measured),
            ligand_size: Scores::of(&by_size.collect::<Vec<_>>(), &measured),
        }
    }
}

/// The affinity of a complex that has one, pK.
fn affinity(dataset: &Dataset, complex: u32) -> f64 {
    let bound = dataset.complex(complex as usize);
    bound.and_then(|c| c.affinity).unwrap_or(f64::NAN)
}

/// Number of a ligand's heavy atoms.
fn ligand_size(dataset: &Dataset, complex: u32) -> usize {
    let atoms = dataset.atoms(complex as usize);
    let own = atoms
        .residue_of
        .iter()
        .filter(|r| Some(**r) == atoms.ligand);
    own.count()
}

/// What is predicted of a complex, as a row of a table.
pub fn row(dataset: &Dataset, complex: u32, predicted: f64) -> Row<'_> {
    let structure = &dataset.structures()[complex as usize];
    let bound = structure.complex.as_ref();
    Row {
        id: &structure.id,
        group: bound.and_then(|c| c.group.as_deref()).unwrap_or_default(),
        split: structure.split.to_string(),
        measured: bound.and_then(|c| c.affinity),
        predicted,
    }
}

impl Task for AffinityTask<'_> {
    const NAME: &'static str = "affinity";

    const ORIGINS: &'static [Origin] = &[Origin {
        task: "hvae",
        apart: start::APART,
    }];

    type Model = AffinityModel;

    type Description = Description;

    fn model(&self) -> &AffinityModel {
        &self.model
    }

    fn samples(&self, split: Split) -> u64 {
        self.parts.split(split).len() as u64
    }

    fn batch(&self, split: Split, samples: &[u64]) -> Result<Batch> {
        self.batch_of(split, samples, None)
    }

    fn check_noise(&self) -> Result<()> {
        Ok(())
    }

    /// The atoms about each centre move, those that were within the cutoff; an atom that two centres
    /// see moves for each by itself.
    fn noisy_batch(&self, samples: &[u64], noise: &Noise) -> Result<Batch> {
        self.batch_of(Split::Train, samples, Some(noise))
    }

    fn sample_name(&self, split: Split, sample: u64) -> String {
        let complex = self.parts.split(split)[sample as usize];
        self.pockets.dataset().structures()[complex as usize]
            .id
            .clone()
    }

    fn fingerprint(&self) -> String {
        self.pockets.dataset().fingerprint().to_string()
    }

    fn description(&self) -> &Description {
        &self.description
    }
}
