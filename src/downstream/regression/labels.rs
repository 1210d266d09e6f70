//! What is to be predicted.

use crate::data::complexes::affinity;
use crate::data::complexes::manifest::Role;
use crate::data::table::Table;
use crate::downstream::pockets::Pockets;
use crate::{Error, Result};
use std::collections::HashMap;
use std::path::Path;

/// The label of each complex of a pocket file: from a CSV file (columns `id` and an affinity), or
/// those that came with the complexes. `None` where there is none. `tell` says what is not used.
///
/// # Errors
/// A file without the columns, with an id twice or a label that is no finite number; a pocket
/// file without affinities.
pub fn labels(pockets: &Pockets, file: Option<&Path>, tell: bool) -> Result<Vec<Option<f64>>> {
    let Some(path) = file else {
        if pockets.affinity.is_empty() {
            return Err(Error::file(
                &pockets.path,
                "no affinities in it; give them with --labels FILE.csv (columns id, pK)",
            ));
        }
        let known = |a: &f64| Some(*a).filter(|a| a.is_finite());
        return Ok(pockets.affinity.iter().map(known).collect());
    };
    let mut by_id = HashMap::new();
    let table = Table::read(path)?;
    let column = affinity::column(&table, &[])?;
    let (place, scale) = column.ok_or_else(|| without(&table, Role::Affinity))?;
    rows(&table, place, |id, text, line| {
        let label = affinity::value(text, scale);
        let label = label.map_err(|e| Error::file(path, format!("line {line}: {e}")))?;
        by_id.insert(id.to_string(), label);
        Ok(())
    })?;
    let found = pockets
        .ids
        .iter()
        .filter(|id| by_id.contains_key(*id))
        .count();
    if found == 0 {
        let what = format!("none of its ids is in {}", pockets.path.display());
        return Err(Error::file(path, what));
    }
    if tell && found < by_id.len() {
        log::warn!(
            "{}: {} labels are of no complex in {}",
            path.display(),
            by_id.len() - found,
            pockets.path.display()
        );
    }
    let label = |id: &String| by_id.get(id).copied().flatten();
    Ok(pockets.ids.iter().map(label).collect())
}

/// A table that has no column of a role.
pub(super) fn without(table: &Table, role: Role) -> Error {
    let (names, listed) = (role.names().join(", "), table.listed());
    table.in_header(format!(
        "no column of any of these names: {names}; {listed}"
    ))
}

/// Calls `take` with id, value and line of every row of a table; the values are in the column `value`.
///
/// # Errors
/// No column of ids, an id twice.
pub(super) fn rows(
    table: &Table,
    value: usize,
    mut take: impl FnMut(&str, &str, u64) -> Result<()>,
) -> Result<()> {
    let id = Role::Id.find(table, &[])?;
    let id = id.ok_or_else(|| without(table, Role::Id))?;
    let mut seen: HashMap<&str, u64> = HashMap::new();
    for row in table.rows() {
        let name = row.text(id);
        if let Some(first) = seen.insert(name, row.line()) {
            return Err(row.error(format!("id {name:?} is also on line {first}")));
        }
        take(name, row.text(value), row.line())?;
    }
    Ok(())
}
