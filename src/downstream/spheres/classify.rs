//! Classifiers that are fitted on one part of the samples and tried on another, and how probable they
//! hold each class.

use crate::downstream::evaluation::logistic::{Logistic, Samples};
use crate::{Result, stats};
use rayon::prelude::*;

/// Neighbours that vote (scikit-learn's default, as in the paper).
const NEIGHBORS: usize = 5;
/// Ridge penalties of the linear classifier. The least is only there to keep separable classes finite;
/// the others are those of the published code.
const PENALTIES: [f64; 6] = [1e-3, 0.1, 0.2, 1.0, 2.0, 10.0];

/// Invariants of samples whose classes are known.
pub struct Known {
    /// `[n, width]`
    pub rows: Vec<f64>,
    /// Numbers of the classes, `[n]`.
    pub classes: Vec<u32>,
    /// How many are for training: the first ones. The others choose what is to be chosen.
    pub train: usize,
}

/// Probabilities of each class for each row, `[n, classes]`.
pub type Probabilities = Vec<Vec<f64>>;

/// One linear layer, its cross-entropy minimised, with a ridge penalty that [`penalty`] chooses;
/// features are standardised on `known`.
///
/// # Errors
/// Features that are not finite.
pub fn linear(known: &Known, rows: &[f64], width: usize, classes: usize) -> Result<Probabilities> {
    let (mut train, mut test) = (known.rows.clone(), rows.to_vec());
    stats::standardise(&mut train, &mut test, width);
    let samples = Samples {
        rows: &train,
        width,
        classes: &known.classes,
        count: classes,
    };
    let fitted = Logistic::fit(samples, penalty(samples, known.train)?)?;
    if !fitted.converged() {
        log::warn!(
            "linear classifier: {} steps did not reach the minimum",
            fitted.steps
        );
    }
    Ok(fitted.probabilities(&test))
}

/// The penalty with which the classes of the samples after the first `train` are most probable, fitted
/// to the first. Where samples abound they need none, and it is the least.
///
/// # Errors
/// Features that are not finite.
fn penalty(samples: Samples, train: usize) -> Result<f64> {
    const ABOUND: usize = 10_000;
    let n = samples.classes.len();
    if n > ABOUND || train == 0 || train == n {
        return Ok(PENALTIES[0]);
    }
    let (rows, held_out) = samples.rows.split_at(train * samples.width);
    let (classes, truth) = samples.classes.split_at(train);
    let first = Samples {
        rows,
        classes,
        ..samples
    };
    let loss = |&penalty: &f64| -> Result<f64> {
        let probable = Logistic::fit(first, penalty)?.probabilities(held_out);
        let of_truth = probable.iter().zip(truth);
        let of_truth = of_truth.map(|(p, &class)| p[class as usize].max(f64::MIN_POSITIVE));
        Ok(-of_truth.map(f64::ln).sum::<f64>())
    };
    let losses: Vec<f64> = PENALTIES.par_iter().map(loss).collect::<Result<_>>()?;
    let best = losses.into_iter().zip(PENALTIES);
    let best = best.min_by(|a, b| a.0.total_cmp(&b.0));
    Ok(best.map_or(PENALTIES[0], |(_, penalty)| penalty))
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
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn classes_on_a_line_are_told_apart() {
        let classes: Vec<u32> = (0..60).map(|i| i % 3).collect();
        let place = |(i, &c): (usize, &u32)| 4.0 * f64::from(c) + (i as f64 * 0.7).sin();
        let rows: Vec<f64> = classes.iter().enumerate().map(place).collect();
        let train = classes.len();
        let known = Known {
            rows,
            classes,
            train,
        };
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

    /// Two classes at 0 and 1 in one feature, and so many features of noise that classes can be
    /// separated in any case; without the noise nothing needs to be held back.
    #[test]
    fn noise_needs_a_larger_penalty() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let classes: Vec<u32> = (0..60).map(|_| rng.random_range(0..2)).collect();
        let mut chosen = |width: usize, spread: f64| {
            let value = |i: usize| {
                let noise = rng.random_range(-1.0..1.0);
                match i % width {
                    0 => f64::from(classes[i / width]) + spread * noise,
                    _ => noise,
                }
            };
            let rows: Vec<f64> = (0..60 * width).map(value).collect();
            let samples = Samples {
                rows: &rows,
                width,
                classes: &classes,
                count: 2,
            };
            penalty(samples, 40).unwrap()
        };
        assert_eq!(chosen(1, 0.1), PENALTIES[0]);
        assert!(chosen(40, 2.0) >= 1.0);
    }
}
