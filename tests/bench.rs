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
fn arithmetic_of_networks_is_counted() {
    let told = run(holosig().args(["bench", "--json", "--case", "painn-energy-b16"])).success();
    let figure: Value = serde_json::from_str(&told.stdout).unwrap();
    let limited_by = figure["limited_by"].as_str().unwrap();
    let (gflop, rest) = limited_by.split_once(" GFLOP, ").unwrap();
    assert!(rest.starts_with("matrix product"), "{limited_by}");
    // Products of matrices: 45 of 128 x 128 for each atom, forward and backward by inputs and
    // weights. Those of pairs of atoms and the products along edges come on top.
    let atoms = 3.0 * 2.0 * (16 * 18) as f64 * 45.0 * 128f64.powi(2) / 1e9;
    let gflop: f64 = gflop.parse().unwrap();
    assert!((atoms..2.0 * atoms).contains(&gflop), "{gflop} for {atoms}");
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
        "signature-c30-d3-b64-l1000",
        "se3transformer-force-b16",
    ] {
        assert!(listed.stdout.lines().any(|l| l == name), "{name}");
    }
}

/// The efficiency is what all ranks do over what one does alone, as often as there are ranks.
#[test]
fn weak_scaling_is_measured_against_one_rank() {
    const NAMES: [&str; 3] = [
        "weak-scaling-none-z64-l4-b64",
        "weak-scaling-reproducible-z64-l4-b64",
        "weak-scaling-sharded-z64-l4-b64",
    ];
    let mut arguments = vec!["bench", "--json"];
    NAMES
        .iter()
        .for_each(|name| arguments.extend(["--case", name]));
    let told = run(holosig_on(2).args(&arguments)).success();
    let figures: Vec<Value> = told
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(figures.len(), NAMES.len());
    for (figure, name) in figures.iter().zip(NAMES) {
        let number = |key: &str| figure[key].as_f64().unwrap();
        assert_eq!(figure["case"], name);
        assert_eq!((number("ranks"), number("threads")), (2.0, 1.0));
        let efficiency = number("fraction_of_limit");
        assert!(efficiency > 0.0 && efficiency.is_finite(), "{figure}");
        assert!((number("per_second") / number("limit") - efficiency).abs() < 1e-9);
        assert!(number("repeats") >= 8.0);
    }
    let alone = run(holosig().args(&arguments)).success();
    assert!(alone.stdout.is_empty() && alone.stderr.contains("needs 2, 4, 8"));
}

/// A machine file that has everything.
const MACHINE: &str = r#"
name = "test"
source = "made up"
[node]
cores = 4
ranks = 4
threads = 1
memory = 1e9
hours_between_failures = 1000.0
[inside]
latency = 1e-6
bandwidth = 1e10
[between]
latency = 2e-6
bandwidth = 1e9
[memory]
add = 1e10
copy = 1e9
[disk]
write = 1e9
read = 1e9
[stragglers]
sigma = 0.01
[compute]
job = "a job"
parameters = 1000000
values = 1000100
batch = 1024
slices = 64
slice = 1e-3
sample = 1e-4
load = 1e-6
update = 1e-3
sample_bytes = 100.0
"#;

fn scale(dir: &std::path::Path, machine: &str, options: &[&str]) -> common::Outcome {
    let path = dir.join("m.toml");
    std::fs::write(&path, machine).unwrap();
    run(holosig()
        .args(["scale", "--machine"])
        .arg(path)
        .args(options))
}

#[test]
fn the_scaling_model_answers_in_tables_json_and_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let pictures = dir.path().join("plots");
    let told = scale(
        dir.path(),
        MACHINE,
        &["--plots", pictures.to_str().unwrap()],
    )
    .success();
    for text in [
        "strong scaling: steps of 1024 samples in 64 slices",
        "weak scaling: 128 samples in 8 slices per rank",
        "knee: ",
        "128 ranks need 128 slices; the job has 64",
        "a checkpoint: 12 MB",
        "more than a node's memory holds",
    ] {
        assert!(told.stdout.contains(text), "{text}: {}", told.stdout);
    }
    for name in ["efficiency", "speed", "sums"] {
        let svg = std::fs::read_to_string(pictures.join(format!("m-{name}.svg"))).unwrap();
        assert!(svg.contains("</svg>") && svg.contains("ranks"), "{name}");
    }
    let told = scale(dir.path(), MACHINE, &["--json", "--ranks", "1..6"]).success();
    let rows: Vec<Value> = told
        .stdout
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let ranks = |scaling| -> Vec<u64> {
        let rows = rows.iter().filter(|r| r["scaling"] == scaling);
        rows.map(|r| r["ranks"].as_u64().unwrap()).collect()
    };
    assert_eq!(ranks("strong"), [1, 2, 4, 6]);
    assert_eq!(ranks("weak"), [1, 2, 4, 6]);
    for row in &rows {
        let number = |key: &str| {
            row[key]
                .as_f64()
                .unwrap_or_else(|| panic!("{key} in {row}"))
        };
        let parts = ["compute", "wait", "reduce", "update", "log"].map(number);
        assert!((parts.iter().sum::<f64>() / number("seconds") - 1.0).abs() < 1e-9);
        assert!(number("efficiency") > 0.0 && number("efficiency") <= 1.0);
    }
}

#[test]
fn the_machines_of_the_repository_are_understood() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs/machines");
    let mut found = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let machine = holosig::scale::Machine::load(&path).unwrap();
        assert!(machine.compute.is_some(), "{}", path.display());
        found += 1;
    }
    assert!(found >= 3);
}

#[test]
fn bad_machine_files_are_told_by_their_key() {
    let dir = tempfile::tempdir().unwrap();
    let changed = |from: &str, to: &str| {
        assert!(MACHINE.contains(from), "{from}");
        MACHINE.replacen(from, to, 1)
    };
    for (machine, text) in [
        (changed("copy = 1e9", ""), "missing field `copy`"),
        (
            changed("copy = 1e9", "copi = 1e9"),
            "unknown key memory.copi; did you mean memory.copy?",
        ),
        (
            changed("bandwidth = 1e10", "bandwidth = -1e10"),
            "inside.bandwidth = -1",
        ),
        (
            changed("bandwidth = 1e9", "bandwidth = nan"),
            "between.bandwidth = NaN",
        ),
        (
            changed("latency = 1e-6", "latency = 0.0"),
            "inside.latency = 0",
        ),
        (
            changed("sigma = 0.01", "sigma = -0.1"),
            "stragglers.sigma = -0.1",
        ),
        (
            changed("sigma = 0.01", "sigma = inf"),
            "stragglers.sigma = inf",
        ),
        (changed("cores = 4", "cores = 0"), "node.cores = 0"),
        (
            changed("slices = 64", "slices = 63"),
            "compute.slices = 63: a power of two",
        ),
        (
            changed("write = 1e9", "write = \"fast\""),
            "disk.write: invalid type",
        ),
        (
            MACHINE[..MACHINE.find("[compute]").unwrap()].into(),
            "no [compute]: name a job",
        ),
        ("name = 3 =".into(), "line 1"),
    ] {
        let told = scale(dir.path(), &machine, &[]).failure(2, text);
        assert!(told.stderr.contains("m.toml"), "{told:?}");
    }
    scale(dir.path(), MACHINE, &["--ranks", "8..2"]).failure(2, "--ranks: 8..2 is empty");
    scale(dir.path(), MACHINE, &["--samples", "nan"]).failure(2, "--samples NaN");
    run(holosig().args(["scale", "--machine", "/nowhere/m.toml"]))
        .failure(2, "m.toml: no such file");
}

/// Measured on two ranks here: whole, used again for the same world, and refused for another job.
#[test]
fn a_machine_is_measured_and_its_steps_are_compared() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("here.toml");
    let job = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs/quickstart.toml");
    let scale = |ranks: usize, options: &[&str]| {
        let mut command = holosig_on(ranks);
        command.arg("scale").arg(&job).args(options);
        run(&mut command)
    };
    let path = out.to_str().unwrap();
    let small = ["--set", "train.batch=32"];
    scale(2, &[&["--measure", path], &small[..]].concat()).success();
    let machine = holosig::scale::Machine::load(&out).unwrap();
    assert_eq!((machine.node.ranks, machine.node.threads), (2, 1));
    let compute = machine.compute.unwrap();
    assert_eq!((compute.batch, compute.slices), (32, 4));
    assert!(compute.load > 0.0 && compute.update > 0.0);
    let check = ["--machine", path, "--check", "--json"];
    let told = scale(2, &[&check, &small[..]].concat()).success();
    let told: Value = serde_json::from_str(told.stdout.trim()).unwrap();
    let number = |key: &str| told[key].as_f64().unwrap();
    let error = number("predicted") / number("measured") - 1.0;
    assert!((error - number("error")).abs() < 1e-9 && told["ranks"] == 2);
    scale(2, &check).failure(2, "compute.batch = 32, but the job has 128");
    scale(1, &["--measure", path]).failure(2, "start it with mpirun");
}
