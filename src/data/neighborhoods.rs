//! Neighborhoods of residues: all atoms within a radius of a CA atom.

use super::dataset::Dataset;
use super::features;
use super::neighbors::CellList;
use super::system::Atoms;
use crate::ops::zernike::{Features, Side};
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
    /// Tell the features of the atoms ([`features`]).
    pub features: bool,
}

impl Default for Neighborhood {
    fn default() -> Self {
        Self {
            radius: 10.0,
            central_residue: true,
            surroundings: true,
            features: false,
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
    /// The side of a complex that each atom belongs to.
    pub sides: Vec<Side>,
    /// The features of each atom, where they are asked for ([`Neighborhood::features`]).
    pub features: Vec<Features>,
    pub offsets: Vec<usize>,
}

impl Clouds {
    fn empty() -> Self {
        Self {
            coordinates: Vec::new(),
            elements: Vec::new(),
            sides: Vec::new(),
            features: Vec::new(),
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

    /// The same clouds without the atoms of the ligand.
    pub fn without_ligand(&self) -> Self {
        let mut clouds = Self::empty();
        for cloud in self.offsets.windows(2) {
            for i in (cloud[0]..cloud[1]).filter(|&i| self.sides[i] == Side::Protein) {
                clouds.coordinates.push(self.coordinates[i]);
                clouds.elements.push(self.elements[i]);
                clouds.sides.push(Side::Protein);
                clouds.features.extend(self.features.get(i));
            }
            clouds.offsets.push(clouds.coordinates.len());
        }
        clouds
    }
}

/// Finds neighborhoods in one system.
pub struct SystemFinder<'a> {
    atoms: Atoms<'a>,
    rule: Neighborhood,
    cells: CellList,
    /// Of each atom, where they are asked for.
    features: Vec<Features>,
}

impl<'a> SystemFinder<'a> {
    /// Sorts the atoms into cells (four bytes an atom), and tells their features where asked.
    pub fn new(atoms: Atoms<'a>, rule: Neighborhood) -> Self {
        Self {
            cells: CellList::new(atoms.positions, None, rule.radius),
            features: match rule.features {
                true => features::of(&atoms),
                false => Vec::new(),
            },
            atoms,
            rule,
        }
    }

    /// Neighborhoods of some atoms, in their order; atoms in file order.
    pub fn clouds(&self, centres: &[u32]) -> Clouds {
        let mut clouds = Clouds::empty();
        let mut found = Vec::new();
        for &centre in centres {
            self.push(centre as usize, None, &mut clouds, &mut found);
        }
        clouds
    }

    /// Appends the neighborhood of an atom; `found` is room to work in. Where there is a `key` and
    /// no ligand, a piece of the chain that the key draws plays the ligand ([`Played`]).
    fn push(&self, centre: usize, key: Option<u64>, clouds: &mut Clouds, found: &mut Vec<u32>) {
        let (positions, residue_of) = (self.atoms.positions, self.atoms.residue_of);
        self.cells.within(positions, centre, found);
        let key = key.filter(|_| self.atoms.ligand.is_none());
        let played = key.and_then(|key| {
            let near = found.iter().map(|&i| residue_of[i as usize]);
            Played::draw(near, residue_of[centre], key)
        });
        clouds.coordinates.reserve(found.len());
        clouds.elements.reserve(found.len());
        clouds.sides.reserve(found.len());
        for i in found.iter().map(|&i| i as usize) {
            let side = match played {
                Some(played) => played.side(residue_of[i]),
                None if self.atoms.ligand == Some(residue_of[i]) => Some(Side::Ligand),
                None => Some(Side::Protein),
            };
            if let Some(side) = side.filter(|_| self.keeps(centre, i)) {
                let from_centre = subtract(positions[i], positions[centre]);
                clouds.coordinates.push(from_centre);
                clouds.elements.push(self.atoms.numbers[i]);
                clouds.sides.push(side);
                clouds.features.extend(self.features.get(i));
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

/// A piece of a chain that plays the ligand of the rest: contacts as in a complex, from structures
/// without one. The residues before and behind it, bound to it, are left out.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Played {
    first: u32,
    last: u32,
}

impl Played {
    /// Longest piece, in residues.
    const LONGEST: u64 = 3;
    /// One neighborhood of so many is left without a ligand.
    const BARE: u64 = 4;

    /// Draws a piece from the residues `near` a centre, away from the centre's own.
    fn draw(near: impl Iterator<Item = u32>, own: u32, key: u64) -> Option<Self> {
        if key.is_multiple_of(Self::BARE) {
            return None;
        }
        let mut all: Vec<u32> = near.filter(|r| r.abs_diff(own) > 1).collect();
        all.sort_unstable();
        all.dedup();
        let key = key / Self::BARE;
        let first = *all.get((key / Self::LONGEST) as usize % all.len().max(1))?;
        let longest = first + (key % Self::LONGEST) as u32;
        let last = (first..=longest).take_while(|r| all.binary_search(r).is_ok());
        let last = last.last().unwrap_or(first);
        Some(Self { first, last })
    }

    /// The side of a residue; `None` for one that is left out.
    fn side(self, residue: u32) -> Option<Side> {
        let cut = residue + 1 == self.first || residue == self.last + 1;
        match (self.first..=self.last).contains(&residue) {
            true => Some(Side::Ligand),
            false => (!cut).then_some(Side::Protein),
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
        self.clouds_with(centres, |_| None)
    }

    /// [`Finder::clouds`] in which pieces of the chain, drawn from `seed` and the centre, play the
    /// ligand of structures that have none.
    pub fn clouds_with_played_ligands(&self, centres: &[u32], seed: u64) -> Clouds {
        let key = |centre: u32| xxhash_rust::xxh3::xxh3_64_with_seed(&centre.to_le_bytes(), seed);
        self.clouds_with(centres, |centre| Some(key(centre)))
    }

    fn clouds_with(&self, centres: &[u32], key: impl Fn(u32) -> Option<u64>) -> Clouds {
        let mut clouds = Clouds::empty();
        let mut found = Vec::new();
        for &centre in centres {
            let (structure, atom) = self.dataset.centre(centre);
            self.structures[structure].push(atom, key(centre), &mut clouds, &mut found);
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
            ligand: Some(1),
        };
        let clouds = |central_residue, surroundings| {
            let rule = Neighborhood {
                radius: 10.0,
                central_residue,
                surroundings,
                features: false,
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
        use Side::{Ligand, Protein};
        assert_eq!(all.sides, [Protein, Ligand, Protein, Protein]);
        let bare = all.without_ligand();
        assert_eq!(
            (bare.elements, bare.offsets),
            (vec![7, 6, 7], vec![0, 1, 3])
        );
        assert_eq!(bare.coordinates[1..], all.coordinates[2..]);
    }

    #[test]
    fn pieces_of_the_chain_play_ligands_away_from_the_centre() {
        let near = || [3, 4, 4, 5, 6, 7, 20, 21].into_iter();
        let mut lengths = [0; 3];
        let mut bare = 0;
        for key in 0..400u64 {
            let Some(played) = Played::draw(near(), 5, key) else {
                bare += 1;
                continue;
            };
            assert!([3, 7, 20, 21].contains(&played.first), "{played:?}");
            lengths[(played.last - played.first) as usize] += 1;
            assert_ne!(played.side(5), Some(Side::Ligand));
            assert_eq!(played.side(played.first), Some(Side::Ligand));
            assert_eq!(played.side(played.last + 1), None);
        }
        assert_eq!(bare, 100);
        // Only 20 has a neighbour that is near as well.
        assert!(
            lengths[0] > lengths[1] && lengths[1] > 0 && lengths[2] == 0,
            "{lengths:?}"
        );
        assert_eq!(Played::draw([4, 5, 6].into_iter(), 5, 7), None);
    }
}
