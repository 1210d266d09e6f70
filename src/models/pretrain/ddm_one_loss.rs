//! GeoSSL-DDM-1L: denoising in one direction. Two readings of the benchmark go by this name: noise
//! on positions (Zaidi et al. 2023), and the distances of GeoSSL-DDM one way only.

use super::ddm::{Names, ScoreNet, check_anneal, put_noise, put_pairs};
use super::lifted::{EnergyNet, vector_head, vectors};
use super::views::moved;
use super::{Batch, Draw, Inputs, Molecule, Objective, ObjectiveConfig, Pass, Representations};
use super::{Field, Head, Levels, Perturbation, Terms, check_positive};
use crate::Result;
use crate::models::graph::{self, Features};
use crate::models::layers::Linear;
use crate::models::{Parameters, Scope};
use crate::ops::dual::Dual;
use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is denoised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    /// Positions, as a vector for each atom.
    #[default]
    Positions,
    /// The clean view's distances, with the atoms of the perturbed view.
    Distances,
}

/// Settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DdmOneLossConfig {
    /// What is denoised.
    pub of: Of,
    /// Standard deviation of noise on positions, Å. The released code divides the noise by its
    /// running deviation, which is this number but for chance.
    pub noise: f64,
    /// How the noise on positions is predicted.
    pub head: Head,
    /// Of distances: how the perturbed view is made.
    pub view: Perturbation,
    /// Of distances: levels of noise.
    pub levels: Levels,
    /// Of distances: power of the level that a pair's loss is weighed by.
    pub anneal: f64,
}

impl Default for DdmOneLossConfig {
    fn default() -> Self {
        Self {
            of: Of::default(),
            noise: 0.04,
            head: Head::default(),
            view: Perturbation::default(),
            levels: Levels::default(),
            anneal: 2.0,
        }
    }
}

impl ObjectiveConfig for DdmOneLossConfig {
    fn check(&self) -> Result<()> {
        check_positive("objective.noise", self.noise)?;
        self.view.check()?;
        self.levels.check()?;
        check_anneal(self.anneal)
    }

    fn terms(&self) -> Vec<(&'static str, f64)> {
        vec![("denoising", 1.0)]
    }

    fn build(&self, b: &mut Scope, width: usize, _: usize) -> Result<Box<dyn Objective>> {
        let net = match (self.of, self.head) {
            (Of::Distances, _) => {
                Net::Distances(ScoreNet::new(&mut b.scope("net"), width, self.anneal))
            }
            (Of::Positions, Head::Energy) => Net::Energy(Box::new(EnergyNet::new(b, width))),
            (Of::Positions, Head::Vector) => Net::Vector(vector_head(b, width)),
        };
        Ok(Box::new(DdmOneLoss {
            config: self.clone(),
            net,
        }))
    }
}

enum Net {
    Energy(Box<EnergyNet>),
    Vector(Linear),
    Distances(ScoreNet),
}

/// Of positions: `L = mean |v - epsilon|^2` over atoms and components, for a prediction `v` of the
/// noise `epsilon` in units of its deviation.
pub struct DdmOneLoss {
    config: DdmOneLossConfig,
    net: Net,
}

const NAMES: Names = Names {
    sigma: "sigma",
    noise: "distance_noise",
    distance: "distance",
};

impl Objective for DdmOneLoss {
    fn prepare(&self, molecules: &[Molecule], draw: &Draw) -> Result<Inputs> {
        if let Net::Distances(_) = self.net {
            let mut inputs = self.config.view.views(molecules, draw)?;
            put_pairs(&mut inputs, draw)?;
            put_noise(&mut inputs, molecules, draw, &self.config.levels, 0, &NAMES)?;
            inputs.views.remove(0);
            return Ok(inputs);
        }
        let mut inputs = Inputs::of(molecules, draw)?;
        let noise = draw.normals("positions", molecules, |m| 3 * m.system.len());
        inputs.views = vec![moved(molecules, &noise, |_| self.config.noise)];
        let atoms = noise.len() / 3;
        let noise = draw.floats(noise, (atoms, 3))?;
        inputs.draws.put("noise", noise);
        Ok(inputs)
    }

    fn losses(&self, x: &Representations, batch: &Batch, pass: &Pass) -> Result<Terms> {
        match &self.net {
            Net::Energy(_) => Ok(Vec::new()),
            Net::Vector(head) => {
                let predicted = vectors(head, x.vectors[0].as_ref(), pass.parameters)?;
                let (name, loss) = self.position_loss(&predicted, batch)?;
                // The scalars of the last layer have no part in it.
                Ok(vec![(name, (loss + pass.nothing()?)?)])
            }
            Net::Distances(net) => {
                let loss = match batch.draws.get("pair_graph")?.elem_count() {
                    0 => pass.nothing()?,
                    _ => net.loss(&x.atoms[0], batch, &NAMES, pass.parameters)?,
                };
                Ok(vec![("denoising", loss)])
            }
        }
    }

    fn field(&self) -> Option<&dyn Field> {
        match self.net {
            Net::Energy(_) => Some(self),
            _ => None,
        }
    }
}

impl DdmOneLoss {
    /// The loss of predicted noise `[N, 3]`.
    fn position_loss(&self, predicted: &Tensor, batch: &Batch) -> Result<(&'static str, Tensor)> {
        let loss = (predicted - batch.draws.get("noise")?)?.sqr()?.mean_all()?;
        Ok(("denoising", loss))
    }
}

impl Field for DdmOneLoss {
    fn view(&self) -> usize {
        0
    }

    fn energy(&self, features: &Features, view: &graph::Batch, p: &Parameters) -> Result<Dual> {
        match &self.net {
            Net::Energy(net) => net.energy(&features.scalars, view, p),
            _ => Err(crate::Error::internal("an objective without an energy")),
        }
    }

    fn loss(&self, predicted: &Tensor, batch: &Batch) -> Result<(&'static str, Tensor)> {
        self.position_loss(predicted, batch)
    }
}
