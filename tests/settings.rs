//! Settings of jobs at the edges of what can be written: the dry run of a job with any value of any
//! key succeeds, or refuses it in one line as the user's input. It neither panics, nor hangs, nor
//! asks for much memory.

mod common;

use common::{holosig, run, start};
use holosig::comm::World;
use holosig::tasks;
use holosig::train::{RunFolder, job};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Address space of the process that tries the values.
const MOST_KIB: u64 = 6 << 20;
/// Seconds that one value may take, also where many processes share the machine.
const PATIENCE: u64 = 60;

/// Values as TOML writes them.
const VALUES: [&str; 20] = [
    "-1",
    "0",
    "3",
    "65537",
    "1000000000",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "0.5",
    "1e308",
    "-5e-324",
    "nan",
    "inf",
    "-inf",
    "true",
    "\"\"",
    "\"a\\u0000\\nb\"",
    "[]",
    "[[[[[[[[1]]]]]]]]",
    "[9223372036854775807, 1]",
];

/// A small job of each task, with a value for every key that may be absent.
fn jobs(folder: &Path) -> Vec<PathBuf> {
    let grd = folder.join("grd.h5");
    let mut prepare = holosig();
    prepare.args(["prepare", "grd", "--nodes", "25", "--trajectories", "12"]);
    run(prepare.arg("--out").arg(&grd)).success();
    let quickstart = concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/quickstart.h5");
    let train = "[train]\nbatch = 4\nslices = 2\nsteps = 3\nepochs = 1\ncheckpoint_every = 2\nspike = 9.0\n";
    let hvae = format!(
        "task = \"hvae\"\n[data]\ndataset = {quickstart:?}\n\
         residues = {{ train = 8, validation = 4, test = 4, seed = 1 }}\n\
         [zernike]\nlmax = 2\nnmax = 4\n\
         [model]\nlatent_dim = 4\nchannels = [4, 4]\ndegrees = [2, 1]\nprojection = 4\nlmax = 2\n\
         hidden = [4]\nvariational = true\n{train}"
    );
    let signature = format!(
        "task = \"deep-signature\"\n[data]\ndataset = {grd:?}\nscale = 1.0\n\
         [model]\nclusters = 2\nhidden = 4\nlstm = 4\nsegments = 2\nprojection = 2\n{train}"
    );
    let written = [("hvae.toml", hvae), ("deep-signature.toml", signature)].map(|(name, text)| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    });
    written.to_vec()
}

/// What the dry run of a job with one setting changed comes to.
fn dry_run(path: &Path, setting: String) -> holosig::Result<()> {
    let job = tasks::load(path, &[setting])?;
    job.to_text()?;
    job.dry_run(&World::alone(), &RunFolder::new(""))
}

/// Tries every value of every key; what is wrong is told.
fn faults(path: &Path) -> Vec<String> {
    let base = tasks::load(path, &[]).unwrap();
    let keys = job::settings(path, &base.to_text().unwrap()).unwrap();
    base.dry_run(&World::alone(), &RunFolder::new("")).unwrap();
    let mut faults = Vec::new();
    for (key, _) in keys {
        for value in VALUES {
            // The last line of a process that dies tells what killed it.
            eprintln!("{key} = {value}");
            let started = Instant::now();
            let setting = format!("{key}={value}");
            let tried = catch_unwind(AssertUnwindSafe(|| dry_run(path, setting)));
            let fault = match tried {
                Err(_) => Some("panics".to_string()),
                Ok(Ok(())) => None,
                Ok(Err(e)) => {
                    // As the program prints it.
                    let told = holosig::print::message(&e.to_string());
                    let fine = e.exit_code() == 2 && told.lines().count() == 1 && told.len() < 1000;
                    (!fine).then(|| format!("code {}: {told}", e.exit_code()))
                }
            };
            let slow = started.elapsed() > Duration::from_secs(PATIENCE);
            faults.extend(fault.map(|fault| format!("{key} = {value}: {fault}")));
            faults.extend(slow.then(|| format!("{key} = {value}: slow")));
        }
    }
    faults
}

#[test]
fn any_value_of_any_key_is_tried_or_refused() {
    if let Some(path) = std::env::var_os("HOLOSIG_TEST_SETTINGS") {
        let faults = faults(Path::new(&path));
        assert!(faults.is_empty(), "{faults:#?}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for job in jobs(dir.path()) {
        let this = std::env::current_exe().unwrap();
        let mut limited = Command::new("bash");
        limited
            .arg("-c")
            .arg(format!("ulimit -v {MOST_KIB}; exec \"$@\""))
            .arg("bash")
            .arg(this)
            .args(["--exact", "any_value_of_any_key_is_tried_or_refused"])
            .args(["--nocapture", "--test-threads=1"])
            .env("HOLOSIG_TEST_SETTINGS", &job)
            .env("RAYON_NUM_THREADS", "1");
        let told = start(&mut limited).wait(Duration::from_secs(1800));
        let end: Vec<&str> = told.stderr.lines().rev().take(60).collect();
        assert_eq!(told.code, 0, "{}: {end:#?}", job.display());
    }
}

#[test]
fn a_key_of_many_parts_and_a_deep_job_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let quickstart = concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/quickstart.toml");
    let dry_run = |job: &Path, set: &str| {
        let mut command = holosig();
        command.args(["train", "--dry-run", "--set", set]).arg(job);
        command.arg("--out").arg(dir.path().join("run"));
        run(&mut command)
    };
    let dots = format!("{}=1", "a.".repeat(30_000) + "a");
    let told = dry_run(Path::new(quickstart), &dots).failure(2, "a key of 30001 parts");
    assert!(told.stderr.len() < 500, "{}", told.stderr.len());
    for (name, text) in [
        ("dots.toml", format!("{} = 1\n", "a.".repeat(30_000) + "a")),
        ("lists.toml", format!("a = {}\n", "[".repeat(100_000))),
        ("tables.toml", format!("a = {}\n", "{a=".repeat(100_000))),
        ("heads.toml", format!("[{}]\n", "a.".repeat(30_000) + "a")),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let told = dry_run(&path, "train.steps=1").failure(2, name);
        assert!(told.stderr.len() < 1000, "{name}: {}", told.stderr.len());
    }
}

#[test]
fn an_absurd_size_is_told_with_the_limit_and_takes_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let quickstart = concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/quickstart.toml");
    let many = format!("model.channels={:?}", [4; 300]);
    for (setting, told) in [
        (
            "model.latent_dim=1000000000",
            "latent_dim = 1000000000: the most is 65536",
        ),
        ("model.projection=9223372036854775807", "the most is 65536"),
        ("model.channels=[9223372036854775807]", "the most is 65536"),
        ("model.hidden=[60000, 60000]", "the most is 1000000000"),
        (&many, "channels: 300 entries, the most is 256"),
        ("train.slices=1152921504606846976", "the most is 1048576"),
    ] {
        let mut limited = Command::new("bash");
        limited
            .arg("-c")
            .arg(format!("ulimit -v {MOST_KIB}; exec \"$@\""))
            .args(["bash", env!("CARGO_BIN_EXE_holosig")])
            .args(["train", quickstart, "--dry-run", "--set", setting, "--out"])
            .arg(dir.path().join("run"));
        let outcome = run(&mut limited).failure(2, told);
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    }
}
