//! Equiangular grids on the unit sphere, their quadrature, and the associated Legendre functions
//! on their rings.
//!
//! A grid of bandwidth `b` has `2b` rings of `2b` points: row `j` is the polar angle beta, column
//! `k` the azimuth `alpha = pi k / b`. Image axes: `x = sin beta cos alpha`,
//! `y = sin beta sin alpha`, `z = cos beta`. Harmonics ([`super::harmonics`]) have `y` as the polar
//! axis: image `(x, y, z)` is `(z, x, y)` there.

use super::harmonics::Recurrence;
use super::rotation::Matrix;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// Where the rings of a grid lie.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Rings {
    /// `beta_j = pi j / 2b`: a ring on the north pole, none on the south pole.
    DriscollHealy,
    /// `beta_j = pi (2j + 1) / 4b`, as in the fast transforms on SO(3).
    Soft,
}

impl Rings {
    /// The word that names it in files.
    pub fn name(self) -> &'static str {
        match self {
            Rings::DriscollHealy => "driscoll-healy",
            Rings::Soft => "soft",
        }
    }
}

/// An equiangular grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// Where its rings lie.
    pub rings: Rings,
    /// Half the number of rings, and half the number of points on each.
    pub bandwidth: usize,
}

impl Grid {
    /// Number of rings, and of points on each.
    pub fn side(&self) -> usize {
        2 * self.bandwidth
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.side() * self.side()
    }

    /// Whether it has no points.
    pub fn is_empty(&self) -> bool {
        self.bandwidth == 0
    }

    /// The largest degree whose products of two harmonics the grid integrates.
    pub fn lmax(&self) -> usize {
        self.bandwidth.saturating_sub(1)
    }

    /// Polar angles of the rings.
    pub fn beta(&self) -> Vec<f64> {
        let b = self.bandwidth as f64;
        let angle = |j: usize| match self.rings {
            Rings::DriscollHealy => PI * j as f64 / (2.0 * b),
            Rings::Soft => PI * (2 * j + 1) as f64 / (4.0 * b),
        };
        (0..self.side()).map(angle).collect()
    }

    /// Azimuths of the points of a ring.
    pub fn alpha(&self) -> Vec<f64> {
        let b = self.bandwidth as f64;
        (0..self.side()).map(|k| PI * k as f64 / b).collect()
    }

    /// All points in image axes, ring by ring.
    pub fn points(&self) -> Vec<[f64; 3]> {
        let alpha = self.alpha();
        let ring = |beta: f64| {
            let point = move |&a: &f64| [beta.sin() * a.cos(), beta.sin() * a.sin(), beta.cos()];
            alpha.iter().map(point).collect::<Vec<_>>()
        };
        self.beta().into_iter().flat_map(ring).collect()
    }

    /// The weight of one point of each ring: of the weights that integrate every harmonic up to
    /// degree `2 lmax` exactly, those with the smallest sum of squares. Their sum over all points
    /// is 4 pi. `lmax` is at most [`Grid::lmax`].
    pub fn weights(&self, lmax: usize) -> Vec<f64> {
        // Rows 2b P_L(cos beta_j), and right sides 4 pi for L = 0, else 0, brought to an
        // orthonormal basis of the rows: its combination that meets them is the shortest.
        let n = self.side();
        let cosines: Vec<f64> = self.beta().iter().map(|b| b.cos()).collect();
        let mut basis: Vec<(Vec<f64>, f64)> = Vec::with_capacity(2 * lmax + 1);
        for (degree, row) in legendre(2 * lmax, &cosines).into_iter().enumerate() {
            let mut row: Vec<f64> = row.iter().map(|p| p * n as f64).collect();
            let mut right = if degree == 0 { 4.0 * PI } else { 0.0 };
            // Twice, so that rounding leaves nothing of the others.
            for _ in 0..2 {
                for (other, value) in &basis {
                    let along = dot(&row, other);
                    row.iter_mut().zip(other).for_each(|(r, o)| *r -= along * o);
                    right -= along * value;
                }
            }
            let length = dot(&row, &row).sqrt();
            row.iter_mut().for_each(|r| *r /= length);
            basis.push((row, right / length));
        }
        let weight = |j: usize| basis.iter().map(|(row, value)| row[j] * value).sum();
        (0..n).map(weight).collect()
    }

    /// The orthonormal harmonics' polar parts on every ring, `[m][ring][l]`, zero for `l < m`:
    /// `Y_lm` is it times `cos m alpha` (`m >= 0`) or `sin |m| alpha` (`m < 0`).
    pub fn polar(&self, lmax: usize) -> Vec<Vec<Vec<f64>>> {
        let recurrence = Recurrence::new(lmax);
        let ring = |m: usize, beta: f64| {
            let mut out = vec![0.0; lmax + 1];
            let start = beta.sin().powi(m as i32) / (4.0 * PI).sqrt();
            let (mut before, mut last) = (0.0, recurrence.diagonal(m) * start);
            out[m] = last;
            for (l, value) in out.iter_mut().enumerate().skip(m + 1) {
                let [a, b] = recurrence.step(l, m);
                (before, last) = (last, a * beta.cos() * last - b * before);
                *value = last;
            }
            out
        };
        let rings = self.beta();
        let order = |m| rings.iter().map(|&beta| ring(m, beta)).collect();
        (0..=lmax).map(order).collect()
    }
}

/// A rotation of image axes, in the axes of the harmonics: `P R P^T`.
pub fn in_harmonic_axes(r: &Matrix) -> Matrix {
    /// Image axis of each axis of the harmonics.
    const FROM: [usize; 3] = [1, 2, 0];
    FROM.map(|i| FROM.map(|j| r[i][j]))
}

/// Legendre polynomials `P_0 .. P_lmax` at some places, a row per degree.
fn legendre(lmax: usize, at: &[f64]) -> Vec<Vec<f64>> {
    let mut rows = vec![vec![1.0; at.len()], at.to_vec()];
    for l in 2..=lmax {
        let k = l as f64;
        let next = |(i, x): (usize, &f64)| {
            ((2.0 * k - 1.0) * x * rows[l - 1][i] - (k - 1.0) * rows[l - 2][i]) / k
        };
        rows.push(at.iter().enumerate().map(next).collect());
    }
    rows.truncate(lmax + 1);
    rows
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::so3::harmonics::harmonics;
    use crate::so3::rotation;

    #[test]
    fn products_of_harmonics_are_integrated_exactly() {
        for (rings, bandwidth, lmax) in [
            (Rings::DriscollHealy, 6, 5),
            (Rings::Soft, 5, 4),
            (Rings::Soft, 12, 4),
            (Rings::DriscollHealy, 1, 0),
        ] {
            let grid = Grid { rings, bandwidth };
            let weights = grid.weights(lmax);
            let n = (lmax + 1) * (lmax + 1);
            let mut gram = vec![0.0; n * n];
            for (i, [x, y, z]) in grid.points().into_iter().enumerate() {
                let v = harmonics(lmax, [y, z, x]);
                let w = weights[i / grid.side()] / (4.0 * PI);
                for a in 0..n {
                    (0..n).for_each(|b| gram[a * n + b] += w * v[a] * v[b]);
                }
            }
            for (i, value) in gram.iter().enumerate() {
                let expected = f64::from(u8::from(i / n == i % n));
                assert!((value - expected).abs() < 1e-13, "{grid:?}: {i} {value}");
            }
        }
    }

    #[test]
    fn axes_are_relabelled() {
        let r = rotation::random(3);
        let p = |[x, y, z]: [f64; 3]| [y, z, x];
        let v = [0.3, -0.5, 0.7];
        let there = rotation::rotate(&in_harmonic_axes(&r), p(v));
        let pairs = there.into_iter().zip(p(rotation::rotate(&r, v)));
        pairs.for_each(|(a, b)| assert!((a - b).abs() < 1e-15));
    }
}
