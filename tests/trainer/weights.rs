//! Runs that start from the weights of another one, and parameters that stay as they are.

use super::*;
use holosig::train::checkpoint::NamedArray;
use holosig::train::optimizer::AdamSettings;

fn with(more: &str) -> Settings {
    let text = toml::to_string(&settings(8)).unwrap();
    toml::from_str(&format!("{more}\n{text}")).unwrap()
}

fn start(dir: &Path, settings: &Settings, scale: f64) -> Result<()> {
    run_with(&World::alone(), dir, Start::New, settings, 4, scale)
}

fn from(path: &Path, more: &str) -> Settings {
    with(&format!("init = {path:?}\n{more}"))
}

fn values(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    let arrays = checkpoint.parameters.iter().chain(&checkpoint.buffers);
    let mut found = arrays.filter(|a| a.name == name);
    found.next().unwrap().values.clone()
}

/// A trained model without its run, as an import gives it.
fn imported(dir: &Path) -> (PathBuf, Checkpoint) {
    run_in(&World::alone(), &dir.join("first"), Start::New, 12, 4).unwrap();
    let checkpoint = Checkpoint {
        training: None,
        ..last(&dir.join("first"))
    };
    let path = dir.join("imported.h5");
    checkpoint.write(&path).unwrap();
    (path, checkpoint)
}

#[test]
fn a_run_starts_from_weights_of_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let (path, first) = imported(dir.path());
    // Nothing moves, so the end is the start; other data, another rate.
    let still = |name: &str, steps: u64, more: &str| {
        let run = dir.path().join(name);
        let settings = Settings {
            learning_rate: 0.0,
            steps: Some(steps),
            ..from(&path, more)
        };
        start(&run, &settings, 2.0).unwrap();
        last(&run)
    };
    let all = still("all", 8, "");
    assert_eq!(all.parameters, first.parameters);
    let (position, moments) = all.training.unwrap();
    assert_eq!((position.step, moments.steps), (8, 8));
    let part = still("part", 8, "fresh = [\"b*\"]");
    assert_eq!(values(&part, "weight"), values(&first, "weight"));
    let drawn = Line::new(settings(1).seed)
        .unwrap()
        .parameters
        .flat()
        .unwrap();
    assert_eq!(values(&part, "bias"), drawn[WIDTH..]);
    assert_ne!(values(&first, "bias"), drawn[WIDTH..]);
    // The average begins there too: after one step a tenth of it is what it began with.
    let averaged = still("average", 1, "average = 0.9");
    for (a, b) in averaged.parameters.iter().zip(&first.parameters) {
        let close = a
            .values
            .iter()
            .zip(&b.values)
            .all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(close, "{a:?} {b:?}");
    }
    // A run that goes on has weights of its own: the file may be gone.
    let run = dir.path().join("goes-on");
    start(&run, &from(&path, ""), 2.0).unwrap();
    std::fs::remove_file(&path).unwrap();
    let longer = Settings {
        steps: Some(12),
        ..from(&path, "")
    };
    run_with(&World::alone(), &run, Start::Resume, &longer, 4, 2.0).unwrap();
    let told = start(&dir.path().join("no"), &from(&path, ""), 2.0);
    assert!(
        told.unwrap_err()
            .to_string()
            .contains("imported.h5: no such file")
    );
}

#[test]
fn every_world_starts_alike() {
    const NAME: &str = "weights::every_world_starts_alike";
    let settings = |path: &Path| from(path, "fresh = [\"bias\"]\naverage = 0.9");
    if in_mpi() {
        let variable = |name| PathBuf::from(std::env::var_os(name).unwrap());
        let settings = Settings {
            optimizer_state: OptimizerState::Sharded,
            ..settings(&variable("INIT"))
        };
        let run = |world: &World| run_with(world, &variable("DIR"), Start::New, &settings, 4, 1.0);
        return World::run(run).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = imported(dir.path());
    let alone = dir.path().join("alone");
    start(&alone, &settings(&path), 1.0).unwrap();
    for ranks in [2, 4] {
        let run = dir.path().join(ranks.to_string());
        let variables = [("DIR", run.as_os_str()), ("INIT", path.as_os_str())];
        again_with(ranks, NAME, &variables).success();
        assert_eq!(state_of(&run), state_of(&alone), "{ranks} ranks");
    }
}

#[test]
fn every_mismatch_is_one_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    let (path, first) = imported(dir.path());
    let told = |change: &dyn Fn(&mut Checkpoint), more: &str| {
        let mut other = first.clone();
        change(&mut other);
        other.write(&path).unwrap();
        let told = start(&dir.path().join("run"), &from(&path, more), 1.0);
        let told = told.err().map_or(String::new(), |e| e.to_string());
        assert!(!told.contains('\n'), "{told}");
        let _ = std::fs::remove_dir_all(dir.path().join("run"));
        told.replace(&*path.to_string_lossy(), "FILE")
    };
    let lacks = |c: &mut Checkpoint| c.parameters.retain(|p| p.name != "bias");
    assert_eq!(
        told(&lacks, ""),
        "FILE: has no bias, which the model has; train.fresh = [\"bias\"] draws it anew"
    );
    assert_eq!(told(&lacks, "fresh = [\"bias\"]"), "");
    let longer = |c: &mut Checkpoint| {
        c.buffers[0].shape = vec![WIDTH + 1];
        c.buffers[0].values.push(0.0);
    };
    assert_eq!(
        told(&longer, ""),
        "FILE: mean has shape [6], the model [5]; train.fresh = [\"mean\"] draws it anew"
    );
    assert_eq!(told(&longer, "fresh = [\"me*\"]"), "");
    let more = |c: &mut Checkpoint| {
        c.parameters.push(NamedArray {
            name: "head.w".into(),
            shape: vec![1],
            values: vec![1.0],
        });
    };
    assert_eq!(
        told(&more, ""),
        "FILE: has head.w, which the model has not; train.fresh = [\"head.w\"] leaves it out"
    );
    assert_eq!(told(&more, "fresh = [\"head.*\"]"), "");
    let task = |c: &mut Checkpoint| c.task = "circle".into();
    assert_eq!(
        told(&task, ""),
        "FILE: train.init: its task is \"circle\", the job's \"line\""
    );
    assert!(told(&|_| (), "fresh = [\"x\"]").contains("train.fresh: no parameter fits \"x\""));
}

#[test]
fn what_is_frozen_stays_and_the_rest_learns() {
    let dir = tempfile::tempdir().unwrap();
    let (path, first) = imported(dir.path());
    let run = dir.path().join("run");
    start(
        &run,
        &from(&path, "freeze = [\"bias\", \"mean\"]\nclip_norm = 0.1"),
        3.0,
    )
    .unwrap();
    let end = last(&run);
    for name in ["bias", "mean"] {
        assert_eq!(values(&end, name), values(&first, name), "{name}");
    }
    let pairs = values(&end, "weight")
        .into_iter()
        .zip(values(&first, "weight"));
    assert!(pairs.into_iter().all(|(a, b)| a != b));
    let (_, moments) = end.training.unwrap();
    assert_eq!(moments.first[WIDTH], 0.0);
    // What is frozen has no part in the norm: the rest of the first gradient is as long as it may be.
    let first_step = Settings {
        steps: Some(1),
        adam: AdamSettings {
            weight_decay: 0.0,
            ..AdamSettings::default()
        },
        ..from(&path, "freeze = [\"bias\"]\nclip_norm = 0.1")
    };
    let run = dir.path().join("first-step");
    start(&run, &first_step, 3.0).unwrap();
    let (_, moments) = last(&run).training.unwrap();
    // Adam's first moment is a tenth of the gradient.
    let square = |m: &f32| (10.0 * f64::from(*m)).powi(2);
    let norm = moments.first.iter().map(square).sum::<f64>().sqrt();
    assert!((norm / 0.1 - 1.0).abs() < 1e-5, "{norm}");
}
