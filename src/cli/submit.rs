//! `holosig submit`: the batch script for this machine's scheduler, and its submission.

use super::places::Overwrite;
use crate::comm::{DeviceKind, World};
use crate::store::{Content, Output, write_bytes};
use crate::tasks;
use crate::{Error, Result, print};
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(clap::Args)]
pub struct Args {
    /// The job file (TOML)
    #[arg(value_name = "JOB.toml")]
    job: PathBuf,
    /// Number of nodes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    nodes: u32,
    /// Time limit, HH:MM:SS
    #[arg(long, value_name = "T", default_value = "04:00:00", value_parser = seconds)]
    time: u64,
    /// Ranks per node [default: one per GPU, or 2]
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..))]
    ranks_per_node: Option<u32>,
    /// GPUs per node to ask for; the job then runs holosig-cuda, which lies beside this program
    #[arg(long, value_name = "G", value_parser = clap::value_parser!(u32).range(1..))]
    gpus_per_node: Option<u32>,
    /// Cores per node, which PBS wants to know
    #[arg(long, value_name = "C")]
    cores_per_node: Option<u32>,
    /// Partition or queue
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
    /// Account to charge
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Hosts for mpirun where there is no scheduler (`host slots=2` per line)
    #[arg(long, value_name = "FILE")]
    hostfile: Option<PathBuf>,
    /// Scheduler [default: the one that is found]
    #[arg(long)]
    scheduler: Option<Scheduler>,
    /// Most restarts after failures
    #[arg(long, value_name = "K", default_value_t = 3)]
    max_restarts: u32,
    /// Override a setting of the job; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Folder of the run [default: runs/NAME for NAME.toml]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the script and the command, and stop; needs neither a scheduler nor GPUs
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    overwrite: Overwrite,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Scheduler {
    Slurm,
    Pbs,
    /// No scheduler: mpirun at once
    None,
}

/// Seconds of `HH:MM:SS`, `MM:SS` or `D-HH:MM:SS`.
fn seconds(text: &str) -> std::result::Result<u64, String> {
    let wrong = || format!("{text}: HH:MM:SS or D-HH:MM:SS is needed");
    let (days, clock) = match text.split_once('-') {
        Some((days, clock)) => (days.parse::<u64>().map_err(|_| wrong())?, clock),
        None => (0, text),
    };
    let fields: Vec<u64> = clock
        .split(':')
        .map(|f| f.parse().map_err(|_| wrong()))
        .collect::<std::result::Result<_, _>>()?;
    let within = match fields[..] {
        [h, m, s] if m < 60 && s < 60 => h * 3600 + m * 60 + s,
        [m, s] if s < 60 => m * 60 + s,
        _ => return Err(wrong()),
    };
    match days * 86400 + within {
        0 => Err(wrong()),
        total => Ok(total),
    }
}

fn clock(seconds: u64) -> String {
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{h:02}:{m:02}:{s:02}")
}

pub fn run(args: Args) -> Result<()> {
    // A job that cannot be understood shall not wait in a queue first.
    args.check_words()?;
    let job = tasks::load(&args.job, &args.overrides)?;
    tasks::tell_renamed(&args.job, job.as_ref());
    if job.train().device == DeviceKind::Cuda && args.gpus_per_node.is_none() {
        return Err(Error::input(
            "train.device = \"cuda\": tell how many GPUs a node has, --gpus-per-node G",
        ));
    }
    if job.train().device == DeviceKind::Cpu && args.gpus_per_node.is_some() {
        return Err(Error::input(
            "--gpus-per-node: the job says train.device = \"cpu\"; GPUs would be idle",
        ));
    }
    let ranks = args.nodes as usize * args.ranks() as usize;
    job.check_start(ranks)?;
    let scheduler = args
        .scheduler
        .unwrap_or_else(|| match (found(), args.dry_run) {
            // A dry run shows what would be, anywhere.
            (Scheduler::None, true) if args.nodes > 1 && args.hostfile.is_none() => {
                Scheduler::Slurm
            }
            (found, _) => found,
        });
    if scheduler == Scheduler::None && args.nodes > 1 && args.hostfile.is_none() {
        return Err(Error::input(
            "neither sbatch nor qsub is on PATH: give --hostfile, or submit from a login node",
        ));
    }
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| super::train::default_out(&args.job));
    let here = std::env::current_dir().map_err(|e| Error::io(".", e))?;
    let out = here.join(out);
    let place = out.join(match scheduler {
        Scheduler::Slurm => "submit.sbatch",
        Scheduler::Pbs => "submit.pbs",
        Scheduler::None => "submit.sh",
    });
    let text = script(&args, scheduler, &out, &place)?;
    let mut command = match scheduler {
        Scheduler::Slurm => Command::new("sbatch"),
        Scheduler::Pbs => Command::new("qsub"),
        Scheduler::None => Command::new("bash"),
    };
    command.arg(&place);
    if args.dry_run {
        crate::print::text(&text);
        crate::say!("# {} {}", command.get_program().display(), quoted(&place));
        return Ok(());
    }
    let content = Content::marked("a batch script of holosig", MARK);
    let _claim = args.overwrite.claim(
        &World::alone(),
        || Ok(vec![Output::new(&place, content)]),
        &[&args.job],
    )?;
    write_bytes(&place, text.as_bytes())?;
    submit(&mut command, scheduler, &out)
}

/// The second line of every script.
const MARK: &str = "# written by holosig submit";

fn submit(command: &mut Command, scheduler: Scheduler, out: &Path) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |e: std::io::Error| Error::io(&program, e);
    if scheduler == Scheduler::None {
        let log = out.join("submit.log");
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log);
        let file = file.map_err(|e| Error::io(&log, e))?;
        let errors = file.try_clone().map_err(|e| Error::io(&log, e))?;
        use std::os::unix::process::CommandExt;
        let child = command
            .process_group(0) // Ctrl-C here shall not end it
            .stdin(std::process::Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .map_err(failed)?;
        crate::say!("started as process {}", child.id());
        tell_places(out, &log);
        return Ok(());
    }
    let output = command.output().map_err(failed)?;
    crate::print::text(&String::from_utf8_lossy(&output.stdout));
    match output.status.success() {
        true => {
            let told = String::from_utf8_lossy(&output.stdout);
            let number = told.split_whitespace().last().unwrap_or_default();
            tell_places(
                out,
                &out.join(match scheduler {
                    Scheduler::Slurm => format!("{number}.log"),
                    _ => format!("{number}.OU"),
                }),
            );
            Ok(())
        }
        false => Err(Error::input(format!(
            "{program} refused the job: {}",
            String::from_utf8_lossy(&output.stderr)
                .trim()
                .replace('\n', "; ")
        ))),
    }
}

/// Where to look for the run.
fn tell_places(out: &Path, log: &Path) {
    crate::say!("run folder: {}", out.display());
    crate::say!("log: {}", log.display());
    crate::say!("its state: holosig status {}", quoted(out));
}

fn found() -> Scheduler {
    let on_path = |name: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
    };
    match (on_path("sbatch"), on_path("qsub")) {
        (true, _) => Scheduler::Slurm,
        (_, true) => Scheduler::Pbs,
        _ => Scheduler::None,
    }
}

/// The script of `jobs/` for this scheduler with the request and the arguments in it, so that it
/// can be read, kept and submitted again as it is.
fn script(args: &Args, scheduler: Scheduler, out: &Path, place: &Path) -> Result<String> {
    let template = match scheduler {
        Scheduler::Slurm => include_str!("../../jobs/train.sbatch"),
        Scheduler::Pbs => include_str!("../../jobs/train.pbs"),
        Scheduler::None => include_str!("../../jobs/train.sh"),
    };
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    // Schedulers take no spaces here.
    let name = name.replace(
        |c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_',
        "-",
    );
    let logs = match out.display().to_string() {
        plain if !plain.contains(char::is_whitespace) => plain,
        spaced => format!("\"{spaced}\""),
    };
    let (nodes, ranks, time) = (args.nodes, args.ranks(), clock(args.time));
    let gpus = args.gpus_per_node;
    let mut request = match scheduler {
        Scheduler::Slurm => vec![
            format!("--job-name={name}"),
            format!("--nodes={nodes}"),
            format!("--ntasks-per-node={ranks}"),
            "--exclusive".into(),
            format!("--time={time}"),
            format!("--signal=B:USR1@{}", 120.min(args.time / 2)),
            "--requeue".into(),
            "--open-mode=append".into(),
            format!("--output={logs}/%j.log"),
        ]
        .into_iter()
        .chain(gpus.map(|g| format!("--gpus-per-node={g}")))
        .collect(),
        Scheduler::Pbs => {
            let cores = args.cores_per_node.unwrap_or(ranks);
            let gpus = gpus.map(|g| format!(":ngpus={g}")).unwrap_or_default();
            vec![
                format!("-N {name}"),
                format!("-l select={nodes}:ncpus={cores}:mpiprocs={ranks}{gpus}"),
                format!("-l walltime={time}"),
                "-j oe".into(),
                "-r y".into(),
                format!("-o {logs}"),
            ]
        }
        Scheduler::None => Vec::new(),
    };
    let (mark, queue, account) = match scheduler {
        Scheduler::Pbs => ("#PBS", "-q ", "-A "),
        _ => ("#SBATCH", "--partition=", "--account="),
    };
    request.extend(args.queue.iter().map(|q| format!("{queue}{q}")));
    request.extend(args.account.iter().map(|a| format!("{account}{a}")));
    let request: String = match scheduler {
        Scheduler::None => String::new(),
        _ => request.iter().map(|r| format!("{mark} {r}\n")).collect(),
    };
    let kept = template
        .lines()
        .filter(|l| !l.starts_with(mark) && !l.starts_with("#!"));
    let (head, body): (Vec<&str>, Vec<&str>) = {
        let lines: Vec<&str> = kept.collect();
        let cut = lines
            .iter()
            .position(|l| l.starts_with("set -"))
            .unwrap_or(0);
        (lines[..=cut].to_vec(), lines[cut + 1..].to_vec())
    };
    Ok(format!(
        "#!/bin/bash\n{MARK}\n{request}{}\n{}\n{}\n",
        head.join("\n"),
        settings(args, scheduler, out, place)?,
        body.join("\n")
    ))
}

/// Lines that give the script its arguments.
fn settings(args: &Args, scheduler: Scheduler, out: &Path, place: &Path) -> Result<String> {
    let absolute = |p: &Path| std::path::absolute(p).map_err(|e| Error::io(p, e));
    let program = args.program()?;
    let job = absolute(&args.job)?;
    let here = std::env::current_dir().map_err(|e| Error::io(".", e))?;
    let mut words = vec![quoted(&job), "--out".into(), quoted(out)];
    for set in &args.overrides {
        words.extend(["--set".into(), quoted(Path::new(set))]);
    }
    let mut lines = vec![
        format!("cd {}", quoted(&here)),
        format!("HOLOSIG={}", quoted(&program)),
        format!("HOLOSIG_MAX_RESTARTS={}", args.max_restarts),
        format!("set -- {}", words.join(" ")),
    ];
    match (scheduler, &args.hostfile) {
        (Scheduler::Pbs, _) => {
            lines.push(format!("HOLOSIG_SECONDS={}", args.time));
            lines.push(format!("HOLOSIG_SCRIPT={}", quoted(place)));
        }
        (Scheduler::None, Some(file)) => {
            lines.push(format!("HOSTFILE={}", quoted(&absolute(file)?)));
        }
        (Scheduler::None, None) => lines.push(format!(
            "HOLOSIG_LAUNCH=${{HOLOSIG_LAUNCH:-mpirun -np {} --bind-to none}}",
            quoted(Path::new(&args.ranks().to_string()))
        )),
        _ => {}
    }
    Ok(lines.join("\n"))
}

impl Args {
    /// A script takes no line break in a word, and a scheduler no blank in a name.
    fn check_words(&self) -> Result<()> {
        let here = std::env::current_dir().unwrap_or_default();
        let named = [
            ("JOB.toml", Some(self.job.as_path())),
            ("--out", self.out.as_deref()),
            ("--hostfile", self.hostfile.as_deref()),
            ("--queue", self.queue.as_deref().map(Path::new)),
            ("--account", self.account.as_deref().map(Path::new)),
            ("the current folder", Some(here.as_path())),
        ];
        let set = self.overrides.iter().map(|s| ("--set", Some(Path::new(s))));
        for (name, value) in named.into_iter().chain(set) {
            let text = value.unwrap_or(Path::new("")).to_string_lossy();
            if text.contains(print::steers) {
                return Err(Error::input(format!(
                    "{name}: {:?} has control characters, which a batch script cannot take",
                    text.as_ref()
                )));
            }
            let blank = text.contains(char::is_whitespace) || text.contains(['"', '\'']);
            if blank && ["--queue", "--account"].contains(&name) {
                return Err(Error::input(format!(
                    "{name}: {:?} is no name of a scheduler: it has blanks or quotes",
                    text.as_ref()
                )));
            }
        }
        Ok(())
    }

    fn ranks(&self) -> u32 {
        self.ranks_per_node.or(self.gpus_per_node).unwrap_or(2)
    }

    /// What the job runs: this program, or its twin for GPUs.
    fn program(&self) -> Result<PathBuf> {
        let here = std::env::current_exe().map_err(|e| Error::io("holosig", e))?;
        if self.gpus_per_node.is_none() {
            return Ok(here);
        }
        let twin = here.with_file_name("holosig-cuda");
        match twin.is_file() || self.dry_run {
            true => Ok(twin),
            false => Err(Error::input(format!(
                "--gpus-per-node: {} is not there; build it with `cargo build --release --features \
                 cuda,nccl --bin holosig-cuda` (docs/gpu.md)",
                twin.display()
            ))),
        }
    }
}

/// A word that the shell takes as it is.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=+,:@%".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_schedulers_write_them() {
        assert_eq!(seconds("01:30:00"), Ok(5400));
        assert_eq!(seconds("2-00:00:01"), Ok(172_801));
        assert_eq!(seconds("10:00"), Ok(600));
        assert_eq!(clock(172_801), "48:00:01");
        for wrong in ["", "5", "1:75:00", "x", "0:0:0", "1-2"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn words_survive_the_shell() {
        let odd = "a b'c $x `y`";
        let script = format!("printf %s {}", quoted(Path::new(odd)));
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), odd);
    }
}
