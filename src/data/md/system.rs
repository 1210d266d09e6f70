//! The atoms of a topology file, whatever its format.

use super::periodic::Cell;
use super::{chem, gro, prmtop};
use crate::{Error, Result};
use std::collections::HashSet;
use std::path::Path;

/// One atom.
#[derive(Debug, Clone, PartialEq)]
pub struct Atom {
    pub name: String,
    /// Atomic number, 0 when unknown.
    pub element: u8,
    /// Its place in [`System::residues`].
    pub residue: u32,
}

/// Consecutive atoms that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Residue {
    pub name: String,
    /// The number in the file.
    pub number: i32,
    pub chain: String,
    pub atoms: std::ops::Range<u32>,
}

/// Everything that a topology file tells.
#[derive(Debug, Clone, Default)]
pub struct System {
    pub atoms: Vec<Atom>,
    pub residues: Vec<Residue>,
    /// i < j, ascending.
    pub bonds: Vec<[u32; 2]>,
    /// In Å, where the file has them.
    pub positions: Option<Vec<[f64; 3]>>,
    pub cell: Option<Cell>,
}

/// An atom as a file gives it.
pub(super) struct RawAtom {
    pub name: String,
    /// Atomic number that the file states; `None` when it does not.
    pub element: Option<u8>,
    /// Mass in Da, where the file has one.
    pub mass: Option<f64>,
    /// Whatever tells residues apart: the atom starts a new one when this changes.
    pub key: u64,
    pub residue_name: String,
    pub residue_number: i32,
    pub chain: String,
}

impl System {
    /// Reads PDB, mmCIF, PSF and the reader's further formats, GROMACS GRO, AMBER PRMTOP.
    ///
    /// # Errors
    /// A missing, damaged or empty file.
    pub fn read(path: &Path) -> Result<System> {
        if !path.is_file() {
            return Err(Error::file(path, "no such topology file"));
        }
        let name = path.to_string_lossy().to_lowercase();
        let extension = name.rsplit('.').next().unwrap_or_default();
        let system = match extension {
            "gro" => gro::read(path)?,
            "prmtop" | "parm7" | "top" => prmtop::read(path)?,
            _ => chem::read_system(path)?,
        };
        if system.atoms.is_empty() {
            return Err(Error::file(path, "no atoms"));
        }
        Ok(system)
    }

    pub(super) fn new(
        atoms: Vec<RawAtom>,
        bonds: impl IntoIterator<Item = [u32; 2]>,
        positions: Option<Vec<[f64; 3]>>,
        cell: Option<Cell>,
    ) -> System {
        let mut residues: Vec<Residue> = Vec::new();
        let mut last = None;
        for (i, atom) in atoms.iter().enumerate() {
            let i = i as u32;
            if last != Some(atom.key) {
                last = Some(atom.key);
                residues.push(Residue {
                    name: atom.residue_name.clone(),
                    number: atom.residue_number,
                    chain: atom.chain.clone(),
                    atoms: i..i,
                });
            }
            if let Some(residue) = residues.last_mut() {
                residue.atoms.end = i + 1;
            }
        }
        let mut finished = Vec::with_capacity(atoms.len());
        for (r, residue) in residues.iter().enumerate() {
            let here = &atoms[residue.atoms.start as usize..residue.atoms.end as usize];
            let polymer = is_polymer(here);
            finished.extend(here.iter().map(|a| Atom {
                name: a.name.clone(),
                element: element(a, polymer),
                residue: r as u32,
            }));
        }
        let mut bonds: Vec<[u32; 2]> = bonds
            .into_iter()
            .map(|[i, j]| [i.min(j), i.max(j)])
            .filter(|[i, j]| i != j)
            .collect();
        bonds.sort_unstable();
        bonds.dedup();
        System {
            atoms: finished,
            residues,
            bonds,
            positions,
            cell,
        }
    }

    pub fn residue_of(&self, atom: u32) -> &Residue {
        &self.residues[self.atoms[atom as usize].residue as usize]
    }

    fn names(&self, residue: &Residue) -> impl Iterator<Item = &Atom> {
        self.atoms[residue.atoms.start as usize..residue.atoms.end as usize].iter()
    }

    /// Whether a residue is an amino acid of a chain: it has a CA that is carbon, and N and C
    /// too unless it is reduced to one bead.
    pub fn is_amino_acid(&self, residue: &Residue) -> bool {
        let has = |name: &str, element: u8| {
            self.names(residue)
                .any(|a| a.name == name && a.element == element)
        };
        has("CA", 6) && (residue.atoms.len() == 1 || (has("N", 7) && has("C", 6)))
    }

    /// Whether a residue is water or a free ion.
    pub fn is_solvent(&self, residue: &Residue) -> bool {
        let name = residue.name.to_uppercase();
        if WATERS.contains(&name.as_str()) {
            return true;
        }
        if residue.atoms.len() != 1 || self.is_amino_acid(residue) {
            return false;
        }
        let bare: String = name.chars().filter(char::is_ascii_alphabetic).collect();
        IONS.contains(&bare.as_str())
    }

    /// Atoms that are neither water nor ions.
    pub fn solute(&self) -> Vec<u32> {
        let kept = self.residues.iter().filter(|r| !self.is_solvent(r));
        kept.flat_map(|r| r.atoms.clone()).collect()
    }

    /// Bonds with both ends in `atoms`.
    pub fn bonds_among(&self, atoms: &[u32]) -> Vec<[u32; 2]> {
        let atoms: HashSet<u32> = atoms.iter().copied().collect();
        let inside = |b: &&[u32; 2]| b.iter().all(|a| atoms.contains(a));
        self.bonds.iter().filter(inside).copied().collect()
    }
}

/// Residue names of water in the common force fields and in the PDB.
const WATERS: [&str; 22] = [
    "HOH", "WAT", "SOL", "H2O", "HHO", "OHH", "OH2", "DOD", "D2O", "TIP", "TIP2", "TIP3", "TIP4",
    "TIP5", "T3P", "T4P", "TP3", "TP4", "TIP3P", "SPC", "SPCE", "W",
];

/// Names of free ions: element symbols, and CHARMM's and AMBER's own names, without charges.
const IONS: [&str; 44] = [
    "LI", "NA", "K", "RB", "CS", "F", "CL", "BR", "I", "IOD", "MG", "CA", "SR", "BA", "MN", "FE",
    "CO", "NI", "CU", "ZN", "CD", "HG", "PB", "AL", "AG", "IB", "SOD", "POT", "CES", "RUB", "LIT",
    "CLA", "CLO", "CAL", "BAR", "CIO", "CIM", "CIP", "QS", "U", "NAP", "KP", "CLM", "ION",
];

/// Whether the atom names are those of an amino acid or a nucleotide.
fn is_polymer(atoms: &[RawAtom]) -> bool {
    let has = |name: &str| atoms.iter().any(|a| a.name == name);
    let lone_ca = |a: &RawAtom| a.name == "CA" && !a.residue_name.to_uppercase().starts_with("CA");
    (has("CA") && has("C") && has("N"))
        || (has("C1'") && has("C4'"))
        || (has("C1*") && has("C4*"))
        || matches!(atoms, [a] if lone_ca(a))
}

fn element(atom: &RawAtom, polymer: bool) -> u8 {
    let letters: String = atom
        .name
        .chars()
        .skip_while(|c| !c.is_ascii_alphabetic())
        .take_while(char::is_ascii_alphabetic)
        .collect();
    let first = letters.chars().next().map(|c| c.to_ascii_uppercase());
    let by_letter = match first {
        Some('H' | 'D') => 1,
        Some('C') => 6,
        Some('N') => 7,
        Some('O') => 8,
        Some('F') => 9,
        Some('P') => 15,
        Some('S') if letters.eq_ignore_ascii_case("SE") => 34,
        Some('S') => 16,
        Some('K') => 19,
        Some('I') => 53,
        _ => 0,
    };
    if polymer && by_letter != 0 {
        return by_letter;
    }
    atom.element
        .or_else(|| atom.mass.and_then(by_mass))
        .unwrap_or(by_letter)
}

/// Elements of biomolecules and their mass in Da.
const MASSES: [(u8, f64); 22] = [
    (1, 1.008),
    (3, 6.94),
    (5, 10.81),
    (6, 12.011),
    (7, 14.007),
    (8, 15.999),
    (9, 18.998),
    (11, 22.990),
    (12, 24.305),
    (15, 30.974),
    (16, 32.06),
    (17, 35.45),
    (19, 39.098),
    (20, 40.078),
    (25, 54.938),
    (26, 55.845),
    (29, 63.546),
    (30, 65.38),
    (34, 78.971),
    (35, 79.904),
    (53, 126.90),
    (55, 132.91),
];

fn by_mass(mass: f64) -> Option<u8> {
    // Repartitioned hydrogens weigh 3 to 4 Da, and take that from the carbon beside them.
    if (0.9..4.5).contains(&mass) {
        return Some(1);
    }
    MASSES
        .iter()
        .map(|&(element, exact)| (element, (mass - exact).abs()))
        .filter(|&(_, off)| off < 0.3)
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(element, _)| element)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(name: &str, residue: &str, key: u64) -> RawAtom {
        RawAtom {
            name: name.into(),
            element: None,
            mass: None,
            key,
            residue_name: residue.into(),
            residue_number: key as i32,
            chain: "A".into(),
        }
    }

    #[test]
    fn solvent_goes_and_alpha_carbons_stay() {
        let with_element = |element, atom| RawAtom {
            element: Some(element),
            ..atom
        };
        let system = System::new(
            vec![
                raw("N", "ALA", 1),
                raw("CA", "ALA", 1),
                raw("C", "ALA", 1),
                raw("OW", "SOL", 2),
                raw("HW1", "SOL", 2),
                with_element(20, raw("CA", "CA", 3)),
                raw("NA+", "NA+", 4),
                raw("CLA", "CLA", 5),
                raw("CA", "GLY", 6),
                with_element(30, raw("ZN", "ZN2", 7)),
                with_element(26, raw("FE", "HEM", 8)),
                with_element(7, raw("NA", "HEM", 8)),
            ],
            [[1, 0], [1, 2], [1, 2]],
            None,
            None,
        );
        assert_eq!(system.bonds, [[0, 1], [1, 2]]);
        assert_eq!(system.residues.len(), 8);
        assert_eq!(system.solute(), [0, 1, 2, 8, 10, 11]);
        assert_eq!(system.atoms[1].element, 6);
        assert_eq!(system.atoms[8].element, 6);
        assert_eq!(system.bonds_among(&[0, 1]), [[0, 1]]);
    }

    #[test]
    fn masses_name_elements() {
        for (element, mass) in MASSES {
            assert_eq!(by_mass(mass + 0.02), Some(element));
        }
        assert_eq!(by_mass(4.032), Some(1));
        assert_eq!(by_mass(0.0), None);
    }
}
