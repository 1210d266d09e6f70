//! The scores of a sweep's runs, and their means over folds and seeds.

use super::plan::{FOLD, SEED};
use super::{Planned, Sweep};
use crate::store::{Content, Output, write_bytes};
use crate::train::{Outcome, job};
use crate::{Error, Result, stats};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What is known of a finished run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunScores {
    pub name: String,
    /// Values of [`Results::keys`], in their order.
    pub settings: Vec<String>,
    pub fold: Option<String>,
    pub seed: String,
    pub numbers: BTreeMap<String, f64>,
}

/// Mean and spread of a score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Statistic {
    pub runs: usize,
    pub mean: f64,
    /// Standard deviation of the sample; absent for a single run.
    pub deviation: Option<f64>,
}

/// Runs that differ in fold and seed only.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// Values of [`Results::keys`], in their order.
    pub settings: Vec<String>,
    pub scores: BTreeMap<String, Statistic>,
    /// Numbers of its runs in [`Results::runs`].
    #[serde(skip)]
    pub runs: Vec<usize>,
}

/// The results of a sweep so far.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Results {
    /// Runs of the sweep, finished or not.
    pub planned: usize,
    /// Job keys that vary, beside fold and seed.
    pub keys: Vec<String>,
    pub points: Vec<Point>,
    /// Those that are finished.
    pub runs: Vec<RunScores>,
}

impl RunScores {
    /// Whether a class does not occur among the test samples. Recall and F1 are zero for such a
    /// class whatever was predicted, and the accuracy is that of an easier question.
    pub fn lacks_a_class(&self) -> bool {
        let counts = self
            .numbers
            .iter()
            .filter(|(name, _)| is_count_of_class(name));
        counts.into_iter().any(|(_, &samples)| samples == 0.0)
    }
}

fn is_count_of_class(name: &str) -> bool {
    name.starts_with("test.classes.") && name.ends_with(".samples")
}

impl Statistic {
    /// # Panics
    /// Without values.
    pub fn of(values: &[f64]) -> Self {
        Self {
            runs: values.len(),
            mean: stats::mean(values),
            deviation: (values.len() > 1).then(|| stats::sample_deviation(values)),
        }
    }

    /// `mean ± deviation`, three decimals.
    pub fn words(&self) -> String {
        match self.deviation {
            Some(d) => format!("{:.3} ± {d:.3}", self.mean),
            None => format!("{:.3}", self.mean),
        }
    }
}

impl Results {
    /// Reads what the runs of a sweep's folder have come to.
    ///
    /// # Errors
    /// Files that cannot be read or understood.
    pub fn read(sweep: &Sweep, folder: &Path) -> Result<Self> {
        let mut keys: Vec<String> = Vec::new();
        for key in sweep.runs.iter().flat_map(|r| r.settings.keys()) {
            if key != FOLD && key != SEED && !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        let finished = sweep.runs.iter().map(|run| scores(run, folder, &keys));
        let finished: Result<Vec<Option<RunScores>>> = finished.collect();
        let runs: Vec<RunScores> = finished?.into_iter().flatten().collect();
        Ok(Self {
            planned: sweep.runs.len(),
            points: points(&runs),
            keys,
            runs,
        })
    }

    /// Names of all scores, in the order of the first point that has them.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for name in self.points.iter().flat_map(|p| p.scores.keys()) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    /// The scores that a table shows: of the test where there is one, else of the validation.
    pub fn main_names(&self) -> Vec<&str> {
        let names = self.names();
        let shown = |part: &str| -> Vec<&str> {
            let of_part = names.iter().filter(|n| n.starts_with(part)).copied();
            let counts = |n: &&str| !n.ends_with(".samples");
            let detail = |n: &&str| n.matches('.').count() == 1 || n.ends_with(".f1");
            of_part.filter(counts).filter(detail).collect()
        };
        match shown("test.") {
            none if none.is_empty() => shown("validation."),
            test => test,
        }
    }

    /// Head and rows of the table of points.
    pub fn table(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let names = self.main_names();
        let mut head: Vec<String> = self.keys.clone();
        head.push("runs".into());
        let plain = |n: &&str| n.trim_start_matches("test.").replace("classes.", "");
        head.extend(names.iter().map(plain));
        let row = |point: &Point| {
            let mut row = point.settings.clone();
            row.push(point.runs.len().to_string());
            let score = |name: &&str| point.scores.get(*name).map(Statistic::words);
            row.extend(names.iter().map(|n| score(n).unwrap_or("-".into())));
            row
        };
        (head, self.points.iter().map(row).collect())
    }

    /// The table as text.
    pub fn text(&self) -> String {
        let (head, rows) = self.table();
        let width = |k: usize| {
            let cells = std::iter::once(&head).chain(&rows);
            cells.map(|r| r[k].chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(c, &w)| format!("{c:<w$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_string() + "\n"
        };
        let lines: String = std::iter::once(&head).chain(&rows).map(line).collect();
        let lines = match self.lacking() {
            None => lines,
            Some(words) => lines + &words + "\n",
        };
        let missing = self.planned - self.runs.len();
        match missing {
            0 => lines,
            _ => lines + &format!("{missing} of {} runs are not finished\n", self.planned),
        }
    }

    /// A line on the runs that are left out of the means of test scores.
    pub fn lacking(&self) -> Option<String> {
        let names = self.runs.iter().filter(|run| run.lacks_a_class());
        let names: Vec<&str> = names.map(|run| run.name.as_str()).collect();
        (!names.is_empty()).then(|| {
            format!(
                "test scores of {} of {} runs are in no mean, as a class does not occur in the test \
                 part: {}",
                names.len(),
                self.runs.len(),
                names.join(", ")
            )
        })
    }

    /// What [`Results::write`] writes into `folder`: `results.json` tells whose the other is.
    pub fn outputs(folder: &Path) -> Vec<Output> {
        let record = folder.join("results.json");
        let content = || Content::marked("a table of holosig sweep", "\"planned\":");
        ["results.json", "results.csv"]
            .map(|name| Output::new(folder.join(name), content()).known_by(&record))
            .into()
    }

    /// Writes `results.json` (all of this) and `results.csv` (one row per run) into `folder`.
    ///
    /// # Errors
    /// A folder that takes no files.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self).map_err(Error::internal)?;
        write_bytes(&folder.join("results.json"), json.as_bytes())?;
        let names = self.names();
        let mut csv = csv::Writer::from_writer(Vec::new());
        let mut head: Vec<&str> = vec!["run"];
        head.extend(self.keys.iter().map(String::as_str));
        head.extend([FOLD, SEED]);
        head.extend(&names);
        csv.write_record(&head).map_err(Error::internal)?;
        for run in &self.runs {
            let mut row = vec![run.name.clone()];
            row.extend(run.settings.iter().cloned());
            row.push(run.fold.clone().unwrap_or_default());
            row.push(run.seed.clone());
            let number = |n: &&str| run.numbers.get(*n).map_or(String::new(), f64::to_string);
            row.extend(names.iter().map(number));
            csv.write_record(&row).map_err(Error::internal)?;
        }
        let bytes = csv.into_inner().map_err(Error::internal)?;
        write_bytes(&folder.join("results.csv"), &bytes)
    }
}

/// A run's scores and the values of `keys` in its job; `None` before its end.
fn scores(run: &Planned, sweep: &Path, keys: &[String]) -> Result<Option<RunScores>> {
    let folder = run.folder(sweep);
    let Some(outcome) = Outcome::read(&folder)? else {
        return Ok(None);
    };
    let job: BTreeMap<String, String> = job::settings(folder.path(), &run.job)?
        .into_iter()
        .collect();
    let value = |key: &str| job.get(key).map(|v| v.trim_matches('"').to_string());
    Ok(Some(RunScores {
        name: run.name.clone(),
        settings: keys.iter().map(|k| value(k).unwrap_or_default()).collect(),
        fold: value(FOLD),
        seed: value(SEED).unwrap_or_default(),
        numbers: outcome.numbers().into_iter().collect(),
    }))
}

/// Runs by their settings, in the order in which settings first occur.
fn points(runs: &[RunScores]) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    for (i, run) in runs.iter().enumerate() {
        match points.iter_mut().find(|p| p.settings == run.settings) {
            Some(point) => point.runs.push(i),
            None => points.push(Point {
                settings: run.settings.clone(),
                scores: BTreeMap::new(),
                runs: vec![i],
            }),
        }
    }
    for point in &mut points {
        let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for &i in &point.runs {
            let left_out = |name: &str| runs[i].lacks_a_class() && name.starts_with("test.");
            for (name, &value) in runs[i].numbers.iter().filter(|(name, _)| !left_out(name)) {
                values.entry(name).or_default().push(value);
            }
        }
        let of = |(name, v): (&str, Vec<f64>)| (name.to_string(), Statistic::of(&v));
        point.scores = values.into_iter().map(of).collect();
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(method: &str, seed: &str, accuracy: f64) -> RunScores {
        RunScores {
            name: format!("{method}-{seed}"),
            settings: vec![method.into()],
            fold: None,
            seed: seed.into(),
            numbers: BTreeMap::from([
                ("test.accuracy".to_string(), accuracy),
                ("test.samples".to_string(), 10.0),
                ("test.classes.a.f1".to_string(), 0.5),
                ("test.classes.a.recall".to_string(), 0.5),
                ("validation.objective".to_string(), 1.0),
            ]),
        }
    }

    #[test]
    fn runs_without_a_class_are_in_no_mean_of_the_test() {
        let mut runs = vec![run("a", "1", 0.5), run("a", "2", 1.0)];
        let count = |run: &mut RunScores, samples| {
            run.numbers.insert("test.classes.a.samples".into(), samples);
        };
        count(&mut runs[0], 3.0);
        count(&mut runs[1], 0.0);
        let results = Results {
            planned: 2,
            keys: vec!["model.method".into()],
            points: points(&runs),
            runs,
        };
        let scores = &results.points[0].scores;
        assert_eq!(scores["test.accuracy"], Statistic::of(&[0.5]));
        assert_eq!(scores["validation.objective"], Statistic::of(&[1.0, 1.0]));
        assert!(results.text().contains("1 of 2 runs are in no mean"));
        assert!(results.text().ends_with("test part: a-2\n"));
    }

    #[test]
    fn means_and_deviations_per_setting() {
        let runs = vec![run("a", "1", 0.5), run("b", "1", 1.0), run("a", "2", 0.7)];
        let results = Results {
            planned: 4,
            keys: vec!["model.method".into()],
            points: points(&runs),
            runs,
        };
        let accuracy = results.points[0].scores["test.accuracy"];
        assert!((accuracy.mean - 0.6).abs() < 1e-12);
        assert!((accuracy.deviation.unwrap() - 0.02f64.sqrt()).abs() < 1e-12);
        assert_eq!(results.points[1].scores["test.accuracy"].deviation, None);
        let text = results.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "model.method  runs  accuracy       a.f1");
        assert_eq!(lines[1], "a             2     0.600 ± 0.141  0.500 ± 0.000");
        assert_eq!(lines[2], "b             1     1.000          0.500");
        assert_eq!(lines[3], "1 of 4 runs are not finished");
    }
}
