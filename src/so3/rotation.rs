//! Rotation matrices.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::f64::consts::TAU;

/// Rows of a 3 x 3 matrix.
pub type Matrix = [[f64; 3]; 3];

/// A rotation drawn uniformly from SO(3); the same `seed` gives the same rotation.
pub fn random(seed: u64) -> Matrix {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // A point of the unit ball in four dimensions, projected to the sphere: a unit quaternion.
    let q = loop {
        let q: [f64; 4] = std::array::from_fn(|_| rng.random_range(-1.0..1.0));
        let norm = q.iter().map(|c| c * c).sum::<f64>().sqrt();
        if (0.1..=1.0).contains(&norm) {
            break q.map(|c| c / norm);
        }
    };
    of_quaternion(q)
}

/// The rotation of a unit quaternion `[w, x, y, z]`.
pub fn of_quaternion([w, x, y, z]: [f64; 4]) -> Matrix {
    [
        [
            1.0 - 2.0 * (y * y + z * z),
            2.0 * (x * y - w * z),
            2.0 * (x * z + w * y),
        ],
        [
            2.0 * (x * y + w * z),
            1.0 - 2.0 * (x * x + z * z),
            2.0 * (y * z - w * x),
        ],
        [
            2.0 * (x * z - w * y),
            2.0 * (y * z + w * x),
            1.0 - 2.0 * (x * x + y * y),
        ],
    ]
}

/// A rotation out of three numbers of [0, 1) (Arvo 1992, "Fast random rotation matrices").
pub fn arvo([theta, phi, z]: [f64; 3]) -> Matrix {
    let (theta, phi, z) = (TAU * theta, TAU * phi, 2.0 * z);
    let r = z.sqrt();
    let v = [phi.sin() * r, phi.cos() * r, (2.0 - z).sqrt()];
    let (s, c) = theta.sin_cos();
    let turn = [[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]];
    let mirror: Matrix =
        std::array::from_fn(|i| std::array::from_fn(|j| v[i] * v[j] - f64::from(u8::from(i == j))));
    compose(&mirror, &turn)
}

/// `R v`.
pub fn rotate(r: &Matrix, v: [f64; 3]) -> [f64; 3] {
    r.map(|row| row[0] * v[0] + row[1] * v[1] + row[2] * v[2])
}

/// `A B`: first `B`, then `A`.
pub fn compose(a: &Matrix, b: &Matrix) -> Matrix {
    a.map(|row| std::array::from_fn(|j| (0..3).map(|k| row[k] * b[k][j]).sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_rotations_are_proper_and_reproducible() {
        for seed in 0..20 {
            let r = random(seed);
            assert_eq!(r, random(seed));
            let transposed: Matrix = std::array::from_fn(|i| std::array::from_fn(|j| r[j][i]));
            let product = compose(&r, &transposed);
            for (i, row) in product.iter().enumerate() {
                for (j, c) in row.iter().enumerate() {
                    let identity = if i == j { 1.0 } else { 0.0 };
                    assert!((c - identity).abs() < 1e-14);
                }
            }
            let z = rotate(&r, [0.0, 0.0, 1.0]);
            let cross = [
                r[1][0] * r[2][1] - r[2][0] * r[1][1],
                r[2][0] * r[0][1] - r[0][0] * r[2][1],
                r[0][0] * r[1][1] - r[1][0] * r[0][1],
            ];
            assert!((0..3).all(|i| (z[i] - cross[i]).abs() < 1e-14));
        }
        assert_ne!(random(1), random(2));
    }
}
