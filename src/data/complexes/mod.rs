//! Protein-ligand complexes: where they are listed, and how one is read.
//!
//! | source | what it is |
//! |---|---|
//! | a CSV file | one complex a row, with paths ([`manifest`]) |
//! | a folder with an `INDEX_*` file | PDBbind's layout ([`pdbbind`]) |
//! | `data.mdb`, or a folder with it or with `train`, `val`, `test` of them | ATOM3D's LBA ([`atom3d`]) |

pub mod affinity;
pub mod atom3d;
mod centres;
pub mod clusters;
pub mod contacts;
mod ctfile;
pub mod ligand;
pub mod manifest;
mod mol2;
pub mod pdbbind;

pub use centres::{Centres, Near, Packing};
pub use ligand::LigandPlace;

use crate::data::Split;
use crate::data::structure::{self, ReadOptions, Structure};
use crate::data::system::System;
use crate::{Error, Result, files};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Where the atoms of a complex lie.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Place {
    Files {
        protein: PathBuf,
        ligand: LigandPlace,
    },
    /// An entry of an ATOM3D database, by its number.
    Atom3d { database: PathBuf, number: u64 },
}

/// A complex that a source lists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub id: String,
    pub place: Place,
    /// Negative decadic logarithm of Kd, Ki or IC50 in mol/l, where the list has it.
    pub affinity: Option<f64>,
    pub split: Option<Split>,
    /// Complexes of one group are kept together in cross-validation.
    pub group: Option<String>,
    /// Values of [`Listing::columns`].
    pub columns: Vec<String>,
}

/// All complexes of a source, in its order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Listing {
    pub entries: Vec<Entry>,
    /// Names of what else the source says about each complex.
    pub columns: Vec<String>,
}

/// What a user may say about a source.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Columns of a CSV file in other roles than their names tell: role and name.
    pub columns: Vec<(manifest::Role, String)>,
    /// PDBbind's index file, where the folder has several.
    pub index: Option<PathBuf>,
    /// Lists of the complexes of a split.
    pub splits: Vec<(Split, PathBuf)>,
}

/// Lists the complexes of a source.
///
/// # Errors
/// A source of no known kind, without complexes, with two of one id; a malformed row; a split
/// list with a complex that is not there.
pub fn list(source: &Path, options: &Options) -> Result<Listing> {
    let database = source.extension().is_some_and(|e| e == "mdb");
    let mut listing = if database || (source.is_dir() && atom3d::is_here(source)) {
        atom3d::list(source)?
    } else if source.is_dir() {
        pdbbind::list(source, options.index.as_deref())?
    } else {
        manifest::read(source, &options.columns)?
    };
    if listing.entries.is_empty() {
        return Err(Error::file(source, "lists no complexes"));
    }
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (i, entry) in listing.entries.iter().enumerate() {
        if let Some(first) = seen.insert(&entry.id, i) {
            let what = format!(
                "complexes {} and {} are both called {:?}; in a CSV file another column can \
                 give the ids (--column id=NAME)",
                first + 1,
                i + 1,
                entry.id
            );
            return Err(Error::file(source, what));
        }
    }
    for (split, path) in &options.splits {
        assign(&mut listing.entries, *split, path)?;
    }
    Ok(listing)
}

/// Puts the complexes that a text file names, one a line, into a split: by id, or, where no
/// complex has that id, by number from 0 as in ATOM3D's `*_indices.txt`.
fn assign(entries: &mut [Entry], split: Split, path: &Path) -> Result<()> {
    let text = files::read_text(path)?;
    let places: HashMap<String, usize> = entries
        .iter()
        .enumerate()
        .map(|(i, e)| (e.id.clone(), i))
        .collect();
    for (i, line) in text.lines().enumerate().filter(|l| !l.1.trim().is_empty()) {
        let name = line.trim();
        let number = || name.parse().ok().filter(|&n: &usize| n < entries.len());
        let place = places.get(name).copied().or_else(number).ok_or_else(|| {
            let what = format!("line {}: {name:?} is the id or number of no complex", i + 1);
            Error::file(path, what)
        })?;
        if let Some(other) = entries[place].split.filter(|&s| s != split) {
            let what = format!("line {}: {name} is in the {other} split already", i + 1);
            return Err(Error::file(path, what));
        }
        entries[place].split = Some(split);
    }
    Ok(())
}

/// A complex, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Complex {
    /// Protein, cofactors and whatever else the model's settings keep, without the ligand.
    pub structure: Structure,
    /// Heavy atoms, without residues.
    pub ligand: System,
    /// As in [`Entry::affinity`], where only the complex itself has it.
    pub affinity: Option<f64>,
    /// Atoms left out of the structure because the ligand has them too.
    pub shared_atoms: usize,
}

/// Å; two heavy atoms are never this close, so the closer one is the same atom.
const SAME_ATOM: f32 = 0.5;

/// Reads complexes; keeps databases open.
#[derive(Default)]
pub struct Reader {
    databases: atom3d::Databases,
}

impl Reader {
    /// Reads one complex with the structure options of a model.
    ///
    /// # Errors
    /// A file that cannot be read ([`structure::read`], [`ligand::read`]), a malformed entry.
    pub fn read(&self, entry: &Entry, options: &ReadOptions) -> Result<Complex> {
        let mut complex = match &entry.place {
            Place::Files { protein, ligand } => {
                let mut structure = structure::read(protein, options)?.swap_remove(0);
                let ligand = match ligand {
                    LigandPlace::File(path) => {
                        let (ligand, notes) = ligand::read(path)?;
                        structure.notes.merge(&notes);
                        ligand
                    }
                    LigandPlace::Residue(name) => ligand::of_residue(protein, name)?,
                };
                Complex {
                    structure,
                    ligand,
                    affinity: None,
                    shared_atoms: 0,
                }
            }
            Place::Atom3d { database, number } => {
                self.databases.read(database, *number, options)?
            }
        };
        complex.leave_out_shared();
        Ok(complex)
    }
}

impl Complex {
    /// Leaves out the atoms of the structure that lie where the ligand's do: a PDB entry holds its
    /// ligand as well, and every atom must count once.
    fn leave_out_shared(&mut self) {
        let (structure, ligand) = (&mut self.structure, &self.ligand);
        let near = |c: &[f32; 3]| {
            let squared = |l: &[f32; 3]| (0..3).map(|k| (l[k] - c[k]).powi(2)).sum::<f32>();
            ligand
                .positions
                .iter()
                .any(|l| squared(l) < SAME_ATOM * SAME_ATOM)
        };
        let positions = &structure.system.positions;
        let keep: Vec<bool> = positions.iter().map(|c| !near(c)).collect();
        self.shared_atoms = keep.iter().filter(|k| !**k).count();
        if self.shared_atoms == 0 {
            return;
        }
        let new = structure.system.retain(&keep);
        structure.centres.retain(|&c| keep[c as usize]);
        for centre in &mut structure.centres {
            *centre = new[*centre as usize];
        }
    }
}
