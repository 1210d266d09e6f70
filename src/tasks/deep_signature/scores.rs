//! How well classes or numbers are predicted.

use crate::models::deep_signature::{Description, Objective};
use crate::stats::auroc;
use serde::Serialize;
use std::fmt::Write;

/// Recall, precision and F1 of one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassScores {
    /// Name of the class.
    pub class: String,
    pub recall: f64,
    pub precision: f64,
    pub f1: f64,
    pub samples: usize,
}

/// Scores of a test set.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Scores {
    Classes {
        samples: usize,
        accuracy: f64,
        /// Means over classes.
        recall: f64,
        f1: f64,
        /// Area under the ROC curve, one class against the others, mean over classes; absent
        /// when a class does not occur.
        auroc: Option<f64>,
        classes: Vec<ClassScores>,
    },
    Values {
        samples: usize,
        mean_absolute_error: f64,
        root_mean_square_error: f64,
        /// Absent when either side does not vary.
        pearson: Option<f64>,
    },
}

impl Scores {
    /// `targets` and `rows` as the model has them: class numbers and probabilities, or
    /// standardised numbers.
    pub fn new(description: &Description, targets: &[f64], rows: &[&[f64]]) -> Self {
        match description.objective {
            Objective::Regression => {
                let back = |v: f64| v * description.deviation + description.mean;
                let targets: Vec<f64> = targets.iter().map(|&t| back(t)).collect();
                let values: Vec<f64> = rows.iter().map(|r| back(r[0])).collect();
                Self::of_values(&targets, &values)
            }
            Objective::Binary => {
                let rows: Vec<[f64; 2]> = rows.iter().map(|r| [1.0 - r[0], r[0]]).collect();
                let rows: Vec<&[f64]> = rows.iter().map(|r| r.as_slice()).collect();
                Self::of_classes(&description.classes, targets, &rows)
            }
            Objective::Classes(_) => Self::of_classes(&description.classes, targets, rows),
        }
    }

    fn of_classes(names: &[String], targets: &[f64], rows: &[&[f64]]) -> Self {
        let count = names.len();
        let targets: Vec<usize> = targets.iter().map(|&t| t as usize).collect();
        let best = |r: &&[f64]| (0..count).max_by(|&a, &b| r[a].total_cmp(&r[b]));
        let predicted: Vec<usize> = rows.iter().map(|r| best(r).unwrap_or(0)).collect();
        let ratio = |a: usize, b: usize| if b == 0 { 0.0 } else { a as f64 / b as f64 };
        let class = |k: usize| {
            let pairs = || targets.iter().zip(&predicted);
            let hits = pairs().filter(|(t, p)| **t == k && **p == k).count();
            let samples = targets.iter().filter(|t| **t == k).count();
            let claimed = predicted.iter().filter(|p| **p == k).count();
            ClassScores {
                class: names[k].clone(),
                recall: ratio(hits, samples),
                precision: ratio(hits, claimed),
                f1: ratio(2 * hits, samples + claimed),
                samples,
            }
        };
        let classes: Vec<ClassScores> = (0..count).map(class).collect();
        let mean = |f: fn(&ClassScores) -> f64| classes.iter().map(f).sum::<f64>() / count as f64;
        let area = |k: usize| {
            let scores: Vec<f64> = rows.iter().map(|r| r[k]).collect();
            let positive: Vec<bool> = targets.iter().map(|t| *t == k).collect();
            auroc(&scores, &positive)
        };
        let areas: Option<Vec<f64>> = (0..count).map(area).collect();
        let hits = targets.iter().zip(&predicted).filter(|(t, p)| t == p);
        Self::Classes {
            samples: targets.len(),
            accuracy: ratio(hits.count(), targets.len()),
            recall: mean(|c| c.recall),
            f1: mean(|c| c.f1),
            auroc: areas.map(|a| a.iter().sum::<f64>() / count as f64),
            classes,
        }
    }

    fn of_values(targets: &[f64], values: &[f64]) -> Self {
        let n = targets.len() as f64;
        let mean = |f: &dyn Fn(usize) -> f64| (0..targets.len()).map(f).sum::<f64>() / n;
        let (mt, mv) = (mean(&|i| targets[i]), mean(&|i| values[i]));
        let covariance = mean(&|i| (targets[i] - mt) * (values[i] - mv));
        let product = mean(&|i| (targets[i] - mt).powi(2)) * mean(&|i| (values[i] - mv).powi(2));
        Self::Values {
            samples: targets.len(),
            mean_absolute_error: mean(&|i| (targets[i] - values[i]).abs()),
            root_mean_square_error: mean(&|i| (targets[i] - values[i]).powi(2)).sqrt(),
            pearson: (product > 0.0).then(|| covariance / product.sqrt()),
        }
    }

    /// A few lines for the reader.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let area = |v: &Option<f64>| v.map_or("-".into(), |v| format!("{v:.3}"));
        // Writing to a string cannot fail.
        let _ = match self {
            Scores::Classes {
                samples,
                accuracy,
                recall,
                f1,
                auroc,
                classes,
            } => {
                let mut lines = format!(
                    "test: {samples} segments, accuracy {accuracy:.3}, recall {recall:.3}, \
                     F1 {f1:.3}, AUROC {}\n",
                    area(auroc)
                );
                for c in classes {
                    lines += &format!(
                        "  class {}: {} segments, recall {:.3}, precision {:.3}, F1 {:.3}\n",
                        c.class, c.samples, c.recall, c.precision, c.f1
                    );
                }
                out.write_str(&lines)
            }
            Scores::Values {
                samples,
                mean_absolute_error,
                root_mean_square_error,
                pearson,
            } => writeln!(
                out,
                "test: {samples} segments, MAE {mean_absolute_error:.4}, RMSE \
                 {root_mean_square_error:.4}, Pearson {}",
                area(pearson)
            ),
        };
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_three_classes() {
        let rows: [&[f64]; 4] = [
            &[0.8, 0.1, 0.1],
            &[0.1, 0.2, 0.7],
            &[0.3, 0.4, 0.3],
            &[0.1, 0.1, 0.8],
        ];
        let scores = Scores::of_classes(
            &["a", "b", "c"].map(String::from),
            &[0.0, 1.0, 1.0, 2.0],
            &rows,
        );
        let Scores::Classes {
            accuracy,
            recall,
            f1,
            classes,
            ..
        } = scores
        else {
            panic!("classes")
        };
        assert_eq!(accuracy, 0.75);
        assert_eq!(recall, (1.0 + 0.5 + 1.0) / 3.0);
        assert_eq!((classes[2].precision, classes[2].f1), (0.5, 2.0 / 3.0));
        assert!((f1 - (1.0 + 2.0 / 3.0 + 2.0 / 3.0) / 3.0).abs() < 1e-15);
    }

    #[test]
    fn scores_of_numbers() {
        let scores = Scores::of_values(&[1.0, 2.0, 3.0], &[1.0, 3.0, 5.0]);
        let expected = Scores::Values {
            samples: 3,
            mean_absolute_error: 1.0,
            root_mean_square_error: (5.0f64 / 3.0).sqrt(),
            pearson: Some(1.0),
        };
        assert_eq!(scores, expected);
    }
}
