//! Job files of all tasks.

use super::Target;
use holosig::tasks;

pub const TARGET: Target = Target {
    corpus: || {
        let jobs = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/jobs")).unwrap();
        let mut paths: Vec<_> = jobs.map(|job| job.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|e| e == "toml"));
        paths.sort();
        paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
    },
    words: &["[train]", "[loss]", "[model]", "=", "\"\"\"", "[[", "{", "}", "inf", "nan", "task", "weight"],
    ending: ".toml",
    read: |path| tasks::load(path, &[])?.to_text().map(drop),
};
