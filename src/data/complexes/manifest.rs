//! A CSV file of complexes.

use super::affinity::{self, Scale};
use super::{Entry, LigandPlace, Listing, Place};
use crate::Result;
use crate::data::Split;
use crate::data::table::{Row, Table};
use std::collections::HashSet;
use std::path::Path;

/// What a column says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    Id,
    Protein,
    Ligand,
    Affinity,
    Split,
    Group,
}

impl Role {
    const ALL: [Role; 6] = [
        Role::Id,
        Role::Protein,
        Role::Ligand,
        Role::Affinity,
        Role::Split,
        Role::Group,
    ];

    /// Names that columns of this role have, the preferred one first.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Role::Id => &["id", "pdb_id", "code", "name"],
            Role::Protein => &["protein_file", "protein", "structure", "receptor"],
            Role::Ligand => &["ligand_file", "ligand"],
            Role::Affinity => &["pK", "pKd", "pKi", "pIC50", "neglog_aff", "affinity"],
            Role::Split => &["split"],
            Role::Group => &["group"],
        }
    }

    /// The column of this role: the one that the user names, else the first known name.
    ///
    /// # Errors
    /// The name of a column that is not there, or there twice.
    pub fn find(self, table: &Table, chosen: &[(Role, String)]) -> Result<Option<usize>> {
        if let Some((_, name)) = chosen.iter().find(|(role, _)| *role == self) {
            return table.column(name).map(Some);
        }
        for name in self.names() {
            let place = table.find(name)?;
            if place.is_some() {
                return Ok(place);
            }
        }
        Ok(None)
    }
}

/// Reads a CSV file with a column for the protein's file and one for the ligand, which is a file
/// or a residue of the protein's file (`LIG`, `LIG:A`, `LIG:A:401`); paths count from the CSV
/// file's folder. Optional: id, affinity ([`affinity::column`]), split and group. Without ids, the names of the ligands' files
/// without folders and endings are the ids, or, where two are the same, whole. Columns without a role
/// are kept as text.
///
/// # Errors
/// A missing column; a row without protein or ligand, with an unknown split or an affinity that
/// is no finite number: each with its line.
pub fn read(path: &Path, chosen: &[(Role, String)]) -> Result<Listing> {
    let table = Table::read(path)?;
    table.check_names()?;
    let mut places = [None; Role::ALL.len()];
    for role in Role::ALL {
        places[role as usize] = role.find(&table, chosen)?;
    }
    let affinity = affinity::column(&table, chosen)?;
    places[Role::Affinity as usize] = affinity.map(|(place, _)| place);
    let needed = |role: Role| {
        places[role as usize].ok_or_else(|| {
            table.in_header(format!(
                "no column {} (also known as {}); --column {}=NAME names another; {}",
                role.names()[0],
                role.names()[1..].join(", "),
                role.names()[1],
                table.listed()
            ))
        })
    };
    let columns = Columns {
        protein: needed(Role::Protein)?,
        ligand: needed(Role::Ligand)?,
        places,
        scale: affinity.map_or(Scale::Log, |(_, scale)| scale),
        others: (0..table.columns().len())
            .filter(|i| !places.contains(&Some(*i)))
            .collect(),
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let entries = table.rows().map(|row| columns.entry(row, folder));
    let mut entries = entries.collect::<Result<Vec<Entry>>>()?;
    if places[Role::Id as usize].is_none() {
        shorten(&mut entries);
    }
    let name = |&i: &usize| table.columns()[i].clone();
    Ok(Listing {
        entries,
        columns: columns.others.iter().map(name).collect(),
    })
}

/// Makes ids of the stems of paths, if they tell all complexes apart.
fn shorten(entries: &mut [Entry]) {
    let stem = |e: &Entry| match &e.place {
        Place::Files {
            ligand: LigandPlace::File(path),
            ..
        } => stem(path),
        _ => e.id.clone(),
    };
    let stems: Vec<String> = entries.iter().map(stem).collect();
    if stems.iter().collect::<HashSet<_>>().len() == entries.len() {
        let pairs = entries.iter_mut().zip(stems);
        pairs.for_each(|(entry, stem)| entry.id = stem);
    }
}

/// The name of a ligand's file without `.gz` and the format's ending.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem.to_string(),
        _ => name.to_string(),
    }
}

/// Places of the columns.
struct Columns {
    protein: usize,
    ligand: usize,
    /// By role.
    places: [Option<usize>; Role::ALL.len()],
    /// What affinities are.
    scale: Scale,
    /// Those without a role.
    others: Vec<usize>,
}

impl Columns {
    fn entry(&self, row: Row, folder: &Path) -> Result<Entry> {
        let field = |role: Role| row.optional(self.places[role as usize]);
        let (protein, ligand) = (row.filled(self.protein)?, row.filled(self.ligand)?);
        let is_file = ligand.contains(['.', '/']);
        let split = field(Role::Split).map(|text| text.parse::<Split>().map_err(|e| row.error(e)));
        let affinity = affinity::value(field(Role::Affinity).unwrap_or_default(), self.scale);
        Ok(Entry {
            id: field(Role::Id).unwrap_or(ligand).to_string(),
            place: Place::Files {
                protein: folder.join(protein),
                ligand: match is_file {
                    true => LigandPlace::File(folder.join(ligand)),
                    false => LigandPlace::Residue(ligand.to_string()),
                },
            },
            affinity: affinity.map_err(|what| row.error(what))?,
            split: split.transpose()?,
            group: field(Role::Group).map(str::to_string),
            columns: self.others.iter().map(|&i| row.text(i).into()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(rows: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.csv");
        std::fs::write(&path, format!("protein,ligand\n{rows}")).unwrap();
        let listing = read(&path, &[]).unwrap();
        listing.entries.into_iter().map(|e| e.id).collect()
    }

    #[test]
    fn without_ids_the_names_of_files_are_ids_where_they_differ() {
        assert_eq!(
            ids("p,a/one.sdf\np,b/two.x.mol2.gz\nq,LIG:A\n"),
            ["one", "two.x", "LIG:A"]
        );
        assert_eq!(
            ids("p,a/one.sdf\np,b/one.sdf\n"),
            ["a/one.sdf", "b/one.sdf"]
        );
    }
}
