//! Pretraining of networks of atoms: objectives that need no labels (and one that does).
//!
//! An [`Objective`] is one file. It makes views of some molecules, with whatever is random in them
//! drawn by keys of seed, step and sample ([`Draw`]), and turns what the network says of the views
//! into named terms of a loss. Any [`Encoder`](crate::models::graph::Encoder) that gives features
//! of atoms can be trained by any objective; [`PretrainModel`] is the one adapter to the trainer.
//!
//! What is mended in the published code by default is said where it is mended, and
//! `variant = "published"` brings it back. `docs/pretraining.md` lists all of it.
//!
//! Losses that compare molecules compare those of the whole batch, whatever its slices are, by
//! [`Pass::whole`]; or, with `model.compare = "slice"`, those of the slice.

mod angle;
mod atom_type;
mod batch;
mod bond_net;
pub mod bonds;
pub mod contrast;
mod ddm;
mod ddm_one_loss;
mod dense;
mod distance;
mod draw;
mod ebm_nce;
mod emgp;
pub mod generative;
pub mod gin;
mod graphmvp;
mod infograph;
mod infomax;
mod infonce;
pub mod lifted;
mod model;
mod molecule_sde;
mod perceptron;
pub mod pna;
mod relation;
pub mod score2d;
pub mod score3d;
mod sde;
mod supervised;
mod views;

pub use angle::{Angle, AngleConfig, angle};
pub use atom_type::{AtomType, AtomTypeConfig};
pub use batch::{Batch, Draws, Inputs, Molecule, Representations};
pub use bond_net::{BondNet, BondNetConfig, BondNetwork};
pub use ddm::{Ddm, DdmConfig, Levels};
pub use ddm_one_loss::{DdmOneLoss, DdmOneLossConfig};
pub use distance::{Distance, DistanceConfig};
pub use draw::Draw;
pub use ebm_nce::{EbmNce, EbmNceConfig};
pub use emgp::{Emgp, EmgpConfig, Target};
pub use graphmvp::{Contrast, Generation, GraphMvp, GraphMvpConfig, contrast as graphmvp_contrast};
pub use infograph::{InfoGraph, InfoGraphConfig};
pub use infomax::{InfoMax, InfoMaxConfig};
pub use infonce::{InfoNce, InfoNceConfig};
pub use lifted::{Field, Head};
pub use model::{PretrainConfig, PretrainModel, Start};
pub use molecule_sde::{MoleculeSde, MoleculeSdeConfig, contrast as atom_contrast};
pub use perceptron::Perceptron;
pub use relation::{Relation, RelationConfig};
pub use sde::{Process, Sde};
pub use supervised::{Supervised, SupervisedConfig};
pub use views::Perturbation;

use crate::models::Scope;
use crate::models::layers::Pass;
use crate::{Error, Result};
use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Named terms of a loss: scalars.
pub type Terms = Vec<(&'static str, Tensor)>;

/// What a network is pretrained by.
pub trait Objective: Send + Sync {
    /// Makes the views of some molecules that the network is to see, and draws what is random.
    /// What is drawn is keyed by `draw` and the molecules' samples, so that it does not depend on
    /// the rank, and a resumed run draws it again.
    ///
    /// # Errors
    /// Molecules without what the objective needs: bonds, a target.
    fn prepare(&self, molecules: &[Molecule], draw: &Draw) -> Result<Inputs>;

    /// The terms of the loss, in the order of [`ObjectiveConfig::terms`]; each is a mean over the
    /// batch.
    ///
    /// # Errors
    /// Representations of other shapes.
    fn losses(&self, x: &Representations, batch: &Batch, pass: &Pass) -> Result<Terms>;

    /// What is predicted as the derivative of an energy by the positions, if anything is.
    fn field(&self) -> Option<&dyn Field> {
        None
    }
}

/// Settings that an objective is built from.
pub trait ObjectiveConfig {
    /// # Errors
    /// Settings out of range, by name.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Terms of the loss, and their weights where the job says none.
    fn terms(&self) -> Vec<(&'static str, f64)>;

    /// Whether molecules of a slice have to do with each other (negatives, batch norms), so that
    /// one alone teaches nothing.
    fn couples(&self) -> bool {
        false
    }

    /// Whether its losses compare what [`Pass::whole`] gives them.
    fn gathers(&self) -> bool {
        self.couples()
    }

    /// Whether molecules without bonds are of no use.
    fn bonded(&self) -> bool {
        false
    }

    /// Whether the network's last element stands for masked atoms.
    fn masks(&self) -> bool {
        false
    }

    /// Whether targets of the data are learned.
    fn labelled(&self) -> bool {
        false
    }

    /// Adds the objective's parameters, for a network with features of `width` channels that knows
    /// elements up to `elements`.
    ///
    /// # Errors
    /// Sizes that do not fit the network.
    fn build(&self, b: &mut Scope, width: usize, elements: usize) -> Result<Box<dyn Objective>>;
}

/// Which objective, and its settings: one line for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum AnyObjective {
    Supervised(SupervisedConfig),
    AtomType(AtomTypeConfig),
    Distance(DistanceConfig),
    Angle(AngleConfig),
    Infograph(InfoGraphConfig),
    GeosslRr(RelationConfig),
    GeosslInfonce(InfoNceConfig),
    GeosslEbmNce(EbmNceConfig),
    GeosslDdm(DdmConfig),
    GeosslDdm1l(DdmOneLossConfig),
    Emgp(EmgpConfig),
    Graphmvp(GraphMvpConfig),
    Infomax(InfoMaxConfig),
    Moleculesde(MoleculeSdeConfig),
}

impl AnyObjective {
    /// The settings of whichever objective it is.
    pub fn config(&self) -> &dyn ObjectiveConfig {
        match self {
            AnyObjective::Supervised(config) => config,
            AnyObjective::AtomType(config) => config,
            AnyObjective::Distance(config) => config,
            AnyObjective::Angle(config) => config,
            AnyObjective::Infograph(config) => config,
            AnyObjective::GeosslRr(config) => config,
            AnyObjective::GeosslInfonce(config) => config,
            AnyObjective::GeosslEbmNce(config) => config,
            AnyObjective::GeosslDdm(config) => config,
            AnyObjective::GeosslDdm1l(config) => config,
            AnyObjective::Emgp(config) => config,
            AnyObjective::Graphmvp(config) => config,
            AnyObjective::Infomax(config) => config,
            AnyObjective::Moleculesde(config) => config,
        }
    }
}

/// Refuses shares outside `0 < share <= 1`.
fn check_share(name: &str, share: f64) -> Result<()> {
    match share > 0.0 && share <= 1.0 {
        true => Ok(()),
        false => Err(Error::input(format!(
            "{name} = {share}: must be above 0 and at most 1"
        ))),
    }
}

/// Refuses numbers that are not positive.
fn check_positive(name: &str, value: f64) -> Result<()> {
    match value.is_finite() && value > 0.0 {
        true => Ok(()),
        false => Err(Error::input(format!("{name} = {value}: must be above 0"))),
    }
}
