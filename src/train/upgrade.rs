//! What version 1 called or kept otherwise, brought to today's form. Nothing else knows of it.
//!
//! | version 1 | today |
//! |---|---|
//! | a job without `task` | `task = "hvae"` |
//! | `data.batch`, `data.slices` | `train.batch`, `train.slices` |
//! | `train.weights.TERM` | `loss.TERM.weight` |
//! | `train.weights.no_kl_epochs`, `train.weights.warmup_kl_epochs` | `loss.kl.start`, `loss.kl.warmup` |
//! | a checkpoint that does not name its task | told by its description, of which there were two |

use super::job::{parse_table, to_text};
use crate::{Error, Result};
use std::path::Path;
use toml::{Table, Value};

/// The task that jobs of version 1 did not name.
const UNNAMED: &str = "hvae";

/// Today's name of a job's key.
pub fn key(name: &str) -> String {
    match (name, name.strip_prefix("train.weights.")) {
        ("data.batch", _) => "train.batch".into(),
        ("data.slices", _) => "train.slices".into(),
        (_, Some("no_kl_epochs")) => "loss.kl.start".into(),
        (_, Some("warmup_kl_epochs")) => "loss.kl.warmup".into(),
        (_, Some(term)) => format!("loss.{term}.weight"),
        _ => name.into(),
    }
}

/// Brings a job to today's form; what was renamed, in words.
///
/// # Errors
/// A setting under both its names.
pub fn job(table: &mut Table) -> Result<Vec<String>> {
    let (mut renamed, mut terms) = (Vec::new(), Vec::new());
    for (section, settings) in [
        (&["data"][..], Some(&["batch", "slices"][..])),
        (&["train", "weights"], None),
    ] {
        for (name, value) in take(table, section, settings) {
            let old = format!("{}.{name}", section.join("."));
            let new = key(&old);
            put(table, &old, &new, value)?;
            renamed.push(format!("{old} is {new} now"));
            terms.extend(new.strip_prefix("loss.").map(String::from));
        }
    }
    terms.iter().for_each(|term| write_out(table, term));
    if !table.contains_key("task") {
        table.insert("task".into(), Value::String(UNNAMED.into()));
        renamed.push(format!("the task is named now: task = {UNNAMED:?}"));
    }
    Ok(renamed)
}

/// Takes some settings, or all, out of a section, and the section with the last of them.
fn take(table: &mut Table, section: &[&str], names: Option<&[&str]>) -> Vec<(String, Value)> {
    let [head, rest @ ..] = section else {
        let found: Vec<String> = table.keys().cloned().collect();
        let wanted = found
            .into_iter()
            .filter(|name| names.is_none_or(|names| names.contains(&name.as_str())));
        return wanted
            .filter_map(|name| table.remove_entry(&name))
            .collect();
    };
    let Some(Value::Table(inner)) = table.get_mut(*head) else {
        return Vec::new();
    };
    let taken = take(inner, rest, names);
    if rest.is_empty() && names.is_none() {
        table.remove(*head);
    }
    taken
}

/// Puts a value at `new`, `old` being where it was.
fn put(table: &mut Table, old: &str, new: &str, value: Value) -> Result<()> {
    let mut sections: Vec<&str> = new.split('.').collect();
    let name = sections.pop().unwrap_or_default();
    let mut here = table;
    for section in &sections {
        let next = here
            .entry(*section)
            .or_insert_with(|| Value::Table(Table::new()));
        here = next.as_table_mut().ok_or_else(|| twice(old, new))?;
    }
    if here.insert(name.into(), value).is_some() {
        return Err(twice(old, new));
    }
    Ok(())
}

/// Gives the term of a key `TERM.SETTING` its whole schedule, as resolved jobs have it.
fn write_out(table: &mut Table, key: &str) {
    let term = key.split('.').next().unwrap_or_default();
    let loss = table.get_mut("loss").and_then(Value::as_table_mut);
    let Some(Value::Table(schedule)) = loss.and_then(|loss| loss.get_mut(term)) else {
        return;
    };
    for name in ["start", "warmup"] {
        schedule.entry(name).or_insert(Value::Integer(0));
    }
}

fn twice(old: &str, new: &str) -> Error {
    Error::input(format!(
        "{old} is an older name of {new}, and both are there: keep {new}"
    ))
}

/// [`job`] of a text; `path` is the file to blame.
///
/// # Errors
/// As [`job`]; text that is no TOML.
pub fn job_text(path: &Path, text: &str) -> Result<String> {
    let mut table = parse_table(path, text)?;
    job(&mut table).map_err(|e| e.in_file(path))?;
    to_text(&table)
}

/// The task of a checkpoint of version 1, by its description.
///
/// # Errors
/// A description of neither task of that version.
pub fn task(description: &str) -> Result<&'static str> {
    let table = description.parse::<Table>().unwrap_or_default();
    let has = |name| table.contains_key(name);
    match (has("zernike"), has("objective")) {
        (true, false) => Ok(UNNAMED),
        (false, true) => Ok("deep-signature"),
        _ => Err(Error::input(
            "a checkpoint of version 1 whose description is of no model",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upgraded(text: &str) -> (Table, Vec<String>) {
        let mut table: Table = text.parse().unwrap();
        let renamed = job(&mut table).unwrap();
        (table, renamed)
    }

    #[test]
    fn jobs_of_version_1_become_todays() {
        let (table, renamed) = upgraded(
            "[data]\ndataset = \"d.h5\"\nbatch = 8\nslices = 2\n[train]\nseed = 1\n\
             weights = { reconstruction = 10.0, kl = 0.5, no_kl_epochs = 4, warmup_kl_epochs = 2 }",
        );
        let wanted: Table = "task = \"hvae\"\n[data]\ndataset = \"d.h5\"\n[train]\nseed = 1\n\
            batch = 8\nslices = 2\n[loss]\nreconstruction = { weight = 10.0, start = 0, warmup = 0 }\n\
            kl = { weight = 0.5, start = 4, warmup = 2 }"
            .parse()
            .unwrap();
        assert_eq!(table, wanted);
        assert_eq!(renamed.len(), 7);
        assert!(renamed.contains(&"data.batch is train.batch now".to_string()));
        let (again, renamed) = upgraded(&table.to_string());
        assert_eq!((again, renamed), (table, Vec::new()));
    }

    #[test]
    fn a_setting_has_one_name() {
        let mut table: Table = "[data]\nbatch = 8\n[train]\nbatch = 9".parse().unwrap();
        let told = job(&mut table).unwrap_err().to_string();
        assert_eq!(
            told,
            "data.batch is an older name of train.batch, and both are there: keep train.batch"
        );
        let both = "[train]\nweights.kl = 1.0\n[loss]\nkl = 2.0";
        assert!(job(&mut both.parse().unwrap()).is_err());
    }

    #[test]
    fn descriptions_of_version_1_tell_their_task() {
        assert_eq!(task("norm_factor = 1.0\n[zernike]\n").unwrap(), "hvae");
        assert_eq!(task("objective = \"binary\"").unwrap(), "deep-signature");
        assert!(task("something = 1").is_err() && task("no toml").is_err());
    }
}
