//! `holosig train`.

use crate::Result;
use crate::comm::{DeviceKind, World, watchdog};
use crate::tasks;
use crate::train::{RunFolder, Start};
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
    pub(super) dry_run: bool,
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
    let own = tasks::load(&args.job, &args.overrides);
    // Mistakes in the job are told by rank 0, once MPI is up.
    let timeout = own.as_ref().map(|job| job.train().stall_timeout);
    watchdog::start(&out, timeout.unwrap_or(watchdog::STALL_TIMEOUT));
    World::run(|world| {
        let job = tasks::share(world, &args.job, own)?;
        watchdog::set_timeout(job.train().stall_timeout);
        let folder = RunFolder::new(&out);
        if args.dry_run {
            world.on_root(|| {
                crate::print::text(&format!("{}\n", job.to_text()?));
                Ok(())
            })?;
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

/// `runs/NAME` for the job file `NAME.toml`.
pub(super) fn default_out(job: &Path) -> PathBuf {
    Path::new("runs").join(job.file_stem().unwrap_or_default())
}
