//! Reading a database.

use super::lmdb::Lmdb;
use crate::data::complexes::{Complex, ligand};
use crate::data::structure::atom3d::Table;
use crate::data::structure::{ReadOptions, gunzip};
use crate::{Error, Result};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// An open database.
struct Open {
    path: PathBuf,
    lmdb: Lmdb,
}

/// An entry; those of other tasks lack parts of it.
#[derive(Deserialize)]
struct Item {
    atoms_protein: Option<Table>,
    atoms_ligand: Option<Table>,
    scores: Option<Scores>,
}

#[derive(Deserialize)]
struct Scores {
    neglog_aff: Option<f64>,
}

impl Open {
    fn new(path: &Path) -> Result<Self> {
        let open = Self {
            path: path.to_path_buf(),
            lmdb: Lmdb::open(path)?,
        };
        match open.get("serialization_format")?.as_deref() {
            None | Some(b"json") => Ok(open),
            Some(other) => Err(open.bad(format!(
                "serialized as {:?}, where json is needed",
                String::from_utf8_lossy(other)
            ))),
        }
    }

    fn bad(&self, what: impl std::fmt::Display) -> Error {
        Error::file(&self.path, what)
    }

    /// The value under a key, unpacked.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        match self.lmdb.get(key.as_bytes())? {
            Some(v) if v.starts_with(&[0x1f, 0x8b]) => gunzip(&self.path, &v).map(Some),
            value => Ok(value),
        }
    }

    fn json<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<T> {
        let bytes = self.get(key)?;
        let bytes = bytes.ok_or_else(|| self.bad(format!("no entry {key:?}: not of ATOM3D")))?;
        serde_json::from_slice(&bytes).map_err(|e| self.bad(format!("entry {key:?}: {e}")))
    }
}

/// Ids and numbers of a database's entries, by number.
///
/// # Errors
/// A file that is no LMDB of ATOM3D's.
pub(super) fn ids(path: &Path) -> Result<Vec<(String, u64)>> {
    let numbers: BTreeMap<String, u64> = Open::new(path)?.json("id_to_idx")?;
    let mut ids: Vec<_> = numbers.into_iter().collect();
    ids.sort_by_key(|(_, number)| *number);
    Ok(ids)
}

/// Databases, opened when first needed.
#[derive(Default)]
pub struct Databases(Mutex<HashMap<PathBuf, Arc<Open>>>);

impl Databases {
    fn open(&self, path: &Path) -> Result<Arc<Open>> {
        let mut open = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(known) = open.get(path) {
            return Ok(known.clone());
        }
        let new = Arc::new(Open::new(path)?);
        open.insert(path.to_path_buf(), new.clone());
        Ok(new)
    }

    /// The complex of an entry.
    ///
    /// # Errors
    /// An entry of another task than LBA, a malformed table, no CA of a canonical amino acid.
    pub fn read(&self, path: &Path, number: u64, options: &ReadOptions) -> Result<Complex> {
        let open = self.open(path)?;
        let item: Item = open.json(&number.to_string())?;
        let bad = |what: String| open.bad(format!("entry {number}: {what}"));
        let (Some(protein), Some(atoms)) = (item.atoms_protein, item.atoms_ligand) else {
            return Err(bad(
                "no atoms_protein and atoms_ligand: not of ATOM3D's LBA task".into(),
            ));
        };
        let structure = protein.structure("protein", options).map_err(bad)?;
        if structure.centres.is_empty() {
            return Err(bad("no CA atom of a canonical amino acid".into()));
        }
        let ligand = atoms
            .atoms()
            .and_then(|a| ligand::checked(ligand::heavy(&a)?));
        let affinity = item.scores.and_then(|s| s.neglog_aff);
        if affinity.is_some_and(|a| !a.is_finite()) {
            return Err(bad("neglog_aff is not finite".into()));
        }
        Ok(Complex {
            structure,
            ligand: ligand.map_err(bad)?,
            affinity,
            shared_atoms: 0,
        })
    }
}
