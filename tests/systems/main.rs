//! `holosig prepare systems`, `train` and `predict` on systems: the same in every world and after
//! any stop, and one clear line for every mistake.

#[path = "../common/mod.rs"]
mod common;
mod stresses;

use common::{Outcome, hash, holosig, holosig_on, made_once, run, start, training};
use holosig::comm::World;
use holosig::data::Split;
use holosig::data::systems::Systems;
use holosig::store::{self, Kind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const JOB: &str = r#"
task = "systems"

[data]
dataset = "systems.h5"
forces = true
baseline = "composition"

[model]
network = "painn"
width = 8
layers = 2
radial = 6
cutoff = 4.0
elements = 10

[train]
seed = 3
batch = 16
slices = 4
steps = 24
learning_rate = 3e-3
checkpoint_every = 4
log_every = 1
"#;

const LIMIT: Duration = Duration::from_secs(240);

/// A folder with `job.toml` and the example's dataset, made once.
fn bench() -> &'static Path {
    static BENCH: OnceLock<TempDir> = OnceLock::new();
    made_once(&BENCH, |dir| {
        std::fs::write(dir.join("job.toml"), JOB).unwrap();
        let mut prepare = holosig();
        prepare.args(["prepare", "systems", "--quickstart", "--out"]);
        run(prepare.arg(dir.join("systems.h5"))).success();
    })
}

fn train_on(ranks: usize, out: &Path, more: &[&str]) -> Outcome {
    let mut command = training(ranks, &bench().join("job.toml"), out, &[]);
    start(command.args(more)).wait(LIMIT)
}

/// The run without mpirun that others are compared with, and its folder.
fn reference() -> &'static (String, PathBuf) {
    static REFERENCE: OnceLock<(String, PathBuf)> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        let out = bench().join("reference");
        let told = train_on(0, &out, &[]).success();
        assert!(told.stdout.contains("test: energy: MAE"), "{told:#?}");
        (hash(&out), out)
    })
}

#[test]
fn every_world_gives_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    for ranks in [1, 2, 4] {
        let out = dir.path().join(ranks.to_string());
        train_on(ranks, &out, &[]).success();
        assert_eq!(hash(&out), reference().0, "{ranks} ranks");
        let scores = |folder: &Path| std::fs::read_to_string(folder.join("scores.json")).unwrap();
        assert_eq!(scores(&out), scores(&reference().1), "{ranks} ranks");
    }
}

#[test]
fn noise_moves_the_atoms_of_systems() {
    let job = bench().join("job.toml");
    common::noise_is_learned_from(|out, sets| run(&mut training(0, &job, out, sets)));
}

#[test]
fn a_killed_run_goes_on_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let mut command = holosig_on(2);
    command.arg("train").arg(bench().join("job.toml"));
    let running = start(command.arg("--out").arg(&out));
    let begun = Instant::now();
    while !out.join("checkpoints/step-8.h5").exists() && begun.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(2));
    }
    // A rank, not the launcher: the others end with it, and the launcher last.
    let launcher = running.child.id();
    let ranks = format!("/proc/{launcher}/task/{launcher}/children");
    let ranks = std::fs::read_to_string(ranks).unwrap();
    let kill = format!("kill -KILL {}", ranks.split_whitespace().next().unwrap());
    assert!(
        Command::new("sh")
            .args(["-c", &kill])
            .status()
            .unwrap()
            .success()
    );
    running.wait(LIMIT);
    train_on(1, &out, &["--resume"]).success();
    assert_eq!(hash(&out), reference().0);
}

fn predict(ranks: usize, out: &Path, more: &[&str]) -> Outcome {
    let mut command = holosig_on(ranks);
    command
        .arg("predict")
        .arg(reference().1.join("checkpoints/best.h5"));
    command.arg("--systems").arg(bench().join("systems.h5"));
    start(command.arg("--out").arg(out).args(more)).wait(LIMIT)
}

#[test]
fn predictions_have_units_and_do_not_depend_on_ranks() {
    let dir = tempfile::tempdir().unwrap();
    let files = [1, 2].map(|ranks| {
        let file = dir.path().join(format!("{ranks}.h5"));
        predict(ranks, &file, &["--split", "test"]).success();
        file
    });
    assert_eq!(
        std::fs::read(&files[0]).unwrap(),
        std::fs::read(&files[1]).unwrap()
    );
    let file = store::open(&files[0], Kind::PredictedSystems).unwrap();
    let systems = Systems::open(&World::alone(), &bench().join("systems.h5")).unwrap();
    let ids = systems.split(Split::Test);
    let energies: Vec<f64> = file.read("energy").unwrap();
    let offsets: Vec<u64> = file.read("offsets").unwrap();
    assert_eq!((energies.len(), offsets.len()), (ids.len(), ids.len() + 1));
    let atoms = *offsets.last().unwrap() as usize;
    let (forces, _) = file
        .read_shaped::<f64>("forces", &[Some(atoms), Some(3)])
        .unwrap();
    assert_eq!(file.attr_text("energy_unit").unwrap(), "eV");
    assert_eq!(file.attr_text("forces_unit").unwrap(), "eV/A");
    // The same numbers as text.
    let text = dir.path().join("p.xyz");
    predict(1, &text, &["--split", "test"]).success();
    let text = std::fs::read_to_string(&text).unwrap();
    let second = text.lines().nth(1).unwrap();
    assert!(
        second.contains(&format!("energy={}", energies[0])),
        "{second}"
    );
    let atom: Vec<&str> = text.lines().nth(2).unwrap().split(' ').collect();
    assert_eq!(atom[4].parse::<f64>().unwrap(), forces[0]);
    let known = &systems.target("energy").unwrap().values;
    let known: Vec<f64> = ids.iter().map(|&i| known[i as usize]).collect();
    let mean = known.iter().sum::<f64>() / known.len() as f64;
    let error = |of: &dyn Fn(usize) -> f64| {
        (0..known.len())
            .map(|i| (of(i) - known[i]).abs())
            .sum::<f64>()
    };
    assert!(error(&|i| energies[i]) < 0.7 * error(&|_| mean));
}

/// Files of systems, in a folder of their own.
fn files() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (i, bond) in [1.1, 1.2, 1.3, 1.4, 1.5, 1.6].iter().enumerate() {
        let energy = -10.0 + bond;
        let text = format!("2\nenergy={energy} kind={}\nC 0 0 0\nO 0 0 {bond}\n", i % 2);
        std::fs::write(dir.path().join(format!("co{i}.xyz")), text).unwrap();
    }
    dir
}

fn prepare(ranks: usize, from: &Path, out: &Path, more: &[&str]) -> Outcome {
    let mut command = holosig_on(ranks);
    command.args(["prepare", "systems"]).arg(from);
    start(command.arg("--out").arg(out).args(more)).wait(LIMIT)
}

#[test]
fn the_dataset_does_not_depend_on_ranks() {
    let (from, out) = (files(), tempfile::tempdir().unwrap());
    let all = [1, 2, 4].map(|ranks| {
        let file = out.path().join(format!("{ranks}.h5"));
        prepare(
            ranks,
            from.path(),
            &file,
            &["--test", "1", "--validation", "2"],
        )
        .success();
        std::fs::read(file).unwrap()
    });
    assert!(all[0] == all[1] && all[1] == all[2]);
    let systems = Systems::open(&World::alone(), &out.path().join("1.h5")).unwrap();
    assert_eq!(systems.ids()[5], "co5");
    assert_eq!(Split::ALL.map(|s| systems.split(s).len()), [3, 2, 1]);
    assert_eq!(systems.system(1).positions[1], [0.0, 0.0, 1.2]);
    assert_eq!(systems.target("energy").unwrap().unit, "eV");
    // A file of ours is read again, its splits too.
    let again = out.path().join("again.h5");
    prepare(
        1,
        &out.path().join("1.h5"),
        &again,
        &["--convert", "energy=kcal/mol"],
    )
    .success();
    let again = Systems::open(&World::alone(), &again).unwrap();
    assert_eq!(again.split(Split::Test), systems.split(Split::Test));
    let ratio =
        again.target("energy").unwrap().values[0] / systems.target("energy").unwrap().values[0];
    assert!((ratio - 23.0605).abs() < 1e-3);
}

#[test]
fn mistakes_in_files_are_one_line_on_every_rank() {
    let (from, out) = (files(), tempfile::tempdir().unwrap());
    let file = out.path().join("s.h5");
    let bad = from.path().join("co3.xyz");
    std::fs::write(&bad, "2\nenergy=1\nC 0 0 0\nO 0 0 0.01\n").unwrap();
    let told = prepare(2, from.path(), &file, &[]);
    told.failure(2, "co3.xyz: co3: atoms 1 and 2 are less than 0.2 Å apart");
    assert!(!file.exists());
    let told = prepare(2, from.path(), &file, &["--skip"]);
    told.failure(3, "skipped: ").warned("skipped: ");
    assert_eq!(Systems::open(&World::alone(), &file).unwrap().len(), 5);
    std::fs::write(&bad, "1\nenergy=1\nC 0 0 0\n").unwrap();
    prepare(1, from.path(), &file, &["--unit", "energy=stone"])
        .failure(2, "unit \"stone\" is not known; known are eV");
    prepare(1, from.path(), &file, &["--validation", "5", "--test", "4"])
        .failure(2, "leave none of 6 for training");
    prepare(1, &out.path().join("none"), &file, &[]).failure(2, "no such file or folder");
}

#[test]
fn one_bad_system_leaves_the_others_of_its_file() {
    let (from, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = out.path().join("s.h5");
    let frame = |x: f64| format!("2\nenergy={x}\nC 0 0 0\nO 0 0 {x}\n");
    let frames = [1.1, 0.01, 1.2].map(frame).concat() + "1\nenergy=1\nQ 0 0 0\n";
    std::fs::write(from.path().join("frames.xyz"), frames).unwrap();
    // VASP calls all files alike.
    let poscar = "salt\n1.0\n5.6 0 0\n0 5.6 0\n0 0 5.6\nNa Cl\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n";
    for folder in ["a/relaxed", "b/relaxed"] {
        let folder = from.path().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("POSCAR"), poscar).unwrap();
    }
    prepare(2, from.path(), &file, &[]).failure(2, "less than 0.2 Å apart");
    let told = prepare(
        2,
        from.path(),
        &file,
        &["--skip", "--test", "1", "--validation", "1"],
    );
    told.failure(3, "2 of 6 inputs; the rest is done");
    let systems = Systems::open(&World::alone(), &file).unwrap();
    let mut ids = systems.ids().to_vec();
    ids.sort_unstable();
    let expected = [
        "a/relaxed/POSCAR",
        "b/relaxed/POSCAR",
        "frames:0",
        "frames:2",
    ];
    assert_eq!(ids, expected);
}

/// Energies of free atoms are taken off, and come back in predictions.
#[test]
fn references_are_a_part_of_predictions() {
    let (from, out) = (files(), tempfile::tempdir().unwrap());
    let file = out.path().join("s.h5");
    prepare(1, from.path(), &file, &["--test", "1", "--validation", "1"]).success();
    let dataset = format!("data.dataset={:?}", file.display().to_string());
    let trained = |name: &str, references: &str| {
        let folder = out.path().join(name);
        let sets = [
            &*dataset,
            "data.forces=false",
            "data.baseline=\"mean\"",
            "train.steps=2",
            references,
        ];
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        train_on(0, &folder, &sets).success();
        let to = out.path().join(format!("{name}.h5"));
        let mut predict = holosig();
        predict
            .arg("predict")
            .arg(folder.join("checkpoints/last.h5"));
        run(predict.arg("--systems").arg(&file).arg("--out").arg(&to)).success();
        let predicted = store::open(&to, Kind::PredictedSystems).unwrap();
        predicted.read::<f64>("energy").unwrap()
    };
    let none = trained("none", "data.references={ C = 0.0, O = 0.0 }");
    let some = trained("some", "data.references={ C = -1000.0, O = -2000.0 }");
    // All molecules are CO: the mean takes up what references do not.
    for (a, b) in none.iter().zip(&some) {
        assert!((a - b).abs() < 1e-6 * a.abs().max(1.0), "{a} and {b}");
    }
}

#[test]
fn mistakes_in_jobs_are_one_line() {
    let (from, out) = (files(), tempfile::tempdir().unwrap());
    let file = out.path().join("s.h5");
    prepare(1, from.path(), &file, &["--test", "1", "--validation", "1"]).success();
    let dataset = format!("data.dataset={:?}", file.display().to_string());
    let trained = |more: &[&str]| {
        let sets: Vec<&str> = more.iter().flat_map(|set| ["--set", set]).collect();
        let sets = [&["--set", &dataset][..], &sets].concat();
        // A run that fails in its first step leaves its folder.
        train_on(
            0,
            &tempfile::tempdir_in(out.path()).unwrap().path().join("run"),
            &sets,
        )
    };
    trained(&[]).failure(2, "co0 has no forces: data.forces = false");
    trained(&["data.forces=false", "data.target=\"u0\""])
        .failure(2, "no target \"u0\"; there are energy, kind");
    let alone = "data.forces=false";
    trained(&[alone, "data.references=\"qm9\""]).failure(2, "\"energy\" is no target of QM9");
    trained(&[alone, "data.references={ C = -1.0 }"]).failure(
        2,
        "data.references: co0 has O, of which no reference is given",
    );
    trained(&[alone, "data.references={ Xx = -1.0 }"]).failure(
        2,
        "data.references: Xx = -1: an element and a number are needed",
    );
    trained(&["data.target=\"forces\""]).failure(2, "forces are learned with data.forces = true");
    trained(&["data.forces=false", "model.elements=7"])
        .failure(2, "atomic number 8: the network knows elements up to 7");
    let missing = out.path().join("t.csv");
    std::fs::write(&missing, "id,gap (eV)\nco0,1\n").unwrap();
    let missing = missing.display().to_string();
    let more = ["--test", "1", "--validation", "1", "--targets", &missing];
    prepare(1, from.path(), &file, &more).success();
    trained(&["data.forces=false", "data.target=\"gap\""]).failure(2, "co1 has no gap");
}

#[test]
fn classes_and_several_targets_are_learned() {
    let (from, out) = (files(), tempfile::tempdir().unwrap());
    let file = out.path().join("s.h5");
    prepare(1, from.path(), &file, &["--test", "2", "--validation", "1"]).success();
    let dataset = format!("data.dataset={:?}", file.display().to_string());
    let common = [
        "--set",
        &dataset,
        "--set",
        "data.forces=false",
        "--set",
        "train.steps=4",
    ];
    let classes = [
        "--set",
        "data.goal=\"class\"",
        "--set",
        "data.target=\"kind\"",
    ];
    let told = train_on(
        2,
        &out.path().join("classes"),
        &[&common[..], &classes].concat(),
    );
    assert!(told.success().stdout.contains("test: kind: accuracy"));
    let both = [
        "--set",
        "data.target=[\"energy\", \"kind\"]",
        "--set",
        "loss.kind=0.5",
    ];
    let both = [&common[..], &both, &["--set", "data.baseline=\"mean\""]].concat();
    let told = train_on(1, &out.path().join("both"), &both).success();
    assert!(told.stdout.contains("test: energy: MAE") && told.stdout.contains("test: kind: MAE"));
}
