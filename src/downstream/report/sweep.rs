//! A page about a sweep: the table of means, and every run as a dot.

use super::Part;
use super::html::{self, Tile};
use crate::draw::{self, Size, Strip};
use crate::tasks::sweep::{Results, Sweep};
use crate::{Error, Result};
use std::path::Path;

/// More rows than this make no readable picture.
const MOST_ROWS: usize = 60;

/// What the page is made from.
pub struct SweepReport {
    name: String,
    sweep: Sweep,
    pub results: Results,
}

impl SweepReport {
    /// # Errors
    /// A folder that is not one of a sweep, damaged files of its runs.
    pub fn read(folder: &Path) -> Result<Self> {
        let sweep = Sweep::read(folder)?
            .ok_or_else(|| Error::file(folder, "not the folder of a sweep: no sweep.json in it"))?;
        Ok(Self {
            name: super::folder_name(folder)?,
            results: Results::read(&sweep, folder)?,
            sweep,
        })
    }

    /// # Errors
    /// A chart that cannot be drawn.
    pub fn part(&self) -> Result<Part> {
        let results = &self.results;
        let (done, planned) = (results.runs.len(), results.planned);
        let (head, rows) = results.table();
        let head: Vec<&str> = head.iter().map(String::as_str).collect();
        let lacking = results.lacking().map(|words| html::escape(&words));
        let lacking = lacking.map_or(String::new(), |words| format!("<p>{words}.</p>"));
        let mut body = html::section(
            "Results",
            "Mean and standard deviation over folds and seeds. In each run the model that \
             validates best is chosen and tested once. Every number is in results.json, every \
             run in results.csv.",
            &format!(
                "<div class=\"wide\">{}</div>{lacking}",
                html::table(&head, rows)
            ),
        );
        body += &self.all_points()?;
        body += &self.sensitivity()?;
        let job = self.sweep.runs.first().map_or("", |r| r.job.trim_end());
        body += &html::section(
            "Job",
            "The resolved job of the first run; the others differ in the settings of the table, \
             in fold and in seed.",
            &html::folded(job),
        );
        Ok(Part {
            name: self.name.clone(),
            about: format!(
                "{done} of {planned} runs of {} are finished",
                self.sweep.job.display()
            ),
            tiles: self.tiles(),
            body,
            compared: None,
        })
    }

    /// The best mean of the first scores.
    fn tiles(&self) -> Vec<Tile> {
        let best = |name: &'static str, label: &str, strong| {
            let points = self.results.points.iter();
            let means = points.filter_map(|p| Some((p, p.scores.get(name)?.mean)));
            let (point, mean) = means.max_by(|a, b| a.1.total_cmp(&b.1))?;
            Some(Tile {
                value: format!("{mean:.3}"),
                name: match point.settings.is_empty() {
                    true => label.into(),
                    false => format!("{label}, {}", point.settings.join(", ")),
                },
                strong,
            })
        };
        let best = [
            best("test.accuracy", "best mean accuracy", true),
            best("test.auroc", "best mean AUROC", false),
        ];
        let mut tiles: Vec<Tile> = best.into_iter().flatten().collect();
        tiles.push(Tile {
            value: self.results.runs.len().to_string(),
            name: "finished runs".into(),
            strong: false,
        });
        tiles
    }

    /// The two scores that pictures show.
    fn shown(&self) -> Vec<&str> {
        let mut names = self.results.main_names();
        names.sort_by_key(|n| !["test.accuracy", "test.auroc"].contains(n));
        names.truncate(2);
        names
    }

    /// Every point of the grid: its runs as dots, their mean as a line.
    fn all_points(&self) -> Result<String> {
        let results = &self.results;
        if results.points.is_empty() || results.points.len() > MOST_ROWS {
            return Ok(String::new());
        }
        let mut figures = String::new();
        for name in self.shown() {
            let strips: Vec<Strip> = results
                .points
                .iter()
                .map(|point| Strip {
                    name: point.settings.join(", "),
                    values: values(results, &point.runs, name),
                })
                .collect();
            figures += &picture(name, &strips)?;
        }
        Ok(html::section(
            "Runs",
            "One dot per run, a line at the mean.",
            &format!("<div class=\"pair\">\n{figures}</div>"),
        ))
    }

    /// One picture per key that varies beside others: all runs by the key's value.
    fn sensitivity(&self) -> Result<String> {
        let results = &self.results;
        let mut out = String::new();
        if results.keys.len() < 2 {
            return Ok(out);
        }
        for (k, key) in results.keys.iter().enumerate() {
            let mut by_value: Vec<(&str, Vec<usize>)> = Vec::new();
            for (i, run) in results.runs.iter().enumerate() {
                let value = run.settings[k].as_str();
                match by_value.iter_mut().find(|v| v.0 == value) {
                    Some(known) => known.1.push(i),
                    None => by_value.push((value, vec![i])),
                }
            }
            if by_value.len() < 2 || by_value.len() > MOST_ROWS {
                continue;
            }
            let mut figures = String::new();
            for name in self.shown() {
                let strips: Vec<Strip> = by_value
                    .iter()
                    .map(|(value, runs)| Strip {
                        name: value.to_string(),
                        values: values(results, runs, name),
                    })
                    .collect();
                figures += &picture(name, &strips)?;
            }
            let about = "All runs by the value of this key, whatever the other settings are.";
            let body = format!("<div class=\"pair\">\n{figures}</div>");
            out += &html::section(key, about, &body);
        }
        Ok(out)
    }
}

fn values(results: &Results, runs: &[usize], name: &str) -> Vec<f64> {
    let of = |&i: &usize| results.runs[i].numbers.get(name).copied();
    runs.iter().filter_map(of).collect()
}

fn picture(name: &str, strips: &[Strip]) -> Result<String> {
    if strips.iter().all(|s| s.values.is_empty()) {
        return Ok(String::new());
    }
    let size = Size {
        width: 620,
        height: 90 + 26 * strips.len() as u32,
    };
    let svg = draw::strips(size, name, strips)?;
    Ok(html::figure(&svg, name))
}
