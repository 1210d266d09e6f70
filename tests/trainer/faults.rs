//! Losses that are not finite, and losses that spike.

use super::*;
use holosig::train::OnNonfinite;

/// What to do about faults, and which losses are spikes.
type Policy = (OnNonfinite, Option<f64>);

/// Trains on points of which one is not finite, or far off where spikes are watched.
fn run_bad(world: &World, dir: &Path, start: Start, steps: u64, policy: Policy) -> Result<()> {
    let settings = Settings {
        on_nonfinite: policy.0,
        spike: policy.1,
        ..settings_of_state(steps)
    };
    run_bad_with(world, dir, start, &settings)
}

fn run_bad_with(world: &World, dir: &Path, start: Start, settings: &Settings) -> Result<()> {
    let value = if settings.spike.is_some() {
        1e3
    } else {
        f32::NAN
    };
    let task = Regression {
        model: Line::new(settings.seed)?,
        scale: 1.0,
        bad: vec![(BAD, value)],
    };
    run_task(world, dir, start, settings, 4, &task)
}

/// The point that is bad.
const BAD: u64 = 40;

fn events(dir: &Path, event: &str) -> Vec<serde_json::Value> {
    let records = metrics::read(&RunFolder::new(dir).metrics()).unwrap();
    records
        .into_iter()
        .filter(|r| r["event"] == event)
        .collect()
}

#[test]
fn a_point_that_is_not_finite_stops_the_run_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::alone();
    let told = run_bad(
        &world,
        dir.path(),
        Start::New,
        25,
        (OnNonfinite::Stop, None),
    )
    .unwrap_err()
    .to_string();
    assert!(
        told.contains("samples whose own loss is not finite: point 40;"),
        "{told}"
    );
    let fault = &events(dir.path(), "fault")[0];
    assert_eq!(
        (&fault["action"], &fault["samples"][0]),
        (&"stop".into(), &BAD.into())
    );
    // As told: the run goes on with another policy.
    run_bad(
        &world,
        dir.path(),
        Start::Auto,
        25,
        (OnNonfinite::Skip, None),
    )
    .unwrap();
    let flat: Vec<f32> = last(dir.path())
        .parameters
        .into_iter()
        .flat_map(|p| p.values)
        .collect();
    assert!(flat.iter().all(|v| v.is_finite()));
}

#[test]
fn every_world_treats_faults_alike() {
    const NAME: &str = "faults::every_world_treats_faults_alike";
    let policies: [Policy; 4] = [
        (OnNonfinite::Skip, None),
        (OnNonfinite::Rollback, None),
        (OnNonfinite::Skip, Some(10.0)),
        (OnNonfinite::Rollback, Some(10.0)),
    ];
    if in_mpi() {
        let dir = PathBuf::from(std::env::var_os("DIR").unwrap());
        let i: usize = std::env::var("POLICY").unwrap().parse().unwrap();
        return World::run(|world| run_bad(world, &dir, Start::New, 60, policies[i])).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    for (i, policy) in policies.into_iter().enumerate() {
        let number = i.to_string();
        let alone = dir.path().join(&number);
        run_bad(&World::alone(), &alone, Start::New, 60, policy).unwrap();
        let faults = events(&alone, "fault");
        let action = if policy.0 == OnNonfinite::Skip {
            "skip"
        } else {
            "rollback"
        };
        assert!(!faults.is_empty(), "{policy:?}");
        for fault in &faults {
            assert_eq!(
                (&fault["action"], &fault["names"][0]),
                (&action.into(), &"point 40".into())
            );
        }
        let steps: Vec<u64> = events(&alone, "train")
            .iter()
            .filter_map(|r| r["step"].as_u64())
            .collect();
        assert_eq!(steps, (1..=60).collect::<Vec<_>>(), "{policy:?}");
        for (ranks, state) in [(2, "replicated"), (3, "replicated"), (3, "sharded")] {
            let run = dir.path().join(format!("{i}-{ranks}-{state}"));
            let variables = [
                ("DIR", run.as_os_str()),
                ("POLICY", number.as_ref()),
                ("STATE", state.as_ref()),
            ];
            again_with(ranks, NAME, &variables).success();
            assert_eq!(
                state_of(&run),
                state_of(&alone),
                "{ranks} ranks, {state}, {policy:?}"
            );
        }
        let parts = dir.path().join(format!("{i}-parts"));
        run_bad(&World::alone(), &parts, Start::New, 51, policy).unwrap();
        run_bad(&World::alone(), &parts, Start::Resume, 60, policy).unwrap();
        assert_eq!(last(&parts).hash(), last(&alone).hash(), "{policy:?}");
        assert_eq!(
            last(&parts).training.unwrap().0.guard,
            last(&alone).training.unwrap().0.guard
        );
    }
}

#[test]
fn faults_have_a_limit() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        on_nonfinite: OnNonfinite::Skip,
        nonfinite_limit: 1,
        ..settings(25)
    };
    let told = run_bad_with(&World::alone(), dir.path(), Start::New, &settings).unwrap_err();
    assert!(
        told.to_string().contains("train.nonfinite_limit = 1"),
        "{told}"
    );
    assert_eq!(events(dir.path(), "fault").len(), 2);
}
