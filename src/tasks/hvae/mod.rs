//! Training an H-(V)AE on the neighborhoods of a dataset.

mod job;

pub use job::{Data, HvaeSections, Residues};

use super::{Job, Purpose, TaskKind};
use crate::comm::{Place, World};
use crate::data::dataset::Dataset;
use crate::data::neighborhoods::{Clouds, Finder};
use crate::data::noise::Noise;
use crate::data::zernikegrams::{normalised, of_clouds};
use crate::data::{Partition, Split, balance};
use crate::models::hvae::{Description, Hvae, HvaeBatch, TERMS};
use crate::models::{Describes, Model};
use crate::ops::zernike::Transform;
use crate::so3::irreps::Irreps;
use crate::train::Task;
use crate::train::evaluate::sum_blocks;
use crate::{Error, Result};
use candle_core::DType;

/// The task `hvae`.
#[derive(Debug)]
pub struct HvaeKind;

impl TaskKind for HvaeKind {
    const MODEL: &'static str = "an H-(V)AE model";
    const BATCH: u64 = 512;
    const SLICES: usize = 1;
    type Sections = HvaeSections;
    type Input = Dataset;
    type Task<'a> = HvaeTask<'a>;

    /// A plain autoencoder has no divergence, but a schedule of its weight is also one of the
    /// learning rate.
    fn terms(_: &HvaeSections) -> Vec<(&'static str, f64)> {
        TERMS.to_vec()
    }

    fn check(sections: &HvaeSections) -> Result<()> {
        sections.check()
    }

    fn open(world: &World, job: &Job<Self>) -> Result<Dataset> {
        world.agree(Dataset::open(&job.dataset))
    }

    /// The norm factor comes from the checkpoint, or from a pass over the training samples.
    fn build<'a>(
        world: &World,
        job: &Job<Self>,
        input: &'a Dataset,
        place: &Place,
        purpose: Purpose,
    ) -> Result<HvaeTask<'a>> {
        let known = match purpose {
            Purpose::Training(Some(saved)) => {
                Self::description(saved.description()).map(|d| d.norm_factor)
            }
            // A pass over the data for the norm factor would change no cost.
            Purpose::Training(None) | Purpose::Trial => Ok(1.0),
        };
        let mut task = world.agree(known.and_then(|f| HvaeTask::new(job, input, place, f)))?;
        let seen = |sees, value| match sees {
            true => Ok(value),
            false => Err(Error::file(
                &job.dataset,
                "no training sample with an atom in any of the channels",
            )),
        };
        match purpose {
            Purpose::Training(Some(_)) => {}
            Purpose::Training(None) => {
                let factor = task.norm_factor(world)?;
                let usable = factor.is_finite() && factor > 0.0;
                task.description.norm_factor = world.agree(seen(usable, factor))?;
            }
            Purpose::Trial => {
                let sees = task.sees_atoms().and_then(|sees| seen(sees, 1.0));
                world.agree(sees)?;
            }
        }
        Ok(task)
    }
}

/// A dataset's neighborhoods as normalised zernikegrams, and the model for them.
pub struct HvaeTask<'a> {
    finder: Finder<'a>,
    centres: Partition,
    transform: Transform,
    model: Hvae,
    description: Description,
    /// Seed of the pieces that play ligands, if any do.
    played_ligands: Option<u64>,
}

impl<'a> HvaeTask<'a> {
    /// Chooses the samples and builds the model.
    fn new(
        job: &Job<HvaeKind>,
        dataset: &'a Dataset,
        place: &Place,
        norm_factor: f64,
    ) -> Result<Self> {
        let sections = &job.sections;
        let description = Description {
            norm_factor,
            central_residue: sections.data.central_residue,
            surroundings: sections.data.surroundings,
            model: sections.model.clone(),
            zernike: sections.zernike.clone(),
            read: dataset.read_options()?.unwrap_or_default(),
        };
        let model = description.build(job.train.seed, DType::F32, &place.device)?;
        Ok(Self {
            finder: Finder::new(dataset, description.neighborhood()),
            centres: Partition::new(|split| centres(job, dataset, split))?,
            transform: Transform::new(&sections.zernike)?,
            model: match sections.mask() {
                Some(mask) => model.masking(mask),
                None => model,
            },
            description,
            played_ligands: sections.data.played_ligands.then_some(job.train.seed),
        })
    }

    /// The neighborhoods of some samples.
    fn clouds(&self, split: Split, samples: &[u64]) -> Clouds {
        let centres = self.centres.at(split, samples);
        match self.played_ligands {
            Some(seed) => self.finder.clouds_with_played_ligands(&centres, seed),
            None => self.finder.clouds(&centres),
        }
    }

    /// The normalised zernikegrams of some samples' neighborhoods.
    fn normalised(&self, samples: &[u64], clouds: &Clouds) -> Result<HvaeBatch> {
        let factor = self.description.norm_factor as f32;
        let device = self.model.parameters().device();
        Ok(HvaeBatch {
            x: normalised(&self.transform, clouds, factor, device)?,
            ids: samples.to_vec(),
            labels: None,
        })
    }

    /// Whether the channels see anything of the training samples, if there are any; it looks no
    /// further than the first of which they do.
    fn sees_atoms(&self) -> Result<bool> {
        let samples = self.samples(Split::Train);
        for sample in 0..samples {
            let x = of_clouds(&self.transform, &self.clouds(Split::Train, &[sample]))?;
            if x.iter().any(|&v| v != 0.0) {
                return Ok(true);
            }
        }
        Ok(samples == 0)
    }

    /// Mean over the training samples of `sqrt(sum_f x_f^2 / (2 l_f + 1))`, by which the
    /// published code divides its input.
    fn norm_factor(&self, world: &World) -> Result<f64> {
        /// Samples that one thread transforms at a time.
        const BLOCK: u64 = 64;
        let samples = self.samples(Split::Train);
        let norm = Norm::new(self.transform.irreps());
        let sum = sum_blocks(world, samples, BLOCK, |range| {
            let ids: Vec<u64> = range.collect();
            let x = of_clouds(&self.transform, &self.clouds(Split::Train, &ids))?;
            Ok(vec![norm.sum(&x)])
        })?;
        Ok(sum.first().map_or(0.0, |s| s / samples as f64))
    }
}

/// The centres of a split that a job uses.
fn centres(job: &Job<HvaeKind>, dataset: &Dataset, split: Split) -> Result<Vec<u32>> {
    let all = dataset.split(split);
    let Some(residues) = &job.sections.data.residues else {
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
        .map_err(|e| Error::file(&job.dataset, format!("split {split}: {e}")))
}

/// The size of zernikegrams, `sqrt(sum_f x_f^2 / (2 l_f + 1))`.
pub struct Norm {
    /// `1 / (2l + 1)` for every coefficient.
    weights: Vec<f64>,
}

impl Norm {
    /// Of zernikegrams of these irreps.
    pub fn new(irreps: &Irreps) -> Self {
        let weights = (0..=irreps.lmax()).flat_map(|l| {
            let orders = 2 * l + 1;
            std::iter::repeat_n(1.0 / orders as f64, irreps.channels(l) * orders)
        });
        Self {
            weights: weights.collect(),
        }
    }

    /// How many zernikegrams there are in `x`, which lie one after another.
    pub fn count(&self, x: &[f32]) -> usize {
        x.len() / self.weights.len()
    }

    /// The sum of their sizes.
    pub fn sum(&self, x: &[f32]) -> f64 {
        x.chunks(self.weights.len()).map(|x| self.of(x)).sum()
    }

    fn of(&self, x: &[f32]) -> f64 {
        let squares = x
            .iter()
            .zip(&self.weights)
            .map(|(&x, w)| w * f64::from(x).powi(2));
        squares.sum::<f64>().sqrt()
    }
}

impl Task for HvaeTask<'_> {
    const NAME: &'static str = "hvae";

    type Model = Hvae;

    type Description = Description;

    fn model(&self) -> &Hvae {
        &self.model
    }

    fn samples(&self, split: Split) -> u64 {
        self.centres.split(split).len() as u64
    }

    fn batch(&self, split: Split, samples: &[u64]) -> Result<<Hvae as Model>::Batch> {
        self.normalised(samples, &self.clouds(split, samples))
    }

    fn check_noise(&self) -> Result<()> {
        Ok(())
    }

    /// The atoms about the centre move, those that were within the cutoff. One that leaves the
    /// cutoff is left out.
    fn noisy_batch(&self, samples: &[u64], noise: &Noise) -> Result<<Hvae as Model>::Batch> {
        let mut clouds = self.clouds(Split::Train, samples);
        for (&sample, atoms) in samples.iter().zip(clouds.offsets.windows(2)) {
            let atoms = &mut clouds.coordinates[atoms[0]..atoms[1]];
            noise.add(sample, atoms.as_flattened_mut());
        }
        self.normalised(samples, &clouds)
    }

    fn sample_name(&self, split: Split, sample: u64) -> String {
        let centre = self.centres.split(split)[sample as usize];
        let id = self.finder.dataset().residue(centre);
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

    fn description(&self) -> &Description {
        &self.description
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_norm_weighs_each_degree_by_its_orders() {
        // Two channels of degree 0, one of degree 1.
        let norm = Norm::new(&Irreps::new(vec![2, 1]));
        assert_eq!(norm.weights, [1.0, 1.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0]);
        let x = [1.0, -2.0, 3.0, 0.0, 3.0];
        assert!((norm.of(&x) - 11f64.sqrt()).abs() < 1e-12);
    }
}
