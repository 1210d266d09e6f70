//! Atoms: the one type that readers return and that neighborhoods, bond perception, pockets and
//! graphs take.

mod cell;
mod label;

pub use cell::Cell;
#[cfg(test)]
pub(crate) use cell::tests::boxes;
pub(crate) use cell::{Point, add, cross, dot, sub};
pub use label::Label;

use crate::elements;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A residue, in the author's numbering: atoms that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Residue {
    pub chain: Label,
    pub number: i32,
    /// Insertion code; a space where there is none.
    pub icode: u8,
    pub name: Label,
}

impl Default for Residue {
    /// A residue without a name.
    fn default() -> Self {
        Self {
            chain: Label::default(),
            number: 0,
            icode: b' ',
            name: Label::default(),
        }
    }
}

/// Some atoms and what is known of them, in the order of their file. A list of what a source does
/// not tell is empty; every other list has one entry for each atom, unless its own words say
/// otherwise.
///
/// `T` is the type of a coordinate: `f32` for what is stored and computed with, `f64` for the
/// files of simulations, whose bonds are found and whose boxes are mended before rounding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct System<T = f32> {
    /// Atomic numbers; 0 where the element is unknown.
    pub numbers: Vec<u8>,
    /// Å.
    pub positions: Vec<[T; 3]>,
    pub names: Vec<Label>,
    /// Place in `residues`.
    pub residue_of: Vec<u32>,
    pub residues: Vec<Residue>,
    /// Pairs of bound atoms i < j, ascending, each once.
    pub bonds: Vec<[u32; 2]>,
    /// One for each bond: 1, 2, 3, or 4 where aromatic.
    pub orders: Vec<u8>,
    /// The lattice, and in which directions it repeats; `None` for atoms in free space.
    pub cell: Option<Cell>,
}

/// The atoms of a [`System`], or of a part of a dataset: one entry for each atom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Atoms<'a> {
    /// Atomic numbers.
    pub numbers: &'a [u8],
    /// Å.
    pub positions: &'a [[f32; 3]],
    /// Place of each atom's residue, counted from the first of the system.
    pub residue_of: &'a [u32],
    /// The residue that is the ligand of a complex.
    pub ligand: Option<u32>,
}

impl<T> Default for System<T> {
    fn default() -> Self {
        Self {
            numbers: Vec::new(),
            positions: Vec::new(),
            names: Vec::new(),
            residue_of: Vec::new(),
            residues: Vec::new(),
            bonds: Vec::new(),
            orders: Vec::new(),
            cell: None,
        }
    }
}

impl System {
    /// The atoms with what neighborhoods need to know of them.
    pub fn atoms(&self) -> Atoms<'_> {
        Atoms {
            numbers: &self.numbers,
            positions: &self.positions,
            residue_of: &self.residue_of,
            ligand: None,
        }
    }
}

impl<T> System<T> {
    /// Number of atoms.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The residue of an atom.
    pub fn residue(&self, atom: u32) -> &Residue {
        &self.residues[self.residue_of[atom as usize] as usize]
    }

    /// The atoms of every residue, in file order.
    pub fn members(&self) -> Members {
        let mut offsets = vec![0u32; self.residues.len() + 1];
        for &r in &self.residue_of {
            offsets[r as usize + 1] += 1;
        }
        for r in 0..self.residues.len() {
            offsets[r + 1] += offsets[r];
        }
        let mut next = offsets.clone();
        let mut atoms = vec![0; self.residue_of.len()];
        for (atom, &r) in (0u32..).zip(&self.residue_of) {
            atoms[next[r as usize] as usize] = atom;
            next[r as usize] += 1;
        }
        Members { offsets, atoms }
    }

    /// Makes these the bonds, with the order of each; a bond that is given twice has the last.
    pub fn bind(&mut self, bonds: impl IntoIterator<Item = ([u32; 2], u8)>) {
        let ascending = |([i, j], order): ([u32; 2], u8)| ([i.min(j), i.max(j)], order);
        let bonds: BTreeMap<[u32; 2], u8> = bonds.into_iter().map(ascending).collect();
        (self.bonds, self.orders) = bonds.into_iter().unzip();
    }

    /// The order of the bond of two atoms; 0 if they are not bound, or it is not known.
    pub fn order(&self, i: u32, j: u32) -> u8 {
        let place = self.bonds.binary_search(&[i.min(j), i.max(j)]);
        let order = place.ok().and_then(|place| self.orders.get(place));
        order.copied().unwrap_or(0)
    }

    /// Bonds with both ends in `atoms`.
    pub fn bonds_among(&self, atoms: &[u32]) -> Vec<[u32; 2]> {
        let atoms: HashSet<u32> = atoms.iter().copied().collect();
        let inside = |b: &&[u32; 2]| b.iter().all(|a| atoms.contains(a));
        self.bonds.iter().filter(inside).copied().collect()
    }

    /// Keeps the atoms for which `keep` (one entry for each) is true; residues stay, even those
    /// that lose all atoms. Gives the new number of each atom that stays, by its old one.
    pub fn retain(&mut self, keep: &[bool]) -> Vec<u32> {
        let mut left = 0;
        let new: Vec<u32> = keep
            .iter()
            .map(|&k| {
                left += u32::from(k);
                left - u32::from(k)
            })
            .collect();
        retain(&mut self.numbers, keep);
        retain(&mut self.positions, keep);
        retain(&mut self.names, keep);
        retain(&mut self.residue_of, keep);
        let inside = |b: &[u32; 2]| b.iter().all(|&a| keep[a as usize]);
        let kept: Vec<bool> = self.bonds.iter().map(inside).collect();
        retain(&mut self.bonds, &kept);
        retain(&mut self.orders, &kept);
        for atom in self.bonds.iter_mut().flatten() {
            *atom = new[*atom as usize];
        }
        new
    }

    /// Puts the atoms of `other` behind those of this system; its cell is not looked at. Atoms
    /// without residues become one residue, without a name. A list that only one of the two has
    /// is given up.
    pub fn append(&mut self, mut other: Self) {
        let (atoms, more) = (self.len(), other.len());
        for system in [&mut *self, &mut other] {
            if system.residues.is_empty() && !system.is_empty() {
                system.residue_of = vec![0; system.len()];
                system.residues.push(Residue::default());
            }
        }
        let residues = self.residues.len() as u32;
        self.residue_of
            .extend(other.residue_of.iter().map(|r| r + residues));
        self.residues.append(&mut other.residues);
        let bonds = [self.bonds.len(), other.bonds.len()];
        append(&mut self.orders, other.orders, bonds);
        let shifted = |b: [u32; 2]| b.map(|a| a + atoms as u32);
        self.bonds.extend(other.bonds.into_iter().map(shifted));
        append(&mut self.positions, other.positions, [atoms, more]);
        append(&mut self.names, other.names, [atoms, more]);
        self.numbers.append(&mut other.numbers);
    }

    /// Elements and how many atoms of each: carbon first, then by name (`C20 Cl1 N3`).
    pub fn formula(&self) -> String {
        let mut counts: BTreeMap<(bool, &str), usize> = BTreeMap::new();
        for &number in &self.numbers {
            let symbol = elements::symbol(number).unwrap_or("?");
            *counts.entry((symbol != "C", symbol)).or_default() += 1;
        }
        let parts = counts.iter().map(|((_, symbol), n)| format!("{symbol}{n}"));
        parts.collect::<Vec<_>>().join(" ")
    }
}

/// A place where more atoms stand than matter allows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crowd {
    /// Number of atoms in a cube of 1 Å.
    pub atoms: u32,
    /// A corner of the cube, in Å.
    pub corner: [i64; 3],
}

impl std::fmt::Display for Crowd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (n, [x, y, z]) = (self.atoms, self.corner);
        write!(
            f,
            "{n} atoms stand within 1 Å of ({x}, {y}, {z}): no molecule is so dense; are these \
             placeholders, or many copies in one place?"
        )
    }
}

/// Most atoms in a cube of 1 Å: a molecule has one or two, and some copies of it may lie in one place.
const DENSEST: u32 = 64;

/// Fewer atoms than this may all stand in one place.
const FEW: usize = 9;

/// The fullest cube of 1 Å (positions in Å), if it is fuller than matter allows or holds everything:
/// what is done for each pair of neighbours would have no bound there.
pub fn crowd<T: Into<f64> + Copy>(positions: &[[T; 3]]) -> Option<Crowd> {
    let mut cubes: HashMap<[i64; 3], u32> = HashMap::new();
    for position in positions {
        let cube = position.map(|x| x.into().floor() as i64);
        *cubes.entry(cube).or_default() += 1;
    }
    let (corner, atoms) = cubes.into_iter().max_by_key(|(corner, n)| (*n, *corner))?;
    let all = positions.len() >= FEW && atoms as usize == positions.len();
    (atoms > DENSEST || all).then_some(Crowd { atoms, corner })
}

/// Joins lists that go with so many atoms or bonds each, or empties the one that would be cut.
fn append<T>(values: &mut Vec<T>, mut others: Vec<T>, atoms: [usize; 2]) {
    match [values.len(), others.len()] == atoms {
        true => values.append(&mut others),
        false => values.clear(),
    }
}

fn retain<T>(values: &mut Vec<T>, keep: &[bool]) {
    let mut kept = keep.iter();
    values.retain(|_| kept.next().is_some_and(|k| *k));
}

/// The atoms of each residue of a system.
pub struct Members {
    offsets: Vec<u32>,
    atoms: Vec<u32>,
}

impl Members {
    /// The atoms of a residue, by its place, ascending.
    pub fn of(&self, residue: usize) -> &[u32] {
        &self.atoms[self.offsets[residue] as usize..self.offsets[residue + 1] as usize]
    }

    /// The atoms of all residues in turn.
    pub fn iter(&self) -> impl Iterator<Item = &[u32]> {
        (0..self.offsets.len() - 1).map(|r| self.of(r))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system() -> System {
        let residue = |number| Residue {
            number,
            ..Residue::default()
        };
        System {
            numbers: vec![6, 17, 6, 8, 0],
            positions: (0..5).map(|i| [i as f32, 0.0, 0.0]).collect(),
            residue_of: vec![0, 1, 0, 2, 2],
            residues: vec![residue(1), residue(2), residue(3)],
            bonds: vec![[0, 2], [1, 3], [2, 3]],
            ..System::default()
        }
    }

    #[test]
    fn atoms_in_one_place_are_seen() {
        let line = |n: usize, step: f32| -> Vec<[f32; 3]> {
            (0..n).map(|i| [i as f32 * step, -0.5, 0.0]).collect()
        };
        assert_eq!(crowd(&line(10_000, 1.2)), None);
        assert_eq!(crowd(&line(8, 0.0)), None);
        let all = crowd(&line(9, 0.0)).unwrap();
        assert_eq!(
            all,
            Crowd {
                atoms: 9,
                corner: [0, -1, 0]
            }
        );
        assert_eq!(crowd(&line(100, 1.0 / 65.0)).unwrap().atoms, 65);
        assert_eq!(crowd(&line(100, 1.0 / 60.0)), None);
    }

    #[test]
    fn residues_name_their_atoms() {
        let system = system();
        let members = system.members();
        let all: Vec<&[u32]> = members.iter().collect();
        assert_eq!(all, [&[0, 2][..], &[1], &[3, 4]]);
        assert_eq!(system.residue(2).number, 1);
        assert_eq!(system.bonds_among(&[0, 2, 3]), [[0, 2], [2, 3]]);
        assert_eq!(system.formula(), "C2 ?1 Cl1 O1");
    }

    #[test]
    fn what_is_left_keeps_its_bonds() {
        let mut system = system();
        let new = system.retain(&[true, false, true, true, false]);
        assert_eq!([new[0], new[2], new[3]], [0, 1, 2]);
        assert_eq!(system.numbers, [6, 6, 8]);
        assert_eq!(system.positions[2], [3.0, 0.0, 0.0]);
        assert_eq!(system.residue_of, [0, 0, 2]);
        assert_eq!(system.bonds, [[0, 1], [1, 2]]);
        assert!(system.names.is_empty());
    }

    #[test]
    fn joined_systems_keep_their_residues_and_bonds_apart() {
        let mut joined = system();
        let ligand = System {
            numbers: vec![7, 8],
            positions: vec![[9.0; 3], [8.0; 3]],
            bonds: vec![[0, 1]],
            ..System::default()
        };
        joined.append(ligand.clone());
        assert_eq!(joined.numbers, [6, 17, 6, 8, 0, 7, 8]);
        assert_eq!(joined.residue_of, [0, 1, 0, 2, 2, 3, 3]);
        assert_eq!(joined.residues[3], Residue::default());
        assert_eq!(joined.bonds[3..], [[5, 6]]);
        assert_eq!(joined.positions[5], [9.0; 3]);
        // One has names, the other has none.
        let mut named = System {
            names: vec!["N".into(), "O".into()],
            ..ligand
        };
        named.append(system());
        assert!(named.names.is_empty());
        assert_eq!((named.residues.len(), named.residue_of[2]), (4, 1));
    }
}
