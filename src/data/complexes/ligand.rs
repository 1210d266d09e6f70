//! Ligands: their heavy atoms, from SDF, MOL2, PDB and mmCIF files, or from a residue of the
//! protein's own file.

use super::{ctfile, mol2};
use crate::data::structure::{ReadOptions, Structure, atomic_number, gunzip, read_any};
use crate::{Error, Result};
use pdbtbx::Element;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where a ligand is found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum LigandPlace {
    File(PathBuf),
    /// A residue of the protein's file: `NAME`, `NAME:CHAIN` or `NAME:CHAIN:NUMBER`.
    Residue(String),
}

/// Heavy atoms of a ligand.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ligand {
    /// Å.
    pub coordinates: Vec<[f32; 3]>,
    /// Atomic numbers.
    pub elements: Vec<u8>,
}

/// An atom as a file names it: its element's symbol and its position in Å.
pub(super) type RawAtom = (String, [f32; 3]);

/// Three coordinates in Å, or what is wrong with them.
pub(super) fn finite(texts: [&str; 3]) -> std::result::Result<[f32; 3], String> {
    let mut position = [0.0; 3];
    for (value, text) in position.iter_mut().zip(texts) {
        let number = text.trim().parse::<f32>().ok();
        *value = number
            .filter(|v| v.abs() <= 1e6)
            .ok_or_else(|| format!("coordinate {text:?} is not a finite number within 1e6 Å"))?;
    }
    Ok(position)
}

/// Everything of a file that may be a ligand: hetero atoms and true elements, whatever a model
/// was trained on. Of several models the first.
fn all_heavy_atoms() -> ReadOptions {
    ReadOptions {
        same_names: true,
        ..ReadOptions::default()
    }
}

impl Ligand {
    /// Reads the first molecule of a file.
    ///
    /// # Errors
    /// An unreadable or malformed file, an unknown format or element, no heavy atoms, atoms
    /// that all lie in one point or in a drawing (no coordinates).
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.to_string_lossy().to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        let atoms = match name.rsplit_once('.').map_or("", |n| n.1) {
            "sdf" | "mol" | "sd" => ctfile::atoms(&text(path)?),
            "mol2" => mol2::atoms(&text(path)?),
            "pdb" | "ent" | "cif" | "mmcif" => {
                let mut structures = read_any(path, &all_heavy_atoms())?;
                let ligand = Self::of_structure(&structures.swap_remove(0), |_| true);
                return ligand.checked().map_err(|what| Error::file(path, what));
            }
            other => {
                let what = format!("ligand format {other:?}: use SDF, MOL, MOL2, PDB or mmCIF");
                return Err(Error::file(path, what));
            }
        };
        atoms
            .and_then(|atoms| Self::from_atoms(&atoms))
            .and_then(Self::checked)
            .map_err(|what| Error::file(path, what))
    }

    /// The residue of `path` that `wanted` names ([`LigandPlace::Residue`]).
    ///
    /// # Errors
    /// No such residue, or several of them.
    pub fn of_residue(path: &Path, wanted: &str) -> Result<Self> {
        let mut structures = read_any(path, &all_heavy_atoms())?;
        let structure = structures.swap_remove(0);
        let mut parts = wanted.split(':');
        let (name, chain, number) = (parts.next(), parts.next(), parts.next());
        let matching: Vec<usize> = structure
            .residues
            .iter()
            .enumerate()
            .filter(|(_, r)| {
                name == Some(r.name.as_str())
                    && chain.is_none_or(|c| c == r.chain.as_str())
                    && number.is_none_or(|n| n == r.number.to_string())
            })
            .map(|(i, _)| i)
            .collect();
        let found = match matching[..] {
            [only] => only,
            [] => return Err(Error::file(path, format!("no residue {wanted}"))),
            _ => {
                let all = matching.iter().take(4).map(|&i| {
                    let r = &structure.residues[i];
                    format!("{}:{}:{}", r.name, r.chain, r.number)
                });
                let all = all.collect::<Vec<_>>().join(", ");
                let what = format!(
                    "{} residues are called {wanted} ({all}): name one of them",
                    matching.len()
                );
                return Err(Error::file(path, what));
            }
        };
        Self::of_structure(&structure, |residue| residue as usize == found)
            .checked()
            .map_err(|what| Error::file(path, format!("residue {wanted}: {what}")))
    }

    /// Atoms of those residues of a structure that are asked for.
    pub(super) fn of_structure(structure: &Structure, takes: impl Fn(u32) -> bool) -> Self {
        let mut ligand = Self::default();
        for (i, &residue) in structure.residue_of.iter().enumerate() {
            if takes(residue) {
                ligand.coordinates.push(structure.coordinates[i]);
                ligand.elements.push(structure.elements[i]);
            }
        }
        ligand
    }

    pub(super) fn from_atoms(atoms: &[RawAtom]) -> std::result::Result<Self, String> {
        let mut ligand = Self::default();
        for (symbol, position) in atoms {
            let element = atomic_number(symbol.as_bytes())
                .ok_or_else(|| format!("{symbol:?} is no element"))?;
            if element != 1 {
                ligand.coordinates.push(*position);
                ligand.elements.push(element);
            }
        }
        Ok(ligand)
    }

    /// Refuses a ligand that is nowhere.
    pub(super) fn checked(self) -> std::result::Result<Self, String> {
        let Some(first) = self.coordinates.first() else {
            return Err("no heavy atoms: there is no ligand".into());
        };
        if self.coordinates.len() > 1 && self.coordinates.iter().all(|c| c == first) {
            return Err("no coordinates: all atoms of the ligand lie in one point".into());
        }
        Ok(self)
    }

    /// Number of heavy atoms.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// Elements and how many atoms of each: carbon first, then by name (`C20 Cl1 N3`).
    pub fn formula(&self) -> String {
        let mut counts: BTreeMap<(bool, String), usize> = BTreeMap::new();
        for &element in &self.elements {
            let symbol = Element::new(usize::from(element)).map_or("?", |e| e.symbol());
            let (first, rest) = symbol.split_at(1);
            let symbol = format!("{first}{}", rest.to_lowercase());
            *counts.entry((symbol != "C", symbol)).or_default() += 1;
        }
        let parts = counts.iter().map(|((_, symbol), n)| format!("{symbol}{n}"));
        parts.collect::<Vec<_>>().join(" ")
    }
}

fn text(path: &Path) -> Result<String> {
    let raw = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let bytes = match raw.starts_with(&[0x1f, 0x8b]) {
        true => gunzip(path, &raw)?,
        false => raw,
    };
    String::from_utf8(bytes).map_err(|_| Error::file(path, "not a text file"))
}
