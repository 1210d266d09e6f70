//! Trajectories that cannot be read, and datasets that nothing can be learned from.

use super::*;

#[test]
fn bad_input_is_told_in_one_line_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let run_of = Run::new(30, 5);
    run_of.write_frame(&at("top.pdb"));
    run_of.write(&at("run.xtc"), 0..30);
    run_of.write(&at("run.dcd"), 0..30);
    run_of.write(&at("run.trr"), 0..30);
    run_of.write(&at("run.nc"), 0..30);
    run_of.write(&at("run.pdb"), 0..3);
    let cut = |from: &str, to: &str, keep: f64| {
        let bytes = std::fs::read(at(from)).unwrap();
        let length = (bytes.len() as f64 * keep) as usize;
        std::fs::write(at(to), &bytes[..length]).unwrap();
    };
    for kind in ["xtc", "dcd", "trr", "nc", "pdb"] {
        cut(&format!("run.{kind}"), &format!("cut.{kind}"), 0.77);
    }
    // 58 atoms in 30 frames: the header alone, and a part of the first frame.
    let dcd = std::fs::read(at("run.dcd")).unwrap();
    let frames = 30 * (56 + 3 * (8 + 4 * 58));
    std::fs::write(at("none.dcd"), &dcd[..dcd.len() - frames]).unwrap();
    std::fs::write(at("first.dcd"), &dcd[..dcd.len() - frames + 9]).unwrap();
    cut("run.xtc", "empty.xtc", 0.0);
    cut("top.pdb", "noise.xtc", 1.0);
    cut("top.pdb", "torn.pdb", 0.5);
    let text = std::fs::read_to_string(at("top.pdb")).unwrap();
    let fewer: Vec<&str> = text.lines().filter(|l| !l.contains("HOH")).collect();
    std::fs::write(at("short.pdb"), fewer.join("\n")).unwrap();
    let mut holed = Run::new(30, 6);
    holed.frames[7][3][1] = f64::NAN;
    holed.write(&at("nan.trr"), 0..30);

    let refused = |row: &str, options: &[&str], text: &str| {
        manifest(&folder, &["trajectory,topology,label", row]);
        let before = std::fs::read_dir(folder.path()).unwrap().count();
        run(&mut prepare(&folder, options)).failure(2, text);
        let after = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(before, after, "{text}: files are left behind");
    };
    refused("run.xtc,none.pdb,a", &[], "none.pdb: no such file");
    refused("none.xtc,top.pdb,a", &[], "none.xtc: no such file");
    refused("run.xtc,torn.pdb,a", &[], "torn.pdb: line ");
    let counts = "run.xtc: frame 0 has 58 atoms, the topology 49";
    refused("run.xtc,short.pdb,a", &[], counts);
    refused(
        "cut.xtc,top.pdb,a",
        &[],
        "cut.xtc: truncated: it ends within frame",
    );
    refused(
        "cut.dcd,top.pdb,a",
        &[],
        "cut.dcd: truncated: it ends within frame 23",
    );
    refused(
        "cut.trr,top.pdb,a",
        &[],
        "cut.trr: truncated: it ends within frame 23",
    );
    refused("cut.nc,top.pdb,a", &[], "cut.nc: ");
    refused(
        "cut.pdb,top.pdb,a",
        &["--segments", "1x1"],
        "cut.pdb: line 142: the atom has no coordinates in columns 31 to 54: truncated",
    );
    refused("empty.xtc,top.pdb,a", &[], "empty.xtc: an empty file");
    refused("none.dcd,top.pdb,a", &[], "none.dcd: no frames");
    refused(
        "first.dcd,top.pdb,a",
        &[],
        "first.dcd: truncated: it ends within its first frame",
    );
    refused("noise.xtc,top.pdb,a", &[], "noise.xtc: not a XTC file");
    for name in ["run.h5md", "run.h5"] {
        std::fs::copy(at("run.trr"), at(name)).unwrap();
        let words = format!(
            "{name}: trajectories in HDF5 (H5MD, MDTraj) are not read; write it as XTC, TRR or DCD"
        );
        refused(&format!("{name},top.pdb,a"), &[], &words);
    }
    refused("nan.trr,top.pdb,a", &[], "nan.trr: frame 7, node");
    refused(
        "run.xtc,top.pdb,a",
        &["--segments", "5x4"],
        "run.xtc: 30 frames, too few",
    );
    refused(
        "run.xtc,top.pdb,a",
        &["--select", "name XX"],
        "matches none of its",
    );
    refused(
        "run.xtc,top.pdb,a",
        &["--select", "name HOH or"],
        "--select",
    );
    refused(
        "run.xtc,top.pdb,a",
        &["--select", "bonds: all"],
        "single atoms are needed",
    );
    refused(
        "run.xtc,top.pdb,a",
        &["--classes", "b,c"],
        "is none of --classes b, c",
    );
    refused("run.xtc,top.pdb,a", &["--stride", "0"], "--stride 0");
    refused(
        "run.xtc,top.pdb,a",
        &["--cutoff", "0"],
        "--cutoff: it must be positive",
    );

    manifest(&folder, &["trajectory,topology,label"]);
    run(&mut prepare(&folder, &[])).failure(2, "the manifest has no rows");
    manifest(&folder, &["trajectory,topology,lable", "run.xtc,top.pdb,a"]);
    run(&mut prepare(&folder, &[])).failure(2, "did you mean \"label\"?");

    // On several ranks: one line from the rank that saw it.
    manifest(
        &folder,
        &["trajectory,topology", "run.xtc,top.pdb", "nan.trr,top.pdb"],
    );
    let mut command = holosig_on(2);
    arguments(&mut command, &folder, &[]);
    run(&mut command).failure(2, "nan.trr: frame 7, node");
    assert!(!at("out.h5").exists());

    // By option the others are used, on any number of ranks, as if the bad ones were not there.
    manifest(
        &folder,
        &[
            "trajectory,topology,label",
            "nan.trr,top.pdb,a",
            "run.xtc,top.pdb,a",
            "cut.dcd,top.pdb,b",
            "run.dcd,top.pdb,b",
            "run.trr,torn.pdb,b",
        ],
    );
    let files = [1, 2].map(|ranks| {
        let mut command = holosig_on(ranks);
        arguments(&mut command, &folder, &["--skip", "--segments", "1x1"]);
        let done = run(&mut command);
        assert_eq!(done.code, 3, "{}", done.stderr);
        for reason in ["nan.trr: frame 7", "cut.dcd: truncated", "torn.pdb: line "] {
            assert!(done.stderr.contains(reason), "{}", done.stderr);
        }
        assert!(done.stderr.contains("3 of 5 inputs"), "{}", done.stderr);
        let file = std::fs::read(at("out.h5")).unwrap();
        std::fs::remove_file(at("out.h5")).unwrap();
        file
    });
    assert!(files[0] == files[1]);
    manifest(
        &folder,
        &[
            "trajectory,topology,label",
            "run.xtc,top.pdb,a",
            "run.dcd,top.pdb,b",
        ],
    );
    let whole = ["--segments", "1x1"];
    let told = run(&mut prepare(&folder, &whole)).success().stdout;
    let left = "atoms of water and free ions in topologies, which are left out: ";
    assert!(told.contains(left), "{told}");
    assert!(std::fs::read(at("out.h5")).unwrap() == files[0]);
    manifest(&folder, &["trajectory,topology,label", "nan.trr,top.pdb,a"]);
    run(&mut prepare(&folder, &["--skip"])).failure(2, "no trajectory could be used");
}

#[test]
fn what_cannot_be_learned_from_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let run_of = Run::new(30, 5);
    run_of.write_frame(&at("top.pdb"));
    for k in 0..3 {
        run_of.write(&at(&format!("run{k}.dcd")), 0..30);
    }
    std::fs::write(
        at("job.toml"),
        "task = \"deep-signature\"\n[data]\ndataset = \"out.h5\"\n[model]\nclusters = 5\n[train]\nsteps = 1\n",
    )
    .unwrap();
    let prepared = |labels: [&str; 3], options: &[&str]| {
        // Without labels there is no such column.
        let cell = |text: &str| match labels[0] {
            "" => String::new(),
            _ => format!(",{text}"),
        };
        let row = |k: usize| format!("run{k}.dcd,top.pdb{}", cell(labels[k]));
        let rows = [0, 1, 2].map(row);
        let head = format!("trajectory,topology{}", cell("label"));
        let lines: Vec<&str> = std::iter::once(&head)
            .chain(&rows)
            .map(String::as_str)
            .collect();
        manifest(&folder, &lines);
        std::fs::remove_file(at("out.h5")).ok();
        let cut = ["--segments", "2x1", "--folds", "3"];
        run(prepare(&folder, options).args(cut)).success().stderr
    };
    let refused = |sets: &[&str], text: &str| {
        let mut command = holosig();
        command
            .arg("train")
            .arg(at("job.toml"))
            .arg("--out")
            .arg(at("run"));
        sets.iter().for_each(|set| {
            command.args(["--set", set]);
        });
        run(&mut command).failure(2, text);
    };
    prepared(["a", "a", "a"], &["--select", "backbone"]);
    refused(
        &[],
        "all trajectories are of class a; there is nothing to tell apart",
    );
    refused(&["data.goal=value"], "label \"a\" of ");
    refused(
        &["data.protocol=published"],
        "needs test trajectories: no row of the manifest has split = test",
    );
    refused(
        &["model.segments=40"],
        "a clip of 15 frames cannot be cut into 40 segments",
    );
    prepared(["", "", ""], &["--select", "backbone"]);
    refused(&[], "its trajectories have no labels");
    prepared(["7", "7", "7"], &["--select", "backbone"]);
    refused(
        &["data.goal=value"],
        "all training trajectories are labelled 7",
    );

    let told = prepared(["a", "b", "a"], &["--select", "ca", "--cutoff", "0.1"]);
    assert!(told.contains("graphs without any edge: 1"), "{told}");
    refused(&[], "0 edges has nothing to pool; give it bonds");
    let some = "name CA or (name CB and resid 2)";
    let told = prepared(["a", "b", "a"], &["--select", some]);
    assert!(
        told.contains("graphs with nodes that have no edge: 1"),
        "{told}"
    );
    // Three trajectories in as many folds.
    let words = "a class does not occur in these folds: 0, 1, 2; holosig sweep leaves them out";
    assert!(told.contains(words), "{told}");
}

/// A list of a NetCDF header whose count is wrong is no list.
#[test]
fn damaged_netcdf_is_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let run_of = Run::new(3, 8);
    run_of.write_frame(&at("top.pdb"));
    run_of.write(&at("run.nc"), 0..3);
    manifest(&folder, &["trajectory,topology", "run.nc,top.pdb"]);
    let good = std::fs::read(at("run.nc")).unwrap();
    let (mut read, mut refused) = (0, 0);
    for place in (0..good.len().min(1200)).step_by(23) {
        let mut bad = good.clone();
        bad[place] = 200;
        std::fs::write(at("run.nc"), &bad).unwrap();
        let _ = std::fs::remove_file(at("out.h5"));
        let outcome = run(&mut prepare(&folder, &["--segments", "1x1"]));
        match outcome.code {
            0 => read += 1,
            _ => {
                outcome.failure(2, "run.nc: ");
                refused += 1;
            }
        }
    }
    assert!(read > 0 && refused > 0, "{read} read, {refused} refused");
}

/// Old files have bytes of old encodings in their names.
#[test]
fn names_that_are_no_ascii_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let run_of = Run::new(2, 9);
    run_of.write(&at("run.xtc"), 0..2);
    // With what stands in the title, where names and titles are changed.
    for (topology, title) in [
        ("top.pdb", ""),
        ("top.xyz", ""),
        ("top.mmcif", ""),
        ("top.gro", "GRO File"),
        ("top.psf", "peptide"),
        ("top.prmtop", "VERSION"),
    ] {
        match topology {
            "top.psf" => std::fs::write(at(topology), peptide::psf()).unwrap(),
            "top.prmtop" => std::fs::write(at(topology), peptide::prmtop()).unwrap(),
            _ => run_of.write_frame(&at(topology)),
        }
        let mut bytes = std::fs::read(at(topology)).unwrap();
        let name = bytes
            .windows(4)
            .position(|w| w == b" CB " || w == b"\nC  " || w == b"\nC 1");
        let name = name.or_else(|| bytes.windows(2).position(|w| w == b"CB" || w == b"\nC"));
        bytes[name.unwrap() + 1] = 0xe9;
        if !title.is_empty() {
            let mut places = bytes.windows(title.len());
            let place = places.position(|w| w == title.as_bytes()).unwrap();
            bytes[place + 1] = 0xe9;
        }
        std::fs::write(at(topology), &bytes).unwrap();
        manifest(
            &folder,
            &["trajectory,topology", &format!("run.xtc,{topology}")],
        );
        run(&mut prepare(&folder, &["--segments", "1x1"])).success();
    }
}

/// Neither names nor the expression bring the library down that chooses atoms by expressions.
#[test]
fn expressions_take_any_name_and_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let run_of = Run::new(2, 9);
    run_of.write(&at("run.xtc"), 0..2);
    manifest(&folder, &["trajectory,topology", "run.xtc,top.pdb"]);
    for byte in [0xe9, 0, b'"'] {
        run_of.write_frame(&at("top.pdb"));
        let mut bytes = std::fs::read(at("top.pdb")).unwrap();
        let (name, residue) = (b" CB ", b" ALA ");
        for text in [&name[..], residue] {
            let place = bytes.windows(text.len()).position(|w| w == text).unwrap();
            bytes[place + 2] = byte;
        }
        std::fs::write(at("top.pdb"), &bytes).unwrap();
        let options = ["--segments", "1x1", "--select", "protein and name N CA C"];
        run(&mut prepare(&folder, &options)).success();
    }
    for expression in ["name Cé", &"(".repeat(60_000)] {
        let told = "an expression has at most 2000 characters, all of them ASCII";
        run(&mut prepare(&folder, &["--select", expression])).failure(2, told);
    }
}

#[test]
fn a_topology_written_without_coordinates_has_no_neighbors() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    Run::new(30, 5).write(&at("run.dcd"), 0..2);
    let atoms = (1..=58).map(|i| format!("{i:5}ALA  {:>5}{i:5}   0.000   0.000   0.000\n", "CA"));
    let text = format!(
        "nowhere\n58\n{}   0.0   0.0   0.0\n",
        atoms.collect::<String>()
    );
    std::fs::write(at("top.gro"), text).unwrap();
    manifest(&folder, &["trajectory,topology", "run.dcd,top.gro"]);
    let told = "top.gro: neighbors: 58 atoms stand within 1 Å of (0, 0, 0)";
    run(&mut prepare(&folder, &["--select", "ca"])).failure(2, told);
    assert!(!at("out.h5").exists());
}
