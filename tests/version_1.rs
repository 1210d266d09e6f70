//! What version 1 wrote is read, used and gone on with.

mod common;

use common::{Outcome, holosig, holosig_on, run};
use holosig::store::{self, Kind};
use holosig::train::{Checkpoint, RunFolder};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/models/written-by-7c11798")
        .join(name)
}

fn quickstart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs/quickstart.h5")
}

#[test]
fn checkpoints_are_read() {
    for (file, task, hash) in [
        ("hae.h5", "hvae", "75bc3d058efabd03d7bce6c48c513e9b"),
        (
            "deep_signature.h5",
            "deep-signature",
            "59b0cdb7935bfec36b9310895022647c",
        ),
    ] {
        let told = run(holosig().arg("hash").arg(fixture(file))).success();
        assert_eq!(told.stdout.trim(), hash, "{file}");
        let checkpoint = Checkpoint::read(&fixture(file)).unwrap();
        assert_eq!(checkpoint.task, task);
        let (progress, moments) = checkpoint.training.unwrap();
        assert_eq!((progress.step, moments.steps), (40, 40), "{file}");
        assert!(progress.job.contains(&format!("task = {task:?}")), "{file}");
        let told = run(holosig().arg("inspect").arg(fixture(file))).success();
        assert!(told.stdout.contains("checkpoint, schema version 1"));
    }
}

/// The largest difference of two embeddings of the same shape, of the largest value.
fn difference(ours: &Path, theirs: &Path, name: &str) -> f32 {
    let read = |path| store::open(path, Kind::Embeddings).unwrap();
    let (ours, theirs) = (read(ours), read(theirs));
    assert_eq!(ours.shape(name).unwrap(), theirs.shape(name).unwrap());
    let shape = vec![None; ours.shape(name).unwrap().len()];
    let values = |file: &store::File| file.read_shaped::<f32>(name, &shape).unwrap().0;
    let (ours, theirs) = (values(&ours), values(&theirs));
    let largest = theirs.iter().fold(0f32, |m, x| m.max(x.abs()));
    let pairs = ours.iter().zip(&theirs);
    pairs.map(|(a, b)| (a - b).abs()).fold(0f32, f32::max) / largest
}

/// Other processors round sums differently: hence the bounds.
#[test]
fn models_embed_as_they_did() {
    let dir = tempfile::tempdir().unwrap();
    let embed = |model: &str, source: &str, file: &Path, more: &[&str]| {
        let out = dir.path().join(model);
        let mut command = holosig();
        command.arg("embed").arg(fixture(model)).arg(source);
        command.arg(file).args(more).arg("--out").arg(&out);
        run(&mut command).success();
        out
    };
    let split = ["--split", "test"];
    let ours = embed("hae.h5", "--dataset", &quickstart(), &split);
    for (name, bound) in [("invariants", 1e-5), ("frames", 1e-4)] {
        let d = difference(&ours, &fixture("hae-embedded.h5"), name);
        assert!(d <= bound, "{name}: {d}");
    }
    let grd = dir.path().join("grd.h5");
    let mut prepare = holosig();
    prepare.args(["prepare", "grd", "--nodes", "30", "--trajectories", "60"]);
    run(prepare.args(["--seed", "5", "--out"]).arg(&grd)).success();
    let ours = embed("deep_signature.h5", "--trajectories", &grd, &[]);
    for name in ["signature", "prediction"] {
        let d = difference(&ours, &fixture("deep_signature-embedded.h5"), name);
        assert!(d <= 1e-4, "{name}: {d}");
    }
}

/// `hae.toml` as it is written today.
const TODAY: &str = r#"
task = "hvae"
[data]
dataset = "quickstart.h5"
[zernike]
lmax = 3
nmax = 10
[model]
latent_dim = 8
channels = [8, 8, 8]
projection = 8
[train]
batch = 64
slices = 4
steps = 40
seed = 77
checkpoint_every = 20
"#;

/// A folder with both jobs, the dataset, and a run that stands at step 40.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new(checkpoint: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(quickstart(), dir.path().join("quickstart.h5")).unwrap();
        std::fs::copy(fixture("hae.toml"), dir.path().join("old.toml")).unwrap();
        std::fs::write(dir.path().join("today.toml"), TODAY).unwrap();
        let run = RunFolder::new(dir.path().join("run"));
        std::fs::create_dir_all(run.checkpoints()).unwrap();
        checkpoint(&run.last());
        Self(dir)
    }

    fn resume(&self, ranks: usize, job: &str, sets: &[&str]) -> Outcome {
        let mut command = holosig_on(ranks);
        command.arg("train").arg(self.0.path().join(job));
        for set in sets {
            command.args(["--set", set]);
        }
        command.args(["--resume", "--extend", "--out"]);
        run(command.arg(self.0.path().join("run")))
    }

    fn hash(&self) -> String {
        let last = RunFolder::new(self.0.path().join("run")).last();
        Checkpoint::read(&last).unwrap().hash().to_string()
    }
}

fn old(path: &Path) {
    std::fs::copy(fixture("hae.h5"), path).unwrap();
}

fn rewritten(path: &Path) {
    let checkpoint = Checkpoint::read(&fixture("hae.h5")).unwrap();
    checkpoint.write(path).unwrap();
}

#[test]
fn runs_go_on() {
    let steps = "train.steps=44";
    let today = Bench::new(rewritten);
    today.resume(1, "today.toml", &[steps]).success();
    for (job, ranks) in [("old.toml", 2), ("today.toml", 1)] {
        let bench = Bench::new(old);
        let told = bench.resume(ranks, job, &[steps]).success();
        assert_eq!(bench.hash(), today.hash(), "{job}");
        let lines = told.stderr.lines();
        let renamed = lines.filter(|l| l.contains("keys of version 1"));
        let renamed: Vec<&str> = renamed.collect();
        assert_eq!(renamed.len(), usize::from(job == "old.toml"), "{told:#?}");
        for name in ["data.batch is train.batch", "data.slices is train.slices"] {
            assert!(renamed.iter().all(|l| l.contains(name)), "{renamed:?}");
        }
    }
}

#[test]
fn settings_of_old_runs_and_old_names_of_settings_count() {
    let bench = Bench::new(old);
    for (set, told) in [
        ("data.batch=32", "train.batch = 64, the job now says 32"),
        ("data.slices=2", "train.slices = 4, the job now says 2"),
        (
            "train.weights.reconstruction=10.0",
            "loss.reconstruction.weight = 1000.0, the job now says 10.0",
        ),
        (
            "train.weights.no_kl_epochs=3",
            "loss.kl.start = 0, the job now says 3",
        ),
        ("model.latent_dim=9", "latent_dim = 8, the job now says 9"),
    ] {
        for job in ["old.toml", "today.toml"] {
            let sets = [set, "train.steps=44"];
            bench.resume(1, job, &sets).failure(2, told);
        }
    }
}
