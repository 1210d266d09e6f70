//! Readers that misbehave: the harness must see it.

use super::{Target, campaign};

pub fn target(name: &str) -> Option<&'static Target> {
    match name {
        "panics" => Some(&PANICS),
        "dies" => Some(&DIES),
        "hangs" => Some(&HANGS),
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

const HANGS: Target = Target {
    read: |_| loop {
        std::thread::sleep(std::time::Duration::from_secs(1));
    },
    ..PANICS
};

const BLAMES_ITSELF: Target = Target {
    read: |_| Err(holosig::Error::internal("a bug")),
    ..PANICS
};

#[test]
fn what_goes_wrong_is_seen() {
    let plan = campaign::Plan {
        inputs: 20,
        patience: 1,
        ..campaign::Plan::default()
    };
    let found = |name: &str| campaign::try_out(name, &plan).findings;
    for (name, what) in [
        ("panics", "not seven"),
        ("dies", "the process died"),
        ("blames_itself", "exit code 1: a bug"),
    ] {
        let findings = found(name);
        assert!(findings.len() > 3, "{name}: {findings:#?}");
        assert!(findings.iter().all(|f| f.contains(what)), "{findings:#?}");
    }
    let one = campaign::Plan { inputs: 1, ..plan };
    let hung = campaign::try_out("hangs", &one).findings;
    assert!(
        hung.len() == 1 && hung[0].contains("no end after 1 s"),
        "{hung:#?}"
    );
}
