//! The lattice of a periodic system.

use serde::{Deserialize, Serialize};

pub(crate) type Point = [f64; 3];

/// The vectors of a lattice, in Å, and the directions in which it repeats: none but the listed
/// ones in a slab or a wire.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    vectors: [Point; 3],
    periodic: [bool; 3],
    /// Rows that give the fractional coordinates of a point.
    inverse: [Point; 3],
}

pub(crate) fn sub(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

pub(crate) fn add(a: Point, b: Point) -> Point {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

pub(crate) fn dot(a: Point, b: Point) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(crate) fn cross(a: Point, b: Point) -> Point {
    [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ]
}

fn unit(a: Point) -> Point {
    a.map(|x| x / dot(a, a).sqrt())
}

/// A unit vector perpendicular to `a`.
fn perpendicular(a: Point) -> Point {
    let least = (0..3).min_by(|&i, &j| a[i].abs().total_cmp(&a[j].abs()));
    let mut axis = [0.0; 3];
    axis[least.unwrap_or(0)] = 1.0;
    unit(cross(a, axis))
}

impl Cell {
    /// The lattice of three vectors that repeats in all directions; `None` if they span no volume.
    pub fn new(vectors: [Point; 3]) -> Option<Self> {
        Self::partly_periodic(vectors, [true; 3])
    }

    /// The lattice that repeats in those of the three directions whose entry is true. A vector of
    /// zero length in another direction, as files write it, is replaced by a unit vector
    /// perpendicular to the rest. `None` if the vectors span no volume.
    pub fn partly_periodic(vectors: [Point; 3], periodic: [bool; 3]) -> Option<Self> {
        let vectors = completed(vectors, periodic);
        let [a, b, c] = vectors;
        let normals = [cross(b, c), cross(c, a), cross(a, b)];
        let volume = dot(a, normals[0]);
        let scale: f64 = vectors.map(|v| dot(v, v).sqrt()).iter().product();
        // Vectors that lie in one plane up to rounding span nothing.
        if !volume.is_finite() || volume.abs() <= 1e-9 * scale {
            return None;
        }
        Some(Self {
            vectors,
            periodic,
            inverse: normals.map(|n| n.map(|x| x / volume)),
        })
    }

    /// Å, one vector a row.
    pub fn vectors(&self) -> [Point; 3] {
        self.vectors
    }

    /// The directions, those of the vectors, in which the lattice repeats.
    pub fn periodic(&self) -> [bool; 3] {
        self.periodic
    }

    /// Å³.
    pub fn volume(&self) -> f64 {
        let [a, b, c] = self.vectors;
        dot(a, cross(b, c)).abs()
    }

    /// Å between the two faces of the cell that the vector of each direction joins.
    pub fn heights(&self) -> [f64; 3] {
        self.inverse.map(|row| 1.0 / dot(row, row).sqrt())
    }

    /// Coordinates of a point in units of the vectors.
    pub fn fractional(&self, point: Point) -> Point {
        self.inverse.map(|row| dot(row, point))
    }

    /// Å: the sum of the vectors, each times its number of steps.
    pub fn lattice(&self, steps: Point) -> Point {
        std::array::from_fn(|k| (0..3).map(|i| steps[i] * self.vectors[i][k]).sum())
    }

    /// The lattice vector whose removal brings `d` to fractional coordinates of at most one
    /// half: the nearest image if `d` is a bond, which is short against the cell.
    pub fn image(&self, d: Point) -> Point {
        let fractional = self.fractional(d);
        self.lattice(std::array::from_fn(|k| match self.periodic[k] {
            true => fractional[k].round(),
            false => 0.0,
        }))
    }

    /// The lattice vector whose removal makes `d` shortest, in a cell whose angles are those of
    /// simulation boxes (the cell's own vectors among its shortest ones).
    pub fn nearest_image(&self, d: Point) -> Point {
        let close = self.image(d);
        let mut best = (f64::INFINITY, close);
        for code in 0..27 {
            let steps = [code % 3, code / 3 % 3, code / 9].map(|s| f64::from(s) - 1.0);
            if (0..3).any(|k| steps[k] != 0.0 && !self.periodic[k]) {
                continue;
            }
            let vector = add(close, self.lattice(steps));
            let rest = sub(d, vector);
            let length = dot(rest, rest);
            // Strictly shorter by more than rounding, so that ties are decided once and for all.
            if length < best.0 * (1.0 - 1e-12) {
                best = (length, vector);
            }
        }
        best.1
    }

    /// The shortest vector from `from` to an image of `to`; see [`Cell::nearest_image`].
    pub fn separation(&self, from: Point, to: Point) -> Point {
        let d = sub(to, from);
        sub(d, self.nearest_image(d))
    }
}

/// The vectors, those of zero length in open directions replaced.
fn completed(mut vectors: [Point; 3], periodic: [bool; 3]) -> [Point; 3] {
    let missing = |v: &[Point; 3], k: usize| !periodic[k] && v[k] == [0.0; 3];
    for k in 0..3 {
        if !missing(&vectors, k) {
            continue;
        }
        let (i, j) = ((k + 1) % 3, (k + 2) % 3);
        vectors[k] = match (vectors[i] == [0.0; 3], vectors[j] == [0.0; 3]) {
            (true, true) => std::array::from_fn(|c| f64::from(u8::from(c == k))),
            (true, false) => perpendicular(vectors[j]),
            (false, true) => perpendicular(vectors[i]),
            (false, false) => unit(cross(vectors[i], vectors[j])),
        };
    }
    vectors
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// A cuboid and GROMACS's rhombic dodecahedron.
    pub fn boxes() -> [Cell; 2] {
        let d = 20.0;
        [
            Cell::new([[20.0, 0.0, 0.0], [0.0, 25.0, 0.0], [0.0, 0.0, 30.0]]).unwrap(),
            Cell::new([
                [d, 0.0, 0.0],
                [0.0, d, 0.0],
                [d / 2.0, d / 2.0, d * 0.5f64.sqrt()],
            ])
            .unwrap(),
        ]
    }

    #[test]
    fn separations_are_the_shortest() {
        for cell in boxes() {
            let mut rng = ChaCha8Rng::seed_from_u64(9);
            for _ in 0..200 {
                let [a, b]: [Point; 2] =
                    std::array::from_fn(|_| std::array::from_fn(|_| rng.random_range(-30.0..30.0)));
                let found = cell.separation(a, b);
                let mut shortest = f64::INFINITY;
                for code in 0..15 * 15 * 15 {
                    let steps = [code % 15, code / 15 % 15, code / 225].map(|s| f64::from(s) - 7.0);
                    let d = add(sub(b, a), cell.lattice(steps));
                    shortest = shortest.min(dot(d, d));
                }
                assert!((dot(found, found) - shortest).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn open_directions_have_no_images() {
        let slab = [[4.0, 0.0, 0.0], [1.0, 5.0, 0.0], [0.0, 0.0, 0.0]];
        let cell = Cell::partly_periodic(slab, [true, true, false]).unwrap();
        assert_eq!(cell.vectors()[2], [0.0, 0.0, 1.0]);
        assert_eq!(cell.volume(), 20.0);
        let d = cell.separation([0.0; 3], [3.9, 0.1, 90.0]);
        assert!(dot(sub(d, [-0.1, 0.1, 90.0]), sub(d, [-0.1, 0.1, 90.0])) < 1e-18);
        // A wire along a skewed direction, and a molecule.
        let wire = [[0.0; 3], [1.0, 2.0, 2.0], [0.0; 3]];
        let cell = Cell::partly_periodic(wire, [false, true, false]).unwrap();
        let [a, b, c] = cell.vectors();
        assert!(
            [dot(a, b), dot(b, c), dot(a, c)]
                .iter()
                .all(|x| x.abs() < 1e-12)
        );
        let heights = cell.heights();
        let expected = [1.0, 3.0, 1.0];
        assert!(
            (0..3).all(|k| (heights[k] - expected[k]).abs() < 1e-12),
            "{heights:?}"
        );
        assert!(Cell::partly_periodic([[0.0; 3]; 3], [false; 3]).is_some());
    }

    #[test]
    fn flat_cells_are_none() {
        assert!(Cell::new([[0.0; 3]; 3]).is_none());
        assert!(Cell::new([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]]).is_none());
        assert!(Cell::new([[f64::NAN, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]]).is_none());
        assert!(Cell::new([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).is_some());
    }

    #[test]
    fn fractional_coordinates_are_steps() {
        for cell in boxes() {
            let steps = [0.25, -3.0, 1.5];
            let back = cell.fractional(cell.lattice(steps));
            assert!((0..3).all(|k| (back[k] - steps[k]).abs() < 1e-12));
        }
    }
}
