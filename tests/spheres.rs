//! Images and shapes from files to pages: the same in every world, and one clear line for every
//! mistake.

mod common;

use common::{holosig, holosig_on, run};
use holosig::comm::World;
use holosig::data::Split;
use holosig::data::spheres::Spheres;
use holosig::data::spheres::images::glyphs;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

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
    static BENCH: OnceLock<tempfile::TempDir> = OnceLock::new();
    BENCH
        .get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            write_idx(dir.path(), "train", 400, 1);
            write_idx(dir.path(), "test", 100, 2);
            run(prepare(dir.path(), &mut holosig()).arg(dir.path().join("glyphs.h5"))).success();
            std::fs::write(
                dir.path().join("job.toml"),
                JOB.replace("UNCONSTRAINED", ""),
            )
            .unwrap();
            run(holosig()
                .arg("train")
                .arg(dir.path().join("job.toml"))
                .arg("--out")
                .arg(dir.path().join("run")))
            .success();
            dir
        })
        .path()
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
fn images_are_the_same_for_any_number_of_ranks() {
    let dir = tempfile::tempdir().unwrap();
    let alone = std::fs::read(bench().join("glyphs.h5")).unwrap();
    for ranks in [1, 3] {
        let out = dir.path().join(format!("{ranks}.h5"));
        run(prepare(bench(), &mut holosig_on(ranks)).arg(&out)).success();
        assert!(std::fs::read(out).unwrap() == alone, "{ranks} ranks");
    }
    let data = Spheres::open(&World::alone(), &bench().join("glyphs.h5")).unwrap();
    let counts = Split::ALL.map(|s| data.split(s).len());
    assert_eq!(counts, [360, 40, 100]);
    // What was not rotated has one rotation; of the test ten share one.
    assert_eq!(data.labels()[..12], glyphs(12, 1).labels);
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
        run(command.arg("--out").arg(&out)).success();
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
    run(generate.arg("--out").arg(&out)).success();
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
}

#[test]
fn signals_go_there_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let (signals, back) = (dir.path().join("signals.h5"), dir.path().join("back.h5"));
    let data = bench().join("glyphs.h5");
    run(holosig()
        .args(["sphere", "--inverse"])
        .arg(&data)
        .arg(&signals))
    .success();
    run(holosig()
        .args(["sphere", "--lmax", "4"])
        .arg(&signals)
        .arg(&back))
    .success();
    let open = |path: &Path| Spheres::open(&World::alone(), path).unwrap();
    let (data, back) = (open(&data), open(&back));
    for i in 0..data.len() as u32 {
        let size =
            holosig::data::spheres::size(&data.signal().irreps(), data.coefficients(i)) as f32;
        let pairs = data.coefficients(i).iter().zip(back.coefficients(i));
        pairs.for_each(|(a, b)| assert!((a - b).abs() < 1e-5 * size));
    }
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

/// Images as PNG files of several kinds, in subfolders, with their labels in a table.
#[test]
fn folders_of_png_files_are_the_same_images() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("png");
    let images = glyphs(30, 1);
    let mut table = String::new();
    for i in (0..30).rev() {
        let name = format!("{}/{i:02}.png", i / 10);
        std::fs::create_dir_all(folder.join(format!("{}", i / 10))).unwrap();
        write_png(&folder.join(&name), images.image(i), i % 3);
        table += &format!("{},{name}\n", images.labels[i]);
    }
    let labels = dir.path().join("labels.csv");
    std::fs::write(&labels, format!("label,file\n{table}")).unwrap();
    let out = dir.path().join("png.h5");
    let prepare = || {
        let mut command = holosig();
        command
            .args(["prepare", "images"])
            .arg(&folder)
            .arg("--labels")
            .arg(&labels);
        command
            .args(["--bandwidth", "12", "--lmax", "4", "--force", "--out"])
            .arg(&out);
        run(&mut command)
    };
    prepare().success();
    write_idx(dir.path(), "same", 30, 1);
    let same = dir.path().join("same.h5");
    let mut command = holosig();
    command
        .args(["prepare", "images"])
        .arg(dir.path().join("same-images"));
    command.arg("--labels").arg(dir.path().join("same-labels"));
    run(command
        .args(["--bandwidth", "12", "--lmax", "4", "--out"])
        .arg(&same))
    .success();
    let open = |path: &Path| Spheres::open(&World::alone(), path).unwrap();
    let (png, idx) = (open(&out), open(&same));
    assert_eq!((png.labels(), png.len()), (idx.labels(), 30));
    assert_eq!((png.id(0), png.id(29)), ("0/00.png", "2/29.png"));
    (0..30).for_each(|i| assert_eq!(png.coefficients(i), idx.coefficients(i), "{i}"));

    let whole = std::fs::read(folder.join("1/11.png")).unwrap();
    std::fs::write(folder.join("1/11.png"), &whole[..whole.len() / 2]).unwrap();
    prepare().failure(2, "11.png: not a whole PNG file");
    write_png(&folder.join("1/11.png"), &images.image(11)[..28 * 14], 0);
    prepare().failure(2, "images of 14 x 28 pixels, those before are of 28 x 28");
    std::fs::remove_file(folder.join("1/11.png")).unwrap();
    std::fs::write(
        &labels,
        format!("label,file\n{}", &table[..table.len() - 11]),
    )
    .unwrap();
    prepare().failure(2, "labels.csv: no label for 0/00.png");
    std::fs::write(&labels, "class,file\n1,0/00.png\n").unwrap();
    prepare().failure(2, "label");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::create_dir(&folder).unwrap();
    prepare().failure(2, "no PNG files in it");
}

/// Pixels 28 wide as grey, as colours or as grey of 16 bits with an alpha channel.
fn write_png(path: &Path, pixels: &[u8], kind: usize) {
    let file = std::fs::File::create(path).unwrap();
    let mut encoder = png::Encoder::new(file, 28, pixels.len() as u32 / 28);
    let (color, depth, repeat): (_, _, fn(u8) -> Vec<u8>) = match kind {
        0 => (png::ColorType::Grayscale, png::BitDepth::Eight, |p| vec![p]),
        1 => (png::ColorType::Rgb, png::BitDepth::Eight, |p| vec![p; 3]),
        _ => (
            png::ColorType::GrayscaleAlpha,
            png::BitDepth::Sixteen,
            |p| vec![p, p, 255, 255],
        ),
    };
    encoder.set_color(color);
    encoder.set_depth(depth);
    let data: Vec<u8> = pixels.iter().flat_map(|&p| repeat(p)).collect();
    encoder
        .write_header()
        .unwrap()
        .write_image_data(&data)
        .unwrap();
}

#[test]
fn shapes_of_any_format_and_flat_ones() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("meshes");
    std::fs::create_dir_all(folder.join("wedge")).unwrap();
    let write = |name: &str, text: &str| -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let points = "0 0 0\n1 0 0\n0 1 0\n0 0 1\n";
    write(
        "wedge/a.off",
        &format!("OFF\n4 4 0\n{points}3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n"),
    );
    let flat = write(
        "wedge/flat.off",
        "OFF\n4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2\n3 0 2 3\n",
    );
    let shapes = |ranks: usize, more: &[&str]| {
        let mut command = if ranks == 0 {
            holosig()
        } else {
            holosig_on(ranks)
        };
        command
            .args(["prepare", "shapes", "--bandwidth", "8", "--lmax", "4"])
            .arg(&folder);
        run(command
            .arg("--out")
            .arg(dir.path().join(format!("{ranks}.h5")))
            .args(more))
    };
    let told = shapes(0, &[]).success();
    let remark = told
        .stderr
        .lines()
        .filter(|l| l.contains("flat.off: no convex hull"))
        .count();
    assert_eq!(remark, 1, "{told:#?}");
    shapes(2, &[]).success();
    let bytes = |ranks: usize| std::fs::read(dir.path().join(format!("{ranks}.h5"))).unwrap();
    assert!(bytes(0) == bytes(2));
    let data = Spheres::open(&World::alone(), &dir.path().join("0.h5")).unwrap();
    assert_eq!(
        (data.len(), data.dim(), data.labels()[0].as_str()),
        (2, 6 * 25, "wedge")
    );
    std::fs::write(&flat, "OFF\n3 1 0\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n").unwrap();
    shapes(0, &["--force"]).failure(2, "flat.off: no face has an area");
    shapes(2, &["--force"]).failure(2, "flat.off: no face has an area");
    shapes(0, &["--force", "--skip"]).failure(3, "flat.off: no face has an area");
}

#[test]
fn mistakes_are_named_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.h5");
    let images = |images: &Path, labels: &Path, words: &str| {
        for mut command in [holosig(), holosig_on(2)] {
            command
                .args(["prepare", "images"])
                .arg(images)
                .arg("--labels")
                .arg(labels);
            run(command.arg("--out").arg(&out)).failure(2, words);
            assert!(!out.exists());
        }
    };
    let (good, labels) = (bench().join("train-images"), bench().join("train-labels"));
    images(&labels, &labels, "begins with 0x00000801");
    images(
        &good,
        &bench().join("test-labels"),
        "100 labels for 400 images",
    );
    images(&dir.path().join("none"), &labels, "none");
    let mut blank = std::fs::read(&good).unwrap();
    blank[16 + 5 * 784..16 + 6 * 784].fill(0);
    let path = dir.path().join("blank");
    std::fs::write(&path, blank).unwrap();
    images(&path, &labels, "image 5: a blank image");
    run(holosig()
        .arg("evaluate")
        .arg(bench().join("glyphs.h5"))
        .arg("--dataset")
        .arg(bench().join("glyphs.h5"))
        .arg("--out")
        .arg(dir.path().join("e")))
    .failure(2, "where a checkpoint of holosig is needed");
    // A model of molecules is no model of signals, and the other way round.
    let mut embed = holosig();
    embed
        .arg("embed")
        .arg(bench().join("run"))
        .arg("--dataset")
        .arg(bench().join("glyphs.h5"));
    run(embed.arg("--out").arg(&out)).failure(2, "not an H-(V)AE model");
}
