//! H-AE and H-VAE on random zernikegrams.

use crate::case::{Case, Change, section};
use crate::irreps::rotate_published;
use crate::numbers::{numbers, values};
use candle_core::{DType, Device, Tensor};
use holosig::models::hvae::{Description, Hvae, HvaeBatch};
use holosig::models::{Describes, Weights};
use holosig::ops::zernike::Settings;
use holosig::so3::rotation;

/// Settings of the model beside the small sizes.
pub struct Autoencoder(pub &'static str);

impl Case for Autoencoder {
    type Model = Hvae;

    const TASK: &'static str = "hvae";

    fn job(&self) -> String {
        let Self(settings) = self;
        format!(
            "task = 'hvae'\n[data]\ndataset = 'structures.h5'\n[zernike]\nlmax = 3\nnmax = 6\n[model]\n\
             latent_dim = 6\nchannels = [6, 6, 8]\nprojection = 6\n{settings}\n[train]\nsteps = 2\n"
        )
    }

    fn description(&self) -> String {
        let description = Description {
            norm_factor: 1.0,
            central_residue: true,
            surroundings: true,
            model: section(&self.job(), "model"),
            zernike: section(&self.job(), "zernike"),
            read: Default::default(),
        };
        description.to_toml().unwrap()
    }

    fn build(&self, description: &str, seed: u64, dtype: DType) -> holosig::Result<Hvae> {
        Description::from_toml(description)?.build(seed, dtype, &Device::Cpu)
    }

    fn batch(&self, ids: &[u64], change: Change, dtype: DType) -> HvaeBatch {
        let settings: Settings = section(&self.job(), "zernike");
        let irreps = settings.irreps();
        let x = ids.iter().flat_map(|&id| numbers(id, irreps.dim()));
        let x = Tensor::from_iter(x, &Device::Cpu).unwrap();
        let x = x.reshape((ids.len(), irreps.dim())).unwrap();
        let x = match change {
            Change::Rotated(seed) => rotate_published(&x, &irreps, &rotation::random(seed)),
            _ => x,
        };
        HvaeBatch {
            x: x.to_dtype(dtype).unwrap(),
            ids: ids.to_vec(),
            labels: None,
        }
    }

    fn predict(&self, model: &Hvae, batch: &HvaeBatch) -> Vec<Vec<f64>> {
        let mean = values(&model.encode(&batch.x).unwrap().mean);
        let rows = mean.chunks(model.config().latent_dim);
        rows.map(<[f64]>::to_vec).collect()
    }

    fn symmetries(&self) -> Vec<(Change, f64, f64)> {
        [1, 2, 3]
            .map(|seed| (Change::Rotated(seed), 1e-10, 2e-3))
            .into()
    }

    fn weights(&self) -> Weights<'static> {
        Weights::from([("reconstruction", 1.0), ("kl", 0.1)])
    }
}
