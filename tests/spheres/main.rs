//! Images and shapes from files to pages: the same in every world, and one clear line for every
//! mistake.

#[path = "../common/mod.rs"]
mod common;
mod prepared;

use common::{holosig, holosig_on, made_once, run, training};
use holosig::comm::World;
use holosig::data::Split;
use holosig::data::spheres::Spheres;
use holosig::data::spheres::images::glyphs;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

const JOB: &str = r#"
task = "spheres"

[data]
dataset = "glyphs.h5"

[model]
latent_dim = 4
channels = [6, 6, 6]
degrees = [4, 2, 1]
variational = true
UNCONSTRAINED

[train]
seed = 3
batch = 40
slices = 4
steps = 120
learning_rate = 4e-3

[loss]
kl = 0.05
"#;

/// A folder with idx files of glyphs, the dataset made of them, and a trained model.
fn bench() -> &'static Path {
    static BENCH: OnceLock<TempDir> = OnceLock::new();
    made_once(&BENCH, |dir| {
        write_idx(dir, "train", 400, 1);
        write_idx(dir, "test", 100, 2);
        run(prepare(dir, &mut holosig()).arg(dir.join("glyphs.h5"))).success();
        let job = dir.join("job.toml");
        std::fs::write(&job, JOB.replace("UNCONSTRAINED", "")).unwrap();
        run(&mut training(0, &job, &dir.join("run"), &[])).success();
    })
}

fn write_idx(folder: &Path, name: &str, count: usize, seed: u64) {
    let images = glyphs(count, seed);
    let words = |words: &[u32]| {
        words
            .iter()
            .flat_map(|w| w.to_be_bytes())
            .collect::<Vec<u8>>()
    };
    let n = count as u32;
    let pixels = [words(&[0x0803, n, 28, 28]), images.pixels].concat();
    std::fs::write(folder.join(format!("{name}-images")), pixels).unwrap();
    let labels = images
        .labels
        .iter()
        .map(|l| l.parse::<u8>().unwrap())
        .collect();
    std::fs::write(
        folder.join(format!("{name}-labels")),
        [words(&[0x0801, n]), labels].concat(),
    )
    .unwrap();
}

/// `prepare images` of the files in `folder`, up to the name of the output.
fn prepare<'a>(
    folder: &Path,
    command: &'a mut std::process::Command,
) -> &'a mut std::process::Command {
    command
        .args(["prepare", "images"])
        .arg(folder.join("train-images"));
    command.arg("--labels").arg(folder.join("train-labels"));
    command.arg("--test").arg(folder.join("test-images"));
    command.arg("--test-labels").arg(folder.join("test-labels"));
    command.args(["--bandwidth", "12", "--lmax", "4", "--seed", "5", "--out"])
}

#[test]
fn a_model_learns_and_its_bits_do_not_depend_on_ranks() {
    let dir = tempfile::tempdir().unwrap();
    let job = bench().join("job.toml");
    let out = dir.path().join("run");
    run(holosig_on(2).arg("train").arg(job).arg("--out").arg(&out)).success();
    let hash = |run_folder: &Path| {
        run(holosig()
            .arg("hash")
            .arg(run_folder.join("checkpoints/last.h5")))
        .success()
        .stdout
    };
    assert_eq!(hash(&out), hash(&bench().join("run")));
}

#[test]
fn evaluation_knows_more_than_chance_and_is_the_same_on_two_ranks() {
    let dir = tempfile::tempdir().unwrap();
    let evaluate = |mut command: std::process::Command, name: &str| -> Value {
        let out = dir.path().join(name);
        command
            .arg("evaluate")
            .arg(bench().join("run"))
            .arg("--dataset")
            .arg(bench().join("glyphs.h5"));
        command.arg("--out").arg(&out);
        let notes = out.join("embeddings-0.h5");
        std::fs::create_dir(&out).unwrap();
        std::fs::write(&notes, "my notes\n").unwrap();
        run(&mut command).failure(2, "embeddings-0.h5: is there already");
        std::fs::remove_file(notes).unwrap();
        run(&mut command).success();
        let text = std::fs::read_to_string(out.join("evaluation.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let alone = evaluate(holosig(), "alone");
    let two = evaluate(holosig_on(2), "two");
    assert_eq!(
        alone["spheres"][0]["knowledge"],
        two["spheres"][0]["knowledge"]
    );
    let e = &alone["spheres"][0];
    let number = |v: &Value| v.as_f64().unwrap();
    assert_eq!(
        (e["samples"].as_u64(), e["fitted"].as_u64()),
        (Some(100), Some(400))
    );
    // Ten classes, tried in other rotations than the model was trained in.
    assert!(number(&e["knowledge"]["nearest"]) > 0.3, "{e}");
    assert!(number(&e["reconstruction"]["cosine"]) < 0.5, "{e}");
    let f64_error = number(&e["equivariance"][1]["reconstruction"]["error"]);
    assert!(f64_error < 1e-6, "{f64_error}");
    assert_eq!(e["classes"].as_array().unwrap().len(), 10);
}

#[test]
fn a_decoder_makes_pictures_and_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("generated");
    let mut generate = holosig();
    generate
        .arg("generate")
        .arg(bench().join("run"))
        .arg("--dataset")
        .arg(bench().join("glyphs.h5"));
    generate.args([
        "--samples",
        "4",
        "--inputs",
        "3",
        "--steps",
        "5",
        "--between",
        "7",
        "12",
    ]);
    generate.arg("--out").arg(&out);
    let notes = out.join("generated.html");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(&notes, "my notes\n").unwrap();
    run(&mut generate).failure(2, "generated.html: is there already");
    assert_eq!(std::fs::read_to_string(&notes).unwrap(), "my notes\n");
    std::fs::remove_file(notes).unwrap();
    run(&mut generate).success();
    let file = hdf5::File::open(out.join("generated.h5")).unwrap();
    let shape = |name: &str| file.dataset(name).unwrap().shape();
    assert_eq!(shape("samples/coefficients"), [4, 25]);
    assert_eq!(shape("interpolation/z"), [5, 4]);
    assert_eq!(shape("reconstruction/coefficients"), [6, 25]);
    assert_eq!(shape("canonical/coefficients"), [20, 25]);
    // The four ways to rebuild a turned signal agree.
    let rows: Vec<f32> = file
        .dataset("equivariance/coefficients")
        .unwrap()
        .read_raw()
        .unwrap();
    let ways: Vec<&[f32]> = rows.chunks(3 * 25).skip(1).collect();
    let largest = ways[0].iter().fold(0f32, |m, v| m.max(v.abs()));
    for way in &ways[1..] {
        way.iter()
            .zip(ways[0])
            .for_each(|(a, b)| assert!((a - b).abs() < 1e-3 * largest));
    }
    for name in [
        "samples",
        "interpolation",
        "reconstruction",
        "canonical",
        "equivariance",
    ] {
        let bytes = std::fs::read(out.join(format!("{name}.png"))).unwrap();
        assert!(bytes.starts_with(b"\x89PNG"));
    }
    let page = std::fs::read_to_string(out.join("generated.html")).unwrap();
    assert_eq!(page.matches("data:image/png;base64").count(), 5);
    assert!(page.contains("<h1>Generated signals</h1>"));
}

#[test]
fn an_unconstrained_decoder_is_trained_and_turns_with_its_input() {
    let dir = tempfile::tempdir().unwrap();
    let job = bench().join("unconstrained.toml");
    std::fs::write(
        &job,
        JOB.replace("UNCONSTRAINED", "unconstrained = [16, 16]"),
    )
    .unwrap();
    let out = dir.path().join("run");
    run(holosig()
        .arg("train")
        .arg(job)
        .arg("--out")
        .arg(&out)
        .args(["--set", "train.steps=10"]))
    .success();
    let evaluation = dir.path().join("evaluation");
    let mut evaluate = holosig();
    evaluate
        .arg("evaluate")
        .arg(out)
        .arg("--dataset")
        .arg(bench().join("glyphs.h5"));
    run(evaluate.arg("--out").arg(&evaluation)).success();
    let text = std::fs::read_to_string(evaluation.join("evaluation.json")).unwrap();
    let record: Value = serde_json::from_str(&text).unwrap();
    let error = &record["spheres"][0]["equivariance"][1]["reconstruction"]["error"];
    assert!(error.as_f64().unwrap() < 1e-9, "{error}");
}

/// Trains a job on the glyphs.
fn trained(job: &str, out: &Path, more: &[&str]) -> common::Outcome {
    let path = out.with_extension("toml");
    let data = bench().join("glyphs.h5");
    std::fs::write(&path, job).unwrap();
    let mut train = holosig();
    train.arg("train").arg(path).arg("--out").arg(out);
    train
        .arg("--set")
        .arg(format!("data.dataset={}", data.display()));
    run(train.args(more))
}

const CLASSIFIER: &str = r#"
task = "sphere-classes"

[data]
dataset = "glyphs.h5"

[model]
channels = [8, 8, 8]
degrees = [4, 2, 0]

[train]
seed = 3
batch = 40
slices = 4
steps = 150
learning_rate = 1e-2
"#;

#[test]
fn a_classifier_finds_the_labels_of_what_a_conditional_model_samples() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    trained(CLASSIFIER, &path("classifier"), &[]).success();
    let scores = std::fs::read_to_string(path("classifier").join("scores.json")).unwrap();
    let scores: Value = serde_json::from_str(&scores).unwrap();
    // In other rotations than it was trained in.
    let accuracy = scores["test"]["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.4, "{scores}");
    let job = JOB.replace("UNCONSTRAINED", "conditions = 10");
    trained(
        &job,
        &path("conditional"),
        &["--set", "train.steps=200", "--set", "loss.kl=0.5"],
    )
    .success();
    let generate = |checkpoint: &Path, name: &str| {
        let mut generate = holosig();
        generate.arg("generate").arg(checkpoint);
        generate.arg("--classifier").arg(path(name));
        generate.arg("--dataset").arg(bench().join("glyphs.h5"));
        run(generate
            .args(["--samples", "20", "--force", "--out"])
            .arg(path("generated")))
    };
    let told = generate(&path("conditional"), "classifier")
        .success()
        .stdout;
    let share = told.split("finds the label of ").nth(1).unwrap();
    let share: f64 = share.split(' ').next().unwrap().parse().unwrap();
    // Ten labels: chance is 0.1, 0.02 to either side.
    assert!(share > 0.2, "{told}");
    let file = hdf5::File::open(path("generated").join("generated.h5")).unwrap();
    let shape = |name: &str| file.dataset(name).unwrap().shape();
    assert_eq!(shape("samples/coefficients"), [200, 25]);
    assert_eq!(shape("samples/z"), [200, 14]);
    generate(&bench().join("run"), "classifier").failure(2, "the model is not conditional");
    generate(&path("conditional"), "conditional").failure(2, "not a classifier of signals");
    // The label of a signal is part of what is decoded, in evaluations, too.
    let mut evaluate = holosig();
    evaluate.arg("evaluate").arg(path("conditional"));
    evaluate.arg("--dataset").arg(bench().join("glyphs.h5"));
    run(evaluate.arg("--out").arg(path("evaluation"))).success();
    let text = std::fs::read_to_string(path("evaluation").join("evaluation.json")).unwrap();
    let record: Value = serde_json::from_str(&text).unwrap();
    let error = &record["spheres"][0]["equivariance"][1]["reconstruction"]["error"];
    assert!(error.as_f64().unwrap() < 1e-6, "{error}");
}

#[test]
fn settings_that_do_not_fit_the_labels_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let job = JOB.replace("UNCONSTRAINED", "conditions = 3");
    trained(&job, &out, &[]).failure(2, "model.conditions = 3, but the signals have 10 classes");
    let job = CLASSIFIER.replace("[4, 2, 0]", "[4, 2, 1]");
    trained(&job, &out, &[]).failure(2, "the last entry must be 0");
    let job = CLASSIFIER.replace("[4, 2, 0]", "[9, 2, 0]");
    trained(&job, &out, &[]).failure(2, "degrees[0] = 9, but block 0 can reach at most 8");
    let bare = dir.path().join("bare.h5");
    let mut images = holosig();
    images
        .args(["prepare", "images"])
        .arg(bench().join("train-images"));
    run(images
        .args(["--bandwidth", "12", "--lmax", "4", "--out"])
        .arg(&bare))
    .success();
    let bare = format!("data.dataset={}", bare.display());
    trained(CLASSIFIER, &out, &["--set", &bare]).failure(2, "bare.h5: 0: no label");
}

#[test]
fn signals_take_no_noise_on_coordinates() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let autoencoder = JOB.replace("UNCONSTRAINED", "");
    for (job, task) in [(&*autoencoder, "spheres"), (CLASSIFIER, "sphere-classes")] {
        let words = format!("train.coordinate_noise: the samples of task {task} take no noise");
        let noise = ["--set", "train.coordinate_noise=0.1"];
        trained(job, &out, &noise).failure(2, &words);
        assert!(!out.exists());
    }
}
