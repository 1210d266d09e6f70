//! `holosig train`.

use crate::comm::{World, watchdog};
use crate::train::deep_signature::{self, DeepSignatureJob};
use crate::train::hvae::{self, HvaeJob};
use crate::train::{RunFolder, Start, job};
use crate::{Error, Result};
use serde::{Serialize, de::DeserializeOwned};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// The job file (TOML); paths in it are relative to it
    #[arg(value_name = "JOB.toml")]
    job: PathBuf,
    /// Override a setting of the job, e.g. train.steps=100; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Folder of the run [default: runs/NAME for NAME.toml]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on from the newest whole checkpoint of the run folder
    #[arg(long, conflicts_with = "restart")]
    resume: bool,
    /// `auto`: go on if the run folder has a checkpoint, begin otherwise
    #[arg(long, value_name = "WHEN")]
    restart: Option<Restart>,
    /// Check the job, print it with every default filled in, try ten steps, tell what the run
    /// would take on these ranks, and stop; nothing is written
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Restart {
    Auto,
}

pub fn run(args: Args) -> Result<()> {
    match kind(&args.job, &args.overrides) {
        Kind::Hvae => go(&args, HvaeJob::load, hvae::run, hvae::dry_run),
        Kind::DeepSignature => go(
            &args,
            DeepSignatureJob::load,
            deep_signature::run,
            deep_signature::dry_run,
        ),
        Kind::Unknown(e) => World::run(|world| world.on_root::<()>(|| Err(e)).map(drop)),
    }
}

enum Kind {
    Hvae,
    DeepSignature,
    Unknown(Error),
}

fn kind(path: &Path, overrides: &[String]) -> Kind {
    match job::task(path, overrides) {
        Ok(Some(task)) if task == "deep-signature" => Kind::DeepSignature,
        Ok(Some(task)) => Kind::Unknown(Error::file(
            path,
            format!("task = {task:?}: only \"deep-signature\" is known, and none for H-(V)AE"),
        )),
        // What is wrong with the file is told when it is read.
        Ok(None) | Err(_) => Kind::Hvae,
    }
}

/// A job of any kind with every default filled in.
///
/// # Errors
/// What is wrong with it.
pub(super) fn resolved(path: &Path, overrides: &[String]) -> Result<String> {
    match kind(path, overrides) {
        Kind::Hvae => job::to_text(&HvaeJob::load(path, overrides)?),
        Kind::DeepSignature => job::to_text(&DeepSignatureJob::load(path, overrides)?),
        Kind::Unknown(e) => Err(e),
    }
}

/// Reads a job with `load` and does it with `train`, or tries it with `dry`.
fn go<J: Serialize + DeserializeOwned>(
    args: &Args,
    load: fn(&Path, &[String]) -> Result<J>,
    train: fn(&World, &J, &RunFolder, Start) -> Result<()>,
    dry: fn(&World, &J, &RunFolder) -> Result<()>,
) -> Result<()> {
    let out = args.out.clone().unwrap_or_else(|| default_out(&args.job));
    watchdog::start(&out, stall_timeout(job::load(&args.job, &args.overrides)));
    World::run(|world| {
        // Rank 0 reads the job; all ranks take what it understood.
        let text = world.on_root(|| {
            let job = load(&args.job, &args.overrides)?;
            Ok(job::to_text(&job)?.into_bytes())
        })?;
        let text = world.broadcast(text.unwrap_or_default());
        let text = String::from_utf8_lossy(&text);
        watchdog::set_timeout(stall_timeout(job::parse(&args.job, &text)));
        let job = world.agree(job::parse::<J>(&args.job, &text))?;
        let folder = RunFolder::new(&out);
        if args.dry_run {
            if world.is_root() {
                println!("{text}");
            }
            return dry(world, &job, &folder);
        }
        let start = match (args.resume, args.restart) {
            (true, _) => Start::Resume,
            (false, Some(Restart::Auto)) => Start::Auto,
            (false, None) => Start::New,
        };
        train(world, &job, &folder, start)
    })
}

/// The watchdog's time limit in a job; mistakes in a job are told elsewhere.
fn stall_timeout(job: Result<toml::Table>) -> f64 {
    let value = job.ok().and_then(|t| {
        let value = t.get("train")?.get("stall_timeout")?.clone();
        value.as_float().or(value.as_integer().map(|i| i as f64))
    });
    let usable = value.filter(|v| (1.0..1e9).contains(v));
    usable.unwrap_or(watchdog::STALL_TIMEOUT)
}

/// Where a run goes unless the user says otherwise.
pub(super) fn default_out(job: &Path) -> PathBuf {
    Path::new("runs").join(job.file_stem().unwrap_or_default())
}
