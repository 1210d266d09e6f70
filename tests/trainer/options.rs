//! What a job may add to plain training: schedules, clipping, averages, noise, early stops.

use super::*;
use holosig::models::Model;
use holosig::train::rate::Stand;

/// Settings with more keys, whose optimizer state is kept as the variable STATE says.
fn settings_with(more: &str, steps: u64) -> Settings {
    let plain = settings_of_state(steps);
    let mut table = toml::Table::try_from(&plain).unwrap();
    for (key, value) in more.parse::<toml::Table>().unwrap() {
        table.insert(key, value);
    }
    let settings: Settings = table.try_into().unwrap();
    settings.check().unwrap();
    settings
}

fn run_new(dir: &Path, settings: &Settings) {
    run_with(&World::alone(), dir, Start::New, settings, 4, 1.0).unwrap();
}

fn records(dir: &Path, event: &str) -> Vec<serde_json::Value> {
    let records = metrics::read(&RunFolder::new(dir).metrics()).unwrap();
    let of_kind = records.into_iter().filter(|r| r["event"] == event);
    of_kind.collect()
}

/// Norms of the gradients before they are clipped; nulls where they are not.
fn norms(dir: &Path) -> Vec<serde_json::Value> {
    let records = records(dir, "train");
    records.iter().map(|r| r["gradient_norm"].clone()).collect()
}

fn numbers(dir: &Path, event: &str, field: &str) -> Vec<f64> {
    let records = records(dir, event);
    records.iter().map(|r| r[field].as_f64().unwrap()).collect()
}

/// Everything at once, so that nothing forgets about another.
const ALL: [&str; 3] = [
    "learning_rate_warmup = 5\nlearning_rate_schedule = \"cosine\"\nlearning_rate_steps = 30\n\
     clip_norm = 0.7\naverage = 0.9\ncoordinate_noise = 0.05\ntensorboard = true\n\
     adam = { decay = \"decoupled\", weight_decay = 0.02 }",
    "learning_rate_schedule = \"plateau\"\nplateau = { metric = \"mse\", patience = 1 }\n\
     evaluations_per_epoch = 4\naverage = 0.5\nclip_norm = 0.2\n\
     early_stop = { patience = 4, margin = 0.01 }",
    "freeze = [\"mean\"]\ncoordinate_noise = 0.1\naverage = 0.99\n\
     groups = [{ parameters = [\"bias\"], learning_rate = 0.2, weight_decay = 0.0 }]",
];

/// In worlds of any size, whoever keeps the state, and with stops and changes of both in between.
#[test]
fn every_world_and_every_stop_gives_the_same_bits() {
    const NAME: &str = "options::every_world_and_every_stop_gives_the_same_bits";
    if in_mpi() {
        let variable = |name| std::env::var(name).unwrap();
        let dir = PathBuf::from(variable("DIR"));
        let which: usize = variable("WHICH").parse().unwrap();
        let settings = settings_with(ALL[which], variable("STEPS").parse().unwrap());
        let run = |world: &World| run_with(world, &dir, Start::Auto, &settings, 4, 1.0);
        return World::run(run).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    for (i, more) in ALL.into_iter().enumerate() {
        let which = i.to_string();
        let alone = dir.path().join(&which);
        run_new(&alone, &settings_with(more, 25));
        let on = |ranks, run: &Path, steps: &str, state: &str| {
            let variables = [
                ("DIR", run.as_os_str()),
                ("WHICH", which.as_ref()),
                ("STEPS", steps.as_ref()),
                ("STATE", state.as_ref()),
            ];
            again_with(ranks, NAME, &variables).success();
        };
        for (ranks, state) in [(2, "replicated"), (3, "sharded"), (4, "sharded")] {
            let run = dir.path().join(format!("{i}-{ranks}-{state}"));
            on(ranks, &run, "25", state);
            assert_eq!(state_of(&run), state_of(&alone), "{more}, {ranks} {state}");
            assert_eq!(validations(&run), validations(&alone), "{more}, {ranks}");
            assert_eq!(norms(&run), norms(&alone), "{more}, {ranks}");
        }
        let run = dir.path().join(format!("{i}-changing"));
        for (ranks, steps, state) in [
            (3, "6", "sharded"),
            (1, "13", "replicated"),
            (4, "20", "sharded"),
            (2, "25", "replicated"),
        ] {
            on(ranks, &run, steps, state);
        }
        assert_eq!(state_of(&run), state_of(&alone), "{more}");
    }
}

#[test]
fn the_rate_of_the_log_is_that_of_the_schedule() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings_with(ALL[0], 25);
    run_new(dir.path(), &settings);
    let rates = numbers(dir.path(), "train", "learning_rate");
    for (step, rate) in rates.into_iter().enumerate() {
        let stand = Stand {
            step: step as u64,
            epoch: 0,
            steps: 25,
            zero_epochs: 0,
            drops: 0,
        };
        let wanted = settings.learning_rate * settings.rate_factor(stand);
        assert!(
            (rate / wanted - 1.0).abs() < 1e-12,
            "{step}: {rate} {wanted}"
        );
    }
    // A cosine over the whole run is another one when the run gets longer.
    let dir = tempfile::tempdir().unwrap();
    let cosine = "learning_rate_schedule = \"cosine\"";
    run_new(dir.path(), &settings_with(cosine, 9));
    let longer = settings_with(cosine, 12);
    let told = run_with(&World::alone(), dir.path(), Start::Resume, &longer, 4, 1.0);
    let told = told.unwrap_err().to_string();
    assert!(
        told.contains("train.steps = 9, the job now says 12"),
        "{told}"
    );
}

/// After one step Adam's first moment is a tenth of the gradient.
#[test]
fn a_long_gradient_is_shortened() {
    let dir = tempfile::tempdir().unwrap();
    let first = |longest: f64| -> (f64, f64) {
        let run = dir.path().join(longest.to_string());
        let more = format!("clip_norm = {longest}\nadam = {{ weight_decay = 0.0 }}");
        run_new(&run, &settings_with(&more, 1));
        let (_, moments) = last(&run).training.unwrap();
        let square = |m: &f32| (10.0 * f64::from(*m)).powi(2);
        let clipped = moments.first.iter().map(square).sum::<f64>().sqrt();
        (numbers(&run, "train", "gradient_norm")[0], clipped)
    };
    let (norm, free) = first(1e9);
    assert!(
        (free / norm - 1.0).abs() < 1e-5 && norm > 1.0,
        "{norm} {free}"
    );
    let (same, clipped) = first(0.25);
    assert_eq!(same, norm);
    assert!((clipped / 0.25 - 1.0).abs() < 1e-5, "{clipped}");
}

/// The checkpoint's parameters are the averages, and they are what was validated.
#[test]
fn the_average_is_what_is_validated_and_saved() {
    let dir = tempfile::tempdir().unwrap();
    let more = "average = 0.97\nlearning_rate = 0.3";
    run_new(dir.path(), &settings_with(more, 33));
    let saved = last(dir.path());
    let (_, moments) = saved.training.clone().unwrap();
    let averaged: Vec<f32> = saved
        .parameters
        .iter()
        .flat_map(|p| p.values.clone())
        .collect();
    let raw = moments.raw.unwrap();
    assert_eq!(raw.len(), averaged.len());
    assert_ne!(raw, averaged);
    let error = |flat: &[f32]| {
        let squares = (1000..1017).map(|id| {
            let (x, y) = sample(id);
            let at: f64 = x.iter().zip(flat).map(|(x, w)| x * f64::from(*w)).sum();
            (at + f64::from(flat[WIDTH]) - y).powi(2)
        });
        squares.sum::<f64>() / 17.0
    };
    let told = *numbers(dir.path(), "validation", "mse").last().unwrap();
    assert!((error(&averaged) / told - 1.0).abs() < 1e-4, "{told}");
    assert!((error(&raw) / told - 1.0).abs() > 0.01, "{told}");
    // It follows the weights from where they began, of which one tenth is left after the first step.
    let one = dir.path().join("one");
    run_new(&one, &settings_with(more, 1));
    let saved = last(&one);
    let raw = saved.training.unwrap().1.raw.unwrap();
    let start = Line::new(settings_with(more, 1).seed).unwrap();
    let start = start.parameters().range(0..raw.len()).unwrap();
    let averaged = saved.parameters.iter().flat_map(|p| p.values.clone());
    for ((a, p), s) in averaged.zip(raw).zip(start.iter()) {
        assert!(
            (a - (0.1 * s + 0.9 * p)).abs() < 1e-6,
            "{a}, from {s} to {p}"
        );
    }
}

#[test]
fn a_metric_that_stands_still_lowers_the_rate_and_then_ends_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let with_patience = |patience, steps| {
        let more = format!(
            "learning_rate_schedule = \"plateau\"\nlearning_rate_drop = 0.1\n\
             plateau = {{ patience = 3, margin = 0.5 }}\n\
             early_stop = {{ metric = \"mse\", patience = {patience}, margin = 0.5 }}"
        );
        settings_with(&more, steps)
    };
    run_new(dir.path(), &with_patience(5, 400));
    let rates = numbers(dir.path(), "train", "learning_rate");
    let validations = numbers(dir.path(), "validation", "step");
    let done = *validations.last().unwrap() as usize;
    assert!(done < 200 && rates.len() == done, "{done}");
    assert!(rates.windows(2).all(|w| w[1] <= w[0]));
    assert!((rates[done - 1] / 0.005 - 1.0).abs() < 1e-9, "{rates:?}");
    assert_eq!(records(dir.path(), "end")[0]["early"], true);
    let (position, _) = last(dir.path()).training.unwrap();
    assert_eq!(position.step as usize, done);
    // It stays at its end, and goes on when there is more patience.
    let resume = |patience| {
        let settings = with_patience(patience, 400);
        run_with(
            &World::alone(),
            dir.path(),
            Start::Resume,
            &settings,
            4,
            1.0,
        )
        .unwrap();
        last(dir.path()).training.unwrap().0.step as usize
    };
    assert_eq!(resume(5), done);
    assert!(resume(7) > done);
    // A stop while it waits changes nothing.
    let interrupted = dir.path().join("interrupted");
    let waiting = validations[validations.len() - 2] as u64;
    for steps in [waiting, 400] {
        let settings = with_patience(5, steps);
        run_with(
            &World::alone(),
            &interrupted,
            Start::Auto,
            &settings,
            4,
            1.0,
        )
        .unwrap();
    }
    let end = last(&interrupted).training.unwrap().0.step;
    assert_eq!(end as usize, done);
}

#[test]
fn the_best_is_chosen_by_the_metric_that_the_job_names() {
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str, more: &str, stops: &[u64]| -> u64 {
        let run = dir.path().join(name);
        for &steps in stops {
            let more = format!("{more}\nevaluations_per_epoch = 10\nlearning_rate = 0.02");
            let settings = settings_with(&more, steps);
            run_with(&World::alone(), &run, Start::Auto, &settings, 4, 1.0).unwrap();
        }
        let best = Checkpoint::read(&RunFolder::new(&run).best()).unwrap();
        best.training.unwrap().0.step
    };
    let objective = run("objective", "", &[60]);
    let accuracy = "best = \"sign_accuracy\"";
    let chosen = run("accuracy", accuracy, &[60]);
    assert_eq!(run("stopped", accuracy, &[13, 31, 60]), chosen);
    // The first of the highest accuracies, which comes before the least loss.
    let of = |field| numbers(&dir.path().join("accuracy"), "validation", field);
    let (steps, accuracies) = (of("step"), of("sign_accuracy"));
    let highest = accuracies.iter().copied().fold(0.0, f64::max);
    let first = accuracies.iter().position(|&a| a == highest).unwrap();
    assert_eq!(chosen as f64, steps[first]);
    assert!(
        chosen < objective && highest > accuracies[0],
        "{accuracies:?}"
    );
}

#[test]
fn noise_is_on_training_samples_only() {
    let dir = tempfile::tempdir().unwrap();
    let runs = [("none", ""), ("some", "coordinate_noise = 0.3")];
    for (name, more) in runs {
        let more = format!("learning_rate = 0.0\n{more}");
        run_new(&dir.path().join(name), &settings_with(&more, 11));
    }
    let of = |name: &str, event| numbers(&dir.path().join(name), event, "mse");
    assert_eq!(of("none", "validation"), of("some", "validation"));
    let pairs = of("none", "train").into_iter().zip(of("some", "train"));
    assert!(pairs.into_iter().all(|(none, some)| none != some));
}

#[test]
fn mistakes_are_told_before_the_first_step() {
    let dir = tempfile::tempdir().unwrap();
    let told = |more: &str| {
        let settings = settings_with(more, 9);
        let run = dir.path().join("run");
        let told = run_with(&World::alone(), &run, Start::New, &settings, 4, 1.0);
        assert!(!RunFolder::new(&run).metrics().exists());
        told.unwrap_err().to_string()
    };
    let unknown = told("early_stop = { metric = \"accuracy\" }");
    assert_eq!(
        unknown,
        "train.early_stop.metric = \"accuracy\": the validation has objective, mse, \
         sign_accuracy"
    );
    assert_eq!(
        told("best = \"accuracy\""),
        "train.best = \"accuracy\": the validation has objective, mse, sign_accuracy"
    );
    assert!(told("freeze = [\"x*\"]").contains("no parameter fits \"x*\""));
    let refused = |more: &str| {
        let text = format!("batch = 10\nslices = 2\n{more}");
        let settings: Settings = toml::from_str(&text).unwrap();
        settings.check().unwrap_err().to_string()
    };
    assert!(refused("plateau = {}").contains("needs train.learning_rate_schedule"));
    assert!(refused("fresh = [\"a\"]").contains("train.fresh needs train.init"));
    for (key, value) in [
        ("clip_norm", "0.0"),
        ("average", "1.0"),
        ("coordinate_noise", "-0.1"),
        ("learning_rate_floor", "2.0"),
        ("learning_rate_drop", "1.0"),
    ] {
        let told = refused(&format!("{key} = {value}"));
        assert!(told.starts_with(&format!("train.{key} = ")), "{told}");
    }
}

/// A job that an earlier version has saved lacks the keys of today.
#[test]
fn runs_of_earlier_versions_go_on() {
    let dir = tempfile::tempdir().unwrap();
    run_new(dir.path(), &settings(9));
    let path = RunFolder::new(dir.path()).last();
    let mut saved = last(dir.path());
    let (position, _) = saved.training.as_mut().unwrap();
    let newer = [
        "learning_rate_warmup",
        "learning_rate_floor",
        "learning_rate_drop",
    ];
    let newer = [&newer[..], &["tensorboard", "decay"]].concat();
    let lines = position.job.lines().filter(|line| {
        let key = line.split(" =").next().unwrap_or_default();
        !newer.contains(&key)
    });
    let older: Vec<&str> = lines.collect();
    assert_eq!(older.len() + newer.len(), position.job.lines().count());
    position.job = older.join("\n");
    saved.write(&path).unwrap();
    run_with(
        &World::alone(),
        dir.path(),
        Start::Resume,
        &settings(12),
        4,
        1.0,
    )
    .unwrap();
}

/// The event file has what the log has, after stops and returns too.
#[test]
fn event_files_follow_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let with = |steps| settings_with("tensorboard = true", steps);
    run_new(dir.path(), &with(9));
    let files = || -> Vec<PathBuf> {
        let list = std::fs::read_dir(dir.path()).unwrap();
        let paths = list.map(|e| e.unwrap().path());
        let event = |p: &PathBuf| p.to_string_lossy().contains("events.out.tfevents.");
        paths.filter(event).collect()
    };
    let first = files();
    run_with(
        &World::alone(),
        dir.path(),
        Start::Resume,
        &with(14),
        4,
        1.0,
    )
    .unwrap();
    let second = files();
    assert_eq!((first.len(), second.len()), (1, 1));
    assert!(second > first);
    let bytes = std::fs::read(&second[0]).unwrap();
    let count = |tag: &[u8]| bytes.windows(tag.len()).filter(|w| w == &tag).count();
    assert_eq!(
        count(b"train/objective"),
        records(dir.path(), "train").len()
    );
    let validations = records(dir.path(), "validation").len();
    assert_eq!(count(b"validation/mse"), validations);
    assert!(validations >= 2);
}
