//! Tasks: a model, the data it is trained on, and how it is tested, behind one name.
//!
//! Every job file says `task = "NAME"`, and every checkpoint carries the same word. To add a
//! task, implement [`TaskKind`] and [`crate::train::Task`] in a file of this folder, and add its
//! line to [`TASKS`]: commands, sweeps, dry runs and checkpoints then know it.

pub mod affinity;
pub mod chains;
pub mod deep_signature;
pub mod hvae;
mod job;
pub mod keys;
mod kind;
pub mod pretrain;
pub mod spheres;
pub mod sweep;
pub mod systems;
mod trained;

pub use job::{AnyJob, Job};
pub use kind::{Purpose, TaskKind};
pub use trained::Trained;

use crate::comm::World;
use crate::train::{job as files, upgrade};
use crate::{Error, Result};
use std::path::Path;
use toml::{Table, Value};

/// A job of whichever task.
pub type BoxedJob = Box<dyn AnyJob>;

/// A line of the registry.
pub struct Entry {
    /// The word in jobs and checkpoints.
    name: fn() -> &'static str,
    read: fn(&Path, Table, Vec<String>) -> Result<BoxedJob>,
    /// Schema of a whole job.
    schema: fn() -> serde_json::Value,
}

const fn task<K: TaskKind>() -> Entry {
    Entry {
        name: K::name,
        read: |path, table, renamed| Ok(Box::new(Job::<K>::from_table(path, table, renamed)?)),
        schema: keys::schema_of_job::<K>,
    }
}

/// All tasks.
pub const TASKS: &[Entry] = &[
    task::<hvae::HvaeKind>(),
    task::<deep_signature::DeepSignatureKind>(),
    task::<spheres::SpheresKind>(),
    task::<spheres::ClassesKind>(),
    task::<systems::SystemsKind>(),
    task::<chains::ChainsKind>(),
    task::<pretrain::PretrainKind>(),
    task::<affinity::AffinityKind>(),
];

/// Reads a job file and applies `--set key=value` overrides. Paths become absolute: those in the
/// file are relative to it, those in an override to the current folder.
///
/// # Errors
/// An unreadable file, TOML that does not parse (with its line), an unknown task, an unknown key
/// (with the nearest known one), a value of the wrong type or out of range (with its key).
pub fn load(path: &Path, overrides: &[String]) -> Result<BoxedJob> {
    let mut table = files::read(path)?;
    let mut renamed = upgrade::job(&mut table).map_err(|e| e.in_file(path))?;
    job::weights_as_tables(&mut table);
    for text in overrides {
        let key = text.split('=').next().unwrap_or_default().trim();
        let now = upgrade::key(key);
        if now != key {
            renamed.push(format!("{key} is {now} now"));
        }
        files::set(&mut table, text)?;
    }
    for (section, name) in [("data", "dataset"), ("train", "init")] {
        let value = table.get_mut(section).and_then(|s| s.get_mut(name));
        if let Some(Value::String(file)) = value {
            let key = format!("{section}.{name}");
            let absolute = files::absolute(path, overrides, &key, Path::new(file))?;
            *file = absolute.to_string_lossy().into_owned();
        }
    }
    of_table(path, table, renamed)
}

/// Reads what [`AnyJob::to_text`] wrote, today or in version 1; `path` is the file to blame.
///
/// # Errors
/// As [`load`].
pub fn parse(path: &Path, text: &str) -> Result<BoxedJob> {
    let mut table = files::parse_table(path, text)?;
    let renamed = upgrade::job(&mut table).map_err(|e| e.in_file(path))?;
    of_table(path, table, renamed)
}

fn of_table(path: &Path, table: Table, renamed: Vec<String>) -> Result<BoxedJob> {
    let task = match table.get("task") {
        Some(Value::String(name)) => name.clone(),
        other => other.map(Value::to_string).unwrap_or_default(),
    };
    match TASKS.iter().find(|entry| (entry.name)() == task) {
        Some(entry) => (entry.read)(path, table, renamed),
        None => {
            let known: Vec<String> = TASKS.iter().map(|e| format!("{:?}", (e.name)())).collect();
            let what = format!("task = {task:?}: known are {}", known.join(", "));
            Err(Error::file(path, what))
        }
    }
}

/// The job as rank 0 understood it, on every rank. Each rank brings what it made of the file, of
/// which only rank 0 needs to see the present state. Collective.
///
/// # Errors
/// Those of rank 0.
pub fn share(world: &World, path: &Path, own: Result<BoxedJob>) -> Result<BoxedJob> {
    let (own, failure) = match own {
        Ok(job) => (Some(job), None),
        Err(e) => (None, Some(e)),
    };
    let text = world.on_root(|| match (&own, failure) {
        (Some(job), _) => {
            tell_renamed(path, job.as_ref());
            job.to_text()
        }
        (None, failure) => Err(failure.unwrap_or_else(|| Error::internal("no job"))),
    })?;
    let text = world.broadcast(text.unwrap_or_default().into_bytes());
    let job = match own {
        Some(job) if job.to_text().is_ok_and(|own| own.as_bytes() == text) => Ok(job),
        _ => parse(path, &String::from_utf8_lossy(&text)),
    };
    world.agree(job)
}

/// Names the keys that have another name today, in one line of the log.
pub fn tell_renamed(path: &Path, job: &dyn AnyJob) {
    if !job.renamed().is_empty() {
        let renamed = job.renamed().join(", ");
        log::warn!("{}: keys of version 1: {renamed}", path.display());
    }
}
