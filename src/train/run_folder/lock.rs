//! The lock of a run folder: a file that names its owner. It needs no file locks, so it works on
//! NFS and Lustre; the lock of a process that is gone is recognised and taken over.

use super::RunFolder;
use crate::comm::{Beat, Process};
use crate::store::{Scratch, write_bytes};
use crate::{Error, Result, files};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Heartbeats that must be missing before an owner on another host counts as gone.
const MISSED: f64 = 5.0;
/// Time between heartbeats where none tells its own.
const EVERY: f64 = 10.0;

/// A taken lock; gives the folder back when dropped.
#[derive(Debug)]
pub struct Lock {
    root: PathBuf,
    me: Owner,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    process: Process,
    /// Seconds since 1970, for the reader.
    since: u64,
}

impl Lock {
    /// Takes the lock of the folder `root`, which exists.
    ///
    /// # Errors
    /// Another job uses the folder; it cannot be written to.
    pub fn take(root: &Path) -> Result<Self> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let me = Owner {
            process: Process::this(),
            since: since.map_or(0, |d| d.as_secs()),
        };
        let lock = Self {
            root: root.to_path_buf(),
            me,
        };
        while !lock.create()? {
            let Some(owner) = read(root)? else { continue };
            if owner.process == lock.me.process {
                write_bytes(&path(root), &lock.text()?)?; // this process opens the folder again
                break;
            }
            let gone = match owner.process.runs() {
                Some(runs) => !runs,
                None => silent(root, &owner.process)?,
            };
            if !gone {
                return Err(Error::file(
                    root,
                    format!(
                        "in use by {}; wait for its end, stop it, or choose another --out",
                        owner.process
                    ),
                ));
            }
            lock.remove_stale(&owner)?;
        }
        Ok(lock)
    }

    /// Makes sure that the folder is still this job's.
    ///
    /// # Errors
    /// The folder is gone, or another job has taken it over.
    pub fn check(&self) -> Result<()> {
        if !self.root.is_dir() {
            return Err(Error::internal(format!(
                "{}: the run folder is gone: it was deleted or renamed during the run",
                self.root.display()
            )));
        }
        match read(&self.root)? {
            Some(owner) if owner == self.me => Ok(()),
            Some(owner) => Err(Error::file(
                &self.root,
                format!("{} has taken the run over", owner.process),
            )),
            None => Err(Error::internal(format!(
                "{}: the run folder's {} is gone: was the folder emptied during the run?",
                self.root.display(),
                RunFolder::LOCK
            ))),
        }
    }

    fn text(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(&self.me).map_err(Error::internal)
    }

    /// Creates the lock file; whether there was none. A link appears with its content or not at
    /// all, also on NFS.
    fn create(&self) -> Result<bool> {
        let place = path(&self.root);
        let scratch = Scratch::new(&place)?;
        let text = self.text()?;
        fs::write(scratch.path(), &text).map_err(|e| Error::io(&place, e))?;
        let linked = fs::hard_link(scratch.path(), &place).or_else(|e| match e.kind() {
            ErrorKind::AlreadyExists => Err(e),
            // No hard links here.
            _ => fs::File::create_new(&place).and_then(|mut f| f.write_all(&text)),
        });
        match linked {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(Error::io(&place, e)),
        }
    }

    /// Removes the lock of an owner that is gone. Of several that try, one succeeds.
    fn remove_stale(&self, owner: &Owner) -> Result<()> {
        let word = Beat::read(&self.root.join(RunFolder::ALIVE), 0);
        let step = word.filter(|b| b.process == owner.process);
        let step = step.map_or(String::new(), |b| format!(" in step {}", b.step));
        log::warn!(
            "{}: {} ended without notice{step}; going on in its place",
            self.root.display(),
            owner.process
        );
        let place = path(&self.root);
        let aside = self
            .root
            .join(format!(".lock.{}.part", self.me.process.pid));
        match fs::rename(&place, &aside) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Error::io(&place, e)),
        }
        // Between reading and renaming another job may have got the lock: give it back.
        let taken = files::read(&aside).ok();
        let taken = taken.and_then(|t| serde_json::from_slice::<Owner>(&t).ok());
        if taken.is_some_and(|t| t != *owner) {
            let _ = fs::hard_link(&aside, &place);
        }
        fs::remove_file(&aside).map_err(|e| Error::io(&aside, e))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.check().is_ok() {
            let _ = fs::remove_dir_all(self.root.join(RunFolder::ALIVE));
            let _ = fs::remove_file(path(&self.root));
        }
    }
}

fn path(root: &Path) -> PathBuf {
    root.join(RunFolder::LOCK)
}

/// The owner of a folder, if it has one.
pub(super) fn owner(root: &Path) -> Option<Process> {
    read(root).ok().flatten().map(|o| o.process)
}

fn read(root: &Path) -> Result<Option<Owner>> {
    let place = path(root);
    for _ in 0..20 {
        match files::read_text_if_there(&place)? {
            None => return Ok(None),
            Some(text) => match serde_json::from_str(&text) {
                Ok(owner) => return Ok(Some(owner)),
                Err(_) if !is_fresh(&place) => break,
                // Where there are no links it may be half written.
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            },
        }
    }
    Err(Error::file(&place, "not a lock of holosig; delete it"))
}

/// Whether a file may still be being written: by a clock that need not be ours.
fn is_fresh(place: &Path) -> bool {
    let written = fs::metadata(place).and_then(|m| m.modified());
    let age = written.map(|w| SystemTime::now().duration_since(w).unwrap_or_default());
    age.is_ok_and(|age| age < Duration::from_secs(60))
}

/// Whether the owner on another host has left no heartbeat for long; waits until that is certain.
/// Both times are of the file server, so clocks need not agree.
fn silent(root: &Path, owner: &Process) -> Result<bool> {
    let beats = Beat::path(&root.join(RunFolder::ALIVE), 0);
    let every = || Beat::read(&root.join(RunFolder::ALIVE), 0).map_or(EVERY, |b| b.every);
    let stamp = || {
        let of = |p: &Path| fs::metadata(p).and_then(|m| m.modified()).ok();
        of(&beats).or_else(|| of(&path(root)))
    };
    let Some(first) = stamp() else {
        return Ok(true);
    };
    let started = Instant::now();
    let mut told = false;
    loop {
        let probe = Scratch::new(&path(root))?;
        let now = fs::metadata(probe.path()).and_then(|m| m.modified());
        let now = now.map_err(|e| Error::io(root, e))?;
        match stamp() {
            Some(s) if s != first => return Ok(false),
            _ => {}
        }
        let age = now.duration_since(first).unwrap_or_default();
        let patience = Duration::from_secs_f64(MISSED * every());
        // A stamp of the future has no age: then our own clock decides.
        if age.max(started.elapsed()) > patience {
            return Ok(true);
        }
        if started.elapsed() > Duration::from_secs(2) && !std::mem::replace(&mut told, true) {
            log::info!(
                "{}: waiting up to {} s for a heartbeat of {owner}",
                root.display(),
                patience.as_secs()
            );
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned_by(root: &Path, process: Process) {
        let owner = Owner { process, since: 0 };
        fs::write(path(root), serde_json::to_vec(&owner).unwrap()).unwrap();
    }

    #[test]
    fn a_living_owner_keeps_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let mut sleeper = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let stat = fs::read_to_string(format!("/proc/{}/stat", sleeper.id())).unwrap();
        let born = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19);
        let process = Process {
            pid: sleeper.id(),
            born: born.unwrap().parse().unwrap(),
            ..Process::this()
        };
        owned_by(dir.path(), process);
        let told = Lock::take(dir.path()).unwrap_err().to_string();
        assert!(
            told.contains(&format!("in use by process {}", sleeper.id())),
            "{told}"
        );
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        let lock = Lock::take(dir.path()).unwrap();
        lock.check().unwrap();
        drop(lock);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_owner_elsewhere_is_judged_by_its_heartbeat() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = Process {
            host: "another host".into(),
            pid: 1,
            born: 1,
        };
        owned_by(dir.path(), elsewhere.clone());
        let alive = dir.path().join(RunFolder::ALIVE);
        fs::create_dir(&alive).unwrap();
        let beat = Beat {
            rank: 0,
            process: elsewhere,
            beat: 1,
            every: 0.1,
            step: 3,
            phase: String::new(),
            waiting: false,
            still: 0.0,
        };
        let text = serde_json::to_vec(&beat).unwrap();
        let beating = |times: u32| {
            let (file, text) = (Beat::path(&alive, 0), text.clone());
            std::thread::spawn(move || {
                for _ in 0..times {
                    fs::write(&file, &text).unwrap();
                    std::thread::sleep(Duration::from_millis(30));
                }
            })
        };
        fs::write(Beat::path(&alive, 0), &text).unwrap();
        let beats = beating(100);
        let told = Lock::take(dir.path()).unwrap_err().to_string();
        assert!(
            told.contains("in use by process 1 on another host"),
            "{told}"
        );
        beats.join().unwrap();
        // A heartbeat dated far in the future is no sign of life either.
        let future = SystemTime::now() + Duration::from_secs(1_000_000);
        let file = fs::File::options().write(true).open(Beat::path(&alive, 0));
        file.unwrap().set_modified(future).unwrap();
        let lock = Lock::take(dir.path()).unwrap();
        owned_by(dir.path(), Process::default());
        assert!(
            lock.check()
                .unwrap_err()
                .to_string()
                .contains("taken the run over")
        );
    }
}
