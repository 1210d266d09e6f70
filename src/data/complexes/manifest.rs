//! A CSV file of complexes.

use super::{Entry, LigandPlace, Listing, Place};
use crate::data::Split;
use crate::{Error, Result};
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
    /// The name of a column that is not there.
    pub fn find(
        self,
        header: &csv::StringRecord,
        chosen: &[(Role, String)],
    ) -> std::result::Result<Option<usize>, String> {
        let place = |name: &str| header.iter().position(|h| h == name);
        match chosen.iter().find(|(role, _)| *role == self) {
            Some((_, name)) => place(name).map(Some).ok_or_else(|| {
                let all = header.iter().collect::<Vec<_>>().join(", ");
                format!("no column {name:?}; the columns are {all}")
            }),
            None => Ok(self.names().iter().find_map(|name| place(name))),
        }
    }
}

/// A number that can be an affinity; nothing where the field is empty.
///
/// # Errors
/// Text that is no finite number.
pub fn affinity(text: &str) -> std::result::Result<Option<f64>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let number = text.parse().ok().filter(|v: &f64| v.is_finite());
    let what = || format!("affinity {text:?} is not a finite number; leave it empty if unknown");
    number.map(Some).ok_or_else(what)
}

/// Reads a CSV file with a column for the protein's file and one for the ligand, which is a file
/// or a residue of the protein's file (`LIG`, `LIG:A`, `LIG:A:401`); paths count from the CSV
/// file's folder. Optional: id (else the ligand's name), affinity, split and group. Columns
/// without a role are kept as text.
///
/// # Errors
/// A missing column; a row without protein or ligand, with an unknown split or an affinity that
/// is no finite number: each with its line.
pub fn read(path: &Path, chosen: &[(Role, String)]) -> Result<Listing> {
    let bytes = std::fs::read(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::file(path, "no such file or folder"),
        _ => Error::io(path, e),
    })?;
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(&bytes[..]);
    let malformed = |e: csv::Error| Error::file(path, e);
    let header = reader.headers().map_err(malformed)?.clone();
    for (i, name) in header.iter().enumerate() {
        if header.iter().take(i).any(|before| before == name) {
            return Err(Error::file(
                path,
                format!("two columns are called {name:?}"),
            ));
        }
    }
    let mut places = [None; Role::ALL.len()];
    for role in Role::ALL {
        places[role as usize] = role
            .find(&header, chosen)
            .map_err(|e| Error::file(path, e))?;
    }
    for role in [Role::Protein, Role::Ligand] {
        if places[role as usize].is_none() {
            let what = format!(
                "no column {} (also known as {}); --column {}=NAME names another",
                role.names()[0],
                role.names()[1..].join(", "),
                role.names()[1]
            );
            return Err(Error::file(path, what));
        }
    }
    let others: Vec<usize> = (0..header.len())
        .filter(|i| !places.contains(&Some(*i)))
        .collect();
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut entries = Vec::new();
    for record in reader.records() {
        let record = record.map_err(malformed)?;
        let line = record.position().map_or(0, |p| p.line());
        let entry = row(&record, &places, &others, folder);
        entries.push(entry.map_err(|what| Error::file(path, format!("line {line}: {what}")))?);
    }
    let columns = others.iter().map(|&i| header[i].to_string()).collect();
    Ok(Listing { entries, columns })
}

fn row(
    record: &csv::StringRecord,
    places: &[Option<usize>],
    others: &[usize],
    folder: &Path,
) -> std::result::Result<Entry, String> {
    let field = |role: Role| {
        places[role as usize]
            .and_then(|i| record.get(i))
            .unwrap_or("")
    };
    let needed = |role: Role| match field(role) {
        "" => Err(format!("{} is empty", role.names()[1])),
        text => Ok(text),
    };
    let (protein, ligand) = (needed(Role::Protein)?, needed(Role::Ligand)?);
    let is_file = ligand.contains(['.', '/']);
    let id = match field(Role::Id) {
        "" => ligand,
        id => id,
    };
    let split = match field(Role::Split) {
        "" => None,
        text => Some(text.parse::<Split>().map_err(|e| e.to_string())?),
    };
    Ok(Entry {
        id: id.to_string(),
        place: Place::Files {
            protein: folder.join(protein),
            ligand: match is_file {
                true => LigandPlace::File(folder.join(ligand)),
                false => LigandPlace::Residue(ligand.to_string()),
            },
        },
        affinity: affinity(field(Role::Affinity))?,
        split,
        group: Some(field(Role::Group))
            .filter(|g| !g.is_empty())
            .map(str::to_string),
        columns: others.iter().map(|&i| record[i].to_string()).collect(),
    })
}
