//! Doing the runs of a sweep.

use super::{Planned, Sweep};
use crate::comm::World;
use crate::store::Header;
use crate::tasks;
use crate::train::settings::FREE;
use crate::train::signal::StopSignal;
use crate::train::{Outcome, Settings, Start, job};
use crate::{Error, Result, files};
use std::path::Path;
use std::str::FromStr;
use std::time::Instant;

/// One of several equal parts of a sweep: `I/N`, I from 0 to N - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub part: usize,
    pub of: usize,
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let number = |n: &str| n.trim().parse::<usize>().ok();
        let parts = text.split_once('/').map(|(i, n)| (number(i), number(n)));
        match parts {
            Some((Some(part), Some(of))) if part < of => Ok(Self { part, of }),
            _ => Err("I/N is needed, I from 0 to N - 1".into()),
        }
    }
}

/// Does the runs of a share that are not finished, whole runs on each rank. Collective.
///
/// A run that fails is told and does not keep the others from being done.
///
/// # Errors
/// Folders that cannot be read.
pub fn work(world: &World, sweep: &Sweep, share: Share, folder: &Path) -> Result<Worked> {
    let signal = world.agree(StopSignal::listen())?;
    let open = world.on_root(|| unfinished(sweep, share, folder))?;
    let open = world.broadcast(open.unwrap_or_default());
    let mine: Vec<&Planned> = open
        .iter()
        .skip(world.rank())
        .step_by(world.size())
        .map(|&i| &sweep.runs[i as usize])
        .collect();
    let (mut done, mut failed, mut stopped) = (0u64, 0u64, 0u64);
    for run in &mine {
        if signal.asked() {
            stopped = 1;
            break;
        }
        let start = Instant::now();
        match make(run, folder) {
            Ok(outcome) => {
                done += 1;
                let seconds = start.elapsed().as_secs_f64();
                let rank = match world.size() {
                    1 => String::new(),
                    _ => format!("rank {}: ", world.rank()),
                };
                let (own, tells) = (mine.len(), tell(&outcome));
                crate::say!(
                    "{rank}{done}/{own} {} ({seconds:.0} s): {tells}",
                    run.words()
                );
            }
            Err(Error::Preempted { .. }) => {
                stopped = 1;
                break;
            }
            Err(e) => {
                failed += 1;
                log::error!("{}: {e}", run.words());
            }
        }
    }
    world.wait_for_all();
    let sums = world.all_gather(&[done, failed, stopped]);
    let sum = |k: usize| sums.iter().map(|s| s[k]).sum::<u64>();
    Ok(Worked {
        done: sum(0),
        failed: sum(1),
        stopped: sum(2) > 0,
        of: open.len(),
    })
}

/// What the ranks have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worked {
    pub done: u64,
    pub failed: u64,
    /// Whether a signal asked for the stop.
    pub stopped: bool,
    /// Runs that were to be done.
    pub of: usize,
}

impl Worked {
    /// # Errors
    /// Runs that failed; [`Error::Preempted`] when a signal asked for the stop.
    pub fn check(self) -> Result<()> {
        let Self {
            done, failed, of, ..
        } = self;
        if self.stopped {
            return Err(Error::Preempted {
                done: format!("{done} of {of} runs; the same command goes on"),
            });
        }
        match failed {
            0 => Ok(()),
            _ => Err(Error::internal(format!(
                "{failed} of {of} runs failed, each told above; the same command tries them again"
            ))),
        }
    }
}

/// Numbers of the runs that are left to do.
fn unfinished(sweep: &Sweep, share: Share, folder: &Path) -> Result<Vec<u64>> {
    let all = (0..sweep.runs.len()).filter(|i| i % share.of == share.part);
    let mut open = Vec::new();
    let mut finished = 0;
    for i in all {
        match is_finished(&sweep.runs[i], folder)? {
            true => finished += 1,
            false => open.push(i as u64),
        }
    }
    if finished > 0 {
        log::info!(
            "{finished} runs are finished already, {} are left",
            open.len()
        );
    }
    Ok(open)
}

/// Whether the folder holds the scores of exactly this job on exactly this dataset.
fn is_finished(run: &Planned, sweep: &Path) -> Result<bool> {
    let folder = run.folder(sweep);
    let Some(outcome) = Outcome::read(&folder)? else {
        return Ok(false);
    };
    let path = folder.job();
    let text = files::read_text(&path)?;
    let fill = |job| Settings::fill(folder.path(), job);
    let same = |old: String| job::same_but(folder.path(), &old, &fill(&run.job)?, FREE);
    if fill(&text).and_then(same).is_err() {
        return Ok(false);
    }
    let job = tasks::parse(&path, &run.job)?;
    Ok(Header::read(job.dataset())?.digest.to_string() == outcome.dataset)
}

/// Does one run to its end, alone.
fn make(run: &Planned, sweep: &Path) -> Result<Outcome> {
    // A sweep that is given again with more steps says so itself.
    let folder = run.folder(sweep).extending();
    tasks::parse(&folder.job(), &run.job)?.run(&World::quiet(), &folder, Start::Auto)?;
    Outcome::read(&folder)?
        .ok_or_else(|| Error::internal(format!("{}: no scores", folder.path().display())))
}

/// The first words about a finished run.
fn tell(outcome: &Outcome) -> String {
    const FIRST: usize = 4;
    let part = match outcome.test {
        Some(_) => "test",
        None => "validation",
    };
    let numbers = outcome.numbers();
    let scores: Vec<(&str, f64)> = numbers
        .iter()
        .filter_map(|(name, value)| {
            let name = name.strip_prefix(part)?.strip_prefix('.')?;
            (name.rsplit('.').next() != Some("samples")).then_some((name, *value))
        })
        .collect();
    // A task of several targets has scores of each, but none of its own.
    let depth = |name: &str| name.matches('.').count();
    let least = scores.iter().map(|(name, _)| depth(name)).min();
    let told = scores
        .iter()
        .filter(|(name, _)| Some(depth(name)) == least)
        .map(|(name, value)| format!("{name} {value:.3}"));
    let told: Vec<String> = told.take(FIRST).collect();
    format!("{part} {}", told.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    #[test]
    fn a_finished_run_tells_its_scores() {
        let outcome = |test| Outcome {
            step: 1,
            validation: Map::new(),
            test: Some(test),
            dataset: String::new(),
        };
        let plain = json!({ "samples": 9, "accuracy": 0.5, "classes": { "a": 0.25 } });
        assert_eq!(tell(&outcome(plain)), "test accuracy 0.500");
        let nested = json!({ "u0": { "mae": 0.125, "samples": 9 }, "gap": { "mae": 2.0 } });
        assert_eq!(tell(&outcome(nested)), "test gap.mae 2.000, u0.mae 0.125");
    }

    #[test]
    fn shares() {
        assert_eq!("2/3".parse(), Ok(Share { part: 2, of: 3 }));
        for bad in ["3/3", "0/0", "1", "-1/3", "a/b"] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
    }
}
