//! The reference of job keys: it is complete, and the page in docs is the program's.

mod common;

use common::{holosig, run};
use holosig::tasks;
use holosig::tasks::keys::{keys, schema};
use holosig::train::job::settings;
use std::path::{Path, PathBuf};

/// Set HOLOSIG_UPDATE to write the page.
#[test]
fn the_page_is_what_the_program_prints() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/keys.md");
    let printed = run(holosig().arg("keys")).success().stdout;
    if std::env::var_os("HOLOSIG_UPDATE").is_some() {
        std::fs::write(&page, &printed).unwrap();
    }
    let stored = std::fs::read_to_string(&page).unwrap();
    assert!(
        printed == stored,
        "docs/keys.md is not what `holosig keys` prints"
    );
    let one = run(holosig().args(["keys", "hvae"])).success().stdout;
    assert!(one.contains("zernike.lmax") && !one.contains("deep-signature"));
    run(holosig().args(["keys", "hva"])).failure(2, "known are hvae, deep-signature");
}

fn jobs() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["jobs", "tests/fixtures/golden"].map(|f| std::fs::read_dir(root.join(f)));
    let files = folders.into_iter().flat_map(|list| list.unwrap());
    let paths = files.map(|e| e.unwrap().path());
    paths
        .filter(|p| p.extension().is_some_and(|e| e == "toml"))
        .collect()
}

#[test]
fn every_key_of_every_job_is_in_the_reference() {
    let tasks_keys = keys(None).unwrap();
    for (task, keys) in &tasks_keys {
        for key in keys {
            assert!(
                !key.meaning.is_empty() && !key.kind.is_empty(),
                "{task}: {key:?}"
            );
            assert!(!key.meaning.contains("[`"), "{key:?}");
        }
    }
    let mut seen = 0;
    for path in jobs() {
        let Ok(job) = tasks::load(&path, &[]) else {
            continue; // no job: the machine of an estimate
        };
        let Some((_, keys)) = tasks_keys.iter().find(|(task, _)| *task == job.task()) else {
            continue;
        };
        for (name, _) in settings(&path, &job.to_text().unwrap()).unwrap() {
            let parts: Vec<&str> = name.split('.').collect();
            let general = match parts[..] {
                ["loss", _, key] => format!("loss.TERM.{key}"),
                ["model", "norm", _] | ["data", "edges", _] => format!("{}.{}", parts[0], parts[1]),
                ["objective", ..] => "objective".into(),
                _ => name.clone(),
            };
            let known = keys.iter().any(|k| k.name == general);
            assert!(known, "{}: {name}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen}");
}

/// The job for molecular dynamics of one's own follows the paper, not the released code.
#[test]
fn the_job_for_molecules_has_the_corrected_variant() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs/deep-signature-md.toml");
    let job = tasks::load(&path, &[]).unwrap();
    assert_eq!(job.task(), "deep-signature");
    let found = settings(&path, &job.to_text().unwrap()).unwrap();
    let variant = found.iter().find(|(name, _)| name == "model.variant");
    assert_eq!(variant.unwrap().1, "\"corrected\"");
}

#[test]
fn the_schema_names_what_editors_need() {
    let schema = schema(Some("hvae")).unwrap();
    let job = &schema["oneOf"][0];
    assert_eq!(job["properties"]["task"]["const"], "hvae");
    let train = &job["properties"]["train"];
    assert_eq!(train["additionalProperties"], false);
    assert_eq!(train["properties"]["batch"]["default"], 512);
    assert_eq!(train["properties"]["clip_norm"]["type"][0], "number");
    let required: Vec<&str> = job["required"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|name| name.as_str())
        .collect();
    assert_eq!(required, ["data", "model", "task"]);
    let printed = run(holosig().args(["keys", "hvae", "--schema"]))
        .success()
        .stdout;
    let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed, schema);
}
