//! How a run stands, from its folder alone.

use super::metrics::{self, MetricsLog};
use super::{RunFolder, announce::human_bytes};
use crate::comm::Beat;
use crate::{Error, Result};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Heartbeats that may be missing before a rank counts as silent.
const MISSED: f64 = 6.0;

/// What a run is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing has been written yet.
    New,
    Running,
    /// Ranks that have left no heartbeat for long, while the others may still wait for them.
    Stalled(Vec<String>),
    /// A signal ended it; it can be resumed.
    Preempted,
    Finished,
    /// A numeric fault ended it.
    Diverged,
    /// It ended without notice: killed, or a lost node. It can be resumed.
    Dead,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            State::New => write!(f, "not started"),
            State::Running => write!(f, "running"),
            State::Stalled(who) => write!(f, "stalled: no heartbeat from {}", who.join(", ")),
            State::Preempted => write!(f, "preempted"),
            State::Finished => write!(f, "finished"),
            State::Diverged => write!(f, "diverged"),
            State::Dead => write!(f, "dead"),
        }
    }
}

/// How a run stands.
#[derive(Debug, Clone)]
pub struct Status {
    pub state: State,
    /// Steps made, and of how many.
    pub step: u64,
    pub steps: Option<u64>,
    pub ranks: Option<u64>,
    /// Samples per second, as logged last.
    pub speed: Option<f64>,
    /// Time to the end, while it runs.
    pub left: Option<Duration>,
    pub checkpoint: Option<Newest>,
}

/// The newest checkpoint.
#[derive(Debug, Clone)]
pub struct Newest {
    pub step: u64,
    pub age: Duration,
    pub bytes: u64,
}

/// Reads the status of the run in `path`.
///
/// # Errors
/// No such folder; a metrics file that is broken.
pub fn status(path: &Path) -> Result<Status> {
    if !path.is_dir() {
        return Err(Error::file(path, "no such run folder"));
    }
    let folder = RunFolder::new(path);
    let records = metrics::read(&folder.metrics())?;
    let with = |key: &str| records.iter().rev().find_map(|r| r[key].as_u64());
    let train = || records.iter().rev().filter(|r| r["event"] == "train");
    let steps = with("steps");
    let state = state(&folder, &records)?;
    let running = matches!(state, State::Running | State::Stalled(_));
    let step = match running {
        // The log lags behind.
        true => beat(&folder, 0).map(|b| b.step),
        false => None,
    };
    let step = step.max(with("step")).unwrap_or(0);
    let left = steps.zip(pace(&records)).filter(|_| running);
    Ok(Status {
        step,
        steps,
        ranks: with("ranks"),
        speed: train().find_map(|r| r["samples_per_second"].as_f64()),
        left: left.and_then(|(steps, pace)| seconds(pace * steps.saturating_sub(step) as f64)),
        checkpoint: newest(&folder)?,
        state,
    })
}

/// A time that is not negative and not beyond what the machine counts.
fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

/// Seconds per step since the last start.
fn pace(records: &[Value]) -> Option<f64> {
    let start = records
        .iter()
        .rposition(|r| r["event"] == "start" || r["event"] == "resume")?;
    let (first, last) = (&records[start], records.last()?);
    let steps = last["step"]
        .as_u64()?
        .checked_sub(first["step"].as_u64()?)?;
    let seconds = last["time"].as_f64()? - first["time"].as_f64()?;
    (steps > 0 && seconds > 0.0).then(|| seconds / steps as f64)
}

fn beat(folder: &RunFolder, rank: usize) -> Option<Beat> {
    Beat::read(&folder.alive(), rank)
}

/// Time since a file was written.
fn age(path: &Path) -> Option<Duration> {
    let written = std::fs::metadata(path).and_then(|m| m.modified()).ok()?;
    Some(
        SystemTime::now()
            .duration_since(written)
            .unwrap_or_default(),
    )
}

fn state(folder: &RunFolder, records: &[Value]) -> Result<State> {
    if let Some(owner) = folder.owner() {
        let silent = |rank: usize| {
            let every = beat(folder, rank).map_or(10.0, |b| b.every);
            let age = age(&Beat::path(&folder.alive(), rank));
            age.is_none_or(|a| a.as_secs_f64() > MISSED * every.max(0.2))
        };
        let runs = owner.runs().unwrap_or_else(|| !silent(0));
        if !runs {
            return Ok(State::Dead);
        }
        let stalled: Vec<String> = Beat::ranks(&folder.alive())
            .into_iter()
            .filter(|&rank| silent(rank))
            .filter_map(|rank| beat(folder, rank).map(|b| b.place()))
            .collect();
        return Ok(match stalled.is_empty() {
            true => State::Running,
            false => State::Stalled(stalled),
        });
    }
    let Some(last) = records.last() else {
        return Ok(State::New);
    };
    let event = |name: &str| last["event"] == name;
    Ok(if event("end") {
        State::Finished
    } else if event("preempted") {
        State::Preempted
    } else if event(MetricsLog::FAULT) && last["action"] == "stop" {
        State::Diverged
    } else {
        State::Dead
    })
}

fn newest(folder: &RunFolder) -> Result<Option<Newest>> {
    if !folder.checkpoints().is_dir() {
        return Ok(None);
    }
    let Some(step) = folder.saved_steps()?.first().copied() else {
        return Ok(None);
    };
    let path = folder.step(step);
    Ok(Some(Newest {
        step,
        age: age(&path).unwrap_or_default(),
        bytes: std::fs::metadata(&path).map_or(0, |m| m.len()),
    }))
}

impl Status {
    /// One line: state, step, speed, time left, last checkpoint.
    pub fn line(&self) -> String {
        let human = |d: Duration| indicatif::HumanDuration(d).to_string();
        let mut line = format!("{}, step {}", self.state, self.step);
        if let Some(steps) = self.steps {
            line += &format!(" of {steps}");
        }
        if matches!(self.state, State::Running | State::Stalled(_)) {
            if let Some(ranks) = self.ranks {
                line += &format!(", {}", crate::print::count(ranks, "rank"));
            }
            if let Some(speed) = self.speed {
                line += &format!(", {speed:.0} samples/s");
            }
            if let Some(left) = self.left {
                line += &format!(", {} left", human(left));
            }
        }
        line + &match &self.checkpoint {
            Some(newest) => format!(
                ", last checkpoint at step {}, {} ago, {}",
                newest.step,
                human(newest.age),
                human_bytes(newest.bytes)
            ),
            None => ", no checkpoint".into(),
        }
    }
}
