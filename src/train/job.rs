//! Job files: typed TOML, overrides from the command line, and errors that name the key.

use super::upgrade;
use crate::{Error, Result, files};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Parts of a key at the most.
const DEEPEST: usize = 16;

/// Reads a TOML file.
///
/// # Errors
/// An unreadable file, TOML that does not parse (with its line).
pub fn read(path: &Path) -> Result<Table> {
    parse_table(path, &files::read_text(path)?)
}

/// Text as TOML; `path` is the file to blame.
///
/// # Errors
/// TOML that does not parse, with its line.
pub fn parse_table(path: &Path, text: &str) -> Result<Table> {
    text.parse::<Table>().map_err(|e| {
        let line = e
            .span()
            .map_or(1, |s| text[..s.start].matches('\n').count() + 1);
        let what = e.message().replace('\n', " ");
        Error::file(path, format!("line {line}: {what}"))
    })
}

/// The path `value` of the setting `key`: relative to the job file, or to the current folder
/// when an override set it.
///
/// # Errors
/// No path at all; no current folder.
pub fn absolute(job: &Path, overrides: &[String], key: &str, value: &Path) -> Result<PathBuf> {
    let overridden = |o: &String| o.split('=').next().map(str::trim) == Some(key);
    let base = match overrides.iter().any(overridden) {
        true => Path::new(""),
        false => job.parent().unwrap_or(Path::new("")),
    };
    let path = base.join(value);
    std::path::absolute(&path).map_err(|e| Error::input(format!("{key} = {value:?}: {e}")))
}

/// Applies one override `a.b.c=value`; older names of keys are understood. The value is TOML; what
/// is no TOML value is a string.
///
/// # Errors
/// Text without `=`, a key of a section that is a value.
pub fn set(table: &mut Table, text: &str) -> Result<()> {
    let parts = text
        .split_once('=')
        .filter(|(key, _)| !key.trim().is_empty());
    let Some((key, value)) = parts else {
        return Err(Error::input(format!("--set {text}: key=value is needed")));
    };
    let value = match format!("v = {value}").parse::<Table>() {
        Ok(mut parsed) if parsed.len() == 1 => parsed.remove("v"),
        _ => None,
    }
    .unwrap_or_else(|| Value::String(value.to_string()));
    let key = upgrade::key(key.trim());
    let mut names: Vec<&str> = key.split('.').collect();
    if names.len() > DEEPEST {
        let start: String = key.chars().take(40).collect();
        return Err(Error::input(format!(
            "--set {start}...: a key of {} parts; no section lies deeper than {DEEPEST}",
            names.len()
        )));
    }
    let last = names.pop().unwrap_or_default();
    let mut here = table;
    for name in names {
        let next = here
            .entry(name)
            .or_insert_with(|| Value::Table(Table::new()));
        here = next.as_table_mut().ok_or_else(|| {
            Error::input(format!("--set {text}: {name} is a value, not a section"))
        })?;
    }
    here.insert(last.to_string(), value);
    Ok(())
}

/// Typed settings; `path` is the file to blame. `beside` names sections that somebody else reads:
/// a misspelled section may mean one of them.
///
/// # Errors
/// An unknown key (with the nearest known one), a value of the wrong type (with its key).
pub fn from_table<J: DeserializeOwned>(path: &Path, table: Table, beside: &[&str]) -> Result<J> {
    serde_path_to_error::deserialize(Value::Table(table)).map_err(|e| {
        let key = e.path().to_string();
        Error::file(path, explain(&key, e.inner().message(), beside))
    })
}

/// `key: what is wrong`, with the nearest known key for an unknown one.
fn explain(key: &str, message: &str, beside: &[&str]) -> String {
    let message = message.trim().replace('\n', " ");
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let section = key.rsplit_once('.').map_or("", |(s, _)| s);
    let full = |name: &str| match section {
        "" => name.to_string(),
        s => format!("{s}.{name}"),
    };
    if message.starts_with("unknown field") {
        let (unknown, known) = quoted.split_first().unwrap_or((&"", &[]));
        let beside = if section.is_empty() { beside } else { &[] };
        let known = [known, beside].concat();
        let nearest = known
            .iter()
            .map(|k| (strsim::jaro_winkler(k, unknown), k))
            .filter(|(score, _)| *score > 0.7)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        return match nearest {
            Some((_, k)) => format!("unknown key {}; did you mean {}?", full(unknown), full(k)),
            None => format!(
                "unknown key {}; known here: {}",
                full(unknown),
                known.join(", ")
            ),
        };
    }
    match key {
        "." | "" => message,
        _ => format!("{key}: {message}"),
    }
}

/// A job with every default filled in, as it is saved.
///
/// # Errors
/// A value that TOML cannot hold.
pub fn to_text<J: Serialize>(job: &J) -> Result<String> {
    toml::to_string_pretty(job).map_err(|e| Error::internal(format!("job: {e}")))
}

/// Refuses a job that differs from the one a run was started with, naming the first key that
/// does. `free` lists keys that may change.
///
/// # Errors
/// A changed, added or removed setting.
pub fn same_but(run: &Path, old: &str, new: &str, free: &[&str]) -> Result<()> {
    let flat = |text| {
        let mut out = settings(run, text)?;
        out.retain(|(k, _)| !free.contains(&k.as_str()));
        Ok::<_, Error>(out)
    };
    let (old, new) = (flat(old)?, flat(new)?);
    let find = |list: &[(String, String)], key: &str| {
        let found = list.iter().find(|(k, _)| k == key);
        found.map_or("absent".to_string(), |(_, v)| v.clone())
    };
    for (key, _) in old.iter().chain(&new) {
        let (was, is) = (find(&old, key), find(&new, key));
        if was != is {
            return Err(Error::file(
                run,
                format!(
                    "the run was started with {key} = {was}, the job now says {is}; \
                     resume with the old setting or start a new run with another --out"
                ),
            ));
        }
    }
    Ok(())
}

/// Every setting of a job with its full key of today, as TOML writes it.
///
/// # Errors
/// Text that is no TOML; `path` is the file to blame.
pub fn settings(path: &Path, text: &str) -> Result<Vec<(String, String)>> {
    let mut table = parse_table(path, text)?;
    upgrade::job(&mut table).map_err(|e| e.in_file(path))?;
    let mut out = Vec::new();
    flatten("", &Value::Table(table), &mut out);
    Ok(out)
}

fn flatten(prefix: &str, value: &Value, out: &mut Vec<(String, String)>) {
    match value {
        Value::Table(table) => {
            for (k, v) in table {
                let key = if prefix.is_empty() {
                    k.clone()
                } else {
                    format!("{prefix}.{k}")
                };
                flatten(&key, v, out);
            }
        }
        other => out.push((prefix.to_string(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        steps: u64,
        #[serde(default)]
        rate: f64,
    }

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        train: Inner,
        #[serde(default)]
        name: String,
    }

    fn read(text: &str, overrides: &[&str]) -> std::result::Result<Outer, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("job.toml");
        std::fs::write(&path, text).unwrap();
        let load = || {
            let mut table = super::read(&path)?;
            for text in overrides {
                set(&mut table, text)?;
            }
            from_table(&path, table, &["model"])
        };
        load().map_err(|e: Error| {
            let told = e.to_string();
            assert!(!told.contains('\n'), "{told}");
            told.split_once("job.toml: ")
                .map_or(told.clone(), |(_, t)| t.to_string())
        })
    }

    #[test]
    fn overrides_win() {
        let job = read(
            "[train]\nsteps = 3\n",
            &["train.steps=7", "name=a b", "train.rate=1e-3"],
        )
        .unwrap();
        assert_eq!((job.train.steps, job.train.rate), (7, 1e-3));
        assert_eq!(job.name, "a b");
    }

    #[test]
    fn mistakes_are_named() {
        let told = |text, overrides| read(text, overrides).unwrap_err();
        assert_eq!(
            told("[train]\nstepps = 3\n", &[]),
            "unknown key train.stepps; did you mean train.steps?"
        );
        assert_eq!(
            told("[train]\nsteps = 3\n[trian]\n", &[]),
            "unknown key trian; did you mean train?"
        );
        assert_eq!(
            told("[train]\nsteps = 3\n[modle]\n", &[]),
            "unknown key modle; did you mean model?"
        );
        assert_eq!(
            told("[train]\nsteps = \"many\"\n", &[]),
            "train.steps: invalid type: string \"many\", expected u64"
        );
        assert!(told("[train]\nsteps = 1\n", &["train.steps=-1"]).starts_with("train.steps: "));
        assert!(told("[train]\nrate = 1\n", &[]).contains("train: missing field `steps`"));
        let twice = told("[train]\nsteps = 1\nsteps = 2\n", &[]);
        assert!(
            twice.starts_with("line ") && twice.contains("duplicate key"),
            "{twice}"
        );
        for text in [&["train"][..], &["=5"], &[" = 5"]] {
            assert!(told("[train]\nsteps = 1\n", text).contains("key=value is needed"));
        }
        assert!(told("name = 1", &["name.x=2"]).contains("name is a value, not a section"));
    }

    #[test]
    fn changed_settings_are_named() {
        let run = Path::new("RUN");
        let old = "[train]\nsteps = 3\nrate = 1.0\n";
        let told = |new| same_but(run, old, new, &["train.steps"]).map_err(|e| e.to_string());
        assert_eq!(told("[train]\nsteps = 5\nrate = 1.0\n"), Ok(()));
        let changed = told("[train]\nsteps = 3\nrate = 2.0\n").unwrap_err();
        assert!(
            changed.starts_with(
                "RUN: the run was started with train.rate = 1.0, the job now says 2.0"
            )
        );
        assert!(
            told("[train]\nsteps = 3\n")
                .unwrap_err()
                .contains("now says absent")
        );
    }
}
