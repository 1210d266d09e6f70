//! Protein structures: PDB and mmCIF files, gzipped or not, as heavy atoms and residues.
//!
//! The readers are our own: they keep the order of the file, leave chains without a letter
//! without one, know hybrid-36 numbers (files of more than 99,999 atoms) and name the line of
//! whatever they cannot read.
//!
//! What is read, in the terms of the published H-AE (Biopython) pipeline:
//! - heavy atoms, unless hydrogens are asked for; waters never;
//! - of an atom's alternate locations the one with the highest occupancy, the first of equals;
//!   where a file puts several residue names in one place, the name with the highest occupancy
//!   (Biopython takes the last one named);
//! - all atoms of residues that share chain and number with others but are no alternate locations
//!   (Biopython drops all but the first; see [`Notes`]);
//! - the first model, unless all are asked for;
//! - chain, residue number and insertion code of the author;
//! - true elements; the published code keeps their first letter only (selenium is its sulphur),
//!   see [`Elements::FirstLetter`];
//! - as centres, CA atoms of the 20 canonical residues, under whatever name of a force field, and,
//!   where it is asked for, those of modified residues. Otherwise these stay as atoms.

mod assemble;
pub mod atom3d;
pub mod b_factors;
mod bytes;
mod element;
mod mmcif;
mod notes;
mod pdb;
#[cfg(test)]
mod tests;

pub use bytes::{gunzip, is_structure_name, most_unpacked};
pub use element::number as atomic_number;
pub(crate) use mmcif::{Token, Tokens};
pub use notes::Notes;
pub(in crate::data) use pdb::{Layout as PdbLayout, atom as pdb_record};

pub use super::names::CANONICAL;
use super::system::{System, crowd};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// One model of a structure file. Atoms are in file order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Structure {
    /// From the file's name ([`id_of`]); `ID:MODEL` when all models of several are read.
    pub id: String,
    /// Name of the file that it came from.
    pub file: String,
    /// `pdb`, `mmcif` or `proteinnet`.
    pub format: String,
    /// XXH3-128 of the file's bytes as they lie on the disk.
    pub digest: u128,
    /// Number of the model in the file.
    pub model: i32,
    /// The atoms, with residues, and names where they are asked for; without bonds.
    pub system: System,
    /// Atoms that are centres of neighborhoods.
    pub centres: Vec<u32>,
    /// What the reader renamed, repeated or left out.
    #[serde(default)]
    pub notes: Notes,
}

/// Which models of a file to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Models {
    #[default]
    First,
    All,
}

/// What counts as an atom's element.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Elements {
    /// The element itself.
    #[default]
    True,
    /// The element that its symbol's first letter names, if that is C, N, O or S: what the
    /// published code sees (Se and Si as S, Cl, Ca and Cu as C, Na and Ni as N).
    FirstLetter,
}

/// What to read of a structure file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadOptions {
    pub models: Models,
    /// Keep hetero atoms (ligands, ions, modified residues) other than water.
    pub hetero: bool,
    /// Keep hydrogen and deuterium.
    pub hydrogens: bool,
    pub elements: Elements,
    /// Count modified residues (`MSE`, `SEP`) as the amino acids that they were made of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub modified: bool,
    /// Leave out atoms whose B factor is below this: in predicted models that is the confidence
    /// (pLDDT), of 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_plddt: Option<f32>,
    /// Keep the names of atoms.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub names: bool,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            models: Models::First,
            hetero: true,
            hydrogens: false,
            elements: Elements::True,
            modified: false,
            min_plddt: None,
            names: false,
        }
    }
}

/// Reads a structure file: one structure per model that is asked for, at least one.
///
/// # Errors
/// As [`read_any`], and no CA to centre a neighborhood on.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Vec<Structure>> {
    let structures = read_any(path, options)?;
    if structures.iter().all(|s| s.centres.is_empty()) {
        return Err(Error::file(
            path,
            "no CA atom of a canonical amino acid: nothing to centre a neighborhood on",
        ));
    }
    Ok(structures)
}

/// [`read`] for files that need not hold a protein, such as those of ligands.
///
/// # Errors
/// One line that names the file, the place in it and what is wrong: unreadable, empty or
/// truncated file, damaged gzip, neither PDB nor mmCIF, a cut or malformed atom record, a
/// missing column, a coordinate that is no number.
pub fn read_any(path: &Path, options: &ReadOptions) -> Result<Vec<Structure>> {
    let loaded = bytes::load(path)?;
    let (format, parsed) = match loaded.format {
        bytes::Format::Pdb => ("pdb", pdb::parse(&loaded.text, options)),
        bytes::Format::Mmcif => ("mmcif", mmcif::parse(&loaded.text, options)),
    };
    let models = parsed.map_err(|what| Error::file(path, what))?;
    if let Some(crowd) = models.iter().find_map(|m| crowd(&m.system.positions)) {
        return Err(Error::file(path, crowd));
    }
    let id = id_of(path);
    let file = file_name(path);
    let several = models.len() > 1;
    let name = |model: i32| match several {
        true => format!("{id}:{model}"),
        false => id.clone(),
    };
    Ok(models
        .into_iter()
        .map(|m| Structure {
            id: name(m.number),
            file: file.clone(),
            format: format.to_string(),
            digest: loaded.digest,
            model: m.number,
            system: m.system,
            centres: m.centres,
            notes: m.notes,
        })
        .collect())
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The id that a file name gives: the name without `.gz` and the format's ending, and without
/// the archive's `pdb` before a four-character entry (`pdb1ubi.ent.gz` is `1ubi`).
pub fn id_of(path: &Path) -> String {
    let name = file_name(path);
    let stem = bytes::strip_endings(&name);
    match stem.strip_prefix("pdb") {
        Some(rest) if is_entry(rest) => rest.to_string(),
        _ => stem.to_string(),
    }
}

/// Whether `text` looks like a PDB entry: a digit and three letters or digits.
pub fn is_entry(text: &str) -> bool {
    let b = text.as_bytes();
    b.len() == 4 && b[0].is_ascii_digit() && b[1..].iter().all(u8::is_ascii_alphanumeric)
}

/// The PDB entry that a structure id begins with, in lower case (`1A2K_l_u` is of `1a2k`), or
/// the whole id in lower case where it names none. Folders, file endings and the number of a
/// model do not count.
pub fn entry_of(id: &str) -> String {
    let id = without_model(id);
    let name = id.rsplit('/').next().unwrap_or(id);
    let name = bytes::strip_endings(name);
    let name = match name.strip_prefix("pdb") {
        Some(rest) if rest.get(..4).is_some_and(is_entry) => rest,
        _ => name,
    };
    let head = name.get(..4).unwrap_or(name);
    let next = name[head.len()..].chars().next();
    match is_entry(head) && next.is_none_or(|c| !c.is_ascii_alphanumeric()) {
        true => head.to_ascii_lowercase(),
        false => name.to_ascii_lowercase(),
    }
}

/// A structure's id without the `:MODEL` that tells models of a file apart.
pub fn without_model(id: &str) -> &str {
    match id.rsplit_once(':') {
        Some((file, model)) if model.parse::<i32>().is_ok() => file,
        _ => id,
    }
}
