//! Angles of triples of atoms, predicted (Liu et al. 2022; "torsion angle" in the released code,
//! which is none).

use super::distance::gathered;
use super::{Batch, Draw, Inputs, Molecule, Objective, ObjectiveConfig, Pass, Representations};
use super::{Terms, check_share};
use crate::Result;
use crate::models::Scope;
use crate::models::graph::Variant;
use crate::models::layers::Linear;
use rand::seq::index::sample;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AngleConfig {
    /// Share of the ordered triples of a molecule's atoms that is predicted.
    pub share: f64,
    /// In the released code the triples are chosen once, small molecules have none, and straight
    /// angles come out below pi.
    pub variant: Variant,
}

impl Default for AngleConfig {
    fn default() -> Self {
        Self {
            share: 1e-3,
            variant: Variant::default(),
        }
    }
}

impl ObjectiveConfig for AngleConfig {
    fn check(&self) -> Result<()> {
        check_share("objective.share", self.share)
    }

    fn terms(&self) -> Vec<(&'static str, f64)> {
        vec![("angle", 1.0)]
    }

    fn build(&self, b: &mut Scope, width: usize, _: usize) -> Result<Box<dyn Objective>> {
        Ok(Box::new(Angle {
            config: self.clone(),
            predictor: Linear::pytorch(&mut b.scope("predictor"), 3 * width, 1),
        }))
    }
}

/// `L = mean (W [h_i, h_j, h_k] - angle)^2`, the angle being that at atom i.
pub struct Angle {
    config: AngleConfig,
    predictor: Linear,
}

/// The angle (rad) at the first of three atoms.
pub fn angle([i, j, k]: [[f64; 3]; 3], variant: Variant) -> f64 {
    let unit = |to: [f64; 3]| {
        let v: [f64; 3] = std::array::from_fn(|a| to[a] - i[a]);
        let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        let norm = match variant {
            Variant::Published => norm + 1e-5,
            Variant::Mended => norm.max(f64::MIN_POSITIVE),
        };
        v.map(|x| x / norm)
    };
    let (a, b) = (unit(j), unit(k));
    match a == [0.0; 3] || b == [0.0; 3] {
        true => 0.0,
        false => {
            let cosine: f64 = a.iter().zip(b).map(|(x, y)| x * y).sum();
            cosine.clamp(-1.0, 1.0).acos()
        }
    }
}

impl Objective for Angle {
    fn prepare(&self, molecules: &[Molecule], draw: &Draw) -> Result<Inputs> {
        let mut inputs = Inputs::of(molecules, draw)?;
        let (draw_once, least) = match self.config.variant {
            Variant::Published => (draw.without_step(), 0),
            Variant::Mended => (draw.clone(), 1),
        };
        let (mut tuples, mut angles) = ([const { Vec::new() }; 3], Vec::new());
        let mut first = 0;
        for m in molecules {
            let n = m.system.len();
            let all = n * n.saturating_sub(1) * n.saturating_sub(2);
            let count = ((self.config.share * all as f64) as usize)
                .max(least)
                .min(all);
            let mut rng = draw_once.rng("triples", m.sample);
            let mut chosen = sample(&mut rng, all, count).into_vec();
            chosen.sort_unstable();
            for triple in chosen {
                let atoms = ordered_triple(triple, n);
                angles.push(angle(
                    atoms.map(|i| m.system.positions[i]),
                    self.config.variant,
                ));
                for (column, i) in tuples.iter_mut().zip(atoms) {
                    column.push((first + i) as u32);
                }
            }
            first += n;
        }
        let count = angles.len();
        let tuples = draw.rows(tuples.concat(), (3, count))?;
        inputs.draws.put("triples", tuples);
        let angles = draw.floats(angles, count)?;
        inputs.draws.put("angle", angles);
        Ok(inputs)
    }

    fn losses(&self, x: &Representations, batch: &Batch, pass: &Pass) -> Result<Terms> {
        let (triples, known) = (batch.draws.get("triples")?, batch.draws.get("angle")?);
        if known.elem_count() == 0 {
            return Ok(vec![("angle", pass.nothing()?)]);
        }
        let atoms = gathered(&x.atoms[0], triples)?;
        let predicted = self
            .predictor
            .forward(&atoms, pass.parameters)?
            .squeeze(1)?;
        let loss = (predicted - known)?.sqr()?.mean_all()?;
        Ok(vec![("angle", loss)])
    }
}

/// The ordered triple of this number of `n` different atoms.
fn ordered_triple(number: usize, n: usize) -> [usize; 3] {
    let i = number / ((n - 1) * (n - 2));
    let rest = number % ((n - 1) * (n - 2));
    let (second, third) = (rest / (n - 2), rest % (n - 2));
    let j = second + usize::from(second >= i);
    let (low, high) = (i.min(j), i.max(j));
    let mut k = third;
    k += usize::from(k >= low);
    k += usize::from(k >= high);
    [i, j, k]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_triple_has_one_number() {
        let n = 5;
        let mut all: Vec<_> = (0..n * (n - 1) * (n - 2))
            .map(|t| ordered_triple(t, n))
            .collect();
        assert!(
            all.iter()
                .all(|[i, j, k]| i != j && j != k && i != k && (*i).max(*j).max(*k) < n)
        );
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 60);
    }

    #[test]
    fn straight_angles_are_straight() {
        let line = [[0.0; 3], [1.0, 0.0, 0.0], [-2.0, 0.0, 0.0]];
        assert_eq!(angle(line, Variant::Mended), std::f64::consts::PI);
        assert!(angle(line, Variant::Published) < std::f64::consts::PI - 1e-3);
        assert_eq!(angle([[0.0; 3]; 3], Variant::Mended), 0.0);
    }
}
