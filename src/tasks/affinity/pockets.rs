//! Complexes of a dataset as pockets, and their parts.

use super::Data;
use crate::comm::World;
use crate::data::complexes::Packing;
use crate::data::dataset::{Bound, Dataset};
use crate::data::neighborhoods::Finder;
use crate::data::noise::Noise;
use crate::data::zernikegrams::{normalised, of_clouds};
use crate::data::{Partition, Split, folds};
use crate::models::Model;
use crate::models::affinity::{AffinityModel, Batch, Description};
use crate::ops::in_pool;
use crate::ops::zernike::Transform;
use crate::print::count;
use crate::{Error, Result};
use candle_core::Tensor;
use std::collections::{BTreeSet, HashMap};

/// The complexes of a dataset and what a model sees of them. A complex is named by the number of its
/// structure.
pub struct Pockets<'a> {
    finder: Finder<'a>,
    transform: Transform,
    norm_factor: f32,
    /// Whether neighborhoods without the ligand are needed.
    bare: bool,
    /// Centres of each structure; none of one that is no complex.
    centres: Vec<Vec<u32>>,
    /// Number of each structure's group.
    groups: Vec<u32>,
}

impl<'a> Pockets<'a> {
    /// # Errors
    /// A dataset without complexes; one whose complexes were prepared otherwise than the model's.
    pub fn new(dataset: &'a Dataset, description: &Description) -> Result<Self> {
        description.check_packing(&packing(dataset)?)?;
        let read = dataset.read_options()?.unwrap_or_default();
        if read != description.encoder.read {
            return Err(Error::input(
                "its structures were read with other options (hydrogens, hetero atoms, elements) \
                 than those of the encoder",
            ));
        }
        let all: Vec<u32> = (0..dataset.structures().len() as u32).collect();
        Ok(Self {
            finder: Finder::new(dataset, description.encoder.neighborhood()),
            transform: Transform::new(&description.encoder.zernike)?,
            norm_factor: description.encoder.norm_factor as f32,
            bare: description.head.bare(),
            centres: centres(dataset),
            groups: numbered(&dataset.groups(&all)),
        })
    }

    pub fn dataset(&self) -> &'a Dataset {
        self.finder.dataset()
    }

    /// Zernikegrams are divided by this from now on.
    pub(super) fn set_norm_factor(&mut self, factor: f64) {
        self.norm_factor = factor as f32;
    }

    /// Zernikegrams of the neighborhoods of a complex, not normalised.
    pub(super) fn zernikegrams(&self, complex: u32) -> Result<Vec<f32>> {
        let clouds = self.finder.clouds(&self.centres[complex as usize]);
        of_clouds(&self.transform, &clouds)
    }

    /// The transform that makes zernikegrams.
    pub(super) fn transform(&self) -> &Transform {
        &self.transform
    }

    /// The batch of some complexes as `model` takes it; `label` says what is known of each, `noise`
    /// is added to the atoms about the centres, drawn for the sample that each complex is.
    pub fn batch(
        &self,
        model: &AffinityModel,
        complexes: &[u32],
        label: impl Fn(u32) -> f64,
        noise: Option<(&Noise, &[u64])>,
    ) -> Result<Batch> {
        let of = |&c: &u32| &self.centres[c as usize];
        let counts: Vec<usize> = complexes.iter().map(|c| of(c).len()).collect();
        let centres: Vec<u32> = complexes.iter().flat_map(of).copied().collect();
        let mut clouds = self.finder.clouds(&centres);
        if let Some((noise, samples)) = noise {
            let mut first = 0;
            for (&sample, &count) in samples.iter().zip(&counts) {
                let atoms = clouds.offsets[first]..clouds.offsets[first + count];
                noise.add(sample, clouds.coordinates[atoms].as_flattened_mut());
                first += count;
            }
        }
        let parameters = model.parameters();
        let (dtype, device) = (parameters.dtype(), parameters.device());
        let input = |clouds: &_| -> Result<Tensor> {
            let x = normalised(&self.transform, clouds, self.norm_factor, device)?;
            Ok(x.to_dtype(dtype)?)
        };
        let column = |values: Vec<f64>| -> Result<Tensor> {
            Ok(Tensor::from_vec(values, complexes.len(), device)?.to_dtype(dtype)?)
        };
        let group = |&c: &u32| f64::from(self.groups[c as usize]);
        let bare = self.bare.then(|| input(&clouds.without_ligand()));
        Ok(Batch {
            x: input(&clouds)?,
            bare: bare.transpose()?,
            pockets: Batch::incidence(&counts)?,
            labels: column(complexes.iter().map(|&c| label(c)).collect())?,
            groups: column(complexes.iter().map(group).collect())?,
        })
    }

    /// What `model` says of complexes, pK. Collective; the result is on rank 0.
    ///
    /// # Errors
    /// A coordinate that is not finite; a failure of the numerical backend.
    pub fn predict(
        &self,
        world: &World,
        model: &AffinityModel,
        complexes: &[u32],
    ) -> Result<Vec<f64>> {
        /// Complexes of one forward pass.
        const BLOCK: usize = 8;
        let mut all = Vec::with_capacity(complexes.len());
        world.ordered(
            complexes.len(),
            BLOCK,
            |range| {
                let predict =
                    || model.predict(&self.batch(model, &complexes[range], |_| 0.0, None)?);
                in_pool(predict)
            },
            |_, part: Vec<f64>| {
                all.extend(part);
                Ok(())
            },
        )?;
        Ok(all)
    }
}

/// How the complexes of a dataset were prepared.
///
/// # Errors
/// A dataset without complexes.
pub fn packing(dataset: &Dataset) -> Result<Packing> {
    let none = || Error::input("no complexes in it: holosig prepare complexes makes such a file");
    dataset.packing()?.ok_or_else(none)
}

/// Centres of each structure, if it is a complex.
fn centres(dataset: &Dataset) -> Vec<Vec<u32>> {
    let mut all = vec![Vec::new(); dataset.structures().len()];
    for centre in 0..dataset.len() as u32 {
        let (structure, _) = dataset.centre(centre);
        if dataset.complex(structure).is_some() {
            all[structure].push(centre);
        }
    }
    all
}

/// Numbers of groups in the order in which they first occur.
fn numbered(groups: &[String]) -> Vec<u32> {
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    let number = |group| {
        let next = numbers.len() as u32;
        *numbers.entry(group).or_insert(next)
    };
    groups.iter().map(String::as_str).map(number).collect()
}

/// The complexes of a dataset that have centres, by the number of their structure.
pub fn complexes(dataset: &Dataset) -> impl Iterator<Item = (u32, &Bound)> {
    let centres = (0..dataset.len() as u32).map(|c| dataset.centre(c).0);
    let structures: BTreeSet<usize> = centres.collect();
    let complex = |s| Some((s as u32, dataset.complex(s)?));
    structures.into_iter().filter_map(complex)
}

/// The complexes with an affinity that train, validate and test, each part ordered by group, so that
/// pairs of a group are validated together.
///
/// # Errors
/// No affinities; a fold without complexes.
pub(super) fn partition(data: &Data, dataset: &Dataset) -> Result<Partition> {
    let labelled = complexes(dataset).filter(|(_, c)| c.affinity.is_some());
    let labelled: Vec<u32> = labelled.map(|(s, _)| s).collect();
    if labelled.is_empty() {
        return Err(Error::input(
            "no affinities in it: prepare it again, from a list of complexes with affinities \
             (column pK)",
        ));
    }
    let names = dataset.groups(&labelled);
    let by_split = |split| {
        let own = labelled.iter().copied();
        let of = |&s: &u32| dataset.structures()[s as usize].split == split;
        Ok(own.filter(of).collect())
    };
    let mut parts = match data.folds {
        None => Partition::new(by_split)?,
        Some(folds) => in_folds(data, folds, &labelled, &names)?,
    };
    let group: HashMap<u32, &String> = labelled.iter().copied().zip(&names).collect();
    for split in Split::ALL {
        parts.split_mut(split).sort_by_key(|s| (group[s], *s));
    }
    if parts.train.is_empty() {
        return Err(Error::input("no complex with an affinity is for training"));
    }
    Ok(parts)
}

fn in_folds(data: &Data, folds: usize, labelled: &[u32], names: &[String]) -> Result<Partition> {
    let rows: Vec<usize> = (0..labelled.len()).collect();
    let dealt = folds::deal(&rows, names, folds, data.fold_seed);
    if dealt.iter().any(Vec::is_empty) {
        let groups = numbered(names).into_iter().max().map_or(0, |last| last + 1);
        return Err(Error::input(format!(
            "data.folds = {folds}: the complexes with an affinity are of {} of like proteins, and \
             every fold needs one",
            count(groups, "group")
        )));
    }
    let validated = (data.fold + 1) % folds;
    let of = |rows: &[usize]| rows.iter().map(|&row| labelled[row]).collect::<Vec<u32>>();
    let mut parts = Partition {
        validation: of(&dealt[validated]),
        test: of(&dealt[data.fold]),
        ..Partition::default()
    };
    for (fold, rows) in dealt.iter().enumerate() {
        if fold != data.fold && fold != validated {
            parts.train.extend(of(rows));
        }
    }
    Ok(parts)
}
