//! The atoms of a topology file, whatever its format.

use super::{gro, pdb, prmtop, psf};
use crate::data::md::foreign;
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

    #[test]
    fn masses_name_elements() {
        for (element, mass) in MASSES {
            assert_eq!(by_mass(mass + 0.02), Some(element));
        }
        assert_eq!(by_mass(4.032), Some(1));
        assert_eq!(by_mass(0.0), None);
    }
}
