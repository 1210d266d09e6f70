//! Regressors beside their baselines.

use super::common::{self, holosig, holosig_on, run};
use holosig::data::zernikegrams::write_settings;
use holosig::ops::zernike::Settings;
use holosig::store::{self, Kind, Storage};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;

const N: usize = 120;
const WIDTH: usize = 6;

/// A pocket file of made-up numbers: the label hangs on the embedding and a little on the size of
/// the ligand; column 4 of the embedding is constant.
fn made_up(path: &Path, change: impl Fn(&mut Vec<f64>, &mut Vec<String>)) {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut noise = || (0..4).map(|_| rng.random_range(-1.0..1.0)).sum::<f64>();
    let pocket: Vec<f32> = (0..N * WIDTH)
        .map(|i| if i % WIDTH == 4 { 2.5 } else { noise() as f32 })
        .collect();
    let untrained: Vec<f32> = (0..N * WIDTH).map(|_| noise() as f32).collect();
    let settings = Settings {
        lmax: 1,
        nmax: 3,
        ..Settings::default()
    };
    let invariants = settings.irreps().channels(0) + settings.irreps().channels(1);
    let zernike: Vec<f32> = (0..N * invariants).map(|_| noise() as f32).collect();
    let size: Vec<i32> = (0..N).map(|i| 10 + (i as i32 * 7) % 23).collect();
    let mut affinity: Vec<f64> = (0..N)
        .map(|i| {
            let row = &pocket[i * WIDTH..];
            6.0 + f64::from(row[0]) - 0.7 * f64::from(row[1])
                + 0.02 * f64::from(size[i])
                + 0.2 * noise()
        })
        .collect();
    let mut split: Vec<String> = (0..N)
        .map(|i| ["train", "train", "train", "validation", "test"][i % 5].to_string())
        .collect();
    change(&mut affinity, &mut split);
    let ids: Vec<String> = (0..N).map(|i| format!("c{i}")).collect();
    let source: Vec<&str> = (0..N)
        .map(|i| if i < N / 3 { "crystal" } else { "modelled" })
        .collect();
    let groups: Vec<String> = (0..N).map(|i| format!("g{}", i / 4)).collect();
    let clusters: Vec<String> = (0..N).map(|i| format!("{}", i / 40)).collect();
    // One element of the ligand tells something that the embedding does not.
    let elements: Vec<i32> = (0..N * 2)
        .map(|i| {
            if i % 2 == 0 {
                size[i / 2]
            } else {
                (i as i32 / 2) % 3
            }
        })
        .collect();
    for (i, a) in affinity.iter_mut().enumerate() {
        *a += f64::from(elements[2 * i + 1]);
    }
    store::write(path, Kind::Pockets, |root| {
        write_settings(root, &settings)?;
        root.set_attr_text("checkpoint_hash", "abc")?;
        root.set_attr_text("pool", "sum")?;
        root.set_attr("pocket_cutoff", 10.0)?;
        root.write_strings("ids", &ids)?;
        root.write("pocket", &[N, WIDTH], &pocket, Storage::Plain)?;
        root.write("pocket_untrained", &[N, WIDTH], &untrained, Storage::Plain)?;
        root.write(
            "zernike_invariants",
            &[N, invariants],
            &zernike,
            Storage::Plain,
        )?;
        root.write("affinity", &[N], &affinity, Storage::Plain)?;
        root.write_strings("split", &split)?;
        root.write_strings("group", &groups)?;
        root.write_strings("sequence_cluster", &clusters)?;
        for name in ["without", "difference", "products"] {
            let (name, shape) = (format!("pocket_{name}"), [N, WIDTH]);
            root.write(&name, &shape, &untrained, Storage::Plain)?;
        }
        root.create_group("columns")?
            .write_strings("source", &source)?;
        let residues: Vec<i32> = vec![30; N];
        root.create_group("counts")?
            .write("residues", &[N], &residues, Storage::Plain)?;
        let ligand = root.create_group("ligand")?;
        ligand.write("elements", &[N, 2], &elements, Storage::Plain)?;
        ligand.write("heavy_atoms", &[N], &size, Storage::Plain)
    })
    .unwrap();
}

fn regress(pockets: &Path, out: &Path, more: &[&str]) -> common::Outcome {
    run(holosig()
        .arg("regress")
        .arg(pockets)
        .arg("--out")
        .arg(out)
        .args(more))
}

fn csv_rows(path: &Path) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_path(path)
        .unwrap();
    let record =
        |r: csv::Result<csv::StringRecord>| r.unwrap().iter().map(str::to_string).collect();
    reader.records().map(record).collect()
}

#[test]
fn the_table_tells_a_good_embedding_from_its_baselines() {
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (dir.path().join("P.h5"), dir.path().join("R"));
    made_up(&file, |_, _| ());
    let more = ["--model", "ridge,knn", "--by", "source"];
    let told = regress(&file, &out, &more).success();
    for what in [
        "pocket: 1 of 6 columns are constant in training and left out",
        "pocket_size: the same for all training complexes; left out of the table",
    ] {
        assert_eq!(told.stderr.matches(what).count(), 1, "{told:#?}");
    }
    for what in [
        "all: 24 test complexes of 24 groups",
        "intervals over groups: column group",
        "chosen in validation: learned embedding, ridge",
        "embedding adds 0.",
        "source = crystal: 8",
        "source = modelled: 16",
        "learned embedding",
    ] {
        assert!(told.stdout.contains(what), "{what}: {told:#?}");
    }
    let table = csv_rows(&out.join("table.csv"));
    let column = |name: &str| table[0].iter().position(|c| c == name).unwrap();
    let (rmsd, low) = (column("rmsd"), column("learned_better_by_low"));
    let row = |features: &str, model: &str| {
        let is = |r: &&Vec<String>| r[0] == "all" && r[2] == features && r[3] == model;
        table.iter().find(is).unwrap()
    };
    let number = |text: &str| text.parse::<f64>().unwrap();
    let learned = number(&row("pocket", "ridge")[rmsd]);
    assert!(learned < 1.2, "{learned}");
    let both = row("pocket_and_elements", "ridge");
    assert!(number(&both[rmsd]) < 0.5, "{both:?}");
    assert!(number(&both[column("adds_low")]) > 0.0, "{both:?}");
    let elements = number(&row("ligand_elements", "ridge")[rmsd]);
    assert!(elements > 1.0, "{elements}");
    for features in [
        "pocket_untrained",
        "zernike_invariants",
        "zernike_invariants_l0",
        "ligand_size",
    ] {
        let row = row(features, "ridge");
        assert!(
            number(&row[rmsd]) > 0.8 && number(&row[low]) > 0.0,
            "{row:?}"
        );
    }
    assert!(number(&row("mean", "mean")[low]) > 0.0);

    // What is in the file of predictions is what the table says, from the numbers themselves.
    let predictions = csv_rows(&out.join("predictions.csv"));
    let place = predictions[0]
        .iter()
        .position(|c| c == "pocket:ridge")
        .unwrap();
    let pairs = predictions[1..]
        .iter()
        .map(|r| number(&r[place]) - number(&r[2]));
    let again = (pairs.map(|d| d * d).sum::<f64>() / 24.0).sqrt();
    assert!((again - learned).abs() < 1e-9);

    // An average is that of what its parts predict, each with the regressor that validation chose.
    let place = |name: &str| predictions[0].iter().position(|c| c == name).unwrap();
    let starred = csv_rows(&out.join("table.csv"));
    let starred = starred
        .iter()
        .find(|r| r[0] == "all" && r[2] == "ligand_elements" && r[6] == "true")
        .unwrap();
    let parts = [
        place("pocket:ridge"),
        place(&format!("ligand_elements:{}", starred[3])),
        place("pocket_and_elements:average"),
    ];
    for r in &predictions[1..] {
        let [a, b, both] = parts.map(|p| number(&r[p]));
        assert!(((a + b) / 2.0 - both).abs() < 1e-9, "{r:?}");
    }
    let place = place("pocket:ridge");

    // The saved regressors predict the same again.
    let csv = dir.path().join("again.csv");
    run(holosig()
        .arg("predict")
        .arg(&out)
        .arg(&file)
        .args(["--model", "ridge", "--out"])
        .arg(&csv))
    .success();
    let predicted: std::collections::HashMap<String, f64> = csv_rows(&csv)[1..]
        .iter()
        .map(|r| (r[0].clone(), number(&r[1])))
        .collect();
    assert_eq!(predicted.len(), N);
    for r in &predictions[1..] {
        assert!((predicted[&r[0]] - number(&r[place])).abs() < 1e-9, "{r:?}");
    }

    run(holosig().arg("report").arg(&out)).success();
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert_eq!(page.matches("<svg").count(), 2);
    for what in [
        "learned embedding",
        "untrained encoder",
        "mean predictor",
        "crystal",
        "modelled",
        "beaten",
        "test RMSD, baseline best in validation: ",
        "<span>tested complexes</span>",
    ] {
        assert!(page.contains(what), "{what}");
    }
    assert!(
        !page.contains("http://")
            || page.matches("http://").count() == page.matches("http://www.w3.org").count()
    );
}

#[test]
fn every_regressor_learns_and_any_number_of_ranks_finds_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("P.h5");
    made_up(&file, |_, _| ());
    let mut found: Vec<Vec<Vec<u8>>> = Vec::new();
    for ranks in [1, 2, 4] {
        let out = dir.path().join(format!("R{ranks}"));
        let mut command = holosig_on(ranks);
        command.arg("regress").arg(&file).arg("--out").arg(&out);
        run(command.args(["--bags", "3", "--split", "k-fold:3"])).success();
        let names = [
            "table.csv",
            "predictions.h5",
            "models/forest.h5",
            "models/boosting.h5",
        ];
        found.push(
            names
                .iter()
                .map(|n| std::fs::read(out.join(n)).unwrap())
                .collect(),
        );
    }
    assert!(found[0] == found[1] && found[1] == found[2]);
    let table = csv_rows(&dir.path().join("R1/table.csv"));
    let rmsd = table[0].iter().position(|c| c == "rmsd").unwrap();
    let deviation = {
        let is_mean = |r: &&Vec<String>| r[3] == "mean";
        table.iter().find(is_mean).unwrap()[rmsd]
            .parse::<f64>()
            .unwrap()
    };
    let learned: Vec<_> = table.iter().filter(|r| r[2] == "pocket").collect();
    assert_eq!(learned.len(), 7);
    for row in &learned {
        assert!(
            row[rmsd].parse::<f64>().unwrap() < 0.85 * deviation,
            "{row:?}, {deviation}"
        );
    }
    let committee = learned.iter().find(|r| r[3] == "committee");
    assert!(committee.is_some(), "the mean of the six");
    // Every complex is tested once, and no group is in two folds.
    let predictions = csv_rows(&dir.path().join("R1/predictions.csv"));
    assert_eq!(predictions.len(), N + 1);
    assert!(
        regress(
            &file,
            &dir.path().join("few"),
            &[
                "--model",
                "ridge",
                "--bags",
                "2",
                "--group",
                "sequence_cluster"
            ]
        )
        .success()
        .stderr
        .contains(
            "24 tested complexes are of 3 groups (clusters of sequences (35 % identity)): too few"
        )
    );
    let few = dir.path().join("few");
    run(holosig().arg("report").arg(&few)).success();
    let page = std::fs::read_to_string(few.join("report.html")).unwrap();
    let words = "<span>tested complexes of 3 groups, too few to decide anything</span>";
    assert!(page.contains(words));
    regress(&file, &dir.path().join("x"), &["--group", "none"]).failure(2, "no column \"none\"");
    let mut fold_of = std::collections::HashMap::new();
    for r in &predictions[1..] {
        let group = r[0][1..].parse::<usize>().unwrap() / 4;
        assert_eq!(*fold_of.entry(group).or_insert(r[1].clone()), r[1]);
    }
}

/// Without resamples a regressor is fitted to all training complexes: once, and trees with several seeds.
/// With resamples, fits differ.
#[test]
fn fits_are_to_all_complexes_or_to_resamples() {
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (dir.path().join("P.h5"), dir.path().join("R"));
    made_up(&file, |_, _| ());
    let models = ["--model", "ridge,boosting", "--bags"];
    regress(&file, &out, &[&models[..], &["1"]].concat()).failure(2, "one resample has no spread");
    let spreads = |bags: &str, fits: usize| {
        let out = dir.path().join(bags);
        regress(&file, &out, &[&models[..], &[bags]].concat()).success();
        let predictions = store::open(&out.join("predictions.h5"), Kind::Predictions).unwrap();
        let names = predictions.read_strings("models").unwrap();
        let shape = [Some(24), Some(names.len()), Some(fits)];
        let (single, _) = predictions.read_shaped::<f64>("resamples", &shape).unwrap();
        ["pocket:ridge", "pocket:boosting", "pocket:committee"].map(|name| {
            let place = names.iter().position(|n| n == name).unwrap();
            let of_first = &single[place * fits..][..fits];
            of_first.iter().any(|s| *s != of_first[0])
        })
    };
    assert_eq!(spreads("0", 5), [false, true, true]);
    assert_eq!(spreads("3", 3), [true, true, true]);
}

/// What validation chose predicts other pockets, also where it is the mean of several regressors.
#[test]
fn a_committee_predicts_what_its_members_do() {
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (dir.path().join("P.h5"), dir.path().join("R"));
    made_up(&file, |_, _| ());
    regress(&file, &out, &["--model", "ridge,kernel,boosting"]).success();
    let record = out.join("results.json");
    let text = std::fs::read_to_string(&record).unwrap();
    let chosen = |name: &str| format!("\"chosen\": \"{name}\"");
    let found =
        ["ridge", "kernel", "boosting", "committee"].map(|name| text.contains(&chosen(name)));
    assert_eq!(found.iter().filter(|f| **f).count(), 1, "{text}");
    let other = text
        .lines()
        .map(|line| match line.contains("\"chosen\": ") {
            true => format!("  {},\n", chosen("committee")),
            false => format!("{line}\n"),
        });
    std::fs::write(&record, other.collect::<String>()).unwrap();
    let csv = dir.path().join("again.csv");
    let told = run(holosig()
        .arg("predict")
        .args([&out, &file])
        .arg("--out")
        .arg(&csv))
    .success();
    assert!(
        told.stderr.contains("committee") || told.stdout.contains("committee"),
        "{told:?}"
    );
    let again = csv_rows(&csv);
    let predictions = csv_rows(&out.join("predictions.csv"));
    let place = predictions[0]
        .iter()
        .position(|c| c == "pocket:committee")
        .unwrap();
    for r in &predictions[1..] {
        let same = again.iter().find(|a| a[0] == r[0]).unwrap();
        let [a, b] = [&same[1], &r[place]].map(|t| t.parse::<f64>().unwrap());
        assert!((a - b).abs() < 1e-9, "{r:?} {same:?}");
    }
    // One fit has no spread.
    run(holosig()
        .arg("predict")
        .args([&out, &file])
        .args(["--model", "ridge", "--force", "--out"])
        .arg(&csv))
    .success();
    assert!(csv_rows(&csv)[1..].iter().all(|r| r[2].is_empty()));
}

#[test]
fn labels_may_have_units() {
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (dir.path().join("P.h5"), dir.path().join("R"));
    made_up(&file, |_, _| ());
    let pockets = store::open(&file, Kind::Pockets).unwrap();
    let affinity: Vec<f64> = pockets.read("affinity").unwrap();
    let nanomolar = affinity.iter().map(|a| 10f64.powf(9.0 - a));
    let rows = nanomolar
        .enumerate()
        .map(|(i, kd)| format!("c{i},{kd:e}\n"));
    let labels = dir.path().join("l.csv");
    let text = format!("id,Kd (nM)\n{}", rows.collect::<String>());
    std::fs::write(&labels, text).unwrap();
    let more = ["--model", "ridge", "--labels", labels.to_str().unwrap()];
    regress(&file, &out, &more).success();
    let predictions = csv_rows(&out.join("predictions.csv"));
    assert_eq!(predictions.len(), 25);
    for r in &predictions[1..] {
        let id: usize = r[0][1..].parse().unwrap();
        let measured: f64 = r[2].parse().unwrap();
        assert!((measured - affinity[id]).abs() < 1e-9, "{r:?}");
    }
}

#[test]
fn bad_labels_and_splits_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (dir.path().join("P.h5"), dir.path().join("R"));
    let ridge = ["--model", "ridge", "--bags", "2"];
    made_up(&file, |affinity, _| affinity[7] = f64::NAN);
    let told = regress(&file, &out, &ridge).failure(3, "1 of 120 inputs; the rest is done");
    assert!(
        told.stderr.contains("complex c7: no label; left out"),
        "{told:?}"
    );
    made_up(&file, |_, split| {
        split
            .iter_mut()
            .filter(|s| *s == "test")
            .skip(1)
            .for_each(|s| s.clear());
    });
    regress(&file, &out, &ridge)
        .failure(2, "the test part by column split has 1 labelled complexes");
    made_up(&file, |_, split| split[3] = "maybe".into());
    regress(&file, &out, &ridge).failure(2, "complex c3: split \"maybe\"");
    regress(&file, &out, &[&ridge[..], &["--split", "none"]].concat()).failure(
        2,
        "no column \"none\"; there are: split, group, sequence_cluster, source",
    );
    made_up(&file, |_, _| ());
    let labels = dir.path().join("l.csv");
    let with = ["--labels", labels.to_str().unwrap()];
    for (text, what) in [
        ("id,pK\nc1,5\nc1,6\n", "line 3: id \"c1\" is also on line 2"),
        (
            "id,pK\nc1,NaN\n",
            "line 2: affinity \"NaN\" is not a finite number",
        ),
        ("id,value\nc1,5\n", "no column of any of these names: pK"),
        ("id,pK\nz,5\n", "none of its ids is in"),
    ] {
        std::fs::write(&labels, text).unwrap();
        regress(&file, &out, &[&ridge[..], &with].concat()).failure(2, what);
    }
    regress(&file, &out, &ridge).success();
    let only = ["--where", "source=crystal", "--where", "source=modelled"];
    let told = regress(&file, &out, &[&ridge[..], &only].concat()).success();
    assert!(told.stdout.contains("all: 24 test complexes"), "{told:?}");
    let pockets = store::open(&file, Kind::Pockets).unwrap();
    assert_eq!(pockets.attr_text("checkpoint_hash").unwrap(), "abc");
    let told = run(holosig()
        .arg("predict")
        .arg(dir.path())
        .arg(&file)
        .arg("--out")
        .arg(dir.path().join("x.csv")));
    told.failure(2, "not the folder of a regression");
}
