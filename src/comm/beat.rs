//! Heartbeats: a small file per rank in a folder that all ranks see.

use super::pulse::Pulse;
use crate::files;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of a heartbeat file: one write, never more than a page.
const BYTES: usize = 512;

/// Seconds between heartbeats that a file may claim: what the watchdog leaves, at the most.
const EVERY: std::ops::RangeInclusive<f64> = 0.02..=10.0;

/// A process, such that no later one is taken for it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Process {
    pub host: String,
    pub pid: u32,
    /// When it started, in clock ticks since the host's boot (Linux); 0 where unknown.
    pub born: u64,
}

impl Process {
    /// This process.
    pub fn this() -> Self {
        let pid = std::process::id();
        Self {
            host: super::host_name(),
            pid,
            born: born(pid).unwrap_or(0),
        }
    }

    /// Whether it runs; `None` for one of another host.
    pub fn runs(&self) -> Option<bool> {
        let here = self.host == super::host_name() && Path::new("/proc/self/stat").exists();
        here.then(|| born(self.pid) == Some(self.born))
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)
    }
}

/// Start of a process that has not ended, from `/proc`.
pub(super) fn born(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ended = matches!(fields.first(), Some(&"Z") | Some(&"X"));
    fields.get(19)?.parse().ok().filter(|_| !ended)
}

/// What a rank says of itself now and then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Beat {
    pub rank: usize,
    pub process: Process,
    /// Counts up.
    pub beat: u64,
    /// Seconds between beats.
    pub every: f64,
    pub step: u64,
    pub phase: String,
    /// Whether it waits for other ranks.
    pub waiting: bool,
    /// Seconds since it last made progress.
    pub still: f64,
}

impl Beat {
    pub(super) fn of(rank: usize, process: &Process, beat: u64, every: f64, pulse: &Pulse) -> Self {
        Self {
            rank,
            process: process.clone(),
            beat,
            every,
            step: pulse.step,
            phase: pulse.phase.to_string(),
            waiting: pulse.waiting,
            still: pulse.still().as_secs_f64(),
        }
    }

    /// The file of a rank.
    pub fn path(folder: &Path, rank: usize) -> PathBuf {
        folder.join(format!("rank-{rank}"))
    }

    /// Overwrites the rank's file by one write of fixed length. Closing it makes it visible to
    /// other hosts, also on NFS.
    pub(super) fn write(&self, folder: &Path) -> std::io::Result<()> {
        let path = Self::path(folder, self.rank);
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let mut text = serde_json::to_vec(self).unwrap_or_default();
        text.resize(BYTES - 1, b' ');
        text.push(b'\n');
        file.write_all_at(&text, 0)
    }

    /// The last word of a rank, if there is one.
    pub fn read(folder: &Path, rank: usize) -> Option<Self> {
        let mut text = String::new();
        let file = files::open(&Self::path(folder, rank)).ok()?;
        file.take(BYTES as u64).read_to_string(&mut text).ok()?;
        let mut beat: Self = serde_json::from_str(text.trim_end()).ok()?;
        // Others wait by this number, and anybody may have written the file.
        beat.every = beat.every.clamp(*EVERY.start(), *EVERY.end());
        Some(beat)
    }

    /// Ranks that have left a heartbeat, in their order.
    pub fn ranks(folder: &Path) -> Vec<usize> {
        let rank = |name: std::ffi::OsString| name.to_str()?.strip_prefix("rank-")?.parse().ok();
        let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut ranks: Vec<usize> = names.filter_map(|e| rank(e.file_name())).collect();
        ranks.sort_unstable();
        ranks
    }

    /// `rank 3 on node7 (step 120, computing)`.
    pub fn place(&self) -> String {
        format!(
            "rank {} on {} (step {}, {})",
            self.rank, self.process.host, self.step, self.phase
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_birth() {
        let this = Process::this();
        assert_eq!(this.runs(), Some(true));
        let before = Process {
            born: this.born.wrapping_sub(1),
            ..this.clone()
        };
        assert_eq!(before.runs(), Some(false));
        let elsewhere = Process {
            host: "another host".into(),
            ..this
        };
        assert_eq!(elsewhere.runs(), None);
    }

    #[test]
    fn a_shorter_beat_replaces_a_longer_one() {
        let dir = tempfile::tempdir().unwrap();
        let pulse = super::super::pulse::now();
        let mut beat = Beat::of(2, &Process::this(), 10_000_000, 0.5, &pulse);
        beat.write(dir.path()).unwrap();
        beat.beat = 3;
        beat.write(dir.path()).unwrap();
        assert_eq!(Beat::read(dir.path(), 2), Some(beat));
        assert_eq!(Beat::read(dir.path(), 1), None);
        assert_eq!(Beat::ranks(dir.path()), [2]);
    }

    #[test]
    fn what_a_beat_claims_has_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let beat = Beat::of(0, &Process::this(), 1, 0.5, &super::super::pulse::now());
        let text = serde_json::to_string(&beat).unwrap();
        let claim = |every: &str| {
            let text = text.replace("\"every\":0.5", &format!("\"every\":{every}"));
            std::fs::write(Beat::path(dir.path(), 0), text).unwrap();
            Beat::read(dir.path(), 0).map(|b| b.every)
        };
        assert_eq!(claim("0.5"), Some(0.5));
        assert_eq!(claim("1e9"), Some(10.0));
        assert_eq!(claim("-1e300"), Some(0.02));
        assert_eq!(claim("1e999"), None);
        assert_eq!(claim("null"), None);
    }
}
