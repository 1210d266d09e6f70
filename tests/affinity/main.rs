//! Fine-tuning on affinities under mpirun: the same bits in every world and after a stop, from a
//! pretrained encoder to predictions, and one clear line for every mistake.

#[path = "../common/mod.rs"]
mod common;

use common::{Outcome, hash, holosig, holosig_on, made_once, run, training};
use holosig::data::Split;
use holosig::data::complexes::{Centres, Complex, Packing};
use holosig::data::dataset::{Chosen, Dataset};
use holosig::data::structure::{self, ReadOptions};
use holosig::data::system::System;
use holosig::train::Checkpoint;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

/// The autoencoder that encoders are fine-tuned from.
const PRETRAINED: &str = r#"
task = "hvae"
[data]
dataset = "complexes.h5"
[zernike]
lmax = 2
nmax = 4
cutoff = 8.0
channels = ["protein:C", "protein:other", "ligand:C", "ligand:other"]
[model]
latent_dim = 4
channels = [6, 6]
projection = 6
variational = true
[train]
batch = 16
slices = 2
steps = 3
"#;

const JOB: &str = r#"
task = "affinity"
[data]
dataset = "complexes.h5"
folds = 4
[train]
init = "pretrained/checkpoints/last.h5"
seed = 3
batch = 8
slices = 4
steps = 12
checkpoint_every = 4
learning_rate = 5e-3
[[train.groups]]
parameters = ["initial_*", "encoder_*"]
learning_rate = 1e-3
[loss]
ranking = 0.5
"#;

const COMPLEXES: usize = 24;

/// Complexes of ubiquitin with chains of atoms in several places, three to a group.
fn complexes(change: impl Fn(usize, &mut Chosen)) -> Vec<Chosen> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/structures/pdb1ubi.pdb");
    let protein = structure::read(&file, &ReadOptions::default())
        .unwrap()
        .swap_remove(0);
    let packing = Packing {
        centres: Centres::Ligand,
        cutoff: 10.0,
        reach: 22.0,
    };
    let complex = |i: usize| {
        let [x, y, z] = protein.system.positions[protein.centres[3 * i] as usize];
        let atoms = 4 + i % 4;
        let ligand = System {
            numbers: (0..atoms).map(|k| [6, 7, 8][k % 3]).collect(),
            positions: (0..atoms)
                .map(|k| [x + 1.3 * k as f32, y + 4.0, z])
                .collect(),
            ..System::default()
        };
        let bound = Complex {
            structure: protein.clone(),
            ligand,
            affinity: Some(4.0 + 0.8 * (i % 4) as f64 + 0.1 * (i % 7) as f64),
            shared_atoms: 0,
        };
        let split = [Split::Train, Split::Train, Split::Validation, Split::Test][i / 3 % 4];
        let mut chosen = bound.packed(&format!("c{i}"), split, &packing).unwrap();
        chosen.complex.as_mut().unwrap().group = Some(format!("g{}", i / 3));
        change(i, &mut chosen);
        chosen
    };
    (0..COMPLEXES).map(complex).collect()
}

fn write(path: &Path, centres: &str, change: impl Fn(usize, &mut Chosen)) {
    let settings = format!("[complexes]\ncentres = \"{centres}\"\ncutoff = 10.0\nreach = 22.0\n");
    let dataset = Dataset::pack(&complexes(change), &settings).unwrap();
    dataset.write(path).unwrap();
}

/// A folder with a dataset, jobs and a pretrained autoencoder, made once.
fn bench() -> &'static Path {
    static BENCH: OnceLock<TempDir> = OnceLock::new();
    made_once(&BENCH, |dir| {
        let at = |name: &str| dir.join(name);
        write(&at("complexes.h5"), "ligand", |_, _| ());
        std::fs::write(at("pretrained.toml"), PRETRAINED).unwrap();
        std::fs::write(at("job.toml"), JOB).unwrap();
        run(&mut training(
            0,
            &at("pretrained.toml"),
            &at("pretrained"),
            &[],
        ))
        .success();
    })
}

fn command(ranks: usize, out: &Path, sets: &[&str]) -> Command {
    training(ranks, &bench().join("job.toml"), out, sets)
}

fn train(ranks: usize, out: &Path, sets: &[&str]) -> Outcome {
    run(&mut command(ranks, out, sets))
}

#[test]
fn every_world_and_every_stop_give_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    for (name, sets) in [
        ("kept", &[][..]),
        (
            "batch",
            &["model.statistics=\"batch\"", "train.average=0.9"],
        ),
        ("plain", &["loss.ranking=0.0", "train.coordinate_noise=0.1"]),
    ] {
        let at = |what: &str| dir.path().join(format!("{name}-{what}"));
        train(0, &at("whole"), sets).success();
        let whole = hash(&at("whole"));
        let predictions = |out: PathBuf| std::fs::read(out.join("predictions.csv")).unwrap();
        for ranks in [1, 2, 4] {
            let out = at(&ranks.to_string());
            train(ranks, &out, sets).success();
            assert_eq!(hash(&out), whole, "{name} on {ranks} ranks");
            assert!(
                predictions(out) == predictions(at("whole")),
                "{name}, {ranks}"
            );
        }
        // What a kill after the eighth step leaves.
        let cut = at("cut");
        train(2, &cut, sets).success();
        for file in [
            "checkpoints/step-12.h5",
            "checkpoints/last.h5",
            "scores.json",
        ] {
            std::fs::remove_file(cut.join(file)).unwrap();
        }
        let told = run(command(0, &cut, sets).arg("--resume")).success();
        assert!(
            told.stderr.contains("8") || told.stdout.contains("8"),
            "{told:?}"
        );
        assert_eq!(hash(&cut), whole, "{name}, resumed");
    }
}

#[test]
fn noise_moves_the_atoms_of_complexes() {
    common::noise_is_learned_from(|out, sets| train(0, out, sets));
}

#[test]
fn a_run_is_scored_and_its_model_predicts() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let told = train(
        0,
        &out,
        &["data.fold=1", "train.early_stop={metric=\"squared\"}"],
    )
    .success();
    assert!(told.stdout.contains("ligand size"), "{told:?}");
    let text = std::fs::read_to_string(out.join("scores.json")).unwrap();
    let scores: serde_json::Value = serde_json::from_str(&text).unwrap();
    let test = &scores["test"];
    for score in [
        &test["rmsd"],
        &test["mean_predictor"]["rmsd"],
        &test["ligand_size"]["rmsd"],
        &scores["validation"]["error"],
        &scores["validation"]["ranking"],
    ] {
        assert!(score.as_f64().is_some_and(|v| v > 0.0), "{scores}");
    }
    assert_eq!(test["samples"], 6);

    // Groups are kept together, and the table says of each complex what the scores are made of.
    let table = std::fs::read_to_string(out.join("predictions.csv")).unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .skip(1)
        .map(|l| l.split(',').collect())
        .collect();
    let of = |split: &str| rows.iter().filter(|r| r[2] == split).collect::<Vec<_>>();
    let groups = |split: &str| of(split).iter().map(|r| r[1]).collect::<Vec<_>>();
    assert_eq!((of("validation").len(), of("test").len()), (6, 6));
    assert!(
        groups("test")
            .iter()
            .all(|g| !groups("validation").contains(g))
    );
    let off = |r: &&Vec<&str>| r[3].parse::<f64>().unwrap() - r[4].parse::<f64>().unwrap();
    let squares: f64 = of("test").iter().map(|r| off(r).powi(2)).sum();
    let rmsd = (squares / 6.0).sqrt();
    assert!((rmsd - test["rmsd"].as_f64().unwrap()).abs() < 1e-3);

    // The program predicts the same of the same complexes, on any number of ranks.
    let csv = dir.path().join("predicted.csv");
    for ranks in [1, 3] {
        let mut command = holosig_on(ranks);
        command.arg("predict").arg(&out).arg("--complexes");
        command.arg(bench().join("complexes.h5")).arg("--force");
        let told = run(command.arg("--out").arg(&csv)).success();
        assert!(told.stdout.contains("RMSD"), "{told:?}");
        let all = std::fs::read_to_string(&csv).unwrap();
        assert_eq!(all.lines().count(), COMPLEXES + 1);
        for row in of("test") {
            let start = format!("{},{},", row[0], row[1]);
            let found = all.lines().find(|l| l.starts_with(&start)).unwrap();
            assert!(
                found.ends_with(&format!(",{},{}", row[3], row[4])),
                "{found}: {row:?}"
            );
        }
    }
    let mut command = holosig();
    command.args(["inspect"]).arg(bench().join("complexes.h5"));
    let told = run(&mut command).success();
    assert!(
        told.stdout.contains("24, in 8 groups; affinity of 24"),
        "{told:?}"
    );
}

/// What is not trained is as it was, and what is frozen or kept is the autoencoder's.
#[test]
fn the_encoder_comes_from_the_autoencoder() {
    let dir = tempfile::tempdir().unwrap();
    let read = |path: PathBuf| Checkpoint::read(&path).unwrap();
    let pretrained = read(bench().join("pretrained/checkpoints/last.h5"));
    let out = dir.path().join("frozen");
    train(
        0,
        &out,
        &[
            "train.freeze=[\"initial_*\", \"encoder_*\"]",
            "train.groups=[]",
        ],
    )
    .success();
    let tuned = read(out.join("checkpoints/last.h5"));
    let mut shared = 0;
    for array in tuned.parameters.iter().chain(&tuned.buffers) {
        if array.name.starts_with("head.") {
            let zero = array.values.iter().all(|&v| v == 0.0);
            assert!(!zero, "{} has learned nothing", array.name);
            continue;
        }
        let mut all = pretrained.parameters.iter().chain(&pretrained.buffers);
        let same = all.find(|a| a.name == array.name).unwrap();
        assert!(same.values == array.values, "{}", array.name);
        shared += 1;
    }
    assert!(shared > 5, "{shared}");
    // A run goes on from another run's model, its scales included.
    let sets = [&*format!("train.init={out:?}"), "data.fold=2"];
    train(0, &dir.path().join("again"), &sets).success();
    let again = read(dir.path().join("again/checkpoints/last.h5"));
    assert_eq!(again.description, tuned.description);
    // Without a checkpoint, an encoder that the job describes begins at random.
    let scratch = [
        "[data]\ndataset = \"complexes.h5\"\n",
        "[zernike]\nlmax = 2\nnmax = 4\n[encoder]\nlatent_dim = 4\nchannels = [6]\nprojection = 6\n",
        "[train]\nsteps = 2\nbatch = 8\n",
    ];
    let job = bench().join("scratch.toml");
    std::fs::write(&job, format!("task = \"affinity\"\n{}", scratch.concat())).unwrap();
    let mut command = holosig();
    command.arg("train").arg(&job).arg("--out");
    run(command.arg(dir.path().join("scratch"))).success();
    // A fine-tuned encoder makes pockets, as the encoder does that it began with.
    let mut ligand = "x\n\n\n  5  0  0  0  0  0  0  0  0  0999 V2000\n".to_string();
    for k in 0..5 {
        let x = 27.0 + 1.3 * k as f32;
        ligand += &format!("{x:>10.4}   28.0000    3.0000 C   0  0\n");
    }
    std::fs::write(dir.path().join("l.sdf"), ligand + "M  END\n$$$$\n").unwrap();
    let protein = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/structures/pdb1ubi.pdb");
    let csv = dir.path().join("c.csv");
    let row = format!("id,protein,ligand\na,{},l.sdf\n", protein.display());
    std::fs::write(&csv, row).unwrap();
    let pockets = |checkpoint: &Path| {
        let made = dir.path().join("pockets.h5");
        let mut command = holosig();
        command
            .arg("pockets")
            .arg(checkpoint)
            .arg("--complexes")
            .arg(&csv);
        command
            .args(["--centres", "ligand", "--force", "--out"])
            .arg(&made);
        run(&mut command).success();
        let read = holosig::downstream::pockets::Pockets::read(&made).unwrap();
        read.features
            .into_iter()
            .find(|f| f.name == "pocket_all")
            .unwrap()
            .rows
    };
    let (frozen, before) = (pockets(&out), pockets(&bench().join("pretrained")));
    assert!(!frozen.is_empty() && frozen == before);
    assert_ne!(pockets(&dir.path().join("again")), before);
}

#[test]
fn mistakes_are_named_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let fails = |sets: &[&str], text: &str| {
        train(0, &dir.path().join("run"), sets).failure(2, text);
    };
    let data = |name: &str, centres: &str, change: &dyn Fn(usize, &mut Chosen)| {
        let path = dir.path().join(name);
        write(&path, centres, change);
        format!("data.dataset={path:?}")
    };
    let bound = |c: &mut Chosen| c.complex.clone().unwrap();
    let unlabelled = data("unlabelled.h5", "ligand", &|_, c| {
        c.complex.as_mut().unwrap().affinity = None
    });
    fails(
        &[&unlabelled],
        "unlabelled.h5: no affinities in it: prepare it again",
    );
    let bare = data("bare.h5", "ligand", &|_, c| c.complex = None);
    fails(&[&bare], "bare.h5: no affinities in it");
    let alike = data("alike.h5", "ligand", &|_, c| {
        let mut new = bound(c);
        new.affinity = Some(5.0);
        c.complex = Some(new);
    });
    fails(&[&alike], "all training complexes have the same affinity");
    let kin = data("kin.h5", "ligand", &|_, c| {
        c.complex.as_mut().unwrap().group = Some("one".into())
    });
    fails(
        &[&kin],
        "data.folds = 4: the complexes with an affinity are of 1 group of like proteins",
    );
    let strangers = data("strangers.h5", "ligand", &|_, c| {
        c.complex.as_mut().unwrap().group = None
    });
    fails(
        &[&strangers],
        "loss.ranking: no two training complexes of one group",
    );
    fails(
        &["data.folds=9"],
        "data.folds = 9: the complexes with an affinity are of 8 groups",
    );
    fails(&["data.folds=2"], "data.folds = 2: at least 3 are needed");
    fails(&["data.fold=4"], "data.fold = 4: the folds are 0 to 3");
    fails(&["zernike={lmax=3}"], "zernike.channels = ");
    fails(
        &["encoder={latent_dim=5, channels=[6, 6], projection=6, variational=true}"],
        "encoder.latent_dim = 5, the checkpoint of train.init has 4",
    );
    fails(&["model.views=[]"], "model.views: one or more of");
    let sets = ["model.views=[\"with\", \"with\"]"];
    fails(&sets, "model.views: one or more of");

    let out = dir.path().join("good");
    train(0, &out, &["train.steps=2"]).success();
    data("other.h5", "ca", &|_, _| ());
    let mut command = holosig();
    command
        .arg("predict")
        .arg(&out)
        .arg("--complexes")
        .arg(dir.path().join("other.h5"));
    run(command.arg("--out").arg(dir.path().join("p.csv"))).failure(
        2,
        "other.h5: its neighborhoods are centred on --centres ca within",
    );
}
