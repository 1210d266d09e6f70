//! Kinds of regressors and the grids over which they are tuned.

use serde::{Deserialize, Serialize};

/// A kind of regressor.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Learner {
    /// Least squares with a penalty on the size of the coefficients.
    Ridge,
    /// Least squares: what the paper's one-layer network converges to.
    Linear,
    /// Random forest, on the paper's grid.
    Forest,
    /// Gradient boosting.
    Boosting,
    /// k nearest neighbours.
    Knn,
    /// The mean of the training labels.
    #[value(skip)]
    Mean,
    /// The mean of what the learned embedding and a baseline predict, each with its best regressor.
    #[value(skip)]
    Average,
}

impl Learner {
    /// Those that use features.
    pub const ALL: [Learner; 5] = [
        Learner::Ridge,
        Learner::Linear,
        Learner::Forest,
        Learner::Boosting,
        Learner::Knn,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Learner::Ridge => "ridge",
            Learner::Linear => "linear",
            Learner::Forest => "forest",
            Learner::Boosting => "boosting",
            Learner::Knn => "knn",
            Learner::Mean => "mean",
            Learner::Average => "average",
        }
    }

    /// The grid of hyper-parameters, in groups that share one fit.
    pub fn grid(self) -> Vec<Vec<Hyper>> {
        match self {
            Learner::Ridge => {
                let penalty = |k: i32| Hyper::Ridge {
                    penalty: 10f64.powf(f64::from(k) / 2.0),
                };
                vec![(-4..=12).map(penalty).collect()]
            }
            Learner::Linear => vec![vec![Hyper::Linear]],
            Learner::Forest => {
                let mut groups = Vec::new();
                for features in [Share::All, Share::Third, Share::Root] {
                    for min_leaf in [2, 5, 10, 15] {
                        let forest = |trees| Hyper::Forest {
                            features,
                            min_leaf,
                            trees,
                        };
                        groups.push([32, 64, 100, 200].map(forest).to_vec());
                    }
                }
                groups
            }
            Learner::Boosting => {
                let group = |depth| [50, 100, 200].map(|trees| Hyper::Boosting { depth, trees });
                [2, 3].map(|depth| group(depth).to_vec()).to_vec()
            }
            Learner::Knn => {
                let mut group = Vec::new();
                for k in [1, 2, 5, 10, 20, 40] {
                    for by_distance in [false, true] {
                        group.push(vec![Hyper::Knn { k, by_distance }]);
                    }
                }
                group
            }
            Learner::Mean => vec![vec![Hyper::Mean]],
            Learner::Average => vec![vec![Hyper::Average]],
        }
    }
}

/// How many features a split of a tree may choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Share {
    All,
    Third,
    Root,
}

impl Share {
    /// Of so many features, at least one.
    pub fn of(self, features: usize) -> usize {
        let count = match self {
            Share::All => features,
            Share::Third => (0.333 * features as f64) as usize,
            Share::Root => (features as f64).sqrt() as usize,
        };
        count.max(1)
    }
}

/// One point of a grid.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hyper {
    Ridge {
        penalty: f64,
    },
    Linear,
    Forest {
        features: Share,
        min_leaf: usize,
        trees: usize,
    },
    Boosting {
        depth: u16,
        trees: usize,
    },
    Knn {
        k: usize,
        by_distance: bool,
    },
    Mean,
    Average,
}

impl std::fmt::Display for Hyper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Hyper::Ridge { penalty } => write!(f, "penalty {penalty:.3}"),
            Hyper::Linear | Hyper::Mean | Hyper::Average => write!(f, "-"),
            Hyper::Forest {
                features,
                min_leaf,
                trees,
            } => {
                let features = match features {
                    Share::All => "all features",
                    Share::Third => "a third of the features",
                    Share::Root => "√ of the features",
                };
                write!(f, "{trees} trees, {features}, leaves of {min_leaf}")
            }
            Hyper::Boosting { depth, trees } => write!(f, "{trees} trees of depth {depth}"),
            Hyper::Knn { k, by_distance } => {
                let weight = if *by_distance { "by distance" } else { "alike" };
                write!(f, "k {k}, weighted {weight}")
            }
        }
    }
}
