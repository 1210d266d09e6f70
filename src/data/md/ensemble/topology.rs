//! The atoms of a topology file, whatever its format.

use super::{chem, gro, prmtop};
use crate::data::names::{self, Named};
use crate::data::system::{Cell, Residue, System};
use crate::{Error, Result};
use std::ops::Range;
use std::path::Path;

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

/// Reads PDB, mmCIF, PSF and the reader's further formats, GROMACS GRO, AMBER PRMTOP.
///
/// # Errors
/// A missing, damaged or empty file.
pub(super) fn read(path: &Path) -> Result<System<f64>> {
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
    if system.is_empty() {
        return Err(Error::file(path, "no atoms"));
    }
    Ok(system)
}

/// Puts atoms, bonds in any order, positions (none where the file has none) and box together.
pub(super) fn assemble(
    atoms: &[RawAtom],
    bonds: impl IntoIterator<Item = [u32; 2]>,
    positions: Vec<[f64; 3]>,
    cell: Option<Cell>,
) -> System<f64> {
    let mut system = System {
        names: atoms.iter().map(|a| a.name.as_str().into()).collect(),
        positions,
        cell,
        ..System::default()
    };
    for range in residues(atoms) {
        let here = &atoms[range];
        let polymer = is_polymer(here);
        let number = system.residues.len() as u32;
        system
            .numbers
            .extend(here.iter().map(|a| element(a, polymer)));
        system.residue_of.extend(here.iter().map(|_| number));
        system.residues.push(Residue {
            chain: here[0].chain.as_str().into(),
            number: here[0].residue_number,
            name: here[0].residue_name.as_str().into(),
            ..Residue::default()
        });
    }
    system.bonds = bonds
        .into_iter()
        .map(|[i, j]| [i.min(j), i.max(j)])
        .filter(|[i, j]| i != j)
        .collect();
    system.bonds.sort_unstable();
    system.bonds.dedup();
    system
}

/// Runs of atoms with one key, none of them empty.
fn residues(atoms: &[RawAtom]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    atoms.chunk_by(|a, b| a.key == b.key).map(move |run| {
        let range = start..start + run.len();
        start = range.end;
        range
    })
}

/// Whether the atom names are those of an amino acid or a nucleotide.
fn is_polymer(atoms: &[RawAtom]) -> bool {
    let has = |name: &str| atoms.iter().any(|a| a.name == name);
    let lone_ca = |a: &RawAtom| a.name == "CA" && !a.residue_name.to_uppercase().starts_with("CA");
    (has("CA") && has("C") && has("N"))
        || (has("C1'") && has("C4'"))
        || (has("C1*") && has("C4*"))
        || matches!(atoms, [a] if lone_ca(a))
}

/// The element by the rules of [`names`]. In amino acids and nucleotides they come before what the
/// file is said to state: a library that guesses takes their CA for calcium.
fn element(atom: &RawAtom, polymer: bool) -> u8 {
    let by_name = names::element(&Named {
        name: atom.name.as_bytes(),
        residue: atom.residue_name.as_bytes(),
        polymer,
        mass: atom.mass,
        ..Named::default()
    });
    match atom.element {
        Some(stated) if !polymer || by_name == 0 => stated,
        _ => by_name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_follow_residue_name_and_mass() {
        let atom = |name: &str, residue: &str, mass| RawAtom {
            name: name.into(),
            element: None,
            mass,
            key: 0,
            residue_name: residue.into(),
            residue_number: 1,
            chain: String::new(),
        };
        for (name, residue, mass, polymer, number) in [
            ("CA", "XYZ", None, true, 6),
            ("CA", "XYZ", Some(40.08), false, 20),
            ("HG", "LIG", None, false, 1),
            ("CL1", "LIG", None, false, 17),
            ("FE", "HEM", None, false, 26),
            ("F1", "LIG", Some(18.998), false, 9),
            ("SOD", "SOD", None, false, 11),
            ("X", "LIG", Some(4.032), false, 1),
        ] {
            let found = element(&atom(name, residue, mass), polymer);
            assert_eq!(found, number, "{name} of {residue}");
        }
        let stated = RawAtom {
            element: Some(30),
            ..atom("Q1", "LIG", None)
        };
        assert_eq!((element(&stated, false), element(&stated, true)), (30, 30));
    }
}
