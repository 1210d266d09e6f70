//! The records of a run folder.

use crate::print;
use crate::train::{Checkpoint, Outcome, RunFolder, metrics};
use crate::{Error, Result, files, stats};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// What a run folder says about a run.
pub struct Run {
    pub name: String,
    /// The resolved job, TOML.
    pub job: String,
    /// Scalars of the model, from its newest checkpoint.
    pub parameters: Option<usize>,
    /// Scores of the model that the run ended with.
    scores: Vec<(String, f64)>,
    records: Vec<Value>,
}

impl Run {
    /// Whether a folder is one of a run.
    pub fn is_one(folder: &Path) -> bool {
        RunFolder::new(folder).job().exists()
    }

    /// # Errors
    /// A folder that is not one of a run.
    pub fn read(folder: &Path) -> Result<Self> {
        let job = RunFolder::new(folder).job();
        let job = files::read_text(&job).map_err(|_| {
            Error::file(
                folder,
                "not the folder of a run: no readable job.toml in it",
            )
        })?;
        let files = RunFolder::new(folder);
        let parameters = match files.last().exists() {
            true => Some(count(&Checkpoint::read(&files.last())?)),
            false => None,
        };
        Ok(Self {
            name: super::folder_name(folder)?,
            job,
            parameters,
            scores: Outcome::read(&files)?.map_or(Vec::new(), |o| o.numbers()),
            records: metrics::read(&files.metrics())?,
        })
    }

    fn of<'a>(&'a self, event: &'a str) -> impl Iterator<Item = &'a Value> + 'a {
        self.records.iter().filter(move |r| r["event"] == event)
    }

    /// `(step, value)` of every record of `event` that has `key`.
    pub fn series(&self, event: &str, key: &str) -> Vec<(f64, f64)> {
        self.of(event)
            .filter_map(|r| Some((r["step"].as_f64()?, r[key].as_f64()?)))
            .collect()
    }

    /// Names of the numbers that records of `event` have and that end in `ending`.
    pub fn names(&self, event: &str, ending: &str) -> BTreeSet<String> {
        let fields = self.of(event).filter_map(Value::as_object).flatten();
        let numbers = fields.filter(|(name, v)| name.ends_with(ending) && v.is_number());
        numbers.map(|(name, _)| name.clone()).collect()
    }

    /// A number that the newest start of the run recorded.
    pub fn start(&self, key: &str) -> Option<f64> {
        self.starts().last()?[key].as_f64()
    }

    fn starts(&self) -> impl DoubleEndedIterator<Item = &Value> {
        self.records
            .iter()
            .filter(|r| r["event"] == "start" || r["event"] == "resume")
    }

    /// Steps made so far.
    pub fn steps(&self) -> u64 {
        self.records
            .iter()
            .filter_map(|r| r["step"].as_u64())
            .max()
            .unwrap_or(0)
    }

    /// Lowest cosine loss of all validations.
    pub fn best_cosine(&self) -> Option<f64> {
        self.series("validation", "cosine")
            .into_iter()
            .map(|p| p.1)
            .min_by(f64::total_cmp)
    }

    /// Training samples per second: the median over logged steps.
    pub fn rate(&self) -> Option<f64> {
        let rates = self.series("train", "samples_per_second");
        stats::median(rates.into_iter().map(|p| p.1))
    }

    /// Scores of the test, by name; none before the end of the run.
    pub fn test(&self) -> impl Iterator<Item = (&str, f64)> {
        let all = self.scores.iter();
        all.filter_map(|(name, value)| Some((name.strip_prefix("test.")?, *value)))
    }

    /// A sentence about the run's size.
    pub fn sentence(&self) -> String {
        let starts = self.starts().count();
        let resumed = match starts {
            0 | 1 => String::new(),
            2 => ", resumed once".into(),
            n => format!(", resumed {} times", n - 1),
        };
        print::count(self.steps(), "step") + &resumed
    }

    /// One row per start: first step, ranks, median samples per second.
    pub fn throughput(&self) -> Vec<Vec<String>> {
        let starts: Vec<&Value> = self.starts().collect();
        let text = |v: &Value| v.as_u64().map_or("-".into(), |n| n.to_string());
        let mut rows = Vec::new();
        for (i, start) in starts.iter().enumerate() {
            let from = start["step"].as_f64().unwrap_or(0.0);
            let until = starts
                .get(i + 1)
                .and_then(|s| s["step"].as_f64())
                .unwrap_or(f64::INFINITY);
            let mut rates = self.series("train", "samples_per_second");
            rates.retain(|p| p.0 > from && p.0 <= until);
            let rate = stats::median(rates.into_iter().map(|p| p.1));
            let rate = rate.map_or("-".into(), |r| format!("{r:.0}"));
            rows.push(vec![format!("{from:.0}"), text(&start["ranks"]), rate]);
        }
        rows
    }
}

fn count(checkpoint: &Checkpoint) -> usize {
    checkpoint.parameters.iter().map(|a| a.values.len()).sum()
}
