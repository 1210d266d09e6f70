//! Multinomial logistic regression with a ridge penalty, by truncated Newton steps.
//!
//! With rows x_i (a constant 1 appended), classes y_i and weights W = (w_1 ... w_k), it minimises
//!
//! F(W) = Σ_i [ln Σ_c exp(x_i · w_c) − x_i · w_{y_i}] + α/2 |W|²,
//!
//! where |W|² leaves out the weights of the constant. F is convex. Each Newton step solves
//! H D = −∇F roughly by conjugate gradients, which need products H V only (Nocedal and Wright,
//! "Numerical Optimization", 2006, algorithm 7.1), and then goes along D as far as F falls.
//!
//! The conjugate gradients are preconditioned with H as it would be if the probabilities of a
//! class were the same for all rows and the classes did not depend on each other:
//! a_c XᵀX + α, where a_c is the mean of p (1 − p). The eigenvectors of XᵀX, found once, invert
//! it for every class. Features that depend on each other, as those of a latent space do, then
//! cost tens of products where plain conjugate gradients and L-BFGS need thousands.
//!
//! Rows are cut into blocks of fixed size, and sums over blocks are formed in their order: the
//! result has the same bits for any number of threads.
//!
//! Shapes: n rows, q features (the constant counted), k classes; X `[n, q]`, W `[q, k]`.

use crate::ops::cpu::{Matrix, MatrixMut, dot};
use crate::{Error, Result};
use rayon::prelude::*;
use smartcore::linalg::basic::arrays::Array;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::linalg::traits::evd::EVDDecomposable;

/// Rows of a block: its part of X and its scores stay in the cache.
const ROWS: usize = 256;
/// The largest entry of the gradient, divided by n, at which the minimum is taken for reached: a
/// tenth of scikit-learn's default.
const TOLERANCE: f64 = 1e-5;
/// Newton steps at most; some ten are usual, some thirty where classes can be separated.
const STEPS: usize = 100;
/// Share of the gradient that the conjugate gradients of a step leave over.
const LEFT_OVER: f64 = 0.3;
/// Products of the conjugate gradients of a step at most.
const PRODUCTS: usize = 500;
/// Halvings of a step at most.
const HALVINGS: usize = 40;

/// Rows of features and their classes.
#[derive(Clone, Copy)]
pub struct Samples<'a> {
    /// Row-major `[n, width]`.
    pub rows: &'a [f64],
    pub width: usize,
    /// `[n]`, each below `count`.
    pub classes: &'a [u32],
    /// Number of classes.
    pub count: usize,
}

/// A fitted classifier.
#[derive(Debug, Clone, PartialEq)]
pub struct Logistic {
    width: usize,
    count: usize,
    /// W, `[width + 1, count]`; the last row belongs to the constant.
    weights: Vec<f64>,
    /// F at W.
    pub objective: f64,
    /// Largest entry of the gradient, divided by n.
    pub slope: f64,
    pub steps: usize,
}

impl Logistic {
    /// Minimises F with the penalty `penalty` = α > 0.
    ///
    /// Of two classes, α is the penalty of the difference of their weights, as it is where one
    /// vector of weights tells two classes apart.
    ///
    /// # Errors
    /// A matrix XᵀX whose eigenvectors are not found (features that are not finite).
    pub fn fit(samples: Samples, penalty: f64) -> Result<Self> {
        // The best weights of two classes are w/2 and −w/2: α/2 |w|² of both together.
        let penalty = match samples.count {
            2 => 2.0 * penalty,
            _ => penalty,
        };
        let problem = Problem::new(samples, penalty)?;
        let n = samples.classes.len().max(1) as f64;
        let mut at = problem.evaluate(vec![0.0; problem.q * problem.k]);
        let mut steps = 0;
        while at.slope() > TOLERANCE * n && steps < STEPS {
            let direction = problem.newton(&at);
            let Some(next) = problem.search(&at, &direction) else {
                // F does not fall any more: this is the minimum but for rounding.
                break;
            };
            at = next;
            steps += 1;
        }
        Ok(Self {
            width: samples.width,
            count: samples.count,
            slope: at.slope() / n,
            weights: at.weights,
            objective: at.value,
            steps,
        })
    }

    /// Whether the minimum was reached.
    pub fn converged(&self) -> bool {
        self.slope <= TOLERANCE
    }

    /// The most probable class of each row of `[n, width]`.
    pub fn predict(&self, rows: &[f64]) -> Vec<u32> {
        let class = |row: &[f64]| {
            let scores = self.scores(row);
            // The first of equals.
            let best = (0..self.count).rev();
            best.max_by(|&a, &b| scores[a].total_cmp(&scores[b]))
                .unwrap_or(0) as u32
        };
        rows.chunks_exact(self.width.max(1)).map(class).collect()
    }

    /// How probable each class is for each row of `[n, width]`.
    pub fn probabilities(&self, rows: &[f64]) -> Vec<Vec<f64>> {
        let softmax = |row: &[f64]| {
            let mut scores = self.scores(row);
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            scores.iter_mut().for_each(|s| *s = (*s - most).exp());
            let sum: f64 = scores.iter().sum();
            scores.iter_mut().for_each(|s| *s /= sum);
            scores
        };
        rows.chunks_exact(self.width.max(1)).map(softmax).collect()
    }

    /// Logarithms of the probabilities but for a constant.
    fn scores(&self, row: &[f64]) -> Vec<f64> {
        let mut scores = self.weights[self.width * self.count..].to_vec();
        for (x, weights) in row.iter().zip(self.weights.chunks_exact(self.count)) {
            scores
                .iter_mut()
                .zip(weights)
                .for_each(|(s, w)| *s += x * w);
        }
        scores
    }
}

/// F and its derivatives for given rows.
struct Problem<'a> {
    q: usize,
    k: usize,
    /// X
    x: Vec<f64>,
    classes: &'a [u32],
    penalty: f64,
    /// Eigenvalues of XᵀX.
    eigenvalues: Vec<f64>,
    /// Its eigenvectors in columns, `[q, q]`.
    eigenvectors: Vec<f64>,
}

/// F at some weights.
struct Point {
    weights: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
    /// Probabilities of the classes, `[n, k]`.
    probabilities: Vec<f64>,
}

impl Point {
    /// Largest entry of the gradient.
    fn slope(&self) -> f64 {
        self.gradient.iter().fold(0.0, |most, g| most.max(g.abs()))
    }
}

impl<'a> Problem<'a> {
    fn new(samples: Samples<'a>, penalty: f64) -> Result<Self> {
        let q = samples.width + 1;
        let mut x = Vec::with_capacity(samples.classes.len() * q);
        for row in samples.rows.chunks_exact(samples.width.max(1)) {
            x.extend_from_slice(row);
            x.push(1.0);
        }
        let gram = sum_of_blocks(
            x.par_chunks(ROWS * q)
                .map(|block| product_of_transpose(block, q, block, q)),
        );
        let gram = DenseMatrix::new(q, q, gram, false).map_err(Error::internal)?;
        let found = gram.evd(true).map_err(Error::internal)?;
        let entries = (0..q * q).map(|i| *found.V.get((i / q, i % q)));
        Ok(Self {
            q,
            k: samples.count,
            classes: samples.classes,
            penalty,
            eigenvalues: found.d.iter().map(|value| value.max(0.0)).collect(),
            eigenvectors: entries.collect(),
            x,
        })
    }

    /// Weights that the penalty counts: all but those of the constant.
    fn penalised<'b>(&self, weights: &'b [f64]) -> &'b [f64] {
        &weights[..(self.q - 1) * self.k]
    }

    /// Adds the penalty's part α V to a gradient or a product with H.
    fn add_penalty(&self, to: &mut [f64], v: &[f64]) {
        for (to, v) in to.iter_mut().zip(self.penalised(v)) {
            *to += self.penalty * v;
        }
    }

    fn evaluate(&self, weights: Vec<f64>) -> Point {
        let (q, k) = (self.q, self.k);
        let mut probabilities = vec![0.0; self.classes.len() * k];
        let blocks = probabilities
            .par_chunks_mut(ROWS * k)
            .zip(self.x.par_chunks(ROWS * q))
            .zip(self.classes.par_chunks(ROWS));
        let parts = blocks.map(|((p, x), classes)| {
            product(x, q, &weights, k, p);
            let mut loss = 0.0;
            let mut off = Vec::with_capacity(p.len());
            for (p, &class) in p.chunks_exact_mut(k).zip(classes) {
                let own = p[class as usize];
                loss += softmax(p) - own;
                off.extend_from_slice(p);
                let own = off.len() - k + class as usize;
                off[own] -= 1.0;
            }
            // The loss travels as the last entry of the block's gradient.
            let mut part = product_of_transpose(x, q, &off, k);
            part.push(loss);
            part
        });
        let mut gradient = sum_of_blocks(parts);
        let loss = gradient.pop().unwrap_or(0.0);
        gradient.resize(q * k, 0.0);
        self.add_penalty(&mut gradient, &weights);
        let counted = self.penalised(&weights);
        Point {
            value: loss + 0.5 * self.penalty * dot(counted, counted),
            weights,
            gradient,
            probabilities,
        }
    }

    /// H V at `at`: for each row, s = V x and x (p ∘ (s − p · s)).
    fn curvature(&self, at: &Point, v: &[f64]) -> Vec<f64> {
        let (q, k) = (self.q, self.k);
        let blocks = at
            .probabilities
            .par_chunks(ROWS * k)
            .zip(self.x.par_chunks(ROWS * q));
        let parts = blocks.map(|(p, x)| {
            let mut s = vec![0.0; p.len()];
            product(x, q, v, k, &mut s);
            for (s, p) in s.chunks_exact_mut(k).zip(p.chunks_exact(k)) {
                let mean = dot(s, p);
                s.iter_mut().zip(p).for_each(|(s, p)| *s = p * (*s - mean));
            }
            product_of_transpose(x, q, &s, k)
        });
        let mut sum = sum_of_blocks(parts);
        self.add_penalty(&mut sum, v);
        sum
    }

    /// For each class the mean of p (1 − p).
    fn spreads(&self, at: &Point) -> Vec<f64> {
        let parts = at.probabilities.par_chunks(ROWS * self.k).map(|block| {
            let mut sums = vec![0.0; self.k];
            for row in block.chunks_exact(self.k) {
                sums.iter_mut()
                    .zip(row)
                    .for_each(|(s, p)| *s += p * (1.0 - p));
            }
            sums
        });
        let n = self.classes.len() as f64;
        sum_of_blocks(parts).into_iter().map(|s| s / n).collect()
    }

    /// The preconditioner's inverse times `v`.
    fn precondition(&self, spreads: &[f64], v: &[f64]) -> Vec<f64> {
        let (q, k) = (self.q, self.k);
        let mut turned = product_of_transpose(&self.eigenvectors, q, v, k);
        for (row, value) in turned.chunks_exact_mut(k).zip(&self.eigenvalues) {
            for (entry, spread) in row.iter_mut().zip(spreads) {
                *entry /= spread * value + self.penalty;
            }
        }
        let mut out = vec![0.0; q * k];
        product(&self.eigenvectors, q, &turned, k, &mut out);
        out
    }

    /// The direction D of a Newton step: H D = −∇F, roughly.
    fn newton(&self, at: &Point) -> Vec<f64> {
        let spreads = self.spreads(at);
        let mut direction = vec![0.0; at.gradient.len()];
        let mut rest: Vec<f64> = at.gradient.iter().map(|g| -g).collect();
        let mut conditioned = self.precondition(&spreads, &rest);
        let mut along = conditioned.clone();
        let mut size = dot(&rest, &conditioned);
        let enough = LEFT_OVER * LEFT_OVER * size;
        for _ in 0..PRODUCTS {
            let product = self.curvature(at, &along);
            let bend = dot(&along, &product);
            // H is positive definite; this is rounding.
            if bend <= 0.0 {
                break;
            }
            let length = size / bend;
            add(&mut direction, length, &along);
            add(&mut rest, -length, &product);
            conditioned = self.precondition(&spreads, &rest);
            let before = std::mem::replace(&mut size, dot(&rest, &conditioned));
            if size <= enough {
                break;
            }
            let turn = size / before;
            along
                .iter_mut()
                .zip(&conditioned)
                .for_each(|(a, c)| *a = c + turn * *a);
        }
        direction
    }

    /// The first of D, D/2, D/4, ... that lowers F by a share of what its slope promises
    /// (Armijo's rule).
    fn search(&self, at: &Point, direction: &[f64]) -> Option<Point> {
        const SHARE: f64 = 1e-4;
        let slope = dot(&at.gradient, direction);
        (0..HALVINGS).find_map(|halving| {
            let length = 0.5f64.powi(halving as i32);
            let mut weights = at.weights.clone();
            add(&mut weights, length, direction);
            let next = self.evaluate(weights);
            let falls = next.value <= at.value + SHARE * length * slope && next.value < at.value;
            falls.then_some(next)
        })
    }
}

/// Turns scores into probabilities; the logarithm of the sum of their exponentials.
fn softmax(scores: &mut [f64]) -> f64 {
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - most).exp();
        sum += *score;
    }
    scores.iter_mut().for_each(|score| *score /= sum);
    most + sum.ln()
}

/// Sum of vectors in their order, wherever they were made.
fn sum_of_blocks(parts: impl IndexedParallelIterator<Item = Vec<f64>>) -> Vec<f64> {
    let parts: Vec<Vec<f64>> = parts.collect();
    let sum = parts.into_iter().reduce(|mut sum, part| {
        add(&mut sum, 1.0, &part);
        sum
    });
    sum.unwrap_or_default()
}

/// `out[m, k] = a[m, q] b[q, k]`
fn product(a: &[f64], q: usize, b: &[f64], k: usize, out: &mut [f64]) {
    let dims = [a.len() / q, k, q];
    MatrixMut::rows(out, k).set(dims, Matrix::rows(a, q), Matrix::rows(b, k));
}

/// `a[m, q]ᵀ b[m, k]`, `[q, k]`
fn product_of_transpose(a: &[f64], q: usize, b: &[f64], k: usize) -> Vec<f64> {
    let mut out = vec![0.0; q * k];
    let dims = [q, k, a.len() / q];
    MatrixMut::rows(&mut out, k).set(dims, Matrix::turned(a, q), Matrix::rows(b, k));
    out
}

fn add(to: &mut [f64], factor: f64, values: &[f64]) {
    to.iter_mut()
        .zip(values)
        .for_each(|(t, v)| *t += factor * v);
}

#[cfg(test)]
mod tests;
