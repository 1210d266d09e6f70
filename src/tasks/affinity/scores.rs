//! How well affinities are predicted, beside what needs no model.

use crate::print::count;
use crate::stats::{mean, pearson, ranks};
use crate::{Error, Result};
use serde::Serialize;
use std::fmt::Write;

/// First line of a table of predictions.
pub const HEADER: &str = "id,group,split,measured,predicted";

/// Scores of predictions, pK.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scores {
    pub samples: usize,
    pub rmsd: f64,
    /// Absent where predictions or labels are all the same.
    pub pearson: Option<f64>,
    pub spearman: Option<f64>,
}

impl Scores {
    pub fn of(predicted: &[f64], measured: &[f64]) -> Self {
        let squares = predicted.iter().zip(measured).map(|(p, m)| (p - m).powi(2));
        Self {
            samples: measured.len(),
            rmsd: mean(&squares.collect::<Vec<_>>()).sqrt(),
            pearson: pearson(predicted, measured),
            spearman: pearson(&ranks(predicted), &ranks(measured)),
        }
    }

    /// In one line.
    pub fn words(&self) -> String {
        let r = |r: Option<f64>| r.map_or("-".into(), |r| format!("{r:.2}"));
        format!(
            "RMSD {:.2}, Pearson r {}, Spearman {} ({})",
            self.rmsd,
            r(self.pearson),
            r(self.spearman),
            count(self.samples, "complex")
        )
    }
}

/// Scores of a test, with baselines that are fitted to the training complexes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tested {
    #[serde(flatten)]
    pub model: Scores,
    /// The mean of the training complexes.
    pub mean_predictor: Scores,
    /// A line through the number of the ligand's heavy atoms.
    pub ligand_size: Scores,
}

impl Tested {
    /// A line of text each.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let rows = [
            ("test", &self.model),
            ("ligand size", &self.ligand_size),
            ("mean predictor", &self.mean_predictor),
        ];
        for (name, scores) in rows {
            let _ = writeln!(text, "{name:<15} {}", scores.words());
        }
        text
    }
}

/// Intercept and slope of the line through points; level where all `x` are the same.
pub fn line(x: &[f64], y: &[f64]) -> (f64, f64) {
    let (mx, my) = (mean(x), mean(y));
    let variance: f64 = x.iter().map(|x| (x - mx).powi(2)).sum();
    let covariance: f64 = x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum();
    let slope = match variance > 0.0 {
        true => covariance / variance,
        false => 0.0,
    };
    (my - slope * mx, slope)
}

/// A complex and what is said of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row<'a> {
    pub id: &'a str,
    /// Empty where it is in none.
    pub group: &'a str,
    pub split: String,
    pub measured: Option<f64>,
    pub predicted: f64,
}

/// Predictions as a table ([`HEADER`]).
///
/// # Errors
/// None that input can cause.
pub fn csv<'a>(rows: impl IntoIterator<Item = Row<'a>>) -> Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(HEADER.split(','))
        .map_err(Error::internal)?;
    for row in rows {
        let measured = row.measured.map_or(String::new(), |m| m.to_string());
        let predicted = format!("{:.4}", row.predicted);
        let cells = [row.id, row.group, &row.split, &measured, &predicted];
        csv.write_record(cells).map_err(Error::internal)?;
    }
    csv.into_inner().map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_scores_are_those_of_their_definitions() {
        let (a, b) = line(&[1.0, 2.0, 4.0], &[3.0, 5.0, 9.0]);
        assert!((a - 1.0).abs() < 1e-12 && (b - 2.0).abs() < 1e-12);
        assert_eq!(line(&[2.0, 2.0], &[1.0, 3.0]), (2.0, 0.0));
        let scores = Scores::of(&[1.0, 2.0, 4.0], &[1.0, 3.0, 9.0]);
        assert!((scores.rmsd - (26f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(scores.spearman, Some(1.0));
    }
}
