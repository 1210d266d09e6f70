//! Labels of residues: their type, their secondary structure, or a column of a user's table.

use super::Options;
use crate::data::dataset::Dataset;
use crate::data::secondary;
use crate::data::table::Table;
use crate::print::count;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where labels come from.
#[derive(Debug, Clone, PartialEq)]
pub enum LabelSource {
    /// The residue's three-letter name.
    Residue,
    /// Helix, strand or coil ([`secondary`]).
    Secondary,
    /// A column of a CSV table with the columns `structure`, `chain`, `number` and, if needed,
    /// `icode`.
    Table { path: PathBuf, column: String },
}

impl LabelSource {
    /// The table that the labels stand in.
    pub fn table(&self) -> Option<&Path> {
        match self {
            LabelSource::Table { path, .. } => Some(path),
            _ => None,
        }
    }
}

impl FromStr for LabelSource {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "residue" => Ok(Self::Residue),
            "secondary" => Ok(Self::Secondary),
            _ => match text.rsplit_once(':') {
                Some((path, column)) if !path.is_empty() && !column.is_empty() => Ok(Self::Table {
                    path: path.into(),
                    column: column.into(),
                }),
                _ => Err(Error::input(format!(
                    "labels {text:?}: use residue, secondary, or TABLE.csv:COLUMN"
                ))),
            },
        }
    }
}

/// One label per centre of a dataset; not every centre need have one.
pub struct Labels {
    pub name: String,
    of: Vec<Option<String>>,
}

/// A class for each of some rows, as numbers into the sorted names.
pub struct Classes {
    pub names: Vec<String>,
    pub of: Vec<u32>,
}

impl Classes {
    /// Members of each class.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.names.len()];
        self.of.iter().for_each(|&c| counts[c as usize] += 1);
        counts
    }
}

/// What classifiers are asked.
pub struct Question {
    /// Places of the residues that have a class, in those that were asked for.
    pub rows: Vec<usize>,
    /// Their classes.
    pub classes: Classes,
    /// Classes that are too rare to be asked for, and their residues.
    pub left_out: BTreeMap<String, usize>,
}

impl Question {
    /// Leaves out the classes that have fewer residues than there are folds. `name` is that of the
    /// labels.
    ///
    /// # Errors
    /// Fewer than two classes stay.
    pub fn frequent(self, name: &str, options: &Options) -> Result<Self> {
        let counts = self.classes.counts();
        let stays = |class: usize| counts[class] >= options.folds;
        let names = self.classes.names.into_iter().enumerate();
        let (kept, rare): (Vec<_>, Vec<_>) = names.partition(|&(class, _)| stays(class));
        if kept.len() < 2 {
            let residues = counts.iter().sum::<usize>();
            return Err(Error::input(format!(
                "labels {name}: of {} in {residues} residues of split {}, {} have {} residues or more, \
                 one for each fold; two are needed: fewer --folds, other --labels, or another --split",
                count(counts.len(), "class"),
                options.split,
                kept.len(),
                options.folds,
            )));
        }
        let number: BTreeMap<usize, u32> = kept.iter().map(|(class, _)| *class).zip(0..).collect();
        let rows = self.rows.into_iter().zip(&self.classes.of);
        let rows = rows.filter_map(|(row, class)| Some((row, *number.get(&(*class as usize))?)));
        let (rows, of) = rows.unzip();
        let names = kept.into_iter().map(|(_, name)| name).collect();
        Ok(Self {
            rows,
            classes: Classes { names, of },
            left_out: rare
                .into_iter()
                .map(|(class, name)| (name, counts[class]))
                .collect(),
        })
    }
}

impl Labels {
    /// # Errors
    /// A table that cannot be read, lacks a column, names a residue twice, or names none of the
    /// dataset's.
    pub fn new(source: &LabelSource, dataset: &Dataset) -> Result<Self> {
        let centres = 0..dataset.len() as u32;
        let (name, of) = match source {
            LabelSource::Residue => {
                let name = |c| Some(dataset.residue(c).residue.name.to_string());
                ("residue".into(), centres.map(name).collect())
            }
            LabelSource::Secondary => {
                let classes = secondary::assign(dataset);
                let name = |c: Option<secondary::Secondary>| c.map(|c| c.name().to_string());
                ("secondary".into(), classes.into_iter().map(name).collect())
            }
            LabelSource::Table { path, column } => {
                (column.clone(), from_table(path, column, dataset)?)
            }
        };
        Ok(Self { name, of })
    }

    /// The labels of `centres`.
    pub fn of(&self, centres: &[u32]) -> Question {
        let label = |&c: &u32| self.of[c as usize].as_deref();
        let names: BTreeSet<&str> = centres.iter().filter_map(label).collect();
        let number: BTreeMap<&str, u32> = names.iter().copied().zip(0..).collect();
        let labelled = centres.iter().enumerate();
        let (rows, of) = labelled
            .filter_map(|(row, c)| Some((row, number[label(c)?])))
            .unzip();
        let names = names.into_iter().map(String::from).collect();
        Question {
            rows,
            classes: Classes { names, of },
            left_out: BTreeMap::new(),
        }
    }

    /// The label of each centre, empty where there is none.
    pub fn texts(&self, centres: &[u32]) -> Vec<String> {
        let text = |&c: &u32| self.of[c as usize].clone().unwrap_or_default();
        centres.iter().map(text).collect()
    }
}

fn from_table(path: &Path, column: &str, dataset: &Dataset) -> Result<Vec<Option<String>>> {
    let mut places = HashMap::new();
    for centre in 0..dataset.len() as u32 {
        let id = dataset.residue(centre);
        let r = id.residue;
        let icode = char::from(r.icode).to_string().trim().to_string();
        let key = (
            id.structure.to_string(),
            r.chain.to_string(),
            r.number,
            icode,
        );
        places.insert(key, centre);
    }
    let table = Table::read(path)?;
    let (structure, chain) = (table.column("structure")?, table.column("chain")?);
    let (number, icode) = (table.column("number")?, table.find("icode")?);
    let value = table.column(column)?;
    let mut labels = vec![None; dataset.len()];
    let mut found = 0usize;
    for row in table.rows() {
        let text = |column: usize| row.text(column).to_string();
        let n: i32 = row.parse(number, "a whole number")?;
        let icode = row.optional(icode).unwrap_or_default().to_string();
        let Some(&centre) = places.get(&(text(structure), text(chain), n, icode)) else {
            continue;
        };
        let Some(label) = row.optional(Some(value)) else {
            continue;
        };
        if labels[centre as usize].replace(label.to_string()).is_some() {
            return Err(row.error("this residue has a label already"));
        }
        found += 1;
    }
    match found {
        0 => Err(Error::file(
            path,
            "no row names a residue of the dataset: structure, chain and number must be those \
             that `holosig embed` writes",
        )),
        _ => Ok(labels),
    }
}
