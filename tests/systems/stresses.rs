//! Stresses of crystals: predicted, learned, and the same in every world.

use super::common::{holosig, run};
use super::{files, hash, prepare, reference, train_on};
use holosig::comm::World;
use holosig::data::systems::Systems;
use holosig::store::{self, Kind};

/// Stresses of crystals are slopes of energies by a strain.
#[test]
fn stresses_are_slopes_of_energies() {
    const STEP: f64 = 5e-3;
    let (from, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // A row of the cell for each strain: none, and both ways along x and of y by z.
    let strains = [
        (0, 0, 0.0),
        (0, 0, STEP),
        (0, 0, -STEP),
        (1, 2, STEP),
        (1, 2, -STEP),
    ];
    for (n, (a, b, step)) in strains.into_iter().enumerate() {
        let cell = [[3.1, 0.2, 0.0], [0.0, 2.9, 0.1], [0.3, 0.0, 3.3]].map(|mut v: [f64; 3]| {
            v[a] += step * v[b];
            format!("{} {} {}\n", v[0], v[1], v[2])
        });
        let text = format!(
            "c\n1.0\n{}C O\n1 1\nDirect\n0 0 0\n0.45 0.3 0.4\n",
            cell.concat()
        );
        std::fs::write(from.path().join(format!("c{n}.poscar")), text).unwrap();
    }
    let file = out.path().join("s.h5");
    prepare(1, from.path(), &file, &["--test", "0", "--validation", "1"]).success();
    let to = out.path().join("p.h5");
    let mut predict = holosig();
    predict
        .arg("predict")
        .arg(reference().1.join("checkpoints/last.h5"));
    run(predict.arg("--systems").arg(&file).arg("--out").arg(&to)).success();
    let predicted = store::open(&to, Kind::PredictedSystems).unwrap();
    assert_eq!(predicted.attr_text("stress_unit").unwrap(), "eV/A^3");
    let energies: Vec<f64> = predicted.read("energy").unwrap();
    let shape = [Some(5), Some(3), Some(3)];
    let (stress, _) = predicted.read_shaped::<f64>("stress", &shape).unwrap();
    let systems = Systems::open(&World::alone(), &file).unwrap();
    let volume = systems.system(0).cell.unwrap().volume();
    let largest = stress[..9].iter().fold(0f64, |m, s| m.max(s.abs()));
    assert!(largest > 1e-3, "{stress:?}");
    for (at, pair) in [(0, [1, 2]), (5, [3, 4])] {
        let slope = (energies[pair[0]] - energies[pair[1]]) / (2.0 * STEP) / volume;
        let error = (stress[at] - slope).abs();
        assert!(error < 0.05 * largest, "{} for {slope}", stress[at]);
    }
}

/// Crystals of two atoms whose bonds are springs, strained at random, with their stresses; one in
/// three has none.
fn crystals() -> String {
    use std::fmt::Write;
    let (mut text, mut state) = (String::new(), 1u64);
    let mut random = move || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    };
    for n in 0..30 {
        // A cubic cell with a body-centred atom, x (1 + e).
        let mut e = [[0.0; 3]; 3];
        for (i, k) in [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)] {
            e[i][k] = 0.1 * random();
            e[k][i] = e[i][k];
        }
        let map = |p: [f64; 3]| -> [f64; 3] {
            std::array::from_fn(|k| p[k] + (0..3).map(|i| p[i] * e[i][k]).sum::<f64>())
        };
        let rows = [[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]].map(map);
        let [a, b, c] = rows;
        let volume = (a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0])
            + a[2] * (b[0] * c[1] - b[1] * c[0]))
            .abs();
        // The eight bonds of the atoms: E = sum (r - 2.5)^2 / 2, dE/de = sum (r - 2.5) r (x) r / |r|.
        let (mut energy, mut stress) = (0.0, [0.0; 9]);
        for corner in 0..8 {
            let half = |k: usize| if corner >> k & 1 == 0 { 1.5 } else { -1.5 };
            let r = map(std::array::from_fn(half));
            let length = r.iter().map(|x| x * x).sum::<f64>().sqrt();
            energy += 0.5 * (length - 2.5).powi(2);
            for (at, s) in stress.iter_mut().enumerate() {
                *s += (length - 2.5) * r[at / 3] * r[at % 3] / length / volume;
            }
        }
        let list = |numbers: &[f64]| {
            let texts: Vec<String> = numbers.iter().map(f64::to_string).collect();
            texts.join(" ")
        };
        let middle = list(&map([1.5; 3]));
        let label = match n % 3 {
            0 => String::new(),
            _ => format!(" stress=\"{}\"", list(&stress)),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "2\nLattice=\"{}\" Properties=species:S:1:pos:R:3:forces:R:3 energy={energy}{label}\n\
             C 0 0 0 0 0 0\nO {middle} 0 0 0",
            list(&rows.concat())
        );
    }
    text
}

/// Stresses are learned, with forces and without, in the same bits on any ranks, and predicted beside
/// the measured ones.
#[test]
fn stresses_are_learned() {
    let (from, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(from.path().join("springs.xyz"), crystals()).unwrap();
    let file = out.path().join("s.h5");
    let told = prepare(2, from.path(), &file, &["--test", "6", "--validation", "3"]).success();
    assert!(told.stdout.contains("stresses (eV/Å^3)"), "{told:#?}");
    let trained = |ranks: usize, name: &str, sets: &[&str]| {
        let dataset = format!("data.dataset={:?}", file.display().to_string());
        let common = [
            &*dataset,
            "data.stress=true",
            "train.steps=60",
            "train.batch=8",
        ];
        let sets: Vec<&str> = common
            .iter()
            .chain(sets)
            .flat_map(|set| ["--set", set])
            .collect();
        let folder = out.path().join(name);
        (train_on(ranks, &folder, &sets), folder)
    };
    // Forces are zero by symmetry: nothing to learn by, and no scale.
    let alone = ["data.forces=false", "data.baseline=\"mean\""];
    let (told, folder) = trained(1, "one", &alone);
    let stdout = told.success().stdout;
    assert!(stdout.contains("test: stress: MAE"), "{stdout}");
    let (told, other) = trained(2, "two", &alone);
    told.success();
    assert_eq!(hash(&folder), hash(&other));
    let scores = std::fs::read_to_string(folder.join("scores.json")).unwrap();
    let scores: serde_json::Value = serde_json::from_str(&scores).unwrap();
    let test = &scores["test"]["stress"];
    assert_eq!(test["unit"], "eV/Å^3");
    assert!(test["r2"].as_f64().unwrap() > 0.5, "{test}");
    let metrics = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    assert!(metrics.contains("stress_mae"));
    let to = out.path().join("p.h5");
    let mut predict = holosig();
    predict
        .arg("predict")
        .arg(folder.join("checkpoints/last.h5"));
    let told = run(predict.arg("--systems").arg(&file).arg("--out").arg(&to)).success();
    assert!(told.stdout.contains("stress: MAE"), "{told:#?}");
    let predicted = store::open(&to, Kind::PredictedSystems).unwrap();
    let shape = [Some(30), Some(3), Some(3)];
    let known = predicted.group("measured").unwrap();
    let (known, _) = known.read_shaped::<f64>("stress", &shape).unwrap();
    let systems = Systems::open(&World::alone(), &file).unwrap();
    for i in 0..30 {
        let own = &known[9 * i..9 * i + 9];
        match systems.stress(i) {
            Some((stress, _)) => assert_eq!(own, stress.as_flattened()),
            None => assert!(own.iter().all(|x| x.is_nan())),
        }
    }
    assert_eq!(known.iter().filter(|x| x.is_nan()).count(), 90);
    let bare = out.path().join("bare.h5");
    prepare(
        1,
        files().path(),
        &bare,
        &["--test", "1", "--validation", "1"],
    )
    .success();
    let bare = format!("data.dataset={:?}", bare.display().to_string());
    let (told, _) = trained(0, "bare", &[&bare, "data.forces=false"]);
    told.failure(2, "no training system has a stress: data.stress = false");
    let (told, _) = trained(0, "class", &["data.forces=false", "data.goal=\"class\""]);
    told.failure(2, "stress = true: classes have no stresses");
}
