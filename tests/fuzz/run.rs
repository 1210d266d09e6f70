//! The files of a run folder that are text: log, lock, heartbeat, scores.

use super::Target;
use holosig::Result;
use holosig::comm::{Beat, Process, World};
use holosig::train::metrics::{self, MetricsLog};
use holosig::train::{Outcome, RunFolder, Start, status::status};
use std::path::Path;
use std::time::{Duration, SystemTime};

pub const LOG: Target = Target {
    corpus: || {
        let lines = [
            r#"{"event":"start","ranks":2,"step":0,"steps":6,"time":1795894979.6}"#,
            r#"{"event":"train","step":2,"loss":0.5,"samples_per_second":12.5,"time":1795894980.0}"#,
            r#"{"event":"validation","step":2,"objective":0.25,"cosine":0.2,"epoch":1,"time":1795894981.0}"#,
            r#"{"event":"fault","step":3,"action":"stop","time":1795894982.0}"#,
            r#"{"event":"end","step":6,"time":1795894983.0}"#,
        ];
        vec![lines.map(|line| format!("{line}\n")).concat().into_bytes()]
    },
    words: &[
        "\"event\"",
        "\"step\"",
        "\"steps\"",
        "\"time\"",
        "\"ranks\"",
        "resume",
        "preempted",
        "1e300",
        "[[[[",
        "{",
        "}",
        "null",
    ],
    ending: ".jsonl",
    read: |path| {
        let folder = folder(path)?;
        std::fs::copy(path, folder.metrics()).unwrap();
        let line = status(folder.path())?.line();
        assert_eq!(line.lines().count(), 1, "{line}");
        metrics::read(&folder.metrics())?;
        MetricsLog::resume(&folder.metrics(), 3)?;
        assert!(metrics::read(&folder.metrics())?.len() < 1 << 16);
        Ok(())
    },
};

pub const LOCK: Target = Target {
    corpus: || {
        let lock = |process: Process| {
            serde_json::to_vec(&serde_json::json!({ "process": process, "since": 1_795_894_979 }))
                .unwrap()
        };
        let elsewhere = Process {
            host: "elsewhere".into(),
            pid: 1,
            born: 1,
        };
        vec![lock(elsewhere), lock(Process::this())]
    },
    words: &[
        "\"process\"",
        "\"host\"",
        "\"pid\"",
        "\"born\"",
        "\"since\"",
        "{",
        "}",
        "null",
    ],
    ending: ".lock",
    read: |path| {
        let folder = folder(path)?;
        let lock = folder.path().join(RunFolder::LOCK);
        std::fs::copy(path, &lock).unwrap();
        long_ago(&lock);
        status(folder.path())?.line();
        folder.open(&World::alone(), Start::Auto).map(drop)
    },
};

pub const HEARTBEAT: Target = Target {
    corpus: || {
        let process = r#"{"host":"elsewhere","pid":1,"born":0}"#;
        let beat = format!(
            "{{\"rank\":0,\"process\":{process},\"beat\":1,\"every\":1e1,\"step\":3,\"phase\":\"computing\",\"waiting\":false,\"still\":0.0}}"
        );
        vec![beat.into_bytes()]
    },
    words: &[
        "\"every\"",
        "\"still\"",
        "\"step\"",
        "1e9",
        "-1e300",
        "null",
        "{",
        "}",
    ],
    ending: ".beat",
    read: |path| {
        let folder = folder(path)?;
        let process = Process {
            host: "elsewhere".into(),
            pid: 1,
            born: 0,
        };
        let lock = serde_json::json!({ "process": process, "since": 0 }).to_string();
        std::fs::write(folder.path().join(RunFolder::LOCK), lock).unwrap();
        std::fs::create_dir_all(folder.alive()).unwrap();
        let beat = Beat::path(&folder.alive(), 0);
        std::fs::copy(path, &beat).unwrap();
        long_ago(&beat);
        status(folder.path())?.line();
        folder.open(&World::alone(), Start::Auto).map(drop)
    },
};

pub const SCORES: Target = Target {
    corpus: || {
        let scores = r#"{"step":6,"validation":{"objective":0.25,"cosine":0.2},"test":{"accuracy":0.5,"auroc":null,"classes":[{"class":"a","f1":1.0}]},"dataset":"00ff"}"#;
        vec![scores.as_bytes().to_vec()]
    },
    words: &[
        "\"step\"",
        "\"validation\"",
        "\"test\"",
        "\"class\"",
        "[[[[",
        "{\"a\":",
        "}",
        "null",
        "1e308",
    ],
    ending: ".json",
    read: |path| {
        let folder = folder(path)?;
        std::fs::copy(path, folder.scores()).unwrap();
        let numbers = Outcome::read(&folder)?
            .map(|o| o.numbers())
            .unwrap_or_default();
        assert!(numbers.len() < 1 << 16);
        Ok(())
    },
};

/// A run folder beside the input, without a file.
fn folder(path: &Path) -> Result<RunFolder> {
    let root = path.with_extension("run");
    let _ = std::fs::remove_dir_all(&root);
    std::fs::create_dir_all(root.join("checkpoints")).unwrap();
    Ok(RunFolder::new(root))
}

/// Dates a file so that nobody waits for its owner.
fn long_ago(path: &Path) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3600))
        .unwrap();
}
