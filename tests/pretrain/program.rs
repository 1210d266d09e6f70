//! Jobs of the task `pretrain`, and jobs that start from them.

use crate::OBJECTIVES;
use crate::common::{Outcome, hash, holosig, made_once, run, start, training};
use crate::molecules::{molecules, sdf};
use holosig::models::state_dict::StateDict;
use holosig::train::Checkpoint;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(600);

const MODEL: &str = r#"
[model]
network = "schnet"
width = 8
filters = 8
layers = 2
radial = 6
cutoff = 4.0
elements = 12

[train]
seed = 3
batch = 16
slices = 4
steps = 12
learning_rate = 3e-3
checkpoint_every = 4
log_every = 1
"#;

/// A folder with a dataset of molecules with bonds, made once.
fn bench() -> &'static Path {
    static BENCH: OnceLock<TempDir> = OnceLock::new();
    made_once(&BENCH, |dir| {
        let file = dir.join("molecules.sdf");
        std::fs::write(&file, sdf(&molecules(60))).unwrap();
        let mut prepare = holosig();
        prepare.args(["prepare", "systems"]).arg(file);
        prepare.args(["--validation", "8", "--test", "8", "--out"]);
        run(prepare.arg(dir.join("systems.h5"))).success();
    })
}

fn job(number: usize) -> PathBuf {
    let (name, settings) = OBJECTIVES[number];
    let target = if name == "supervised" {
        "target = \"size\"\n"
    } else {
        ""
    };
    let text = format!(
        "task = \"pretrain\"\n[data]\ndataset = \"systems.h5\"\n{target}\
         [objective]\nname = {name:?}\n{settings}\n{MODEL}"
    );
    let path = bench().join(format!("job-{number}.toml"));
    std::fs::write(&path, text).unwrap();
    path
}

fn train(ranks: usize, job: &Path, out: &Path, more: &[&str]) -> Outcome {
    start(training(ranks, job, out, &[]).args(more)).wait(LIMIT)
}

#[test]
fn every_objective_gives_the_same_bits_on_any_ranks_and_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    for (number, of) in OBJECTIVES.into_iter().enumerate() {
        let job = job(number);
        let folder = |name: &str| dir.path().join(format!("{number}-{name}"));
        let killed = folder("killed");
        let last = killed.join("checkpoints/last.h5");
        let mut command = holosig();
        command.arg("train").arg(&job).arg("--out").arg(&killed);
        command.args(["--set", "train.steps=100000"]);
        let mut running = start(&mut command);
        let begun = Instant::now();
        while !last.exists() {
            assert!(begun.elapsed() < LIMIT, "{of:?}: {}", running.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
        running.child.kill().unwrap();
        assert_ne!(running.wait(LIMIT).code, 0);
        let checkpoint = Checkpoint::read(&last).unwrap();
        let steps = checkpoint.training.unwrap().0.step + 3;
        let steps = format!("train.steps={steps}");
        let set = ["--set", steps.as_str()];
        train(4, &job, &killed, &[set[0], set[1], "--resume"]).success();
        let expected = hash(&killed);
        for ranks in [0, 2] {
            let whole = folder(&format!("on-{ranks}"));
            train(ranks, &job, &whole, &set).success();
            assert_eq!(hash(&whole), expected, "{of:?} on {ranks} ranks");
        }
    }
}

#[test]
fn a_task_starts_from_a_pretrained_network() {
    let dir = tempfile::tempdir().unwrap();
    // The last objective has parameters and batch norms of its own.
    let pretrained = dir.path().join("pretrained");
    train(0, &job(OBJECTIVES.len() - 1), &pretrained, &[]).success();
    let checkpoint = pretrained.join("checkpoints/last.h5");
    let text =
        format!("task = \"systems\"\n[data]\ndataset = \"systems.h5\"\ntarget = \"size\"\n{MODEL}");
    let job = bench().join("fine-tune.toml");
    std::fs::write(&job, text).unwrap();
    let init = format!("train.init={}", checkpoint.display());
    let set = ["--set", init.as_str()];
    let mut hashes = Vec::new();
    for ranks in [0, 2] {
        let out = dir.path().join(format!("tuned-{ranks}"));
        let told = train(ranks, &job, &out, &set).success();
        assert!(told.stdout.contains("head.weight"), "{told:#?}");
        hashes.push(hash(&out));
    }
    assert_eq!(hashes[0], hashes[1]);
    let scratch = dir.path().join("scratch");
    train(0, &job, &scratch, &[]).success();
    assert_ne!(hash(&scratch), hashes[0]);
    // Nothing but the head moves.
    let frozen = dir.path().join("frozen");
    let freeze = [set[0], set[1], "--set", "train.freeze=[\"model.*\"]"];
    train(0, &job, &frozen, &freeze).success();
    let exported = |run: &Path, name: &str| {
        let out = dir.path().join(name);
        let last = run.join("checkpoints/last.h5");
        run_export(&last, &out);
        std::fs::read(out).unwrap()
    };
    let before = exported(&pretrained, "before.safetensors");
    assert_eq!(before, exported(&frozen, "frozen.safetensors"));
    assert_ne!(
        before,
        exported(&dir.path().join("tuned-0"), "tuned.safetensors")
    );
    let names = StateDict::open(&dir.path().join("before.safetensors"))
        .unwrap()
        .names();
    assert!(
        names.contains(&"interactions.1.mlp.0.weight".to_string()),
        "{names:?}"
    );
    assert!(
        names.iter().all(|n| !n.starts_with("objective")),
        "{names:?}"
    );
    // The exported weights are the same start, under the names of the released code.
    let weights = format!(
        "train.init={}",
        dir.path().join("before.safetensors").display()
    );
    let set_weights = ["--set", weights.as_str()];
    for ranks in [0, 2] {
        let out = dir.path().join(format!("weights-{ranks}"));
        let told = train(ranks, &job, &out, &set_weights).success();
        assert!(told.stdout.contains("drawn anew: head."), "{told:#?}");
        assert_eq!(hash(&out), hashes[0], "{ranks} ranks");
    }
    let drawn = dir.path().join("drawn");
    let fresh = ["--set", "train.fresh=[\"model.embedding.*\"]"];
    train(2, &job, &drawn, &[&set_weights[..], &fresh].concat()).success();
    assert_ne!(hash(&drawn), hashes[0]);
    let wide = ["--set", "model.width=16"];
    train(
        2,
        &job,
        &dir.path().join("misfit"),
        &[&set_weights[..], &wide].concat(),
    )
    .failure(2, "before.safetensors: tensor embedding.weight has shape");
    // A network of other sizes is refused by name.
    let other = dir.path().join("other");
    let wide = [set[0], set[1], "--set", "model.width=16"];
    let told = train(0, &job, &other, &wide).failure(2, "has shape");
    assert!(told.stderr.contains("model.embedding.weight"), "{told:#?}");
}

fn run_export(checkpoint: &Path, out: &Path) {
    let mut export = holosig();
    run(export.arg("export").arg(checkpoint).arg(out)).success();
}

#[test]
fn mistakes_are_told_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let told = |number: usize, more: &[&str], words: &str| {
        let out = dir.path().join("out");
        train(2, &job(number), &out, more).failure(2, words);
    };
    told(
        1,
        &["--set", "objective.masking=2.0"],
        "objective.masking = 2: must be above 0",
    );
    told(1, &["--set", "objective.mask=0.2"], "mask");
    told(
        4,
        &["--set", "train.slices=16"],
        "at least two in each are needed",
    );
    told(
        8,
        &["--set", "objective.levels.smallest=-1.0"],
        "objective.levels.smallest",
    );
    told(0, &["--set", "data.target=\"mass\""], "mass");
    told(
        1,
        &["--set", "model.elements=8"],
        "model.elements must be above",
    );
    told(
        1,
        &["--set", "train.coordinate_noise=0.1"],
        "train.coordinate_noise: the samples of task pretrain take no noise",
    );
}
