//! `holosig train`.

use crate::Result;
use crate::comm::{DeviceKind, World, watchdog};
use crate::train::{AnyJob, RunFolder, Start, job};
use clap::ValueEnum;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// The job file (TOML); paths in it are relative to it
    #[arg(value_name = "JOB.toml")]
    job: PathBuf,
    /// Override a setting of the job, e.g. train.steps=100; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// What to compute on: the same as --set train.device=...
    #[arg(long, value_name = "WHICH")]
    device: Option<DeviceKind>,
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

pub fn run(mut args: Args) -> Result<()> {
    if let Some(value) = args.device.and_then(|d| d.to_possible_value()) {
        args.overrides
            .push(format!("train.device={}", value.get_name()));
    }
    let out = args.out.clone().unwrap_or_else(|| default_out(&args.job));
    watchdog::start(&out, stall_timeout(job::load(&args.job, &args.overrides)));
    World::run(|world| {
        // Rank 0 reads the job; all ranks take what it understood.
        let text = world.on_root(|| {
            let job = AnyJob::load(&args.job, &args.overrides)?;
            Ok(job.to_text()?.into_bytes())
        })?;
        let text = world.broadcast(text.unwrap_or_default());
        let text = String::from_utf8_lossy(&text);
        watchdog::set_timeout(stall_timeout(job::parse(&args.job, &text)));
        let job = world.agree(AnyJob::parse(&args.job, &text))?;
        let folder = RunFolder::new(&out);
        if args.dry_run {
            if world.is_root() {
                println!("{text}");
            }
            return job.dry_run(world, &folder);
        }
        let start = match (args.resume, args.restart) {
            (true, _) => Start::Resume,
            (false, Some(Restart::Auto)) => Start::Auto,
            (false, None) => Start::New,
        };
        job.run(world, &folder, start)
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

/// `runs/NAME` for the job file `NAME.toml`.
pub(super) fn default_out(job: &Path) -> PathBuf {
    Path::new("runs").join(job.file_stem().unwrap_or_default())
}
