//! GraphMVP: the graph of bonds and the positions as two views of a molecule (Liu et al. 2022).

use super::bond_net::{BondNet, BondNetConfig};
use super::bonds::put_bonds;
use super::contrast::{cyclic, ebm_nce, info_nce, unit_rows};
use super::generative::{Decoder, Measure, Variational};
use super::views::{check_masking, masked};
use super::{Batch, Draw, Inputs, Molecule, Objective, ObjectiveConfig, Pass, Representations};
use super::{Terms, check_positive};
use crate::Result;
use crate::models::Scope;
use crate::models::layers::Readout;
use crate::models::sizes::check_width;
use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which contrastive loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Contrast {
    Infonce,
    /// The sum of both parts, weighed by the number of negatives, and not their mean.
    #[default]
    EbmNce,
}

/// How one view is made of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Generation {
    /// By a decoder.
    Ae,
    /// By a variational autoencoder.
    #[default]
    Vae,
}

/// Settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GraphMvpConfig {
    /// The network on the graph of bonds.
    pub bonds: BondNetConfig,
    /// Share of the atoms that both views lack.
    pub masking: f64,
    /// Which contrastive loss.
    pub contrast: Contrast,
    /// What products or cosines are divided by.
    pub temperature: f64,
    /// Representations are unit vectors in the contrastive loss.
    pub normalize: bool,
    /// Molecules that each is told from.
    pub negatives: usize,
    /// How one view is made of the other.
    pub generation: Generation,
    /// How far what is made is from what is real.
    pub measure: Measure,
    /// Weight of the divergence of the variational autoencoder.
    pub beta: f64,
}

impl Default for GraphMvpConfig {
    fn default() -> Self {
        Self {
            bonds: BondNetConfig::default(),
            masking: 0.0,
            contrast: Contrast::default(),
            temperature: 0.1,
            normalize: true,
            negatives: 1,
            generation: Generation::default(),
            measure: Measure::L2,
            beta: 1.0,
        }
    }
}

impl ObjectiveConfig for GraphMvpConfig {
    fn check(&self) -> Result<()> {
        self.bonds.check()?;
        check_masking(self.masking)?;
        check_positive("objective.temperature", self.temperature)?;
        check_positive("objective.beta", self.beta)?;
        check_width("objective.negatives", self.negatives)
    }

    fn terms(&self) -> Vec<(&'static str, f64)> {
        vec![("contrast", 1.0), ("generation", 1.0)]
    }

    fn couples(&self) -> bool {
        true
    }

    fn bonded(&self) -> bool {
        true
    }

    fn build(&self, b: &mut Scope, width: usize, _: usize) -> Result<Box<dyn Objective>> {
        let bonds = BondNet::new(b, self.bonds, width);
        let maker = |name: &str| {
            let mut at = b.scope(name);
            match self.generation {
                Generation::Ae => Maker::Ae(Box::new(Decoder::new(&mut at, width))),
                Generation::Vae => {
                    Maker::Vae(Box::new(Variational::new(&mut at, width, self.beta)))
                }
            }
        };
        Ok(Box::new(GraphMvp {
            bonds,
            makers: ["ae_2d_3d", "ae_3d_2d"].map(maker),
            config: self.clone(),
            width,
        }))
    }
}

enum Maker {
    Ae(Box<Decoder>),
    Vae(Box<Variational>),
}

/// `L = contrast + generation`, each the mean of both directions.
pub struct GraphMvp {
    config: GraphMvpConfig,
    width: usize,
    bonds: BondNet,
    /// Positions made of bonds, bonds made of positions.
    makers: [Maker; 2],
}

const NOISES: [&str; 2] = ["eps_1", "eps_2"];

impl Objective for GraphMvp {
    fn prepare(&self, molecules: &[Molecule], draw: &Draw) -> Result<Inputs> {
        let kept = masked(molecules, self.config.masking, draw)?;
        let mut inputs = Inputs::of(&kept, draw)?;
        put_bonds(&mut inputs, &kept, draw)?;
        if self.config.generation == Generation::Vae {
            for name in NOISES {
                let noise = draw.normals(name, &kept, |_| self.width);
                let noise = draw.floats(noise, (kept.len(), self.width))?;
                inputs.draws.put(name, noise);
            }
        }
        Ok(inputs)
    }

    fn losses(&self, x: &Representations, batch: &Batch, pass: &Pass) -> Result<Terms> {
        let bonds = self.bonds.atoms(&batch.draws, pass)?;
        let bonds = Readout::Mean.forward(&bonds.into(), &batch.views[0].graphs)?;
        self.terms([&bonds.value, &x.graphs[0]], batch, pass)
    }
}

impl GraphMvp {
    /// The loss of the molecules' representations by bonds and by positions, `[B, F]` each.
    ///
    /// # Errors
    /// Different shapes.
    pub fn terms(&self, [x, y]: [&Tensor; 2], batch: &Batch, pass: &Pass) -> Result<Terms> {
        let (x, y) = (&pass.whole(x)?, &pass.whole(y)?);
        let mut generation = Vec::new();
        for (k, (from, to)) in [(x, y), (y, x)].into_iter().enumerate() {
            let (to, measure) = (to.detach(), self.config.measure);
            generation.push(match &self.makers[k] {
                Maker::Ae(decoder) => measure.of(&decoder.forward(from, pass)?, &to)?,
                Maker::Vae(net) => {
                    let noise = pass.whole(batch.draws.get(NOISES[k])?)?;
                    net.loss([from, &to, &noise], measure, pass)?
                }
            });
        }
        let generation = ((&generation[0] + &generation[1])? * 0.5)?;
        Ok(vec![
            ("contrast", contrast(&self.config, x, y)?),
            ("generation", generation),
        ])
    }
}

/// The contrastive loss of a setting, of two representations `[B, F]`.
///
/// # Errors
/// Different shapes.
pub fn contrast(config: &GraphMvpConfig, x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let (mut x, mut y) = (x.clone(), y.clone());
    if config.normalize {
        (x, y) = (unit_rows(&x)?, unit_rows(&y)?);
    }
    if config.contrast == Contrast::Infonce {
        return info_nce(&x, &y, config.temperature);
    }
    let one = |x: &Tensor, y: &Tensor| -> Result<Tensor> {
        let negatives = cyclic(y, config.negatives)?;
        let count = negatives.len() as f64;
        let (positive, negative) = ebm_nce(x, y, &negatives, config.temperature)?;
        Ok(match negative {
            Some(negative) => (positive + (negative * count)?)?,
            None => positive,
        })
    };
    Ok(((one(&x, &y)? + one(&y, &x)?)? * 0.5)?)
}
