//! Which runs a sweep consists of.

use crate::store::write_bytes;
use crate::tasks;
use crate::train::{RunFolder, upgrade};
use crate::{Error, Result, files};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Key of the fold that is held out.
pub const FOLD: &str = "data.fold";
/// Key of a run's seed.
pub const SEED: &str = "train.seed";

/// A job key and the values that it takes: `KEY=V1,V2,...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    pub key: String,
    pub values: Vec<String>,
}

impl FromStr for Axis {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (key, values) = text.split_once('=').ok_or("KEY=V1,V2,... is needed")?;
        let values = split(values);
        if key.trim().is_empty() || values.iter().any(String::is_empty) {
            return Err("KEY=V1,V2,... is needed, without empty values".into());
        }
        let doubled = (1..values.len()).find(|&i| values[..i].contains(&values[i]));
        match doubled {
            Some(i) => Err(format!("{} is there twice", values[i])),
            None => Ok(Self {
                key: upgrade::key(key.trim()),
                values,
            }),
        }
    }
}

/// Cuts at commas outside brackets and quotes.
fn split(text: &str) -> Vec<String> {
    let (mut depth, mut quoted) = (0, false);
    let parts = text.split(|c| {
        match c {
            '"' => quoted = !quoted,
            '[' | '{' if !quoted => depth += 1,
            ']' | '}' if !quoted => depth -= 1,
            _ => return c == ',' && depth == 0 && !quoted,
        }
        false
    });
    parts.map(|part| part.trim().to_string()).collect()
}

/// One run of a sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Name of its folder in the sweep's.
    pub name: String,
    /// What is particular to it: job keys and values.
    pub settings: BTreeMap<String, String>,
    /// The resolved job, TOML.
    pub job: String,
}

impl Planned {
    /// `key=value` of all that is particular to it.
    pub fn words(&self) -> String {
        let words = self.settings.iter().map(|(k, v)| format!("{k}={v}"));
        words.collect::<Vec<_>>().join(" ")
    }

    /// Its folder in the sweep's.
    pub fn folder(&self, sweep: &Path) -> RunFolder {
        RunFolder::new(sweep.join(&self.name))
    }
}

/// A list of runs, as `sweep.json` in the sweep's folder holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// The job file that the runs vary.
    pub job: PathBuf,
    pub runs: Vec<Planned>,
}

impl Sweep {
    /// All combinations of the values of `axes`, the last one varying fastest. Every job is
    /// checked now, not when its turn comes.
    ///
    /// # Errors
    /// A job that cannot be understood, a key that occurs twice, two runs of one name.
    pub fn new(job: &Path, overrides: &[String], axes: &[Axis]) -> Result<Self> {
        for (i, axis) in axes.iter().enumerate() {
            if axes[..i].iter().any(|a| a.key == axis.key) {
                return Err(Error::input(format!("{} is varied twice", axis.key)));
            }
        }
        let count = axes.iter().map(|a| a.values.len()).product::<usize>();
        let mut sweep = Self {
            job: job.to_path_buf(),
            runs: Vec::with_capacity(count),
        };
        for number in 0..count {
            let run = plan(job, overrides, axes, number)?;
            if let Some(same) = sweep.runs.iter().find(|r| r.name == run.name) {
                return Err(Error::input(format!(
                    "the runs {} and {} would share the folder {}",
                    same.words(),
                    run.words(),
                    run.name
                )));
            }
            sweep.runs.push(run);
        }
        Ok(sweep)
    }

    /// Where the list is kept.
    pub fn file(folder: &Path) -> PathBuf {
        folder.join("sweep.json")
    }

    /// Reads the list of a sweep's folder; `None` for another folder.
    ///
    /// # Errors
    /// A file that cannot be read or understood.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = Self::file(folder);
        match files::read_text_if_there(&path)? {
            None => Ok(None),
            Some(text) => {
                let broken = |e| Error::file(&path, format!("not the list of a sweep: {e}"));
                let mut sweep: Self = serde_json::from_str(&text).map_err(broken)?;
                for run in &mut sweep.runs {
                    let old = std::mem::take(&mut run.settings);
                    let renamed = old.into_iter().map(|(k, v)| (upgrade::key(&k), v));
                    run.settings = renamed.collect();
                }
                Ok(Some(sweep))
            }
        }
    }

    /// Adds these runs to the list in `folder`, which becomes a sweep's if it is empty.
    ///
    /// # Errors
    /// A folder of something else, an unwritable one.
    pub fn write(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let mut all = match Self::read(folder)? {
            Some(old) => old,
            None if RunFolder::new(folder).job().exists() => {
                return Err(Error::file(
                    folder,
                    "holds a single run; choose another --out for the sweep",
                ));
            }
            None => Self {
                job: self.job.clone(),
                runs: Vec::new(),
            },
        };
        for run in &self.runs {
            match all.runs.iter_mut().find(|r| r.name == run.name) {
                Some(known) => *known = run.clone(),
                None => all.runs.push(run.clone()),
            }
        }
        let text = serde_json::to_string_pretty(&all).map_err(Error::internal)?;
        write_bytes(&Self::file(folder), text.as_bytes())
    }
}

/// Run number `number` of the grid.
fn plan(job: &Path, overrides: &[String], axes: &[Axis], mut number: usize) -> Result<Planned> {
    let mut values = Vec::new();
    for axis in axes.iter().rev() {
        values.push((axis.key.as_str(), &axis.values[number % axis.values.len()]));
        number /= axis.values.len();
    }
    values.reverse();
    let mut all = overrides.to_vec();
    all.extend(values.iter().map(|(key, value)| format!("{key}={value}")));
    let words = values
        .iter()
        .map(|(key, value)| format!("{}-{}", short(key, axes), plain(value)));
    Ok(Planned {
        name: words.collect::<Vec<_>>().join("_"),
        settings: values
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
        job: tasks::load(job, &all)?.to_text()?,
    })
}

/// The last word of a key (of a term's weight: the term), or all of it where another key ends
/// alike.
fn short<'a>(key: &'a str, axes: &[Axis]) -> &'a str {
    match axes.iter().filter(|a| last(&a.key) == last(key)).count() {
        1 => last(key),
        _ => key,
    }
}

fn last(key: &str) -> &str {
    let key = key.strip_suffix(".weight").unwrap_or(key);
    key.rsplit('.').next().unwrap_or(key)
}

/// A value as part of a file name.
fn plain(value: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-+.".contains(c);
    let text: String = value
        .chars()
        .map(|c| if safe(c) { c } else { '-' })
        .collect();
    text.trim_matches('-').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_cut_at_commas_outside_brackets() {
        let axis: Axis = "model.blocks = [1, 2],[3] , \"a,b\"".parse().unwrap();
        assert_eq!(axis.key, "model.blocks");
        assert_eq!(axis.values, ["[1, 2]", "[3]", "\"a,b\""]);
        for bad in ["model", "=1", "a=", "a=1,,2", "a=1,1"] {
            assert!(bad.parse::<Axis>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_say_what_varies() {
        let axes: Vec<Axis> = ["model.method=head", "train.adam.beta1=0.9", "x.beta1=1"]
            .map(|a| a.parse().unwrap())
            .to_vec();
        assert_eq!(short("model.method", &axes), "method");
        assert_eq!(short("x.beta1", &axes), "x.beta1");
        assert_eq!(
            short("loss.kl.weight", &["train.weights.kl=1".parse().unwrap()]),
            "kl"
        );
        assert_eq!(plain("../data/x 1.h5"), "..-data-x-1.h5");
        assert_eq!(plain("[2, 3]"), "2--3");
    }
}
