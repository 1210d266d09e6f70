//! CSV files that list chains: which file and chain, what it is, which part of the data.

use crate::data::Split;
use crate::data::table::{Row, Table};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub id: String,
    pub file: PathBuf,
    /// Nothing for the only one of the file.
    pub chain: Option<String>,
    /// Its class, or its labels; nothing where they are unknown.
    pub labels: Vec<String>,
    /// The part's own name (`test_fold`), and what it is for.
    pub part: String,
    pub split: Split,
}

/// What a column says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    Id,
    File,
    Chain,
    Label,
    Split,
}

impl Role {
    /// Names that columns of this role have, the preferred one first.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Role::Id => &["id", "chain_id", "scop_domain", "name"],
            Role::File => &["file", "structure_file", "structure"],
            Role::Chain => &["chain"],
            Role::Label => &["label", "labels", "fold", "ec_number"],
            Role::Split => &["split", "published_split"],
        }
    }

    /// The column of this role: the one that the user names, else the first known name.
    fn find(self, table: &Table, chosen: &[(Role, String)]) -> Result<Option<usize>> {
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

    fn needed(self, table: &Table, chosen: &[(Role, String)]) -> Result<usize> {
        self.find(table, chosen)?.ok_or_else(|| {
            let names = self.names().join(", ");
            let listed = table.listed();
            table.in_header(format!(
                "no column {names}; {listed} (--column names another)"
            ))
        })
    }
}

/// What a part of the data is for, by its name's beginning: `training`, `validation`, `test_fold`.
///
/// # Errors
/// Another name.
pub fn split(part: &str) -> Result<Split> {
    let word = part.split(['_', '-', ' ']).next().unwrap_or_default();
    match word {
        "training" => Ok(Split::Train),
        "testing" => Ok(Split::Test),
        word => word.parse(),
    }
}

/// Reads a table. Files are looked for in `folder`, or beside the table; labels of a chain are
/// separated by semicolons.
///
/// # Errors
/// A table that cannot be read, a missing column, a row without id, file or split.
pub fn read(path: &Path, folder: Option<&Path>, chosen: &[(Role, String)]) -> Result<Vec<Entry>> {
    let table = Table::read(path)?;
    let needed = |role: Role| role.needed(&table, chosen);
    let (id, file, part) = (needed(Role::Id)?, needed(Role::File)?, needed(Role::Split)?);
    let label = needed(Role::Label)?;
    let chain = Role::Chain.find(&table, chosen)?;
    let folder = folder.or(path.parent()).unwrap_or(Path::new("."));
    let entry = |row: Row| -> Result<Entry> {
        let part = row.filled(part)?;
        let labels = row
            .text(label)
            .split(';')
            .map(str::trim)
            .filter(|l| !l.is_empty());
        let mut labels: Vec<String> = labels.map(String::from).collect();
        labels.sort();
        labels.dedup();
        Ok(Entry {
            id: row.filled(id)?.into(),
            file: folder.join(row.filled(file)?),
            chain: row.optional(chain).map(String::from),
            labels,
            split: split(part).map_err(|e| row.error(e))?,
            part: part.into(),
        })
    };
    let entries: Vec<Entry> = table.rows().map(entry).collect::<Result<_>>()?;
    match entries.is_empty() {
        true => Err(Error::file(path, "no chains: the table has no rows")),
        false => Ok(entries),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_their_splits() {
        for (part, expected) in [
            ("training", Split::Train),
            ("train", Split::Train),
            ("validation", Split::Validation),
            ("test_superfamily", Split::Test),
            ("testing", Split::Test),
        ] {
            assert_eq!(split(part).unwrap(), expected, "{part}");
        }
        assert!(split("holdout").is_err() && split("").is_err());
    }

    #[test]
    fn rows_name_their_files_and_labels() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chains.csv");
        let text = "chain_id,structure_file,chain,ec_number,published_split\n\
                    1abc.A,a.pdb,A,3.4.1.1;1.1.1.1;3.4.1.1,training\n\
                    1abc.B,a.pdb,,,test_fold\n";
        std::fs::write(&path, text).unwrap();
        let all = read(&path, None, &[]).unwrap();
        assert_eq!(all[0].labels, ["1.1.1.1", "3.4.1.1"]);
        assert_eq!(
            (all[0].chain.as_deref(), all[1].chain.as_deref()),
            (Some("A"), None)
        );
        assert_eq!(all[1].file, folder.path().join("a.pdb"));
        assert_eq!((&*all[1].part, all[1].split), ("test_fold", Split::Test));
        assert!(all[1].labels.is_empty());
        let chosen = [(Role::Label, "chain".to_string())];
        assert_eq!(read(&path, None, &chosen).unwrap()[0].labels, ["A"]);
        std::fs::write(&path, "id,file\n1,2\n").unwrap();
        let message = read(&path, None, &[]).unwrap_err().to_string();
        assert!(message.contains("split"), "{message}");
    }
}
