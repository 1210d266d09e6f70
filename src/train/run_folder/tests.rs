use super::*;
use crate::train::checkpoint::{Checkpoint, Moments, Progress, write_damaged_inside};

fn checkpoint(step: u64) -> Checkpoint {
    let progress = Progress {
        step,
        epoch: 0,
        position: step,
        seed: 1,
        best: None,
        guard: Default::default(),
        control: Default::default(),
        job: String::new(),
        fingerprint: String::new(),
    };
    let moments = Moments {
        steps: step,
        first: Vec::new(),
        second: Vec::new(),
        raw: None,
    };
    Checkpoint {
        task: String::new(),
        description: String::new(),
        parameters: Vec::new(),
        buffers: Vec::new(),
        training: Some((progress, moments)),
    }
}

fn step_of(found: Option<Saved>) -> Option<u64> {
    found.and_then(|c| c.progress().map(|p| p.step))
}

fn save(folder: &RunFolder, step: u64, best: bool) {
    let write = |path: &Path| checkpoint(step).write(path).map(drop);
    folder.save(write, step, best, 2).unwrap();
}

fn names(folder: &RunFolder) -> Vec<String> {
    let mut names: Vec<String> = entries(&folder.checkpoints())
        .unwrap()
        .iter()
        .map(|p| p.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 16;
    // In place: a hard link shows the damage too.
    fs::write(path, bytes).unwrap();
}

#[test]
fn keeps_the_newest_and_the_best() {
    let dir = tempfile::tempdir().unwrap();
    let folder = RunFolder::new(dir.path().join("run"));
    let world = World::alone();
    assert!(folder.open(&world, Start::Auto).unwrap().is_none());
    for (step, best) in [(1, true), (2, false), (10, true), (11, false), (12, false)] {
        save(&folder, step, best);
    }
    assert_eq!(
        names(&folder),
        ["best.h5", "last.h5", "step-11.h5", "step-12.h5"]
    );
    let best = Saved::open(&folder.best()).unwrap();
    assert_eq!(step_of(Some(best)), Some(10));
    assert_eq!(
        step_of(folder.open(&world, Start::Resume).unwrap()),
        Some(12)
    );
}

#[test]
fn damaged_checkpoints_are_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let folder = RunFolder::new(dir.path());
    let world = World::alone();
    folder.open(&world, Start::New).unwrap();
    save(&folder, 1, true);
    save(&folder, 2, false);
    flip(&folder.last());
    assert!(Checkpoint::read(&folder.step(2)).is_err(), "the same file");
    assert_eq!(
        step_of(folder.open(&world, Start::Resume).unwrap()),
        Some(1)
    );
    flip(&folder.step(1));
    let told = folder.open(&world, Start::Auto).unwrap_err().to_string();
    assert!(told.contains("none of 2 checkpoints can be used"), "{told}");
}

#[test]
fn a_checkpoint_that_is_damaged_inside_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let folder = RunFolder::new(dir.path());
    let world = World::alone();
    folder.open(&world, Start::New).unwrap();
    save(&folder, 1, true);
    let progress = checkpoint(2).training.unwrap().0;
    let write = |path: &Path| write_damaged_inside(path, &progress);
    folder.save(write, 2, false, 2).unwrap();
    let newest = Saved::open(&folder.step(2)).unwrap();
    assert!(newest.verify().is_err());
    assert_eq!(
        step_of(folder.open(&world, Start::Resume).unwrap()),
        Some(1)
    );
}

#[test]
fn the_best_outlives_damage_to_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let folder = RunFolder::new(dir.path());
    let world = World::alone();
    folder.open(&world, Start::New).unwrap();
    save(&folder, 1, true);
    save(&folder, 2, true);
    flip(&folder.step(2));
    let best = Saved::open(&folder.best()).unwrap();
    assert_eq!(step_of(Some(best)), Some(2));
    assert_eq!(
        step_of(folder.open(&world, Start::Resume).unwrap()),
        Some(1)
    );
}

#[test]
fn folders_that_do_not_fit_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = RunFolder::new(dir.path());
    let world = World::alone();
    let told = folder.open(&world, Start::Resume).unwrap_err().to_string();
    assert!(told.contains("no checkpoint to resume from"), "{told}");
    folder.open(&world, Start::New).unwrap();
    folder.begin("", 0).unwrap();
    let told = folder.open(&world, Start::New).unwrap_err().to_string();
    assert!(told.contains("holds a run already"), "{told}");
    // Files of ours without the metrics that come before them are somebody else's.
    let told = folder.open(&world, Start::Auto).unwrap_err().to_string();
    assert!(told.contains("files of something else"), "{told}");
    fs::write(folder.metrics(), "").unwrap();
    assert!(folder.open(&world, Start::Auto).unwrap().is_none());
    let file = dir.path().join("job.toml");
    assert!(RunFolder::new(file).open(&world, Start::New).is_err());
}

#[test]
fn leftovers_of_a_killed_process_go() {
    let dir = tempfile::tempdir().unwrap();
    let folder = RunFolder::new(dir.path());
    folder.open(&World::alone(), Start::New).unwrap();
    let half = folder.checkpoints().join(".step-3.h5.4711.part");
    fs::write(&half, "half").unwrap();
    folder.open(&World::alone(), Start::New).unwrap();
    assert!(!half.exists());
}

#[test]
fn a_run_that_did_not_begin_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("runs/a");
    let folder = RunFolder::new(&out);
    folder.open(&World::alone(), Start::New).unwrap();
    folder.open(&World::alone(), Start::New).unwrap();
    assert!(folder.checkpoints().is_dir());
    drop(folder);
    assert!(!dir.path().join("runs").exists());
    // A folder of the user's stays, and so does a run's with something in it.
    fs::create_dir_all(&out).unwrap();
    let folder = RunFolder::new(&out);
    folder.open(&World::alone(), Start::New).unwrap();
    drop(folder);
    assert!(out.is_dir() && !out.join("checkpoints").exists());
    let folder = RunFolder::new(out.join("b"));
    folder.open(&World::alone(), Start::New).unwrap();
    save(&folder, 1, true);
    drop(folder);
    assert!(out.join("b/checkpoints/last.h5").exists());
}
