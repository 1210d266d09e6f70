//! Neighborhoods of residues: all atoms within a radius of a CA atom, found by a cell list.

use super::dataset::{Atoms, Dataset};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Which atoms belong to a neighborhood.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Neighborhood {
    /// Å, inclusive.
    pub radius: f64,
    /// Keep the atoms of the central residue other than its CA, as the published H-AE does.
    pub central_residue: bool,
    /// Keep the atoms of other residues; without them a neighborhood is one residue.
    pub surroundings: bool,
}

impl Default for Neighborhood {
    fn default() -> Self {
        Self {
            radius: 10.0,
            central_residue: true,
            surroundings: true,
        }
    }
}

/// Point clouds, concatenated: cloud `i` is `offsets[i]..offsets[i + 1]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Clouds {
    /// Å, relative to the cloud's centre.
    pub coordinates: Vec<[f32; 3]>,
    /// Atomic numbers.
    pub elements: Vec<u8>,
    pub offsets: Vec<usize>,
}

/// Finds neighborhoods in a dataset.
pub struct Finder<'a> {
    dataset: &'a Dataset,
    rule: Neighborhood,
    cells: Vec<Cells>,
}

impl<'a> Finder<'a> {
    /// Sorts every structure's atoms into cells (four bytes an atom).
    pub fn new(dataset: &'a Dataset, rule: Neighborhood) -> Self {
        let cells = (0..dataset.structures().len())
            .into_par_iter()
            .map(|s| Cells::new(dataset.atoms(s).coordinates, rule.radius))
            .collect();
        Self {
            dataset,
            rule,
            cells,
        }
    }

    pub fn dataset(&self) -> &'a Dataset {
        self.dataset
    }

    /// Neighborhoods of some centres, in their order; atoms in file order.
    pub fn clouds(&self, centres: &[u32]) -> Clouds {
        let mut clouds = Clouds {
            coordinates: Vec::new(),
            elements: Vec::new(),
            offsets: vec![0],
        };
        let mut found = Vec::new();
        for &centre in centres {
            let (structure, atom) = self.dataset.centre(centre);
            let atoms = self.dataset.atoms(structure);
            self.cells[structure].within(atoms.coordinates, atom, self.rule.radius, &mut found);
            for &i in &found {
                if self.keeps(&atoms, atom, i as usize) {
                    clouds.coordinates.push(subtract(
                        atoms.coordinates[i as usize],
                        atoms.coordinates[atom],
                    ));
                    clouds.elements.push(atoms.elements[i as usize]);
                }
            }
            clouds.offsets.push(clouds.coordinates.len());
        }
        clouds
    }

    fn keeps(&self, atoms: &Atoms, centre: usize, i: usize) -> bool {
        let own = atoms.residue_of[i] == atoms.residue_of[centre];
        i != centre
            && match own {
                true => self.rule.central_residue,
                false => self.rule.surroundings,
            }
    }
}

fn subtract(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

/// Squared distance, in f64 of the f32 coordinates and compared without slack: as in the
/// published code, so that neighborhoods are the same to the last atom.
fn squared_distance(a: [f32; 3], b: [f32; 3]) -> f64 {
    (0..3)
        .map(|k| (f64::from(a[k]) - f64::from(b[k])).powi(2))
        .sum()
}

/// Atoms of one structure sorted into cubic cells at least as wide as the radius.
struct Cells {
    origin: [f32; 3],
    width: f64,
    counts: [usize; 3],
    /// Cell `c` holds `order[starts[c]..starts[c + 1]]`.
    starts: Vec<u32>,
    order: Vec<u32>,
}

impl Cells {
    fn new(coordinates: &[[f32; 3]], radius: f64) -> Self {
        let fold = |start: f32, f: fn(f32, f32) -> f32| {
            coordinates.iter().fold([start; 3], |m, c| {
                [f(m[0], c[0]), f(m[1], c[1]), f(m[2], c[2])]
            })
        };
        let (low, high) = (fold(f32::MAX, f32::min), fold(f32::MIN, f32::max));
        let mut width = radius.max(1e-3);
        // Far outliers must not make more cells than atoms are worth.
        let counts = loop {
            let counts: [usize; 3] = std::array::from_fn(|k| {
                let span = f64::from(high[k]) - f64::from(low[k]);
                (span.max(0.0) / width) as usize + 1
            });
            if counts.iter().map(|&c| c as f64).product::<f64>()
                <= 64.0 + 4.0 * coordinates.len() as f64
            {
                break counts;
            }
            width *= 1.5;
        };
        let mut cells = Self {
            origin: low,
            width,
            counts,
            starts: Vec::new(),
            order: vec![0; coordinates.len()],
        };
        cells.fill(coordinates);
        cells
    }

    /// Counting sort, so that a cell's atoms are in file order.
    fn fill(&mut self, coordinates: &[[f32; 3]]) {
        let mut starts = vec![0u32; self.counts.iter().product::<usize>() + 1];
        for &c in coordinates {
            starts[self.index(self.place(c)) + 1] += 1;
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let mut next = starts.clone();
        for (i, &c) in coordinates.iter().enumerate() {
            let cell = self.index(self.place(c));
            self.order[next[cell] as usize] = i as u32;
            next[cell] += 1;
        }
        self.starts = starts;
    }

    fn place(&self, c: [f32; 3]) -> [usize; 3] {
        std::array::from_fn(|k| {
            let cell = ((f64::from(c[k]) - f64::from(self.origin[k])) / self.width) as usize;
            cell.min(self.counts[k] - 1)
        })
    }

    fn index(&self, [x, y, z]: [usize; 3]) -> usize {
        (x * self.counts[1] + y) * self.counts[2] + z
    }

    /// Atoms within `radius` of atom `centre` (itself included), ascending.
    fn within(&self, coordinates: &[[f32; 3]], centre: usize, radius: f64, found: &mut Vec<u32>) {
        found.clear();
        let middle = coordinates[centre];
        let limit = radius * radius;
        let place = self.place(middle);
        let around = |k: usize| place[k].saturating_sub(1)..=(place[k] + 1).min(self.counts[k] - 1);
        for x in around(0) {
            for y in around(1) {
                // Cells along z are neighbours in memory.
                let z = around(2);
                let from = self.starts[self.index([x, y, *z.start()])] as usize;
                let to = self.starts[self.index([x, y, *z.end()]) + 1] as usize;
                let near = |&&i: &&u32| squared_distance(coordinates[i as usize], middle) <= limit;
                found.extend(self.order[from..to].iter().filter(near));
            }
        }
        found.sort_unstable();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Atoms in a box, the last one far away.
    fn atoms(seed: u64, n: usize, side: f32) -> Vec<[f32; 3]> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut all: Vec<[f32; 3]> = (0..n)
            .map(|_| std::array::from_fn(|_| rng.random::<f32>() * side))
            .collect();
        all.push([9e5, -9e5, 3.0]);
        all
    }

    #[test]
    fn cells_find_what_brute_force_finds() {
        for (seed, n, side) in [(1, 2000, 60.0), (2, 50, 5.0), (3, 300, 400.0)] {
            let all = atoms(seed, n, side);
            let cells = Cells::new(&all, 10.0);
            let mut found = Vec::new();
            for centre in (0..all.len()).step_by(7).chain([n]) {
                cells.within(&all, centre, 10.0, &mut found);
                let limit = 100.0;
                let expected: Vec<u32> = (0..all.len() as u32)
                    .filter(|&i| squared_distance(all[i as usize], all[centre]) <= limit)
                    .collect();
                assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn the_radius_is_inclusive() {
        let all = vec![[0.5, 0.0, 0.0], [10.5, 0.0, 0.0], [10.501, 0.0, 0.0]];
        let mut found = Vec::new();
        Cells::new(&all, 10.0).within(&all, 0, 10.0, &mut found);
        assert_eq!(found, [0, 1]);
    }
}
