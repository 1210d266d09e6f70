//! Which complexes a regressor is fitted to, tuned on and judged by.

use super::labels;
use crate::data::complexes::clusters::IDENTITY;
use crate::data::complexes::manifest::Role;
use crate::data::table::Table;
use crate::data::{Split, folds};
use crate::downstream::pockets::{CLUSTER, Pockets};
use crate::{Error, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Rows of one division.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fold {
    /// Tuned by: fitted to the first rows, judged on the second.
    pub tuning: Vec<(Vec<usize>, Vec<usize>)>,
    /// Fitted to in the end.
    pub train: Vec<usize>,
    pub test: Vec<usize>,
}

impl Fold {
    /// How many complexes are fitted to, tuned on and tested.
    pub fn sizes(&self) -> [usize; 3] {
        let tuned = self.tuning.iter().map(|t| t.1.len()).sum();
        [self.train.len(), tuned, self.test.len()]
    }
}

/// Parts in which the folds that are not tested are tuned on in turn: one fold of few groups is too
/// little to choose a penalty by.
const TUNINGS: usize = 3;

/// How complexes are divided.
#[derive(Debug, Clone, PartialEq)]
pub enum Division {
    /// By a column of the pocket file.
    Column(String),
    /// By a CSV file with the columns `id` and `split`.
    File(PathBuf),
    /// Each fold is tested once, with regressors fitted to the others and tuned within them: in
    /// turn on a third of their folds, fitted to the other two.
    Folds(usize),
}

impl FromStr for Division {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if let Some(k) = text.strip_prefix("k-fold:") {
            let k = k.parse().ok().filter(|&k: &usize| k >= 3);
            return k.map(Division::Folds).ok_or_else(|| {
                "k-fold needs a number of at least 3: one fold tests, the others tune each other"
                    .into()
            });
        }
        Ok(match Path::new(text).extension() {
            Some(_) => Division::File(text.into()),
            None => Division::Column(text.to_string()),
        })
    }
}

impl std::fmt::Display for Division {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Division::Column(name) => write!(f, "column {name}"),
            Division::File(path) => write!(f, "{}", path.display()),
            Division::Folds(k) => write!(f, "{k} folds"),
        }
    }
}

/// Fewest complexes of each part.
const FEWEST: [(Split, usize); 3] = [(Split::Train, 3), (Split::Validation, 2), (Split::Test, 2)];

/// Complexes that belong together: those of one protein, or of like ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Groups {
    /// The group of each row of the pocket file.
    pub of: Vec<String>,
    /// Where they come from, in words.
    pub origin: String,
}

impl Groups {
    /// By the column `name`; else by `group`, which came with the complexes; else by the clusters of
    /// sequences. A complex with an empty field is a group of its own.
    ///
    /// # Errors
    /// No column of the name.
    pub fn new(pockets: &Pockets, name: Option<&str>) -> Result<Self> {
        let known = ["group", CLUSTER].into_iter();
        let name = match name {
            Some(name) => Some(name),
            None => known.into_iter().find(|n| pockets.column(n).is_ok()),
        };
        let Some(name) = name else {
            return Ok(Self {
                of: (0..pockets.ids.len()).map(folds::alone).collect(),
                origin: "every complex by itself".into(),
            });
        };
        let column = pockets.column(name)?.iter().enumerate();
        let of = column.map(|(i, value)| match value.is_empty() {
            true => folds::alone(i),
            false => value.clone(),
        });
        let origin = match name {
            CLUSTER => format!("clusters of sequences ({:.0} % identity)", 100.0 * IDENTITY),
            name => format!("column {name}"),
        };
        Ok(Self {
            of: of.collect(),
            origin,
        })
    }

    /// Numbers of the groups of some rows, in the order in which they first occur.
    pub fn numbers(&self, rows: impl Iterator<Item = usize>) -> Vec<usize> {
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        rows.map(|row| {
            let next = numbers.len();
            *numbers.entry(&self.of[row]).or_insert(next)
        })
        .collect()
    }
}

/// Divides the complexes `rows` of a pocket file.
///
/// # Errors
/// A missing column or file, an unknown split, a part with too few complexes.
pub fn divide(
    division: &Division,
    pockets: &Pockets,
    rows: &[usize],
    groups: &Groups,
    seed: u64,
) -> Result<Vec<Fold>> {
    let folds = match division {
        Division::Column(name) => {
            let column = pockets.column(name)?;
            let of = |row: usize| match column[row].as_str() {
                "" => Ok(None),
                text => text.parse().map(Some).map_err(|e| {
                    Error::file(&pockets.path, format!("complex {}: {e}", pockets.ids[row]))
                }),
            };
            vec![by_split(rows, of)?]
        }
        Division::File(path) => {
            let splits = read(path)?;
            vec![by_split(rows, |row| {
                Ok(splits.get(&pockets.ids[row]).copied())
            })?]
        }
        Division::Folds(k) => in_folds(rows, &groups.of, *k, seed),
    };
    for fold in &folds {
        for (size, (split, fewest)) in fold.sizes().into_iter().zip(FEWEST) {
            if size < fewest {
                return Err(Error::input(format!(
                    "{}: the {split} part by {division} has {} labelled complexes, at least \
                     {fewest} are needed; --split k-fold:5 makes parts of its own",
                    pockets.path.display(),
                    size
                )));
            }
        }
    }
    Ok(folds)
}

fn by_split(rows: &[usize], of: impl Fn(usize) -> Result<Option<Split>>) -> Result<Fold> {
    let (mut fold, mut validation) = (Fold::default(), Vec::new());
    for &row in rows {
        match of(row)? {
            Some(Split::Train) => fold.train.push(row),
            Some(Split::Validation) => validation.push(row),
            Some(Split::Test) => fold.test.push(row),
            None => {}
        }
    }
    fold.tuning = vec![(fold.train.clone(), validation)];
    Ok(fold)
}

fn read(path: &Path) -> Result<HashMap<String, Split>> {
    let mut splits = HashMap::new();
    let table = Table::read(path)?;
    let column = Role::Split.find(&table, &[])?;
    let column = column.ok_or_else(|| labels::without(&table, Role::Split))?;
    labels::rows(&table, column, |id, text, line| {
        let split = text
            .parse()
            .map_err(|e| Error::file(path, format!("line {line}: {e}")))?;
        splits.insert(id.to_string(), split);
        Ok(())
    })?;
    Ok(splits)
}

/// Each fold is tested once.
fn in_folds(rows: &[usize], groups: &[String], k: usize, seed: u64) -> Vec<Fold> {
    let parts = folds::deal(rows, groups, k, seed);
    let rows_of = |folds: &[usize]| {
        let mut rows: Vec<usize> = folds.iter().flat_map(|&i| parts[i].clone()).collect();
        rows.sort_unstable();
        rows
    };
    let fold = |test: usize| {
        let others: Vec<usize> = (1..k).map(|i| (test + i) % k).collect();
        let tunings = TUNINGS.min(others.len());
        let tuning = (0..tunings).map(|turn| {
            let held = |place: &usize| place % tunings == turn;
            let (held, kept): (Vec<usize>, Vec<usize>) = (0..others.len()).partition(held);
            let folds = |places: Vec<usize>| -> Vec<usize> {
                places.into_iter().map(|i| others[i]).collect()
            };
            (rows_of(&folds(kept)), rows_of(&folds(held)))
        });
        Fold {
            tuning: tuning.collect(),
            train: rows_of(&others),
            test: parts[test].clone(),
        }
    };
    (0..k).map(fold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_group_is_fitted_to_where_it_is_judged() {
        let groups: Vec<String> = (0..60).map(|i| format!("{}", i * i % 13)).collect();
        let rows: Vec<usize> = (0..60).collect();
        let of = |rows: &[usize]| -> Vec<&str> { rows.iter().map(|&i| &*groups[i]).collect() };
        let apart = |a: &[usize], b: &[usize]| of(a).iter().all(|g| !of(b).contains(g));
        for k in [3, 4, 5] {
            let folds = in_folds(&rows, &groups, k, 1);
            let mut tested: Vec<usize> = folds.iter().flat_map(|f| f.test.clone()).collect();
            tested.sort_unstable();
            assert_eq!(tested, rows);
            for fold in folds {
                assert!(apart(&fold.train, &fold.test));
                assert_eq!(fold.train.len() + fold.test.len(), 60);
                let mut tuned: Vec<usize> = fold.tuning.iter().flat_map(|t| t.1.clone()).collect();
                tuned.sort_unstable();
                assert_eq!(tuned, fold.train, "each is tuned on once");
                for (train, validation) in &fold.tuning {
                    assert!(apart(train, validation) && apart(train, &fold.test));
                    assert_eq!(train.len() + validation.len(), fold.train.len());
                }
            }
        }
    }
}
