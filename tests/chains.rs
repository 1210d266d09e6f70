//! `holosig prepare chains`, `train` and `predict` on protein chains: the same in every world, and
//! one clear line for every mistake.

mod common;

use common::{Outcome, hash, holosig_on, made_once, run, start, training};
use holosig::comm::World;
use holosig::data::Split;
use holosig::data::chains::{Chains, KINDS};
use holosig::store::{self, Kind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(240);

/// Small chains; their labels are made up.
const TABLE: &str = "\
id,file,chain,label,split
ubi,pdb1ubi.pdb,A,b,training
orc,1orc.pdb,,a,training
fib.A,2BEG.pdb.gz,A,c,training
fib.B,2BEG.pdb.gz,B,c;a,training
hiv.A,1QBS.pdb,A,b,training
lac,1LCD.pdb.gz,A,a,training
hiv.B,1QBS.pdb,B,b,validation
fib.C,2BEG.pdb.gz,C,c,validation
cap,1A8O.pdb,A,a,test_fold
fib.D,2BEG.pdb.gz,D,c,test_family
fib.E,2BEG.pdb.gz,E,c;b,test_family
";

const JOB: &str = r#"
task = "chains"

[data]
dataset = "chains.h5"
goal = "labels"

[model]
network = "gearnet"
hidden = [8, 8]

[train]
seed = 3
batch = 4
slices = 4
steps = 12
learning_rate = 3e-3
checkpoint_every = 4
"#;

fn structures() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/structures"))
}

fn prepare(ranks: usize, table: &Path, out: &Path, more: &[&str]) -> Outcome {
    let mut command = holosig_on(ranks);
    command.args(["prepare", "chains"]).arg(table);
    command.arg("--folder").arg(structures());
    start(command.arg("--out").arg(out).args(more)).wait(LIMIT)
}

/// A folder with `table.csv`, `job.toml`, and the dataset of all chains.
fn bench() -> &'static Path {
    static BENCH: OnceLock<TempDir> = OnceLock::new();
    made_once(&BENCH, |dir| {
        std::fs::write(dir.join("table.csv"), TABLE).unwrap();
        std::fs::write(dir.join("job.toml"), JOB).unwrap();
        prepare(1, &dir.join("table.csv"), &dir.join("chains.h5"), &[]).success();
    })
}

fn train(ranks: usize, out: &Path, more: &[&str]) -> Outcome {
    let mut command = training(ranks, &bench().join("job.toml"), out, &[]);
    start(command.args(more)).wait(LIMIT)
}

fn chains() -> Chains {
    Chains::open(&World::alone(), &bench().join("chains.h5")).unwrap()
}

#[test]
fn chains_are_what_files_hold() {
    let chains = chains();
    assert_eq!(
        (chains.len(), chains.classes()),
        (11, &["a", "b", "c"].map(String::from)[..])
    );
    assert_eq!(
        [Split::Train, Split::Validation, Split::Test].map(|s| chains.split(s).len()),
        [6, 2, 3]
    );
    let ubiquitin = chains.chain(0);
    let letters: String = ubiquitin
        .kinds
        .iter()
        .map(|&k| KINDS.as_bytes()[k as usize] as char)
        .collect();
    assert!(letters.starts_with(
        "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
    ));
    // Its helix from residue 23 to 34: phi of -60 and psi of -45 degrees, omega of 180.
    let mut means = [0.0; 6];
    for torsions in &ubiquitin.torsions[24..32] {
        (0..6).for_each(|k| means[k] += torsions[k] / 8.0);
    }
    let angle = |k: usize| f64::atan2(means[k + 3], means[k]).to_degrees();
    assert!((angle(0) + 63.0).abs() < 10.0, "phi {}", angle(0));
    assert!((angle(1) + 42.0).abs() < 10.0, "psi {}", angle(1));
    assert!(angle(2).abs() > 170.0, "omega {}", angle(2));
    for chain in (0..chains.len()).map(|i| chains.chain(i)) {
        for [n, ca, c] in chain.backbone {
            let distance = |a: [f64; 3], b: [f64; 3]| {
                (0..3).map(|k| (a[k] - b[k]).powi(2)).sum::<f64>().sqrt()
            };
            assert!((distance(n, ca) - 1.46).abs() < 0.15 && (distance(ca, c) - 1.53).abs() < 0.15);
        }
    }
    assert_eq!(
        (chains.labels(3), chains.part(8)),
        (&[0, 2][..], "test_fold")
    );
}

#[test]
fn files_do_not_depend_on_ranks() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("two.h5");
    prepare(2, &bench().join("table.csv"), &out, &[]).success();
    let same = std::fs::read(&out).unwrap() == std::fs::read(bench().join("chains.h5")).unwrap();
    assert!(same);
}

#[test]
fn every_world_gives_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let of = |ranks: usize| {
        let out = dir.path().join(ranks.to_string());
        let told = train(ranks, &out, &[]).success();
        assert!(told.stdout.contains("test_family: Fmax"), "{told:#?}");
        let scores = std::fs::read_to_string(out.join("scores.json")).unwrap();
        (hash(&out), scores)
    };
    let one = of(1);
    for ranks in [2, 4] {
        assert_eq!(of(ranks), one, "{ranks} ranks");
    }
    let shuffled = dir.path().join("shuffled");
    train(1, &shuffled, &["--set", "data.shuffle_labels=true"]).success();
    assert_ne!(hash(&shuffled), one.0);
    predictions(&dir.path().join("1/checkpoints/best.h5"));
}

#[test]
fn noise_moves_the_residues_of_chains() {
    let job = bench().join("job.toml");
    common::noise_is_learned_from(|out, sets| run(&mut training(0, &job, out, sets)));
}

/// Predictions of a checkpoint: probabilities, the same for any number of ranks, and a table.
fn predictions(checkpoint: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let predict = |ranks: usize, name: &str, more: &[&str]| {
        let out = dir.path().join(name);
        let mut command = holosig_on(ranks);
        command
            .arg("predict")
            .arg(checkpoint)
            .arg("--chains")
            .arg(bench().join("chains.h5"));
        let told = start(command.arg("--out").arg(&out).args(more))
            .wait(LIMIT)
            .success();
        (out, told.stdout)
    };
    let (file, told) = predict(1, "1.h5", &["--split", "test"]);
    assert!(told.contains("test_fold: Fmax"), "{told}");
    let (other, _) = predict(2, "2.h5", &["--split", "test"]);
    assert_eq!(std::fs::read(&file).unwrap(), std::fs::read(other).unwrap());
    let root = store::open(&file, Kind::PredictedChains).unwrap();
    let matrix = [Some(3), Some(3)];
    let (probabilities, _) = root.read_shaped::<f64>("probabilities", &matrix).unwrap();
    assert!(probabilities.iter().all(|p| (0.0..=1.0).contains(p)));
    let (labels, _) = root.read_shaped::<u8>("label", &matrix).unwrap();
    assert_eq!(labels, [1, 0, 0, 0, 0, 1, 0, 1, 1]);
    let (table, _) = predict(1, "all.csv", &[]);
    let table = std::fs::read_to_string(table).unwrap();
    assert_eq!(table.lines().count(), 1 + 11 * 3);
    assert!(
        table.starts_with("id,part,rank,class,probability\nubi,training,1,"),
        "{table}"
    );
}

/// Tables with one bad row each, and what is said of it.
#[test]
fn bad_chains_are_refused_or_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let short = dir.path().join("short.pdb");
    let atom = |serial: u32, name: &str, chain: char, residue: u32, x: f32| {
        format!(
            "ATOM  {serial:>5}  {name:<3} ALA {chain}{residue:>4}    {x:>8.3}{:>8.3}{:>8.3}  1.00  0.00           {}\n",
            0.0,
            0.0,
            &name[..1]
        )
    };
    let mut text = String::new();
    for (k, chain) in ['A', 'A', 'B', 'B', 'B', 'C', 'C', 'C']
        .into_iter()
        .enumerate()
    {
        let k = k as u32;
        // Chain B stands still; chain C has no CA.
        let x = if chain == 'B' && k > 2 {
            100.0
        } else {
            3.8 * k as f32
        };
        let name = if chain == 'C' { "CB" } else { "CA" };
        text += &atom(k + 1, name, chain, k + 1, x);
    }
    std::fs::write(&short, text + "END\n").unwrap();
    let short = short.display();
    for (row, says) in [
        (
            format!("x,{short},A,a,training"),
            "chain \"A\": 2 residues with a CA atom; 3 or more",
        ),
        (
            format!("x,{short},B,a,training"),
            "the CA atoms of residues 2 and 3",
        ),
        (
            format!("x,{short},C,a,training"),
            "chain \"C\": 0 residues with a CA atom",
        ),
        (
            "x,pdb1ubi.pdb,Q,a,training".into(),
            "chain \"Q\": 0 residues with a CA atom",
        ),
        ("x,1QBS.pdb,,a,training".into(), "chains A and B: say which"),
        ("x,nothing.pdb,A,a,training".into(), "nothing.pdb"),
        ("x,pdb1ubi.pdb,A,a,holdout".into(), "split"),
        (",pdb1ubi.pdb,A,a,training".into(), "id"),
        (
            "ubi,pdb1ubi.pdb,A,a,training".into(),
            "two chains are called \"ubi\"",
        ),
    ] {
        let table = dir.path().join("table.csv");
        std::fs::write(&table, format!("{TABLE}{row}\n")).unwrap();
        let out = dir.path().join("out.h5");
        prepare(2, &table, &out, &[]).failure(2, says);
        assert!(!out.exists(), "{row}");
        if row.starts_with("x,") && !row.ends_with("holdout") {
            let told = prepare(1, &table, &out, &["--skip"]).failure(3, says);
            assert!(told.stdout.contains("11 chains"), "{told:#?}");
            std::fs::remove_file(&out).unwrap();
        }
    }
}

#[test]
fn incomplete_residues_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(structures().join("pdb1ubi.pdb")).unwrap();
    let atoms = |line: &&str| {
        let gone = [" CA  THR A   7", " N   LYS A  11", " C   THR A  12"];
        !gone.iter().any(|atom| line[12..].starts_with(atom))
    };
    let left: Vec<&str> = text
        .lines()
        .filter(|l| l.starts_with("ATOM"))
        .filter(atoms)
        .collect();
    let left = left.join("\n").replace("SER A  20", "UNK A  20");
    std::fs::write(dir.path().join("cut.pdb"), left + "\n").unwrap();
    let table = dir.path().join("table.csv");
    let rows = "id,file,label,split\na,cut.pdb,x,train\nb,cut.pdb,,validation\nc,none.pdb,x,test\n";
    std::fs::write(&table, rows).unwrap();
    let mut command = holosig_on(2);
    command
        .args(["prepare", "chains"])
        .arg(&table)
        .arg("--skip");
    let told = run(command.arg("--out").arg(dir.path().join("c.h5")));
    let told = told.failure(3, "skipped: ");
    // Two chains, each with the same.
    for line in [
        "residues that have no CA atom and are left out: 2",
        "residues that lack N or C, in whose place CA stands: 4",
        "residues that are none of the 20 amino acids: 2",
        "1 chain without a label",
    ] {
        assert!(told.stdout.lines().any(|l| l == line), "{line}: {told:#?}");
    }
    // What is left out is a warning, not an error.
    for words in ["none.pdb", "1 of 3 inputs; the rest is done"] {
        let mut lines = told.stderr.lines();
        assert!(
            lines.any(|l| l.contains("WARN") && l.contains(words)),
            "{words}: {told:#?}"
        );
    }
}

#[test]
fn jobs_that_do_not_fit_their_data_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (more, says) in [
        (&["--set", "data.goal=class"][..], "fib.B has 2 labels"),
        (&["--set", "model.cutoff=-1"], "cutoff = -1"),
        (&["--set", "model.hidden=[]"], "hidden = []"),
        (&["--set", "data.dataset=table.csv"], "table.csv"),
        (
            &[
                "--set",
                "model={ network = \"cdconv\", channels = [8], radii = [8.0] }",
            ],
            "need 2 chains",
        ),
    ] {
        train(2, &dir.path().join("run"), more).failure(2, says);
    }
}
