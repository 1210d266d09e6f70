//! Rays from the points of a grid to the centre, and what they meet.

use super::{Mesh, Point, cross, dot, minus};
use crate::so3::sphere::Grid;
use std::f64::consts::PI;

/// Names of the channels: of the mesh, then of its convex hull.
pub const CHANNELS: [&str; 6] = [
    "distance",
    "cosine",
    "sine",
    "hull distance",
    "hull cosine",
    "hull sine",
];
/// What channels are centred and scaled by.
pub const MEAN: [f64; 6] = [0.75, 0.59, 0.54, 0.52, 0.80, 0.51];
pub const SCALE: [f64; 6] = [0.26, 0.50, 0.29, 0.19, 0.18, 0.25];

/// Three channels `[3, 2b, 2b]`: the distance from a grid point to the first hit of its ray (1 where
/// there is none), the cosine between the ray's outward direction and the normal of the triangle that
/// is hit, and the sine (0 where there is none).
pub fn channels(mesh: &Mesh, grid: &Grid) -> Vec<f64> {
    let points = grid.points();
    let n = points.len();
    let mut out = vec![0.0; 3 * n];
    out[..n].fill(1.0);
    let mut nearest = vec![f64::INFINITY; n];
    for corners in mesh.triangles() {
        let triangle = Triangle::new(corners);
        triangle.within(grid, |i| {
            let Some(distance) = triangle.hit(&points[i]).filter(|&d| d < nearest[i]) else {
                return;
            };
            nearest[i] = distance;
            let sine = cross(&triangle.unit, &points[i]);
            out[i] = distance;
            out[n + i] = dot(&triangle.unit, &points[i]);
            out[2 * n + i] = dot(&sine, &sine).sqrt();
        });
    }
    out
}

/// Centres and scales channels `[C, points]`, misses included.
pub fn standardise(channels: &mut [f64], points: usize) {
    for (channel, values) in channels.chunks_exact_mut(points).enumerate() {
        let (mean, scale) = (MEAN[channel], SCALE[channel]);
        values.iter_mut().for_each(|v| *v = (*v - mean) / scale);
    }
}

/// What the rays of all grid points need to know of a triangle: they aim at the centre, so that each
/// is a few products.
struct Triangle {
    corners: [Point; 3],
    /// `N = e1 x e2`, `e2 x a`, `a x e1` with the corner `a` and the edges from it.
    products: [Point; 3],
    /// `a . N`
    height: f64,
    unit: Point,
}

impl Triangle {
    fn new(corners: [Point; 3]) -> Self {
        let [a, b, c] = corners;
        let (e1, e2) = (minus(&b, &a), minus(&c, &a));
        let normal = cross(&e1, &e2);
        let length = dot(&normal, &normal).sqrt();
        Self {
            corners,
            products: [normal, cross(&e2, &a), cross(&a, &e1)],
            height: dot(&a, &normal),
            unit: normal.map(|c| c / length),
        }
    }

    /// The way from the point `g` of the unit sphere towards the centre, and beyond, to the triangle.
    fn hit(&self, g: &Point) -> Option<f64> {
        let determinant = dot(g, &self.products[0]);
        if determinant == 0.0 {
            return None;
        }
        let u = dot(g, &self.products[1]) / determinant;
        let v = dot(g, &self.products[2]) / determinant;
        let distance = 1.0 - self.height / determinant;
        (u >= 0.0 && v >= 0.0 && u + v <= 1.0 && distance >= 0.0).then_some(distance)
    }

    /// Calls `visit` for all grid points whose rays may meet the triangle: those in a cap around its
    /// directions from the centre, and in the opposite cap, rays being met beyond the centre too.
    fn within(&self, grid: &Grid, mut visit: impl FnMut(usize)) {
        let lengths = self.corners.map(|c| dot(&c, &c).sqrt());
        let middle: Point =
            std::array::from_fn(|k| (0..3).map(|i| self.corners[i][k] / lengths[i]).sum());
        let length = dot(&middle, &middle).sqrt();
        let axis = middle.map(|c| c / length);
        let angle = |i: usize| {
            (dot(&axis, &self.corners[i]) / lengths[i])
                .clamp(-1.0, 1.0)
                .acos()
        };
        let radius = (0..3).map(angle).fold(0.0, f64::max) + 1e-6;
        // Also if a corner is the centre (not a number), or if the triangle is around it.
        if radius.is_nan() || radius >= 1.5 {
            return (0..grid.len()).for_each(visit);
        }
        for sign in [1.0, -1.0] {
            cap(grid, &axis.map(|c| sign * c), radius, &mut visit);
        }
    }
}

/// Calls `visit` for all grid points within `radius` of a direction, and some more.
fn cap(grid: &Grid, [x, y, z]: &Point, radius: f64, visit: &mut impl FnMut(usize)) {
    let (n, b) = (grid.side(), grid.bandwidth as f64);
    let (beta, alpha) = (z.clamp(-1.0, 1.0).acos(), y.atan2(*x));
    let ring = |angle: f64| (angle * 2.0 * b / PI).clamp(0.0, n as f64);
    let first = ring(beta - radius).floor() as usize;
    let rings = first.saturating_sub(1)..(ring(beta + radius).ceil() as usize + 1).min(n);
    // Half the width of the cap in azimuth; all around where it has a pole.
    let polar = beta - radius <= 0.0 || beta + radius >= PI;
    let width = if polar {
        PI
    } else {
        (radius.sin() / beta.sin()).min(1.0).asin() + 1e-9
    };
    let column = |angle: f64| angle * b / PI;
    let from = column(alpha - width).floor() as i64;
    let count = (column(alpha + width).ceil() as i64 - from + 1).min(n as i64);
    for row in rings {
        for k in from..from + count {
            visit(row * n + k.rem_euclid(n as i64) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::so3::rotation;
    use crate::so3::sphere::Rings;

    /// A tetrahedron about the centre, and a small triangle away from it.
    fn mesh() -> Mesh {
        let t = rotation::random(4);
        let mut vertices = vec![
            [0.5, 0.5, 0.5],
            [0.5, -0.5, -0.5],
            [-0.5, 0.5, -0.5],
            [-0.5, -0.5, 0.5],
        ];
        vertices.extend([[0.1, 0.8, 0.3], [0.2, 0.8, 0.3], [0.1, 0.8, 0.45]]);
        let vertices = vertices
            .into_iter()
            .map(|v| rotation::rotate(&t, v))
            .collect();
        let faces = vec![[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2], [4, 5, 6]];
        Mesh::new(vertices, faces).unwrap()
    }

    #[test]
    fn no_ray_is_lost_by_looking_near_a_triangle_only() {
        for (rings, bandwidth) in [(Rings::Soft, 20), (Rings::DriscollHealy, 23)] {
            let grid = Grid { rings, bandwidth };
            let seen = channels(&mesh(), &grid);
            let n = grid.len();
            let triangles: Vec<Triangle> = mesh().triangles().map(Triangle::new).collect();
            for (i, g) in grid.points().iter().enumerate() {
                let hits = triangles.iter().filter_map(|t| t.hit(g));
                let nearest = hits.fold(f64::INFINITY, f64::min);
                // From a point on all sides of a closed shape something is always met.
                assert_eq!(seen[i], nearest);
                let unit = seen[n + i].powi(2) + seen[2 * n + i].powi(2);
                assert!((unit - 1.0).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn channels_are_those_of_a_plane() {
        // A large triangle at height 0.4, seen from above and, its back, from below.
        let z = 0.4;
        let mesh = Mesh::new(
            vec![[9.0, 0.0, z], [-9.0, 9.0, z], [-9.0, -9.0, z]],
            vec![[0, 1, 2]],
        );
        let grid = Grid {
            rings: Rings::Soft,
            bandwidth: 8,
        };
        let seen = channels(&mesh.unwrap(), &grid);
        let n = grid.len();
        for (i, g) in grid.points().iter().enumerate() {
            let (distance, cosine) = (seen[i], seen[n + i]);
            if g[2] > 0.5 {
                assert!((distance - (1.0 - z / g[2])).abs() < 1e-12);
                assert!((cosine - g[2]).abs() < 1e-12);
            } else if g[2] < -0.5 {
                assert!((distance - (1.0 + z / -g[2])).abs() < 1e-12);
                assert!((cosine - g[2]).abs() < 1e-12);
            }
        }
    }
}
