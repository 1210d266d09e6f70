//! The folder of a run: `job.toml`, `metrics.jsonl`, `loss.svg`,
//! `checkpoints/{last,best,step-N}.h5`, and at the end `scores.json`; while it goes on also
//! `.lock` and the ranks' heartbeats in `.alive/`.

mod lock;

use self::lock::Lock;
use super::checkpoint::Saved;
use crate::comm::{World, watchdog};
use crate::store::{Claim, Scratch, write_bytes};
use crate::{Error, Result, files};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// What a run folder's content means to the new process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Begin; refuse a folder that holds something.
    New,
    /// Go on; refuse a folder without a checkpoint.
    Resume,
    /// Go on if there is a checkpoint, begin otherwise: for schedulers that requeue.
    Auto,
}

/// Where a run's files are. Rank 0 alone writes.
#[derive(Debug, Clone)]
pub struct RunFolder {
    root: PathBuf,
    /// Whether the run may become longer than it was started.
    extends: bool,
    /// Held by rank 0 from [`RunFolder::open`] until the last clone is dropped.
    lock: Arc<Mutex<Option<Held>>>,
}

/// What rank 0 has of a folder in use. The lock goes first, then those of the folders made that are empty
/// without it: a run that could not begin leaves nothing.
#[derive(Debug)]
struct Held {
    lock: Lock,
    made: Claim,
}

impl RunFolder {
    /// Name of the file that says which process uses the folder.
    pub const LOCK: &str = ".lock";
    /// Name of the folder of heartbeats.
    pub const ALIVE: &str = ".alive";

    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            extends: false,
            lock: Arc::default(),
        }
    }

    /// The folder of a run that may become longer than it was started.
    pub fn extending(self) -> Self {
        Self {
            extends: true,
            ..self
        }
    }

    /// Whether the run may become longer than it was started.
    pub(super) fn extends(&self) -> bool {
        self.extends
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.lock.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The process that uses the folder now, as far as the folder tells.
    pub fn owner(&self) -> Option<crate::comm::Process> {
        lock::owner(&self.root)
    }

    /// Folder of heartbeats.
    pub fn alive(&self) -> PathBuf {
        self.root.join(Self::ALIVE)
    }

    pub fn path(&self) -> &Path {
        &self.root
    }

    pub fn job(&self) -> PathBuf {
        self.root.join("job.toml")
    }

    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.jsonl")
    }

    pub fn plot(&self) -> PathBuf {
        self.root.join("loss.svg")
    }

    pub fn scores(&self) -> PathBuf {
        self.root.join("scores.json")
    }

    /// What the run's model says of single samples, where the task writes that.
    pub fn predictions(&self) -> PathBuf {
        self.root.join("predictions.csv")
    }

    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    pub fn last(&self) -> PathBuf {
        self.checkpoints().join("last.h5")
    }

    pub fn best(&self) -> PathBuf {
        self.checkpoints().join("best.h5")
    }

    /// The checkpoint that `path` stands for: of a run folder the best one, or the last one where nothing
    /// has been validated; any other path stands for itself.
    ///
    /// # Errors
    /// What is wrong with the path: a folder without checkpoints, a best checkpoint that a run cannot have.
    pub fn checkpoint_in(path: &Path) -> std::result::Result<PathBuf, &'static str> {
        if path.is_dir() {
            let run = Self::new(path);
            let found = [run.best(), run.last()].into_iter().find(|p| p.exists());
            return found
                .ok_or("a folder without checkpoints, where a run or a checkpoint is needed");
        }
        let is_best = path.file_name() == Self::new("").best().file_name();
        let last = path.with_file_name("last.h5");
        match is_best && !path.exists() && last.exists() {
            true => Err("nothing has been validated in this run; take its last.h5"),
            false => Ok(path.to_path_buf()),
        }
    }

    pub fn step(&self, step: u64) -> PathBuf {
        self.checkpoints().join(format!("step-{step}.h5"))
    }

    /// Whether this is the folder of a run, be it one that a batch script is to begin.
    pub fn is_one(&self) -> bool {
        let scripts = ["submit.sbatch", "submit.pbs", "submit.sh"];
        let scripts = scripts.map(|name| self.root.join(name));
        let own = [self.metrics(), self.checkpoints()];
        own.iter().chain(&scripts).any(|path| path.exists())
    }

    /// Makes the folder and returns the checkpoint to go on from, if any, on every rank.
    ///
    /// # Errors
    /// A folder that cannot be written to, that another job uses, or whose content does not fit
    /// `start`.
    pub fn open(&self, world: &World, start: Start) -> Result<Option<Saved>> {
        let found = world.on_root(|| self.open_here(start))?.flatten();
        watchdog::meet(&self.alive());
        if !world.any(found.is_some()) {
            return Ok(None);
        }
        Saved::share(world, found).map(Some)
    }

    fn open_here(&self, start: Start) -> Result<Option<Saved>> {
        let checkpoints = self.checkpoints();
        let before = self.held().take();
        let mut made = before.map_or_else(Claim::default, |held| held.made);
        made.folder(&checkpoints).map_err(|e| match e.kind() {
            std::io::ErrorKind::StorageFull => Error::io(&checkpoints, e),
            _ => Error::file(&self.root, format!("cannot be the folder of a run: {e}")),
        })?;
        // Says at once, not after an hour, that the folder takes no files.
        Scratch::new(&self.last())?;
        self.check_kinds()?;
        let lock = Lock::take(&self.root)?;
        *self.held() = Some(Held { lock, made });
        self.remove_leftovers()?;
        let alive = self.alive();
        fs::create_dir_all(&alive).map_err(|e| Error::io(&alive, e))?;
        if start == Start::New {
            return match self.is_empty()? {
                true => Ok(None),
                false => Err(Error::file(
                    &self.root,
                    "holds a run already; go on with --resume, or choose another --out",
                )),
            };
        }
        let found = self.newest()?;
        if found.is_none() && start == Start::Auto && self.is_foreign() {
            return Err(Error::file(
                &self.root,
                "holds files of something else, which a run would overwrite; choose another --out",
            ));
        }
        if found.is_none() && start == Start::Resume {
            return Err(Error::file(
                &self.root,
                "no checkpoint to resume from; start without --resume",
            ));
        }
        Ok(found)
    }

    /// A pipe or device under the name of a file of ours would stop the run in the middle.
    fn check_kinds(&self) -> Result<()> {
        let (scores, predictions) = (self.scores(), self.predictions());
        let own = [self.job(), self.metrics(), self.plot(), scores, predictions];
        let saved = entries(&self.checkpoints())?;
        let mut files = own.iter().chain(&saved);
        files.try_for_each(|path| match path.symlink_metadata() {
            Ok(_) => files::check(path).map(drop),
            Err(_) => Ok(()),
        })
    }

    /// Whether files with the names of ours are no run's, which has metrics before anything else.
    fn is_foreign(&self) -> bool {
        let names = [self.job(), self.plot(), self.scores(), self.predictions()];
        !self.metrics().exists() && names.iter().any(|p| p.exists())
    }

    fn is_empty(&self) -> Result<bool> {
        let own = [self.checkpoints(), self.alive(), self.root.join(Self::LOCK)];
        Ok(entries(&self.root)?.iter().all(|e| own.contains(e))
            && entries(&self.checkpoints())?.is_empty())
    }

    /// Deletes unfinished files and heartbeats of a killed process.
    fn remove_leftovers(&self) -> Result<()> {
        match fs::remove_dir_all(self.alive()) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(self.alive(), e));
            }
            _ => {}
        }
        for path in entries(&self.root)?
            .into_iter()
            .chain(entries(&self.checkpoints())?)
        {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if Scratch::is_leftover(&name) {
                fs::remove_file(&path).map_err(|e| Error::io(&path, e))?;
            }
            if name.starts_with(watchdog::STARTING) {
                // A rank may be removing it as well.
                let _ = fs::remove_dir_all(&path);
            }
        }
        Ok(())
    }

    /// Steps that have a `step-N.h5`, newest first.
    pub(super) fn saved_steps(&self) -> Result<Vec<u64>> {
        let number = |p: &PathBuf| {
            let name = p.file_name()?.to_str()?;
            name.strip_prefix("step-")?
                .strip_suffix(".h5")?
                .parse()
                .ok()
        };
        let mut steps: Vec<u64> = entries(&self.checkpoints())?
            .iter()
            .filter_map(number)
            .collect();
        steps.sort_unstable_by(|a, b| b.cmp(a));
        Ok(steps)
    }

    /// The newest checkpoint that is whole. Damaged ones are named and skipped.
    pub(super) fn newest(&self) -> Result<Option<Saved>> {
        let mut candidates = vec![self.last()];
        candidates.extend(self.saved_steps()?.into_iter().map(|s| self.step(s)));
        let mut seen = Vec::new();
        let mut damaged = 0;
        for path in candidates {
            // `last.h5` is the same file as the newest `step-N.h5`: one try for both.
            let Ok(meta) = fs::metadata(&path) else {
                continue;
            };
            if seen.contains(&(meta.dev(), meta.ino())) {
                continue;
            }
            seen.push((meta.dev(), meta.ino()));
            let opened = Saved::open(&path).and_then(|c| c.verify().map(|()| c));
            match opened {
                Ok(c) if c.progress().is_some() => {
                    log::info!("resuming from {}", path.display());
                    return Ok(Some(c));
                }
                Ok(_) => log::warn!("{}: skipped: no state of a training run", path.display()),
                Err(e) => log::warn!("skipped: {e}"),
            }
            damaged += 1;
        }
        match damaged {
            0 => Ok(None),
            n => Err(Error::file(
                self.checkpoints(),
                format!("none of {n} checkpoints can be used; move them away to begin anew"),
            )),
        }
    }

    /// Saves the job as it was understood. Scores of an earlier end of the run, at step `former`, are
    /// kept as `scores-STEP.json`.
    pub fn begin(&self, job: &str, former: u64) -> Result<()> {
        let scores = self.scores();
        if scores.exists() {
            let kept = self.root.join(format!("scores-{former}.json"));
            fs::rename(&scores, &kept).map_err(|e| Error::io(&scores, e))?;
        }
        write_bytes(&self.job(), job.as_bytes())
    }

    /// Has `write` write `step-N.h5`, points `last.h5` to it, then deletes all but the `keep` newest
    /// steps. At every moment a whole checkpoint is there. `best.h5` is a file of its own: what
    /// damages the one does not damage the other.
    pub fn save(
        &self,
        write: impl FnOnce(&Path) -> Result<()>,
        step: u64,
        best: bool,
        keep: usize,
    ) -> Result<()> {
        self.check()?;
        // Of a folder that goes away meanwhile, say that, not which file was missed first.
        self.put(write, step, best, keep)
            .map_err(|e| self.check().err().unwrap_or(e))
    }

    /// Makes sure that the folder is still this job's.
    fn check(&self) -> Result<()> {
        match &*self.held() {
            Some(held) => held.lock.check(),
            None => Ok(()),
        }
    }

    fn put(
        &self,
        write: impl FnOnce(&Path) -> Result<()>,
        step: u64,
        best: bool,
        keep: usize,
    ) -> Result<()> {
        let path = self.step(step);
        if best {
            // The best first: a run killed in between makes this step, and `best.h5`, again. The
            // other way round it would go on from a step that is the best, beside an older file.
            write(&self.best())?;
            copy(&self.best(), &path)?;
        } else {
            write(&path)?;
        }
        link(&path, &self.last())?;
        for old in self
            .saved_steps()?
            .into_iter()
            .filter(|s| *s <= step)
            .skip(keep)
        {
            let old = self.step(old);
            fs::remove_file(&old).map_err(|e| Error::io(&old, e))?;
        }
        Ok(())
    }
}

/// Paths in a folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(folder)
        .and_then(|list| list.map(|e| e.map(|e| e.path())).collect())
        .map_err(|e| Error::io(folder, e))
}

/// Gives a file a second name, replacing what had it; a copy where the file system has no hard
/// links.
fn link(file: &Path, name: &Path) -> Result<()> {
    let scratch = Scratch::new(name)?;
    let linked = fs::remove_file(scratch.path()).and_then(|()| fs::hard_link(file, scratch.path()));
    match linked {
        Ok(()) => scratch.commit(),
        Err(_) => copy(file, name),
    }
}

/// Copies a file; the copy appears whole.
fn copy(file: &Path, name: &Path) -> Result<()> {
    let scratch = Scratch::new(name)?;
    fs::copy(file, scratch.path()).map_err(|e| Error::io(name, e))?;
    scratch.commit()
}

#[cfg(test)]
mod tests;
