//! How good predictions are: RMSD, Pearson's r, Spearman's ρ and Kendall's τ-b, with bootstrap
//! confidence intervals.

use crate::stats::{pearson, ranks};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Resamples of the test complexes behind a confidence interval.
pub const RESAMPLES: usize = 1000;

/// Scores of some predictions; a correlation with constant predictions is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Scores {
    /// Root-mean-square deviation, in the units of the labels.
    pub rmsd: f64,
    pub pearson: Option<f64>,
    pub spearman: Option<f64>,
    pub kendall: Option<f64>,
}

/// The central 95 % of a bootstrap distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// Confidence intervals of [`Scores`].
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Intervals {
    pub rmsd: Option<Interval>,
    pub pearson: Option<Interval>,
    pub spearman: Option<Interval>,
    pub kendall: Option<Interval>,
}

impl Scores {
    /// # Panics
    /// If there are not as many predictions as labels.
    pub fn of(predicted: &[f64], measured: &[f64]) -> Self {
        assert_eq!(predicted.len(), measured.len());
        Self {
            rmsd: rmsd(predicted, measured),
            pearson: pearson(predicted, measured),
            spearman: pearson(&ranks(predicted), &ranks(measured)),
            kendall: kendall(predicted, measured),
        }
    }
}

pub fn rmsd(predicted: &[f64], measured: &[f64]) -> f64 {
    let squares = predicted.iter().zip(measured).map(|(p, m)| (p - m).powi(2));
    (squares.sum::<f64>() / predicted.len() as f64).sqrt()
}

/// Kendall's τ-b in O(n log n) (Knight, 1966); `None` if either side is constant.
pub fn kendall(a: &[f64], b: &[f64]) -> Option<f64> {
    let pairs = |n: usize| (n * n.saturating_sub(1) / 2) as f64;
    let mut order: Vec<usize> = (0..a.len()).collect();
    order.sort_by(|&i, &j| a[i].total_cmp(&a[j]).then(b[i].total_cmp(&b[j])));
    let tied = |same: &dyn Fn(usize, usize) -> bool, order: &[usize]| -> f64 {
        let groups = order.chunk_by(|&i, &j| same(i, j));
        groups.map(|g| pairs(g.len())).sum()
    };
    let all = pairs(a.len());
    let in_a = tied(&|i, j| a[i] == a[j], &order);
    let in_both = tied(&|i, j| a[i] == a[j] && b[i] == b[j], &order);
    let mut sorted: Vec<f64> = order.iter().map(|&i| b[i]).collect();
    let discordant = inversions(&mut sorted) as f64;
    let in_b: f64 = sorted.chunk_by(|x, y| x == y).map(|g| pairs(g.len())).sum();
    let spread = (all - in_a) * (all - in_b);
    (spread > 0.0).then(|| (all - in_a - in_b + in_both - 2.0 * discordant) / spread.sqrt())
}

/// Sorts by merging and counts the pairs that were out of order.
fn inversions(values: &mut [f64]) -> usize {
    let n = values.len();
    if n < 2 {
        return 0;
    }
    let (left, right) = values.split_at_mut(n / 2);
    let mut count = inversions(left) + inversions(right);
    let mut merged = Vec::with_capacity(n);
    let (mut i, mut j) = (0, 0);
    while i < left.len() && j < right.len() {
        if right[j] < left[i] {
            count += left.len() - i;
            merged.push(right[j]);
            j += 1;
        } else {
            merged.push(left[i]);
            i += 1;
        }
    }
    merged.extend_from_slice(&left[i..]);
    merged.extend_from_slice(&right[j..]);
    values.copy_from_slice(&merged);
    count
}

/// Bootstrap intervals of the scores; drawn from `seed`. What is drawn is groups of complexes
/// (`groups` numbers the group of each): complexes of one protein are no independent tests. `None`
/// where there is one group.
pub fn intervals(predicted: &[f64], measured: &[f64], groups: &[usize], seed: u64) -> Intervals {
    let draws = resampled(groups, seed, |rows| {
        let pick = |values: &[f64]| -> Vec<f64> { rows.iter().map(|&i| values[i]).collect() };
        let s = Scores::of(&pick(predicted), &pick(measured));
        [Some(s.rmsd), s.pearson, s.spearman, s.kendall]
    });
    let central = |k: usize| central(draws.iter().filter_map(|d| d[k]).collect());
    Intervals {
        rmsd: central(0),
        pearson: central(1),
        spearman: central(2),
        kendall: central(3),
    }
}

/// Interval of the RMSD of `other` minus that of `predicted`, both on the same resamples of the
/// groups: above zero, `predicted` is better.
pub fn advantage(
    predicted: &[f64],
    other: &[f64],
    measured: &[f64],
    groups: &[usize],
    seed: u64,
) -> Option<Interval> {
    let draws = resampled(groups, seed, |rows| {
        let pick = |values: &[f64]| -> Vec<f64> { rows.iter().map(|&i| values[i]).collect() };
        let measured = pick(measured);
        rmsd(&pick(other), &measured) - rmsd(&pick(predicted), &measured)
    });
    central(draws)
}

/// Scores of as many groups as there are, drawn with replacement.
fn resampled<T>(groups: &[usize], seed: u64, score: impl Fn(&[usize]) -> T) -> Vec<T> {
    let n = groups.iter().max().map_or(0, |last| last + 1);
    if n < 2 {
        return Vec::new();
    }
    let mut members = vec![Vec::new(); n];
    for (place, &group) in groups.iter().enumerate() {
        members[group].push(place);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..RESAMPLES)
        .map(|_| {
            let drawn = (0..n).map(|_| rng.random_range(0..n));
            let rows: Vec<usize> = drawn.flat_map(|g| members[g].iter().copied()).collect();
            score(&rows)
        })
        .collect()
}

fn central(mut values: Vec<f64>) -> Option<Interval> {
    values.sort_by(f64::total_cmp);
    let at = |q: f64| {
        values
            .get((q * (values.len() as f64 - 1.0)).round() as usize)
            .copied()
    };
    Some(Interval {
        low: at(0.025)?,
        high: at(0.975)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Forty groups of five complexes that share their error: drawing complexes would see two
    /// hundred tests where there are forty.
    #[test]
    fn complexes_of_a_group_are_drawn_together() {
        let measured: Vec<f64> = (0..200).map(|i| f64::from(i % 20)).collect();
        let error = |i: usize| if i / 5 % 10 < 3 { 2.0 } else { 0.5 };
        let predicted: Vec<f64> = (0..200).map(|i| measured[i] + error(i)).collect();
        let groups: Vec<usize> = (0..200).map(|i| i / 5).collect();
        let alone: Vec<usize> = (0..200).collect();
        let width = |groups: &[usize]| {
            let i = intervals(&predicted, &measured, groups, 1).rmsd.unwrap();
            i.high - i.low
        };
        // Squares of errors are 4 in a share p of the draws, 0.25 in the others. Forty draws with
        // p = 0.3 have a standard deviation of p of 0.0725, two hundred of 0.032.
        let spread = |deviation: f64| {
            let at = |p: f64| (0.25 + 3.75 * p).sqrt();
            at(0.3 + 1.96 * deviation) - at(0.3 - 1.96 * deviation)
        };
        assert!((width(&groups) / spread(0.0725) - 1.0).abs() < 0.15);
        assert!((width(&alone) / spread(0.0324) - 1.0).abs() < 0.15);
        assert_eq!(intervals(&predicted, &measured, &[0; 200], 1).rmsd, None);
        let better = advantage(&predicted, &vec![9.0; 200], &measured, &groups, 1).unwrap();
        assert!(better.low > 0.0);
    }
}
