//! Rigid motion of point clouds: optimal superposition and principal axes.

use super::rotation::{Matrix, of_quaternion};

/// Eigenvalues, ascending, and eigenvectors (rows) of a symmetric matrix, by Jacobi rotations.
pub fn eigen<const N: usize>(mut a: [[f64; N]; N]) -> ([f64; N], [[f64; N]; N]) {
    let mut v = [[0.0; N]; N];
    for (i, row) in v.iter_mut().enumerate() {
        row[i] = 1.0;
    }
    for _ in 0..64 {
        let off: f64 = (0..N)
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .map(|(i, j)| a[i][j] * a[i][j])
            .sum();
        let scale: f64 = a.iter().flatten().map(|x| x * x).sum();
        if off <= 1e-30 * scale {
            break;
        }
        for p in 0..N {
            for q in p + 1..N {
                rotate(&mut a, &mut v, p, q);
            }
        }
    }
    let mut order: [usize; N] = std::array::from_fn(|i| i);
    order.sort_by(|&i, &j| a[i][i].total_cmp(&a[j][j]));
    (order.map(|i| a[i][i]), order.map(|i| v[i]))
}

/// One Jacobi rotation that makes `a[p][q]` zero; `v` collects eigenvectors in rows.
fn rotate<const N: usize>(a: &mut [[f64; N]; N], v: &mut [[f64; N]; N], p: usize, q: usize) {
    if a[p][q] == 0.0 {
        return;
    }
    let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    for row in a.iter_mut() {
        let (x, y) = (row[p], row[q]);
        (row[p], row[q]) = (c * x - s * y, s * x + c * y);
    }
    for k in 0..N {
        let (x, y) = (a[p][k], a[q][k]);
        (a[p][k], a[q][k]) = (c * x - s * y, s * x + c * y);
        let (x, y) = (v[p][k], v[q][k]);
        (v[p][k], v[q][k]) = (c * x - s * y, s * x + c * y);
    }
}

/// `R x`.
pub fn apply(r: &Matrix, x: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|i| (0..3).map(|j| r[i][j] * x[j]).sum())
}

/// The rotation `R` that minimises `sum |R mobile - reference|^2` of two centred clouds (Horn,
/// "Closed-form solution of absolute orientation using unit quaternions", 1987).
pub fn superposition(mobile: &[[f64; 3]], reference: &[[f64; 3]]) -> Matrix {
    let mut s = [[0.0; 3]; 3];
    for (m, r) in mobile.iter().zip(reference) {
        for i in 0..3 {
            for j in 0..3 {
                s[i][j] += m[i] * r[j];
            }
        }
    }
    let [[xx, xy, xz], [yx, yy, yz], [zx, zy, zz]] = s;
    let (_, vectors) = eigen([
        [xx + yy + zz, yz - zy, zx - xz, xy - yx],
        [yz - zy, xx - yy - zz, xy + yx, zx + xz],
        [zx - xz, xy + yx, yy - xx - zz, yz + zy],
        [xy - yx, zx + xz, yz + zy, zz - xx - yy],
    ]);
    of_quaternion(vectors[3])
}

/// The rotation to the principal axes of a centred cloud: rows are the axes, widest first, each
/// pointing to where the third moment of the cloud is positive; the last one makes them
/// right-handed, so mirror images stay different. It turns with the cloud as long as the three
/// widths differ and the first two axes have a heavier end.
pub fn principal_axes(points: &[[f64; 3]]) -> Matrix {
    let mut moments = [[0.0; 3]; 3];
    for p in points {
        for i in 0..3 {
            for j in 0..3 {
                moments[i][j] += p[i] * p[j];
            }
        }
    }
    let (_, vectors) = eigen(moments);
    let point = |axis: [f64; 3]| {
        let third: f64 = points
            .iter()
            .map(|p| (0..3).map(|i| p[i] * axis[i]).sum::<f64>().powi(3))
            .sum();
        axis.map(|x| if third < 0.0 { -x } else { x })
    };
    let (a, b) = (point(vectors[2]), point(vectors[1]));
    let c = [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ];
    [a, b, c]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::so3::rotation::random;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn cloud(seed: u64) -> Vec<[f64; 3]> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut points: Vec<[f64; 3]> = (0..40)
            .map(|_| std::array::from_fn(|i| (i + 1) as f64 * rng.random::<f64>().powi(2)))
            .collect();
        let mean: [f64; 3] =
            std::array::from_fn(|i| points.iter().map(|p| p[i]).sum::<f64>() / 40.0);
        for p in &mut points {
            *p = std::array::from_fn(|i| p[i] - mean[i]);
        }
        points
    }

    fn distance(a: &[[f64; 3]], b: &[[f64; 3]]) -> f64 {
        let pairs = a.iter().flatten().zip(b.iter().flatten());
        pairs.map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn superposition_undoes_a_rotation() {
        for seed in 0..20 {
            let points = cloud(seed);
            let r = random(seed + 100);
            let turned: Vec<_> = points.iter().map(|p| apply(&r, *p)).collect();
            let back = superposition(&turned, &points);
            let back: Vec<_> = turned.iter().map(|p| apply(&back, *p)).collect();
            assert!(distance(&back, &points) < 1e-12);
        }
    }

    #[test]
    fn principal_axes_turn_with_the_cloud() {
        for seed in 0..20 {
            let points = cloud(seed);
            let r = random(seed + 100);
            let turned: Vec<_> = points.iter().map(|p| apply(&r, *p)).collect();
            let canonical = |p: &[[f64; 3]]| -> Vec<[f64; 3]> {
                let axes = principal_axes(p);
                p.iter().map(|p| apply(&axes, *p)).collect()
            };
            assert!(distance(&canonical(&points), &canonical(&turned)) < 1e-11);
            let mirrored: Vec<_> = points.iter().map(|p| [p[0], p[1], -p[2]]).collect();
            assert!(distance(&canonical(&points), &canonical(&mirrored)) > 0.1);
        }
    }
}
