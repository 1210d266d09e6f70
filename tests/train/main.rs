//! `holosig train` on real structures under mpirun: the same bits in every world and after any
//! stop, and one clear line for every mistake.

mod batch;
#[path = "../common/mod.rs"]
mod common;
mod options;

use common::{
    Outcome, Running, flip_byte, hash, holosig, holosig_on, made_once, run, start, training,
};
use holosig::data::Split;
use holosig::data::dataset::{Chosen, Dataset};
use holosig::data::structure::{self, ReadOptions};
use holosig::train::Checkpoint;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A small H-VAE with everything on: KL warm-up, falling learning rate, partial last batches.
const JOB: &str = r#"
task = "hvae"

[data]
dataset = "dataset.h5"

[zernike]
lmax = 2
nmax = 6

[model]
latent_dim = 4
channels = [6, 6, 6]
projection = 6
variational = true

[train]
seed = 7
batch = 24
slices = 4
steps = 40
learning_rate = 2.5e-3
learning_rate_schedule = "log_decrease_until_end_of_warmup"
checkpoint_every = 5
log_every = 1

[loss]
reconstruction = 1000.0
kl = { weight = 0.5, start = 1, warmup = 2 }
"#;

const LIMIT: Duration = Duration::from_secs(240);

/// A folder with `job.toml` and a dataset of real structures, made once.
fn bench() -> &'static Path {
    static BENCH: OnceLock<TempDir> = OnceLock::new();
    made_once(&BENCH, |dir| {
        let split = [
            ("pdb1ubi.pdb", Split::Validation),
            ("6WQA.cif.gz", Split::Train),
        ];
        pack(&split, &dir.join("dataset.h5"));
        pack(&split[1..], &dir.join("other.h5"));
        std::fs::write(dir.join("job.toml"), JOB).unwrap();
    })
}

fn pack(files: &[(&str, Split)], out: &Path) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/structures");
    let mut chosen = Vec::new();
    for (file, split) in files {
        for structure in structure::read(&folder.join(file), &ReadOptions::default()).unwrap() {
            chosen.push(Chosen {
                structure,
                split: *split,
                chains: None,
                complex: None,
            });
        }
    }
    Dataset::pack(&chosen, "").unwrap().write(out).unwrap();
}

fn train_args(command: &mut Command, out: &Path, sets: &[&str]) {
    common::train_args(command, &bench().join("job.toml"), out, sets);
}

fn train_on(ranks: usize, out: &Path, sets: &[&str], options: &[&str]) -> Outcome {
    let mut command = training(ranks, &bench().join("job.toml"), out, sets);
    start(command.args(options)).wait(LIMIT)
}

fn last(out: &Path) -> PathBuf {
    out.join("checkpoints/last.h5")
}

/// The uninterrupted run that all others are compared with, without mpirun.
fn reference() -> &'static str {
    static REFERENCE: OnceLock<String> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        train_on(0, dir.path(), &["train.steps=40"], &[]).success();
        hash(dir.path())
    })
}

#[test]
fn every_world_gives_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    for ranks in [1, 2, 3, 4] {
        let out = dir.path().join(ranks.to_string());
        train_on(ranks, &out, &["train.steps=40"], &[]).success();
        assert_eq!(hash(&out), reference(), "{ranks} ranks");
    }
    for ranks in [2, 3, 4] {
        let out = dir.path().join(format!("{ranks}-sharded"));
        let sets = ["train.steps=40", "train.optimizer_state=\"sharded\""];
        train_on(ranks, &out, &sets, &[]).success();
        assert_eq!(hash(&out), reference(), "{ranks} ranks, sharded state");
    }
    let out = dir.path().join("threads");
    let mut command = holosig();
    train_args(&mut command, &out, &["train.steps=40"]);
    run(command.env("RAYON_NUM_THREADS", "3")).success();
    assert_eq!(hash(&out), reference(), "three threads");
    let other = dir.path().join("seed");
    train_on(0, &other, &["train.steps=40", "train.seed=8"], &[]).success();
    assert_ne!(hash(&other), reference(), "another seed");
}

/// Objective of every step as it was when this curve was stored. Processors round sums
/// differently; a change that is not meant to change numbers stays within that. Set
/// HOLOSIG_UPDATE to store the present curve.
#[test]
fn the_loss_curve_is_the_stored_one() {
    let dir = tempfile::tempdir().unwrap();
    train_on(0, dir.path(), &["train.steps=40"], &[]).success();
    let records = holosig::train::metrics::read(&dir.path().join("metrics.jsonl")).unwrap();
    let train = records.iter().filter(|r| r["event"] == "train");
    let curve: Vec<f64> = train.filter_map(|r| r["objective"].as_f64()).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/loss_curve.txt");
    if std::env::var_os("HOLOSIG_UPDATE").is_some() {
        let lines: String = curve.iter().map(|v| format!("{v:.6}\n")).collect();
        std::fs::write(&path, lines).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap();
    let stored: Vec<f64> = stored.lines().map(|l| l.parse().unwrap()).collect();
    assert_eq!(curve.len(), stored.len());
    for (step, (now, then)) in curve.iter().zip(&stored).enumerate() {
        let off = (now - then).abs() / then.abs();
        assert!(off < 1e-3, "step {step}: {now}, stored {then}");
    }
}

#[test]
fn a_run_leaves_everything_needed_to_understand_it() {
    let dir = tempfile::tempdir().unwrap();
    train_on(2, dir.path(), &["train.steps=12"], &[]).success();
    let job = std::fs::read_to_string(dir.path().join("job.toml")).unwrap();
    assert!(
        job.contains("steps = 12") && job.contains("beta1 = 0.9"),
        "{job}"
    );
    let metrics = std::fs::read_to_string(dir.path().join("metrics.jsonl")).unwrap();
    assert!(
        metrics.contains("\"kl\"") && metrics.contains("\"cosine\""),
        "{metrics}"
    );
    assert!(dir.path().join("loss.svg").exists());
    for name in ["last.h5", "step-5.h5", "step-10.h5", "step-12.h5"] {
        assert!(dir.path().join("checkpoints").join(name).exists(), "{name}");
    }
}

/// Starts a long run and waits until its first checkpoint is there.
fn started(ranks: usize, out: &Path) -> Running {
    started_with(ranks, out, &[])
}

fn started_with(ranks: usize, out: &Path, sets: &[&str]) -> Running {
    let mut command = holosig_on(ranks);
    let sets = [&["train.steps=100000", "train.log_every=100"], sets].concat();
    train_args(&mut command, out, &sets);
    let running = start(&mut command);
    let begun = Instant::now();
    while !last(out).exists() {
        assert!(
            begun.elapsed() < LIMIT,
            "no checkpoint: {}",
            running.stderr()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    running
}

/// Processes that `mpirun` started.
fn ranks_of(running: &Running) -> Vec<String> {
    let pid = running.child.id();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().map(String::from).collect()
}

fn signal(name: &str, pids: &[String]) {
    // The shell's own `kill`: small systems have no such program.
    let status = Command::new("sh")
        .args(["-c", &format!("kill -{name} {}", pids.join(" "))])
        .status();
    assert!(status.unwrap().success());
}

/// Resumes a stopped run on another world, to some steps further, and compares the result with
/// an uninterrupted run of that length.
fn resumes_exactly(out: &Path, ranks: usize) {
    let (position, _) = Checkpoint::read(&last(out)).unwrap().training.unwrap();
    let steps = format!("train.steps={}", position.step + 7);
    train_on(ranks, out, &[&steps, "train.log_every=100"], &["--resume"]).success();
    let whole = tempfile::tempdir().unwrap();
    train_on(0, whole.path(), &[&steps], &[]).success();
    assert_eq!(hash(out), hash(whole.path()));
}

#[test]
fn killed_without_warning() {
    let dir = tempfile::tempdir().unwrap();
    let running = started(2, dir.path());
    signal("KILL", &ranks_of(&running)[..1]);
    let outcome = running.wait(LIMIT);
    assert_ne!(outcome.code, 0);
    let named = |l: &str| l.contains("rank 0 on ") && l.contains(" has died");
    assert!(outcome.stderr.lines().any(named), "{outcome:#?}");
    resumes_exactly(dir.path(), 4);
}

#[test]
fn asked_to_stop() {
    for name in ["TERM", "USR1", "INT"] {
        let dir = tempfile::tempdir().unwrap();
        let running = started(2, dir.path());
        // One rank hears of it; all stop after the same step.
        signal(name, &ranks_of(&running)[1..]);
        running
            .wait(LIMIT)
            .failure(75, "stopped by a signal after step");
        resumes_exactly(dir.path(), 3);
    }
}

#[test]
fn restart_auto_begins_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    // What was killed at its seventh step is begun once and gone on with.
    train_on(2, dir.path(), &["train.steps=40"], &["--restart", "auto"]).success();
    let newest = std::fs::read_dir(dir.path().join("checkpoints")).unwrap();
    for file in newest.map(|e| e.unwrap().path()) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if name == "last.h5" || name == "step-40.h5" {
            std::fs::remove_file(file).unwrap();
        }
    }
    train_on(2, dir.path(), &["train.steps=40"], &["--restart", "auto"]).success();
    train_on(2, dir.path(), &["train.steps=44"], &["--restart", "auto"])
        .failure(2, "--extend goes on beyond its end");
    assert_eq!(hash(dir.path()), reference());
}

#[test]
fn a_damaged_checkpoint_is_named_and_skipped() {
    let dir = tempfile::tempdir().unwrap();
    train_on(0, dir.path(), &["train.steps=30"], &[]).success();
    flip_byte(&last(dir.path()), 4000);
    let outcome = train_on(
        2,
        dir.path(),
        &["train.steps=40"],
        &["--resume", "--extend"],
    )
    .success();
    assert!(outcome.stderr.contains("last.h5: damaged"), "{outcome:#?}");
    assert!(outcome.stderr.contains("resuming from") && outcome.stderr.contains("step-25.h5"));
    assert_eq!(hash(dir.path()), reference());
}

/// The checkpoint that is also the best is damaged: the end of the run tests the best all the same.
#[test]
fn the_best_is_tested_though_its_checkpoint_was_damaged() {
    let dir = tempfile::tempdir().unwrap();
    train_on(0, dir.path(), &["train.steps=40"], &[]).success();
    let scores = || std::fs::read_to_string(dir.path().join("scores.json")).unwrap();
    let before = scores();
    let checkpoints = dir.path().join("checkpoints");
    let best = Checkpoint::read(&checkpoints.join("best.h5")).unwrap();
    let step = best.training.unwrap().0.step;
    flip_byte(&checkpoints.join(format!("step-{step}.h5")), 4000);
    train_on(2, dir.path(), &["train.steps=40"], &["--resume"]).success();
    assert_eq!(scores(), before);
    assert_eq!(hash(dir.path()), reference());
}

/// A mistake is told in one line by one rank, and every rank ends.
#[test]
fn mistakes_are_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let told = |sets: &[&str], options: &[&str], code, text| {
        let told = train_on(2, &out, sets, options).failure(code, text);
        // Heartbeats wait for a folder without a word.
        assert!(!told.stderr.contains("no heartbeat"), "{told:#?}");
    };
    told(
        &["train.stepps=3"],
        &[],
        2,
        "job.toml: unknown key train.stepps; did you mean train.steps?",
    );
    told(
        &["train.steps=\"x\""],
        &[],
        2,
        "train.steps: invalid type: string \"x\", expected u64",
    );
    told(
        &["train.slices=3"],
        &[],
        2,
        "train.slices = 3: a power of two is needed",
    );
    told(
        &["train.slices=1"],
        &[],
        2,
        "train.slices = 1 is too few for 2 ranks",
    );
    told(&["train.batch=0"], &[], 2, "train.batch = 0");
    told(
        &["loss.kll=0.5"],
        &[],
        2,
        "loss.kll: the model has no such term; its terms are reconstruction, kl",
    );
    told(&["loss.kl=-0.5"], &[], 2, "loss.kl = -0.5");
    told(
        &["loss.kl=much"],
        &[],
        2,
        "loss.kl: invalid type: string \"much\", expected a number, or { weight, start, warmup }",
    );
    told(
        &["train.learning_rate=-1.0"],
        &[],
        2,
        "train.learning_rate = -1",
    );
    told(
        &["data.dataset=/nowhere/d.h5"],
        &[],
        2,
        "/nowhere/d.h5: no such file",
    );
    let job = bench().join("job.toml");
    let not_a_dataset = format!("data.dataset={}", job.display());
    told(&[&not_a_dataset], &[], 2, "job.toml: not an HDF5 file");
    let damaged = dir.path().join("damaged.h5");
    std::fs::copy(bench().join("dataset.h5"), &damaged).unwrap();
    flip_byte(&damaged, 9000);
    let set = format!("data.dataset={}", damaged.display());
    told(
        &[&set],
        &[],
        2,
        "damaged.h5: damaged: its content does not match its checksum",
    );
    told(&[], &["--resume"], 2, "no checkpoint to resume from");
}

#[test]
fn a_run_folder_is_never_overwritten_or_mixed() {
    let dir = tempfile::tempdir().unwrap();
    train_on(2, dir.path(), &["train.steps=6"], &[]).success();
    let before = hash(dir.path());
    let told = |sets: &[&str], options: &[&str], text| {
        train_on(2, dir.path(), sets, options).failure(2, text);
    };
    told(&["train.steps=9"], &[], "holds a run already");
    let other = format!("data.dataset={}", bench().join("other.h5").display());
    told(
        &["train.steps=9", &other],
        &["--resume"],
        "the dataset has changed",
    );
    told(
        &["train.steps=9", "model.latent_dim=5"],
        &["--resume"],
        "model.latent_dim = 4, the job now says 5",
    );
    assert_eq!(hash(dir.path()), before);
    let inside_a_file = bench().join("job.toml").join("run");
    train_on(2, &inside_a_file, &[], &[]).failure(2, "Not a directory");
}

/// A limit on the size of files plays the full disk; MPI's own files must still fit.
#[test]
fn a_full_disk_leaves_no_half_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("bash");
    command.args(["-c", "trap '' XFSZ; ulimit -f 6000; exec \"$0\" \"$@\""]);
    command.arg(env!("CARGO_BIN_EXE_holosig"));
    train_args(&mut command, dir.path(), &["model.channels=[128,128,128]"]);
    run(&mut command).failure(1, "step-5.h5: File too large");
    // Nothing is in the folder of checkpoints, so that it went, too.
    assert!(!dir.path().join("checkpoints").exists());
}

#[test]
fn a_sweep_of_autoencoders_has_their_losses_as_scores() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dir.path().join("three.h5");
    let split = [
        ("pdb1ubi.pdb", Split::Validation),
        ("6WQA.cif.gz", Split::Train),
        ("1orc.pdb", Split::Test),
    ];
    pack(&split, &dataset);
    let out = dir.path().join("sweep");
    let mut command = holosig_on(2);
    command.arg("sweep").arg(bench().join("job.toml"));
    command.args(["--set", "train.steps=2", "--set"]);
    command.arg(format!("data.dataset={}", dataset.display()));
    command.args(["--grid", "model.latent_dim=2,4", "--repeats", "2", "--out"]);
    let told = run(command.arg(&out)).success();
    assert!(told.stdout.contains("±"), "{told:#?}");
    let rows = std::fs::read_to_string(out.join("results.csv")).unwrap();
    let lines: Vec<&str> = rows.lines().collect();
    assert_eq!(lines.len(), 5);
    let names: Vec<&str> = lines[0].split(',').collect();
    let column = |name: &str| names.iter().position(|n| *n == name);
    for name in ["test.cosine", "validation.objective"] {
        let column = column(name).unwrap_or_else(|| panic!("{name} in {names:?}"));
        let value = |line: &str| line.split(',').nth(column).unwrap().parse::<f64>();
        assert!(lines[1..].iter().all(|l| value(l).unwrap().is_finite()));
    }

    // Nothing to validate or test with: the last model, and no scores of it.
    let run_folder = dir.path().join("train-only");
    let other = format!("data.dataset={}", bench().join("other.h5").display());
    train_on(2, &run_folder, &["train.steps=2", &other], &[]).success();
    let scores = std::fs::read_to_string(run_folder.join("scores.json")).unwrap();
    let scores: serde_json::Value = serde_json::from_str(&scores).unwrap();
    assert_eq!(scores["step"], 2);
    assert_eq!(scores["validation"], serde_json::json!({}));
    assert!(scores.get("test").is_none());
    let folds = ["--folds", "all", "--out"];
    let mut command = holosig();
    command
        .arg("sweep")
        .arg(bench().join("job.toml"))
        .args(folds);
    run(command.arg(dir.path().join("folds")))
        .failure(2, "samples of an H-(V)AE model are not dealt to folds");
}
