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
    /// Kernel ridge regression with a Laplace kernel.
    Kernel,
    /// Random forest, on the paper's grid.
    Forest,
    /// Gradient boosting.
    Boosting,
    /// k nearest neighbours.
    Knn,
    /// The mean of the training labels.
    #[value(skip)]
    Mean,
    /// The mean of what all others predict from the same features.
    #[value(skip)]
    Committee,
    /// The mean of what the learned embedding and a baseline predict, each with its best regressor.
    #[value(skip)]
    Average,
}

impl Learner {
    /// Those that use features.
    pub const ALL: [Learner; 6] = [
        Learner::Ridge,
        Learner::Linear,
        Learner::Kernel,
        Learner::Forest,
        Learner::Boosting,
        Learner::Knn,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Learner::Ridge => "ridge",
            Learner::Linear => "linear",
            Learner::Kernel => "kernel",
            Learner::Forest => "forest",
            Learner::Boosting => "boosting",
            Learner::Knn => "knn",
            Learner::Mean => "mean",
            Learner::Committee => "committee",
            Learner::Average => "average",
        }
    }

    /// Whether it is fitted itself, and no mean of what others predict.
    pub fn is_fitted(self) -> bool {
        !matches!(self, Learner::Committee | Learner::Average)
    }

    /// Whether fits to the same complexes differ with the seed.
    pub fn draws(self) -> bool {
        matches!(self, Learner::Forest | Learner::Boosting)
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
            Learner::Kernel => {
                let group = |length| {
                    let penalty = |k: i32| Hyper::Kernel {
                        length,
                        penalty: 10f64.powf(f64::from(k) / 2.0),
                    };
                    (-3..=2).map(penalty).collect()
                };
                [0.5, 1.0, 2.0, 4.0].map(group).to_vec()
            }
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
            Learner::Committee => vec![vec![Hyper::Committee]],
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
    Kernel {
        length: f64,
        penalty: f64,
    },
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
    Committee,
    Average,
}

impl std::fmt::Display for Hyper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Hyper::Ridge { penalty } => write!(f, "penalty {penalty:.3}"),
            Hyper::Linear | Hyper::Mean | Hyper::Committee | Hyper::Average => write!(f, "-"),
            Hyper::Kernel { length, penalty } => {
                write!(f, "length {length}, penalty {penalty:.3}")
            }
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
