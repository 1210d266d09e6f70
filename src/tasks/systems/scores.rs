//! How well targets and forces are predicted.

use super::{Description, Predicted, TargetDescription};
use crate::data::systems::{Stress, Systems, units};
use crate::models::graph::{FORCES, KnownStress, STRESS};
use crate::stats::{auprc, auroc, mean, pearson, population_deviation, ranks};
use crate::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;

/// Scores of a test set, by target; those of forces under `forces`, those of stresses under `stress`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Scores(BTreeMap<String, TargetScores>);

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
enum TargetScores {
    Value(ValueScores),
    Class(ClassScores),
}

/// Scores of numbers, in the target's unit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ValueScores {
    pub samples: usize,
    pub unit: String,
    pub mae: f64,
    pub rmse: f64,
    /// Share of the variance that is explained; absent when nothing varies.
    pub r2: Option<f64>,
    pub pearson: Option<f64>,
    pub spearman: Option<f64>,
    /// Mean absolute error of the baseline alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline_mae: Option<f64>,
}

/// Scores of classes; areas are means over the classes, each against the others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassScores {
    pub samples: usize,
    pub accuracy: f64,
    /// Accuracy of the most frequent class.
    pub majority: f64,
    /// Area under the ROC curve; absent when a class does not occur.
    pub auroc: Option<f64>,
    /// Average precision.
    pub auprc: Option<f64>,
}

/// What is known of the systems that are tested.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// `[targets][systems]`.
    pub values: Vec<Vec<f64>>,
    /// What the baselines say, `[targets][systems]`.
    pub baselines: Vec<Vec<f64>>,
    /// `[atoms]`.
    pub forces: Vec<[f64; 3]>,
    /// `[systems]`, NaN where none is known.
    pub stresses: Vec<Stress>,
}

impl Measured {
    /// Targets of the systems `ids` as a model of this description predicts them.
    ///
    /// # Errors
    /// A target that the systems do not have.
    pub fn of(systems: &Systems, ids: &[u32], description: &Description) -> Result<Self> {
        let mut measured = Self {
            values: Vec::new(),
            baselines: Vec::new(),
            forces: Vec::new(),
            stresses: Vec::new(),
        };
        for target in &description.targets {
            let values = known(systems, target)?;
            let own = ids.iter().map(|&i| values[i as usize]);
            measured.values.push(own.collect());
            let baseline = |&i: &u32| target.baseline.of(systems.numbers(i as usize));
            measured.baselines.push(ids.iter().map(baseline).collect());
        }
        if description.forces {
            measured.forces = forces(systems, ids, description)?;
        }
        if description.stress {
            let known = stresses(systems, ids, description)?.into_iter();
            let or_nan = |known: Option<KnownStress>| known.map_or(UNKNOWN, |(stress, _)| stress);
            measured.stresses = known.map(or_nan).collect();
        }
        Ok(measured)
    }
}

/// What is known of a target of all systems, in the model's unit; NaN where nothing is.
///
/// # Errors
/// No such target; one in a unit that cannot become the model's.
pub fn known(systems: &Systems, target: &TargetDescription) -> Result<Vec<f64>> {
    let own = systems.target(&target.name)?;
    own.in_unit(&target.unit).ok_or_else(|| {
        let (name, from, to) = (&target.name, &own.unit, &target.unit);
        Error::input(format!(
            "{name} in {from:?}, the model predicts it in {to:?}"
        ))
    })
}

/// Known forces on the atoms of the systems `ids`, in the model's unit; NaN where none are.
///
/// # Errors
/// A unit that cannot become the model's.
pub fn forces(systems: &Systems, ids: &[u32], description: &Description) -> Result<Vec<[f64; 3]>> {
    let factor = derivative_factor(systems, description, "forces")?;
    let mut all = Vec::new();
    for &i in ids {
        let missing = || vec![[f64::NAN; 3]; systems.numbers(i as usize).len()];
        let own = systems.forces(i as usize);
        let own = own.map_or_else(missing, <[_]>::to_vec);
        all.extend(own.into_iter().map(|f| f.map(|x| factor * x)));
    }
    Ok(all)
}

/// What stresses are of a system of which none is known.
pub const UNKNOWN: Stress = [[f64::NAN; 3]; 3];

/// Known stresses of the systems `ids`, in the model's unit per Å^3, with the volumes of their cells.
///
/// # Errors
/// A unit that cannot become the model's.
pub fn stresses(
    systems: &Systems,
    ids: &[u32],
    description: &Description,
) -> Result<Vec<Option<KnownStress>>> {
    let known = ids.iter().map(|&i| systems.stress(i as usize));
    let known: Vec<Option<KnownStress>> = known.collect();
    if known.iter().all(Option::is_none) {
        return Ok(known);
    }
    let factor = derivative_factor(systems, description, "stresses")?;
    let scaled =
        |(stress, volume): KnownStress| (stress.map(|row| row.map(|x| factor * x)), volume);
    Ok(known.into_iter().map(|k| k.map(scaled)).collect())
}

/// How many of the model's units one of the unit of `what` is.
fn derivative_factor(systems: &Systems, description: &Description, what: &str) -> Result<f64> {
    let (from, to) = (systems.force_unit(), &description.targets[0].unit);
    units::factor(from, to).ok_or_else(|| {
        Error::input(format!(
            "{what} of energies in {from:?}, the model predicts energies in {to:?}"
        ))
    })
}

impl Scores {
    /// Compares predictions with what was measured.
    pub fn new(description: &Description, predicted: &Predicted, measured: &Measured) -> Self {
        let mut scores = BTreeMap::new();
        for (k, target) in description.targets.iter().enumerate() {
            let (own, known) = (&predicted.values[k], &measured.values[k]);
            let of = match target.classes.is_empty() {
                true => {
                    let mut of = ValueScores::of(own, known, &target.unit);
                    of.baseline_mae = Some(mae(&measured.baselines[k], known));
                    TargetScores::Value(of)
                }
                false => {
                    let probabilities = &predicted.probabilities[k];
                    TargetScores::Class(ClassScores::of(target, own, probabilities, known))
                }
            };
            scores.insert(target.name.clone(), of);
        }
        if let (Some(forces), Some(first)) = (&predicted.forces, description.targets.first())
            && description.forces
        {
            let (own, known) = (forces.as_flattened(), measured.forces.as_flattened());
            let of = ValueScores::of(own, known, &format!("{}/Å", first.unit));
            scores.insert(FORCES.into(), TargetScores::Value(of));
        }
        if let (Some(stresses), Some(first)) = (&predicted.stresses, description.targets.first()) {
            let pairs = stresses
                .iter()
                .copied()
                .zip(measured.stresses.iter().copied());
            let known = pairs.filter(|(_, known)| known[0][0].is_finite());
            let (own, known): (Vec<Stress>, Vec<Stress>) = known.unzip();
            if !known.is_empty() {
                let (own, known) = (own.as_flattened(), known.as_flattened());
                let (own, known) = (own.as_flattened(), known.as_flattened());
                let of = ValueScores::of(own, known, &format!("{}/Å^3", first.unit));
                scores.insert(STRESS.into(), TargetScores::Value(of));
            }
        }
        Self(scores)
    }

    /// A few lines for the reader.
    pub fn table(&self) -> String {
        let line = |(name, scores): (&String, &TargetScores)| match scores {
            TargetScores::Value(s) => {
                let baseline = s.baseline_mae.map(|b| format!(", baseline {b:.5}"));
                let show = |v: Option<f64>| v.map_or("-".into(), |v| format!("{v:.4}"));
                format!(
                    "test: {name}: MAE {:.5} {}{}, RMSE {:.5}, R² {}, Spearman {} ({} numbers)\n",
                    s.mae,
                    s.unit,
                    baseline.unwrap_or_default(),
                    s.rmse,
                    show(s.r2),
                    show(s.spearman),
                    s.samples
                )
            }
            TargetScores::Class(s) => {
                let show = |v: Option<f64>| v.map_or("-".into(), |v| format!("{v:.4}"));
                format!(
                    "test: {name}: accuracy {:.4}, most frequent class {:.4}, AUROC {}, AUPRC {} \
                     ({} systems)\n",
                    s.accuracy,
                    s.majority,
                    show(s.auroc),
                    show(s.auprc),
                    s.samples
                )
            }
        };
        self.0.iter().map(line).collect()
    }
}

fn mae(predicted: &[f64], measured: &[f64]) -> f64 {
    let errors = predicted.iter().zip(measured).map(|(p, m)| (p - m).abs());
    mean(&errors.collect::<Vec<_>>())
}

impl ValueScores {
    fn of(predicted: &[f64], measured: &[f64], unit: &str) -> Self {
        let squares = predicted.iter().zip(measured).map(|(p, m)| (p - m).powi(2));
        let square = mean(&squares.collect::<Vec<_>>());
        let variance = population_deviation(measured).powi(2);
        Self {
            samples: measured.len(),
            unit: unit.into(),
            mae: mae(predicted, measured),
            rmse: square.sqrt(),
            r2: (variance > 0.0).then(|| 1.0 - square / variance),
            pearson: pearson(predicted, measured),
            spearman: pearson(&ranks(predicted), &ranks(measured)),
            baseline_mae: None,
        }
    }
}

impl ClassScores {
    fn of(
        target: &TargetDescription,
        predicted: &[f64],
        probabilities: &[f64],
        measured: &[f64],
    ) -> Self {
        let count = target.classes.len();
        let share = |n: usize| n as f64 / measured.len() as f64;
        let hits = predicted.iter().zip(measured).filter(|(p, m)| p == m);
        let of_class = |value: &f64| measured.iter().filter(|m| *m == value).count();
        let area = |k: usize, of: fn(&[f64], &[bool]) -> Option<f64>| {
            let scores: Vec<f64> = probabilities.chunks_exact(count).map(|r| r[k]).collect();
            let positive: Vec<bool> = measured.iter().map(|m| *m == target.classes[k]).collect();
            of(&scores, &positive)
        };
        // Two classes: that of the larger value against the other.
        let classes = if count == 2 { 1..2 } else { 0..count };
        let over = |of| {
            let areas: Option<Vec<f64>> = classes.clone().map(|k| area(k, of)).collect();
            areas.map(|areas| mean(&areas))
        };
        Self {
            samples: measured.len(),
            accuracy: share(hits.count()),
            majority: share(target.classes.iter().map(of_class).max().unwrap_or(0)),
            auroc: over(auroc),
            auprc: over(auprc),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_by_hand() {
        let scores = ValueScores::of(&[1.0, 3.0, 5.0], &[1.0, 2.0, 3.0], "eV");
        assert_eq!(scores.mae, 1.0);
        assert_eq!(scores.rmse, (5.0f64 / 3.0).sqrt());
        assert!((scores.r2.unwrap() + 1.5).abs() < 1e-12);
        assert_eq!((scores.pearson, scores.spearman), (Some(1.0), Some(1.0)));
        let flat = ValueScores::of(&[1.0, 2.0], &[4.0, 4.0], "eV");
        assert_eq!((flat.r2, flat.pearson), (None, None));
    }

    #[test]
    fn classes_by_hand() {
        let target = TargetDescription {
            name: "active".into(),
            unit: String::new(),
            scale: 1.0,
            classes: vec![0.0, 1.0],
            baseline: Default::default(),
        };
        let probabilities = [0.9, 0.1, 0.6, 0.4, 0.65, 0.35, 0.2, 0.8];
        let measured = [0.0, 1.0, 0.0, 1.0];
        let scores = ClassScores::of(&target, &[0.0, 0.0, 0.0, 1.0], &probabilities, &measured);
        assert_eq!((scores.accuracy, scores.majority), (0.75, 0.5));
        assert_eq!((scores.auroc, scores.auprc), (Some(1.0), Some(1.0)));
    }
}
