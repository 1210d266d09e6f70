//! The trainer with a model whose answer is known: linear regression.

#[path = "../common/mod.rs"]
mod common;
mod faults;
mod line;
mod options;
mod weights;

use common::{again_with, in_mpi};
use holosig::Result;
use holosig::comm::World;
use holosig::train::{
    Checkpoint, Compression, LossSchedule, OptimizerState, Plan, Reduction, RunFolder, Settings,
    Start, metrics, train,
};
use line::{Line, Regression, SAMPLES, WIDTH, sample};
use std::path::{Path, PathBuf};

fn settings(steps: u64) -> Settings {
    toml::from_str(&format!(
        "batch = 10\nslices = 2\nsteps = {steps}\nlearning_rate = 0.05\nlog_every = 1\ncheckpoint_every = 7"
    ))
    .unwrap()
}

fn run_in(world: &World, dir: &Path, start: Start, steps: u64, slices: usize) -> Result<()> {
    run_with(world, dir, start, &settings(steps), slices, 1.0)
}

fn run_with(
    world: &World,
    dir: &Path,
    start: Start,
    settings: &Settings,
    slices: usize,
    scale: f64,
) -> Result<()> {
    let task = Regression {
        model: Line::new(settings.seed)?,
        scale,
        bad: Vec::new(),
    };
    run_task(world, dir, start, settings, slices, &task)
}

fn run_task(
    world: &World,
    dir: &Path,
    start: Start,
    settings: &Settings,
    slices: usize,
    task: &Regression,
) -> Result<()> {
    let folder = RunFolder::new(dir).extending();
    let checkpoint = folder.open(world, start)?;
    let settings = &Settings {
        slices,
        ..settings.clone()
    };
    let plan = Plan {
        task,
        settings,
        loss: &LossSchedule::constant(&[("mse", 1.0)]),
        job: toml::to_string(&toml::Table::from_iter([(
            "train".to_string(),
            toml::Value::try_from(settings).unwrap(),
        )]))
        .unwrap(),
        folder: &folder,
    };
    train(world, &plan, checkpoint.as_ref())
}

fn last(dir: &Path) -> Checkpoint {
    Checkpoint::read(&RunFolder::new(dir).last()).unwrap()
}

/// Validation lines without the time.
fn validations(dir: &Path) -> Vec<String> {
    metrics::read(&RunFolder::new(dir).metrics())
        .unwrap()
        .iter()
        .filter(|r| r["event"] == "validation")
        .map(|r| format!("{} {} {}", r["step"], r["objective"], r["mse"]))
        .collect()
}

#[test]
fn every_world_gives_the_same_bits() {
    const NAME: &str = "every_world_gives_the_same_bits";
    if in_mpi() {
        let dir = PathBuf::from(std::env::var_os("DIR").unwrap());
        return World::run(|world| run_in(world, &dir, Start::New, 25, 4)).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let alone = dir.path().join("alone");
    run_in(&World::alone(), &alone, Start::New, 25, 4).unwrap();
    for ranks in [1, 2, 3, 4] {
        let run = dir.path().join(format!("{ranks}"));
        again_with(ranks, NAME, &[("DIR", run.as_os_str())]).success();
        assert_eq!(last(&run).hash(), last(&alone).hash(), "{ranks} ranks");
        assert_eq!(
            last(&run).training.unwrap().1,
            last(&alone).training.unwrap().1
        );
        assert_eq!(validations(&run), validations(&alone), "{ranks} ranks");
    }
}

/// Settings whose optimizer state is kept as the environment variable STATE says.
fn settings_of_state(steps: u64) -> Settings {
    let state = match std::env::var("STATE").as_deref() {
        Ok("sharded") => OptimizerState::Sharded,
        _ => OptimizerState::Replicated,
    };
    Settings {
        optimizer_state: state,
        ..settings(steps)
    }
}

/// Everything of a checkpoint but the job, which tells where the state was kept.
fn state_of(dir: &Path) -> Checkpoint {
    let mut found = last(dir);
    found.training.as_mut().unwrap().0.job.clear();
    found
}

/// A run that is stopped and resumed with and without sharded moments, in one world after the
/// other, ends like one that was never stopped.
#[test]
fn sharded_moments_give_the_same_bits() {
    const NAME: &str = "sharded_moments_give_the_same_bits";
    if in_mpi() {
        let dir = PathBuf::from(std::env::var_os("DIR").unwrap());
        let steps: u64 = std::env::var("STEPS").unwrap().parse().unwrap();
        let settings = settings_of_state(steps);
        let run = |world: &World| run_with(world, &dir, Start::Auto, &settings, 8, 1.0);
        return World::run(run).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let alone = dir.path().join("alone");
    run_in(&World::alone(), &alone, Start::New, 25, 8).unwrap();
    let on = |ranks, run: &Path, steps: &str, state: &str| {
        let variables = [
            ("DIR", run.as_os_str()),
            ("STEPS", steps.as_ref()),
            ("STATE", state.as_ref()),
        ];
        again_with(ranks, NAME, &variables).success();
    };
    for ranks in [1, 2, 3, 4, 8] {
        let run = dir.path().join(format!("{ranks}"));
        on(ranks, &run, "25", "sharded");
        assert_eq!(state_of(&run), state_of(&alone), "{ranks} ranks");
        assert_eq!(validations(&run), validations(&alone), "{ranks} ranks");
    }
    let run = dir.path().join("changing");
    for (ranks, steps, state) in [
        (3, "9", "sharded"),
        (2, "14", "replicated"),
        (4, "20", "sharded"),
        (5, "25", "sharded"),
    ] {
        on(ranks, &run, steps, state);
    }
    assert_eq!(state_of(&run), state_of(&alone));
}

#[test]
fn more_ranks_than_slices_is_one_clear_error() {
    const NAME: &str = "more_ranks_than_slices_is_one_clear_error";
    if in_mpi() {
        let dir = PathBuf::from(std::env::var_os("DIR").unwrap());
        env_logger::init();
        let error = World::run(|world| run_in(world, &dir, Start::New, 25, 2)).unwrap_err();
        std::process::exit(error.exit_code());
    }
    let dir = tempfile::tempdir().unwrap();
    again_with(3, NAME, &[("DIR", dir.path().as_os_str())])
        .failure(2, "train.slices = 2 is too few for 3 ranks");
}

#[test]
fn a_resumed_run_is_the_uninterrupted_one() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
    let world = World::alone();
    run_in(&world, &whole, Start::New, 25, 2).unwrap();
    run_in(&world, &parts, Start::New, 9, 2).unwrap();
    run_in(&world, &parts, Start::Resume, 20, 2).unwrap();
    // A damaged newest checkpoint costs the steps since the one before, nothing else.
    common::flip_byte(&RunFolder::new(&parts).last(), 5000);
    run_in(&world, &parts, Start::Auto, 25, 2).unwrap();
    assert_eq!(
        last(&parts),
        Checkpoint {
            ..with_job_of(&parts, last(&whole))
        }
    );
    let steps: Vec<u64> = metrics::read(&RunFolder::new(&parts).metrics())
        .unwrap()
        .iter()
        .filter(|r| r["event"] == "train")
        .filter_map(|r| r["step"].as_u64())
        .collect();
    assert_eq!(
        steps,
        (1..=25).collect::<Vec<_>>(),
        "no line twice, none missing"
    );
    assert!(RunFolder::new(&parts).plot().exists());
}

/// The job's number of steps differs by design; everything else must not.
fn with_job_of(dir: &Path, mut checkpoint: Checkpoint) -> Checkpoint {
    let job = last(dir).training.unwrap().0.job;
    checkpoint.training.as_mut().unwrap().0.job = job;
    checkpoint
}

#[test]
fn slices_of_any_size_give_the_gradient_of_the_mean() {
    let dir = tempfile::tempdir().unwrap();
    let mut reference = None;
    for slices in [1, 2, 16] {
        let run = dir.path().join(format!("{slices}"));
        // Step 11 is a partial batch of three samples: 16 slices of it are mostly empty.
        run_in(&World::alone(), &run, Start::New, 12, slices).unwrap();
        let flat: Vec<f32> = last(&run)
            .parameters
            .into_iter()
            .flat_map(|p| p.values)
            .collect();
        let reference = reference.get_or_insert_with(|| flat.clone());
        for (a, b) in flat.iter().zip(reference.iter()) {
            assert!((a - b).abs() < 1e-5, "{slices}: {a} {b}");
        }
    }
    let signs = first_gradient_signs();
    let run = dir.path().join("first");
    run_in(&World::alone(), &run, Start::New, 1, 4).unwrap();
    let start = Line::new(settings(1).seed)
        .unwrap()
        .parameters
        .flat()
        .unwrap();
    for ((end, start), sign) in last(&run)
        .parameters
        .iter()
        .flat_map(|p| &p.values)
        .zip(&start)
        .zip(signs)
    {
        assert!((end - start + 0.05 * sign).abs() < 1e-4);
    }
}

/// Signs of the first batch's gradient, which is what Adam's first step follows.
fn first_gradient_signs() -> Vec<f32> {
    let start = Line::new(settings(1).seed)
        .unwrap()
        .parameters
        .flat()
        .unwrap();
    let mut key = settings(1).seed.to_le_bytes().to_vec();
    key.extend(0u64.to_le_bytes());
    let order = holosig::data::sampler::Permutation::new(SAMPLES, xxhash_rust::xxh3::xxh3_64(&key));
    let mut gradient = [0.0; WIDTH + 1];
    for (x, y) in (0..10).map(|i| sample(order.at(i))) {
        let at: f64 = x.iter().zip(&start).map(|(x, w)| x * f64::from(*w)).sum();
        let error = at + f64::from(start[WIDTH]) - y;
        (0..WIDTH).for_each(|j| gradient[j] += error * x[j]);
        gradient[WIDTH] += error;
    }
    gradient.iter().map(|g| g.signum() as f32).collect()
}

#[test]
fn it_learns() {
    let dir = tempfile::tempdir().unwrap();
    run_in(&World::alone(), dir.path(), Start::New, 600, 2).unwrap();
    let found = last(dir.path());
    let wanted = [1.0, 0.0, 0.0, -2.0, 0.0, 0.5];
    let flat = found.parameters.iter().flat_map(|p| &p.values);
    for (f, w) in flat.zip(wanted) {
        assert!((f - w).abs() < 0.05, "{:?}", found.parameters);
    }
    let (position, _) = found.training.unwrap();
    let best = position.best.unwrap();
    assert!(best.value < 1e-3 && best.warm);
    let saved = Checkpoint::read(&RunFolder::new(dir.path()).best()).unwrap();
    assert_eq!(saved.training.unwrap().0.step, best.step);
}

/// Other sums than the reproducible one: `fast`, `bf16`, and `bf16` with sharded moments.
#[test]
fn fast_reductions_stay_close() {
    const NAME: &str = "fast_reductions_stay_close";
    let settings_of = |kind: &str, steps| Settings {
        reduction: Reduction::Fast,
        compression: (kind != "fast").then_some(Compression::Bf16),
        optimizer_state: match kind {
            "sharded" => OptimizerState::Sharded,
            _ => OptimizerState::Replicated,
        },
        ..settings(steps)
    };
    if in_mpi() {
        let dir = PathBuf::from(std::env::var_os("DIR").unwrap());
        let settings = settings_of(&std::env::var("KIND").unwrap(), 600);
        let run = |world: &World| run_with(world, &dir, Start::New, &settings, 4, 1.0);
        return World::run(run).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let exact = dir.path().join("exact");
    run_in(&World::alone(), &exact, Start::New, 600, 4).unwrap();
    let value = |dir: &Path| last(dir).training.unwrap().0.best.unwrap().value;
    for (ranks, kind) in [(2, "fast"), (2, "bf16"), (3, "bf16"), (3, "sharded")] {
        let run = dir.path().join(format!("{ranks}-{kind}"));
        let variables = [("DIR", run.as_os_str()), ("KIND", kind.as_ref())];
        again_with(ranks, NAME, &variables).success();
        let flat = |dir: &Path| last(dir).parameters.into_iter().flat_map(|p| p.values);
        for (x, y) in flat(&run).zip(flat(&exact)) {
            assert!((x - y).abs() < 0.02, "{ranks} {kind}: {x} {y}");
        }
        let (here, there) = (value(&run), value(&exact));
        assert!(here < 1.2 * there, "{ranks} {kind}: {here} {there}");
    }
    // What rounding has taken is no part of a checkpoint: a resumed run goes on without it.
    let run = dir.path().join("2-bf16");
    let settings = settings_of("bf16", 620);
    run_with(&World::alone(), &run, Start::Resume, &settings, 4, 1.0).unwrap();
    let refused = Settings {
        reduction: Reduction::Reproducible,
        ..settings
    };
    let told = run_with(&World::alone(), &run, Start::Resume, &refused, 4, 1.0).unwrap_err();
    let told = told.to_string();
    assert!(told.contains("needs train.reduction = \"fast\""), "{told}");
}

#[test]
fn changes_on_resume_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::alone();
    run_in(&world, dir.path(), Start::New, 5, 2).unwrap();
    let told = |r: Result<()>| r.unwrap_err().to_string();
    let other = Settings {
        learning_rate: 0.1,
        ..settings(9)
    };
    let message = told(run_with(&world, dir.path(), Start::Resume, &other, 2, 1.0));
    assert!(
        message.contains("train.learning_rate = 0.05, the job now says 0.1"),
        "{message}"
    );
    let message = told(run_in(&world, dir.path(), Start::Resume, 9, 4));
    assert!(
        message.contains("slices = 2, the job now says 4"),
        "{message}"
    );
    let message = told(run_with(
        &world,
        dir.path(),
        Start::Resume,
        &settings(9),
        2,
        2.0,
    ));
    assert!(message.contains("the dataset has changed"), "{message}");
    let message = told(run_in(&world, dir.path(), Start::Resume, 4, 2));
    assert!(message.contains("at step 5 already"), "{message}");
    run_in(&world, dir.path(), Start::Resume, 9, 2).unwrap();
}

#[test]
fn divergence_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::alone();
    let told = run_with(&world, dir.path(), Start::New, &settings(5), 2, 1e39).unwrap_err();
    assert!(
        told.to_string()
            .contains("training diverged: step 0: the loss is not finite"),
        "{told}"
    );
}
