//! Triangle meshes, and how they look from the sphere around them (Cohen et al. 2018, "Spherical
//! CNNs", as the paper's experiment on shapes).

mod cast;
mod read;

pub use cast::{CHANNELS, MEAN, SCALE, channels, standardise};
pub use read::{is_mesh_name, read};

use crate::so3::rotation::{Matrix, rotate};
use crate::{Error, Result};
use chull::ConvexHullWrapper;

pub type Point = [f64; 3];

/// A triangle mesh.
#[derive(Debug, Clone, PartialEq)]
pub struct Mesh {
    pub vertices: Vec<Point>,
    /// Vertices of each triangle, counter-clockwise from outside.
    pub faces: Vec<[u32; 3]>,
}

/// Beyond it areas, which have its fourth power in them, are not finite.
const FARTHEST: f64 = 1e50;

/// The largest distance of a vertex from the centre, on a sphere of radius 1 that looks inside.
const RADIUS: f64 = 0.99;

impl Mesh {
    /// A mesh of what can be seen: without triangles of no area, and vertices of none.
    ///
    /// # Errors
    /// No triangle, a vertex that is not finite or missing, no area.
    pub fn new(vertices: Vec<Point>, faces: Vec<[u32; 3]>) -> Result<Self> {
        if faces.is_empty() {
            return Err(Error::input("no faces: a mesh of triangles is needed"));
        }
        if let Some(i) = vertices
            .iter()
            .position(|v| !v.iter().all(|c| c.abs() <= FARTHEST))
        {
            return Err(Error::input(format!(
                "vertex {i} (from 0): not a finite number within {FARTHEST:e}"
            )));
        }
        if let Some(i) = faces
            .iter()
            .flatten()
            .find(|&&i| i as usize >= vertices.len())
        {
            return Err(Error::input(format!(
                "a face has vertex {i} (from 0), there are {}",
                vertices.len()
            )));
        }
        let mut mesh = Self { vertices, faces };
        let all = std::mem::take(&mut mesh.faces);
        let seen = |f: &[u32; 3]| mesh.corners(f).is_some_and(|t| area(&t) > 0.0);
        let faces: Vec<[u32; 3]> = all.into_iter().filter(seen).collect();
        if faces.is_empty() {
            return Err(Error::input("no face has an area"));
        }
        mesh.faces = faces;
        mesh.drop_unused();
        Ok(mesh)
    }

    fn corners(&self, face: &[u32; 3]) -> Option<[Point; 3]> {
        let at = |i: u32| self.vertices.get(i as usize).copied();
        Some([at(face[0])?, at(face[1])?, at(face[2])?])
    }

    /// The corners of every triangle.
    pub fn triangles(&self) -> impl Iterator<Item = [Point; 3]> {
        self.faces
            .iter()
            .map(|f| f.map(|i| self.vertices[i as usize]))
    }

    fn drop_unused(&mut self) {
        let mut number = vec![u32::MAX; self.vertices.len()];
        let mut used = Vec::new();
        for i in self.faces.iter_mut().flatten() {
            let number = &mut number[*i as usize];
            if *number == u32::MAX {
                *number = used.len() as u32;
                used.push(self.vertices[*i as usize]);
            }
            *i = *number;
        }
        self.vertices = used;
    }

    /// The centroid of its surface.
    pub fn centroid(&self) -> Point {
        let (mut sum, mut total) = ([0.0; 3], 0.0);
        for triangle in self.triangles() {
            let area = area(&triangle);
            total += area;
            for (axis, s) in sum.iter_mut().enumerate() {
                *s += area * triangle.iter().map(|corner| corner[axis]).sum::<f64>() / 3.0;
            }
        }
        sum.map(|s| s / total)
    }

    /// The mesh about its centroid, moved by `shift` of its radius, turned by `rotation`, and scaled
    /// into the unit sphere.
    pub fn placed(&self, rotation: &Matrix, shift: &Point) -> Self {
        let largest =
            |points: &[Point]| points.iter().map(|v| dot(v, v).sqrt()).fold(0.0, f64::max);
        let c = self.centroid();
        let from = |c: &Point, v: &Point| [v[0] - c[0], v[1] - c[1], v[2] - c[2]];
        let mut vertices: Vec<Point> = self.vertices.iter().map(|v| from(&c, v)).collect();
        let radius = largest(&vertices);
        let c = shift.map(|s| -s * radius);
        vertices
            .iter_mut()
            .for_each(|v| *v = rotate(rotation, from(&c, v)));
        let largest = largest(&vertices);
        let vectors = vertices.iter_mut().flatten();
        vectors.for_each(|x| *x *= RADIUS / largest);
        Self {
            vertices,
            faces: self.faces.clone(),
        }
    }

    /// The convex hull, its normals outward.
    ///
    /// # Errors
    /// All points in a plane; a failure of the library.
    pub fn hull(&self) -> Result<Self> {
        let points: Vec<Vec<f64>> = self.vertices.iter().map(|v| v.to_vec()).collect();
        let hull = ConvexHullWrapper::try_new(&points, None)
            .map_err(|e| Error::input(format!("no convex hull ({e}): all points in a plane?")))?;
        let (points, indices) = hull.vertices_indices();
        let vertices: Vec<Point> = points.iter().map(|p| [p[0], p[1], p[2]]).collect();
        let faces = indices
            .as_chunks::<3>()
            .0
            .iter()
            .map(|f| f.map(|i| i as u32));
        let n = vertices.len() as f64;
        let middle: Point = std::array::from_fn(|k| vertices.iter().map(|v| v[k]).sum::<f64>() / n);
        let mut hull = Self {
            faces: faces.collect(),
            vertices,
        };
        let outward = |[a, b, c]: [Point; 3]| dot(&normal(&[a, b, c]), &minus(&a, &middle)) >= 0.0;
        let turned: Vec<bool> = hull.triangles().map(outward).collect();
        for (face, outward) in hull.faces.iter_mut().zip(turned) {
            if !outward {
                face.swap(1, 2);
            }
        }
        Ok(hull)
    }
}

fn dot(a: &Point, b: &Point) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn minus(a: &Point, b: &Point) -> Point {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

fn cross(a: &Point, b: &Point) -> Point {
    [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ]
}

/// Twice the area of a triangle, along its normal.
fn normal([a, b, c]: &[Point; 3]) -> Point {
    cross(&minus(b, a), &minus(c, a))
}

fn area(triangle: &[Point; 3]) -> f64 {
    let n = normal(triangle);
    dot(&n, &n).sqrt() / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::so3::rotation;

    fn cube() -> Mesh {
        let vertices = (0..8)
            .map(|i| [i & 1, (i >> 1) & 1, i >> 2].map(f64::from))
            .collect();
        let quads = [
            [0, 2, 3, 1],
            [4, 5, 7, 6],
            [0, 1, 5, 4],
            [2, 6, 7, 3],
            [0, 4, 6, 2],
            [1, 3, 7, 5],
        ];
        let faces = quads
            .iter()
            .flat_map(|&[a, b, c, d]| [[a, b, c], [a, c, d]]);
        Mesh::new(vertices, faces.collect()).unwrap()
    }

    #[test]
    fn a_cube_is_placed_and_is_its_own_hull() {
        let cube = cube();
        let near = |a: Point, b: Point| minus(&a, &b).iter().all(|d| d.abs() < 1e-15);
        assert!(near(cube.centroid(), [0.5; 3]));
        let placed = cube.placed(&rotation::random(3), &[0.0; 3]);
        let sizes = placed.vertices.iter().map(|v| dot(v, v).sqrt());
        sizes.for_each(|s| assert!((s - 0.99).abs() < 1e-14));
        let hull = placed.hull().unwrap();
        assert_eq!((hull.vertices.len(), hull.faces.len()), (8, 12));
        let total = |m: &Mesh| m.triangles().map(|t| area(&t)).sum::<f64>();
        assert!((total(&hull) - total(&placed)).abs() < 1e-13);
        hull.triangles()
            .for_each(|t| assert!(dot(&normal(&t), &t[0]) > 0.0));
    }

    #[test]
    fn meshes_without_a_surface_are_refused() {
        let corners = vec![
            [0.0; 3],
            [1.0, 0.0, 0.0],
            [2.0, 0.0, 0.0],
            [0.0, f64::NAN, 0.0],
        ];
        let refused = |vertices: &[Point], faces: &[[u32; 3]], words: &str| {
            let error = Mesh::new(vertices.to_vec(), faces.to_vec())
                .unwrap_err()
                .to_string();
            assert!(error.contains(words), "{error}");
        };
        refused(&corners[..3], &[], "no faces");
        refused(&corners[..3], &[[0, 1, 2]], "no face has an area");
        refused(
            &corners[..3],
            &[[0, 1, 3]],
            "a face has vertex 3 (from 0), there are 3",
        );
        refused(
            &corners,
            &[[0, 1, 2]],
            "vertex 3 (from 0): not a finite number",
        );
        let flat = vec![[0.0; 3], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]];
        let flat = Mesh::new(flat, vec![[0, 1, 2], [1, 3, 2]]).unwrap();
        assert!(
            flat.hull()
                .unwrap_err()
                .to_string()
                .contains("all points in a plane")
        );
    }
}
