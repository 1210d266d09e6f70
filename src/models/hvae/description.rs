//! What stands between the atoms of a neighborhood and its latent, beside the parameters.

use super::{Hvae, HvaeConfig};
use crate::Result;
use crate::data::neighborhoods::Neighborhood;
use crate::data::structure::ReadOptions;
use crate::models::Describes;
use crate::ops::zernike::Settings;
use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};

/// How to build a model and its input. A checkpoint carries it as TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Zernikegrams are divided by this before they enter the model.
    pub norm_factor: f64,
    /// Neighborhoods keep the atoms of the central residue other than its CA.
    pub central_residue: bool,
    /// Neighborhoods keep the atoms of other residues.
    #[serde(default = "yes")]
    pub surroundings: bool,
    pub model: HvaeConfig,
    pub zernike: Settings,
    /// How the structures were read.
    #[serde(default)]
    pub read: ReadOptions,
}

fn yes() -> bool {
    true
}

impl Describes for Description {
    type Model = Hvae;

    fn build(&self, seed: u64, dtype: DType, device: &Device) -> Result<Hvae> {
        self.zernike.validate()?;
        Hvae::new(&self.model, &self.zernike.irreps(), seed, dtype, device)
    }
}

impl Description {
    /// Which atoms the model sees around a residue.
    pub fn neighborhood(&self) -> Neighborhood {
        Neighborhood {
            radius: self.zernike.cutoff,
            central_residue: self.central_residue,
            surroundings: self.surroundings,
            features: self.zernike.features().next().is_some(),
        }
    }
}
