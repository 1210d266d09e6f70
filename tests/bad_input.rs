//! Bad input: one clear line that names the file, the documented exit code, nothing half-written;
//! the same on one rank and on two.

mod common;
#[path = "common/gzip.rs"]
mod gzip;

use common::{flip_byte, holosig, holosig_on, run};
use gzip::gzip;
use std::path::{Path, PathBuf};
use std::process::Command;

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn good_pdb() -> String {
    std::fs::read_to_string(in_repository("tests/structures/pdb1ubi.pdb")).unwrap()
}

/// The PDB file with its first atom record passed through `change`.
fn with_first_atom(change: impl Fn(&str) -> String) -> Vec<u8> {
    let text = good_pdb();
    let atom = text.lines().find(|l| l.starts_with("ATOM")).unwrap();
    text.replacen(atom, &change(atom), 1).into_bytes()
}

/// Name, content and what must be said of it.
fn bad_structures() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let pdb = good_pdb();
    let gzip = gzip(pdb.as_bytes());
    let cif = std::fs::read_to_string(in_repository("tests/structures/1FAS.cif")).unwrap();
    let fewer_columns = cif
        .replace("_atom_site.Cartn_z\n", "")
        .replace("_atom_site.Cartn_z \n", "");
    let no_ca: String = pdb
        .lines()
        .filter(|l| !l.contains(" CA "))
        .map(|l| format!("{l}\n"))
        .collect();
    let cut = pdb.find("\nATOM").unwrap() + 30;
    let noise: Vec<u8> = (0..5000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    vec![
        ("cut.pdb", pdb.as_bytes()[..cut].to_vec(), "cut.pdb: line "),
        (
            "cut.pdb.gz",
            gzip[..gzip.len() / 2].to_vec(),
            "cut.pdb.gz: truncated gzip file",
        ),
        (
            "columns.cif",
            fewer_columns.into_bytes(),
            "missing column _atom_site.Cartn_z",
        ),
        ("empty.pdb", Vec::new(), "empty.pdb: empty file"),
        ("noise.pdb", noise, "noise.pdb: binary data"),
        (
            "nan.pdb",
            with_first_atom(|atom| format!("{}     NaN{}", &atom[..30], &atom[38..])),
            "x coordinate \"NaN\" is not a finite number",
        ),
        ("no_ca.pdb", no_ca.into_bytes(), "no_ca.pdb: no CA atom"),
    ]
}

/// Names in a folder.
fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The published model as a checkpoint.
fn checkpoint(dir: &Path) -> PathBuf {
    let out = dir.join("ckpt.h5");
    let fixture = |name: &str| in_repository("tests/fixtures/published_small").join(name);
    run(holosig()
        .arg("import")
        .args([fixture("model.pt"), fixture("hparams.json")])
        .arg("--out")
        .arg(&out))
    .success();
    out
}

fn prepare(mut command: Command, files: &[PathBuf], out: &Path) -> Command {
    command
        .args(["prepare", "structures"])
        .args(files)
        .arg("--out")
        .arg(out);
    command
}

fn embed(
    mut command: Command,
    checkpoint: &Path,
    source: &str,
    files: &[PathBuf],
    out: &Path,
) -> Command {
    command
        .arg("embed")
        .arg(checkpoint)
        .arg("--out")
        .arg(out)
        .arg(source)
        .args(files);
    command
}

#[test]
fn a_bad_structure_is_named_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let ckpt = checkpoint(dir.path());
    for (name, content, text) in bad_structures() {
        let bad = dir.path().join(name);
        std::fs::write(&bad, content).unwrap();
        let before = names(dir.path());
        let out = dir.path().join("out.h5");
        let files = [bad.clone()];
        for ranks in [1, 2] {
            let told =
                run(prepare(holosig_on(ranks), &files, &out).arg("--strict")).failure(2, text);
            assert!(told.stderr.contains(name), "{told:?}");
            run(embed(holosig_on(ranks), &ckpt, "--structures", &files, &out).arg("--strict"))
                .failure(2, text);
            assert_eq!(names(dir.path()), before);
        }
        std::fs::remove_file(bad).unwrap();
    }
}

#[test]
fn a_bad_structure_among_good_ones_is_skipped_named_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let ckpt = checkpoint(dir.path());
    let noise = dir.path().join("noise.pdb");
    std::fs::write(&noise, [7u8; 3000]).unwrap();
    let good = in_repository("tests/structures/pdb1ubi.pdb");
    let files = [noise.clone(), good.clone()];
    for ranks in [1, 2] {
        let out = dir.path().join(format!("skipped{ranks}.h5"));
        let told = run(&mut embed(
            holosig_on(ranks),
            &ckpt,
            "--structures",
            &files,
            &out,
        ))
        .failure(3, "1 of 2 inputs; the rest is done");
        told.warned("noise.pdb");
        let alone = dir.path().join("alone.h5");
        run(&mut embed(
            holosig(),
            &ckpt,
            "--structures",
            std::slice::from_ref(&good),
            &alone,
        ))
        .success();
        assert!(std::fs::read(&out).unwrap() == std::fs::read(&alone).unwrap());
        // All bad is bad input.
        let none = dir.path().join("none.h5");
        run(&mut embed(
            holosig_on(ranks),
            &ckpt,
            "--structures",
            std::slice::from_ref(&noise),
            &none,
        ))
        .failure(2, "of 1 structure file none could be used");
        assert!(!none.exists());
    }
}

#[test]
fn a_dataset_that_is_newer_or_damaged_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ckpt = checkpoint(dir.path());
    let dataset = dir.path().join("dataset.h5");
    let files = [in_repository("tests/structures/pdb1ubi.pdb")];
    run(&mut prepare(holosig(), &files, &dataset)).success();

    let bytes = std::fs::read(&dataset).unwrap();
    let newer = dir.path().join("newer.h5");
    let at = bytes.windows(10).position(|w| w == b"version=2 ").unwrap() + 8;
    let mut changed = bytes.clone();
    changed[at] = b'9';
    std::fs::write(&newer, changed).unwrap();
    let damaged = dir.path().join("damaged.h5");
    std::fs::write(&damaged, &bytes).unwrap();
    flip_byte(&damaged, bytes.len() / 2);
    let short = dir.path().join("short.h5");
    std::fs::write(&short, &bytes[..bytes.len() / 2]).unwrap();

    let before = names(dir.path());
    for (file, text) in [
        (&newer, "newer.h5: written by a newer holosig"),
        (&damaged, "damaged.h5: damaged"),
        (&short, "short.h5: truncated"),
        (
            &ckpt,
            "ckpt.h5: a checkpoint of holosig, where a dataset of holosig is needed",
        ),
    ] {
        for ranks in [1, 2] {
            let out = dir.path().join("out.h5");
            run(&mut embed(
                holosig_on(ranks),
                &ckpt,
                "--dataset",
                std::slice::from_ref(file),
                &out,
            ))
            .failure(2, text);
        }
        assert_eq!(names(dir.path()), before);
        let set = format!("data.dataset={}", file.display());
        let told = run(holosig_on(2)
            .arg("train")
            .arg(in_repository("jobs/quickstart.toml"))
            .args(["--set", &set, "--out"])
            .arg(dir.path().join("run")));
        told.failure(2, text);
        std::fs::remove_dir_all(dir.path().join("run")).ok();
    }
    run(holosig().arg("inspect").arg(&newer)).failure(2, "newer.h5: written by a newer holosig");
}

/// A folder that takes no files even from root, and one below a file.
#[test]
fn an_unwritable_output_is_told_before_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let ckpt = checkpoint(dir.path());
    let files = [in_repository("tests/structures/pdb1ubi.pdb")];
    for place in [ckpt.join("out.h5"), PathBuf::from("/proc/out.h5")] {
        let text = format!("{}: cannot be written", place.display());
        for ranks in [1, 2] {
            run(&mut embed(
                holosig_on(ranks),
                &ckpt,
                "--structures",
                &files,
                &place,
            ))
            .failure(2, &text);
            run(&mut prepare(holosig_on(ranks), &files, &place)).failure(2, &text);
        }
        let place = place.with_extension("safetensors");
        run(holosig().arg("export").arg(&ckpt).arg(&place)).failure(2, "cannot be written");
    }
    assert_eq!(names(dir.path()), ["ckpt.h5"]);
}
