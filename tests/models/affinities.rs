//! Networks of affinities on pockets of random zernikegrams.

use crate::case::{Case, Change, section};
use crate::irreps::rotate_published;
use crate::numbers::numbers;
use candle_core::{DType, Device, Tensor};
use holosig::data::complexes::{Centres, Packing};
use holosig::models::affinity::{AffinityModel, Batch, Description, HeadConfig, Scale};
use holosig::models::{Describes, Model, Weights, hvae};
use holosig::ops::zernike::Settings;
use holosig::so3::rotation;

/// Settings of the head.
pub struct Affinities(pub &'static str);

impl Affinities {
    fn head(&self) -> HeadConfig {
        section(&self.job(), "model")
    }
}

/// Number of a sample's centres.
fn centres(id: u64) -> u64 {
    2 + id % 3
}

impl Case for Affinities {
    type Model = AffinityModel;

    const TASK: &'static str = "affinity";

    fn job(&self) -> String {
        let Self(settings) = self;
        format!(
            "task = 'affinity'\n[data]\ndataset = 'complexes.h5'\n[zernike]\nlmax = 2\nnmax = 4\n\
             [encoder]\nlatent_dim = 4\nchannels = [5, 5]\nprojection = 5\n[model]\n{settings}\n\
             [train]\nsteps = 2\n"
        )
    }

    fn description(&self) -> String {
        let head = self.head();
        let scale = |i: usize| Scale {
            mean: 0.1 * i as f64,
            deviation: 0.5 + 0.1 * i as f64,
        };
        let features = (0..head.views.len() * 4).map(scale).collect();
        let description = Description {
            encoder: hvae::Description {
                norm_factor: 1.0,
                central_residue: true,
                surroundings: true,
                model: section(&self.job(), "encoder"),
                zernike: section(&self.job(), "zernike"),
                read: Default::default(),
            },
            head,
            label: Scale {
                mean: 0.0,
                deviation: 2.0,
            },
            features,
            complexes: Packing {
                centres: Centres::Ligand,
                cutoff: 10.0,
                reach: 22.0,
            },
        };
        description.to_toml().unwrap()
    }

    /// The map to the affinity starts at zero, which says the same of all pockets: numbers take its
    /// place.
    fn build(&self, description: &str, seed: u64, dtype: DType) -> holosig::Result<AffinityModel> {
        let model = Description::from_toml(description)?.build(seed, dtype, &Device::Cpu)?;
        let parameters = model.parameters();
        let named = |e: &&holosig::models::Entry| e.name == "head.affinity.weight";
        let last = parameters.entries().iter().find(named).unwrap();
        let values = numbers(99, last.len());
        let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
        parameters.set_range(last.offset, &values)?;
        Ok(model)
    }

    fn batch(&self, ids: &[u64], change: Change, dtype: DType) -> Batch {
        let settings: Settings = section(&self.job(), "zernike");
        let irreps = settings.irreps();
        // Zernikegrams with the ligand, or without.
        let input = |stream: u64| {
            let of = |&id: &u64| {
                let mut order: Vec<u64> = (0..centres(id)).collect();
                if change == Change::Permuted {
                    order.reverse();
                }
                order.into_iter().map(move |k| 1000 * stream + 10 * id + k)
            };
            let keys: Vec<u64> = ids.iter().flat_map(of).collect();
            let x = keys.iter().flat_map(|&key| numbers(key, irreps.dim()));
            let x = Tensor::from_iter(x, &Device::Cpu).unwrap();
            let x = x.reshape((keys.len(), irreps.dim())).unwrap();
            let x = match change {
                Change::Rotated(seed) => rotate_published(&x, &irreps, &rotation::random(seed)),
                _ => x,
            };
            x.to_dtype(dtype).unwrap()
        };
        let column = |of: fn(u64) -> f64| {
            let values = ids.iter().map(|&id| of(id));
            let values = Tensor::from_iter(values, &Device::Cpu).unwrap();
            values.to_dtype(dtype).unwrap()
        };
        let counts: Vec<usize> = ids.iter().map(|&id| centres(id) as usize).collect();
        Batch {
            x: input(0),
            bare: self.head().bare().then(|| input(1)),
            pockets: Batch::incidence(&counts).unwrap(),
            labels: column(|id| (0.7 * id as f64).sin()),
            groups: column(|id| (id % 2) as f64),
        }
    }

    fn predict(&self, model: &AffinityModel, batch: &Batch) -> Vec<Vec<f64>> {
        let predicted = model.predict(batch).unwrap();
        predicted.into_iter().map(|p| vec![p]).collect()
    }

    fn symmetries(&self) -> Vec<(Change, f64, f64)> {
        let rotated = [1, 2, 3].map(|seed| (Change::Rotated(seed), 1e-10, 2e-3));
        let mut all = rotated.to_vec();
        all.push((Change::Permuted, 1e-12, 1e-4));
        all
    }

    fn weights(&self) -> Weights<'static> {
        Weights::from([("squared", 1.0), ("ranking", 0.5)])
    }
}
