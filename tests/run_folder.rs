//! Run folders whose files say what no run would write.

mod common;

use common::{holosig, run, start};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A run folder with this log, that the process of this test uses.
fn folder(path: &Path, metrics: &str) {
    let this = holosig::comm::Process::this();
    let lock = serde_json::json!({ "process": this, "since": 0 });
    std::fs::create_dir_all(path.join("checkpoints")).unwrap();
    std::fs::write(path.join(".lock"), lock.to_string()).unwrap();
    std::fs::write(path.join("metrics.jsonl"), metrics).unwrap();
}

fn mkfifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success());
}

#[test]
fn status_tells_of_a_run_whatever_its_numbers_are() {
    let start_line = |ranks: &str, time: &str| {
        format!(
            "{{\"event\":\"start\",\"ranks\":{ranks},\"step\":0,\"steps\":6,\"time\":{time}}}\n"
        )
    };
    let train = |step: &str, time: &str| {
        format!("{{\"event\":\"train\",\"step\":{step},\"time\":{time}}}\n")
    };
    let most = "18446744073709551615";
    for metrics in [
        start_line("1000000000000", "1.0"),
        start_line(most, "-1e308") + &train("2", "1e300"),
        start_line("-3", "\"late\"") + &train(most, "1e308"),
        start_line("1", "1e-300") + &train("1", "2e-300"),
        format!("{}nonsense\n{}", start_line("1", "1.0"), train("2", "3.0")),
    ] {
        for lock in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            folder(dir.path(), &metrics);
            if !lock {
                std::fs::remove_file(dir.path().join(".lock")).unwrap();
            }
            let mut command = holosig();
            command.arg("status").arg(dir.path());
            let told = start(&mut command).wait(Duration::from_secs(60)).success();
            let state = if lock { "running" } else { "dead" };
            assert!(told.stdout.contains(state), "{metrics}: {told:?}");
        }
    }
}

#[test]
fn heartbeats_of_any_content_are_read_or_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    folder(dir.path(), "");
    let alive = dir.path().join(".alive");
    std::fs::create_dir(&alive).unwrap();
    let process = r#"{"host":"h","pid":1,"born":0}"#;
    for (rank, number) in [(0, "1e9"), (1, "-1e308"), (7, "1e999"), (8, "null")] {
        let beat = format!(
            "{{\"rank\":{rank},\"process\":{process},\"beat\":1,\"every\":{number},\"step\":3,\
             \"phase\":\"\",\"waiting\":false,\"still\":0.0}}"
        );
        std::fs::write(alive.join(format!("rank-{rank}")), beat).unwrap();
    }
    std::fs::write(alive.join("rank-18446744073709551615"), [0xff; 4000]).unwrap();
    std::fs::write(alive.join("rank-x"), "").unwrap();
    // Nobody waits for a heartbeat, and none goes on for ever.
    mkfifo(&alive.join("rank-9"));
    std::os::unix::fs::symlink("/dev/zero", alive.join("rank-10")).unwrap();
    let mut command = holosig();
    command.arg("status").arg(dir.path());
    start(&mut command).wait(Duration::from_secs(60)).success();
}

#[test]
fn pipes_under_the_names_of_a_run_make_nobody_wait() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let quickstart = concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/quickstart.toml");
    for name in ["log", "lock"] {
        std::fs::create_dir_all(at(name).join("checkpoints")).unwrap();
        std::fs::copy(quickstart, at(name).join("job.toml")).unwrap();
    }
    mkfifo(&at("log/metrics.jsonl"));
    mkfifo(&at("lock/.lock"));
    let tried = |command: &str, folder: &str| {
        let mut words = holosig();
        words.args(command.split(' ')).arg(at(folder));
        start(&mut words).wait(Duration::from_secs(60))
    };
    let train = format!("train {quickstart} --out");
    let log = "metrics.jsonl: a named pipe, where a file is needed";
    for command in ["status", "report", &train] {
        tried(command, "log").failure(2, log);
    }
    let told = tried("status", "lock").success();
    assert!(told.stdout.contains("not started"), "{told:?}");
    tried(&train, "lock").failure(2, ".lock: a named pipe");
}

#[test]
fn a_broken_line_of_the_log_does_not_keep_a_run_from_going_on() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let train = |steps: &str, more: &[&str]| {
        let mut command = holosig();
        let job = concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/quickstart.toml");
        command.args([
            "train",
            job,
            "--set",
            "model.latent_dim=4",
            "--set",
            "train.batch=4",
        ]);
        command.args([
            "--set",
            "model.channels=[4,4,4]",
            "--set",
            "model.degrees=[4,2,1]",
        ]);
        command.args([
            "--set",
            "model.projection=4",
            "--set",
            "train.checkpoint_every=1",
        ]);
        command.args(["--set", "data.residues={train=8,validation=4,test=4}"]);
        command
            .args(["--set", steps, "--restart", "auto"])
            .args(more);
        run(command.arg("--out").arg(&out))
    };
    train("train.steps=2", &[]).success();
    let log = out.join("metrics.jsonl");
    let text = std::fs::read_to_string(&log).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    std::fs::write(&log, format!("{first}\n{{\"event\": oh no\n{rest}")).unwrap();
    let told = train("train.steps=3", &["--extend"]).success();
    assert!(
        told.stderr.contains("the first is line 2: set aside"),
        "{told:?}"
    );
    let aside = std::fs::read_to_string(out.join("metrics.broken")).unwrap();
    assert_eq!(aside, "{\"event\": oh no\n");
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.starts_with(first) && !text.contains("oh no"), "{text}");
}
