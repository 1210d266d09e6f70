//! What a job may add to plain training, through the program and on real structures.

use super::*;

/// Everything at once.
const SETS: [&str; 9] = [
    "train.learning_rate_schedule=cosine",
    "train.learning_rate_warmup=6",
    "train.learning_rate_steps=60",
    "train.adam.decay=decoupled",
    "train.clip_norm=2.0",
    "train.average=0.9",
    "train.coordinate_noise=0.1",
    "train.early_stop={ metric = \"cosine\", patience = 50 }",
    "train.tensorboard=true",
];

fn sets<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&SETS[..], more].concat()
}

fn last_objective(out: &Path) -> f64 {
    let records = holosig::train::metrics::read(&out.join("metrics.jsonl")).unwrap();
    let mut train = records.iter().rev().filter(|r| r["event"] == "train");
    train.next().unwrap()["objective"].as_f64().unwrap()
}

#[test]
fn every_world_and_every_stop_gives_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let alone = dir.path().join("alone");
    train_on(0, &alone, &sets(&["train.steps=24"]), &[]).success();
    let scores = |out: &Path| std::fs::read_to_string(out.join("scores.json")).unwrap();
    assert_ne!(hash(&alone), reference());
    for ranks in [2, 4] {
        let out = dir.path().join(ranks.to_string());
        let more = ["train.steps=24", "train.optimizer_state=sharded"];
        train_on(ranks, &out, &sets(&more), &[]).success();
        assert_eq!(hash(&out), hash(&alone), "{ranks} ranks");
        assert_eq!(scores(&out), scores(&alone), "{ranks} ranks");
    }
    // Killed while it runs, and ended in another world.
    let out = dir.path().join("killed");
    let running = started_with(2, &out, &SETS);
    signal("KILL", &ranks_of(&running)[..1]);
    assert_ne!(running.wait(LIMIT).code, 0);
    let at = Checkpoint::read(&last(&out))
        .unwrap()
        .training
        .unwrap()
        .0
        .step;
    let steps = format!("train.steps={}", at + 6);
    let more = [&*steps, "train.optimizer_state=sharded"];
    train_on(3, &out, &sets(&more), &["--resume"]).success();
    let whole = dir.path().join("whole");
    train_on(0, &whole, &sets(&[&steps]), &[]).success();
    assert_eq!(hash(&out), hash(&whole));
    assert_eq!(last_objective(&out), last_objective(&whole));
}

#[test]
fn noise_moves_the_atoms_of_neighborhoods() {
    common::noise_is_learned_from(|out, sets| train_on(0, out, sets, &[]));
}

#[test]
fn a_trace_shows_every_thread_and_changes_no_bits() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    train_on(0, &plain, &["train.steps=4"], &[]).success();
    let (out, file) = (dir.path().join("traced"), dir.path().join("t/trace.json"));
    let options = ["--trace", file.to_str().unwrap()];
    train_on(2, &out, &["train.steps=4"], &options).success();
    assert_eq!(hash(&out), hash(&plain));
    let text = std::fs::read_to_string(&file).unwrap();
    let trace: serde_json::Value = serde_json::from_str(&text).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let count = |rank: usize, name: &str| {
        let of = |e: &&serde_json::Value| e["pid"] == rank && e["name"] == name && e["ph"] == "X";
        events.iter().filter(of).count()
    };
    for rank in 0..2 {
        assert_eq!(count(rank, "step"), 4);
        assert_eq!(count(rank, "update"), 4);
        // Two of the four slices of each step.
        for name in ["slice", "forward pass", "backward pass"] {
            assert_eq!(count(rank, name), 8, "{name}");
        }
        assert!(count(rank, "with all ranks") > 0);
        assert!(count(rank, "the Clebsch-Gordan step, gradient") > 0);
    }
    // Its like is replaced, anything else is not.
    let again = dir.path().join("again");
    train_on(0, &again, &["train.steps=1"], &options).success();
    std::fs::write(&file, "mine").unwrap();
    let third = dir.path().join("third");
    train_on(0, &third, &["train.steps=1"], &options).failure(2, "trace.json");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
}

#[test]
fn a_launcher_that_binds_a_rank_to_too_few_cores_is_told() {
    let told = |threads: Option<&str>, policy: &str| {
        let mut command = holosig_on(1);
        command.env_remove("RAYON_NUM_THREADS");
        threads.map(|n| command.env("RAYON_NUM_THREADS", n));
        command.env("OMPI_MCA_hwloc_base_binding_policy", policy);
        let dir = tempfile::tempdir().unwrap();
        train_args(&mut command, dir.path(), &["train.steps=1"]);
        let outcome = start(command.arg("--dry-run")).wait(LIMIT).success();
        outcome.stderr.matches("--bind-to none").count()
    };
    let cores = std::thread::available_parallelism().unwrap().get();
    let binds = Command::new("mpirun").arg("--version").output().unwrap();
    let binds = String::from_utf8_lossy(&binds.stdout).contains("Open MPI");
    assert_eq!(told(None, "core"), usize::from(binds && cores > 1));
    assert_eq!(told(Some("1"), "core"), 0);
    assert_eq!(told(None, "none"), 0);
}

#[test]
fn a_model_goes_on_from_the_weights_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let first = dir.path().join("first");
    train_on(0, &first, &["train.steps=10"], &[]).success();
    // Weights without settings are a start for networks of atoms only.
    let foreign = dir.path().join("foreign");
    train_on(2, &foreign, &["train.init=weights.safetensors"], &[]).failure(
        2,
        "weights.safetensors: train.init: a job of the task hvae starts from a checkpoint",
    );
    let init = format!("train.init={}", last(&first).display());
    let second = dir.path().join("second");
    let other = format!("data.dataset={}", bench().join("other.h5").display());
    // Fewer atoms: a norm factor of its own.
    let fewer = "data.central_residue=false";
    let more = [
        &*init,
        &*other,
        fewer,
        "train.steps=3",
        "train.learning_rate=0.0",
    ];
    let frozen = [&more[..], &["train.freeze=[\"*bn*\", \"*norm*\"]"]].concat();
    let outcome = train_on(2, &second, &more, &[]).success();
    assert!(outcome.stdout.contains("starts from"), "{outcome:#?}");
    let parameters = |out: &Path| Checkpoint::read(&last(out)).unwrap().parameters;
    assert_eq!(parameters(&second), parameters(&first));
    // The norm factor comes with the weights, whatever the data.
    let description = |out: &Path| Checkpoint::read(&last(out)).unwrap().description;
    let factor = |out: &Path| -> String {
        let text = description(out);
        let mut lines = text.lines().filter(|l| l.starts_with("norm_factor"));
        lines.next().unwrap().to_string()
    };
    assert_eq!(factor(&second), factor(&first));
    let third = dir.path().join("third");
    train_on(0, &third, &[&other, fewer, "train.steps=1"], &[]).success();
    assert_ne!(factor(&third), factor(&first));
    // A dry run tells what does not fit, and nothing is written.
    let no = dir.path().join("no");
    let told = train_on(2, &no, &[&*init, "model.latent_dim=5"], &["--dry-run"]);
    told.failure(2, "draws it anew");
    let dry = train_on(0, &no, &frozen, &["--dry-run"]);
    dry.failure(2, "no parameter fits \"*bn*\"");
    assert!(!no.exists());
}

/// A dry run of the script that sends metrics to services, on a run of ours.
#[test]
fn runs_can_be_sent_to_services() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/sync_run.py");
    let python = Command::new("python3")
        .args(["-c", "import tomllib"])
        .status();
    if !python.is_ok_and(|status| status.success()) {
        eprintln!("not tested: no Python of 3.11 or later");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    train_on(0, &out, &["train.steps=3"], &[]).success();
    let sync = |folder: &Path, service| {
        let mut command = Command::new("python3");
        command.arg(&script).arg(folder);
        run(command.args(["--to", service, "--dry-run"]))
    };
    for service in ["wandb", "mlflow"] {
        let told = sync(&out, service).success().stdout;
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines.contains(&"config train.steps = 3"), "{told}");
        tells(&told, "step 3 train/objective = ", last_objective(&out));
        assert!(told.contains("step 3 validation/cosine = "), "{told}");
    }
    sync(dir.path(), "wandb").failure(2, "no run folder");
}

/// Whether some line is these words and this number, which others may have rounded.
fn tells(told: &str, words: &str, number: f64) {
    let mut found = told.lines().filter_map(|line| line.strip_prefix(words));
    let found: f64 = found
        .next()
        .unwrap_or_else(|| panic!("{words}: {told}"))
        .parse()
        .unwrap();
    assert!(
        (found / number - 1.0).abs() < 1e-6,
        "{words}{number}: {told}"
    );
}
