//! Classifiers that are fitted on one part of the samples and tried on another, and how probable they
//! hold each class.

use crate::downstream::evaluation::logistic::{Logistic, Samples};
use crate::{Result, stats};
use rayon::prelude::*;

/// Neighbours that vote (scikit-learn's default, as in the paper).
const NEIGHBORS: usize = 5;
/// Ridge penalty of the linear classifier: only there to keep separable classes finite.
const PENALTY: f64 = 1e-3;

/// Invariants of samples whose classes are known.
pub struct Known {
    /// `[n, width]`
    pub rows: Vec<f64>,
    /// Numbers of the classes, `[n]`.
    pub classes: Vec<u32>,
}

/// Probabilities of each class for each row, `[n, classes]`.
pub type Probabilities = Vec<Vec<f64>>;

/// One linear layer, its cross-entropy minimised; features are standardised on `known`.
///
/// # Errors
/// Features that are not finite.
pub fn linear(known: &Known, rows: &[f64], width: usize, classes: usize) -> Result<Probabilities> {
    let (mut train, mut test) = (known.rows.clone(), rows.to_vec());
    for feature in 0..width {
        let column: Vec<f64> = train.iter().skip(feature).step_by(width).copied().collect();
        let mean = stats::mean(&column);
        let scale = match stats::population_deviation(&column) {
            deviation if deviation > 0.0 => deviation,
            _ => 1.0,
        };
        for part in [&mut train, &mut test] {
            let column = part.iter_mut().skip(feature).step_by(width);
            column.for_each(|value| *value = (*value - mean) / scale);
        }
    }
    let samples = Samples {
        rows: &train,
        width,
        classes: &known.classes,
        count: classes,
    };
    let fitted = Logistic::fit(samples, PENALTY)?;
    if !fitted.converged() {
        log::warn!(
            "linear classifier: {} steps did not reach the minimum",
            fitted.steps
        );
    }
    Ok(fitted.probabilities(&test))
}

/// Shares of the votes of the five nearest neighbours; of two at the same distance the first one.
pub fn nearest(known: &Known, rows: &[f64], width: usize, classes: usize) -> Probabilities {
    let votes = |row: &[f64]| {
        // Ascending; the last one is the next to be thrown out.
        let mut best = [(f64::INFINITY, 0u32); NEIGHBORS];
        for (other, &class) in known.rows.chunks_exact(width).zip(&known.classes) {
            let distance: f64 = row.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum();
            if distance < best[NEIGHBORS - 1].0 {
                let place = best.partition_point(|&(d, _)| d <= distance);
                best[place..].rotate_right(1);
                best[place] = (distance, class);
            }
        }
        let mut shares = vec![0.0; classes];
        let found = best.iter().filter(|(d, _)| d.is_finite());
        found.for_each(|&(_, class)| shares[class as usize] += 1.0 / NEIGHBORS as f64);
        shares
    };
    rows.par_chunks_exact(width).map(votes).collect()
}

/// The most probable class of each row; of equals the first.
pub fn predicted(probabilities: &Probabilities) -> Vec<u32> {
    let best = |p: &Vec<f64>| {
        let order = (0..p.len()).rev();
        order.max_by(|&a, &b| p[a].total_cmp(&p[b])).unwrap_or(0) as u32
    };
    probabilities.iter().map(best).collect()
}

/// Share of rows whose class is predicted.
pub fn accuracy(probabilities: &Probabilities, classes: &[u32]) -> f64 {
    let predicted = predicted(probabilities);
    let right = predicted
        .iter()
        .zip(classes)
        .filter(|(p, c)| p == c)
        .count();
    right as f64 / classes.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_on_a_line_are_told_apart() {
        let classes: Vec<u32> = (0..60).map(|i| i % 3).collect();
        let place = |(i, &c): (usize, &u32)| 4.0 * f64::from(c) + (i as f64 * 0.7).sin();
        let rows: Vec<f64> = classes.iter().enumerate().map(place).collect();
        let known = Known { rows, classes };
        let at = [0.2, 3.9, 8.3, 1.9];
        let near = nearest(&known, &at, 1, 3);
        assert_eq!(predicted(&near)[..3], [0, 1, 2]);
        near.iter()
            .for_each(|p| assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12));
        let line = linear(&known, &at, 1, 3).unwrap();
        assert_eq!(accuracy(&line, &[0, 1, 2, 0]), 1.0);
        line.iter()
            .for_each(|p| assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12));
        // Half-way both are nearly as probable.
        assert!((line[3][0] - line[3][1]).abs() < 0.3 && line[3][2] < 0.1);
    }
}
