//! Gene regulatory dynamics, from the command to the reader.

mod common;

use common::{holosig, holosig_on, run};
use holosig::comm::World;
use holosig::data::trajectory::{Dataset, Partition, Protocol, Split};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const SMALL: [&str; 8] = [
    "--nodes",
    "36",
    "--trajectories",
    "20",
    "--ticks",
    "53",
    "--seed",
    "3",
];

fn prepare(out: &Path, options: &[&str]) -> std::process::Command {
    let mut command = holosig();
    command.args(["prepare", "grd", "--out"]).arg(out);
    command.args(options);
    command
}

fn small(folder: &tempfile::TempDir, options: &[&str]) -> (PathBuf, Dataset) {
    let out = folder.path().join("grd.h5");
    run(prepare(&out, &SMALL).args(options)).success();
    let dataset = Dataset::open(&World::alone(), &out).unwrap();
    (out, dataset)
}

#[test]
fn the_same_bytes_from_any_number_of_ranks_and_threads() {
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("alone.h5");
    run(&mut prepare(&alone, &SMALL)).success();
    let bytes = std::fs::read(&alone).unwrap();
    for ranks in [2, 4] {
        let out = folder.path().join("several.h5");
        let mut command = holosig_on(ranks);
        command.args(["prepare", "grd", "--out"]).arg(&out);
        run(command.args(SMALL)).success();
        assert!(std::fs::read(&out).unwrap() == bytes, "{ranks} ranks");
    }
    let out = folder.path().join("threads.h5");
    run(prepare(&out, &SMALL).env("RAYON_NUM_THREADS", "3")).success();
    assert!(std::fs::read(&out).unwrap() == bytes, "3 threads");
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 3, "scratch files are left behind");
}

#[test]
fn segments_hold_consecutive_frames_of_their_trajectory() {
    let folder = tempfile::tempdir().unwrap();
    let (out, dataset) = small(&folder, &["--segments", "2x3"]);
    assert_eq!(dataset.trajectories().len(), 20);
    assert_eq!(dataset.classes(), ["degradation", "dimerisation"]);
    assert_eq!((dataset.unit(), dataset.dimensions()), ("1", 1));
    assert_eq!(dataset.segments().len(), 20 * 6);
    // Grids are all the same and stored once; random networks differ.
    let graphs = dataset.graphs();
    let twins = (0..graphs.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
    assert!(twins.into_iter().all(|(i, j)| graphs[i] != graphs[j]));
    assert!((10..20).contains(&graphs.len()), "{}", graphs.len());

    // As a user reads it, without our code's help.
    let plain = holosig::store::open_plain(&out).unwrap();
    let (all, shape) = plain
        .group("coordinates")
        .unwrap()
        .read_shaped::<f32>("000007", &[None, None, None])
        .unwrap();
    assert_eq!(shape, [53, 36, 1]);
    for k in 0..6 {
        let id = 7 * 6 + k;
        let segment = dataset.segment(id).unwrap();
        assert_eq!((segment.frames, segment.nodes), (8, 36));
        let start = 8 * 36 * k as usize;
        assert_eq!(segment.values, all[start..start + 8 * 36]);
        assert_eq!(dataset.class_of(id).unwrap(), 1);
        let edges = &dataset.graph_of(id).edges;
        assert!(edges.windows(2).all(|w| w[0] < w[1]) && edges.iter().all(|e| e[0] < e[1]));
    }
    assert!(dataset.value_of(0).is_err(), "degradation is no number");
}

#[test]
fn windows_may_overlap() {
    let folder = tempfile::tempdir().unwrap();
    let (_, dataset) = small(&folder, &["--window", "20", "--window-step", "11"]);
    assert_eq!(dataset.segments().len(), 20 * 4);
    let (a, b) = (dataset.segment(1).unwrap(), dataset.segment(2).unwrap());
    assert_eq!(a.frames, 20);
    assert_eq!(a.values[11 * 36..], b.values[..9 * 36]);
    assert!(dataset.partition(Protocol::Published, 0).is_err());
}

fn trajectories(dataset: &Dataset, ids: &[u32]) -> BTreeSet<u32> {
    let of = |&id: &u32| dataset.segments()[id as usize].trajectory;
    ids.iter().map(of).collect()
}

#[test]
fn folds_never_share_a_trajectory() {
    let folder = tempfile::tempdir().unwrap();
    let (_, dataset) = small(&folder, &["--segments", "5x5"]);
    let mut tested = BTreeSet::new();
    for fold in 0..5 {
        let parts = dataset.partition(Protocol::Trajectories, fold).unwrap();
        let Partition {
            train,
            validation,
            test,
        } = &parts;
        assert_eq!(train.len() + validation.len() + test.len(), 500);
        let sets = Split::ALL.map(|s| trajectories(&dataset, parts.split(s)));
        assert!(sets[0].is_disjoint(&sets[1]) && sets[0].is_disjoint(&sets[2]));
        assert!(sets[1].is_disjoint(&sets[2]));
        assert_eq!(sets.each_ref().map(BTreeSet::len), [12, 4, 4]);
        let positive = test
            .iter()
            .filter(|&&id| dataset.class_of(id).unwrap() == 1);
        assert_eq!(positive.count(), test.len() / 2);
        tested.extend(sets[2].iter().copied());
    }
    assert_eq!(tested.len(), 20);
    assert!(dataset.partition(Protocol::Trajectories, 5).is_err());
}

#[test]
fn bad_options_are_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("grd.h5");
    let refused = |options: &[&str], text: &str| {
        run(&mut prepare(&out, options)).failure(2, text);
    };
    refused(&["--nodes", "3"], "--nodes: 3 is less than 16");
    refused(&["--networks", "lattice"], "invalid value 'lattice'");
    refused(&["--segments", "5"], "two positive numbers as in 5x5");
    refused(
        &["--ticks", "30", "--segments", "5x5"],
        "30 frames, too few for 5 x 5 segments",
    );
    refused(&["--window", "501"], "too few for one window of 501");
    refused(&["--folds", "0"], "--folds 0");
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "files are left behind");
    let further = folder.path().join("no/such/folder/grd.h5");
    run(&mut prepare(&further, &SMALL)).success();
    assert!(further.exists(), "its folder is made");
}
