//! Readers that misbehave: the harness must see it.

use super::Target;
use super::campaign::{self, Manner, Plan};
use holosig::child::is_served;

pub fn target(name: &str) -> Option<&'static Target> {
    match name {
        "panics" => Some(&PANICS),
        "dies" => Some(&DIES),
        "dies_as_child" => Some(&DIES_AS_CHILD),
        "hangs" => Some(&HANGS),
        "gorges" => Some(&GORGES),
        "blames_itself" => Some(&BLAMES_ITSELF),
        _ => None,
    }
}

const PANICS: Target = Target {
    corpus: || vec![b"7".to_vec()],
    words: &[],
    ending: ".txt",
    read: |path| {
        assert_eq!(std::fs::read(path).unwrap(), b"7", "not seven");
        Ok(())
    },
};

const DIES: Target = Target {
    read: |path| match std::fs::read(path).unwrap() == b"7" {
        true => Ok(()),
        false => std::process::abort(),
    },
    ..PANICS
};

/// As a file that ends the child that reads it, and nothing else.
const DIES_AS_CHILD: Target = Target {
    read: |path| match is_served() {
        true => Ok(()),
        false => (DIES.read)(path),
    },
    ..PANICS
};

const HANGS: Target = Target {
    read: |_| loop {
        std::thread::sleep(std::time::Duration::from_secs(1));
    },
    ..PANICS
};

const GORGES: Target = Target {
    read: |_| {
        let most = campaign::MOST_MIB as usize;
        std::hint::black_box(vec![7u8; (most + 64) << 20]);
        Ok(())
    },
    ..PANICS
};

const BLAMES_ITSELF: Target = Target {
    read: |_| Err(holosig::Error::internal("a bug")),
    ..PANICS
};

#[test]
fn what_goes_wrong_is_seen() {
    let plan = Plan {
        inputs: 20,
        patience: 1,
        ..Plan::default()
    };
    let found = |name: &str| campaign::try_out(name, Manner::AsProgram, &plan).findings;
    for (name, what) in [
        ("panics", "not seven"),
        ("dies", "the process died"),
        ("blames_itself", "exit code 1: a bug"),
    ] {
        let findings = found(name);
        assert!(findings.len() > 3, "{name}: {findings:#?}");
        assert!(findings.iter().all(|f| f.contains(what)), "{findings:#?}");
    }
    let one = Plan { inputs: 1, ..plan };
    let hung = campaign::try_out("hangs", Manner::AsProgram, &one).findings;
    assert!(
        hung.len() == 1 && hung[0].contains("no end after 1 s"),
        "{hung:#?}"
    );
}

#[test]
fn what_fills_the_memory_is_seen() {
    let one = Plan {
        inputs: 1,
        ..Plan::default()
    };
    let report = campaign::try_out("gorges", Manner::AsProgram, &one);
    assert!(
        report.findings.len() == 1 && report.findings[0].contains("MiB of memory"),
        "{report:#?}"
    );
}

#[test]
fn what_ends_a_child_is_tried_again_with_one() {
    let plan = Plan {
        inputs: 20,
        ..Plan::default()
    };
    let found = |name: &str| campaign::try_out(name, Manner::AsChild, &plan);
    let refused = found("dies_as_child");
    assert_eq!(
        (refused.inputs, refused.findings.len()),
        (20, 0),
        "{refused:?}"
    );
    assert!(refused.deaths > 3, "{refused:?}");
    let both = found("dies");
    assert_eq!(both.deaths as usize, both.findings.len(), "{both:?}");
    assert!(both.findings.len() > 3, "{both:?}");
}
