//! Classifiers by cross-validation.

use super::labels::Classes;
use crate::{Error, Result};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::linear::logistic_regression::{LogisticRegression, LogisticRegressionParameters};
use smartcore::neighbors::knn_classifier::{KNNClassifier, KNNClassifierParameters};

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
        let n = folds.len() as f64;
        let mean = folds.iter().sum::<f64>() / n;
        let squares: f64 = folds.iter().map(|f| (f - mean).powi(2)).sum();
        Self {
            mean,
            deviation: (squares / (n - 1.0).max(1.0)).sqrt(),
            folds,
        }
    }
}

/// Rows dealt to folds, every class evenly.
///
/// # Errors
/// Fewer than two classes; a class with fewer members than there are folds.
pub fn folds(classes: &Classes, folds: usize, seed: u64) -> Result<Vec<Vec<usize>>> {
    if classes.names.len() < 2 {
        return Err(Error::input(format!(
            "{} class: two or more are needed",
            classes.names.len()
        )));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut dealt = vec![Vec::new(); folds];
    let mut next = 0;
    for (class, name) in classes.names.iter().enumerate() {
        let rows = classes.of.iter().enumerate();
        let members = rows
            .filter(|(_, c)| **c as usize == class)
            .map(|(row, _)| row);
        let mut members: Vec<usize> = members.collect();
        if members.len() < folds {
            return Err(Error::input(format!(
                "class {name} has {} residues, {folds} folds need {folds} or more",
                members.len()
            )));
        }
        members.shuffle(&mut rng);
        for row in members {
            dealt[next % folds].push(row);
            next += 1;
        }
    }
    dealt.iter_mut().for_each(|fold| fold.sort_unstable());
    Ok(dealt)
}

/// Rows of a part of `x`, `[rows, dim]`, features brought to mean 0 and deviation 1 of `train`.
struct Fold {
    train: DenseMatrix<f64>,
    train_classes: Vec<u32>,
    test: DenseMatrix<f64>,
    test_classes: Vec<u32>,
}

impl Fold {
    fn new(x: &[f64], dim: usize, classes: &Classes, test: &[usize], scale: bool) -> Result<Self> {
        let mut in_test = vec![false; classes.of.len()];
        test.iter().for_each(|&r| in_test[r] = true);
        let train: Vec<usize> = (0..classes.of.len()).filter(|&r| !in_test[r]).collect();
        let value = |r: usize, k: usize| x[r * dim + k];
        let n = train.len() as f64;
        let scales: Vec<(f64, f64)> = (0..dim)
            .map(|k| {
                let mean = train.iter().map(|&r| value(r, k)).sum::<f64>() / n;
                let squares: f64 = train.iter().map(|&r| (value(r, k) - mean).powi(2)).sum();
                let deviation = (squares / n).sqrt();
                match (scale, deviation > 0.0) {
                    (false, _) => (0.0, 1.0),
                    (true, true) => (mean, deviation),
                    (true, false) => (mean, 1.0),
                }
            })
            .collect();
        let matrix = |rows: &[usize]| {
            let scaled = |&r: &usize| {
                let row = scales.iter().enumerate();
                row.map(move |(k, (mean, deviation))| (value(r, k) - mean) / deviation)
            };
            let values: Vec<f64> = rows.iter().flat_map(scaled).collect();
            DenseMatrix::new(rows.len(), dim, values, false).map_err(Error::internal)
        };
        let of = |rows: &[usize]| rows.iter().map(|&r| classes.of[r]).collect();
        Ok(Self {
            train: matrix(&train)?,
            train_classes: of(&train),
            test: matrix(test)?,
            test_classes: of(test),
        })
    }

    fn accuracy(&self, predicted: &[u32]) -> f64 {
        let pairs = predicted.iter().zip(&self.test_classes);
        pairs.filter(|(p, t)| p == t).count() as f64 / predicted.len().max(1) as f64
    }
}

/// Multinomial logistic regression on standardised features.
pub fn linear(x: &[f64], dim: usize, classes: &Classes, folds: &[Vec<usize>]) -> Result<Score> {
    cross_validate(x, dim, classes, folds, true, |fold| {
        let settings = LogisticRegressionParameters::default().with_alpha(PENALTY);
        let model = LogisticRegression::fit(&fold.train, &fold.train_classes, settings)?;
        model.predict(&fold.test)
    })
}

/// Majority of the five nearest neighbours.
pub fn nearest(x: &[f64], dim: usize, classes: &Classes, folds: &[Vec<usize>]) -> Result<Score> {
    cross_validate(x, dim, classes, folds, false, |fold| {
        let settings = KNNClassifierParameters::default().with_k(NEIGHBORS);
        let model = KNNClassifier::fit(&fold.train, &fold.train_classes, settings)?;
        model.predict(&fold.test)
    })
}

/// Accuracy of `predict` (classes of the test rows) on every fold, folds in parallel.
fn cross_validate(
    x: &[f64],
    dim: usize,
    classes: &Classes,
    folds: &[Vec<usize>],
    scale: bool,
    predict: impl Fn(&Fold) -> std::result::Result<Vec<u32>, smartcore::error::Failed> + Sync,
) -> Result<Score> {
    let scores: Result<Vec<f64>> = folds
        .par_iter()
        .map(|test| {
            let fold = Fold::new(x, dim, classes, test, scale)?;
            Ok(fold.accuracy(&predict(&fold).map_err(Error::internal)?))
        })
        .collect();
    Ok(Score::of(scores?))
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
        let dealt = folds(&classes, 5, 1).unwrap();
        assert_eq!(dealt.iter().map(Vec::len).sum::<usize>(), 60);
        assert_eq!(nearest(&x, 1, &classes, &dealt).unwrap().mean, 1.0);
        assert!(linear(&x, 1, &classes, &dealt).unwrap().mean > 0.9);
        // The same labels on shuffled rows tell nothing.
        classes.of.shuffle(&mut ChaCha8Rng::seed_from_u64(3));
        let dealt = folds(&classes, 5, 1).unwrap();
        assert!(nearest(&x, 1, &classes, &dealt).unwrap().mean < 0.6);
    }

    #[test]
    fn too_few_classes_or_members_are_refused() {
        let one = Classes {
            names: vec!["a".into()],
            of: vec![0; 10],
        };
        assert!(folds(&one, 5, 0).is_err());
        let rare = Classes {
            names: vec!["a".into(), "b".into()],
            of: [vec![0; 10], vec![1; 3]].concat(),
        };
        let error = folds(&rare, 5, 0).unwrap_err().to_string();
        assert!(error.contains("class b has 3 residues"), "{error}");
    }
}
