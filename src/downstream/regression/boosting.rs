//! Gradient boosting of regression trees on squared errors (Friedman, Annals of Statistics 29, 1189
//! (2001)), each tree fitted to a part of the rows. Gains and leaves are those of XGBoost (Chen and
//! Guestrin, KDD 2016): the sum of residuals by count plus [`PENALTY`].
//!
//! Columns are sorted once for all trees, and the first trees of a fit are a fit of their own: so a grid
//! over their number costs one fit, which smartcore's boosting does not offer.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Share of its prediction that a tree adds.
pub const RATE: f64 = 0.05;

/// Share of the rows that a tree sees.
pub const SUBSAMPLE: f64 = 0.7;

/// On the squares of the leaves.
pub const PENALTY: f64 = 1.0;

/// Trees whose predictions, times [`RATE`], are added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Boosted {
    width: usize,
    trees: Vec<Vec<Node>>,
}

/// A node of a tree; the root is the first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Node {
    column: usize,
    /// Values up to it go to `left`, others to the node after it.
    threshold: f64,
    /// Zero for a leaf.
    left: usize,
    value: f64,
}

impl Node {
    fn leaf() -> Self {
        Self {
            column: 0,
            threshold: 0.0,
            left: 0,
            value: 0.0,
        }
    }
}

/// A division of a node's rows.
#[derive(Clone, Copy)]
struct Cut {
    column: usize,
    threshold: f64,
    gain: f64,
}

/// Residuals of some rows.
#[derive(Clone, Copy, Default)]
struct Sum {
    residuals: f64,
    count: f64,
    /// The last value that was added.
    last: f64,
}

impl Sum {
    fn add(&mut self, residual: f64, value: f64) {
        self.residuals += residual;
        self.count += 1.0;
        self.last = value;
    }

    fn score(residuals: f64, count: f64) -> f64 {
        residuals * residuals / (count + PENALTY)
    }

    /// By how much dividing `whole` into `self` and the rest lowers the loss, twice.
    fn gain(&self, whole: &Sum) -> f64 {
        let rest = (whole.residuals - self.residuals, whole.count - self.count);
        Self::score(self.residuals, self.count) + Self::score(rest.0, rest.1)
            - Self::score(whole.residuals, whole.count)
    }
}

/// How trees are fitted.
#[derive(Debug, Clone, Copy)]
pub struct Boosting {
    pub trees: usize,
    pub depth: u16,
    /// Share of the rows that each tree sees.
    pub subsample: f64,
    pub seed: u64,
}

impl Boosted {
    /// Fits trees to rows `[n, width]` and their labels.
    pub fn fit(rows: &[f64], labels: &[f64], settings: Boosting) -> Self {
        let Boosting {
            trees,
            depth,
            subsample,
            seed,
        } = settings;
        let n = labels.len();
        let width = rows.len() / n.max(1);
        let table = Table::new(rows, width);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut residuals = labels.to_vec();
        let mut boosted = Self {
            width,
            trees: Vec::with_capacity(trees),
        };
        let mut order: Vec<usize> = (0..n).collect();
        let seen = ((subsample * n as f64) as usize).max(1).min(n);
        for _ in 0..trees {
            if seen < n {
                order.shuffle(&mut rng);
            }
            let tree = table.grow(&residuals, &order[..seen], depth);
            for (residual, row) in residuals.iter_mut().zip(rows.chunks_exact(width)) {
                *residual -= RATE * predict(&tree, row);
            }
            boosted.trees.push(tree);
        }
        boosted
    }

    /// Predicts for rows `[n, width]` with the first `trees` trees.
    pub fn predict(&self, rows: &[f64], trees: usize) -> Vec<f64> {
        let trees = &self.trees[..trees.min(self.trees.len())];
        let of = |row| trees.iter().map(|tree| RATE * predict(tree, row)).sum();
        rows.chunks_exact(self.width).map(of).collect()
    }

    /// With all trees.
    pub fn predict_all(&self, rows: &[f64]) -> Vec<f64> {
        self.predict(rows, self.trees.len())
    }
}

fn predict(tree: &[Node], row: &[f64]) -> f64 {
    let mut node = tree[0];
    while node.left > 0 {
        node = tree[node.left + usize::from(row[node.column] > node.threshold)];
    }
    node.value
}

/// Features by column, with the order of the rows by each.
struct Table {
    columns: Vec<Vec<f64>>,
    orders: Vec<Vec<usize>>,
}

impl Table {
    fn new(rows: &[f64], width: usize) -> Self {
        let column =
            |j: usize| -> Vec<f64> { rows.iter().skip(j).step_by(width).copied().collect() };
        let columns: Vec<Vec<f64>> = (0..width).map(column).collect();
        let order = |column: &Vec<f64>| {
            let mut order: Vec<usize> = (0..column.len()).collect();
            order.sort_by(|&a, &b| column[a].total_cmp(&column[b]));
            order
        };
        let orders = columns.iter().map(order).collect();
        Self { columns, orders }
    }

    /// A tree on the rows `seen`, level by level.
    fn grow(&self, residuals: &[f64], seen: &[usize], depth: u16) -> Vec<Node> {
        let mut tree = vec![Node::leaf()];
        // The node of each row; a row that is not seen is in none.
        let mut places = vec![usize::MAX; residuals.len()];
        let mut sums = vec![Sum::default()];
        for &row in seen {
            places[row] = 0;
            sums[0].add(residuals[row], 0.0);
        }
        let mut first = 0;
        for _ in 0..depth {
            let cuts = self.cuts(residuals, &places, first, &sums[first..]);
            first = tree.len();
            for (place, cut) in (first - cuts.len()..).zip(cuts) {
                if let Some(cut) = cut {
                    tree[place].column = cut.column;
                    tree[place].threshold = cut.threshold;
                    tree[place].left = tree.len();
                    tree.extend([Node::leaf(); 2]);
                }
            }
            sums.resize(tree.len(), Sum::default());
            for &row in seen {
                let node = tree[places[row]];
                if node.left > 0 {
                    let right = self.columns[node.column][row] > node.threshold;
                    places[row] = node.left + usize::from(right);
                    sums[places[row]].add(residuals[row], 0.0);
                }
            }
            if first == tree.len() {
                break;
            }
        }
        for (node, sum) in tree.iter_mut().zip(&sums) {
            node.value = sum.residuals / (sum.count + PENALTY);
        }
        tree
    }

    /// The best cut of each node from `first` on, whose sums are `whole`.
    fn cuts(
        &self,
        residuals: &[f64],
        places: &[usize],
        first: usize,
        whole: &[Sum],
    ) -> Vec<Option<Cut>> {
        let mut best: Vec<Option<Cut>> = vec![None; whole.len()];
        for (column, (values, order)) in self.columns.iter().zip(&self.orders).enumerate() {
            let mut left = vec![Sum::default(); whole.len()];
            for &row in order {
                let place = places[row].wrapping_sub(first);
                let Some(left) = left.get_mut(place) else {
                    continue;
                };
                let value = values[row];
                if left.count > 0.0 && value > left.last {
                    let gain = left.gain(&whole[place]);
                    if gain > best[place].map_or(0.0, |b| b.gain) {
                        best[place] = Some(Cut {
                            column,
                            threshold: (left.last + value) / 2.0,
                            gain,
                        });
                    }
                }
                left.add(residuals[row], value);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;
    use smartcore::linalg::basic::matrix::DenseMatrix;
    use smartcore::xgboost::{XGRegressor, XGRegressorParameters};

    /// Without drawing rows, the trees are those of another implementation.
    #[test]
    fn predictions_are_those_of_smartcore() {
        let (n, width) = (60, 5);
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        // Some values are alike.
        let x: Vec<f64> = (0..n * width)
            .map(|i| match i % width {
                0 => f64::from(rng.random_range(0..6)),
                _ => rng.random_range(-1.0..1.0),
            })
            .collect();
        let y: Vec<f64> = (0..n)
            .map(|i| x[i * width] * x[i * width + 1] + rng.random_range(-0.2..0.2))
            .collect();
        let matrix = DenseMatrix::new(n, width, x.clone(), false).unwrap();
        for (trees, depth) in [(1, 1), (20, 3), (40, 4)] {
            let parameters = XGRegressorParameters::default()
                .with_n_estimators(trees)
                .with_max_depth(depth)
                .with_learning_rate(RATE)
                .with_lambda(PENALTY)
                .with_subsample(1.0)
                .with_base_score(0.0);
            let expected: Vec<f64> = XGRegressor::fit(&matrix, &y, parameters)
                .and_then(|m| m.predict(&matrix))
                .unwrap();
            let settings = Boosting {
                trees: 50,
                depth,
                subsample: 1.0,
                seed: 0,
            };
            let boosted = Boosted::fit(&x, &y, settings);
            for (a, b) in boosted.predict(&x, trees).iter().zip(&expected) {
                assert!((a - b).abs() < 1e-9, "{trees} of depth {depth}: {a} {b}");
            }
        }
    }

    #[test]
    fn rows_are_drawn_by_the_seed() {
        let x: Vec<f64> = (0..40).map(f64::from).collect();
        let y: Vec<f64> = x.iter().map(|x| (0.3 * x).sin()).collect();
        let fit = |seed| {
            let settings = Boosting {
                trees: 5,
                depth: 2,
                subsample: SUBSAMPLE,
                seed,
            };
            Boosted::fit(&x, &y, settings)
        };
        assert_eq!(fit(1), fit(1));
        assert_ne!(fit(1), fit(2));
    }
}
