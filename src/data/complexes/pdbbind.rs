//! PDBbind's layout: a folder per entry (`1a1e/1a1e_protein.pdb`, `1a1e/1a1e_ligand.sdf` or
//! `.mol2`) and an index, `INDEX_refined_data…` or `INDEX_general…data…`, whose lines are
//! `code resolution year -logKd/Ki ...`.

use super::{Entry, LigandPlace, Listing, Place};
use crate::{Error, Result, files};
use std::path::{Path, PathBuf};

/// Lists the entries of an index; that of `folder` (or of its `index` or `readme`) if `index`
/// names no other.
///
/// # Errors
/// No index or several; a line without an affinity.
pub fn list(folder: &Path, index: Option<&Path>) -> Result<Listing> {
    let index = match index {
        Some(path) => path.to_path_buf(),
        None => find(folder)?,
    };
    let bytes = files::read(&index)?;
    // Names of ligands are not always UTF-8.
    let text = String::from_utf8_lossy(&bytes);
    let homes = homes(folder)?;
    let entry = |(i, line): (usize, &str)| {
        let bad = |what: &str| Error::file(&index, format!("line {}: {what}", i + 1));
        let fields: Vec<&str> = line.split_whitespace().collect();
        let &[code, resolution, year, affinity, ..] = fields.as_slice() else {
            return Err(bad("not `code resolution year -logKd/Ki`"));
        };
        let affinity: f64 = affinity
            .parse()
            .ok()
            .filter(|a: &f64| a.is_finite())
            .ok_or_else(|| bad("the fourth field is no -logKd/Ki; use an INDEX_…_data… file"))?;
        let home = homes.iter().map(|h| h.join(code)).find(|h| h.is_dir());
        let home = home.unwrap_or_else(|| folder.join(code));
        let ligand = ["sdf", "sdf.gz", "mol2", "mol2.gz"]
            .map(|end| home.join(format!("{code}_ligand.{end}")));
        let ligand = ligand.iter().find(|p| p.exists()).unwrap_or(&ligand[0]);
        let protein = ["pdb", "pdb.gz"].map(|end| home.join(format!("{code}_protein.{end}")));
        let protein = protein.iter().find(|p| p.exists()).unwrap_or(&protein[0]);
        Ok(Entry {
            id: code.to_string(),
            place: Place::Files {
                protein: protein.clone(),
                ligand: LigandPlace::File(ligand.clone()),
            },
            affinity: Some(affinity),
            split: None,
            group: None,
            columns: vec![resolution.to_string(), year.to_string()],
        })
    };
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#'));
    Ok(Listing {
        entries: lines.map(entry).collect::<Result<_>>()?,
        columns: vec!["resolution".into(), "year".into()],
    })
}

fn find(folder: &Path) -> Result<PathBuf> {
    let mut found = Vec::new();
    for place in [
        folder.to_path_buf(),
        folder.join("index"),
        folder.join("readme"),
    ] {
        for path in children(&place).unwrap_or_default() {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
            if name.is_some_and(|n| n.starts_with("INDEX_") && n.contains("data")) {
                found.push(path);
            }
        }
    }
    match &found[..] {
        [only] => Ok(only.clone()),
        [] => Err(Error::file(
            folder,
            "holds neither an INDEX_…data… file (PDBbind) nor a data.mdb (ATOM3D); name a CSV \
             file of complexes, or an index with --index",
        )),
        [one, other, ..] => Err(Error::file(
            folder,
            format!(
                "several index files ({}, {}): choose with --index",
                one.display(),
                other.display()
            ),
        )),
    }
}

/// Where entries' folders may be: in the folder itself, or in one of its folders
/// (`refined-set`).
fn homes(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut homes = vec![folder.to_path_buf()];
    let inner = children(folder).map_err(|e| Error::io(folder, e))?;
    homes.extend(
        inner
            .into_iter()
            .filter(|p| p.is_dir() && p.file_name().is_some_and(|n| n.len() > 4)),
    );
    Ok(homes)
}

/// What a folder holds, in name order.
fn children(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?;
    let mut paths = entries
        .map(|e| e.map(|e| e.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
