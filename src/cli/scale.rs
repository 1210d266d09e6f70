//! `holosig scale`.

use super::places::Overwrite;
use crate::comm::World;
use crate::draw::{self, PICTURE};
use crate::scale::machine::{Compute, Machine};
use crate::scale::model::Scaling;
use crate::scale::reduction::Algorithm;
use crate::scale::table::{self, Answer, Question, answer, checkpoint_lines};
use crate::scale::{self, plots};
use crate::store::{Content, Output, write_bytes};
use crate::tasks::{self, AnyJob};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// The job file; absent: the costs in the machine file's `[compute]` are taken
    #[arg(value_name = "JOB.toml")]
    job: Option<PathBuf>,
    /// Override a setting of the job; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "job")]
    overrides: Vec<String>,
    /// A machine file; may be repeated
    #[arg(long, value_name = "M.toml", required_unless_present = "measure")]
    machine: Vec<PathBuf>,
    /// Numbers of ranks: the powers of two of a range, and its ends
    #[arg(long, value_name = "FROM..TO", default_value = "1..4096")]
    ranks: String,
    /// Slices of each rank in weak scaling, a power of two
    #[arg(long, value_name = "N", default_value_t = 8)]
    weak_slices: u64,
    /// Sizes of datasets, for the time of a pass
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "2.7e6,1e11"
    )]
    samples: Vec<f64>,
    /// One JSON object per line instead of tables
    #[arg(long)]
    json: bool,
    /// Also draw the curves, as MACHINE-*.svg in this folder
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Under mpirun: measure this machine and the job, and write a machine file
    #[arg(long, value_name = "M.toml", requires = "job", conflicts_with_all = ["machine", "check"])]
    measure: Option<PathBuf>,
    /// Under mpirun: try steps of the job in this world and compare them with the model
    #[arg(long, requires_all = ["job", "machine"])]
    check: bool,
    #[command(flatten)]
    overwrite: Overwrite,
}

pub fn run(args: Args) -> Result<()> {
    let asked = table::ranks(&args.ranks).map_err(|e| Error::input(format!("--ranks: {e}")))?;
    if let Some(bad) = args.samples.iter().find(|n| !(n.is_finite() && **n >= 1.0)) {
        return Err(Error::input(format!(
            "--samples {bad}: 1 or more is needed"
        )));
    }
    if !args.weak_slices.is_power_of_two() {
        return Err(Error::input(format!(
            "--weak-slices {}: a power of two is needed",
            args.weak_slices
        )));
    }
    World::run(|world| {
        let inputs: Vec<&Path> = args
            .machine
            .iter()
            .chain(&args.job)
            .map(PathBuf::as_path)
            .collect();
        let _claim = args.overwrite.claim(world, || args.outputs(), &inputs)?;
        let load = |path: &PathBuf| Machine::load(path);
        let machines = world.agree(args.machine.iter().map(load).collect::<Result<Vec<_>>>())?;
        let load = |path: &PathBuf| tasks::share(world, path, tasks::load(path, &args.overrides));
        let job = args.job.as_ref().map(load).transpose()?;
        match (&args.measure, &job) {
            (Some(out), Some(job)) => measure(world, job.as_ref(), &args.job_name(), out),
            (None, Some(job)) if args.check => check(world, &machines, job.as_ref(), args.json),
            _ => predict(world, &args, &machines, job.as_deref(), asked),
        }
    })
}

impl Args {
    pub(super) fn only_prints(&self) -> bool {
        self.plots.is_none() && self.measure.is_none()
    }

    fn outputs(&self) -> Result<Vec<Output>> {
        let mut outputs = match &self.plots {
            Some(folder) => {
                let picture = Content::marked("a picture of holosig", PICTURE);
                Output::in_folder(folder, "svg", &picture)?
            }
            None => Vec::new(),
        };
        let machine = Content::marked("a machine file that holosig measured", MEASURED);
        outputs.extend(
            self.measure
                .iter()
                .map(|path| Output::new(path, machine.clone())),
        );
        Ok(outputs)
    }

    fn job_name(&self) -> String {
        let stem = self.job.as_deref().and_then(Path::file_stem);
        stem.unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// The first line of every machine file that is measured.
const MEASURED: &str = "# measured by holosig scale --measure";

fn measure(world: &World, job: &dyn AnyJob, job_name: &str, out: &Path) -> Result<()> {
    let machine = scale::measure(world, job, job_name, out)?;
    world.on_root(|| {
        let text = machine.to_text()?;
        write_bytes(out, format!("{MEASURED}\n{text}").as_bytes())?;
        crate::print::text(&format!("{text}\n"));
        Ok(())
    })?;
    Ok(())
}

fn check(world: &World, machines: &[Machine], job: &dyn AnyJob, json: bool) -> Result<()> {
    for machine in machines {
        let check = scale::check(world, machine, job)?;
        if !world.is_root() {
            continue;
        }
        let step = check.predicted;
        match json {
            true => crate::say!(
                "{}",
                serde_json::json!({
                    "machine": machine.name, "ranks": step.ranks, "nodes": step.nodes,
                    "predicted": step.seconds(), "measured": check.measured,
                    "error": check.error(),
                })
            ),
            false => crate::say!(
                "{}: {} ranks on {} nodes: predicted {}, measured {}: {:+.1} %",
                machine.name,
                step.ranks,
                step.nodes,
                table::duration(step.seconds()),
                table::duration(check.measured),
                100.0 * check.error()
            ),
        }
    }
    Ok(())
}

fn predict(
    world: &World,
    args: &Args,
    machines: &[Machine],
    job: Option<&dyn AnyJob>,
    ranks: Vec<usize>,
) -> Result<()> {
    let tried = job
        .map(|job| scale::of_job(world, job, &args.job_name()))
        .transpose()?;
    let asked = Question {
        ranks,
        samples: args.samples.clone(),
        algorithm: job.map_or(Algorithm::Tree, scale::algorithm_of),
    };
    let show = || {
        for (machine, path) in machines.iter().zip(&args.machine) {
            let compute = tried.as_ref().or(machine.compute.as_ref());
            let compute = compute.ok_or_else(|| {
                Error::file(path, "no [compute]: name a job to be tried on this machine")
            })?;
            let weak = compute.of_slices(args.weak_slices);
            let answers = [(Scaling::Strong, compute), (Scaling::Weak, &weak)]
                .map(|(scaling, job)| (answer(machine, job, scaling, &asked), job));
            tell(machine, &answers, &asked, args.json)?;
            let answers = answers.map(|(answer, _)| answer);
            if let Some(folder) = &args.plots {
                draw(folder, path, &answers)?;
            }
        }
        Ok(())
    };
    world.on_root(show).map(drop)
}

fn tell(
    machine: &Machine,
    answers: &[(Answer, &Compute); 2],
    asked: &Question,
    json: bool,
) -> Result<()> {
    if json {
        for row in answers.iter().flat_map(|(a, _)| &a.rows) {
            crate::say!("{}", serde_json::to_string(row).map_err(Error::internal)?);
        }
        return Ok(());
    }
    let [(_, job), (weak, _)] = answers;
    crate::say!("{}: {}", machine.name, machine.source);
    crate::say!(
        "{} ({} parameters), sums by {}; all but step and passes in ms",
        job.job,
        job.parameters,
        asked.algorithm.name()
    );
    crate::say!("");
    for (answer, job) in answers {
        crate::print::text(&format!("{}\n\n", answer.text(job, &asked.samples)));
    }
    crate::print::text(&format!("{}\n\n", checkpoint_lines(&weak.rows).join("\n")));
    Ok(())
}

fn draw(folder: &Path, machine: &Path, answers: &[Answer]) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let stem = machine.file_stem().unwrap_or_default().to_string_lossy();
    for (name, svg) in plots::plots(answers)? {
        write_bytes(
            &folder.join(format!("{stem}-{name}.svg")),
            draw::file(&svg).as_bytes(),
        )?;
    }
    Ok(())
}
