//! Runs the program, alone or under mpirun, and never waits for ever.

#![allow(dead_code)]

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What a finished program left.
#[derive(Debug)]
pub struct Outcome {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// Panics with everything the program said unless it succeeded.
    #[track_caller]
    pub fn success(self) -> Self {
        assert_eq!(self.code, 0, "{self:#?}");
        self
    }

    /// Panics unless it failed with `code` and said `text` in exactly one line.
    #[track_caller]
    pub fn failure(self, code: i32, text: &str) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        let lines = self.stderr.lines().filter(|l| l.contains(text)).count();
        assert_eq!(lines, 1, "not one line with {text:?}: {self:#?}");
        self
    }

    /// Panics unless it said `text` in warnings, and in nothing but warnings.
    #[track_caller]
    pub fn warned(self, text: &str) -> Self {
        let mut lines = self.stderr.lines().filter(|l| l.contains(text));
        let warns = |line: &str| line.contains("WARN");
        let only_warns = lines.next().is_some_and(warns) && lines.all(warns);
        assert!(only_warns, "no warning of {text:?}: {self:#?}");
        self
    }
}

/// A running program whose output goes to files.
pub struct Running {
    pub child: Child,
    output: TempDir,
}

impl Running {
    /// Waits at most `limit`; a program that hangs is killed and fails the test.
    #[track_caller]
    pub fn wait(mut self, limit: Duration) -> Outcome {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break Some(status);
            }
            if start.elapsed() > limit {
                self.child.kill().ok();
                self.child.wait().ok();
                break None;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let read = |name| {
            let bytes = std::fs::read(self.output.path().join(name)).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let outcome = Outcome {
            code: status.and_then(|s| s.code()).unwrap_or(-1),
            stdout: read("stdout"),
            stderr: read("stderr"),
        };
        assert!(status.is_some(), "hung for {limit:?}: {outcome:#?}");
        outcome
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        let bytes = std::fs::read(self.output.path().join("stderr")).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Starts a command with its output in files.
pub fn start(command: &mut Command) -> Running {
    let output = tempfile::tempdir().unwrap();
    let file = |name| Stdio::from(File::create(output.path().join(name)).unwrap());
    let child = command
        .stdin(Stdio::null())
        .stdout(file("stdout"))
        .stderr(file("stderr"))
        .spawn()
        .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    Running { child, output }
}

/// Runs a command to its end, at most five minutes.
#[track_caller]
pub fn run(command: &mut Command) -> Outcome {
    start(command).wait(Duration::from_secs(300))
}

/// The program itself.
pub fn holosig() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holosig"));
    command.env("RAYON_NUM_THREADS", "1");
    command
}

/// The program on `ranks` ranks; 0: without mpirun.
pub fn holosig_on(ranks: usize) -> Command {
    if ranks == 0 {
        return holosig();
    }
    let mut command = mpirun(ranks);
    command.arg(env!("CARGO_BIN_EXE_holosig"));
    command
}

/// Arguments that train by the file `job` into the folder `out`; each of `sets` is a `--set`.
pub fn train_args(command: &mut Command, job: &Path, out: &Path, sets: &[&str]) {
    command.arg("train").arg(job).arg("--out").arg(out);
    for set in sets {
        command.args(["--set", set]);
    }
}

/// The program on `ranks` ranks with [`train_args`].
pub fn training(ranks: usize, job: &Path, out: &Path, sets: &[&str]) -> Command {
    let mut command = holosig_on(ranks);
    train_args(&mut command, job, out, sets);
    command
}

/// What `hash` prints of a run's last checkpoint.
#[track_caller]
pub fn hash(run_folder: &Path) -> String {
    let last = run_folder.join("checkpoints/last.h5");
    run(holosig().arg("hash").arg(last)).success().stdout
}

/// Makes sure that noise on coordinates reaches the samples that are learned from: `train` trains
/// into a folder with `--set`s.
#[track_caller]
pub fn noise_is_learned_from(train: impl Fn(&Path, &[&str]) -> Outcome) {
    let dir = tempfile::tempdir().unwrap();
    let objective = |name: &str, noise: &[&str]| {
        let out = dir.path().join(name);
        let sets = [&["train.steps=3", "train.log_every=1"][..], noise].concat();
        train(&out, &sets).success();
        let records = holosig::train::metrics::read(&out.join("metrics.jsonl")).unwrap();
        let mut steps = records.iter().rev().filter(|r| r["event"] == "train");
        steps.next().unwrap()["objective"].as_f64().unwrap()
    };
    let plain = objective("plain", &[]);
    assert_eq!(objective("again", &[]), plain);
    assert_ne!(objective("noisy", &["train.coordinate_noise=0.1"]), plain);
}

/// A temporary folder that `make` fills at the first call.
pub fn made_once(folder: &'static OnceLock<TempDir>, make: impl FnOnce(&Path)) -> &'static Path {
    let made = folder.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        dir
    });
    made.path()
}

/// `mpirun` for `ranks` ranks, more than there are cores if need be, one thread each.
pub fn mpirun(ranks: usize) -> Command {
    let version = Command::new("mpirun").arg("--version").output();
    let version = version.expect("the tests need mpirun on PATH");
    let mut command = Command::new("mpirun");
    if String::from_utf8_lossy(&version.stdout).contains("Open MPI") {
        command
            .arg("--oversubscribe")
            .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
            .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
            .env("OMPI_MCA_mpi_yield_when_idle", "1")
            .env("OMPI_MCA_hwloc_base_binding_policy", "none");
    }
    command.args(["-np", &ranks.to_string()]);
    command.env("RAYON_NUM_THREADS", "1");
    command
}

/// Runs the test function `name` of this very test program on `ranks` ranks: it finds itself in
/// [`in_mpi`] there.
#[track_caller]
pub fn again_on(ranks: usize, name: &str) -> Outcome {
    again_with(ranks, name, &[])
}

/// [`again_on`] with environment variables.
#[track_caller]
pub fn again_with(ranks: usize, name: &str, variables: &[(&str, &OsStr)]) -> Outcome {
    let program = std::env::current_exe().unwrap();
    let mut command = mpirun(ranks);
    command
        .arg(program)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env("HOLOSIG_TEST_IN_MPI", "1")
        .envs(variables.iter().copied());
    run(&mut command)
}

/// Whether this process was started by [`again_on`].
pub fn in_mpi() -> bool {
    std::env::var_os("HOLOSIG_TEST_IN_MPI").is_some()
}

/// A copy of a file with one byte changed, for damage tests.
pub fn flip_byte(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = at.min(bytes.len() - 1);
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}
