//! Molecular-dynamics trajectories, from files that chemfiles writes to the reader.

mod bad_input;
mod children;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/gzip.rs"]
mod gzip;
#[path = "../common/peptide.rs"]
mod peptide;

use common::{holosig, holosig_on, run, start};
use holosig::comm::World;
use holosig::data::trajectory::{Dataset, Partition, Protocol};
use peptide::{ATOMS, BOX, RESIDUES, Run};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// A manifest in `folder` with the given lines.
fn manifest(folder: &TempDir, lines: &[&str]) -> PathBuf {
    let path = folder.path().join("manifest.csv");
    std::fs::write(&path, lines.join("\n")).unwrap();
    path
}

fn prepare(folder: &TempDir, options: &[&str]) -> Command {
    let mut command = holosig();
    arguments(&mut command, folder, options);
    command
}

fn arguments(command: &mut Command, folder: &TempDir, options: &[&str]) {
    let at = |name| folder.path().join(name);
    command.args(["prepare", "trajectories", "--manifest"]);
    command
        .arg(at("manifest.csv"))
        .arg("--out")
        .arg(at("out.h5"));
    command.args(options);
}

fn open(folder: &TempDir) -> Dataset {
    Dataset::open(&World::alone(), &folder.path().join("out.h5")).unwrap()
}

/// All frames of trajectory `index`, node by node.
fn frames(dataset: &Dataset, index: u32) -> Vec<Vec<[f32; 3]>> {
    let mut all = Vec::new();
    for (id, segment) in dataset.segments().iter().enumerate() {
        if segment.trajectory == index {
            let c = dataset.segment(id as u32).unwrap();
            let points: Vec<[f32; 3]> = c.values.chunks(3).map(|p| [p[0], p[1], p[2]]).collect();
            all.extend(points.chunks(c.nodes).map(<[[f32; 3]]>::to_vec));
        }
    }
    all
}

/// Largest distance between stored nodes and the run's true atoms, up to one lattice vector for
/// the whole trajectory.
fn largest_error(stored: &[Vec<[f32; 3]>], run: &Run, atoms: &[usize]) -> f64 {
    let first = run.frames[0][atoms[0]];
    let shift: [f64; 3] = std::array::from_fn(|k| f64::from(stored[0][0][k]) - first[k]);
    let lattice = shift.map(|s| BOX * (s / BOX).round());
    let mut worst = 0.0f64;
    for (frame, truth) in stored.iter().zip(&run.frames) {
        assert_eq!(frame.len(), atoms.len());
        for (node, &atom) in frame.iter().zip(atoms) {
            for k in 0..3 {
                worst = worst.max((f64::from(node[k]) - lattice[k] - truth[atom][k]).abs());
            }
        }
    }
    worst
}

#[test]
fn every_format_gives_the_same_whole_molecules_in_angstrom() {
    let folder = tempfile::tempdir().unwrap();
    let run_of = Run::new(50, 1);
    run_of.write_frame(&folder.path().join("top.pdb"));
    let formats = [
        ("xtc", 0.006, true),
        ("trr", 2e-5, true),
        ("dcd", 2e-5, false),
        ("nc", 2e-5, false),
        ("pdb", 6e-4, false),
    ];
    for (extension, tolerance, timed) in formats {
        let name = format!("run.{extension}");
        run_of.write(&folder.path().join(&name), 0..50);
        manifest(
            &folder,
            &["trajectory,topology,label", &format!("{name},top.pdb,a")],
        );
        run(&mut prepare(
            &folder,
            &["--select", "backbone", "--segments", "5x1"],
        ))
        .success();
        let dataset = open(&folder);
        assert_eq!((dataset.unit(), dataset.time_unit()), ("angstrom", "ps"));
        assert_eq!(dataset.trajectories()[0].frames, 50);
        let stored = frames(&dataset, 0);
        assert_eq!(stored.len(), 50);
        let error = largest_error(&stored, &run_of, &peptide::backbone());
        assert!(error < tolerance, "{extension}: {error} Å");
        if timed {
            let step = dataset.trajectories()[0].time_step.unwrap();
            assert!((step - 2.0).abs() < 1e-6, "{extension}: {step} ps");
        }
    }
}

#[test]
fn strides_skip_frames() {
    let folder = tempfile::tempdir().unwrap();
    let run_of = Run::new(50, 2);
    run_of.write_frame(&folder.path().join("top.pdb"));
    run_of.write(&folder.path().join("run.trr"), 0..50);
    manifest(&folder, &["trajectory,topology", "run.trr,top.pdb"]);
    let options = ["--stride", "4", "--window", "13", "--select", "name CB"];
    run(&mut prepare(&folder, &options)).success();
    let dataset = open(&folder);
    let thinned = Run {
        frames: run_of.frames.iter().step_by(4).cloned().collect(),
    };
    let stored = frames(&dataset, 0);
    assert_eq!(stored.len(), 13);
    let beta: Vec<usize> = (0..RESIDUES).map(|r| 6 * r + 5).collect();
    assert!(largest_error(&stored, &thinned, &beta) < 2e-5);
    assert_eq!(dataset.trajectories()[0].time_step, Some(8.0));
    assert!(dataset.class_of(0).is_err(), "there are no labels");
}

#[test]
fn rows_of_a_manifest_may_be_windows() {
    let folder = tempfile::tempdir().unwrap();
    let run_of = Run::new(20, 2);
    run_of.write_frame(&folder.path().join("top.pdb"));
    run_of.write(&folder.path().join("a.xtc"), 0..20);
    let beta: Vec<usize> = (0..RESIDUES).map(|r| 6 * r + 5).collect();
    let error = |dataset: &Dataset, row: u32, of_run: &[usize]| {
        let frames_of_run = of_run.iter().map(|&f| run_of.frames[f].clone()).collect();
        let stored = frames(dataset, row);
        assert_eq!(stored.len(), of_run.len());
        largest_error(
            &stored,
            &Run {
                frames: frames_of_run,
            },
            &beta,
        )
    };
    manifest(
        &folder,
        &[
            "trajectory,topology,frames,label",
            "a.xtc,top.pdb,0:10,1.5",
            "a.xtc,top.pdb,6:20,2.5",
        ],
    );
    let options = [
        "--force",
        "--segments",
        "1x1",
        "--folds",
        "2",
        "--select",
        "name CB",
    ];
    run(&mut prepare(&folder, &options)).success();
    let dataset = open(&folder);
    let window =
        |from: usize, to: usize, stride: usize| (from..to).step_by(stride).collect::<Vec<_>>();
    assert!(error(&dataset, 0, &window(0, 10, 1)) < 0.01);
    assert!(error(&dataset, 1, &window(6, 20, 1)) < 0.01);
    assert_eq!(dataset.value_of(1).unwrap(), 2.5);
    let rows = dataset.trajectories();
    assert_eq!(rows[0].fold, rows[1].fold);
    run(&mut prepare(
        &folder,
        &[&options[..], &["--stride", "4"]].concat(),
    ))
    .success();
    assert!(error(&open(&folder), 1, &window(6, 20, 4)) < 0.01);

    manifest(
        &folder,
        &["trajectory,topology,frames", "a.xtc,top.pdb,15:21"],
    );
    let message = "frames 15:21 of the manifest: it has no frame 20";
    run(&mut prepare(&folder, &["--force"])).failure(2, message);
}

#[test]
fn nodes_and_edges_follow_the_selection() {
    let folder = tempfile::tempdir().unwrap();
    let run_of = Run::new(8, 3);
    run_of.write_frame(&folder.path().join("top.pdb"));
    run_of.write(&folder.path().join("run.dcd"), 0..8);
    manifest(&folder, &["trajectory,topology,label", "run.dcd,top.pdb,1"]);
    let n = RESIDUES;
    let graph = |options: &[&str]| {
        let mut all = vec!["--segments", "2x2"];
        all.extend(options);
        run(&mut prepare(&folder, &all)).success();
        open(&folder).graphs()[0].clone()
    };
    let all = graph(&["--select", "all"]);
    assert_eq!((all.nodes, all.edges.len()), (5 * n, 4 * n + n - 1));
    let atoms = all.atoms.unwrap();
    assert_eq!(atoms.names[..5], ["N", "CA", "C", "O", "CB"]);
    assert_eq!(atoms.numbers[..5], [7, 6, 6, 8, 6]);
    assert_eq!((atoms.residue_of[5], atoms.residue(5).number), (1, 2));
    assert_eq!(
        (
            atoms.residue(5).name.as_str(),
            atoms.residue(5).chain.as_str()
        ),
        ("ALA", "A")
    );

    let backbone = graph(&["--select", "backbone"]);
    assert_eq!((backbone.nodes, backbone.edges.len()), (4 * n, 4 * n - 1));
    // N-CA, CA-C, C-O, and the peptide bond C-N.
    assert_eq!(backbone.edges[..4], [[0, 1], [1, 2], [2, 3], [2, 4]]);

    // CA atoms are 3.6 Å apart in a row: within 8 Å are the next two.
    let ca = graph(&["--select", "ca"]);
    assert_eq!((ca.nodes, ca.edges.len()), (n, 2 * n - 3));
    let near = graph(&["--select", "ca", "--cutoff", "4"]);
    assert_eq!(
        near.edges,
        (0..n as u32 - 1).map(|i| [i, i + 1]).collect::<Vec<_>>()
    );
    let residues = graph(&["--select", "residue"]);
    assert_eq!(residues.edges, near.edges);
    assert_eq!(residues.atoms.unwrap().names[0], "ALA");
    // Hydrogens on request, and only bonds among the chosen.
    let some = graph(&["--select", "name N H and resid < 4"]);
    assert_eq!(some.edges, [[0, 1], [2, 3], [4, 5]]);
    let other = graph(&["--select", "protein and name N H and resid 1:3"]);
    assert_eq!(other.edges, some.edges);
    // No bonds among them: neighbors by distance.
    assert_eq!(graph(&["--select", "name CB"]).edges.len(), 2 * n - 3);
}

#[test]
fn every_topology_gives_the_same_graph() {
    let folder = tempfile::tempdir().unwrap();
    let run_of = Run::new(4, 4);
    let at = |name: &str| folder.path().join(name);
    run_of.write(&at("run.xtc"), 0..4);
    run_of.write_frame(&at("top.pdb"));
    run_of.write_frame(&at("top.gro"));
    run_of.write_frame(&at("top.mmcif"));
    std::fs::write(at("top.psf"), peptide::psf()).unwrap();
    std::fs::write(at("top.prmtop"), peptide::prmtop()).unwrap();
    let mut edges = Vec::new();
    for topology in ["top.pdb", "top.gro", "top.mmcif", "top.psf", "top.prmtop"] {
        manifest(
            &folder,
            &["trajectory,topology", &format!("run.xtc,{topology}")],
        );
        run(&mut prepare(&folder, &["--segments", "1x1"])).success();
        let graph = open(&folder).graphs()[0].clone();
        let atoms = graph.atoms.unwrap();
        assert_eq!(graph.nodes, 5 * RESIDUES, "{topology}");
        assert_eq!(atoms.numbers[..5], [7, 6, 6, 8, 6], "{topology}");
        assert_eq!(atoms.residue(5).name, "ALA", "{topology}");
        edges.push((topology, graph.edges));
    }
    for (topology, found) in &edges[1..] {
        assert_eq!(*found, edges[0].1, "{topology}");
    }
}

#[test]
fn the_same_bytes_from_any_number_of_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = vec!["trajectory,topology,label,group".to_string()];
    for k in 0..5 {
        let run_of = Run::new(20 + 7 * k, k as u64);
        run_of.write_frame(&folder.path().join("top.pdb"));
        let name = format!("run{k}.{}", ["xtc", "dcd", "trr"][k % 3]);
        run_of.write(&folder.path().join(&name), 0..20 + 7 * k);
        lines.push(format!("{name},top.pdb,{},g{}", k % 2, k / 2));
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    manifest(&folder, &lines);
    let options = ["--segments", "2x3", "--folds", "3", "--seed", "4"];
    run(&mut prepare(&folder, &options)).success();
    let out = folder.path().join("out.h5");
    let bytes = std::fs::read(&out).unwrap();
    let count = std::fs::read_dir(folder.path()).unwrap().count();
    for ranks in [2, 4] {
        std::fs::remove_file(&out).unwrap();
        let mut command = holosig_on(ranks);
        arguments(&mut command, &folder, &options);
        run(&mut command).success();
        assert!(std::fs::read(&out).unwrap() == bytes, "{ranks} ranks");
    }
    let after = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(after, count, "scratch files are left behind");

    let dataset = open(&folder);
    let folds: Vec<u32> = dataset.trajectories().iter().map(|t| t.fold).collect();
    assert_eq!(
        (folds[0], folds[2]),
        (folds[1], folds[3]),
        "groups stay together"
    );
    assert_eq!(dataset.value_of(6).unwrap(), 1.0);
}

#[test]
fn declared_splits_hold() {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = vec!["trajectory,topology,label,split".to_string()];
    for k in 0..6 {
        let run_of = Run::new(20, 10 + k);
        run_of.write_frame(&folder.path().join("top.pdb"));
        run_of.write(&folder.path().join(format!("{k}.xtc")), 0..20);
        let split = if k < 4 { "" } else { "test" };
        lines.push(format!("{k}.xtc,top.pdb,{},{split}", k % 2));
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    manifest(&folder, &lines);
    run(&mut prepare(
        &folder,
        &["--segments", "2x5", "--folds", "2"],
    ))
    .success();
    let dataset = open(&folder);
    for fold in 0..5 {
        let Partition {
            train,
            validation,
            test,
        } = dataset.partition(Protocol::Published, fold).unwrap();
        assert_eq!((train.len(), validation.len(), test.len()), (32, 8, 20));
        assert!(test.iter().all(|&id| id >= 40) && train.iter().all(|&id| id < 40));
        let fold_of = |id: &u32| dataset.segments()[*id as usize].fold as usize;
        assert!(validation.iter().all(|id| fold_of(id) == fold));
        assert!(train.iter().all(|id| fold_of(id) != fold));
    }
    let parts = dataset.partition(Protocol::Trajectories, 0).unwrap();
    assert_eq!(
        (parts.train.len(), parts.validation.len(), parts.test.len()),
        (20, 20, 20)
    );
}

/// Peak memory of a run in KiB, without the pages of mapped files, which the system takes back
/// when it needs them.
fn peak_memory(command: &mut Command) -> u64 {
    let mut running = start(command);
    let status = PathBuf::from(format!("/proc/{}/status", running.child.id()));
    let mut peak = 0;
    while running.child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find(|l| l.starts_with("RssAnon"));
        let number = line.and_then(|l| l.split_whitespace().nth(1)?.parse().ok());
        peak = peak.max(number.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    }
    running.wait(Duration::from_secs(1)).success();
    peak
}

#[test]
fn memory_does_not_grow_with_length() {
    let folder = tempfile::tempdir().unwrap();
    let run_of = Run::new(1, 7);
    run_of.write_frame(&folder.path().join("top.pdb"));
    let long = |count: usize| {
        let name = format!("{count}.dcd");
        Run::new(1, 7).repeat(&folder.path().join(&name), count);
        manifest(
            &folder,
            &["trajectory,topology", &format!("{name},top.pdb")],
        );
        peak_memory(&mut prepare(&folder, &["--select", "atoms: all"]))
    };
    let (short, long) = (long(2_000), long(100_000));
    // The long one holds 58 MB of coordinates.
    let stored = 100_000 * 12 * (6 * RESIDUES) / 1024;
    assert!(long < short + stored as u64 / 4, "{short} and {long} KiB");
}

#[test]
fn the_peptide_is_torn_in_its_files() {
    // Otherwise the tests above show nothing about boxes.
    let folder = tempfile::tempdir().unwrap();
    let path: &Path = &folder.path().join("run.trr");
    let run_of = Run::new(50, 1);
    run_of.write(path, 0..50);
    let mut file = chemfiles::Trajectory::open(path, 'r').unwrap();
    let mut frame = chemfiles::Frame::new();
    file.read(&mut frame).unwrap();
    assert_eq!(frame.size(), ATOMS);
    let inside = |x: &f64| (-1e-4..BOX + 1e-4).contains(x);
    assert!(frame.positions().iter().flatten().all(inside));
    let outside = run_of.frames.iter().flatten().flatten();
    assert!(outside.filter(|x| !inside(x)).count() > 1000);
}
