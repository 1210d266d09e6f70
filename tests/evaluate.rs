//! What `holosig evaluate` finds out, and the page about it.

mod common;

use common::{Outcome, holosig, holosig_on, run};
use holosig::comm::World;
use holosig::data::Split;
use holosig::data::dataset::{Chosen, Dataset};
use holosig::data::secondary::{Secondary, assign};
use holosig::data::structure::{ReadOptions, read};
use holosig::downstream::evaluation::{self, Options, Record, Trial};
use holosig::store::{self, Kind};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// `tests/fixtures/dssp.csv` is what mkdssp 4.2.2 (Debian 12, package dssp) says of the
/// structures that it can read: H, G and I as H, E and B as E, the rest as C.
#[test]
fn secondary_structure_agrees_with_dssp() {
    let mut expected: HashMap<(String, String, i32, String), String> = HashMap::new();
    let mut table = csv::Reader::from_path(file("tests/fixtures/dssp.csv")).unwrap();
    for record in table.records() {
        let r = record.unwrap();
        let key = (r[0].into(), r[1].into(), r[2].parse().unwrap(), r[3].into());
        expected.insert(key, r[4].into());
    }
    let mut chosen = Vec::new();
    for entry in std::fs::read_dir(file("tests/structures")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.contains(".pdb") || name.contains(".cif") {
            let mut structure = read(&path, &ReadOptions::default()).unwrap().remove(0);
            structure.id = name.split('.').next().unwrap().into();
            chosen.push(Chosen {
                structure,
                split: Split::Train,
                chains: None,
                complex: None,
            });
        }
    }
    let dataset = Dataset::pack(&chosen, "").unwrap();
    let (mut all, mut same, mut ubiquitin) = (0, 0, 0);
    for (centre, ours) in assign(&dataset).into_iter().enumerate() {
        let id = dataset.residue(centre as u32);
        let r = id.residue;
        let icode = char::from(r.icode).to_string().trim().to_string();
        let key = (id.structure.into(), r.chain.to_string(), r.number, icode);
        let (Some(theirs), Some(ours)) = (expected.get(&key), ours) else {
            continue;
        };
        let ours = match ours {
            Secondary::Helix => "H",
            Secondary::Strand => "E",
            Secondary::Coil => "C",
        };
        all += 1;
        same += usize::from(ours == theirs);
        ubiquitin += usize::from(ours == theirs && id.structure == "pdb1ubi");
    }
    assert!(all > 4000, "{all} residues compared");
    assert_eq!(ubiquitin, 76);
    let share = same as f64 / f64::from(all);
    println!("{same} of {all} residues as in DSSP: {share:.4}");
    assert!(share > 0.998, "{share}");
}

/// A small model of single residues after two steps.
fn trained(dir: &Path) -> PathBuf {
    let job = r#"
task = "hvae"
[data]
dataset = "data.h5"
surroundings = false
residues = { train = 100, validation = 20, test = 20 }
[zernike]
lmax = 2
nmax = 8
[model]
latent_dim = 3
channels = [8, 8]
degrees = [2, 1]
projection = 8
[train]
batch = 16
steps = 2
"#;
    std::fs::copy(file("jobs/quickstart.h5"), dir.join("data.h5")).unwrap();
    std::fs::write(dir.join("job.toml"), job).unwrap();
    run(holosig()
        .arg("train")
        .arg(dir.join("job.toml"))
        .arg("--out")
        .arg(dir.join("run")))
    .success();
    dir.join("run/checkpoints/last.h5")
}

fn evaluate(mut command: Command, dir: &Path, out: &str, more: &[&str]) -> Outcome {
    run(command
        .current_dir(dir)
        .args([
            "evaluate",
            "run/checkpoints/last.h5",
            "--dataset",
            "data.h5",
        ])
        .args(["--split", "train", "--restarts", "2", "--out", out])
        .args(more))
}

#[test]
fn numbers_do_not_depend_on_ranks_and_mean_what_they_say() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    trained(dir);
    let chosen = ["--residues", "400", "--balanced"];
    evaluate(holosig(), dir, "one", &chosen).success();
    evaluate(holosig_on(2), dir, "two", &chosen).success();
    for name in ["evaluation.json", "embeddings-0.h5"] {
        let bytes = |folder: &str| std::fs::read(dir.join(folder).join(name)).unwrap();
        assert!(bytes("one") == bytes("two"), "{name} differs on two ranks");
    }
    let record = Record::read(&dir.join("one")).unwrap();
    let e = &record.evaluations[0];
    assert_eq!((e.residues, e.latent_dim, e.steps), (400, 3, Some(2)));
    assert_eq!(e.job["train.steps"], toml::Value::Integer(2));

    let embeddings = store::open(&dir.join("one/embeddings-0.h5"), Kind::Embeddings).unwrap();
    let losses: Vec<f32> = embeddings.read("cosine_loss").unwrap();
    let mean = losses.iter().map(|&l| f64::from(l)).sum::<f64>() / 400.0;
    assert!((mean - e.reconstruction.cosine).abs() < 1e-6);
    let degrees = &e.reconstruction.degrees;
    assert_eq!(degrees.iter().map(|d| d.l).collect::<Vec<_>>(), [0, 1, 2]);

    let [single, double] = &e.equivariance[..] else {
        panic!("{:?}", e.equivariance)
    };
    for (q, bound) in [(single, 1e-5), (double, 1e-12)] {
        for d in [&q.invariants, &q.frames, &q.reconstruction] {
            assert!(d.error > 0.0 && d.error < bound * d.value, "{q:?}");
        }
    }
    let [residue, secondary] = &e.labels[..] else {
        panic!("{:?}", e.labels)
    };
    assert_eq!((residue.classes.len(), residue.chance), (20, 0.05));
    assert_eq!(secondary.classes, ["coil", "helix", "strand"]);
    // Even a barely trained encoder tells Gly from Trp by size.
    assert!(
        residue.nearest.mean > 0.2 && residue.linear.mean > 0.15,
        "{residue:?}"
    );
}

#[test]
fn progress_is_told_of_all_residues_of_all_models() {
    let dir = tempfile::tempdir().unwrap();
    let model = trained(dir.path());
    let path = dir.path().join("data.h5");
    let dataset = Dataset::open(&path).unwrap();
    let options = Options {
        split: Split::Train,
        residues: 300,
        balanced: false,
        seed: 0,
        folds: 5,
        restarts: 1,
    };
    let trial = Trial::new(&dataset, &path, &[], options).unwrap();
    let (models, out) = ([model.clone(), model], dir.path().join("e"));
    let told = RefCell::new(Vec::new());
    let tell = |done| told.borrow_mut().push(done);
    evaluation::run(&World::alone(), &models, &trial, &out, tell).unwrap();
    let told = told.into_inner();
    assert!(told.is_sorted() && told.len() > 2, "{told:?}");
    assert!(told.contains(&300) && told.last() == Some(&600), "{told:?}");
}

#[test]
fn the_page_puts_published_figures_beside_ours() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    trained(dir);
    evaluate(holosig(), dir, "e", &["--residues", "400", "--balanced"]).success();
    std::fs::write(
        dir.join("paper.csv"),
        "# Table 1\ntrain.steps,train.batch,cosine,residue.linear\n2,16,0.1234,0.5678\n3,16,9,9\n",
    )
    .unwrap();
    let report = |beside: &str| {
        run(holosig().current_dir(dir).args([
            "report",
            "e",
            "run",
            "--beside",
            beside,
            "--out",
            "page.html",
        ]))
    };
    report("paper.csv").success();
    let page = std::fs::read_to_string(dir.join("page.html")).unwrap();
    for text in [
        "0.1234",
        "0.5678",
        "published: cosine loss",
        "t-SNE",
        "Equivariance",
        "helix",
    ] {
        assert!(page.contains(text), "{text}");
    }
    assert!(
        !page.contains("http://")
            || page.matches("http://").count() == page.matches("http://www.w3.org").count()
    );
    assert!(page.matches("<svg").count() >= 6);
    // No job here says train.clip_norm: a row that does is of other models.
    let rows = "train.clip_norm,train.steps,cosine\n9,2,0.7777\n,2,0.4321\n";
    std::fs::write(dir.join("more.csv"), rows).unwrap();
    report("more.csv").success();
    let page = std::fs::read_to_string(dir.join("page.html")).unwrap();
    assert!(page.contains("0.4321") && !page.contains("0.7777"));
    std::fs::write(dir.join("wrong.csv"), "train.step,cosine\n2,0.1\n").unwrap();
    report("wrong.csv").failure(2, "column \"train.step\" is neither a key");
}

#[test]
fn bad_input_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    trained(dir);
    let table = |text: &str| std::fs::write(dir.join("labels.csv"), text).unwrap();
    let with = |labels: &str, more: &[&str]| {
        let labels = [&["--labels", labels], more].concat();
        evaluate(holosig(), dir, "bad", &labels)
    };
    with("shape", &[]).failure(2, "use residue, secondary, or TABLE.csv:COLUMN");
    table("structure,chain,number\n1ubi,A,1\n");
    with("labels.csv:site", &[]).failure(2, "no column \"site\"");
    table("structure,chain,number,site\nnone,A,1,x\n");
    with("labels.csv:site", &[]).failure(2, "no row names a residue of the dataset");
    table("structure,chain,number,site\nnone,A,one,x\n");
    with("labels.csv:site", &[]).failure(2, "line 2: number \"one\" is not a whole number");
    with("residue", &["--balanced", "--residues", "100000"])
        .failure(2, "in equal shares need 5000 of");
    let dataset = Dataset::open(&dir.join("data.h5")).unwrap();
    let row = |place: usize, site: &str| {
        let id = dataset.residue(dataset.split(Split::Train)[place]);
        let (chain, number) = (id.residue.chain, id.residue.number);
        format!("{},{chain},{number},{site}\n", id.structure)
    };
    table(&["structure,chain,number,site\n", &row(0, "x"), &row(1, "y")].concat());
    let told = "of 2 classes in 2 residues of split train, 0 have 5 residues or more";
    with("labels.csv:site", &[]).failure(2, told);
    // What labels there are is looked at before anything is encoded or written.
    assert!(!dir.join("bad").exists());
}

#[test]
fn rare_classes_are_left_out_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    trained(dir);
    let outcome = evaluate(holosig(), dir, "few", &["--residues", "60"]);
    let outcome = outcome.success();
    let words = "labels residue: left out, fewer than 5 residues for 5 folds";
    assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    let record = Record::read(&dir.join("few")).unwrap();
    let residue = &record.evaluations[0].labels[0];
    let left_out: usize = residue.left_out.values().sum();
    assert!(
        residue.left_out.values().all(|&n| (1..5).contains(&n)),
        "{residue:?}"
    );
    assert!(
        left_out > 0 && residue.residues + left_out == 60,
        "{residue:?}"
    );
    let named = |class: &String| outcome.stderr.contains(class.as_str());
    assert!(residue.left_out.keys().all(named), "{}", outcome.stderr);
    assert!(
        residue
            .classes
            .iter()
            .all(|c| !residue.left_out.contains_key(c))
    );
    // Each of five folds of each kind of label is told.
    let fitted = outcome.stderr.matches("linear classifier: fitted to ");
    assert_eq!(
        (record.evaluations[0].labels.len(), fitted.count()),
        (2, 10)
    );
    let report = || run(holosig().current_dir(dir).args(["report", "few"]));
    report().success();
    let page = std::fs::read_to_string(dir.join("few/report.html")).unwrap();
    assert!(page.contains(words));
    std::fs::remove_file(dir.join("few/evaluation.json")).unwrap();
    report().failure(2, "an evaluation that did not end");
}
