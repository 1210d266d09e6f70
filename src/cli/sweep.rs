//! `holosig sweep`.

use super::places::Overwrite;
use crate::comm::World;
use crate::downstream::report::{self, Part, SweepReport};
use crate::store::{self, Output};
use crate::tasks::sweep::{self, Axis, FOLD, Results, SEED, Share, Sweep};
use crate::tasks::{load, tell_renamed};
use crate::{Error, Result, print};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// The job file (TOML) that the runs vary
    #[arg(value_name = "JOB.toml")]
    job: PathBuf,
    /// Values of a job key, e.g. model.clusters=5,10,20; may be repeated: every combination runs
    #[arg(long, value_name = "KEY=V1,V2,...")]
    grid: Vec<Axis>,
    /// Hold out each of these folds in turn: `all`, or numbers as in 0,2
    #[arg(long)]
    folds: Option<String>,
    /// Runs of each setting and fold, with seeds counting up from the job's
    #[arg(long, value_name = "RUNS", default_value_t = 1)]
    repeats: u64,
    /// Override a setting of the job for all runs; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Folder of the sweep [default: runs/NAME for NAME.toml]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Do one of N equal parts, I from 0 to N - 1: for job arrays
    #[arg(long, value_name = "I/N", default_value = "0/1")]
    part: Share,
    /// List the runs and stop
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    overwrite: Overwrite,
}

pub fn run(args: Args) -> Result<()> {
    if args.dry_run {
        let sweep = args.sweep()?;
        sweep
            .runs
            .iter()
            .for_each(|run| crate::say!("{}", run.words()));
        crate::say!("{}", print::count(sweep.runs.len(), "run"));
        return Ok(());
    }
    World::run(|world| {
        let folder = args
            .out
            .clone()
            .unwrap_or_else(|| super::train::default_out(&args.job));
        let outputs = || {
            let mut outputs = Results::outputs(&folder);
            outputs.push(Output::new(folder.join("report.html"), report::content()));
            Ok(outputs)
        };
        let _claim = args.overwrite.claim(world, outputs, &[&args.job])?;
        // Rank 0 reads the job; all ranks take what it understood.
        let text = world.on_root(|| {
            let sweep = args.sweep()?;
            sweep.write(&folder)?;
            serde_json::to_vec(&sweep).map_err(Error::internal)
        })?;
        let text = world.broadcast(text.unwrap_or_default());
        let sweep: Sweep = world.agree(serde_json::from_slice(&text).map_err(Error::internal))?;
        let worked = sweep::work(world, &sweep, args.part, &folder)?;
        world.on_root(|| {
            let page = folder.join("report.html");
            store::write_bytes(&page, report::page(&[tell(&folder)?])?.as_bytes())?;
            crate::say!("page: {}", page.display());
            Ok(())
        })?;
        world.on_root(|| worked.check()).map(drop)
    })
}

/// Prints the table of all runs that are finished and writes it beside them; what a page says
/// of it.
pub(super) fn tell(folder: &Path) -> Result<Part> {
    let report = SweepReport::read(folder)?;
    crate::print::text(&report.results.text());
    report.results.write(folder)?;
    report.part()
}

impl Args {
    fn sweep(&self) -> Result<Sweep> {
        let base = load(&self.job, &self.overrides)?;
        tell_renamed(&self.job, base.as_ref());
        let mut axes = self.grid.clone();
        let mut add = |key: &str, values: Vec<String>| {
            axes.push(Axis {
                key: key.into(),
                values,
            });
        };
        match self.folds.as_deref() {
            None => {}
            Some("all") => add(FOLD, (0..base.folds()?).map(|f| f.to_string()).collect()),
            Some(list) => {
                let axis = format!("{FOLD}={list}").parse::<Axis>();
                let refused = |e| Error::input(format!("--folds {list}: {e}"));
                add(FOLD, axis.map_err(refused)?.values);
            }
        }
        if self.repeats == 0 {
            return Err(Error::input("--repeats 0: 1 or more is needed"));
        }
        let seeded = self.repeats == 1 && self.grid.iter().any(|a| a.key == SEED);
        if !seeded {
            let seeds = (0..self.repeats).map(|r| base.train().seed.wrapping_add(r).to_string());
            add(SEED, seeds.collect());
        }
        Sweep::new(&self.job, &self.overrides, &axes)
    }
}
