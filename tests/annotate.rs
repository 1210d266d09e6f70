//! Values of residues in structures: B-factors and ChimeraX attributes.

mod common;

use common::{Outcome, holosig, holosig_on, run};
use holosig::store::{self, Kind};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name)
}

/// Chain, number, insertion code.
type Place = (String, i32, String);

/// B-factors of the CA atoms of a PDB file, by the columns of the format.
fn b_factors(path: &Path) -> HashMap<Place, f64> {
    let text = std::fs::read_to_string(path).unwrap();
    let atoms = text.lines().filter(|l| l.starts_with("ATOM"));
    let own = |l: &str| {
        let field = |from: usize, to: usize| l[from..to].trim().to_string();
        let place = (field(21, 22), field(22, 26).parse().unwrap(), field(26, 27));
        (place, l[60..66].trim().parse::<f64>().unwrap())
    };
    let alpha = atoms.filter(|l| &l[12..16] == " CA ");
    alpha.map(own).collect()
}

/// Embeddings of two structures, and the values of one of them by place.
fn embedded(dir: &Path, out: &str) -> PathBuf {
    let small = file("fixtures/published_small");
    let model = dir.join("model.h5");
    if !model.exists() {
        let files = [small.join("model.pt"), small.join("hparams.json")];
        run(holosig().arg("import").args(files).arg("--out").arg(&model)).success();
    }
    let path = dir.join(out);
    run(holosig()
        .args(["embed", "model.h5", "--reconstruct", "--structures"])
        .args([file("structures/1orc.pdb"), file("structures/2OFG.cif.gz")])
        .arg("--out")
        .arg(&path)
        .current_dir(dir))
    .success();
    path
}

fn losses(embeddings: &Path, structure: &str) -> HashMap<Place, f64> {
    let file = store::open(embeddings, Kind::Embeddings).unwrap();
    let residues = file.group("residues").unwrap();
    let texts = |name: &str| residues.read_strings(name).unwrap();
    let (of, chain, icode) = (texts("structure"), texts("chain"), texts("icode"));
    let number: Vec<i32> = residues.read("number").unwrap();
    let loss: Vec<f32> = file.read("cosine_loss").unwrap();
    let rows = (0..loss.len()).filter(|&i| of[i] == structure);
    let row = |i: usize| {
        (
            (chain[i].clone(), number[i], icode[i].clone()),
            f64::from(loss[i]),
        )
    };
    rows.map(row).collect()
}

fn annotate(dir: &Path, arguments: &[&str]) -> Outcome {
    run(holosig().arg("annotate").args(arguments).current_dir(dir))
}

#[test]
fn b_factors_are_the_values_and_all_else_is_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let embeddings = embedded(dir, "e.h5");
    let structures = [file("structures/1orc.pdb"), file("structures/2OFG.cif.gz")];
    let [orc, ofg] = structures.each_ref().map(|p| p.to_str().unwrap());
    let both = [
        "e.h5",
        "--value",
        "cosine_loss",
        "--out",
        "colored/deep",
        "--structures",
        orc,
        ofg,
    ];
    annotate(dir, &both).success();
    let wanted = losses(&embeddings, "1orc");
    let found = b_factors(&dir.join("colored/deep/1orc.pdb"));
    assert!(wanted.len() > 50);
    for (place, value) in &wanted {
        assert!((found[place] - value).abs() <= 0.0005, "{place:?} {value}");
    }
    // Water and what was not embedded has 0; every other column is that of the original.
    let columns = |path: &Path| -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        let lines = text
            .lines()
            .filter(|l| !l.starts_with("REMARK 250 HOLOSIG"));
        let without = |l: &str| match l.starts_with("ATOM") || l.starts_with("HETATM") {
            true => [&l[..60], &l[66..]].concat(),
            false => l.to_string(),
        };
        lines.map(without).collect()
    };
    assert_eq!(
        columns(&dir.join("colored/deep/1orc.pdb")),
        columns(&structures[0])
    );
    // The copy of an mmCIF file is read as the original is, and has the values.
    let copy = dir.join("colored/deep/2OFG.cif");
    let options = holosig::data::structure::ReadOptions::default();
    let read = |path: &Path| {
        holosig::data::structure::read(path, &options)
            .unwrap()
            .remove(0)
    };
    assert_eq!(read(&copy).system, read(&structures[1]).system);
    let shown = |v: &f64| (*v as f32).to_string();
    let text = std::fs::read_to_string(&copy).unwrap();
    for value in losses(&embeddings, "2OFG").values() {
        assert!(text.contains(&shown(value)), "{value}");
    }
    // On two ranks, from the table that `embed` writes: the same values.
    embedded(dir, "e.csv");
    let table = [
        "e.csv",
        "--value",
        "cosine_loss",
        "--out",
        "table",
        "--structures",
        orc,
        ofg,
    ];
    run(holosig_on(2).arg("annotate").args(table).current_dir(dir)).success();
    let again = b_factors(&dir.join("table/1orc.pdb"));
    assert!(
        again
            .iter()
            .all(|(place, v)| (v - found[place]).abs() <= 0.0011)
    );
}

#[test]
fn components_are_those_of_all_residues() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let embeddings = embedded(dir, "e.h5");
    let outcome = annotate(
        dir,
        &["e.h5", "--defattr", "--value", "pc2", "--out", "attributes"],
    );
    assert!(outcome.success().stdout.contains("% of the variance"));
    let of = |structure: &str| -> Vec<f64> {
        let path = dir.join(format!("attributes/{structure}.defattr"));
        let text = std::fs::read_to_string(path).unwrap();
        let head = "attribute: pc2\nmatch mode: any\nrecipient: residues\n\t/";
        assert!(text.contains(head), "{text}");
        let rows = text.lines().filter(|l| l.starts_with('\t'));
        rows.map(|l| l.rsplit('\t').next().unwrap().parse().unwrap())
            .collect()
    };
    let ours = [of("1orc"), of("2OFG")].concat();
    // Centred, uncorrelated with the first component, and as the page of a run has it.
    let file = store::open(&embeddings, Kind::Embeddings).unwrap();
    let (rows, shape) = file
        .read_shaped::<f32>("invariants", &[None, None])
        .unwrap();
    assert_eq!(ours.len(), shape[0]);
    let projected = holosig::downstream::pca::project(&rows, shape[1]);
    for (ours, point) in ours.iter().zip(&projected.points) {
        assert!((ours - point[1]).abs() < 1e-4, "{ours} {point:?}");
    }
    let sum = |of: &dyn Fn(usize) -> f64| (0..ours.len()).map(of).sum::<f64>();
    let square = |k: usize| sum(&|i| projected.points[i][k].powi(2));
    assert!(sum(&|i| ours[i]).abs() < 1e-3 * square(1).sqrt());
    let shared = sum(&|i| ours[i] * projected.points[i][0]);
    assert!(shared.abs() < 1e-3 * (square(0) * square(1)).sqrt());
    let rescaled = [
        "e.h5",
        "--rescale",
        "--structures",
        &file_name("1orc.pdb"),
        "--out",
        "one.pdb",
    ];
    annotate(dir, &rescaled).success();
    let values = b_factors(&dir.join("one.pdb"));
    assert!(values.values().all(|v| (0.0..=100.0).contains(v)));
    let [low, high] = values
        .values()
        .fold([100f64, 0.0], |[a, b], &v| [a.min(v), b.max(v)]);
    assert!(high - low > 10.0, "{low} {high}");
}

fn file_name(structure: &str) -> String {
    file("structures").join(structure).to_str().unwrap().into()
}

#[test]
fn mistakes_are_named_and_nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    embedded(dir, "e.h5");
    let orc = file_name("1orc.pdb");
    let other = file_name("1A8O.pdb");
    let with = |more: &[&str]| annotate(dir, &[&["e.h5", "--out", "x"], more].concat());
    with(&[]).failure(2, "--structures FILES are needed");
    with(&["--structures", &other]).failure(2, "it has those of 1orc, 2OFG");
    with(&["--structures", &orc, "--value", "loss"])
        .failure(2, "there are pc1, pc2, ..., cosine_loss,");
    with(&["--structures", &orc, "--value", "pc9"])
        .failure(2, "pc9: there are 8 principal components");
    let one = |out: &str, more: &[&str]| {
        let words = [&["e.h5", "--out", out, "--structures", &orc], more].concat();
        annotate(dir, &words)
    };
    one("x.txt", &[]).failure(2, "the ending must be .pdb or");
    one("x.pdb", &[&file_name("2OFG.cif.gz")]).failure(2, "one file for 2 structures");
    std::fs::copy(&orc, dir.join("own.pdb")).unwrap();
    let own = std::fs::read(dir.join("own.pdb")).unwrap();
    one("own.pdb", &[]).failure(2, "is there already and is not a file of holosig annotate");
    std::fs::create_dir(dir.join("own")).unwrap();
    std::fs::rename(dir.join("own.pdb"), dir.join("own/1orc.pdb")).unwrap();
    annotate(dir, &["e.h5", "--out", "own", "--structures", "own"])
        .failure(2, "is an input of this very command");
    assert!(own == std::fs::read(dir.join("own/1orc.pdb")).unwrap());
    std::fs::write(dir.join("wide.csv"), "chain,number,v\nA,3,12345\n").unwrap();
    annotate(
        dir,
        &[
            "wide.csv",
            "--value",
            "v",
            "--out",
            "w.pdb",
            "--structures",
            &orc,
        ],
    )
    .failure(2, "do not fit the B-factors of PDB");
    annotate(
        dir,
        &[
            "wide.csv",
            "--value",
            "v",
            "--out",
            "w",
            "--structures",
            &orc,
            &other,
        ],
    )
    .failure(2, "no column structure to tell 2 files apart");
    assert!(!dir.join("x").exists() && !dir.join("w.pdb").exists());
}
