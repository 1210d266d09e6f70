//! What a run begins with: the encoder and its input, and how labels and features scale.

use super::pockets::{packing, partition};
use super::{AffinityKind, AffinitySections, AffinityTask, Pockets, affinity};
use crate::comm::{Place, World};
use crate::data::Partition;
use crate::data::dataset::Dataset;
use crate::models::affinity::{Description, Scale, TERMS};
use crate::models::{Describes, Model, hvae};
use crate::stats::{mean, population_deviation};
use crate::tasks::hvae::{HvaeKind, Norm};
use crate::tasks::{Job, Purpose, TaskKind};
use crate::train::checkpoint::Saved;
use crate::train::evaluate::sum_blocks;
use crate::train::groups::Patterns;
use crate::train::init;
use crate::{Error, Result};
use candle_core::DType;
use serde::Serialize;
use toml::{Table, Value};

/// Names that a network of affinities and an H-(V)AE do not share.
pub const APART: &[&str] = &[
    "decoder_*",
    "encoder_log_var.*",
    "final_*",
    "first_decoder_projection.*",
    "frame_learner.*",
    "head.*",
];

/// Builds the task. Collective.
pub fn build<'a>(
    world: &World,
    job: &Job<AffinityKind>,
    dataset: &'a Dataset,
    place: &Place,
    purpose: Purpose,
) -> Result<AffinityTask<'a>> {
    let trial = matches!(purpose, Purpose::Trial);
    // To try a job out, too, the encoder must be known.
    let own = match purpose {
        Purpose::Training(saved) => saved.cloned(),
        Purpose::Trial => init::<AffinityTask>(world, &job.train)?,
    };
    let known = Known::of(own.as_ref(), &job.sections, dataset);
    let known = world.agree(known)?;
    let prepared = prepare(job, dataset, place, &known);
    let mut task = world.agree(prepared.map_err(|e| e.in_file(&job.dataset)))?;
    if !(trial || known.whole.is_some()) {
        if own.is_none() {
            task.set_norm_factor(world, job)?;
        }
        task.scale_features(world, own.as_ref())?;
    }
    let description = &task.description;
    let built = description.build(job.train.seed, DType::F32, &place.device);
    let ranks = job.loss.last().of(TERMS[1].0)? != 0.0;
    if ranks {
        world.agree(task.check_pairs().map_err(|e| e.in_file(&job.dataset)))?;
    }
    task.model = world.agree(built)?.comparing(ranks);
    Ok(task)
}

/// What is known of the model before the data are looked at.
struct Known {
    encoder: hvae::Description,
    /// Of a checkpoint of this task with the same head and centres.
    whole: Option<Description>,
}

impl Known {
    /// Of the checkpoint that a job begins with, if it does with any; sections of the job that say
    /// the same must agree.
    fn of(saved: Option<&Saved>, sections: &AffinitySections, dataset: &Dataset) -> Result<Self> {
        let whole = match saved {
            Some(saved) if saved.task() == AffinityKind::name() => {
                Some(AffinityKind::description(saved.description())?)
            }
            _ => None,
        };
        let encoder = match (&whole, saved) {
            (Some(whole), _) => whole.encoder.clone(),
            (None, Some(saved)) => HvaeKind::description(saved.description())?,
            (None, None) => fresh(sections, dataset)?,
        };
        agree("zernike", sections.zernike.as_ref(), &encoder.zernike)?;
        agree("encoder", sections.encoder.as_ref(), &encoder.model)?;
        Ok(Self {
            encoder,
            whole: whole.filter(|d| d.head == sections.model),
        })
    }
}

/// An encoder that begins with random parameters.
fn fresh(sections: &AffinitySections, dataset: &Dataset) -> Result<hvae::Description> {
    let none = || {
        Error::input(
            "train.init: the checkpoint of an H-(V)AE is needed, or a section [encoder] for one that \
             begins with random parameters",
        )
    };
    Ok(hvae::Description {
        norm_factor: 1.0,
        central_residue: true,
        surroundings: true,
        model: sections.encoder.clone().ok_or_else(none)?,
        zernike: sections.zernike.clone().unwrap_or_default(),
        read: dataset.read_options()?.unwrap_or_default(),
    })
}

/// Refuses a section of the job that differs from the checkpoint's.
fn agree<T: Serialize + PartialEq>(section: &str, own: Option<&T>, saved: &T) -> Result<()> {
    let Some(own) = own.filter(|own| *own != saved) else {
        return Ok(());
    };
    let table = |settings: &T| Table::try_from(settings).map_err(Error::internal);
    let (own, saved) = (table(own)?, table(saved)?);
    let mut keys = own.keys().chain(saved.keys());
    let key = keys.find(|key| own.get(*key) != saved.get(*key));
    let key = key.map_or("", String::as_str);
    let words = |table: &Table| table.get(key).map_or("absent".into(), Value::to_string);
    Err(Error::input(format!(
        "{section}.{key} = {}, the checkpoint of train.init has {}: leave [{section}] out to take \
         it from there",
        words(&own),
        words(&saved)
    )))
}

/// Everything but the scales of features.
fn prepare<'a>(
    job: &Job<AffinityKind>,
    dataset: &'a Dataset,
    place: &Place,
    known: &Known,
) -> Result<AffinityTask<'a>> {
    let parts = partition(&job.sections.data, dataset)?;
    let description = match &known.whole {
        Some(whole) => whole.clone(),
        None => {
            let head = job.sections.model.clone();
            let width = head.views.len() * known.encoder.model.latent_dim;
            Description {
                encoder: known.encoder.clone(),
                head,
                label: label(dataset, &parts)?,
                features: vec![Scale::ONE; width],
                complexes: packing(dataset)?,
            }
        }
    };
    Ok(AffinityTask {
        pockets: Pockets::new(dataset, &description)?,
        parts,
        model: description.build(job.train.seed, DType::F32, &place.device)?,
        description,
    })
}

/// Mean and deviation of the training complexes' affinities.
fn label(dataset: &Dataset, parts: &Partition) -> Result<Scale> {
    let known = parts.train.iter().map(|&c| affinity(dataset, c));
    let known: Vec<f64> = known.collect();
    let deviation = population_deviation(&known);
    match deviation > 0.0 {
        true => Ok(Scale {
            mean: mean(&known),
            deviation,
        }),
        false => Err(Error::input(
            "all training complexes have the same affinity: there is nothing to learn",
        )),
    }
}

impl AffinityTask<'_> {
    /// Divides zernikegrams by their mean size over the training complexes. Collective.
    fn set_norm_factor(&mut self, world: &World, job: &Job<AffinityKind>) -> Result<()> {
        let norm = Norm::new(self.pockets.transform().irreps());
        let train = &self.parts.train;
        let sums = sum_blocks(world, train.len() as u64, 1, |range| {
            let complexes = &train[range.start as usize..range.end as usize];
            let x = complexes.iter().map(|&c| self.pockets.zernikegrams(c));
            let x = x.collect::<Result<Vec<_>>>()?.concat();
            Ok(vec![norm.sum(&x), norm.count(&x) as f64])
        })?;
        let factor = sums[0] / sums[1];
        let usable = match factor.is_finite() && factor > 0.0 {
            true => Ok(factor),
            false => Err(Error::file(
                &job.dataset,
                "no training complex with an atom in any of the channels",
            )),
        };
        let factor = world.agree(usable)?;
        self.description.encoder.norm_factor = factor;
        self.pockets.set_norm_factor(factor);
        Ok(())
    }

    /// Takes mean and deviation of each pooled feature over the training complexes, as the encoder
    /// makes them that a run begins with. Collective.
    fn scale_features(&mut self, world: &World, saved: Option<&Saved>) -> Result<()> {
        /// Complexes that one thread encodes at a time.
        const BLOCK: u64 = 4;
        /// Deviation over mean that rounding alone can make.
        const ROUNDING: f64 = 1e-5;
        if let Some(saved) = saved {
            let apart = Patterns::default().with(APART);
            saved.load_but(world, self.model.parameters(), &apart)?;
        }
        let train = &self.parts.train;
        let n = train.len() as u64;
        let sums = sum_blocks(world, n, BLOCK, |range| {
            let complexes = &train[range.start as usize..range.end as usize];
            let batch = self.pockets.batch(&self.model, complexes, |_| 0.0, None)?;
            let mut sums = vec![0.0; 2 * self.description.width()];
            for row in self.model.features(&batch)? {
                for (sums, x) in sums.chunks_exact_mut(2).zip(row) {
                    sums[0] += x;
                    sums[1] += x * x;
                }
            }
            Ok(sums)
        })?;
        let scale = |sums: &[f64]| {
            let mean = sums[0] / n as f64;
            let deviation = (sums[1] / n as f64 - mean * mean).max(0.0).sqrt();
            let varies = deviation > ROUNDING * mean.abs();
            Scale {
                mean,
                deviation: if varies { deviation } else { 1.0 },
            }
        };
        self.description.features = sums.chunks_exact(2).map(scale).collect();
        let finite = |s: &Scale| s.mean.is_finite() && s.deviation.is_finite();
        match self.description.features.iter().all(finite) {
            true => Ok(()),
            false => Err(Error::input(
                "features of training complexes are not finite",
            )),
        }
    }

    /// Refuses ranks where no two training complexes of a group differ in affinity.
    fn check_pairs(&self) -> Result<()> {
        let dataset = self.pockets.dataset();
        let train = &self.parts.train;
        let groups = dataset.groups(train);
        // Complexes of a group are next to each other.
        let mut next = groups.windows(2).zip(train.windows(2));
        let pair = next.any(|(groups, c)| {
            groups[0] == groups[1] && affinity(dataset, c[0]) != affinity(dataset, c[1])
        });
        match pair {
            true => Ok(()),
            false => Err(Error::input(
                "loss.ranking: no two training complexes of one group differ in affinity",
            )),
        }
    }
}
