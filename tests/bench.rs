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
    assert_eq!(names, ["zernike-l4", "signature-c10-d3-b16-l25"]);
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
        assert!(number("peak_memory_mb") > 1.0);
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
        "reduce-bf16-p2.6m-s8",
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
    ] {
        assert!(listed.stdout.lines().any(|l| l == name), "{name}");
    }
}

/// The efficiency is what all ranks do over what one does alone, as often as there are ranks.
#[test]
fn weak_scaling_is_measured_against_one_rank() {
    const NAME: &str = "weak-scaling-reproducible-z64-l4-b64";
    let arguments = ["bench", "--json", "--case", NAME];
    let told = run(holosig_on(2).args(arguments)).success();
    let figure: Value = serde_json::from_str(told.stdout.trim()).unwrap();
    let number = |key: &str| figure[key].as_f64().unwrap();
    assert_eq!(figure["case"], NAME);
    assert_eq!((number("ranks"), number("threads")), (2.0, 1.0));
    let efficiency = number("fraction_of_limit");
    assert!(efficiency > 0.0 && efficiency.is_finite(), "{figure}");
    assert!((number("per_second") / number("limit") - efficiency).abs() < 1e-9);
    assert!(number("repeats") >= 8.0);
    let alone = run(holosig().args(arguments)).success();
    assert!(alone.stdout.is_empty() && alone.stderr.contains("needs 2, 4, 8"));
}
