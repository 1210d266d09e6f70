//! Deep Signature through the program: simulated networks to a tested model, the same bits in
//! every world and after any stop.

mod common;

use common::{Outcome, holosig, holosig_on, run, start};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const JOB: &str = r#"
task = "deep-signature"

[data]
dataset = "grd.h5"
batch = 14
slices = 4
scale = 0.1

[model]
clusters = 5
hidden = 6
lstm = 16

[train]
seed = 3
steps = 12
learning_rate = 1e-3
checkpoint_every = 2
log_every = 1
"#;

const LIMIT: Duration = Duration::from_secs(240);

/// A folder with a job and data, made once.
fn bench() -> &'static Path {
    static BENCH: OnceLock<tempfile::TempDir> = OnceLock::new();
    BENCH
        .get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("job.toml"), JOB).unwrap();
            let mut command = holosig();
            command.args(["prepare", "grd", "--nodes", "25", "--trajectories", "12"]);
            command.args([
                "--ticks",
                "121",
                "--segments",
                "2x3",
                "--folds",
                "3",
                "--out",
            ]);
            run(command.arg(dir.path().join("grd.h5"))).success();
            dir
        })
        .path()
}

fn train(command: &mut Command, out: &Path, sets: &[&str]) {
    command
        .arg("train")
        .arg(bench().join("job.toml"))
        .arg("--out")
        .arg(out);
    for set in sets {
        command.args(["--set", set]);
    }
}

fn train_on(ranks: usize, out: &Path, sets: &[&str], options: &[&str]) -> Outcome {
    let mut command = holosig_on(ranks);
    train(&mut command, out, sets);
    start(command.args(options)).wait(LIMIT)
}

/// Hashes of the last and the best model, and the test's scores.
fn result(out: &Path) -> [String; 3] {
    let hash = |name: &str| {
        let file: PathBuf = out.join("checkpoints").join(name);
        run(holosig().arg("hash").arg(file)).success().stdout
    };
    let scores = std::fs::read_to_string(out.join("test.json")).unwrap();
    [hash("last.h5"), hash("best.h5"), scores]
}

#[test]
fn every_world_and_every_stop_gives_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let alone = dir.path().join("alone");
    let mut command = holosig();
    train(&mut command, &alone, &[]);
    let outcome = run(&mut command).success();
    assert!(
        outcome.stdout.contains("test: 24 segments, accuracy"),
        "{outcome:#?}"
    );
    assert!(
        outcome.stdout.contains("class dimerisation"),
        "{outcome:#?}"
    );
    let reference = result(&alone);

    for ranks in [2, 4] {
        let out = dir.path().join(ranks.to_string());
        train_on(ranks, &out, &[], &[]).success();
        assert_eq!(result(&out), reference, "{ranks} ranks");
    }
    let threads = dir.path().join("threads");
    let mut command = holosig();
    train(&mut command, &threads, &[]);
    run(command.env("RAYON_NUM_THREADS", "3")).success();
    assert_eq!(result(&threads), reference, "three threads");

    let stopped = dir.path().join("stopped");
    train_on(2, &stopped, &["train.steps=5"], &[]).success();
    train_on(4, &stopped, &[], &["--resume"]).success();
    assert_eq!(result(&stopped), reference, "stopped and resumed");
    let seed = dir.path().join("seed");
    train_on(2, &seed, &["train.seed=4"], &[]).success();
    assert_ne!(result(&seed)[0], reference[0]);
}

#[test]
fn a_killed_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = holosig_on(2);
    train(&mut command, dir.path(), &["train.steps=100000"]);
    let running = start(&mut command);
    let begun = Instant::now();
    let last = dir.path().join("checkpoints/last.h5");
    while !last.exists() {
        assert!(begun.elapsed() < LIMIT, "{}", running.stderr());
        std::thread::sleep(Duration::from_millis(10));
    }
    // One rank; mpirun ends the other.
    let pid = running.child.id();
    let ranks = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let first = ranks.split_whitespace().next().unwrap();
    let killed = Command::new("sh")
        .args(["-c", &format!("kill -KILL {first}")])
        .status();
    assert!(killed.unwrap().success());
    assert_ne!(running.wait(LIMIT).code, 0);
    let checkpoint = holosig::train::Checkpoint::read(&last).unwrap();
    let steps = format!("train.steps={}", checkpoint.training.unwrap().0.step + 7);
    train_on(4, dir.path(), &[&steps], &["--resume"]).success();
    let whole = tempfile::tempdir().unwrap();
    train_on(1, whole.path(), &[&steps], &[]).success();
    assert_eq!(result(dir.path()), result(whole.path()));
}

#[test]
fn every_method_trains_and_is_tested() {
    let dir = tempfile::tempdir().unwrap();
    let methods = [
        "head",
        "tail",
        "head-and-tail",
        "graph-lstm",
        "graph-transformer",
    ];
    for method in methods {
        let out = dir.path().join(method);
        let set = format!("model.method={method}");
        train_on(2, &out, &[&set, "train.steps=2"], &[]).success();
        assert!(result(&out)[2].contains("auroc"));
    }
}

#[test]
fn mistakes_are_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let told = |sets: &[&str], text| {
        train_on(2, &dir.path().join("run"), sets, &[]).failure(2, text);
    };
    told(
        &["task=deep"],
        "task = \"deep\": only \"deep-signature\" is known",
    );
    told(
        &["model.clustres=3"],
        "unknown key model.clustres; did you mean model.clusters?",
    );
    told(
        &["model.segments=99"],
        "a clip of 20 frames cannot be cut into 99 segments",
    );
    told(
        &["model.variant=published"],
        "cannot run on scalar node features",
    );
    told(&["data.fold=3"], "fold 3: ");
    told(&["data.goal=value"], "is not a number, as regression needs");
    told(&["data.scale=-1.0"], "data.scale = -1");
    told(&["train.weights.mincut=-1.0"], "train.weights.mincut = -1");
    told(
        &["model.depth=9", "model.clusters=50"],
        "set projection to fewer channels",
    );
}

#[test]
fn embeddings_of_trajectories() {
    let dir = tempfile::tempdir().unwrap();
    let trained = dir.path().join("run");
    train_on(2, &trained, &["train.steps=2"], &[]).success();
    let embed = |mut command: Command, out: &Path, more: &[&str]| {
        command
            .arg("embed")
            .arg(trained.join("checkpoints/best.h5"));
        command.arg("--trajectories").arg(bench().join("grd.h5"));
        run(command.arg("--out").arg(out).args(more))
    };
    let (one, two) = (dir.path().join("one.h5"), dir.path().join("two.h5"));
    embed(holosig(), &one, &[]).success();
    embed(holosig_on(2), &two, &[]).success();
    assert!(std::fs::read(&one).unwrap() == std::fs::read(&two).unwrap());

    let file = hdf5::File::open(&one).unwrap();
    let shape = |name: &str| file.dataset(name).unwrap().shape();
    // 12 trajectories of 2 x 3 segments; 5 channels to depth 2.
    assert_eq!(shape("signature"), [72, 4, 15]);
    assert_eq!(shape("prediction"), [72, 1]);
    for (level, clusters) in [("level1", 40), ("level2", 20), ("level3", 5)] {
        let data = file.dataset(&format!("clusters/{level}")).unwrap();
        let data = data.read_raw::<u32>().unwrap();
        assert_eq!(data.len(), 72 * 25);
        assert!(data.iter().all(|&c| c < clusters), "{level}");
    }
    let signatures = file
        .dataset("signature")
        .unwrap()
        .read_raw::<f32>()
        .unwrap();
    assert!(signatures.iter().any(|x| *x != 0.0));

    let pdb = dir.path().join("pdb");
    let pdb = pdb.to_str().unwrap();
    let out = dir.path().join("three.h5");
    embed(holosig(), &out, &["--clusters-pdb", pdb]).failure(2, "its nodes are no atoms");
    assert!(!out.exists());
}
