//! Neighborhoods of residues: all atoms within a radius of a CA atom.

use super::dataset::Dataset;
use super::neighbors::CellList;
use super::system::Atoms;
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

impl Clouds {
    fn empty() -> Self {
        Self {
            coordinates: Vec::new(),
            elements: Vec::new(),
            offsets: vec![0],
        }
    }

    /// Number of clouds.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Finds neighborhoods in one system.
pub struct SystemFinder<'a> {
    atoms: Atoms<'a>,
    rule: Neighborhood,
    cells: CellList,
}

impl<'a> SystemFinder<'a> {
    /// Sorts the atoms into cells (four bytes an atom).
    pub fn new(atoms: Atoms<'a>, rule: Neighborhood) -> Self {
        Self {
            cells: CellList::new(atoms.positions, None, rule.radius),
            atoms,
            rule,
        }
    }

    /// Neighborhoods of some atoms, in their order; atoms in file order.
    pub fn clouds(&self, centres: &[u32]) -> Clouds {
        let mut clouds = Clouds::empty();
        let mut found = Vec::new();
        for &centre in centres {
            self.push(centre as usize, &mut clouds, &mut found);
        }
        clouds
    }

    /// Appends the neighborhood of an atom; `found` is room to work in.
    fn push(&self, centre: usize, clouds: &mut Clouds, found: &mut Vec<u32>) {
        let positions = self.atoms.positions;
        self.cells.within(positions, centre, found);
        for i in found.iter().map(|&i| i as usize) {
            if self.keeps(centre, i) {
                let from_centre = subtract(positions[i], positions[centre]);
                clouds.coordinates.push(from_centre);
                clouds.elements.push(self.atoms.numbers[i]);
            }
        }
        clouds.offsets.push(clouds.coordinates.len());
    }

    fn keeps(&self, centre: usize, i: usize) -> bool {
        let own = self.atoms.residue_of[i] == self.atoms.residue_of[centre];
        i != centre
            && match own {
                true => self.rule.central_residue,
                false => self.rule.surroundings,
            }
    }
}

/// Finds neighborhoods in a dataset.
pub struct Finder<'a> {
    dataset: &'a Dataset,
    structures: Vec<SystemFinder<'a>>,
}

impl<'a> Finder<'a> {
    pub fn new(dataset: &'a Dataset, rule: Neighborhood) -> Self {
        let structures = (0..dataset.structures().len())
            .into_par_iter()
            .map(|s| SystemFinder::new(dataset.atoms(s), rule))
            .collect();
        Self {
            dataset,
            structures,
        }
    }

    pub fn dataset(&self) -> &'a Dataset {
        self.dataset
    }

    /// Neighborhoods of some centres of the dataset, in their order; atoms in file order.
    pub fn clouds(&self, centres: &[u32]) -> Clouds {
        let mut clouds = Clouds::empty();
        let mut found = Vec::new();
        for &centre in centres {
            let (structure, atom) = self.dataset.centre(centre);
            self.structures[structure].push(atom, &mut clouds, &mut found);
        }
        clouds
    }
}

fn subtract(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A residue of two atoms, and one atom of another.
    #[test]
    fn the_rule_chooses_among_the_atoms_that_are_near() {
        let positions = [[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [99.0; 3]];
        let atoms = Atoms {
            numbers: &[6, 7, 8, 16],
            positions: &positions,
            residue_of: &[0, 0, 1, 1],
        };
        let clouds = |central_residue, surroundings| {
            let rule = Neighborhood {
                radius: 10.0,
                central_residue,
                surroundings,
            };
            SystemFinder::new(atoms, rule).clouds(&[0, 2])
        };
        let all = clouds(true, true);
        assert_eq!(all.elements, [7, 8, 6, 7]);
        assert_eq!(all.offsets, [0, 2, 4]);
        assert_eq!(all.coordinates[0], [1.0, 0.0, 0.0]);
        assert_eq!(all.coordinates[2], [1.0, -3.0, 0.0]);
        assert_eq!(clouds(false, true).elements, [8, 6, 7]);
        let own = clouds(true, false);
        assert_eq!((own.elements, own.offsets), (vec![7], vec![0, 1, 1]));
    }
}
