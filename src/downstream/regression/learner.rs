//! Regressors, fitted.
//!
//! Forests and neighbours are smartcore's.

use super::boosting::{Boosted, Boosting, SUBSAMPLE};
use super::grid::Hyper;
use super::kernel::Kernel;
use super::spectrum::{Matrix, Spectrum, times};
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use smartcore::ensemble::random_forest_regressor::{
    RandomForestRegressor, RandomForestRegressorParameters,
};
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::metrics::distance::euclidian::Euclidian;
use smartcore::neighbors::KNNWeightFunction;
use smartcore::neighbors::knn_regressor::{KNNRegressor, KNNRegressorParameters};

/// Trees that are grown, and saved, together.
const GROVE: usize = 4;

type Forest = RandomForestRegressor<f64, f64, Matrix, Vec<f64>>;
type Neighbours = KNNRegressor<f64, f64, Matrix, Vec<f64>, Euclidian<f64>>;

/// Features and labels, borrowed.
#[derive(Clone, Copy)]
pub struct Samples<'a> {
    /// Row-major `[n, width]`.
    pub rows: &'a [f64],
    pub width: usize,
    pub labels: &'a [f64],
}

/// Brings features to zero mean and unit variance and leaves out those that are constant; takes
/// the mean off the labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Scaler {
    width: usize,
    /// Columns that vary.
    columns: Vec<usize>,
    mean: Vec<f64>,
    deviation: Vec<f64>,
    label: f64,
}

impl Scaler {
    fn new(samples: Samples) -> Self {
        let n = samples.labels.len() as f64;
        let mut scaler = Self {
            width: samples.width,
            columns: Vec::new(),
            mean: Vec::new(),
            deviation: Vec::new(),
            label: samples.labels.iter().sum::<f64>() / n,
        };
        for column in 0..samples.width {
            let values = || samples.rows.iter().skip(column).step_by(samples.width);
            let mean = values().sum::<f64>() / n;
            let deviation = (values().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
            if deviation > 1e-9 * (1e-3 + mean.abs()) {
                scaler.columns.push(column);
                scaler.mean.push(mean);
                scaler.deviation.push(deviation);
            }
        }
        scaler
    }

    fn scaled(&self, rows: &[f64]) -> Vec<f64> {
        let n = rows.len() / self.width;
        let mut values = Vec::with_capacity(n * self.columns.len());
        for row in rows.chunks_exact(self.width) {
            for (i, &column) in self.columns.iter().enumerate() {
                values.push((row[column] - self.mean[i]) / self.deviation[i]);
            }
        }
        values
    }

    fn matrix(&self, rows: &[f64]) -> Result<Matrix> {
        let (n, width) = (rows.len() / self.width, self.columns.len());
        DenseMatrix::new(n, width, self.scaled(rows), false).map_err(Error::internal)
    }

    fn labels(&self, labels: &[f64]) -> Vec<f64> {
        labels.iter().map(|y| y - self.label).collect()
    }
}

/// Columns of `samples` that do not vary.
pub fn constant_columns(samples: Samples) -> usize {
    samples.width - Scaler::new(samples).columns.len()
}

#[derive(Serialize, Deserialize)]
enum Model {
    Linear(Vec<f64>),
    Kernel(Kernel),
    Forest(Vec<Forest>),
    Boosted(Boosted),
    Neighbours(Box<Neighbours>),
    Mean,
}

/// A regressor, fitted.
#[derive(Serialize, Deserialize)]
pub struct Fitted {
    scaler: Scaler,
    model: Model,
}

impl Fitted {
    /// Fits one point of a grid. Where no feature varies, the mean is predicted.
    ///
    /// # Errors
    /// A failure of the learner.
    pub fn new(hyper: Hyper, samples: Samples, seed: u64) -> Result<Self> {
        let scaler = Scaler::new(samples);
        if scaler.columns.is_empty() {
            return Ok(Self {
                scaler,
                model: Model::Mean,
            });
        }
        let (x, y) = (scaler.matrix(samples.rows)?, scaler.labels(samples.labels));
        let width = scaler.columns.len();
        let model = match hyper {
            Hyper::Ridge { penalty } => Model::Linear(Spectrum::new(&x, &y)?.solve(penalty)),
            Hyper::Linear => Model::Linear(Spectrum::new(&x, &y)?.solve(0.0)),
            Hyper::Kernel { length, penalty } => {
                let rows = scaler.scaled(samples.rows);
                let fitted = Kernel::fit(&rows, &y, length, &[penalty], seed)?;
                let fitted = fitted.into_iter().next();
                Model::Kernel(fitted.ok_or_else(|| Error::internal("no fit of one penalty"))?)
            }
            Hyper::Forest {
                features,
                min_leaf,
                trees,
            } => {
                let groves: Result<Vec<Forest>> = (0..trees.div_ceil(GROVE))
                    .into_par_iter()
                    .map(|grove| {
                        let parameters = RandomForestRegressorParameters::default()
                            .with_n_trees(GROVE)
                            .with_m(features.of(width))
                            .with_min_samples_leaf(min_leaf)
                            .with_seed(super::seed(&[seed, grove as u64]));
                        Forest::fit(&x, &y, parameters).map_err(Error::internal)
                    })
                    .collect();
                Model::Forest(groves?)
            }
            Hyper::Boosting { depth, trees } => {
                let rows = scaler.scaled(samples.rows);
                let settings = Boosting {
                    trees,
                    depth,
                    subsample: SUBSAMPLE,
                    seed,
                };
                Model::Boosted(Boosted::fit(&rows, &y, settings))
            }
            Hyper::Knn { k, by_distance } => {
                let weight = match by_distance {
                    true => KNNWeightFunction::Distance,
                    false => KNNWeightFunction::Uniform,
                };
                let parameters = KNNRegressorParameters::default()
                    .with_k(k.min(y.len()))
                    .with_weight(weight);
                let fitted = Neighbours::fit(&x, &y, parameters).map_err(Error::internal)?;
                Model::Neighbours(Box::new(fitted))
            }
            Hyper::Mean => Model::Mean,
            Hyper::Committee | Hyper::Average => {
                return Err(Error::internal("a mean of fits is not fitted itself"));
            }
        };
        Ok(Self { scaler, model })
    }

    /// Number of features that it needs.
    pub fn width(&self) -> usize {
        self.scaler.width
    }

    /// Predicts for rows `[n, width]`.
    ///
    /// # Errors
    /// A failure of the learner.
    pub fn predict(&self, rows: &[f64], n: usize) -> Result<Vec<f64>> {
        let mut predicted = match &self.model {
            Model::Mean => vec![0.0; n],
            Model::Linear(weights) => {
                let x = self.scaler.matrix(rows)?;
                times(&x, n, weights)
            }
            Model::Kernel(m) => m.predict(&self.scaler.scaled(rows)),
            Model::Forest(groves) => mean_of(&self.grove_predictions(groves, rows)?),
            Model::Boosted(m) => m.predict_all(&self.scaler.scaled(rows)),
            Model::Neighbours(m) => m
                .predict(&self.scaler.matrix(rows)?)
                .map_err(Error::internal)?,
        };
        predicted.iter_mut().for_each(|p| *p += self.scaler.label);
        Ok(predicted)
    }

    fn grove_predictions(&self, groves: &[Forest], rows: &[f64]) -> Result<Vec<Vec<f64>>> {
        let x = self.scaler.matrix(rows)?;
        let all = groves.par_iter();
        all.map(|g| g.predict(&x).map_err(Error::internal))
            .collect()
    }
}

/// Predictions for `rows` of every point of a group of a grid, from as few fits as it takes.
///
/// # Errors
/// A failure of the learner.
pub fn predict_group(
    group: &[Hyper],
    samples: Samples,
    rows: &[f64],
    n: usize,
    seed: u64,
) -> Result<Vec<Vec<f64>>> {
    match group {
        [Hyper::Forest { .. }, .., last @ Hyper::Forest { .. }] => {
            // A forest holds all smaller ones.
            let forest = Fitted::new(*last, samples, seed)?;
            let Model::Forest(groves) = &forest.model else {
                return group.iter().map(|_| forest.predict(rows, n)).collect();
            };
            let all = forest.grove_predictions(groves, rows)?;
            let first = |hyper: &Hyper| match hyper {
                Hyper::Forest { trees, .. } => {
                    let mut predicted = mean_of(&all[..trees.div_ceil(GROVE)]);
                    predicted.iter_mut().for_each(|p| *p += forest.scaler.label);
                    predicted
                }
                _ => Vec::new(),
            };
            Ok(group.iter().map(first).collect())
        }
        [Hyper::Boosting { .. }, .., last @ Hyper::Boosting { .. }] => {
            // The first trees are a fit of their own.
            let fitted = Fitted::new(*last, samples, seed)?;
            let Model::Boosted(boosted) = &fitted.model else {
                return group.iter().map(|_| fitted.predict(rows, n)).collect();
            };
            let rows = fitted.scaler.scaled(rows);
            let first = |hyper: &Hyper| match hyper {
                Hyper::Boosting { trees, .. } => {
                    let mut predicted = boosted.predict(&rows, *trees);
                    predicted.iter_mut().for_each(|p| *p += fitted.scaler.label);
                    predicted
                }
                _ => Vec::new(),
            };
            Ok(group.iter().map(first).collect())
        }
        [Hyper::Ridge { .. }, ..] => {
            let scaler = Scaler::new(samples);
            if scaler.columns.is_empty() {
                return Ok(vec![vec![scaler.label; n]; group.len()]);
            }
            let y = scaler.labels(samples.labels);
            let spectrum = Spectrum::new(&scaler.matrix(samples.rows)?, &y)?;
            let x = scaler.matrix(rows)?;
            let solve = |hyper: &Hyper| match hyper {
                Hyper::Ridge { penalty } => {
                    let mut predicted = times(&x, n, &spectrum.solve(*penalty));
                    predicted.iter_mut().for_each(|p| *p += scaler.label);
                    predicted
                }
                _ => Vec::new(),
            };
            Ok(group.iter().map(solve).collect())
        }
        [Hyper::Kernel { length, .. }, ..] => {
            let scaler = Scaler::new(samples);
            if scaler.columns.is_empty() {
                return Ok(vec![vec![scaler.label; n]; group.len()]);
            }
            let penalty = |hyper: &Hyper| match hyper {
                Hyper::Kernel { penalty, .. } => Some(*penalty),
                _ => None,
            };
            let penalties: Vec<f64> = group.iter().filter_map(penalty).collect();
            let (x, y) = (scaler.scaled(samples.rows), scaler.labels(samples.labels));
            let fits = Kernel::fit(&x, &y, *length, &penalties, seed)?;
            let x = scaler.scaled(rows);
            let predict = |fit: &Kernel| fit.predict(&x).iter().map(|p| p + scaler.label).collect();
            Ok(fits.iter().map(predict).collect())
        }
        others => others
            .iter()
            .map(|&hyper| Fitted::new(hyper, samples, seed)?.predict(rows, n))
            .collect(),
    }
}

pub(super) fn mean_of(all: &[Vec<f64>]) -> Vec<f64> {
    let mut mean = vec![0.0; all.first().map_or(0, Vec::len)];
    for predicted in all {
        mean.iter_mut().zip(predicted).for_each(|(m, p)| *m += p);
    }
    mean.iter_mut().for_each(|m| *m /= all.len() as f64);
    mean
}
