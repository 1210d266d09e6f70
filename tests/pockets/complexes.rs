//! Complexes from every kind of source to pockets.

use super::common::{self, holosig, holosig_on, run};
use super::files::*;
use holosig::store::{self, Kind};
use std::path::{Path, PathBuf};

fn pockets(checkpoint: &Path, source: &Path, out: &Path, more: &[&str]) -> common::Outcome {
    let mut command = holosig();
    command
        .arg("pockets")
        .arg(checkpoint)
        .arg("--complexes")
        .arg(source);
    run(command.arg("--out").arg(out).args(more))
}

/// Rows of a matrix of a pocket file.
fn rows(file: &Path, name: &str) -> Vec<Vec<f32>> {
    let root = store::open(file, Kind::Pockets).unwrap();
    let (values, shape) = root.read_shaped::<f32>(name, &[None, None]).unwrap();
    values.chunks(shape[1]).map(<[f32]>::to_vec).collect()
}

/// Largest difference over the largest size.
fn error(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = a.iter().fold(0f32, |m, v| m.max(v.abs()));
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0f32, f32::max)
        / largest
}

#[test]
fn every_source_gives_the_same_pocket() {
    let dir = tempfile::tempdir().unwrap();
    let (ckpt, out) = (checkpoint(dir.path()), dir.path().join("P.h5"));
    let told = pockets(&ckpt, &every_form(dir.path()), &out, &[]).success();
    let all = rows(&out, "pocket");
    assert_eq!(all.len(), 8, "{told:?}");
    let untrained = rows(&out, "pocket_untrained");
    for row in &all {
        assert_eq!(row, &all[0]);
    }
    assert!(error(&all[0], &untrained[0]) > 0.1);
    let root = store::open(&out, Kind::Pockets).unwrap();
    let ids = root.read_strings("ids").unwrap();
    assert_eq!((ids[0].as_str(), ids[7].as_str()), ("sdf", "both"));
    let affinity: Vec<f64> = root.read("affinity").unwrap();
    assert!(affinity[0] == 5.5 && affinity[3].is_nan());
    assert_eq!(root.read_strings("split").unwrap()[3], "validation");
    let source = root
        .group("columns")
        .unwrap()
        .read_strings("source")
        .unwrap();
    assert_eq!((source[0].as_str(), source[7].as_str()), ("a", "b"));
    let shared: Vec<i32> = root.group("counts").unwrap().read("shared_atoms").unwrap();
    // In a protein's file too, all atoms of one name are kept.
    assert_eq!(shared, [0, 0, 0, 0, 0, 5, 5, 5]);
    let formulas = root
        .group("ligand")
        .unwrap()
        .read_strings("formula")
        .unwrap();
    assert!(formulas.iter().all(|f| f == "C2 Cl1 N1 O1"), "{formulas:?}");

    let other = dir.path().join("pdbbind.h5");
    pockets(&ckpt, &pdbbind(dir.path()), &other, &[]).success();
    assert_eq!(rows(&other, "pocket")[0], all[0]);
    let splits = dir.path().join("lba");
    lmdb(&splits.join("train"), &[("1ubi", entry(|p| p))]);
    lmdb(
        &splits.join("test"),
        &[("2ubi", entry(|p| p)), ("3ubi", entry(|p| p))],
    );
    let other = dir.path().join("lba.h5");
    pockets(&ckpt, &splits, &other, &[]).success();
    let lba = rows(&other, "pocket");
    assert!(lba.len() == 3 && lba.iter().all(|row| row == &all[0]));
    let root = store::open(&other, Kind::Pockets).unwrap();
    assert_eq!(
        root.read_strings("split").unwrap(),
        ["train", "test", "test"]
    );
    assert_eq!(root.read::<f64>("affinity").unwrap(), [5.5; 3]);

    // Lists choose splits by id and by number.
    std::fs::write(dir.path().join("val.txt"), "gz\n5\n").unwrap();
    let list = format!("val={}", dir.path().join("val.txt").display());
    let told = pockets(&ckpt, &dir.path().join("m.csv"), &out, &["--split", &list]);
    told.failure(2, "line 1: gz is in the train split already");
}

#[test]
fn a_pocket_is_the_sum_over_the_residues_near_the_ligand() {
    let dir = tempfile::tempdir().unwrap();
    let (ckpt, out) = (checkpoint(dir.path()), dir.path().join("P.h5"));
    // Chlorines have no channel: the model sees the protein alone, as in a plain embedding.
    let unseen: Vec<Atom> = ligand().into_iter().map(|(_, p)| ("Cl", p)).collect();
    std::fs::write(dir.path().join("p.pdb"), protein().join("\n") + "\n").unwrap();
    std::fs::write(dir.path().join("l.sdf"), sdf(&unseen)).unwrap();
    std::fs::write(dir.path().join("m.csv"), "protein,ligand\np.pdb,l.sdf\n").unwrap();
    pockets(&ckpt, &dir.path().join("m.csv"), &out, &["--no-untrained"]).success();
    let plain = dir.path().join("E.h5");
    run(holosig()
        .arg("embed")
        .arg(&ckpt)
        .arg("--structures")
        .arg(dir.path().join("p.pdb"))
        .arg("--out")
        .arg(&plain))
    .success();
    let near: Vec<usize> = alpha_carbons()
        .iter()
        .enumerate()
        .filter(|(_, ca)| unseen.iter().any(|l| distance(l.1, **ca) <= 10.0))
        .map(|(i, _)| i)
        .collect();
    assert!(near.len() > 10 && near.len() < 40, "{near:?}");
    let root = store::open(&out, Kind::Pockets).unwrap();
    let residues = root.group("residues").unwrap();
    let numbers: Vec<i32> = residues.read("number").unwrap();
    assert_eq!(
        numbers,
        near.iter().map(|&i| i as i32 + 1).collect::<Vec<_>>()
    );
    let z = rows(&out, "pocket")[0].len();
    let embedded = store::open(&plain, Kind::Embeddings).unwrap();
    let (embedded, _) = embedded
        .read_shaped::<f32>("invariants", &[Some(76), Some(z)])
        .unwrap();
    let expected: Vec<f32> = near
        .iter()
        .flat_map(|&i| &embedded[i * z..(i + 1) * z])
        .copied()
        .collect();
    let (invariants, _) = residues
        .read_shaped::<f32>("invariants", &[Some(near.len()), Some(z)])
        .unwrap();
    assert!(error(&invariants, &expected) < 1e-6);
    let sum: Vec<f32> = (0..z)
        .map(|k| {
            expected
                .iter()
                .skip(k)
                .step_by(z)
                .map(|&v| f64::from(v))
                .sum::<f64>() as f32
        })
        .collect();
    assert!(error(&rows(&out, "pocket")[0], &sum) < 1e-6);
    let counts = root.group("ligand").unwrap();
    assert_eq!(counts.read::<i32>("atoms_without_channel").unwrap(), [5]);
    assert_eq!(counts.read::<i32>("heavy_atoms").unwrap(), [5]);
    assert!(!root.has("pocket_untrained"));
    // A ligand that is not seen changes nothing.
    assert_eq!(rows(&out, "pocket_without"), rows(&out, "pocket"));
    assert_eq!(rows(&out, "pocket_difference")[0], vec![0.0; z]);
    let squares: Vec<f32> = (0..z)
        .map(|k| expected.iter().skip(k).step_by(z).map(|v| v * v).sum())
        .collect();
    assert!(error(&rows(&out, "pocket_products")[0], &squares) < 1e-5);
    std::fs::write(dir.path().join("seen.sdf"), sdf(&ligand())).unwrap();
    std::fs::write(dir.path().join("s.csv"), "protein,ligand\np.pdb,seen.sdf\n").unwrap();
    let seen = dir.path().join("seen.h5");
    pockets(&ckpt, &dir.path().join("s.csv"), &seen, &[]).success();
    assert!(error(&rows(&seen, "pocket_without")[0], &sum) < 1e-6);
    let (with, difference) = (
        &rows(&seen, "pocket")[0],
        &rows(&seen, "pocket_difference")[0],
    );
    let signed = with.iter().zip(&sum).map(|(a, b)| (a - b).abs());
    assert!(error(with, &sum) > 1e-3);
    // Signs cancel in the sum, not in the difference.
    assert!(
        signed
            .zip(difference)
            .all(|(signed, d)| signed <= d * 1.0001 + 1e-4)
    );

    let mean = dir.path().join("mean.h5");
    pockets(&ckpt, &dir.path().join("m.csv"), &mean, &["--pool", "mean"]).success();
    let expected: Vec<f32> = sum.iter().map(|s| s / near.len() as f32).collect();
    assert!(error(&rows(&mean, "pocket")[0], &expected) < 1e-6);
    let small = dir.path().join("small.h5");
    pockets(&ckpt, &dir.path().join("m.csv"), &small, &["--cutoff", "6"]).success();
    let root = store::open(&small, Kind::Pockets).unwrap();
    let count: Vec<i32> = root.group("counts").unwrap().read("residues").unwrap();
    let within = |ca: &&[f64; 3]| unseen.iter().any(|l| distance(l.1, **ca) <= 6.0);
    assert_eq!(
        count,
        [alpha_carbons().iter().filter(within).count() as i32]
    );
}

#[test]
fn a_pocket_is_of_the_chosen_residues() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (ckpt, out) = (checkpoint(dir.path()), at("P.h5"));
    std::fs::write(at("p.pdb"), protein().join("\n") + "\n").unwrap();
    std::fs::write(at("l.sdf"), sdf(&ligand())).unwrap();
    std::fs::write(at("m.csv"), "protein,ligand\np.pdb,l.sdf\n").unwrap();
    let made = |more: &[&str]| {
        pockets(
            &ckpt,
            &at("m.csv"),
            &out,
            &[&["--no-untrained"][..], more].concat(),
        )
        .success();
        let pocket = rows(&out, "pocket").remove(0);
        let root = store::open(&out, Kind::Pockets).unwrap();
        let residues = root.group("residues").unwrap();
        let numbers: Vec<i32> = residues.read("number").unwrap();
        let shape = [Some(numbers.len()), Some(pocket.len())];
        let (invariants, _) = residues.read_shaped::<f32>("invariants", &shape).unwrap();
        (numbers, invariants, pocket)
    };
    let (all, invariants, whole) = made(&[]);
    let (some, _, pocket) = made(&["--residues", "A:40-60"]);
    let chosen: Vec<usize> = (0..all.len())
        .filter(|&i| (40..=60).contains(&all[i]))
        .collect();
    assert!(!chosen.is_empty() && chosen.len() < all.len(), "{all:?}");
    assert_eq!(some, chosen.iter().map(|&i| all[i]).collect::<Vec<_>>());
    let z = pocket.len();
    let sum = |k: usize| {
        chosen
            .iter()
            .map(|&i| f64::from(invariants[i * z + k]))
            .sum::<f64>()
    };
    let sum: Vec<f32> = (0..z).map(|k| sum(k) as f32).collect();
    assert!(error(&pocket, &sum) < 1e-6 && error(&pocket, &whole) > 1e-3);
    assert_eq!(made(&["--chain", "A"]), (all, invariants, whole));
    let nowhere = at("nowhere.h5");
    let told = pockets(&ckpt, &at("m.csv"), &nowhere, &["--residues", "B:1"]);
    let told = told.failure(2, "of 1 complex none could be used");
    let words = "residues of the pocket is at B:1";
    assert!(told.stderr.contains(words), "{told:#?}");
}

#[test]
fn rotations_leave_pockets_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (ckpt, out) = (checkpoint(dir.path()), dir.path().join("P.h5"));
    let turned = |a: f64, b: f64| {
        move |[x, y, z]: [f64; 3]| {
            let (x, y) = (a.cos() * x - a.sin() * y, a.sin() * x + a.cos() * y);
            let (y, z) = (b.cos() * y - b.sin() * z, b.sin() * y + b.cos() * z);
            [x + 3.0, y - 7.0, z + 1.0]
        }
    };
    let complexes = [
        ("as it is", entry(|p| p)),
        ("turned", entry(turned(0.7, 2.1))),
        ("turned again", entry(turned(-2.9, 0.4))),
    ];
    lmdb(dir.path(), &complexes);
    pockets(&ckpt, &dir.path().join("data.mdb"), &out, &[]).success();
    for (name, bound) in [
        ("pocket", 2e-4),
        ("pocket_untrained", 2e-4),
        ("zernike_invariants", 2e-4),
    ] {
        let all = rows(&out, name);
        for turned in &all[1..] {
            let error = error(&all[0], turned);
            assert!(error < bound, "{name}: {error}");
        }
    }
}

/// A manifest of twenty complexes of which some cannot be used, and what must be said of them.
fn some_bad(dir: &Path) -> (PathBuf, Vec<&'static str>) {
    let atoms = ligand();
    let moved = |by: f64| -> Vec<Atom> {
        atoms
            .iter()
            .map(|(s, p)| (*s, [p[0] + by, p[1], p[2]]))
            .collect()
    };
    let nowhere: Vec<Atom> = atoms.iter().map(|(s, _)| (*s, [0.0; 3])).collect();
    std::fs::write(dir.join("p.pdb"), protein().join("\n") + "\n").unwrap();
    let whole = format!(
        "{}\n{}{}",
        protein().join("\n"),
        records(&atoms, 'L'),
        records(&atoms, 'M')
    );
    let ca_only: Vec<String> = protein()
        .into_iter()
        .filter(|l| &l[12..16] != " CA ")
        .collect();
    for (name, text) in [
        ("two.pdb", whole),
        ("bare.pdb", ca_only.join("\n")),
        ("far.sdf", sdf(&moved(300.0))),
        ("nowhere.mol2", mol2(&nowhere)),
        (
            "flat.sdf",
            sdf(&atoms).replace("  made for a test 3D", "  made for a test   2D"),
        ),
        ("cut.sdf", sdf(&atoms)[..150].to_string()),
        ("odd.sdf", sdf(&atoms).replace("Cl ", "Xq ")),
    ] {
        std::fs::write(dir.join(name), text).unwrap();
    }
    let mut manifest = String::from("id,protein,ligand,pK,split\n");
    for i in 0..12 {
        let name = format!("l{i}.sdf");
        std::fs::write(dir.join(&name), sdf(&moved(0.1 * f64::from(i)))).unwrap();
        manifest += &format!("good{i},p.pdb,{name},{},train\n", 4 + i);
    }
    for (i, row) in [
        "p.pdb,far.sdf",
        "p.pdb,nowhere.mol2",
        "p.pdb,flat.sdf",
        "p.pdb,cut.sdf",
        "p.pdb,odd.sdf",
        "p.pdb,missing.sdf",
        "two.pdb,LIG",
        "bare.pdb,l0.sdf",
    ]
    .iter()
    .enumerate()
    {
        manifest += &format!("bad{i},{row},5,test\n");
    }
    std::fs::write(dir.join("m.csv"), manifest).unwrap();
    let reasons = vec![
        "skipped complex bad0: no pocket: the CA nearest to the ligand is 2",
        "nowhere.mol2: no coordinates: all atoms of the ligand lie in one point",
        "flat.sdf: line 2 calls it a 2D drawing",
        "cut.sdf: line 7: ",
        "odd.sdf: \"Xq\" is no element",
        "missing.sdf: no such file",
        "two.pdb: 2 residues are called LIG (LIG:L:401, LIG:M:401): name one of them",
        "bare.pdb: no CA atom of a canonical amino acid",
    ];
    (dir.join("m.csv"), reasons)
}

#[test]
fn bad_complexes_are_named_and_left_out_on_any_number_of_ranks() {
    let dir = tempfile::tempdir().unwrap();
    let ckpt = checkpoint(dir.path());
    let (manifest, reasons) = some_bad(dir.path());
    let mut files = Vec::new();
    for ranks in [1, 2, 4] {
        let out = dir.path().join(format!("P{ranks}.h5"));
        let mut command = holosig_on(ranks);
        command
            .arg("pockets")
            .arg(&ckpt)
            .arg("--complexes")
            .arg(&manifest);
        let told =
            run(command.arg("--out").arg(&out)).failure(3, "8 of 20 inputs; the rest is done");
        let told = told.warned("skipped complex ");
        for reason in &reasons {
            let lines = told.stderr.lines().filter(|l| l.contains(reason)).count();
            assert_eq!(lines, 1, "{reason}: {told:#?}");
        }
        files.push(std::fs::read(out).unwrap());
    }
    assert!(files[0] == files[1] && files[1] == files[2]);
    let out = dir.path().join("strict.h5");
    let told = pockets(&ckpt, &manifest, &out, &["--strict"]);
    told.failure(2, "complex bad0: no pocket");
    assert!(!out.exists());
}

#[test]
fn bad_lists_of_complexes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (ckpt, out) = (checkpoint(dir.path()), dir.path().join("P.h5"));
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    pockets(&ckpt, &empty, &out, &[]).failure(2, "holds neither an INDEX_…data… file (PDBbind)");
    let manifest = dir.path().join("m.csv");
    for (text, what) in [
        (
            "protein\na\n",
            "no column ligand_file (also known as ligand)",
        ),
        ("protein,ligand\n", "lists no complexes"),
        (
            "id,protein,ligand\nx,a,b.sdf\nx,a,c.sdf\n",
            "complexes 1 and 2 are both called \"x\"",
        ),
        (
            "protein,ligand,pK\na,b.sdf,nan\n",
            "line 2: affinity \"nan\" is not a finite number",
        ),
        (
            "protein,ligand,split\na,b.sdf,tset\n",
            "line 2: split \"tset\"",
        ),
        ("protein,ligand\na,\n", "line 2: ligand is empty"),
        (
            "protein,ligand\na,b.sdf\n",
            "of 1 complex none could be used",
        ),
    ] {
        std::fs::write(&manifest, text).unwrap();
        pockets(&ckpt, &manifest, &out, &[]).failure(2, what);
        assert!(!out.exists());
    }
    lmdb(
        &dir.path().join("other"),
        &[("x", serde_json::json!({ "atoms": {} }))],
    );
    let told = pockets(&ckpt, &dir.path().join("other"), &out, &[]).failure(2, "of 1 complex none");
    assert!(
        told.stderr
            .contains("entry 0: no atoms_protein and atoms_ligand"),
        "{told:?}"
    );
}
