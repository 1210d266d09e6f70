//! The atoms of a topology file, whatever its format.

use super::{gro, pdb, prmtop, psf};
use crate::data::md::foreign;
use crate::data::names::{self, Named};
use crate::data::system::{Cell, Point, Residue, System};
use crate::{Error, Result, files};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::Path;

/// An atom as a file gives it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::data::md) struct RawAtom {
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

/// Reads PDB, PSF, GROMACS GRO, AMBER PRMTOP, and the first frame of whatever else the library
/// reads.
///
/// # Errors
/// A missing, damaged or empty file.
pub(super) fn read(path: &Path) -> Result<System<f64>> {
    files::check(path)?;
    let name = path.to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let extension = name.rsplit('.').next().unwrap_or_default();
    let system = match extension {
        "pdb" | "ent" => pdb::read(path)?,
        "psf" => psf::read(path)?,
        "gro" => gro::read(path)?,
        "prmtop" | "parm7" | "top" => prmtop::read(path)?,
        _ => foreign::read_system(path)?,
    };
    if system.is_empty() {
        return Err(Error::file(path, "no atoms"));
    }
    Ok(system)
}

/// Puts atoms, bonds in any order, positions (none where the file has none) and box together.
pub(in crate::data::md) fn assemble(
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

/// Distances in Å that no bond has: longer than any, shorter than the edge of a box that could
/// tear a molecule apart.
const GAP: Range<f64> = 3.5..8.0;

/// Whether a bond that was derived from names and numbers can be one: in a gap of the chain it
/// cannot.
pub(in crate::data::md) fn plausible(positions: &[Point], [i, j]: [u32; 2]) -> bool {
    let (a, b) = (positions[i as usize], positions[j as usize]);
    let squared: f64 = (0..3).map(|k| (a[k] - b[k]).powi(2)).sum();
    !GAP.contains(&squared.sqrt())
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
        // An amino acid of any name is known by its atoms; a library takes its CA for calcium.
        let mut atoms = ["N", "CA", "C"].map(|name| atom(name, "XYZ", None));
        atoms[1].element = Some(20);
        let system = assemble(&atoms, [], Vec::new(), None);
        assert_eq!(system.numbers, [7, 6, 6]);
        let alone = assemble(&atoms[1..2], [], Vec::new(), None);
        assert_eq!(alone.numbers, [6]);
        let lacking = assemble(&atoms[1..], [], Vec::new(), None);
        assert_eq!(lacking.numbers, [20, 6]);
    }
}
