//! What is written and what is read: only what is ours is replaced, and a file is what its kind says.

use super::*;

#[test]
fn an_output_is_no_input_by_any_name() {
    let dir = folder();
    for writer in WRITERS {
        let input = dir.path().join(writer.input);
        let before = std::fs::read(&input).unwrap();
        let link = dir.path().join("link.h5");
        std::os::unix::fs::symlink(&input, &link).unwrap();
        for out in [&input, &link] {
            let told = run(&mut writer.command(0, dir.path(), &input, out));
            assert_eq!(told.code, 2, "{}: {told:#?}", writer.arguments);
            assert!(told.stderr.contains("--force"), "{told:#?}");
            assert!(std::fs::read(&input).unwrap() == before);
        }
        std::fs::remove_file(link).unwrap();
    }
}

#[test]
fn what_is_not_ours_is_kept() {
    let dir = folder();
    let notes = dir.path().join("notes.h5");
    for writer in WRITERS {
        std::fs::write(&notes, "my notes\n").unwrap();
        let input = dir.path().join(writer.input);
        let told = run(&mut writer.command(0, dir.path(), &input, &notes));
        assert_eq!(told.code, 2, "{}: {told:#?}", writer.arguments);
        assert!(
            told.stderr.contains("notes.h5: is there already"),
            "{told:#?}"
        );
        assert_eq!(std::fs::read_to_string(&notes).unwrap(), "my notes\n");
    }
    // On two ranks it is told once.
    let input = dir.path().join("a.pdb");
    run(&mut WRITERS[0].command(2, dir.path(), &input, &notes))
        .failure(2, "notes.h5: is there already");
}

/// Of a folder, too, into which a command writes several files.
#[test]
fn what_is_not_ours_in_a_folder_is_kept() {
    let dir = folder();
    for (number, (writer, name)) in FILLERS.iter().enumerate() {
        let out = dir.path().join(format!("filled-{number}"));
        std::fs::create_dir(&out).unwrap();
        let (input, place) = (dir.path().join(writer.input), out.join(name));
        let before = std::fs::read(&input).unwrap();
        let mut command = writer.command(0, dir.path(), &input, &out);
        std::fs::write(&place, "my notes\n").unwrap();
        run(&mut command).failure(2, &format!("{name}: is there already"));
        assert_eq!(std::fs::read_to_string(&place).unwrap(), "my notes\n");
        // The input by another name.
        std::fs::remove_file(&place).unwrap();
        std::fs::hard_link(&input, &place).unwrap();
        run(&mut command).failure(2, &format!("{name}: is an input of this very command"));
        assert!(std::fs::read(&place).unwrap() == before);
        assert_eq!(std::fs::read_dir(&out).unwrap().count(), 1, "{name}");
    }
    let generate = |out: &str| {
        let model = "generate model.h5 --dataset dataset.h5 --inputs 1 --points 2 --out";
        let mut command = holosig();
        command.args(model.split(' ')).arg(out);
        run(command.current_dir(dir.path()))
    };
    // Its own files are replaced, and beside them none that is not.
    generate("new").success();
    generate("new").success();
    let atoms = dir.path().join("new/1ubi-test-A1-MET.pdb");
    std::fs::remove_file(atoms).unwrap();
    generate("new").failure(2, "is there already");
}

#[test]
fn files_of_the_same_kind_are_replaced_and_others_by_force() {
    let dir = folder();
    let out = dir.path().join("new/folder/out.h5");
    let embed = |out: &Path, more: &[&str]| {
        let mut command = holosig();
        command.arg("embed").arg(dir.path().join("model.h5"));
        command.arg("--dataset").arg(dir.path().join("dataset.h5"));
        run(command.arg("--out").arg(out).args(more))
    };
    embed(&out, &[]).success();
    let first = std::fs::read(&out).unwrap();
    embed(&out, &[]).success();
    assert!(std::fs::read(&out).unwrap() == first);
    let copy = dir.path().join("other.h5");
    std::fs::copy(dir.path().join("dataset.h5"), &copy).unwrap();
    embed(&copy, &[]).failure(2, "is not a file of embeddings of holosig");
    embed(&copy, &["--force"]).success();
    assert!(std::fs::read(&copy).unwrap() == first);
}

#[test]
fn devices_pipes_and_folders_are_never_replaced() {
    let dir = folder();
    let pipe = dir.path().join("pipe");
    mkfifo(&pipe);
    let inside = dir.path().join("folder");
    std::fs::create_dir(&inside).unwrap();
    for (number, writer) in WRITERS.iter().enumerate() {
        let input = dir.path().join(writer.input);
        for place in [&pipe, &PathBuf::from("/dev/null"), &inside] {
            // What is refused in spite of the word is refused without it.
            for force in [true, false].into_iter().take(1 + usize::from(number == 0)) {
                let mut command = writer.command(0, dir.path(), &input, place);
                if force {
                    command.arg("--force");
                }
                let told = start(&mut command).wait(LIMIT);
                assert_eq!(told.code, 2, "{}: {told:#?}", writer.arguments);
            }
        }
    }
    use std::os::unix::fs::FileTypeExt;
    let kind = |path: &Path| std::fs::symlink_metadata(path).unwrap().file_type();
    assert!(kind(Path::new("/dev/null")).is_char_device());
    assert!(kind(&pipe).is_fifo());
}

/// Readers of every kind of file: what is no regular file is refused, not waited for.
#[test]
fn pipes_and_devices_are_not_read() {
    let dir = folder();
    let pipe = dir.path().join("pipe");
    mkfifo(&pipe);
    let readers = [
        "hash {in}",
        "inspect {in}",
        "embed {in} --dataset {dir}/dataset.h5 --out {dir}/out.h5",
        "embed {dir}/model.h5 --dataset {in} --out {dir}/out.h5",
        "embed {dir}/model.h5 --zernikegrams {in} --out {dir}/out.h5",
        "embed {dir}/model.h5 --structures {in} --out {dir}/out.h5",
        "evaluate {in} --dataset {dir}/dataset.h5 --out {dir}/eval",
        "evaluate {dir}/model.h5 --dataset {in} --out {dir}/eval",
        "pockets {in} --complexes {dir}/job.toml --out {dir}/out.h5",
        "pockets {dir}/model.h5 --complexes {in} --out {dir}/out.h5",
        "regress {in} --out {dir}/regression",
        "import {in} {dir}/hparams.json --out {dir}/out.h5",
        "import {dir}/model.pt {in} --out {dir}/out.h5",
        "export {in} {dir}/out.safetensors",
        "zernike {in} {dir}/out.h5",
        "signature {in} {dir}/out.h5 --depth 2",
        "prepare structures {in} --out {dir}/out.h5",
        "prepare structures @{in} --out {dir}/out.h5",
        "prepare structures {dir}/a.pdb --splits {in} --out {dir}/out.h5",
        "prepare structures --proteinnet {in} --split-name train --backbone --out {dir}/out.h5",
        "prepare trajectories --manifest {in} --out {dir}/out.h5",
        "train {in} --out {dir}/run",
        "train {dir}/job.toml --set data.dataset={in} --out {dir}/run",
        "sweep {in} --out {dir}/sweep",
        "submit {in} --dry-run",
        "scale --machine {in}",
    ];
    for words in readers {
        for input in [&pipe, &PathBuf::from("/dev/zero")] {
            let reader = Writer {
                arguments: words,
                input: "",
            };
            let mut command = reader.command(0, dir.path(), input, Path::new(""));
            let told = start(&mut command).wait(LIMIT);
            assert!([2, 3].contains(&told.code), "{words}: {told:#?}");
            assert!(told.stderr.contains("where a file is needed"), "{told:#?}");
        }
    }
    assert!(!dir.path().join("out.h5").exists());
}

#[test]
fn the_ending_is_the_format() {
    let dir = folder();
    let embed = |out: &str| {
        let mut command = holosig();
        command.arg("embed").arg(dir.path().join("model.h5"));
        command.arg("--dataset").arg(dir.path().join("dataset.h5"));
        run(command.arg("--out").arg(dir.path().join(out)))
    };
    embed("e.h5").success();
    let residues = store::open(&dir.path().join("e.h5"), Kind::Embeddings).unwrap();
    let n = residues.shape("invariants").unwrap()[0];
    embed("e.csv").success();
    let text = std::fs::read_to_string(dir.path().join("e.csv")).unwrap();
    assert_eq!(text.lines().count(), n + 1);
    let head = text.lines().next().unwrap();
    for column in ["row,", "chain", "invariants_0", "frames_2_2"] {
        assert!(head.contains(column), "{head}");
    }
    embed("e.npz").success();
    let bytes = std::fs::read(dir.path().join("e.npz")).unwrap();
    assert!(bytes.starts_with(b"PK\x03\x04"));
    for again in ["e.csv", "e.npz"] {
        embed(again).success();
    }
    for ending in ["parquet", "pt", "npy", "txt"] {
        let out = format!("e.{ending}");
        embed(&out).failure(2, "the ending must be .h5 or .hdf5 or .csv or .npz");
        assert!(!dir.path().join(out).exists());
    }
    std::fs::write(dir.path().join("mine.csv"), "id,value\n").unwrap();
    embed("mine.csv").failure(2, "is not a table of embeddings");
    let names = std::fs::read_dir(dir.path()).unwrap();
    let names = names.map(|e| e.unwrap().file_name().into_string().unwrap());
    assert!(!names.into_iter().any(|n| n.starts_with('.')));
    let mut export = holosig();
    export.arg("export").arg(dir.path().join("model.h5"));
    run(export.arg(dir.path().join("m.pt"))).failure(2, "the ending must be .safetensors");
    // The hyper-parameters beside an export are as safe as any file.
    let mut export = holosig();
    export.arg("export").arg(dir.path().join("model.h5"));
    run(export.arg(dir.path().join("hparams.safetensors")))
        .failure(2, "hparams.json: is there already");
}

#[test]
fn manual_pages_follow_the_rule_of_outputs() {
    let dir = folder();
    let man = |more: &[&str]| {
        let mut command = holosig();
        command.args(["man", "pages/deep"]).args(more);
        run(command.current_dir(dir.path()))
    };
    man(&[]).success();
    man(&[]).success();
    let page = dir.path().join("pages/deep/holosig-embed.1");
    let text = || std::fs::read_to_string(&page).unwrap();
    assert!(text().contains(".TH holosig-embed"), "{}", text());
    std::fs::write(&page, "mine").unwrap();
    man(&[]).failure(
        2,
        "holosig-embed.1: is there already and is not a manual page of holosig",
    );
    assert_eq!(text(), "mine");
    man(&["--force"]).success();
    assert!(text().contains(".TH"));
    // Commands below commands have pages of their own.
    let below = dir.path().join("pages/deep/holosig-prepare-structures.1");
    let below = std::fs::read_to_string(below).unwrap().replace('\\', "");
    assert!(below.contains("--min-plddt"), "{below}");
}

/// Only what is asked for is written: a file of numbers shows it.
#[test]
fn a_dataset_is_not_a_file_of_embeddings() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.h5");
    store::write(&path, Kind::Zernikegrams, |root| {
        root.write("zernikegram", &[1, 1], &[0.5f32], Storage::Plain)
    })
    .unwrap();
    let told = run(holosig().arg("hash").arg(&path).stdin(Stdio::null()));
    told.failure(
        2,
        "a file of zernikegrams of holosig, where a checkpoint of holosig is needed",
    );
}

#[test]
fn hdf5_is_not_called_otherwise() {
    let dir = folder();
    for words in [
        "prepare structures a.pdb --out x.csv",
        "prepare chains t.csv --out x.JSON",
        "import model.pt hparams.json --out x.pt",
        "prepare grd --out x.npz --force",
    ] {
        let told = run(holosig().args(words.split(' ')).current_dir(dir.path()));
        told.failure(
            2,
            "the ending must be .h5: it is an HDF5 file that is written",
        );
    }
    let x = |e: &str| dir.path().join(format!("x.{e}")).exists();
    assert!(!["csv", "JSON", "pt", "npz"].into_iter().any(x));
    let told = run(holosig()
        .args(["prepare", "structures", "a.pdb", "--out", "x.hdf5"])
        .current_dir(dir.path()));
    told.success();
}

#[test]
fn entries_are_looked_up_in_a_folder() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir_all(at("mirror/ub")).unwrap();
    std::fs::rename(at("a.pdb"), at("mirror/ub/pdb1ubi.ent")).unwrap();
    std::fs::write(at("ids.txt"), "1UBI\n2XYZ\n").unwrap();
    let prepare = |words: &str| {
        let command = format!("prepare structures --from mirror --out d.h5 {words}");
        run(holosig().args(command.split(' ')).current_dir(dir.path()))
    };
    prepare("1ubi").success();
    assert_eq!(Dataset::open(&at("d.h5")).unwrap().structures().len(), 1);
    prepare("@ids.txt").failure(3, "2xyz.pdb: no such file");
    let command = "prepare structures @ids.txt --out n.h5";
    let told = run(holosig().args(command.split(' ')).current_dir(dir.path()));
    told.failure(
        2,
        "(2 files tried, 2 skipped, 0 more in no list): n.h5 is not written; --from FOLDER",
    );
    // A list that is not there is the input's fault, as any other file.
    let command = "prepare structures mirror --proteinnet testing --out p.h5";
    let told = run(holosig().args(command.split(' ')).current_dir(dir.path()));
    told.failure(2, "testing: no such file");
}
