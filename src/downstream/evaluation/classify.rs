//! Classifiers by cross-validation.

use super::labels::Classes;
use super::logistic::{Logistic, Samples};
use crate::comm::pulse;
use crate::ops::distances::squared_distances;
use crate::{Result, stats};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Neighbours that vote (scikit-learn's default, as in the paper).
const NEIGHBORS: usize = 5;
/// Ridge penalty of the linear classifier: only there to keep separable classes finite.
const PENALTY: f64 = 1e-3;

/// Accuracy over folds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    pub mean: f64,
    /// Standard deviation over the folds.
    pub deviation: f64,
    pub folds: Vec<f64>,
}

impl Score {
    fn of(folds: Vec<f64>) -> Self {
        Self {
            mean: stats::mean(&folds),
            deviation: stats::sample_deviation(&folds),
            folds,
        }
    }
}

/// Rows dealt to folds, every class evenly: each fold has some of every class that has as many members
/// as there are folds.
pub fn folds(classes: &Classes, folds: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut dealt = vec![Vec::new(); folds];
    let mut next = 0;
    for class in 0..classes.names.len() {
        let rows = classes.of.iter().enumerate();
        let members = rows
            .filter(|(_, c)| **c as usize == class)
            .map(|(row, _)| row);
        let mut members: Vec<usize> = members.collect();
        members.shuffle(&mut rng);
        for row in members {
            dealt[next % folds].push(row);
            next += 1;
        }
    }
    dealt.iter_mut().for_each(|fold| fold.sort_unstable());
    dealt
}

/// The rows of one fold, for training and for its test.
struct Fold {
    /// `[rows, dim]`
    train: Vec<f64>,
    train_classes: Vec<u32>,
    test: Vec<f64>,
    test_classes: Vec<u32>,
}

impl Fold {
    /// `x` `[n, dim]` with one class per row, of which the rows `test` are left out of training.
    fn new(x: &[f64], dim: usize, classes: &Classes, test: &[usize]) -> Self {
        let mut in_test = vec![false; classes.of.len()];
        test.iter().for_each(|&r| in_test[r] = true);
        let train: Vec<usize> = (0..classes.of.len()).filter(|&r| !in_test[r]).collect();
        let values = |rows: &[usize]| {
            let row = |&r: &usize| &x[r * dim..(r + 1) * dim];
            rows.iter().flat_map(row).copied().collect()
        };
        let of = |rows: &[usize]| rows.iter().map(|&r| classes.of[r]).collect();
        Self {
            train: values(&train),
            train_classes: of(&train),
            test: values(test),
            test_classes: of(test),
        }
    }

    fn accuracy(&self, predicted: &[u32]) -> f64 {
        let pairs = predicted.iter().zip(&self.test_classes);
        pairs.filter(|(p, t)| p == t).count() as f64 / predicted.len().max(1) as f64
    }
}

/// Multinomial logistic regression on standardised features.
///
/// # Errors
/// Features that are not finite.
pub fn linear(x: &[f64], dim: usize, classes: &Classes, folds: &[Vec<usize>]) -> Result<Score> {
    cross_validate(x, dim, classes, folds, |mut fold| {
        stats::standardise(&mut fold.train, &mut fold.test, dim);
        let samples = Samples {
            rows: &fold.train,
            width: dim,
            classes: &fold.train_classes,
            count: classes.names.len(),
        };
        let fitted = Logistic::fit(samples, PENALTY)?;
        log::info!(
            "linear classifier: fitted to {} residues in {} steps{}",
            fold.train_classes.len(),
            fitted.steps,
            if fitted.converged() {
                ""
            } else {
                ", the minimum is not reached"
            }
        );
        Ok(fold.accuracy(&fitted.predict(&fold.test)))
    })
}

/// Majority of the five nearest neighbours; of classes with as many votes the first. All distances
/// are computed: in so many dimensions a search tree spares none of them.
///
/// # Errors
/// None.
pub fn nearest(x: &[f64], dim: usize, classes: &Classes, folds: &[Vec<usize>]) -> Result<Score> {
    cross_validate(x, dim, classes, folds, |fold| {
        let rows = fold.test.par_chunks_exact(dim);
        let distances = || vec![0.0; fold.train_classes.len()];
        let predicted = rows.map_init(distances, |distances, row| {
            squared_distances(row, &fold.train, distances);
            let voters = least::<NEIGHBORS>(distances);
            vote(voters.map(|i| fold.train_classes[i]), classes.names.len())
        });
        Ok(fold.accuracy(&predicted.collect::<Vec<u32>>()))
    })
}

/// Places of the `N` least values, of equal ones the first; fewer where there are fewer.
fn least<const N: usize>(values: &[f64]) -> impl Iterator<Item = usize> {
    let mut found = [(f64::INFINITY, usize::MAX); N];
    for (i, &value) in values.iter().enumerate() {
        if value < found[N - 1].0 {
            let place = found.partition_point(|f| f.0 <= value);
            found[place..].rotate_right(1);
            found[place] = (value, i);
        }
    }
    let found = found.into_iter().map(|f| f.1);
    found.filter(|&i| i != usize::MAX)
}

/// The class with the most votes, of equals the first.
fn vote(votes: impl Iterator<Item = u32>, classes: usize) -> u32 {
    let mut counts = vec![0; classes];
    votes.for_each(|class| counts[class as usize] += 1);
    let most = counts.iter().max().copied();
    let first = counts.iter().position(|&n| Some(n) == most);
    first.unwrap_or(0) as u32
}

/// The accuracy that `measure` gives of every fold, folds in parallel.
fn cross_validate(
    x: &[f64],
    dim: usize,
    classes: &Classes,
    folds: &[Vec<usize>],
    measure: impl Fn(Fold) -> Result<f64> + Sync,
) -> Result<Score> {
    let measured = folds.par_iter().map(|test| {
        pulse::tick();
        measure(Fold::new(x, dim, classes, test))
    });
    Ok(Score::of(measured.collect::<Result<Vec<f64>>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three classes on a line, at 0, 1 and 10.
    fn three() -> (Vec<f64>, Classes) {
        let of: Vec<u32> = (0..60).map(|i| i % 3).collect();
        let x = of.iter().enumerate();
        let x = x.map(|(i, &c)| [0.0, 1.0, 10.0][c as usize] + 0.01 * (i as f64 * 0.7).sin());
        let names = ["a", "b", "c"].map(String::from).to_vec();
        (x.collect(), Classes { names, of })
    }

    #[test]
    fn classes_that_are_apart_are_told_apart_and_random_ones_are_not() {
        let (x, mut classes) = three();
        let dealt = folds(&classes, 5, 1);
        assert_eq!(dealt.iter().map(Vec::len).sum::<usize>(), 60);
        assert_eq!(nearest(&x, 1, &classes, &dealt).unwrap().mean, 1.0);
        assert!(linear(&x, 1, &classes, &dealt).unwrap().mean > 0.9);
        // The same labels on shuffled rows tell nothing.
        classes.of.shuffle(&mut ChaCha8Rng::seed_from_u64(3));
        let dealt = folds(&classes, 5, 1);
        assert!(nearest(&x, 1, &classes, &dealt).unwrap().mean < 0.6);
    }

    #[test]
    fn the_nearest_vote_and_of_equals_the_first() {
        let places = |values: &[f64]| least::<3>(values).collect::<Vec<_>>();
        assert_eq!(places(&[4.0, 1.0, 3.0, 1.0, 0.5, 3.0]), [4, 1, 3]);
        assert_eq!(places(&[2.0, 2.0, 2.0, 2.0]), [0, 1, 2]);
        assert_eq!(places(&[7.0, f64::NAN]), [0]);
        assert_eq!(vote([3, 1, 3, 1, 0].into_iter(), 4), 1);
        assert_eq!(vote([2, 2, 0].into_iter(), 4), 2);
    }

    #[test]
    fn every_fold_has_every_class() {
        let of: Vec<u32> = [vec![0; 13], vec![1; 5], vec![2; 7]].concat();
        let names = ["a", "b", "c"].map(String::from).to_vec();
        let classes = Classes { names, of };
        for fold in folds(&classes, 5, 3) {
            let has = |class: u32| fold.iter().any(|&row| classes.of[row] == class);
            assert!([0, 1, 2].into_iter().all(has), "{fold:?}");
        }
    }
}
