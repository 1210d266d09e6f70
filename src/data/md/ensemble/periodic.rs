//! Making molecules whole in a periodic box.
//!
//! A simulation writes atoms wrapped into its box, so a molecule at the border is torn apart
//! and a molecule that crosses it jumps. Within a molecule, atoms are put where their bonds say;
//! the following molecules and frames, where they move least.

use crate::data::system::{Cell, Point, add, sub};
use std::collections::VecDeque;

/// A simulation's box of three vectors; `None` if they are too short for one. Programs write
/// zeros, or ones, where there is no box, and a box of a few Å holds no molecule.
pub(in crate::data::md) fn simulation_box(vectors: [Point; 3]) -> Option<Cell> {
    const SMALLEST: f64 = 8.0;
    Cell::new(vectors).filter(|cell| cell.volume() >= SMALLEST)
}

/// The molecules among some atoms of a system.
pub struct Molecules {
    /// (atom, atom that it is placed beside), molecule by molecule, parents first.
    placements: Vec<(u32, u32)>,
    /// Atoms of each molecule, in the order of their first atoms.
    atoms: Vec<Vec<u32>>,
}

impl Molecules {
    /// The molecules of a system of `count` atoms with `bonds` that hold a `wanted` atom.
    pub fn new(count: usize, bonds: &[[u32; 2]], wanted: &[u32]) -> Self {
        let mut neighbors = vec![Vec::new(); count];
        for &[i, j] in bonds {
            neighbors[i as usize].push(j);
            neighbors[j as usize].push(i);
        }
        let mut starts = wanted.to_vec();
        starts.sort_unstable();
        let mut seen = vec![false; count];
        let (mut placements, mut atoms) = (Vec::new(), Vec::new());
        for start in starts {
            if std::mem::replace(&mut seen[start as usize], true) {
                continue;
            }
            let mut molecule = vec![start];
            let mut queue = VecDeque::from([start]);
            while let Some(parent) = queue.pop_front() {
                for &child in &neighbors[parent as usize] {
                    if !std::mem::replace(&mut seen[child as usize], true) {
                        placements.push((child, parent));
                        molecule.push(child);
                        queue.push_back(child);
                    }
                }
            }
            atoms.push(molecule);
        }
        Self { placements, atoms }
    }
}

/// Makes the molecules of consecutive frames whole.
pub struct Unwrapper<'a> {
    molecules: &'a Molecules,
    /// Centre of the first molecule, then for each further one the way to its centre from that
    /// of the one before, in the previous frame.
    previous: Vec<Point>,
}

impl<'a> Unwrapper<'a> {
    pub fn new(molecules: &'a Molecules) -> Self {
        Self {
            molecules,
            previous: Vec::new(),
        }
    }

    /// Moves atoms of the next frame by lattice vectors of `cell`.
    pub fn apply(&mut self, positions: &mut [Point], cell: &Cell) {
        for &(atom, parent) in &self.molecules.placements {
            let d = sub(positions[atom as usize], positions[parent as usize]);
            let image = cell.image(d);
            positions[atom as usize] = sub(positions[atom as usize], image);
        }
        let first_frame = self.previous.is_empty();
        let mut before = [0.0; 3];
        for (k, molecule) in self.molecules.atoms.iter().enumerate() {
            let centre = centre(positions, molecule);
            let way = sub(centre, before);
            let shift = match self.previous.get(k) {
                Some(&last) => cell.nearest_image(sub(way, last)),
                // The first frame's first molecule stays where it is.
                None if k == 0 => [0.0; 3],
                None => cell.nearest_image(way),
            };
            for &atom in molecule {
                positions[atom as usize] = sub(positions[atom as usize], shift);
            }
            let way = sub(way, shift);
            before = add(before, way);
            if first_frame && self.previous.len() == k {
                self.previous.push(way);
            } else {
                self.previous[k] = way;
            }
        }
    }
}

fn centre(positions: &[Point], atoms: &[u32]) -> Point {
    let sum = atoms
        .iter()
        .fold([0.0; 3], |s, &a| add(s, positions[a as usize]));
    sum.map(|x| x / atoms.len().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::system::{boxes, dot};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Chains longer than the box, drifting far, wrapped atom by atom in every frame.
    #[test]
    fn torn_chains_are_mended_and_followed() {
        for cell in boxes() {
            let mut rng = ChaCha8Rng::seed_from_u64(4);
            let chains = 2;
            let length = 40;
            let count = chains * length;
            let bonds: Vec<[u32; 2]> = (0..count as u32 - 1)
                .filter(|i| !(*i as usize + 1).is_multiple_of(length))
                .map(|i| [i, i + 1])
                .collect();
            let mut real: Vec<Point> = vec![[3.0; 3]];
            for i in 1..count {
                // Long steps along x, so that a chain spans several boxes.
                let step = [
                    1.2,
                    rng.random_range(-0.5..0.5),
                    rng.random_range(-0.5..0.5),
                ];
                let last = if i == length {
                    [5.0, 8.0, 6.0]
                } else {
                    real[i - 1]
                };
                real.push(add(last, step));
            }
            let wanted: Vec<u32> = (0..count as u32).collect();
            let molecules = Molecules::new(count, &bonds, &wanted);
            assert_eq!(molecules.atoms.len(), chains);
            let mut unwrapper = Unwrapper::new(&molecules);
            let mut offset: Option<Point> = None;
            for _ in 0..60 {
                let drift: Point = std::array::from_fn(|_| rng.random_range(-2.0..2.5));
                for point in &mut real {
                    let jitter: Point = std::array::from_fn(|_| rng.random_range(-0.1..0.1));
                    *point = add(*point, add(drift, jitter));
                }
                let mut seen: Vec<Point> = real
                    .iter()
                    .map(|&p| {
                        let floor = cell.fractional(p).map(f64::floor);
                        sub(p, cell.lattice(floor))
                    })
                    .collect();
                unwrapper.apply(&mut seen, &cell);
                for chain in 0..chains {
                    let first = chain * length;
                    for i in 0..length {
                        let got = sub(seen[first + i], seen[first]);
                        let want = sub(real[first + i], real[first]);
                        let wrong = sub(got, want);
                        assert!(dot(wrong, wrong) < 1e-18, "{got:?} {want:?}");
                    }
                }
                // The same lattice vector away from the truth in every frame: nothing jumps.
                let away = sub(seen[0], real[0]);
                let wrong = sub(away, *offset.get_or_insert(away));
                assert!(dot(wrong, wrong) < 1e-18, "{away:?} {offset:?}");
            }
        }
    }

    #[test]
    fn no_box_is_no_box() {
        let cube = |side: f64| [[side, 0.0, 0.0], [0.0, side, 0.0], [0.0, 0.0, side]];
        for none in [[[0.0; 3]; 3], cube(1.0), cube(f64::NAN)] {
            assert!(simulation_box(none).is_none(), "{none:?}");
        }
        assert_eq!(simulation_box(cube(9.0)), Cell::new(cube(9.0)));
    }
}
