//! Least squares with a penalty, in the eigenbasis of `XᵀX` (smartcore's decomposition, of the smaller of
//! `XᵀX` and `XXᵀ`): one decomposition serves a whole grid of penalties and, unlike smartcore's own, more
//! features than complexes.

use crate::{Error, Result};
use smartcore::linalg::basic::arrays::{Array, Array2, MutArray};
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::linalg::traits::evd::EVDDecomposable;

/// Eigenvalues of `XᵀX` below this share of the largest are rounding.
pub(super) const RANK: f64 = 1e-10;

pub(super) type Matrix = DenseMatrix<f64>;

/// `x w` for the `n` rows of `x`.
pub(super) fn times(x: &Matrix, n: usize, weights: &[f64]) -> Vec<f64> {
    let row = |i: usize| {
        (0..weights.len())
            .map(move |j| x.get((i, j)) * weights[j])
            .sum()
    };
    (0..n).map(row).collect()
}

/// The eigenvalues of `XᵀX`, its eigenvectors, and `Xᵀy` in their basis.
pub(super) struct Spectrum {
    values: Vec<f64>,
    /// `[features, values]`
    vectors: Matrix,
    projected: Vec<f64>,
}

impl Spectrum {
    /// Of rows `[n, p]` and their `n` labels.
    ///
    /// # Errors
    /// A decomposition that fails.
    pub fn new(x: &Matrix, labels: &[f64]) -> Result<Self> {
        let (n, p) = x.shape();
        let evd = |square: Matrix| square.evd(true).map_err(Error::internal);
        let y = DenseMatrix::new(n, 1, labels.to_vec(), false).map_err(Error::internal)?;
        let (values, vectors) = if p <= n {
            let evd = evd(x.transpose().matmul(x))?;
            (evd.d, evd.V)
        } else {
            // The smaller `XXᵀ` has the same eigenvalues but zeros, and eigenvectors U: those of `XᵀX`
            // are `XᵀU`, of length one.
            let evd = evd(x.matmul(&x.transpose()))?;
            let mut vectors = x.transpose().matmul(&evd.V);
            let largest = evd.d.iter().copied().fold(0.0, f64::max);
            for (k, value) in evd.d.iter().enumerate() {
                let length = value.max(RANK * largest).sqrt();
                for j in 0..p {
                    let scaled = vectors.get((j, k)) / length;
                    vectors.set((j, k), scaled);
                }
            }
            (evd.d, vectors)
        };
        let xy = x.transpose().matmul(&y);
        let projected = (0..values.len())
            .map(|k| (0..p).map(|j| vectors.get((j, k)) * xy.get((j, 0))).sum())
            .collect();
        Ok(Self {
            values,
            vectors,
            projected,
        })
    }

    /// Coefficients that minimise `|y - X w|² + penalty |w|²`; the shortest of them where the
    /// penalty is zero and the features depend on each other.
    pub fn solve(&self, penalty: f64) -> Vec<f64> {
        let largest = self.values.iter().copied().fold(0.0, f64::max);
        let scaled: Vec<f64> = self
            .values
            .iter()
            .zip(&self.projected)
            .map(|(&value, c)| match value > RANK * largest {
                true => c / (value + penalty),
                false => 0.0,
            })
            .collect();
        let (p, r) = self.vectors.shape();
        (0..p)
            .map(|j| (0..r).map(|k| self.vectors.get((j, k)) * scaled[k]).sum())
            .collect()
    }
}
