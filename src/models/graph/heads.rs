//! From features of atoms to what is learned about a graph.

use super::{Batch, Features};
use crate::models::layers::{Activation, Linear, Readout};
use crate::models::{Init, Parameters, Scope};
use crate::ops::dual::Dual;
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the energy is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    /// Every atom has an energy, the readout is over these: so systems that are far apart have
    /// the sum of their energies.
    #[default]
    Atoms,
    /// The readout is over the features, and the head's layers come after it, as in the released
    /// SchNet and PaiNN.
    Graph,
    /// The network has an output of its own: one number for each atom, its energy. The readout is
    /// over these, and the head has no parameters.
    Network,
}

/// The layer before the energy, with an activation after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Hidden {
    #[default]
    None,
    /// Of half the width, as in PaiNN.
    Half,
    /// Of the full width, as in EGNN.
    Full,
}

/// How a head is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeadConfig {
    /// How the atoms' features or energies become the system's.
    pub readout: Readout,
    /// What the readout is over.
    pub of: Of,
    /// The hidden layer of the head.
    pub hidden: Hidden,
    /// What comes after the hidden layer.
    pub activation: Activation,
}

impl Default for HeadConfig {
    fn default() -> Self {
        Self {
            readout: Readout::default(),
            of: Of::default(),
            hidden: Hidden::default(),
            activation: Activation::Swish,
        }
    }
}

impl HeadConfig {
    /// Whether the head fits a network whose own head is `own`.
    ///
    /// # Errors
    /// Layers on a network that gives energies, or none on one that gives features.
    pub(super) fn check(self, own: Self) -> Result<()> {
        let wrong = |what: &str| Err(Error::input(format!("head: {what}")));
        match (self.of == Of::Network, own.of == Of::Network) {
            (false, true) => wrong("the network gives the energies of atoms: of = \"network\""),
            (true, false) => {
                wrong("the network gives features of atoms: of = \"atoms\" or \"graph\"")
            }
            (true, true) if self.hidden != Hidden::None => {
                wrong("of = \"network\" has no hidden layer: leave out hidden")
            }
            _ => Ok(()),
        }
    }
}

/// The energy of each graph, or several numbers.
pub struct EnergyHead {
    config: HeadConfig,
    layers: Vec<Linear>,
}

impl EnergyHead {
    /// A head with `outputs` channels on features of `width` channels.
    pub fn new(b: &mut Scope, config: HeadConfig, width: usize, outputs: usize) -> Self {
        let mut glorot =
            |i, from, to| Linear::new(&mut b.scope(i), from, to, Init::glorot(from, to));
        let layers = match config.hidden {
            _ if config.of == Of::Network => Vec::new(),
            Hidden::None => vec![Linear::pytorch(b, width, outputs)],
            Hidden::Half => vec![glorot(0, width, width / 2), glorot(1, width / 2, outputs)],
            Hidden::Full => vec![
                Linear::pytorch(&mut b.scope(0), width, width),
                // As in PyTorch, the activation has a number too.
                Linear::pytorch(&mut b.scope(2), width, outputs),
            ],
        };
        Self { config, layers }
    }

    /// Energies and whatever else is learned, `[graphs, outputs]`.
    ///
    /// # Errors
    /// Features of another width.
    pub fn forward(
        &self,
        features: &Features,
        batch: &Batch,
        p: &Parameters,
    ) -> candle_core::Result<Dual> {
        let readout = |x: &Dual| self.config.readout.forward(x, &batch.graphs);
        match self.config.of {
            Of::Atoms => readout(&self.layers(features.scalars.clone(), p)?),
            Of::Graph => self.layers(readout(&features.scalars)?, p),
            Of::Network => readout(&features.scalars),
        }
    }

    fn layers(&self, x: Dual, p: &Parameters) -> candle_core::Result<Dual> {
        let step = |x: Dual, (i, layer): (usize, &Linear)| match i {
            0 => layer.dual(&x, p),
            _ => layer.dual(&self.config.activation.dual(&x)?, p),
        };
        self.layers.iter().enumerate().try_fold(x, step)
    }
}
