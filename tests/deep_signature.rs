//! Deep Signature through the program: simulated networks to a tested model, the same bits in
//! every world and after any stop; and sweeps of such runs.

mod common;

use common::{Outcome, holosig, holosig_on, made_once, run, start, training};
use holosig::comm::World;
use holosig::data::trajectory::Dataset;
use holosig::store::{self, Kind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const JOB: &str = r#"
task = "deep-signature"

[data]
dataset = "grd.h5"
scale = 0.1

[model]
clusters = 5
hidden = 6
lstm = 16

[train]
seed = 3
batch = 14
slices = 4
steps = 12
learning_rate = 1e-3
checkpoint_every = 2
log_every = 1
"#;

const LIMIT: Duration = Duration::from_secs(240);

/// A folder with a job and data, made once.
fn bench() -> &'static Path {
    static BENCH: OnceLock<TempDir> = OnceLock::new();
    made_once(&BENCH, |dir| {
        std::fs::write(dir.join("job.toml"), JOB).unwrap();
        let mut command = holosig();
        command.args(["prepare", "grd", "--nodes", "25", "--trajectories", "12"]);
        command.args(["--ticks", "121", "--segments", "2x3", "--folds", "3"]);
        run(command.arg("--out").arg(dir.join("grd.h5"))).success();
    })
}

fn train_on(ranks: usize, out: &Path, sets: &[&str], options: &[&str]) -> Outcome {
    let mut command = training(ranks, &bench().join("job.toml"), out, sets);
    start(command.args(options)).wait(LIMIT)
}

/// Hashes of the last and the best model, and the test's scores.
fn result(out: &Path) -> [String; 3] {
    let hash = |name: &str| {
        let file: PathBuf = out.join("checkpoints").join(name);
        run(holosig().arg("hash").arg(file)).success().stdout
    };
    let scores = std::fs::read_to_string(out.join("scores.json")).unwrap();
    [hash("last.h5"), hash("best.h5"), scores]
}

#[test]
fn every_world_and_every_stop_gives_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let alone = dir.path().join("alone");
    let outcome = train_on(0, &alone, &[], &[]).success();
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
    let mut command = training(0, &bench().join("job.toml"), &threads, &[]);
    run(command.env("RAYON_NUM_THREADS", "3")).success();
    assert_eq!(result(&threads), reference, "three threads");

    let stopped = dir.path().join("stopped");
    train_on(2, &stopped, &["train.steps=5"], &[]).success();
    train_on(4, &stopped, &[], &["--resume", "--extend"]).success();
    assert_eq!(result(&stopped), reference, "stopped and resumed");
    let seed = dir.path().join("seed");
    train_on(2, &seed, &["train.seed=4"], &[]).success();
    assert_ne!(result(&seed)[0], reference[0]);
}

#[test]
fn a_killed_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let steps = ["train.steps=100000"];
    let mut command = training(2, &bench().join("job.toml"), dir.path(), &steps);
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
    let out = dir.path().join("published");
    let sets = ["model.variant=published", "train.steps=2"];
    train_on(2, &out, &sets, &[]).success();
    assert!(result(&out)[2].contains("auroc"));
}

#[test]
fn mistakes_are_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let told = |sets: &[&str], text| {
        train_on(2, &dir.path().join("run"), sets, &[]).failure(2, text);
    };
    told(
        &["task=deep"],
        "task = \"deep\": known are \"hvae\", \"deep-signature\"",
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
        &["model.variant=published", "model.segments=3"],
        "cannot be cut into 3 equal segments by the published variant",
    );
    told(&["data.fold=3"], "fold 3: ");
    told(&["data.goal=value"], "is not a number, as regression needs");
    told(&["data.scale=-1.0"], "data.scale = -1");
    told(&["loss.mincut=-1.0"], "loss.mincut = -1");
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
    let told = embed(holosig(), &one, &[]).success();
    assert!(
        told.stdout
            .ends_with("one.h5: 12 trajectories, 72 segments\n"),
        "{told:#?}"
    );
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

    // Six segments of each trajectory.
    let segments = store::open(&one, Kind::Embeddings).unwrap();
    let segments = segments.group("segment").unwrap();
    let [names, labels] = ["trajectory", "label"].map(|n| segments.read_strings(n).unwrap());
    assert_eq!((names.len(), labels.len()), (72, 72));
    let data = Dataset::open(&World::alone(), &bench().join("grd.h5")).unwrap();
    for (id, (name, label)) in names.into_iter().zip(labels).enumerate() {
        let of = data.trajectory_of(id as u32);
        assert_eq!((&of.name, of.label.as_ref()), (&name, Some(&label)));
    }
    let told = run(holosig().arg("inspect").arg(&one)).success().stdout;
    for (name, shape) in [("prediction", "[72, 1]"), ("clusters/level1", "[1800]")] {
        let row = format!("{name:<20} {shape}");
        assert!(told.lines().any(|l| l == row), "{row}: {told}");
    }

    let plots = dir.path().join("plots");
    let drawn = dir.path().join("drawn.h5");
    embed(holosig_on(2), &drawn, &["--plots", plots.to_str().unwrap()]).success();
    assert!(std::fs::read(&one).unwrap() == std::fs::read(&drawn).unwrap());
    let mut names: Vec<String> = std::fs::read_dir(&plots)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let starts: Vec<&str> = names
        .iter()
        .map(|n| n.split("-segment").next().unwrap())
        .collect();
    let [a, b] = ["class-0-degradation", "class-1-dimerisation"];
    assert_eq!(starts, [a, a, a, b, b, b], "{names:?}");
    let svg = |end: &str| {
        let name = names.iter().find(|n| n.ends_with(end)).unwrap();
        std::fs::read_to_string(plots.join(name)).unwrap()
    };
    assert!(svg("path.svg").contains("bead 4") && svg("path.svg").contains("value of the bead"));
    assert!(svg("beads.svg").contains("gradient x input"));
    assert!(svg("nodes.svg").contains("node "));

    let page = run(holosig().arg("report").arg(&trained)).success();
    assert!(page.stdout.contains("report.html"));
    let page = std::fs::read_to_string(trained.join("report.html")).unwrap();
    for text in [
        "test accuracy",
        "classes.dimerisation.f1",
        "samples per second",
    ] {
        assert!(page.contains(text), "{text}");
    }

    let pdb = dir.path().join("pdb");
    let pdb = pdb.to_str().unwrap();
    let out = dir.path().join("three.h5");
    embed(holosig(), &out, &["--clusters-pdb", pdb]).failure(2, "its nodes are no atoms");
    assert!(!out.exists());
}

/// A sweep of two methods, three folds and two seeds.
fn sweep(mut command: Command, out: &Path, more: &[&str]) -> common::Running {
    command.arg("sweep").arg(bench().join("job.toml"));
    command.args([
        "--grid",
        "model.method=deep-signature,head",
        "--folds",
        "all",
    ]);
    command.args(["--repeats", "2", "--set", "train.steps=2", "--out"]);
    start(command.arg(out).args(more))
}

/// The file names of a folder and their ages, to see what was not touched.
fn scores_written(out: &Path) -> Vec<(PathBuf, std::time::SystemTime)> {
    let mut all: Vec<_> = std::fs::read_dir(out)
        .unwrap()
        .map(|e| e.unwrap().path().join("scores.json"))
        .filter_map(|p| Some((p.clone(), std::fs::metadata(p).ok()?.modified().ok()?)))
        .collect();
    all.sort();
    all
}

#[test]
fn a_sweep_is_shared_out_and_never_does_a_run_twice() {
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().join("shared");
    let told = sweep(holosig_on(2), &shared, &[]).wait(LIMIT).success();
    let table: Vec<&str> = told.stdout.lines().rev().take(4).collect();
    assert!(
        table[1].starts_with("head") && table[1].contains("±"),
        "{told:#?}"
    );
    assert!(table[2].starts_with("deep-signature  6 "), "{told:#?}");
    assert!(
        table[3].starts_with("model.method    runs  accuracy"),
        "{told:#?}"
    );
    let written = scores_written(&shared);
    assert_eq!(written.len(), 12);
    let rows = std::fs::read_to_string(shared.join("results.csv")).unwrap();
    assert_eq!(rows.lines().count(), 13);
    let page = std::fs::read_to_string(shared.join("report.html")).unwrap();
    assert!(page.contains("12 of 12 runs") && page.contains("<svg"));

    // In two parts, as a job array would: the same results, each run made once.
    let parts = dir.path().join("parts");
    let first = sweep(holosig(), &parts, &["--part", "0/2"]).wait(LIMIT);
    assert!(
        first
            .success()
            .stdout
            .contains("6 of 12 runs are not finished")
    );
    sweep(holosig(), &parts, &["--part", "1/2"])
        .wait(LIMIT)
        .success();
    let result = |folder: &Path, file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
    for file in ["results.csv", "results.json"] {
        assert_eq!(result(&shared, file), result(&parts, file));
    }

    // Again, with one run undone and one more repeat.
    let undone = shared.join("method-head_fold-2_seed-3/scores.json");
    std::fs::remove_file(&undone).unwrap();
    let mut again = holosig_on(2);
    again.arg("sweep").arg(bench().join("job.toml"));
    again.args([
        "--grid",
        "model.method=deep-signature,head",
        "--folds",
        "0,1,2",
    ]);
    again
        .args(["--repeats", "3", "--set", "train.steps=2", "--out"])
        .arg(&shared);
    run(&mut again).success();
    let now = scores_written(&shared);
    assert_eq!(now.len(), 18);
    let kept = written.iter().filter(|w| now.contains(w)).count();
    assert_eq!(kept, 11, "finished runs were made again");

    // The page alone, from what is there.
    std::fs::remove_file(shared.join("report.html")).unwrap();
    let page = run(holosig().arg("report").arg(&shared)).success();
    assert!(page.stdout.contains("deep-signature  9 "), "{page:#?}");
    assert!(shared.join("report.html").exists());
}

#[test]
fn a_killed_sweep_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let running = sweep(holosig_on(2), dir.path(), &[]);
    let begun = Instant::now();
    while scores_written(dir.path()).len() < 3 {
        assert!(begun.elapsed() < LIMIT, "{}", running.stderr());
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = running.child.id();
    let ranks = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let killed = Command::new("sh")
        .args(["-c", &format!("kill -KILL {ranks}")])
        .status();
    assert!(killed.unwrap().success());
    assert_ne!(running.wait(LIMIT).code, 0);
    let before = scores_written(dir.path());
    sweep(holosig(), dir.path(), &[]).wait(LIMIT).success();
    let after = scores_written(dir.path());
    assert_eq!(after.len(), 12);
    assert!(before.iter().all(|b| after.contains(b)));
}

#[test]
fn mistakes_of_sweeps_are_told_before_any_run() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("sweep");
    let told = |options: &[&str], text: &str| {
        let mut command = holosig_on(2);
        command
            .arg("sweep")
            .arg(bench().join("job.toml"))
            .arg("--out")
            .arg(&out);
        run(command.args(options)).failure(2, text);
        assert!(!out.exists(), "{text}");
    };
    told(
        &["--grid", "model.clustres=3,4"],
        "did you mean model.clusters?",
    );
    told(
        &["--grid", "model.method=head,tial"],
        "model.method: unknown variant `tial`",
    );
    told(&["--folds", "0,0"], "--folds 0,0: 0 is there twice");
    told(
        &["--folds", "all", "--grid", "data.fold=1"],
        "data.fold is varied twice",
    );
    told(&["--repeats", "0"], "--repeats 0");
    told(
        &["--grid", "data.dataset=a/b.h5,a-b.h5"],
        "would share the folder",
    );

    // What only shows in the run itself keeps no other run from being done.
    let mut command = holosig();
    command
        .arg("sweep")
        .arg(bench().join("job.toml"))
        .arg("--out")
        .arg(&out);
    command.args(["--set", "train.steps=1", "--grid", "model.segments=99,4"]);
    let outcome = run(&mut command).failure(1, "1 of 2 runs failed");
    assert!(
        outcome.stderr.contains("model.segments=99 train.seed=3: "),
        "{outcome:#?}"
    );
    assert!(
        outcome.stderr.contains("cannot be cut into 99 segments"),
        "{outcome:#?}"
    );
    assert!(
        outcome.stdout.contains("1 of 2 runs are not finished"),
        "{outcome:#?}"
    );
}

#[test]
fn deep_signature_models_are_not_exported() {
    let dir = tempfile::tempdir().unwrap();
    let trained = dir.path().join("run");
    train_on(1, &trained, &["train.steps=1"], &[]).success();
    let checkpoint = trained.join("checkpoints/last.h5");
    let out = dir.path().join("out.safetensors");
    run(holosig().arg("export").arg(&checkpoint).arg(&out)).failure(
        2,
        "a model of the task \"deep-signature\": only H-(V)AE models and networks of atoms",
    );
    let mut embed = holosig();
    embed
        .arg("embed")
        .arg(&checkpoint)
        .arg("--structures")
        .arg(&checkpoint);
    run(embed.arg("--out").arg(dir.path().join("e.h5"))).failure(2, "not an H-(V)AE model");
}

#[test]
fn shuffled_labels_are_the_same_labels_in_another_order() {
    let open = || Dataset::open(&World::alone(), &bench().join("grd.h5")).unwrap();
    let labels = |d: &Dataset| -> Vec<Option<String>> {
        d.trajectories().iter().map(|t| t.label.clone()).collect()
    };
    let (plain, mut shuffled) = (open(), open());
    shuffled.shuffle_labels(3);
    assert_ne!(labels(&plain), labels(&shuffled));
    let sorted = |d: &Dataset| {
        let mut all = labels(d);
        all.sort();
        all
    };
    assert_eq!(sorted(&plain), sorted(&shuffled));
    // Every fold keeps its own.
    let of_folds = |d: &Dataset| {
        let mut all: Vec<_> = d
            .trajectories()
            .iter()
            .map(|t| (t.fold, t.label.clone()))
            .collect();
        all.sort();
        all
    };
    assert_eq!(of_folds(&plain), of_folds(&shuffled));
    let mut again = open();
    again.shuffle_labels(3);
    assert_eq!(labels(&again), labels(&shuffled));
}
