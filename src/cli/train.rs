//! `holosig train`.

use crate::comm::{DeviceKind, World, watchdog};
use crate::error::EXIT_PREEMPTED;
use crate::store::{self, Claim, Content, Output, write_bytes};
use crate::tasks;
use crate::train::{RunFolder, Start};
use crate::{Error, Result, trace};
use clap::ValueEnum;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// The job file (TOML); paths in it are relative to it [default with --resume RUN: the job of
    /// the run]
    #[arg(value_name = "JOB.toml", required_unless_present = "resume")]
    job: Option<PathBuf>,
    /// Override a setting of the job, e.g. train.steps=100; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// What to compute on: the same as --set train.device=...
    #[arg(long, value_name = "WHICH")]
    device: Option<DeviceKind>,
    /// Folder of the run [default: runs/NAME for NAME.toml]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on from the newest whole checkpoint of RUN [default: of the folder --out]
    #[arg(long, value_name = "RUN", num_args = 0..=1, conflicts_with = "restart")]
    resume: Option<Option<PathBuf>>,
    /// Go on beyond the length that the run was started with; the scores at its former end are
    /// kept as scores-STEP.json
    #[arg(long, requires = "resume")]
    extend: bool,
    /// `auto`: go on if the run folder has a checkpoint, begin otherwise
    #[arg(long, value_name = "WHEN")]
    restart: Option<Restart>,
    /// Check the job, print it with every default filled in, try ten steps, tell what the run
    /// would take on these ranks, and stop; nothing is written
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Write what every thread of every rank did when, for Perfetto or chrome://tracing; of some
    /// hundred steps, as --set train.steps=100
    #[arg(long, value_name = "FILE.json", conflicts_with = "dry_run")]
    trace: Option<PathBuf>,
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
    let Places { job: path, out } = args.places()?;
    let own = tasks::load(&path, &args.overrides);
    // Mistakes in the job are told by rank 0, once MPI is up.
    let timeout = own.as_ref().map(|job| job.train().stall_timeout);
    watchdog::start(&out, timeout.unwrap_or(watchdog::STALL_TIMEOUT));
    World::run(|world| {
        let job = tasks::share(world, &path, own)?;
        watchdog::set_timeout(job.train().stall_timeout);
        let folder = match args.extend {
            true => RunFolder::new(&out).extending(),
            false => RunFolder::new(&out),
        };
        if args.dry_run {
            world.on_root(|| {
                crate::print::text(&format!("{}\n", job.to_text()?));
                Ok(())
            })?;
            return job.dry_run(world, &folder);
        }
        let start = match (&args.resume, args.restart) {
            (Some(_), _) => Start::Resume,
            (None, Some(Restart::Auto)) => Start::Auto,
            (None, None) => Start::New,
        };
        if start != Start::Resume {
            world.on_root(|| keep_job(&path, &folder))?;
        }
        let tracing = args
            .trace
            .as_deref()
            .map(|file| Tracing::start(world, file));
        let tracing = tracing.transpose()?;
        let ended = job.run(world, &folder, start);
        // Only of these ends all ranks are sure to know.
        let code = ended.as_ref().err().map_or(0, Error::exit_code);
        if let Some(tracing) = tracing.filter(|_| [0, EXIT_PREEMPTED].contains(&code)) {
            tracing.finish(world)?;
        }
        ended
    })
}

/// A trace file that is going to be written.
struct Tracing<'a> {
    file: &'a Path,
    _claim: Option<Claim>,
}

impl<'a> Tracing<'a> {
    /// Begins to record, on all ranks at about the same time. Collective.
    fn start(world: &World, file: &'a Path) -> Result<Self> {
        let content = Content::marked("a trace of holosig", trace::MARK);
        let claim = world.on_root(|| store::claim(&[Output::new(file, content)], &[], false))?;
        world.barrier();
        trace::start();
        Ok(Self {
            file,
            _claim: claim,
        })
    }

    /// Writes the file on rank 0. Collective.
    fn finish(self, world: &World) -> Result<()> {
        let recorded = trace::recorded(world.rank());
        let events = world.gather(recorded.events.as_bytes());
        let left_out = world.gather(&[recorded.left_out as u64]).concat();
        world.on_root(|| {
            let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
            let ranks: Vec<String> = events.iter().map(text).collect();
            write_bytes(self.file, trace::file(&ranks).as_bytes())?;
            let (file, left_out) = (self.file.display(), left_out.iter().sum::<u64>());
            if left_out > 0 {
                log::warn!(
                    "{file}: {left_out} later spans are left out, more than {} per rank; trace \
                     fewer steps",
                    trace::MOST
                );
            }
            crate::say!("{:>12}  {file}", "trace");
            Ok(())
        })?;
        Ok(())
    }
}

/// Where the job is read and the run is kept.
struct Places {
    job: PathBuf,
    out: PathBuf,
}

impl Args {
    fn places(&self) -> Result<Places> {
        // In `--resume JOB.toml --out RUN` the word after --resume is the job.
        let named = self.resume.clone().flatten();
        let (run, job) = match (&self.job, named) {
            (None, Some(path)) if !path.is_dir() => (None, Some(path)),
            (job, run) => (run, job.clone()),
        };
        let out = match (run, &self.out) {
            (Some(run), Some(out)) if run != *out => {
                return Err(Error::input(format!(
                    "--resume {} and --out {} name two runs",
                    run.display(),
                    out.display()
                )));
            }
            (Some(run), _) => run,
            (None, Some(out)) => out.clone(),
            (None, None) => match &job {
                Some(job) => default_out(job),
                None => return Err(Error::input("--resume RUN: which run is to go on?")),
            },
        };
        if let Some(run) = job
            .as_deref()
            .filter(|job| RunFolder::new(*job).job().exists())
        {
            let what = "a run, where a job is needed; train --resume RUN goes on with one";
            return Err(Error::file(run, what));
        }
        let job = job.unwrap_or_else(|| RunFolder::new(&out).job());
        Ok(Places { job, out })
    }
}

/// A run keeps its job as `job.toml`: a user's own file of that name shall not be lost by it.
fn keep_job(job: &Path, folder: &RunFolder) -> Result<()> {
    let same = |a: &Path, b: &Path| Some(a.canonicalize().ok()? == b.canonicalize().ok()?);
    match same(job, &folder.job()) {
        Some(true) => Err(Error::file(
            job,
            "the run would overwrite its own job file; choose another --out",
        )),
        _ => Ok(()),
    }
}

/// `runs/NAME` for the job file `NAME.toml`.
pub(super) fn default_out(job: &Path) -> PathBuf {
    Path::new("runs").join(job.file_stem().unwrap_or_default())
}
