//! A thread on every rank that ends the job when it stalls, and names the rank at fault.
//!
//! A rank that is stopped, dead or cut off makes the others wait in MPI for ever. The watchdog
//! needs nothing from MPI: ranks leave heartbeats ([`Beat`]) as small files in the run folder,
//! and read those of the others only when they have waited for half the time limit. A rank that
//! makes no progress of its own (a dead file system, an endless loop) is named by itself.

use super::beat::{Beat, Process};
use super::{World, launcher, pulse};
use crate::error::EXIT_OTHER;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Seconds without progress that are taken for a stall unless the user says otherwise.
pub const STALL_TIMEOUT: f64 = 600.0;

/// How the names of folders begin in which ranks meet before MPI is up.
pub const STARTING: &str = ".starting-";

/// Time that MPI gets to end the job before this process ends itself.
const GRACE: Duration = Duration::from_secs(3);

/// What the watchdog of this process knows. `None`: not on watch.
static WATCH: Mutex<Option<Watch>> = Mutex::new(None);

#[derive(Clone)]
struct Watch {
    timeout: Duration,
    me: Process,
    /// Ranks as the launcher numbers them, then as MPI does.
    rank: usize,
    size: usize,
    /// Whether MPI is up.
    joined: bool,
    /// Where heartbeats are left: before MPI is up only when it is late.
    folder: PathBuf,
    /// Whether this job may write to the folder.
    met: bool,
    /// The next rank on this host, whose end is noticed at once.
    neighbor: Option<(usize, Process)>,
    /// Host of every rank, once MPI is up: also of one that never left a heartbeat.
    hosts: Arc<[String]>,
}

fn watch() -> MutexGuard<'static, Option<Watch>> {
    WATCH.lock().unwrap_or_else(|e| e.into_inner())
}

/// A copy, so that the lock is not held.
fn current() -> Option<Watch> {
    watch().clone()
}

/// Goes on watch before MPI starts: a launcher may have started some of the ranks only.
/// `folder` is where heartbeats will be left.
pub fn start(folder: &Path, timeout: f64) {
    *watch() = Some(Watch {
        timeout: Duration::from_secs_f64(timeout),
        me: Process::this(),
        rank: launcher::launched_as(),
        size: launcher::number(&["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"])
            .unwrap_or(1),
        joined: false,
        folder: folder.to_path_buf(),
        met: false,
        neighbor: None,
        hosts: Arc::default(),
    });
    pulse::enter("starting MPI");
    launcher::watch(Duration::from_secs_f64(timeout));
    let spawn = |name: &str, work: fn()| {
        let started = std::thread::Builder::new().name(name.into()).spawn(work);
        if let Err(e) = started {
            log::warn!("no watchdog: {e}");
        }
    };
    spawn("watchdog", judge);
    spawn("heartbeat", beat);
}

/// Sets the time limit that the job asks for.
pub fn set_timeout(seconds: f64) {
    if let Some(w) = watch().as_mut() {
        w.timeout = Duration::from_secs_f64(seconds);
    }
}

/// MPI is up. Collective.
pub(super) fn join(world: &World) {
    let me = Process::this();
    let all = world.all_gather(&serde_json::to_vec(&me).unwrap_or_default());
    let all: Vec<Process> = all
        .iter()
        .map(|text| serde_json::from_slice(text).unwrap_or_default())
        .collect();
    let hosts = all.iter().map(|p| p.host.clone()).collect();
    // Only those that this process can see: containers may hide them.
    let local: Vec<(usize, Process)> = all
        .into_iter()
        .enumerate()
        .filter(|(_, p): &(usize, Process)| p.runs() == Some(true))
        .collect();
    let after = local
        .iter()
        .find(|(r, _)| *r > world.rank())
        .or(local.first());
    let neighbor = after.filter(|(r, _)| *r != world.rank()).cloned();
    if let Some(w) = watch().as_mut() {
        (w.rank, w.size, w.joined) = (world.rank(), world.size(), true);
        w.neighbor = neighbor;
        w.hosts = hosts;
        // It is there only if MPI was late.
        let _ = std::fs::remove_dir_all(starting(w));
    }
    pulse::enter("starting");
}

/// The run folder belongs to this job: heartbeats may be left in it from now on. The first one is
/// left at once, so that the others can tell this rank's place whenever it stops.
pub fn meet(folder: &Path) {
    let Some(w) = watch().as_mut().map(|w| {
        w.folder = folder.to_path_buf();
        w.met = true;
        w.clone()
    }) else {
        return;
    };
    let beat = Beat::of(
        w.rank,
        &w.me,
        0,
        every(w.timeout).as_secs_f64(),
        &pulse::now(),
    );
    // The thread that leaves the next ones tells what is wrong.
    let _ = beat.write(&w.folder);
}

/// Goes off watch; call it before any rank leaves.
pub fn stop() {
    let left = watch().take().filter(|w| w.met);
    if let Some(w) = left {
        // Another rank may have removed the whole folder.
        let _ = std::fs::remove_file(Beat::path(&w.folder, w.rank));
    }
}

/// Time between two heartbeats.
fn every(timeout: Duration) -> Duration {
    (timeout / 20).clamp(Duration::from_millis(50), Duration::from_secs(10))
}

/// The heartbeat thread: it alone touches files while all is well.
fn beat() {
    let (mut count, mut told) = (0, false);
    while let Some(w) = current() {
        let pause = every(w.timeout);
        let late = !w.joined && pulse::now().still() > w.timeout / 4;
        if w.met || late {
            let folder = if w.met {
                w.folder.clone()
            } else {
                starting(&w)
            };
            count += 1;
            let beat = Beat::of(w.rank, &w.me, count, pause.as_secs_f64(), &pulse::now());
            let written = match late {
                true => std::fs::create_dir_all(&folder),
                false => Ok(()),
            };
            // The run goes on without: only the diagnosis of a stall would be poorer. A folder that is
            // not there belongs to a run that could not begin or that has ended.
            if let Err(e) = written.and_then(|()| beat.write(&folder))
                && e.kind() != std::io::ErrorKind::NotFound
                && !std::mem::replace(&mut told, true)
                && current().is_some()
            {
                let (rank, host) = (w.rank, &w.me.host);
                log::warn!(
                    "rank {rank} on {host}: no heartbeat in {}: {e}",
                    folder.display()
                );
            }
        }
        // The first heartbeat comes as soon as there is a folder for it.
        let wait = if w.met {
            pause
        } else {
            Duration::from_millis(50)
        };
        std::thread::sleep(wait.min(pause));
    }
}

/// Where ranks meet that wait for MPI to start.
fn starting(w: &Watch) -> PathBuf {
    let names = ["PMIX_NAMESPACE", "SLURM_JOB_ID", "PBS_JOBID"];
    let launch = names.iter().find_map(|n| std::env::var(n).ok());
    let launch = launch.unwrap_or_else(|| "mpi".into());
    let plain: String = launch.chars().filter(|c| c.is_alphanumeric()).collect();
    w.folder.join(format!("{STARTING}{plain}"))
}

/// The watchdog thread: it looks at memory only, unless something is wrong.
fn judge() {
    let mut seen: Option<HashMap<usize, u64>> = None;
    let mut last = Instant::now();
    loop {
        std::thread::sleep(Duration::from_millis(20));
        let Some(w) = current() else { return };
        // This very process was stopped, or the machine slept: nobody is to blame.
        if last.elapsed() > Duration::from_secs(2) {
            pulse::tick();
            seen = None;
        }
        last = Instant::now();
        if let Some((rank, process)) = &w.neighbor
            && process.runs() == Some(false)
            && current().is_some()
        {
            let place = last_word(&w, *rank, process);
            end(&w, &format!("{place} has died; ending the job"));
        }
        let now = pulse::now();
        let still = now.still();
        let patience = w.timeout + Duration::from_millis(50) * w.rank.min(60) as u32;
        if !w.joined {
            if still > patience {
                end(&w, &missing(&w));
            }
        } else if !now.waiting {
            if still > w.timeout {
                let me = Beat::of(w.rank, &w.me, 0, 0.0, &now);
                end(
                    &w,
                    &format!(
                        "{}: no progress for {} s; ending the job",
                        me.place(),
                        still.as_secs()
                    ),
                );
            }
        } else if still > patience {
            end(&w, &diagnosis(&w, seen.take()));
        } else if still < w.timeout / 2 {
            seen = None;
        } else if seen.is_none() {
            seen = Some(beats(&w).into_iter().map(|(r, b)| (r, b.beat)).collect());
        }
    }
}

fn last_word(w: &Watch, rank: usize, process: &Process) -> String {
    match Beat::read(&w.folder, rank).filter(|b| b.process == *process) {
        Some(beat) => beat.place(),
        None => format!("rank {rank} on {}", process.host),
    }
}

fn beats(w: &Watch) -> HashMap<usize, Beat> {
    let read = |rank| Some((rank, Beat::read(&w.folder, rank)?));
    (0..w.size).filter_map(read).collect()
}

/// Who never started.
fn missing(w: &Watch) -> String {
    let folder = starting(w);
    let absent: Vec<String> = (0..w.size)
        .filter(|&r| r != w.rank && Beat::read(&folder, r).is_none())
        .map(|r| r.to_string())
        .collect();
    let _ = std::fs::remove_dir_all(&folder);
    let who = match absent.len() {
        0 => "all ranks have started, but cannot reach each other".to_string(),
        1 => format!("rank {} never started", absent[0]),
        n => format!("{n} ranks never started: {}", absent.join(", ")),
    };
    format!(
        "rank {} of {} on {}: MPI has not come up for {} s: {who}; ending the job",
        w.rank,
        w.size,
        w.me.host,
        w.timeout.as_secs()
    )
}

/// Who keeps this rank waiting. `seen` are the beats of half the time limit ago.
fn diagnosis(w: &Watch, seen: Option<HashMap<usize, u64>>) -> String {
    let (w, seen) = (w.clone(), seen.unwrap_or_default());
    let (send, answer) = std::sync::mpsc::channel();
    let waited = w.timeout.as_secs();
    let me = Beat::of(w.rank, &w.me, 0, 0.0, &pulse::now());
    // Where the run folder's file system is what hangs, it must not hang the watchdog.
    std::thread::spawn(move || send.send(blame(&w, &seen, &beats(&w))));
    let who = answer.recv_timeout(GRACE);
    let who = who.unwrap_or_else(|_| "the run folder does not answer either".into());
    format!(
        "{} has waited for {waited} s: {who}; ending the job",
        me.place()
    )
}

fn blame(w: &Watch, seen: &HashMap<usize, u64>, now: &HashMap<usize, Beat>) -> String {
    let (mut silent, mut busy) = (Vec::new(), Vec::new());
    for rank in (0..w.size).filter(|&r| r != w.rank) {
        match now.get(&rank) {
            None => silent.push(match w.hosts.get(rank) {
                Some(host) => format!("rank {rank} on {host} (no heartbeat)"),
                None => format!("rank {rank} (no heartbeat)"),
            }),
            Some(b) if seen.get(&rank) == Some(&b.beat) => silent.push(b.place()),
            Some(b) if !b.waiting => busy.push(b.place()),
            Some(_) => {}
        }
    }
    match (silent.is_empty(), busy.is_empty()) {
        (false, _) => format!("no sign of life from {}", named(&silent)),
        (true, false) => format!("the others wait for {}", named(&busy)),
        (true, true) => "all ranks are alive and wait for each other: the network between their \
                         hosts is down"
            .into(),
    }
}

fn named(places: &[String]) -> String {
    /// More would not be read.
    const SHOWN: usize = 8;
    let shown = places[..places.len().min(SHOWN)].join(", ");
    match places.len() {
        n if n > SHOWN => format!("{shown} and {} more", n - SHOWN),
        _ => shown,
    }
}

/// Says why, and ends the job on every rank.
fn end(w: &Watch, why: &str) -> ! {
    log::error!("{why}");
    // MPI may be beyond answering, too.
    std::thread::spawn(|| {
        std::thread::sleep(GRACE);
        std::process::abort();
    });
    if w.joined && w.size > 1 {
        launcher::outlive();
        super::abort_job();
    }
    std::process::exit(EXIT_OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch_of(size: usize) -> Watch {
        Watch {
            timeout: Duration::from_secs(9),
            me: Process::this(),
            rank: 0,
            size,
            joined: true,
            folder: PathBuf::new(),
            met: true,
            neighbor: None,
            hosts: ["node0", "node1", "node2"].map(String::from).into(),
        }
    }

    fn beat(rank: usize, beat: u64, waiting: bool) -> (usize, Beat) {
        let process = Process {
            host: format!("node{rank}"),
            ..Process::default()
        };
        let mut b = Beat::of(rank, &process, beat, 1.0, &pulse::now());
        (b.step, b.phase, b.waiting) = (7, "computing".into(), waiting);
        (rank, b)
    }

    #[test]
    fn the_right_rank_is_blamed() {
        let w = watch_of(3);
        let seen = HashMap::from([(1, 5), (2, 5)]);
        let told = |beats: [(usize, Beat); 2]| blame(&w, &seen, &HashMap::from(beats));
        assert_eq!(
            told([beat(1, 9, true), beat(2, 5, false)]),
            "no sign of life from rank 2 on node2 (step 7, computing)"
        );
        assert_eq!(
            told([beat(1, 9, false), beat(2, 9, true)]),
            "the others wait for rank 1 on node1 (step 7, computing)"
        );
        assert!(told([beat(1, 9, true), beat(2, 9, true)]).contains("network"));
        let told = blame(&w, &seen, &HashMap::from([beat(1, 9, true)]));
        assert_eq!(told, "no sign of life from rank 2 on node2 (no heartbeat)");
    }
}
