//! GeoSSL-DDM: distances of one view denoised with the atoms of the other (Liu et al. 2023).

use super::{Batch, Draw, Inputs, Molecule, Objective, ObjectiveConfig, Pass, Representations};
use super::{Perceptron, Perturbation, Terms, check_positive};
use crate::data::system::System;
use crate::models::graph::Variant;
use crate::models::sizes::check_width;
use crate::models::{Parameters, Scope};
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Levels of noise in geometric sequence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Levels {
    /// How many.
    pub count: usize,
    /// The level at this end, Å.
    pub largest: f64,
    /// The level at this end, Å.
    pub smallest: f64,
    /// The released code rounds levels to single precision.
    pub variant: Variant,
}

impl Default for Levels {
    fn default() -> Self {
        Self {
            count: 50,
            largest: 10.0,
            smallest: 0.01,
            variant: Variant::default(),
        }
    }
}

impl Levels {
    /// # Errors
    /// No levels, or none in order.
    pub fn check(&self) -> Result<()> {
        check_width("objective.levels.count", self.count)?;
        check_positive("objective.levels.smallest", self.smallest)?;
        match self.largest.is_finite() && self.largest >= self.smallest {
            true => Ok(()),
            false => Err(Error::input(format!(
                "objective.levels.largest = {}: must be a number from objective.levels.smallest on",
                self.largest
            ))),
        }
    }

    /// All levels, the largest first, Å.
    pub fn sigmas(&self) -> Vec<f64> {
        let last = (self.count - 1).max(1) as f64;
        let ratio = (self.smallest / self.largest).ln();
        let sigma = |k: usize| self.largest * (ratio * k as f64 / last).exp();
        let sigmas = (0..self.count).map(sigma);
        match self.variant {
            Variant::Mended => sigmas.collect(),
            Variant::Published => sigmas.map(|s| f64::from(s as f32)).collect(),
        }
    }
}

/// Settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DdmConfig {
    /// How the second view is made.
    pub view: Perturbation,
    /// Levels of noise.
    pub levels: Levels,
    /// Power `a` of the level that a pair's loss is weighed by.
    pub anneal: f64,
}

impl Default for DdmConfig {
    fn default() -> Self {
        Self {
            view: Perturbation::default(),
            levels: Levels::default(),
            anneal: 2.0,
        }
    }
}

impl ObjectiveConfig for DdmConfig {
    fn check(&self) -> Result<()> {
        self.view.check()?;
        self.levels.check()?;
        check_anneal(self.anneal)
    }

    fn terms(&self) -> Vec<(&'static str, f64)> {
        vec![("denoising", 1.0)]
    }

    fn build(&self, b: &mut Scope, width: usize, _: usize) -> Result<Box<dyn Objective>> {
        let net =
            |k: usize| ScoreNet::new(&mut b.scope(format_args!("net_{k}")), width, self.anneal);
        Ok(Box::new(Ddm {
            config: self.clone(),
            nets: [1, 2].map(net),
        }))
    }
}

/// # Errors
/// A power that is negative or no number.
pub(super) fn check_anneal(anneal: f64) -> Result<()> {
    match anneal.is_finite() && anneal >= 0.0 {
        true => Ok(()),
        false => Err(Error::input(format!(
            "objective.anneal = {anneal}: must be 0 or more"
        ))),
    }
}

/// `L = (L_1 + L_2) / 2`: net 1 takes the clean view's atoms and the perturbed view's distances,
/// net 2 the other way round.
pub struct Ddm {
    config: DdmConfig,
    nets: [ScoreNet; 2],
}

/// Names of noise on the distances of a view's pairs.
pub struct Names {
    /// The level, `[B]`, Å.
    pub sigma: &'static str,
    /// The noise in units of the level, `[P]`.
    pub noise: &'static str,
    /// The distance, `[P]`, Å.
    pub distance: &'static str,
}

const NAMES: [Names; 2] = [
    Names {
        sigma: "sigma_1",
        noise: "distance_noise_1",
        distance: "distance_1",
    },
    Names {
        sigma: "sigma_2",
        noise: "distance_noise_2",
        distance: "distance_2",
    },
];

impl Objective for Ddm {
    fn prepare(&self, molecules: &[Molecule], draw: &Draw) -> Result<Inputs> {
        let mut inputs = self.config.view.views(molecules, draw)?;
        put_pairs(&mut inputs, draw)?;
        for (k, of) in [(0, 1), (1, 0)] {
            let levels = &self.config.levels;
            put_noise(&mut inputs, molecules, draw, levels, of, &NAMES[k])?;
        }
        Ok(inputs)
    }

    fn losses(&self, x: &Representations, batch: &Batch, pass: &Pass) -> Result<Terms> {
        if batch.draws.get("pair_graph")?.elem_count() == 0 {
            return Ok(vec![("denoising", pass.nothing()?)]);
        }
        let [first, second] = &self.nets;
        let one = first.loss(&x.atoms[0], batch, &NAMES[0], pass.parameters)?;
        let two = second.loss(&x.atoms[1], batch, &NAMES[1], pass.parameters)?;
        Ok(vec![("denoising", ((one + two)? * 0.5)?)])
    }
}

/// Puts all unordered pairs of atoms of each molecule (`pairs` `[2, P]`) and their graphs
/// (`pair_graph` `[P]`).
///
/// # Errors
/// Those of candle.
pub(super) fn put_pairs(inputs: &mut Inputs, draw: &Draw) -> Result<()> {
    let (mut ends, mut graphs) = ([Vec::new(), Vec::new()], Vec::new());
    let mut first = 0u32;
    for (graph, system) in (0u32..).zip(&inputs.views[0]) {
        let n = system.len() as u32;
        for i in first..first + n {
            for j in i + 1..first + n {
                ends[0].push(i);
                ends[1].push(j);
                graphs.push(graph);
            }
        }
        first += n;
    }
    let pairs = graphs.len();
    inputs
        .draws
        .put("pairs", draw.rows(ends.concat(), (2, pairs))?);
    inputs.draws.put("pair_graph", draw.rows(graphs, pairs)?);
    Ok(())
}

/// Puts a level for each molecule, noise for each pair, and the pairs' distances in view `of`.
///
/// # Errors
/// Those of candle.
pub(super) fn put_noise(
    inputs: &mut Inputs,
    molecules: &[Molecule],
    draw: &Draw,
    levels: &Levels,
    of: usize,
    names: &Names,
) -> Result<()> {
    let sigmas = levels.sigmas();
    let chosen = draw.below(names.sigma, molecules, sigmas.len());
    let chosen = chosen.into_iter().map(|k| sigmas[k]).collect();
    let mut drawn = Vec::new();
    for (m, system) in molecules.iter().zip(&inputs.views[of]) {
        let count = system.len() * system.len().saturating_sub(1) / 2;
        drawn.extend(draw.normals(names.noise, std::slice::from_ref(m), |_| count));
    }
    let distances: Vec<f64> = inputs.views[of].iter().flat_map(distances).collect();
    let pairs = drawn.len();
    let chosen = draw.floats(chosen, molecules.len())?;
    inputs.draws.put(names.sigma, chosen);
    inputs.draws.put(names.noise, draw.floats(drawn, pairs)?);
    inputs
        .draws
        .put(names.distance, draw.floats(distances, pairs)?);
    Ok(())
}

/// Distances of all unordered pairs, Å.
fn distances(system: &System<f64>) -> Vec<f64> {
    let at = &system.positions;
    let pair = |i: usize, j: usize| {
        let squares = (0..3).map(|k| (at[i][k] - at[j][k]).powi(2));
        squares.sum::<f64>().sqrt()
    };
    let pairs = (0..at.len()).flat_map(|i| (i + 1..at.len()).map(move |j| (i, j)));
    pairs.map(|(i, j)| pair(i, j)).collect()
}

/// The score of a noisy distance `x = d + sigma z`: with `phi(x)` a network 1-d-1,
/// `s = MLP([h_u + h_v, phi(x)]) / sigma`.
pub struct ScoreNet {
    distance: Perceptron,
    output: Perceptron,
    anneal: f64,
}

impl ScoreNet {
    pub fn new(b: &mut Scope, width: usize, anneal: f64) -> Self {
        let mut net = |name: &str, from, widths: &[usize]| {
            Perceptron::glorot(&mut b.scope(name), from, widths, Tensor::relu)
        };
        Self {
            distance: net("input_distance_mlp", 1, &[width, 1]),
            output: net("output_mlp", width + 1, &[width, (width / 2).max(1), 1]),
            anneal,
        }
    }

    /// The mean over molecules of the sum over pairs of `1/2 (s + z / sigma)^2 sigma^a`; level,
    /// noise and distance are found under `names`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn loss(
        &self,
        atoms: &Tensor,
        batch: &Batch,
        names: &Names,
        p: &Parameters,
    ) -> Result<Tensor> {
        let draws = &batch.draws;
        let (pairs, graph) = (draws.get("pairs")?, draws.get("pair_graph")?);
        let sigmas = draws.get(names.sigma)?;
        let (z, d) = (draws.get(names.noise)?, draws.get(names.distance)?);
        let molecules = sigmas.dim(0)? as f64;
        let weights = sigmas.to_dtype(DType::F64)?.powf(self.anneal)?;
        let weights = weights.to_dtype(sigmas.dtype())?.index_select(graph, 0)?;
        let sigma = sigmas.index_select(graph, 0)?;
        let noisy = (d + (&sigma * z)?)?.unsqueeze(1)?;
        let [u, v] = [0, 1].map(|k| pairs.get(k).and_then(|rows| atoms.index_select(&rows, 0)));
        let input = Tensor::cat(&[(u? + v?)?, self.distance.forward(&noisy, p)?], 1)?;
        let score = self.output.forward(&input, p)?.squeeze(1)?;
        let error = ((score + z)? / &sigma)?;
        let loss = (error.sqr()? * weights)?.sum_all()?;
        Ok((loss * (0.5 / molecules))?)
    }
}
