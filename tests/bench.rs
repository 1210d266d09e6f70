//! `holosig bench`: what it prints, not how fast anything is.

mod common;

use common::{holosig, holosig_on, run};
use serde_json::Value;

#[test]
fn figures_are_whole_and_consistent() {
    let mut command = holosig();
    command.env_remove("RAYON_NUM_THREADS");
    command.args(["bench", "--json", "--threads", "1"]);
    command.args(["--case", "zernike-l4", "--case", "signature-c10-d3-b16-l25"]);
    command.args(["--case", "prepare-pdb"]);
    let told = run(&mut command).success();
    let figures: Vec<Value> = told
        .stdout
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let names: Vec<&str> = figures
        .iter()
        .map(|f| f["case"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["zernike-l4", "signature-c10-d3-b16-l25", "prepare-pdb"]
    );
    for f in &figures {
        let number = |key: &str| f[key].as_f64().unwrap_or_else(|| panic!("{key} in {f}"));
        assert_eq!(f["threads"], 1);
        assert!(number("slowest") <= number("per_second"));
        assert!(number("per_second") <= number("fastest"));
        let share = number("per_second") / number("limit");
        assert!(
            (share - number("fraction_of_limit")).abs() < 1e-9 && share > 0.0,
            "{f}"
        );
        // The limits' measurement takes 256 MB before: they are not the case's.
        assert!((1.0..200.0).contains(&number("peak_memory_mb")), "{f}");
        assert!(f["unit"].as_str().unwrap().ends_with("/s"));
    }
}

#[test]
fn ranks_sum_together_and_unknown_cases_are_named() {
    let told = run(holosig_on(2).args(["bench", "reduce"])).success();
    for name in [
        "reduce-reproducible-p2.6m-s8",
        "reduce-fast-p2.6m-s8",
        "memory copy",
    ] {
        assert!(told.stdout.contains(name), "{told:#?}");
    }
    run(holosig().args(["bench", "--case", "hae"])).failure(2, "--list prints all");
    let listed = run(holosig().args(["bench", "--list"])).success();
    for name in [
        "hae-train-z128-l6-b64",
        "hae-encode-z128-l6-b512",
        "zernike-l6",
        "logsignature-c150-d2-b64-l25",
        "signature-c30-d3-b64-l1000",
    ] {
        assert!(listed.stdout.lines().any(|l| l == name), "{name}");
    }
}
