//! Networks on the graph of bonds: one line for each.

use super::gin::Gin;
use super::pna::Pna;
use super::{Draws, Pass};
use crate::Result;
use crate::models::Scope;
use crate::models::sizes::check_width;
use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BondNetwork {
    #[default]
    Gin,
    Pna,
}

/// A network on bonds. Its features are as wide as those of the network on positions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BondNetConfig {
    /// Which network.
    pub network: BondNetwork,
    /// How many layers.
    pub layers: usize,
}

impl Default for BondNetConfig {
    fn default() -> Self {
        Self {
            network: BondNetwork::Gin,
            layers: 5,
        }
    }
}

impl BondNetConfig {
    /// # Errors
    /// A network without layers.
    pub fn check(&self) -> Result<()> {
        check_width("objective.bonds.layers", self.layers)
    }
}

/// A network on bonds.
pub enum BondNet {
    Gin(Gin),
    Pna(Pna),
}

impl BondNet {
    pub fn new(b: &mut Scope, config: BondNetConfig, width: usize) -> Self {
        let mut at = b.scope("bonds");
        match config.network {
            BondNetwork::Gin => BondNet::Gin(Gin::new(&mut at, width, config.layers)),
            BondNetwork::Pna => BondNet::Pna(Pna::new(&mut at, width, config.layers)),
        }
    }

    /// Features of the atoms, `[N, F]`.
    ///
    /// # Errors
    /// Molecules whose bonds were not put ([`super::bonds::put_bonds`]).
    pub fn atoms(&self, draws: &Draws, pass: &Pass) -> Result<Tensor> {
        let atoms = match self {
            BondNet::Gin(net) => net.forward(draws, pass)?,
            BondNet::Pna(net) => net.forward(draws, pass)?,
        };
        match draws.get("bond_ends")?.elem_count() {
            // Layers on bonds have the gradient zero, and not none.
            0 => Ok(atoms.broadcast_add(&pass.nothing()?)?),
            _ => Ok(atoms),
        }
    }
}
