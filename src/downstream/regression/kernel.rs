//! Kernel ridge regression with a Laplace kernel, `exp(-d / length)`, where `d` is the mean absolute
//! difference of two rows' columns: what is like predicts alike, and far from all that was seen the mean
//! is predicted (Hansen et al., J. Chem. Theory Comput. 9, 3404 (2013), found this kernel the best of
//! theirs on molecules).
//!
//! Of many rows, [`LANDMARKS`] drawn by chance span the functions (Williams and Seeger, NIPS 2000), so
//! that time grows with their number and not with its cube.

use super::spectrum::{Matrix, RANK, Spectrum, times};
use crate::{Error, Result};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use smartcore::linalg::basic::arrays::{Array, Array2, MutArray};
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::linalg::traits::evd::EVDDecomposable;

/// Rows that span the functions, at most.
pub const LANDMARKS: usize = 1000;

/// A function `Σ weight · exp(-d(row, landmark) / length)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kernel {
    width: usize,
    length: f64,
    /// Row-major `[landmarks, width]`.
    landmarks: Vec<f64>,
    weights: Vec<f64>,
}

impl Kernel {
    /// Fits to rows `[n, width]` and their labels, once for each penalty.
    ///
    /// # Errors
    /// A decomposition that fails.
    pub fn fit(
        rows: &[f64],
        labels: &[f64],
        length: f64,
        penalties: &[f64],
        seed: u64,
    ) -> Result<Vec<Self>> {
        let width = rows.len() / labels.len().max(1);
        let bare = Self {
            width,
            length,
            landmarks: landmarks(rows, width, seed),
            weights: Vec::new(),
        };
        let basis = bare.basis()?;
        let spectrum = Spectrum::new(&bare.matrix(rows)?.matmul(&basis), labels)?;
        let of = |&penalty: &f64| {
            let weights = times(&basis, basis.shape().0, &spectrum.solve(penalty));
            Self {
                weights,
                ..bare.clone()
            }
        };
        Ok(penalties.iter().map(of).collect())
    }

    /// Predicts for rows `[n, width]`.
    pub fn predict(&self, rows: &[f64]) -> Vec<f64> {
        let of = |row| {
            let weighted = self.row(row).zip(&self.weights);
            weighted.map(|(value, weight)| value * weight).sum()
        };
        rows.chunks_exact(self.width).map(of).collect()
    }

    /// The kernel of a row with every landmark.
    fn row<'a>(&'a self, row: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        let scale = 1.0 / (self.width as f64 * self.length);
        self.landmarks.chunks_exact(self.width).map(move |other| {
            let apart: f64 = row.iter().zip(other).map(|(a, b)| (a - b).abs()).sum();
            (-scale * apart).exp()
        })
    }

    /// The kernel of rows and landmarks, `[n, landmarks]`.
    fn matrix(&self, rows: &[f64]) -> Result<Matrix> {
        let values: Vec<f64> = rows
            .chunks_exact(self.width)
            .flat_map(|r| self.row(r))
            .collect();
        let (n, landmarks) = (rows.len() / self.width, self.landmarks.len() / self.width);
        DenseMatrix::new(n, landmarks, values, false).map_err(Error::internal)
    }

    /// `B` with `B Bᵀ` the inverse of the landmarks' kernel `K`: rows of `K B` have the kernel as their scalar
    /// product, so that ridge regression on them is that of the kernel. What rows have in common that are
    /// drawn twice counts once.
    fn basis(&self) -> Result<Matrix> {
        let evd = self.matrix(&self.landmarks)?.evd(true);
        let evd = evd.map_err(Error::internal)?;
        let largest = evd.d.iter().copied().fold(0.0, f64::max);
        let mut basis = evd.V;
        let landmarks = basis.shape().0;
        for (k, &value) in evd.d.iter().enumerate() {
            let scale = match value > RANK * largest {
                true => 1.0 / value.sqrt(),
                false => 0.0,
            };
            for i in 0..landmarks {
                let scaled = scale * basis.get((i, k));
                basis.set((i, k), scaled);
            }
        }
        Ok(basis)
    }
}

/// All rows, or as many as there may be, drawn by chance.
fn landmarks(rows: &[f64], width: usize, seed: u64) -> Vec<f64> {
    let n = rows.len() / width;
    if n <= LANDMARKS {
        return rows.to_vec();
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let row = |&i: &usize| &rows[i * width..(i + 1) * width];
    order[..LANDMARKS].iter().flat_map(row).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    fn made_up(n: usize, seed: u64) -> (Vec<f64>, Vec<f64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let rows: Vec<f64> = (0..2 * n).map(|_| rng.random_range(-2.0..2.0)).collect();
        let label = |row: &[f64]| row[0].sin() * row[1];
        let labels = rows.chunks_exact(2).map(label).collect();
        (rows, labels)
    }

    /// `(K + penalty) weights = labels`, and the kernel from its formula; rows drawn twice are no harm.
    #[test]
    fn weights_solve_the_equations_of_kernel_ridge() {
        let (mut rows, mut labels) = made_up(12, 1);
        for twice in [false, true] {
            if twice {
                rows.extend_from_within(..4);
                labels.extend([3.0, -1.0]);
            }
            let fits = Kernel::fit(&rows, &labels, 0.7, &[0.1, 2.0], 0).unwrap();
            for (fit, penalty) in fits.iter().zip([0.1, 2.0]) {
                // What is predicted is Kw, so that y - Kw must be the penalty times w: of rows that are
                // drawn twice, the sum of their weights.
                let predicted = fit.predict(&rows);
                let kernel = |i: usize, j: usize| {
                    let apart = |k: usize| (rows[2 * i + k] - rows[2 * j + k]).abs();
                    (-(apart(0) + apart(1)) / 2.0 / 0.7).exp()
                };
                let n = labels.len();
                for i in 0..n {
                    let errors = (0..n).map(|j| kernel(i, j) * (labels[j] - predicted[j]));
                    let again = errors.sum::<f64>() / penalty;
                    assert!(
                        (again - predicted[i]).abs() < 1e-6,
                        "{again} {}",
                        predicted[i]
                    );
                }
            }
        }
    }

    #[test]
    fn many_rows_are_spanned_by_landmarks() {
        let (rows, labels) = made_up(LANDMARKS + 200, 2);
        let kept = landmarks(&rows, 2, 5);
        assert_eq!(kept.len(), 2 * LANDMARKS);
        assert_eq!(kept, landmarks(&rows, 2, 5));
        assert_ne!(kept, landmarks(&rows, 2, 6));
        assert_eq!(landmarks(&rows[..40], 2, 5), &rows[..40]);
        assert_eq!(labels.len(), LANDMARKS + 200);
    }
}
