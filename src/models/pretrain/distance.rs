//! Distances between pairs of atoms, predicted (Liu et al. 2022).

use super::{Batch, Draw, Inputs, Molecule, Objective, ObjectiveConfig, Pass, Representations};
use super::{Terms, check_share};
use crate::Result;
use crate::models::Scope;
use crate::models::layers::Linear;
use candle_core::Tensor;
use rand::seq::index::sample;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DistanceConfig {
    /// Share of the ordered pairs of a molecule's atoms that is predicted, others in each step.
    pub share: f64,
}

impl Default for DistanceConfig {
    fn default() -> Self {
        Self { share: 1.0 }
    }
}

impl ObjectiveConfig for DistanceConfig {
    fn check(&self) -> Result<()> {
        check_share("objective.share", self.share)
    }

    fn terms(&self) -> Vec<(&'static str, f64)> {
        vec![("distance", 1.0)]
    }

    fn build(&self, b: &mut Scope, width: usize, _: usize) -> Result<Box<dyn Objective>> {
        Ok(Box::new(Distance {
            share: self.share,
            predictor: Linear::pytorch(&mut b.scope("predictor"), 2 * width, 1),
        }))
    }
}

/// `L = mean |W [h_u, h_v] - |r_u - r_v||`; not symmetric in u and v, as released.
pub struct Distance {
    share: f64,
    predictor: Linear,
}

impl Objective for Distance {
    fn prepare(&self, molecules: &[Molecule], draw: &Draw) -> Result<Inputs> {
        let mut inputs = Inputs::of(molecules, draw)?;
        let (mut tuples, mut distances) = ([Vec::new(), Vec::new()], Vec::new());
        let mut first = 0;
        for m in molecules {
            let n = m.system.len();
            let all = n * n.saturating_sub(1);
            let chosen: Vec<usize> = match self.share < 1.0 {
                true => {
                    let count = (self.share * all as f64) as usize;
                    let mut rng = draw.rng("pairs", m.sample);
                    let mut chosen = sample(&mut rng, all, count).into_vec();
                    chosen.sort_unstable();
                    chosen
                }
                false => (0..all).collect(),
            };
            for pair in chosen {
                let (u, other) = (pair / (n - 1), pair % (n - 1));
                let v = other + usize::from(other >= u);
                let at = [u, v].map(|i| m.system.positions[i]);
                let squares = (0..3).map(|k| (at[0][k] - at[1][k]).powi(2));
                distances.push(squares.sum::<f64>().sqrt());
                tuples[0].push((first + u) as u32);
                tuples[1].push((first + v) as u32);
            }
            first += n;
        }
        let pairs = distances.len();
        let ends = draw.rows(tuples.concat(), (2, pairs))?;
        inputs.draws.put("pairs", ends);
        let distances = draw.floats(distances, pairs)?;
        inputs.draws.put("distance", distances);
        Ok(inputs)
    }

    fn losses(&self, x: &Representations, batch: &Batch, pass: &Pass) -> Result<Terms> {
        let (pairs, known) = (batch.draws.get("pairs")?, batch.draws.get("distance")?);
        if known.elem_count() == 0 {
            return Ok(vec![("distance", pass.nothing()?)]);
        }
        let ends = gathered(&x.atoms[0], pairs)?;
        let predicted = self.predictor.forward(&ends, pass.parameters)?.squeeze(1)?;
        let loss = (predicted - known)?.abs()?.mean_all()?;
        Ok(vec![("distance", loss)])
    }
}

/// Features of the atoms of tuples side by side: `x` `[N, F]`, `tuples` `[k, T]` to `[T, k F]`.
///
/// # Errors
/// An atom that there is not.
pub(super) fn gathered(x: &Tensor, tuples: &Tensor) -> Result<Tensor> {
    let of = |k: usize| x.index_select(&tuples.get(k)?, 0);
    let parts: candle_core::Result<Vec<Tensor>> = (0..tuples.dim(0)?).map(of).collect();
    Ok(Tensor::cat(&parts?, 1)?)
}
