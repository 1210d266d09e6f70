//! From features of atoms to what is learned about a graph.

use super::{Batch, Features};
use crate::models::layers::{Linear, Readout};
use crate::models::{Init, Parameters, Scope};
use crate::ops::dual::Dual;
use crate::ops::pointwise::Silu;
use candle_core::Result;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What the energy is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    /// Every atom has an energy, the readout is over these: so systems that are far apart have
    /// the sum of their energies.
    #[default]
    Atoms,
    /// The readout is over the features, and the head's layers come after it, as in the released
    /// SchNet and PaiNN.
    Graph,
}

/// How a head is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeadConfig {
    pub readout: Readout,
    pub of: Of,
    /// A hidden layer of half the width before the energy.
    pub hidden: bool,
}

/// The energy of each graph.
pub struct EnergyHead {
    config: HeadConfig,
    layers: Vec<Linear>,
    silu: Arc<Silu>,
}

impl EnergyHead {
    /// A head on features of `width` channels.
    pub fn new(b: &mut Scope, config: HeadConfig, width: usize) -> Self {
        let layers = match config.hidden {
            false => vec![Linear::pytorch(b, width, 1)],
            true => {
                let sizes = [width, width / 2, 1];
                let layer = |i| {
                    let init = Init::glorot(sizes[i], sizes[i + 1]);
                    Linear::new(&mut b.scope(i), sizes[i], sizes[i + 1], init)
                };
                [0, 1].map(layer).into()
            }
        };
        Self {
            config,
            layers,
            silu: Arc::new(Silu),
        }
    }

    /// Energies, `[graphs]`.
    ///
    /// # Errors
    /// Features of another width.
    pub fn forward(&self, features: &Features, batch: &Batch, p: &Parameters) -> Result<Dual> {
        let readout = |x: &Dual| self.config.readout.forward(x, &batch.graphs);
        let energies = match self.config.of {
            Of::Atoms => readout(&self.layers(features.scalars.clone(), p)?)?,
            Of::Graph => self.layers(readout(&features.scalars)?, p)?,
        };
        energies.linear(|e| e.squeeze(1))
    }

    fn layers(&self, x: Dual, p: &Parameters) -> Result<Dual> {
        let step = |x: Dual, (i, layer): (usize, &Linear)| match i {
            0 => layer.dual(&x, p),
            _ => layer.dual(&x.apply(&self.silu)?, p),
        };
        self.layers.iter().enumerate().try_fold(x, step)
    }
}
