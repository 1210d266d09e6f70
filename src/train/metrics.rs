//! `metrics.jsonl`: one JSON object per line, in the order in which things happened.
//!
//! Every line has `event` (`start`, `resume`, `train`, `validation`,
//! `checkpoint`, `fault`, `preempted`, `end`), `step`
//! (steps completed) and `time` (seconds since 1970).

use crate::{Error, Result, files, store};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The metrics file of a run; rank 0 writes it.
pub struct MetricsLog {
    path: PathBuf,
}

impl MetricsLog {
    /// The event of a numeric fault; it is kept when its step is made again.
    pub const FAULT: &str = "fault";

    /// Starts an empty log.
    pub fn create(path: &Path) -> Result<Self> {
        store::write_bytes(path, b"")?;
        Ok(Self {
            path: path.to_path_buf(),
        })
    }

    /// Goes on with a log, dropping what came after `step`: the steps that the lost part of the
    /// run had made will be made again.
    pub fn resume(path: &Path, step: u64) -> Result<Self> {
        let log = Self {
            path: path.to_path_buf(),
        };
        log.forget_after(step)?;
        Ok(log)
    }

    /// Drops what came after `step`, but for faults.
    pub fn forget_after(&self, step: u64) -> Result<()> {
        let stays =
            |r: &Value| r["event"] == Self::FAULT || r["step"].as_u64().is_some_and(|s| s <= step);
        let kept: String = lines(&self.path)?
            .into_iter()
            .filter(|(_, r)| stays(r))
            .map(|(line, _)| line)
            .collect();
        store::write_bytes(&self.path, kept.as_bytes())
    }

    /// Appends one line.
    pub fn append(
        &self,
        event: &str,
        step: u64,
        fields: impl IntoIterator<Item = (String, Value)>,
    ) -> Result<()> {
        let time = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |d| d.as_secs_f64());
        let mut record = Map::new();
        record.insert("event".into(), json!(event));
        record.insert("step".into(), json!(step));
        record.extend(fields);
        record.insert("time".into(), json!(time));
        let line = format!("{}\n", Value::Object(record));
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
            .and_then(|mut f| f.write_all(line.as_bytes()))
            .map_err(|e| Error::io(&self.path, e))
    }
}

/// All records of a log. A last line that a killed process left unfinished is dropped; no file
/// means no records.
///
/// # Errors
/// An unreadable file, a broken line elsewhere.
pub fn read(path: &Path) -> Result<Vec<Value>> {
    Ok(lines(path)?.into_iter().map(|(_, record)| record).collect())
}

/// Every whole line as it stands, and what it says.
fn lines(path: &Path) -> Result<Vec<(String, Value)>> {
    let text = files::read_text_if_there(path)?.unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    let parse = |(i, line): (usize, &str)| {
        let record = serde_json::from_str(line)
            .map_err(|e| Error::file(path, format!("line {}: not JSON: {e}", i + 1)))?;
        Ok((line.to_string(), record))
    };
    whole.split_inclusive('\n').enumerate().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resuming_forgets_the_lost_part() -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let log = MetricsLog::create(&path)?;
        for step in 1..=5 {
            log.append(
                "train",
                step,
                [("loss".into(), json!(f64::from(step as u32)))],
            )?;
        }
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"event\":\"tr");
        std::fs::write(&path, text).unwrap();
        let log = MetricsLog::resume(&path, 3)?;
        log.append("train", 4, [("loss".into(), json!(9.0))])?;
        let losses: Vec<f64> = read(&path)?
            .iter()
            .filter_map(|r| r["loss"].as_f64())
            .collect();
        assert_eq!(losses, [1.0, 2.0, 3.0, 9.0]);
        Ok(())
    }

    #[test]
    fn a_broken_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        std::fs::write(&path, "{}\nnonsense\n{}\n").unwrap();
        assert!(
            read(&path)
                .unwrap_err()
                .to_string()
                .contains("line 2: not JSON")
        );
    }
}
