//! ATOM3D's LBA databases: an LMDB whose values are gzipped JSON with tables of atoms
//! (`atoms_protein`, `atoms_ligand`) and `scores.neglog_aff`.

mod database;
mod lmdb;

pub use database::Databases;

use super::{Entry, Listing, Place};
use crate::Result;
use crate::data::Split;
use std::path::{Path, PathBuf};

/// Folders of a split data set, as ATOM3D names them.
const SPLITS: [(&str, Split); 3] = [
    ("train", Split::Train),
    ("val", Split::Validation),
    ("test", Split::Test),
];

const FILE: &str = "data.mdb";

/// Whether a folder holds a database, or one for each split.
pub fn is_here(folder: &Path) -> bool {
    let split = |s: &(&str, Split)| folder.join(s.0).join(FILE).exists();
    folder.join(FILE).exists() || SPLITS.iter().any(split)
}

/// Lists a database (`data.mdb` or its folder), or those of the splits in a folder.
///
/// # Errors
/// A file that is no LMDB of ATOM3D's, or damaged.
pub fn list(source: &Path) -> Result<Listing> {
    let databases: Vec<(PathBuf, Option<Split>)> = if source.is_file() {
        vec![(source.to_path_buf(), None)]
    } else if source.join(FILE).exists() {
        vec![(source.join(FILE), None)]
    } else {
        let split = |(name, split)| (source.join(name).join(FILE), Some(split));
        let all = SPLITS.into_iter().map(split);
        all.filter(|(path, _)| path.exists()).collect()
    };
    let mut listing = Listing::default();
    for (path, split) in databases {
        for (id, number) in database::ids(&path)? {
            listing.entries.push(Entry {
                id,
                place: Place::Atom3d {
                    database: path.clone(),
                    number,
                },
                affinity: None,
                split,
                group: None,
                columns: Vec::new(),
            });
        }
    }
    Ok(listing)
}
