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
    /// run had made will be made again. Lines that are no records go to a file beside it
    /// (`metrics.broken`), and are said.
    ///
    /// # Errors
    /// A log that cannot be read or written; never one line in it.
    pub fn resume(path: &Path, step: u64) -> Result<Self> {
        let log = Self {
            path: path.to_path_buf(),
        };
        log.set_aside(&lines(path)?)?;
        log.forget_after(step)?;
        Ok(log)
    }

    fn set_aside(&self, lines: &[Line]) -> Result<()> {
        let broken = || lines.iter().filter(|line| line.record.is_none());
        let Some(first) = broken().next() else {
            return Ok(());
        };
        let aside = self.path.with_extension("broken");
        let mut kept = match aside.exists() {
            true => files::read(&aside)?,
            false => Vec::new(),
        };
        kept.extend(broken().flat_map(|line| &line.bytes));
        store::write_bytes(&aside, &kept)?;
        log::warn!(
            "{}: {} broken lines, the first is line {}: set aside in {}",
            self.path.display(),
            broken().count(),
            first.number,
            aside.display()
        );
        Ok(())
    }

    /// Drops what came after `step`, but for faults.
    pub fn forget_after(&self, step: u64) -> Result<()> {
        let stays =
            |r: &Value| r["event"] == Self::FAULT || r["step"].as_u64().is_some_and(|s| s <= step);
        let kept: Vec<u8> = lines(&self.path)?
            .into_iter()
            .filter(|line| line.record.as_ref().is_some_and(stays))
            .flat_map(|line| line.bytes)
            .collect();
        store::write_bytes(&self.path, &kept)
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

/// All records of a log. A last line that a killed process left unfinished is dropped, a broken
/// line elsewhere is said and passed over; no file means no records.
///
/// # Errors
/// An unreadable file.
pub fn read(path: &Path) -> Result<Vec<Value>> {
    let lines = lines(path)?;
    if let Some(first) = lines.iter().find(|line| line.record.is_none()) {
        log::warn!("{}: line {} is no record", path.display(), first.number);
    }
    Ok(lines.into_iter().filter_map(|line| line.record).collect())
}

/// A whole line of a log.
struct Line {
    /// From 1.
    number: usize,
    /// As it stands, with its end.
    bytes: Vec<u8>,
    /// What it says; `None` for one that is not a JSON object.
    record: Option<Value>,
}

fn lines(path: &Path) -> Result<Vec<Line>> {
    let bytes = match std::fs::symlink_metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        _ => files::read(path)?,
    };
    let whole = bytes.split_inclusive(|&b| b == b'\n');
    let whole = whole.filter(|line| line.ends_with(b"\n")).enumerate();
    let line = |(i, line): (usize, &[u8])| Line {
        number: i + 1,
        bytes: line.to_vec(),
        record: serde_json::from_slice(line).ok().filter(Value::is_object),
    };
    Ok(whole.map(line).collect())
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
    fn broken_lines_are_passed_over_and_set_aside() -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let deep = "[".repeat(100_000);
        let broken = format!("nonsense\n\n7\n{deep}\n\"step\"\n").into_bytes();
        let broken = [&broken[..], b"\xff\xfe\n"].concat();
        let good = |step: u64| format!("{{\"event\":\"train\",\"step\":{step}}}\n").into_bytes();
        let text = [&good(1)[..], &broken, &good(2), b"{\"event\":\"tr"].concat();
        std::fs::write(&path, text).unwrap();
        let steps = |records: Vec<Value>| -> Vec<u64> {
            records.iter().filter_map(|r| r["step"].as_u64()).collect()
        };
        assert_eq!(steps(read(&path)?), [1, 2]);
        MetricsLog::resume(&path, 2)?.append("train", 3, [])?;
        assert_eq!(steps(read(&path)?), [1, 2, 3]);
        assert_eq!(
            std::fs::read(dir.path().join("metrics.broken")).unwrap(),
            broken
        );
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 3);
        Ok(())
    }
}
