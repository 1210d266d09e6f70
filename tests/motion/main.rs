//! Paths of invariants along trajectories, and descriptors of motion: symmetries, ranks, bad input.

#[path = "../common/mod.rs"]
mod common;
mod moving;

use common::{Outcome, holosig, holosig_on, run, training};
use holosig::so3::{rigid, rotation};
use holosig::store::{self, Kind};
use moving::Moving;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A folder with the published small model.
fn with_encoder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let fixture = |name: &str| in_repository("tests/fixtures/published_small").join(name);
    run(holosig()
        .arg("import")
        .args([fixture("model.pt"), fixture("hparams.json")])
        .arg("--out")
        .arg(dir.path().join("encoder.h5")))
    .success();
    dir
}

fn embed(dir: &TempDir, ranks: usize, from: &str, out: &str, options: &[&str]) -> Outcome {
    let at = |name: &str| dir.path().join(name);
    run(holosig_on(ranks)
        .arg("embed")
        .arg(at("encoder.h5"))
        .arg("--trajectories")
        .arg(at(from))
        .arg("--out")
        .arg(at(out))
        .arg("--holographic")
        .args(options))
}

fn motion(dir: &TempDir, ranks: usize, from: &str, out: &str, options: &[&str]) -> Outcome {
    let at = |name: &str| dir.path().join(name);
    run(holosig_on(ranks)
        .current_dir(dir.path())
        .arg("motion")
        .arg(at(from))
        .arg("--out")
        .arg(at(out))
        .args(options))
}

/// All values of a dataset of rank `rank`.
fn values(dir: &TempDir, file: &str, kind: Kind, name: &str, rank: usize) -> Vec<f32> {
    let file = store::open(&dir.path().join(file), kind).unwrap();
    let (group, name) = name.rsplit_once('/').unwrap();
    let group = if group.is_empty() {
        file.clone()
    } else {
        file.group(group).unwrap()
    };
    group.read_shaped(name, &vec![None; rank]).unwrap().0
}

fn invariants(dir: &TempDir, file: &str) -> Vec<f32> {
    values(dir, file, Kind::InvariantPaths, "invariants/000000", 3)
}

/// Largest difference over the largest size.
fn error(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(0f32, |m, x| m.max(x.abs()));
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0f32, f32::max) / largest
}

#[test]
fn frames_turn_and_move_without_a_trace() {
    let dir = with_encoder();
    let still = Moving::new(40, &[6]);
    still.write(&dir.path().join("t.h5"), 3);
    let turned = still.map(|t, frame| {
        let turn = rotation::random(t as u64 + 1);
        let turn = |p: &[f64; 3]| rigid::apply(&turn, *p);
        let moved = |p: [f64; 3]| [p[0] + 7.0 * t as f64, p[1] - 20.0, p[2] + 3.0];
        frame.iter().map(turn).map(moved).collect()
    });
    turned.write(&dir.path().join("turned.h5"), 3);
    for (from, out) in [("t.h5", "i.h5"), ("turned.h5", "j.h5")] {
        embed(&dir, 1, from, out, &["--relative-frames"]).success();
    }
    let (a, b) = (invariants(&dir, "i.h5"), invariants(&dir, "j.h5"));
    assert_eq!(a.len(), 6 * 40 * 8);
    // Rounding of coordinates to f32 at 50 Å, seen through the encoder.
    assert!(error(&a, &b) < 2e-4, "{}", error(&a, &b));
    let moved = error(&a[..40 * 8], &a[40 * 8..80 * 8]);
    assert!(moved > 1e-2, "the frames themselves differ by {moved}");
    let frames = |file| {
        values(
            &dir,
            file,
            Kind::InvariantPaths,
            "relative_frames/000000",
            4,
        )
    };
    let (a, b) = (frames("i.h5"), frames("j.h5"));
    let apart = |(a, b): (&[f32], &[f32])| {
        a.iter()
            .zip(b)
            .map(|(a, b)| (a - b).abs())
            .fold(0f32, f32::max)
    };
    let mut apart: Vec<f32> = a
        .chunks_exact(9)
        .zip(b.chunks_exact(9))
        .map(apart)
        .collect();
    apart.sort_by(f32::total_cmp);
    // A frame is made of two learned vectors; where these are almost parallel, rounding is magnified.
    let most = apart[apart.len() * 9 / 10];
    assert!(
        most < 2e-3 && apart[apart.len() - 1] < 0.2,
        "{most} {:?}",
        &apart[apart.len() - 9..]
    );
}

#[test]
fn a_frame_is_embedded_as_a_structure_is() {
    let dir = with_encoder();
    Moving::new(76, &[3]).write(&dir.path().join("t.h5"), 3);
    embed(&dir, 1, "t.h5", "i.h5", &[]).success();
    run(holosig()
        .arg("embed")
        .arg(dir.path().join("encoder.h5"))
        .arg("--structures")
        .arg(in_repository("tests/structures/pdb1ubi.pdb"))
        .arg("--out")
        .arg(dir.path().join("s.h5")))
    .success();
    let whole = values(&dir, "s.h5", Kind::Embeddings, "/invariants", 2);
    let first = &invariants(&dir, "i.h5")[..76 * 8];
    assert!(error(first, &whole) < 1e-6, "{}", error(first, &whole));
}

#[test]
fn the_order_of_atoms_and_the_number_of_ranks_do_not_matter() {
    let dir = with_encoder();
    // More frames than a rank takes at a time.
    let runs = Moving::new(12, &[70, 5]);
    runs.write(&dir.path().join("t.h5"), 5);
    let files: Vec<Vec<u8>> = [1, 2, 4]
        .into_iter()
        .map(|ranks| {
            let out = format!("i{ranks}.h5");
            embed(&dir, ranks, "t.h5", &out, &["--relative-frames"]).success();
            std::fs::read(dir.path().join(out)).unwrap()
        })
        .collect();
    assert!(files[0] == files[1] && files[0] == files[2]);

    // Atoms of a residue in reverse.
    let mut order: Vec<usize> = (0..runs.atoms.len()).collect();
    order.sort_by_key(|&i| (runs.atoms.residue_of[i], std::cmp::Reverse(i)));
    let mut other = runs.map(|_, f| order.iter().map(|&i| f[i]).collect());
    let atoms = &runs.atoms;
    other.atoms.names = order.iter().map(|&i| atoms.names[i]).collect();
    other.atoms.numbers = order.iter().map(|&i| atoms.numbers[i]).collect();
    other.write(&dir.path().join("other.h5"), 5);
    embed(&dir, 1, "other.h5", "o.h5", &[]).success();
    let (a, b) = (invariants(&dir, "i1.h5"), invariants(&dir, "o.h5"));
    assert!(error(&a, &b) < 1e-5, "{}", error(&a, &b));

    let files: Vec<Vec<u8>> = [1, 2, 4]
        .into_iter()
        .map(|ranks| {
            let out = format!("m{ranks}.h5");
            motion(
                &dir,
                ranks,
                "i1.h5",
                &out,
                &["--channels", "3", "--lag", "2"],
            )
            .success();
            std::fs::read(dir.path().join(out)).unwrap()
        })
        .collect();
    assert!(files[0] == files[1] && files[0] == files[2]);
}

#[test]
fn descriptors_do_not_see_repeated_frames_and_find_the_tail() {
    let dir = with_encoder();
    let runs = Moving::new(20, &[12, 12]);
    runs.write(&dir.path().join("t.h5"), 12);
    let twice = Moving {
        items: runs.items.clone(),
        atoms: runs.atoms.clone(),
        frames: runs
            .frames
            .iter()
            .map(|r| r.iter().flat_map(|f| [f.clone(), f.clone()]).collect())
            .collect(),
    };
    twice.write(&dir.path().join("twice.h5"), 24);
    for (from, paths, out) in [("t.h5", "i.h5", "m.h5"), ("twice.h5", "j.h5", "n.h5")] {
        embed(&dir, 1, from, paths, &[]).success();
        let options = [
            "--channels",
            "4",
            "--depth",
            "3",
            "--page",
            "page.html",
            "--force",
        ];
        motion(&dir, 1, paths, out, &options).success();
    }
    let of = |file, name, rank| values(&dir, file, Kind::Motion, name, rank);
    for (name, rank) in [("log_signature/000001", 3), ("/global", 2)] {
        let (a, b) = (of("m.h5", name, rank), of("n.h5", name, rank));
        assert!(error(&a, &b) < 1e-3, "{name}: {}", error(&a, &b));
        assert!(a.iter().any(|x| x.abs() > 1e-3));
    }
    let read = |file: &str, name: &str| -> Vec<f64> {
        let file = store::open(&dir.path().join(file), Kind::Motion).unwrap();
        file.group(name).unwrap().read("000000").unwrap()
    };
    for name in ["length", "quadratic_variation"] {
        let pairs = read("m.h5", name).into_iter().zip(read("n.h5", name));
        pairs.for_each(|(a, b)| assert!((a - b).abs() < 1e-6 * a, "{name}: {a} {b}"));
    }
    let length = read("m.h5", "length");
    let mean = |r: std::ops::Range<usize>| length[r.clone()].iter().sum::<f64>() / r.len() as f64;
    assert!(mean(16..20) > 1.5 * mean(0..8), "{length:?}");
    let page = std::fs::read_to_string(dir.path().join("page.html")).unwrap();
    for text in [
        "Which residues move",
        "When they move",
        "How much is jitter",
        "GLN",
    ] {
        assert!(page.contains(text), "{text}");
    }

    // Time makes repeated frames visible.
    for (paths, out) in [("i.h5", "m.h5"), ("j.h5", "n.h5")] {
        let options = ["--channels", "4", "--time", "10", "--force"];
        motion(&dir, 1, paths, out, &options).success();
    }
    let (a, b) = (of("m.h5", "/global", 2), of("n.h5", "/global", 2));
    assert!(error(&a, &b) > 1e-2);

    let options = ["--trajectories", "t.h5", "--pdb", "pdb", "--force"];
    motion(&dir, 2, "i.h5", "m.h5", &options).success();
    let text = std::fs::read_to_string(dir.path().join("pdb/graph-000000.pdb")).unwrap();
    let factors: Vec<f64> = text
        .lines()
        .filter(|l| l.starts_with("ATOM"))
        .map(|l| l[60..66].trim().parse().unwrap())
        .collect();
    assert_eq!(factors.len(), runs.atoms.len());
    assert_eq!(factors.iter().copied().fold(0.0, f64::max), 100.0);
    assert!(factors[0] < 80.0 && factors[0] > 0.0, "{factors:?}");
    let other = motion(
        &dir,
        2,
        "j.h5",
        "x.h5",
        &["--trajectories", "t.h5", "--pdb", "pdb"],
    );
    other.failure(
        2,
        "t.h5: not the trajectories that the paths of invariants were made of",
    );
}

#[test]
fn bad_input_is_named_once() {
    let dir = with_encoder();
    let whole = Moving::new(10, &[8, 8]);
    whole.write(&dir.path().join("t.h5"), 8);
    embed(&dir, 1, "t.h5", "i.h5", &[]).success();
    let cut = |keep: &dyn Fn(&str) -> bool, out: &str| {
        let chosen: Vec<usize> = (0..whole.atoms.len())
            .filter(|&i| keep(whole.atoms.names[i].as_str()))
            .collect();
        let mut part = whole.map(|_, f| chosen.iter().map(|&i| f[i]).collect());
        let mask: Vec<bool> = whole.atoms.names.iter().map(|n| keep(n.as_str())).collect();
        part.atoms.retain(&mask);
        part.write(&dir.path().join(out), 8);
    };
    cut(&|name| name == "CA", "ca.h5");
    cut(&|name| ["N", "CA", "C", "O"].contains(&name), "backbone.h5");
    cut(&|name| name != "CA", "no-ca.h5");
    let crowd = whole.map(|_, f| vec![[1.5; 3]; f.len()]);
    crowd.write(&dir.path().join("crowd.h5"), 8);
    run(holosig()
        .args(["prepare", "grd", "--trajectories", "4", "--out"])
        .arg(dir.path().join("grd.h5")))
    .success();
    for ranks in [1, 2] {
        for (from, text) in [
            (
                "ca.h5",
                "ca.h5: graph 0: MET 1 of chain A has no N: neighborhoods need all heavy atoms",
            ),
            (
                "backbone.h5",
                "has no CB: neighborhoods need all heavy atoms; prepare trajectories with --select all",
            ),
            ("no-ca.h5", "no residue has a CA atom"),
            (
                "crowd.h5",
                "crowd.h5: graph 0: neighbors: 10 atoms stand within",
            ),
            ("grd.h5", "grd.h5: its nodes are no atoms"),
            ("i.h5", "i.h5: it holds invariants already"),
            ("encoder.h5", "encoder.h5: a checkpoint"),
        ] {
            embed(&dir, ranks, from, "bad.h5", &[]).failure(2, text);
            assert!(!dir.path().join("bad.h5").exists());
        }
        for (from, options, text) in [
            (
                "t.h5",
                &[][..],
                "t.h5: trajectories, where paths of invariants are needed",
            ),
            (
                "i.h5",
                &["--channels", "9"],
                "--channels 9: there are 8 invariants",
            ),
            (
                "i.h5",
                &["--lag", "8"],
                "--lag 8 leaves one point of segments of 8 frames",
            ),
            (
                "i.h5",
                &["--depth", "12"],
                "--depth 12: a log-signature of 8 channels has more than",
            ),
            (
                "i.h5",
                &["--time", "0"],
                "--time: a positive number of frames",
            ),
        ] {
            motion(&dir, ranks, from, "bad.h5", options).failure(2, text);
            assert!(!dir.path().join("bad.h5").exists());
        }
    }
}

/// A small job of Deep Signature.
fn job(file: &str, features: &str, model: &str) -> String {
    format!(
        "task = 'deep-signature'\n[data]\ndataset = '{file}'\nfeatures = '{features}'\n\
         [model]\nclusters = 5\nhidden = 5\nlstm = 8\nsegments = 2\nprojection = 4\n{model}\n\
         [train]\nsteps = 3\nbatch = 2\nslices = 2\n"
    )
}

#[test]
fn noise_moves_the_atoms_of_trajectories() {
    let dir = tempfile::tempdir().unwrap();
    Moving::new(12, &[8; 6]).write(&dir.path().join("t.h5"), 8);
    let path = dir.path().join("job.toml");
    std::fs::write(&path, job("t.h5", "coordinates", "")).unwrap();
    common::noise_is_learned_from(|out, sets| run(&mut training(0, &path, out, sets)));
}

#[test]
fn deep_signature_learns_from_invariants() {
    let dir = with_encoder();
    Moving::new(12, &[8; 6]).write(&dir.path().join("t.h5"), 8);
    embed(&dir, 1, "t.h5", "i.h5", &[]).success();
    let train = |text: String, out: &str| {
        let path = dir.path().join("job.toml");
        std::fs::write(&path, text).unwrap();
        run(holosig_on(2)
            .arg("train")
            .arg(path)
            .arg("--out")
            .arg(dir.path().join(out)))
    };
    for (method, out) in [("deep-signature", "run"), ("graph-lstm", "lstm")] {
        let text = job("i.h5", "holographic", &format!("method = '{method}'"));
        train(text, out).success();
        let scores = dir.path().join(out).join("scores.json");
        assert!(
            std::fs::read_to_string(scores)
                .unwrap()
                .contains("accuracy")
        );
    }
    let refused = train(job("t.h5", "holographic", ""), "bad");
    refused.failure(
        2,
        "t.h5: a file of trajectories, where data.features needs one of invariant-paths",
    );
    let refused = train(job("i.h5", "coordinates", ""), "bad");
    refused.failure(
        2,
        "i.h5: a file of invariant-paths, where data.features needs one of trajectories",
    );

    let at = |name: &str| dir.path().join(name);
    let embed = |from: &str, options: &[&str]| {
        let mut command = holosig_on(2);
        command
            .arg("embed")
            .arg(at("run/checkpoints/best.h5"))
            .arg("--trajectories")
            .arg(at(from));
        run(command
            .arg("--out")
            .arg(at("e.h5"))
            .args(options)
            .current_dir(dir.path()))
    };
    embed("i.h5", &["--plots", "plots"]).success();
    embed("i.h5", &["--clusters-pdb", "pdb", "--force"]).failure(
        2,
        "i.h5: its nodes are no atoms; there is no structure to write",
    );
    embed("t.h5", &["--force"]).failure(2, "t.h5: 3 values per node, the model was trained on 8");
}
