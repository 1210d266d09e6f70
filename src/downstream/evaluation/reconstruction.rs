//! How well neighborhoods are rebuilt, degree by degree.

use crate::so3::irreps::Irreps;
use serde::{Deserialize, Serialize};

/// Means over residues. Zernikegrams are divided by the model's norm factor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reconstruction {
    /// Mean squared error over all coefficients.
    pub mse: f64,
    /// Cosine loss with the published weights of the degrees (paper, equation A.18).
    pub cosine: f64,
    pub degrees: Vec<Degree>,
}

/// The coefficients of one degree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Degree {
    pub l: usize,
    pub mse: f64,
    /// One minus the cosine of the angle between them and their reconstruction.
    pub cosine: f64,
}

/// Numbers per residue: cosine loss, then squared error and cosine loss of each degree.
fn width(irreps: &Irreps) -> usize {
    1 + 2 * (irreps.lmax() + 1)
}

/// The row of one residue: see [`width`]. Squared errors are summed over a degree.
pub fn errors(irreps: &Irreps, rebuilt: &[f32], x: &[f32], cosine: f64) -> Vec<f64> {
    let mut row = vec![cosine];
    for l in 0..=irreps.lmax() {
        let range = irreps.offset(l)..irreps.offset(l) + irreps.channels(l) * (2 * l + 1);
        let (mut error, mut dot, mut a, mut b) = (0.0, 0.0, 0.0, 0.0);
        for (&r, &x) in rebuilt[range.clone()].iter().zip(&x[range]) {
            let (r, x) = (f64::from(r), f64::from(x));
            error += (r - x) * (r - x);
            dot += r * x;
            a += r * r;
            b += x * x;
        }
        row.push(error);
        row.push(1.0 - dot / ((a * b).sqrt() + 1e-9));
    }
    row
}

/// Cosine losses out of rows of [`errors`].
pub fn cosine_losses(irreps: &Irreps, rows: &[f64]) -> Vec<f32> {
    rows.chunks_exact(width(irreps))
        .map(|r| r[0] as f32)
        .collect()
}

impl Reconstruction {
    /// Means over rows of errors.
    pub fn of(irreps: &Irreps, rows: &[f64]) -> Self {
        let n = (rows.len() / width(irreps)).max(1) as f64;
        let mut sums = vec![0.0; width(irreps)];
        for row in rows.chunks_exact(width(irreps)) {
            sums.iter_mut().zip(row).for_each(|(s, v)| *s += v);
        }
        let size = |l: usize| (irreps.channels(l) * (2 * l + 1)) as f64;
        let degree = |l: usize| Degree {
            l,
            mse: sums[1 + 2 * l] / (n * size(l)),
            cosine: sums[2 + 2 * l] / n,
        };
        let total: f64 = (0..=irreps.lmax()).map(|l| sums[1 + 2 * l]).sum();
        Self {
            mse: total / (n * irreps.dim() as f64),
            cosine: sums[0] / n,
            degrees: (0..=irreps.lmax()).map(degree).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degrees_are_told_apart() {
        let irreps = Irreps::new(vec![2, 1]);
        // Degree 0 exact, degree 1 turned by a right angle and of length 2 instead of 1.
        let x = [1.0, 2.0, 1.0, 0.0, 0.0];
        let r = [1.0, 2.0, 0.0, 2.0, 0.0];
        let rows = errors(&irreps, &r, &x, 0.25);
        let all = Reconstruction::of(&irreps, &[rows.clone(), rows].concat());
        assert_eq!((all.cosine, all.mse), (0.25, 1.0));
        let near = |a: f64, b: f64| (a - b).abs() < 1e-8;
        assert!(near(all.degrees[0].cosine, 0.0) && all.degrees[0].mse == 0.0);
        assert!(near(all.degrees[1].cosine, 1.0) && near(all.degrees[1].mse, 5.0 / 3.0));
    }
}
