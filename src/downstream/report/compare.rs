//! What several runs on one page have in common, and what not.

use super::{HALF, html};
use crate::Result;
use crate::draw::{self, Axes, PALETTE, Series};
use crate::train::job::settings;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A run as it stands beside others.
pub struct Compared {
    pub name: String,
    /// The resolved job, TOML.
    pub job: String,
    /// `(step, objective)` of validations.
    pub validation: Vec<(f64, f64)>,
}

/// A section on two runs or more; nothing for fewer.
///
/// # Errors
/// A job that is no TOML; a chart that cannot be drawn.
pub fn section(runs: &[&Compared]) -> Result<String> {
    if runs.len() < 2 {
        return Ok(String::new());
    }
    let body = differences(runs)? + &curves(runs)?;
    Ok(html::section(
        "The runs side by side",
        "Settings that are not the same in all runs, and the objective on data kept out of \
         training. Objectives compare where data and weights of the loss are the same.",
        &body,
    ))
}

fn differences(runs: &[&Compared]) -> Result<String> {
    let read = |run: &&Compared| -> Result<BTreeMap<String, String>> {
        let job = settings(Path::new(&run.name), &run.job)?;
        Ok(job.into_iter().collect())
    };
    let jobs: Vec<BTreeMap<String, String>> = runs.iter().map(read).collect::<Result<_>>()?;
    let keys: BTreeSet<&String> = jobs.iter().flat_map(BTreeMap::keys).collect();
    let differs = |key: &&&String| jobs.iter().any(|job| job.get(**key) != jobs[0].get(**key));
    let row = |key: &String| -> Vec<String> {
        let value = |job: &BTreeMap<String, String>| job.get(key).cloned();
        let values = jobs.iter().map(|job| value(job).unwrap_or("none".into()));
        [key.clone()].into_iter().chain(values).collect()
    };
    let rows: Vec<Vec<String>> = keys.iter().filter(differs).map(|key| row(key)).collect();
    if rows.is_empty() {
        return Ok("<p>All settings are the same.</p>\n".into());
    }
    let names = runs.iter().map(|run| run.name.as_str());
    let head: Vec<&str> = ["setting"].into_iter().chain(names).collect();
    let table = html::table(&head, rows);
    Ok(format!("<div class=\"wide\">{table}</div>\n"))
}

/// A line for each run; no chart of more lines than there are colours to tell them apart.
fn curves(runs: &[&Compared]) -> Result<String> {
    let line = |(run, color): (&&Compared, _)| Series {
        name: run.name.clone(),
        color,
        points: run.validation.clone(),
    };
    let lines: Vec<Series> = runs.iter().zip(PALETTE).map(line).collect();
    if runs.len() > PALETTE.len() || lines.iter().any(|line| line.points.is_empty()) {
        return Ok(String::new());
    }
    let axes = Axes {
        x: "step",
        y: "objective",
    };
    let svg = draw::lines(HALF, &axes, &lines, false)?;
    Ok(html::figure(&svg, "Objective on data kept out of training"))
}
