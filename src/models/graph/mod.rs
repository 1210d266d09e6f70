//! Networks of atoms and the edges between them: energies, and forces as their gradients.
//!
//! A network is an [`Encoder`], one file: from a [`Batch`] and the [`Geometry`] of its edges to
//! features of the atoms. A head makes energies of them ([`heads`]), and [`GraphModel`] is the one
//! adapter to the trainer for all networks. A new network is a file and two lines in [`Network`].
//!
//! # Forces and stresses, and losses of them
//! The energy depends on positions through the vectors `r` of the edges alone, so it does not
//! change when everything is moved, and one gradient `G = dE/dr` gives forces and virial, and with
//! the volume `V` of a cell the stress `s`. A loss of these is differentiated by a dual pass
//! ([`crate::ops::dual`]):
//!
//! 1. energies with constant weights, one backward pass to `r`: forces `F`, stresses `s`;
//! 2. `v = dL/dF` and `T = dL/ds`; `-v` along the edges, and `r T / V`, are the tangent of `r`;
//! 3. the network on values and tangents: the tangent of the energy is `-v . dE/dx = v . F`, and
//!    `T : s`, up to the constants `v` and `T`;
//! 4. one ordinary backward pass of `L_E + ` that tangent, by the trainer.

pub mod allegro;
pub mod batch;
pub mod dimenetpp;
mod directional;
pub mod egnn;
pub mod equiformer;
mod fiber_network;
mod fibers;
pub mod gemnet;
pub mod heads;
mod model;
pub mod nequip;
mod outputs;
pub mod painn;
pub mod schnet;
pub mod se3_transformer;
pub mod segnn;
mod slopes;
pub mod spherenet;
pub mod tfn;
pub mod triplets;

pub use crate::models::layers::Geometry;
pub use batch::{Batch, Parts, Targets};
pub use model::{GraphConfig, GraphModel, Penalties, Penalty, Prediction};
pub use outputs::{FORCES, Output, Outputs, STRESS, keep};
pub use slopes::{KnownStress, Stresses};

use crate::models::sizes::check_width;
use crate::models::{Parameters, Scope};
use crate::ops::dual::Dual;
use crate::{Error, Result};
use heads::HeadConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the names of a network's parameters begin with in a model; without it they are the released
/// ones.
pub const NETWORK: &str = "model.";

/// A network from a batch's geometry to features of its atoms.
pub trait Encoder: Send + Sync {
    /// Å: how far apart two atoms are at most that an edge joins.
    fn cutoff(&self) -> f64;

    /// The network knows atomic numbers up to this one.
    fn elements(&self) -> usize;

    /// Scalars of an atom, `F`; one, the atom's energy, if the network's own head is of
    /// [`heads::Of::Network`].
    fn width(&self) -> usize;

    /// Makes what the network needs of a batch besides its edges, so that the thread that makes
    /// batches does it and not the one that computes.
    ///
    /// # Errors
    /// Edges that the network cannot do with.
    fn prepare(&self, _: &Batch) -> Result<()> {
        Ok(())
    }

    /// Features of the atoms.
    ///
    /// # Errors
    /// An element that the network does not know.
    fn encode(&self, batch: &Batch, geometry: &Geometry, p: &Parameters) -> Result<Features>;
}

/// Features of a batch's atoms.
pub struct Features {
    /// Invariant, `[N, F]`.
    pub scalars: Dual,
    /// Turning with the positions, `[N, 3, F]`.
    pub vectors: Option<Dual>,
}

/// Which network, and its sizes: one line for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "network", rename_all = "lowercase")]
pub enum Network {
    SchNet(schnet::SchNetConfig),
    Painn(painn::PainnConfig),
    Nequip(nequip::NequipConfig),
    Allegro(allegro::AllegroConfig),
    Equiformer(equiformer::EquiformerConfig),
    Segnn(segnn::SegnnConfig),
    Tfn(tfn::TfnConfig),
    Se3Transformer(se3_transformer::Se3TransformerConfig),
    Egnn(egnn::EgnnConfig),
    DimeNetPp(dimenetpp::DimeNetConfig),
    SphereNet(spherenet::SphereNetConfig),
    GemNet(gemnet::GemNetConfig),
}

impl Network {
    /// Adds the parameters of the network without a head.
    ///
    /// # Errors
    /// Sizes that are no network, by name.
    pub fn build(&self, b: &mut Scope) -> Result<Box<dyn Encoder>> {
        self.config().check()?;
        Ok(self.config().build(b))
    }

    /// The settings of whichever network it is.
    fn config(&self) -> &dyn EncoderConfig {
        match self {
            Network::SchNet(config) => config,
            Network::Painn(config) => config,
            Network::Nequip(config) => config,
            Network::Allegro(config) => config,
            Network::Equiformer(config) => config,
            Network::Segnn(config) => config,
            Network::Tfn(config) => config,
            Network::Se3Transformer(config) => config,
            Network::Egnn(config) => config,
            Network::DimeNetPp(config) => config,
            Network::SphereNet(config) => config,
            Network::GemNet(config) => config,
        }
    }
}

/// Which form of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// What is plainly a mistake in the released code is mended: energies are sums over atoms, and
    /// nothing jumps at the cutoff. `docs/networks.md` lists what differs.
    #[default]
    Mended,
    /// The released code's numbers.
    Published,
}

/// Settings that a network is built from.
trait EncoderConfig {
    /// # Errors
    /// Sizes that are no network, by name.
    fn check(&self) -> Result<()>;

    /// The network's own head.
    fn head(&self) -> HeadConfig {
        HeadConfig::default()
    }

    /// Adds the network's parameters.
    fn build(&self, b: &mut Scope) -> Box<dyn Encoder>;
}

/// Refuses numbers of degrees of spherical harmonics that are no network, or lose digits.
fn check_degrees(degrees: usize) -> Result<()> {
    match degrees {
        1..=12 => Ok(()),
        _ => Err(Error::input(format!(
            "degrees = {degrees}: must be from 1 to 12"
        ))),
    }
}

/// Refuses sizes of zero and absurd ones.
fn check_sizes(sizes: &[(&str, usize)]) -> Result<()> {
    let mut sizes = sizes.iter();
    sizes.try_for_each(|(name, size)| check_width(name, *size))
}

/// Refuses a mean number of neighbors that sums cannot be divided by.
fn check_neighbors(neighbors: f64) -> Result<()> {
    match neighbors.is_finite() && neighbors > 0.0 {
        true => Ok(()),
        false => Err(Error::input(format!(
            "neighbors = {neighbors}: must be above 0"
        ))),
    }
}
