//! A CSV file of complexes.

use super::{Entry, LigandPlace, Listing, Place};
use crate::Result;
use crate::data::Split;
use crate::data::table::{Row, Table};
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
    let table = Table::read(path)?;
    table.check_names()?;
    let mut places = [None; Role::ALL.len()];
    for role in Role::ALL {
        places[role as usize] = role.find(&table, chosen)?;
    }
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
        others: (0..table.columns().len())
            .filter(|i| !places.contains(&Some(*i)))
            .collect(),
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let entries = table.rows().map(|row| columns.entry(row, folder));
    let name = |&i: &usize| table.columns()[i].clone();
    Ok(Listing {
        entries: entries.collect::<Result<_>>()?,
        columns: columns.others.iter().map(name).collect(),
    })
}

/// Places of the columns.
struct Columns {
    protein: usize,
    ligand: usize,
    /// By role.
    places: [Option<usize>; Role::ALL.len()],
    /// Those without a role.
    others: Vec<usize>,
}

impl Columns {
    fn entry(&self, row: Row, folder: &Path) -> Result<Entry> {
        let field = |role: Role| row.optional(self.places[role as usize]);
        let (protein, ligand) = (row.filled(self.protein)?, row.filled(self.ligand)?);
        let is_file = ligand.contains(['.', '/']);
        let split = field(Role::Split).map(|text| text.parse::<Split>().map_err(|e| row.error(e)));
        let affinity = affinity(field(Role::Affinity).unwrap_or_default());
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
