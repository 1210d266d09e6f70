//! What is known of a target without a network: its mean, or a sum over atoms.

use crate::data::systems::{Systems, Target};
use crate::elements::{self, symbol};
use crate::stats::{mean, population_deviation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is taken off a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Nothing.
    None,
    /// The mean over the training systems: for quantities that do not grow with the system.
    #[default]
    Mean,
    /// The mean per atom, times the number of atoms, as in Geom3D.
    Atoms,
    /// A number for each element, summed over the atoms; least squares over the training systems.
    Composition,
}

/// A target's baseline, in its unit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// For each system.
    pub constant: f64,
    /// For each atom.
    pub per_atom: f64,
    /// For each atom of an element, beside `per_atom`.
    #[serde(default)]
    pub elements: BTreeMap<String, f64>,
}

/// Ridge of the least squares, as a share of the mean square: it decides what the data do not, so
/// that elements that only occur together share what is theirs.
const RIDGE: f64 = 1e-10;

impl Baseline {
    /// Fits a baseline to what `references`, numbers of each atom by element, leave of the target
    /// of the systems `train`; they are a part of it.
    pub fn fit(
        kind: Kind,
        systems: &Systems,
        train: &[u32],
        target: &Target,
        references: &BTreeMap<String, f64>,
    ) -> Self {
        let atoms = Self {
            elements: references.clone(),
            ..Self::default()
        };
        let rest = |&i: &u32| target.values[i as usize] - atoms.of(systems.numbers(i as usize));
        let rest: Vec<f64> = train.iter().map(rest).collect();
        let mut fitted = Self::of_rest(kind, systems, train, &rest);
        for (symbol, value) in atoms.elements {
            *fitted.elements.entry(symbol).or_default() += value;
        }
        fitted
    }

    /// The baseline of some values of the systems `train`.
    fn of_rest(kind: Kind, systems: &Systems, train: &[u32], values: &[f64]) -> Self {
        let atoms = |&i: &u32| systems.numbers(i as usize).len() as f64;
        let per_atom = || {
            let each = train.iter().zip(values).map(|(i, v)| v / atoms(i));
            mean(&each.collect::<Vec<_>>())
        };
        match kind {
            Kind::None => Self::default(),
            Kind::Mean => Self {
                constant: mean(values),
                ..Self::default()
            },
            Kind::Atoms => Self {
                per_atom: per_atom(),
                ..Self::default()
            },
            Kind::Composition => {
                let per_atom = per_atom();
                let rest = train
                    .iter()
                    .zip(values)
                    .map(|(i, v)| v - per_atom * atoms(i));
                let rest: Vec<f64> = rest.collect();
                Self {
                    constant: 0.0,
                    per_atom,
                    elements: least_squares(systems, train, &rest),
                }
            }
        }
    }

    /// The baseline of a system of these atoms.
    pub fn of(&self, numbers: &[u8]) -> f64 {
        let own = |&z: &u8| symbol(z).and_then(|s| self.elements.get(s)).unwrap_or(&0.0);
        let elements: f64 = numbers.iter().map(own).sum();
        self.constant + self.per_atom * numbers.len() as f64 + elements
    }
}

/// `rest` of the systems `train` as a sum over their atoms of a number for each element.
fn least_squares(systems: &Systems, train: &[u32], rest: &[f64]) -> BTreeMap<String, f64> {
    let mut place = [None; elements::LAST as usize + 1];
    let mut present: Vec<u8> = Vec::new();
    for &z in train.iter().flat_map(|&i| systems.numbers(i as usize)) {
        place[z as usize].get_or_insert_with(|| {
            present.push(z);
            present.len() - 1
        });
    }
    let n = present.len();
    let (mut normal, mut right) = (vec![0.0; n * n], vec![0.0; n]);
    for (&i, rest) in train.iter().zip(rest) {
        let mut counts = vec![0.0; n];
        for &z in systems.numbers(i as usize) {
            counts[place[z as usize].unwrap_or(0)] += 1.0;
        }
        for a in 0..n {
            right[a] += counts[a] * rest;
            for b in 0..n {
                normal[a * n + b] += counts[a] * counts[b];
            }
        }
    }
    let trace: f64 = (0..n).map(|a| normal[a * n + a]).sum();
    for a in 0..n {
        normal[a * n + a] += RIDGE * trace / n as f64;
    }
    let solution = solve(normal, right);
    let named = present.iter().zip(solution);
    named
        .map(|(&z, x)| (symbol(z).unwrap_or_default().to_string(), x))
        .collect()
}

/// Solves a symmetric positive definite system by Cholesky's factors.
fn solve(mut a: Vec<f64>, mut x: Vec<f64>) -> Vec<f64> {
    let n = x.len();
    for j in 0..n {
        for i in j..n {
            let sum: f64 = (0..j).map(|k| a[i * n + k] * a[j * n + k]).sum();
            a[i * n + j] = match i == j {
                true => (a[i * n + j] - sum).max(f64::MIN_POSITIVE).sqrt(),
                false => (a[i * n + j] - sum) / a[j * n + j],
            };
        }
    }
    for i in 0..n {
        let sum: f64 = (0..i).map(|k| a[i * n + k] * x[k]).sum();
        x[i] = (x[i] - sum) / a[i * n + i];
    }
    for i in (0..n).rev() {
        let sum: f64 = (i + 1..n).map(|k| a[k * n + i] * x[k]).sum();
        x[i] = (x[i] - sum) / a[i * n + i];
    }
    x
}

/// The unit in which a network sees a target: the mean over the training systems of the
/// root-mean-square component of their forces if these are learned, the deviation of what the
/// baseline leaves if not. `None` if everything is the same.
pub fn scale(
    systems: &Systems,
    train: &[u32],
    target: &Target,
    baseline: &Baseline,
    forces: bool,
) -> Option<f64> {
    let of = |&i: &u32| {
        let i = i as usize;
        match forces {
            true => {
                let forces = systems.forces(i).unwrap_or_default().as_flattened();
                let squares: f64 = forces.iter().map(|f| f * f).sum();
                (squares / forces.len().max(1) as f64).sqrt()
            }
            false => target.values[i] - baseline.of(systems.numbers(i)),
        }
    };
    let values: Vec<f64> = train.iter().map(of).collect();
    let scale = match forces {
        true => mean(&values),
        false => population_deviation(&values),
    };
    // What rounding leaves of equal values is no spread.
    let largest = target.values.iter().fold(0f64, |m, v| m.max(v.abs()));
    let tiny = if forces { 0.0 } else { 1e-9 * largest };
    (scale.is_finite() && scale > tiny).then_some(scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Split;
    use crate::data::system::System;
    use crate::data::systems::{Sample, Value};

    /// Systems of these atoms, with a value that is a sum over atoms.
    fn systems(all: &[&[u8]], value: impl Fn(u8) -> f64) -> Systems {
        let sample = |(i, numbers): (usize, &&[u8])| Sample {
            id: i.to_string(),
            system: System {
                numbers: numbers.to_vec(),
                positions: vec![[0.0; 3]; numbers.len()],
                ..System::default()
            },
            values: vec![Value::new(
                "energy",
                "eV",
                numbers.iter().map(|&z| value(z)).sum(),
            )],
            forces: Some(vec![[3.0, -4.0, 0.0]; numbers.len()]),
            ..Sample::default()
        };
        let samples = all.iter().enumerate().map(sample).collect();
        Systems::pack(samples, vec![Split::Train; all.len()], String::new()).unwrap()
    }

    #[test]
    fn numbers_of_elements_are_found() {
        let value = |z: u8| [0.0, -13.6, 0.0, 0.0, 0.0, 0.0, -1030.0, 0.0, -2040.0][z as usize];
        let all: [&[u8]; 4] = [&[6, 1, 1, 1, 1], &[8, 1, 1], &[6, 8], &[6, 6, 1, 1, 8]];
        let systems = systems(&all, value);
        let target = systems.target("energy").unwrap();
        let train = [0, 1, 2, 3];
        let fitted = Baseline::fit(
            Kind::Composition,
            &systems,
            &train,
            target,
            &BTreeMap::new(),
        );
        for numbers in all.into_iter().chain([&[1u8, 1][..]]) {
            let expected: f64 = numbers.iter().map(|&z| value(z)).sum();
            assert!((fitted.of(numbers) - expected).abs() < 1e-4, "{numbers:?}");
        }
        assert_eq!(scale(&systems, &train, target, &fitted, false), None);
        let forces = scale(&systems, &train, target, &fitted, true).unwrap();
        assert!((forces - (25.0f64 / 3.0).sqrt()).abs() < 1e-12);
    }

    /// One molecule says nothing of its elements apart: they share its energy.
    #[test]
    fn what_the_data_do_not_decide_is_shared() {
        let systems = systems(&[&[6u8, 6, 8, 1, 1][..]; 3], |_| -20_000.0);
        let target = systems.target("energy").unwrap();
        for kind in [Kind::Atoms, Kind::Composition] {
            let fitted = Baseline::fit(kind, &systems, &[0, 1, 2], target, &BTreeMap::new());
            assert!((fitted.of(&[6, 6, 8, 1, 1]) + 100_000.0).abs() < 1e-6);
            assert!((fitted.of(&[6]) + 20_000.0).abs() < 1e-6);
        }
        let none = Baseline::fit(Kind::None, &systems, &[0], target, &BTreeMap::new());
        assert_eq!(none, Baseline::default());
        let mean = Baseline::fit(Kind::Mean, &systems, &[0], target, &BTreeMap::new());
        assert_eq!(mean.of(&[1]), -100_000.0);
    }

    #[test]
    fn references_are_taken_off_first() {
        let systems = systems(&[&[8u8, 1, 1][..], &[8, 1], &[1, 1]], |z| {
            f64::from(z) - 10.0
        });
        let target = systems.target("energy").unwrap();
        let references = [("H", -9.0), ("O", -3.0)];
        let references = references.map(|(s, v)| (s.to_string(), v)).into();
        let fit = |kind| Baseline::fit(kind, &systems, &[0, 1, 2], target, &references);
        // What is left of each oxygen is 1.
        let mean = fit(Kind::Mean);
        assert!((mean.constant - 2.0 / 3.0).abs() < 1e-12);
        assert!((mean.of(&[8, 1, 1]) - (2.0 / 3.0 - 21.0)).abs() < 1e-12);
        let all = fit(Kind::Composition);
        assert!((all.of(&[8, 1, 1]) + 20.0).abs() < 1e-6);
        assert_eq!(fit(Kind::None).of(&[1, 1, 8]), -21.0);
    }
}
