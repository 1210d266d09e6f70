//! 3D-EMGP: noise as the gradient of an energy, and its level as a class (Jiao et al. 2023).

use super::lifted::{EnergyNet, vector_head, vectors};
use super::views::moved;
use super::{Batch, Draw, Field, Head, Inputs, Levels, Molecule, Objective, ObjectiveConfig};
use super::{Pass, Representations, Terms};
use crate::models::graph::{self, Features, Variant};
use crate::models::layers::Linear;
use crate::models::{Parameters, Scope};
use crate::ops::dual::Dual;
use crate::{Error, Result};
use candle_core::Tensor;
use candle_nn::loss::cross_entropy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is predicted of a perturbed molecule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The step back, in units of the noise.
    Gaussian,
    /// A step that does not change where the molecule only turns.
    #[default]
    Riemann,
}

impl Target {
    /// The target of each atom of one molecule, `[n, 3]`, of positions before and after (Å).
    pub fn of(self, clean: &[[f64; 3]], moved: &[[f64; 3]], sigma: f64) -> Vec<[f64; 3]> {
        let back =
            |(r, to): (&[f64; 3], &[f64; 3])| std::array::from_fn(|k| (r[k] - to[k]) / sigma);
        match self {
            Target::Riemann => riemann(clean, moved, sigma),
            Target::Gaussian => clean.iter().zip(moved).map(back).collect(),
        }
    }
}

/// Settings.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EmgpConfig {
    /// What is predicted of a perturbed molecule.
    pub target: Target,
    /// Levels of noise.
    pub levels: Levels,
    /// How the step is predicted.
    pub head: Head,
    /// `published` is Geom3D's code: the level is told from the perturbed molecule alone, among as
    /// many classes as there are channels, and is drawn anew when the target is scaled, so that it
    /// is not that of the noise. Mended is the code of 3D-EMGP.
    pub variant: Variant,
}

impl ObjectiveConfig for EmgpConfig {
    fn check(&self) -> Result<()> {
        self.levels.check()
    }

    fn terms(&self) -> Vec<(&'static str, f64)> {
        vec![("position", 1.0), ("scale", 0.2)]
    }

    fn build(&self, b: &mut Scope, width: usize, _: usize) -> Result<Box<dyn Objective>> {
        Ok(Box::new(Emgp::new(b, self, width)?))
    }
}

/// `L = L_position + 0.2 L_scale`; `L_position = mean over molecules of sum over atoms of
/// |prediction - F|^2`, `L_scale` the cross entropy of the level.
pub struct Emgp {
    config: EmgpConfig,
    scale: [Linear; 2],
    vector: Option<Linear>,
    energy: Option<EnergyNet>,
}

type Positions = [[f64; 3]];

/// The target of the Riemannian variant for one molecule, `[n, 3]`: with centred `X`, `X~`,
/// `F = -2 (X~ (X~^T X~) - X (X^T X~)) / (||X~^T X~|| + ||X^T X~||) / sigma`. To first order zero
/// for a rotation of `X`.
fn riemann(clean: &Positions, moved: &Positions, sigma: f64) -> Vec<[f64; 3]> {
    let centred = |x: &Positions| -> Vec<[f64; 3]> {
        let mean: [f64; 3] =
            std::array::from_fn(|k| x.iter().map(|p| p[k]).sum::<f64>() / x.len() as f64);
        let shifted = |p: &[f64; 3]| std::array::from_fn(|k| p[k] - mean[k]);
        x.iter().map(shifted).collect()
    };
    let (x, y) = (centred(clean), centred(moved));
    let product = |a: &Positions| -> [[f64; 3]; 3] {
        let entry = |i: usize, j: usize| a.iter().zip(&y).map(|(p, q)| p[i] * q[j]).sum();
        std::array::from_fn(|i| std::array::from_fn(|j| entry(i, j)))
    };
    let (own, cross) = (product(&y), product(&x));
    let norm = |m: &[[f64; 3]; 3]| m.as_flattened().iter().map(|v| v * v).sum::<f64>().sqrt();
    let scale = -2.0 / (norm(&own) + norm(&cross)).max(f64::MIN_POSITIVE) / sigma;
    let times = |p: &[f64; 3], m: &[[f64; 3]; 3], j: usize| (0..3).map(|i| p[i] * m[i][j]).sum();
    let step = |(p, q): (&[f64; 3], &[f64; 3])| {
        std::array::from_fn(|j| {
            let difference: f64 = times(q, &own, j);
            let back: f64 = times(p, &cross, j);
            scale * (difference - back)
        })
    };
    x.iter().zip(&y).map(step).collect()
}

impl Objective for Emgp {
    fn prepare(&self, molecules: &[Molecule], draw: &Draw) -> Result<Inputs> {
        let mut inputs = Inputs::of(molecules, draw)?;
        let sigmas = self.config.levels.sigmas();
        let of_noise = draw.below("levels", molecules, sigmas.len());
        let levels = match self.config.variant {
            Variant::Mended => of_noise.clone(),
            Variant::Published => draw.below("other levels", molecules, sigmas.len()),
        };
        let noise = draw.normals("positions", molecules, |m| 3 * m.system.len());
        // One step of length sqrt(2 alpha) with alpha = 1/2, from R, where the drift is zero.
        let perturbed = moved(molecules, &noise, |i| sigmas[of_noise[i]]);
        let mut targets: Vec<[f64; 3]> = Vec::with_capacity(noise.len() / 3);
        for ((m, moved), &level) in molecules.iter().zip(&perturbed).zip(&levels) {
            let (from, to) = (&m.system.positions, &moved.positions);
            targets.extend(self.config.target.of(from, to, sigmas[level]));
        }
        let atoms = targets.len();
        let target = draw.floats(targets.into_flattened(), (atoms, 3))?;
        inputs.draws.put("target", target);
        let level: Vec<u32> = levels.iter().map(|&k| k as u32).collect();
        let level = draw.rows(level, molecules.len())?;
        inputs.draws.put("level", level);
        inputs.views.push(perturbed);
        Ok(inputs)
    }

    fn losses(&self, x: &Representations, batch: &Batch, pass: &Pass) -> Result<Terms> {
        let mut terms = Vec::new();
        if let Some(head) = &self.vector {
            let predicted = vectors(head, x.vectors[1].as_ref(), pass.parameters)?;
            let (name, loss) = self.position_loss(&predicted, batch)?;
            terms.push((name, (loss + pass.nothing()?)?));
        }
        let told_from = match (&self.energy, self.config.variant) {
            (Some(net), Variant::Mended) => {
                let summed = |view: usize| -> Result<Tensor> {
                    let atoms = x.atoms[view].clone().into();
                    Ok(net
                        .summed(&atoms, &batch.views[view], pass.parameters)?
                        .value)
                };
                Tensor::cat(&[summed(0)?, summed(1)?], 1)?
            }
            _ => x.graphs[1].clone(),
        };
        terms.push(("scale", self.scale_loss(&told_from, batch, pass)?));
        Ok(terms)
    }

    fn field(&self) -> Option<&dyn Field> {
        match self.vector {
            None => Some(self),
            Some(_) => None,
        }
    }
}

impl Emgp {
    /// # Errors
    /// More levels than the published head has classes.
    pub fn new(b: &mut Scope, config: &EmgpConfig, width: usize) -> Result<Self> {
        let levels = config.levels.count;
        let (inputs, classes) = match config.variant {
            Variant::Mended => (2 * width, levels),
            Variant::Published if width < levels => {
                return Err(Error::input(format!(
                    "objective.levels.count = {levels}: the published scale head has as many \
                     classes as the network channels, {width}"
                )));
            }
            Variant::Published => (width, width),
        };
        let mut noise = b.scope("noise_pred");
        let scale = [
            Linear::pytorch(&mut noise.scope(0), inputs, width),
            Linear::pytorch(&mut noise.scope(2), width, classes),
        ];
        let vector = match config.head {
            Head::Energy => None,
            Head::Vector => Some(vector_head(b, width)),
        };
        // The published head of vectors has no energy, and its scale no sums over atoms.
        let energy = match (&vector, config.variant) {
            (Some(_), Variant::Published) => None,
            _ => Some(EnergyNet::new(b, width)),
        };
        Ok(Self {
            config: config.clone(),
            scale,
            vector,
            energy,
        })
    }

    /// The loss of the level that molecules' features `[B, ..]` tell.
    ///
    /// # Errors
    /// Another width.
    pub fn scale_loss(&self, told_from: &Tensor, batch: &Batch, pass: &Pass) -> Result<Tensor> {
        let [first, second] = &self.scale;
        let hidden = first.forward(told_from, pass.parameters)?.silu()?;
        let logits = second.forward(&hidden, pass.parameters)?;
        Ok(cross_entropy(&logits, batch.draws.get("level")?)?)
    }

    /// The loss of predicted steps `[N, 3]`.
    ///
    /// # Errors
    /// Another shape.
    pub fn position_loss(
        &self,
        predicted: &Tensor,
        batch: &Batch,
    ) -> Result<(&'static str, Tensor)> {
        let molecules = batch.draws.get("level")?.dim(0)? as f64;
        let squares = (predicted - batch.draws.get("target")?)?.sqr()?.sum_all()?;
        Ok(("position", (squares / molecules)?))
    }
}

impl Field for Emgp {
    fn view(&self) -> usize {
        1
    }

    fn energy(&self, features: &Features, view: &graph::Batch, p: &Parameters) -> Result<Dual> {
        match &self.energy {
            Some(net) => net.energy(&features.scalars, view, p),
            None => Err(Error::internal("an objective without an energy")),
        }
    }

    fn loss(&self, predicted: &Tensor, batch: &Batch) -> Result<(&'static str, Tensor)> {
        self.position_loss(predicted, batch)
    }
}
