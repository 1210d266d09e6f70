//! Principal components of a cloud of vectors.

/// A principal axis.
pub struct Axis {
    /// Of length one (zero where nothing varies).
    pub direction: Vec<f64>,
    /// Along it.
    pub variance: f64,
}

/// The `count` axes of largest variance of a covariance matrix `[dim, dim]`, largest first.
///
/// Power iteration with deflation, in f64 and from a fixed start; the largest component of each
/// direction is positive: the same input gives the same axes.
pub fn axes(mut covariance: Vec<f64>, dim: usize, count: usize) -> Vec<Axis> {
    let mut axes = Vec::with_capacity(count);
    for _ in 0..count {
        let (direction, variance) = leading_eigenvector(&covariance, dim);
        for i in 0..dim {
            for j in 0..dim {
                covariance[i * dim + j] -= variance * direction[i] * direction[j];
            }
        }
        axes.push(Axis {
            direction,
            variance,
        });
    }
    axes
}

/// The two directions of largest variance of `rows` (n vectors of length `dim`, row-major) and
/// every vector's coordinates along them.
pub struct Projection {
    /// Coordinates of every vector, centred: `[n][2]`.
    pub points: Vec<[f64; 2]>,
    /// Share of the total variance along each direction.
    pub explained: [f64; 2],
}

const ITERATIONS: usize = 1000;
const TOLERANCE: f64 = 1e-12;

/// # Panics
/// If `rows` is not a whole number of vectors of length `dim > 0`.
pub fn project(rows: &[f32], dim: usize) -> Projection {
    let components = components(rows, dim, 2);
    let point = |p: &[f64]| [p[0], p[1]];
    Projection {
        points: components.scores.chunks_exact(2).map(point).collect(),
        explained: [components.explained[0], components.explained[1]],
    }
}

/// As [`Projection`], along any number of directions.
pub struct Components {
    /// `[n, count]`, centred.
    pub scores: Vec<f64>,
    /// Share of the total variance along each direction.
    pub explained: Vec<f64>,
}

/// The `count` directions of largest variance, and every vector's coordinates along them.
///
/// # Panics
/// If `rows` is not a whole number of vectors of length `dim > 0`.
pub fn components(rows: &[f32], dim: usize, count: usize) -> Components {
    assert!(dim > 0 && rows.len().is_multiple_of(dim));
    let mean = mean(rows, dim);
    let covariance = covariance(rows, &mean);
    let total: f64 = (0..dim).map(|i| covariance[i * dim + i]).sum();
    let axes = axes(covariance, dim, count);
    let share = |axis: &Axis| match total > 0.0 {
        true => axis.variance / total,
        false => 0.0,
    };
    let score = |row: &[f32], axis: &Axis| -> f64 {
        let terms = row.iter().zip(&mean).zip(&axis.direction);
        terms.map(|((&x, m), d)| (f64::from(x) - m) * d).sum()
    };
    let of = |row| axes.iter().map(move |axis| score(row, axis));
    Components {
        scores: rows.chunks_exact(dim).flat_map(of).collect(),
        explained: axes.iter().map(share).collect(),
    }
}

fn mean(rows: &[f32], dim: usize) -> Vec<f64> {
    let mut mean = vec![0.0; dim];
    for row in rows.chunks_exact(dim) {
        for (m, &x) in mean.iter_mut().zip(row) {
            *m += f64::from(x);
        }
    }
    let n = (rows.len() / dim).max(1) as f64;
    mean.iter_mut().for_each(|m| *m /= n);
    mean
}

fn covariance(rows: &[f32], mean: &[f64]) -> Vec<f64> {
    let dim = mean.len();
    let mut covariance = vec![0.0; dim * dim];
    let mut centred = vec![0.0; dim];
    for row in rows.chunks_exact(dim) {
        for ((c, &x), m) in centred.iter_mut().zip(row).zip(mean) {
            *c = f64::from(x) - m;
        }
        for (line, a) in covariance.chunks_exact_mut(dim).zip(&centred) {
            for (entry, b) in line.iter_mut().zip(&centred) {
                *entry += a * b;
            }
        }
    }
    let n = (rows.len() / dim).max(1) as f64;
    covariance.iter_mut().for_each(|c| *c /= n);
    covariance
}

/// Eigenvector of the largest eigenvalue of a positive semi-definite matrix, and that eigenvalue.
fn leading_eigenvector(matrix: &[f64], dim: usize) -> (Vec<f64>, f64) {
    // Unequal entries: no coordinate axis or diagonal can be exactly orthogonal to the start.
    let mut v: Vec<f64> = (0..dim).map(|i| 1.0 + (i as f64 + 1.0).sqrt()).collect();
    normalise(&mut v);
    let mut value = 0.0;
    for _ in 0..ITERATIONS {
        let mut next: Vec<f64> = matrix
            .chunks_exact(dim)
            .map(|line| line.iter().zip(&v).map(|(a, b)| a * b).sum())
            .collect();
        value = normalise(&mut next);
        let change: f64 = next.iter().zip(&v).map(|(a, b)| (a - b).powi(2)).sum();
        v = next;
        if change < TOLERANCE * TOLERANCE {
            break;
        }
    }
    let largest = v
        .iter()
        .copied()
        .fold(0.0, |a: f64, b| if b.abs() > a.abs() { b } else { a });
    if largest < 0.0 {
        v.iter_mut().for_each(|x| *x = -*x);
    }
    (v, value)
}

/// Scales `v` to length one (leaves zero alone); returns the old length.
fn normalise(v: &mut [f64]) -> f64 {
    let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
    if norm > 0.0 {
        v.iter_mut().for_each(|x| *x /= norm);
    }
    norm
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// A cloud stretched 5 : 2 : 0.1 along three orthonormal directions is seen as such.
    #[test]
    fn finds_the_stretched_directions() {
        let (s, c) = (0.6, 0.8);
        let axes = [[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]];
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut rows = Vec::new();
        let mut coordinates = Vec::new();
        for _ in 0..2000 {
            let t = [5.0, 2.0, 0.1].map(|scale| scale * (2.0 * rng.random::<f64>() - 1.0));
            coordinates.push([t[0], t[1]]);
            rows.extend((0..3).map(|i| {
                let along: f64 = (0..3).map(|k| t[k] * axes[k][i]).sum();
                (10.0 + along) as f32
            }));
        }
        let p = project(&rows, 3);
        let expected = 25.0 / (25.0 + 4.0 + 0.01);
        assert!(
            (p.explained[0] - expected).abs() < 0.02,
            "{:?}",
            p.explained
        );
        assert!(p.explained[0] + p.explained[1] > 0.999);
        for (point, truth) in p.points.iter().zip(&coordinates) {
            assert!((point[0].abs() - truth[0].abs()).abs() < 0.4);
        }
        let spread =
            |k: usize| p.points.iter().map(|q| q[k] * q[k]).sum::<f64>() / p.points.len() as f64;
        assert!((spread(0) / spread(1) - 25.0 / 4.0).abs() < 0.5);
    }

    #[test]
    fn identical_vectors_have_no_variance() {
        let p = project(&[1.0, 2.0, 1.0, 2.0], 2);
        assert_eq!(p.explained, [0.0, 0.0]);
        assert!(p.points.iter().flatten().all(|&x| x == 0.0));
    }
}
