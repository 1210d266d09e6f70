//! `holosig prepare structures` on real structures: neighborhoods as the published parser finds
//! them, the same bytes for any number of ranks, and one clear line for each bad input.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/gzip.rs"]
mod gzip;
mod proteinnet;

use common::{Outcome, flip_byte, holosig, holosig_on, run};
use holosig::data::Split;
use holosig::data::dataset::{Chosen, Dataset};
use holosig::data::neighborhoods::{Finder, Neighborhood};
use holosig::data::structure::{ReadOptions, read};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn structures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/structures")
}

fn structure(name: &str) -> PathBuf {
    structures().join(name)
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn put(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// `prepare structures ARGUMENTS --out OUT`.
fn prepare(arguments: &[&Path], options: &[&str], out: &Path) -> Outcome {
    run(holosig()
        .args(["prepare", "structures"])
        .args(arguments)
        .args(options)
        .arg("--out")
        .arg(out))
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<String> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// For each file of tests/structures: counts of atoms and sums of distances, computed by
/// Biopython (tests/fixtures/neighborhoods.py).
#[test]
fn neighborhoods_are_those_of_the_published_parser() {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/neighborhoods.csv");
    let mut reader = csv::Reader::from_path(table).unwrap();
    let expected: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let mut files: Vec<&str> = expected.iter().map(|r| &r[0]).collect();
    files.dedup();
    let mut rows = expected.iter();
    for file in files {
        let structure = read(&structure(file), &ReadOptions::default())
            .unwrap()
            .remove(0);
        let chosen = Chosen {
            structure,
            split: Split::Train,
            chains: None,
            complex: None,
        };
        let dataset = Dataset::pack(&[chosen], "").unwrap();
        let finder = Finder::new(&dataset, Neighborhood::default());
        let centres: Vec<u32> = (0..dataset.len() as u32).collect();
        let clouds = finder.clouds(&centres);
        for centre in centres {
            let id = dataset.residue(centre).residue;
            let range = clouds.offsets[centre as usize]..clouds.offsets[centre as usize + 1];
            let length = |p: &[f32; 3]| p.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            let distances: f64 = clouds.coordinates[range.clone()].iter().map(length).sum();
            let row = rows
                .next()
                .unwrap_or_else(|| panic!("{file}: too many centres"));
            let icode = (id.icode as char).to_string();
            let ours = [
                file.to_string(),
                id.chain.to_string(),
                id.number.to_string(),
                icode.trim().to_string(),
                id.name.to_string(),
                range.len().to_string(),
            ];
            assert_eq!(ours, [0, 1, 2, 3, 4, 5].map(|i| row[i].to_string()));
            let theirs: f64 = row[6].parse().unwrap();
            assert!(
                (distances - theirs).abs() < 0.01,
                "{ours:?}: {distances} {theirs}"
            );
        }
    }
    assert_eq!(rows.count(), 0, "centres are missing");
}

#[test]
fn the_rest_of_the_central_residue_can_be_left_out() {
    let structure = read(&structure("pdb1ubi.pdb"), &ReadOptions::default())
        .unwrap()
        .remove(0);
    let chosen = Chosen {
        structure,
        split: Split::Train,
        chains: None,
        complex: None,
    };
    let dataset = Dataset::pack(&[chosen], "").unwrap();
    let centres: Vec<u32> = (0..dataset.len() as u32).collect();
    let atoms = |central_residue| {
        let rule = Neighborhood {
            central_residue,
            ..Neighborhood::default()
        };
        let offsets = Finder::new(&dataset, rule).clouds(&centres).offsets;
        offsets.windows(2).map(|w| w[1] - w[0]).collect::<Vec<_>>()
    };
    // Heavy atoms of a residue other than its CA, within 10 Å all of them.
    for (i, (with, without)) in atoms(true).iter().zip(atoms(false)).enumerate() {
        let rest = match dataset.residue(i as u32).residue.name.as_str() {
            "GLY" => 3,
            "ALA" => 4,
            "SER" => 5,
            "THR" | "VAL" | "PRO" => 6,
            "LEU" | "ILE" | "ASP" | "ASN" | "MET" => 7,
            "GLU" | "GLN" | "LYS" => 8,
            "HIS" => 9,
            "ARG" | "PHE" => 10,
            "TYR" => 11,
            other => panic!("{other} in ubiquitin"),
        };
        let terminal = usize::from(i == 75);
        assert_eq!(with - without, rest + terminal, "residue {}", i + 1);
    }
}

#[test]
fn any_number_of_ranks_writes_the_same_bytes() {
    let folder = folder();
    put(&folder, "broken.pdb", "ATOM  \n");
    let mut files = Vec::new();
    for ranks in [1, 2, 4] {
        let out = folder.path().join(format!("{ranks}.h5"));
        let outcome = run(holosig_on(ranks)
            .args(["prepare", "structures"])
            .args([&structures(), &folder.path().join("broken.pdb")])
            .arg("--out")
            .arg(&out));
        assert_eq!(outcome.code, 3, "{outcome:#?}");
        assert!(
            outcome.stdout.contains("22 structures, 53998 atoms"),
            "{outcome:#?}"
        );
        assert_eq!(
            outcome.stderr.matches("broken.pdb: line 1").count(),
            1,
            "{outcome:#?}"
        );
        files.push(std::fs::read(out).unwrap());
    }
    assert!(files.iter().all(|f| *f == files[0]));
    assert_eq!(names(&folder), ["1.h5", "2.h5", "4.h5", "broken.pdb"]);
}

/// Files that cannot be used, with what is told of each.
fn bad_files(folder: &TempDir) -> Vec<(PathBuf, &'static str)> {
    let pdb = std::fs::read(structure("1QBS.pdb")).unwrap();
    let cif = std::fs::read_to_string(structure("1FAS.cif")).unwrap();
    let zip = gzip::gzip(&pdb);
    let text = String::from_utf8(pdb.clone()).unwrap();
    let noise: Vec<u8> = (0..9999u32)
        .map(|i| (i.wrapping_mul(2654435761) >> 24) as u8)
        .collect();
    let no_ca: String = text
        .lines()
        .filter(|l| !l.contains(" CA "))
        .map(|l| format!("{l}\n"))
        .collect();
    let nan = text.replacen(" -12.571", "     NaN", 1);
    let column = cif.replace("_atom_site.Cartn_y", "_atom_site.other");
    let cases: [(&str, &[u8], &str); 9] = [
        (
            "cut.pdb",
            &pdb[..20_035],
            "line 254: the file ends inside this atom: truncated",
        ),
        ("cut.pdb.gz", &zip[..zip.len() / 2], "truncated gzip file"),
        (
            "column.cif",
            column.as_bytes(),
            "missing column _atom_site.Cartn_y",
        ),
        (
            "row.cif",
            &cif.as_bytes()[..cif.find("HETATM").unwrap() - 20],
            "truncated",
        ),
        ("empty.pdb", b"", "empty file"),
        ("noise.pdb", &noise, "binary data"),
        ("nan.pdb", nan.as_bytes(), "line 2: x coordinate \"NaN\""),
        ("no_ca.pdb", no_ca.as_bytes(), "no CA atom"),
        (
            "text.pdb",
            b"These are not the atoms you are looking for.\n",
            "no ATOM record",
        ),
    ];
    cases
        .map(|(name, bytes, told)| (put(folder, name, bytes), told))
        .into()
}

#[test]
fn each_bad_file_is_named_and_skipped() {
    let folder = folder();
    let bad = bad_files(&folder);
    let out = folder.path().join("out.h5");
    let good = structure("pdb1ubi.pdb");
    for (path, told) in &bad {
        let outcome = prepare(&[path, &good], &[], &out).failure(3, told);
        let outcome = outcome.warned(told);
        let line = outcome.stderr.lines().find(|l| l.contains(told)).unwrap();
        assert!(line.contains(path.to_str().unwrap()), "{line}");
        assert!(
            outcome.stderr.contains("1 of 2 inputs; the rest is done"),
            "{outcome:#?}"
        );
        assert_eq!(Dataset::open(&out).unwrap().len(), 76);
        std::fs::remove_file(&out).unwrap();

        let outcome = prepare(&[&good, path], &["--strict"], &out).failure(2, told);
        assert!(outcome.stdout.is_empty(), "{outcome:#?}");
        assert!(!out.exists());
        // Alone, there is nothing to pack.
        prepare(&[path], &[], &out).failure(2, told);
        assert!(!out.exists());
    }
    let all: Vec<&Path> = bad.iter().map(|(p, _)| p.as_path()).collect();
    let left = names(&folder).len();
    assert_eq!(left, all.len(), "{:?}", names(&folder));

    // On several ranks, one of them tells and all of them end.
    let strict = run(holosig_on(3)
        .args(["prepare", "structures", "--strict"])
        .arg(structures())
        .args(&all)
        .arg("--out")
        .arg(&out));
    // The first in the order of the list.
    strict.failure(2, bad[0].1);
    assert!(!out.exists());
}

#[test]
fn bad_arguments_are_told_before_the_work() {
    let folder = folder();
    let out = folder.path().join("out.h5");
    let good = structure("pdb1ubi.pdb");
    let nowhere = folder.path().join("nowhere.pdb");
    prepare(&[&nowhere], &[], &out).failure(2, "nowhere.pdb: no such file or folder");
    let no_folder = folder.path().join("no/out.h5");
    let outcome = prepare(&[&good], &[], &no_folder);
    assert_eq!(outcome.code, 0, "the folder is made: {outcome:#?}");
    prepare(&[&good], &["--validation", "0.7", "--test", "0.3"], &out)
        .failure(2, "leave some for training");
    prepare(&[&good], &["--backbone"], &out).code_is(2);
    prepare(&[], &[], &out).code_is(2);
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    prepare(&[&empty], &[], &out).failure(2, "no structure files in it");
    assert_eq!(names(&folder), ["empty", "no"]);
}

trait CodeIs {
    fn code_is(self, code: i32);
}

impl CodeIs for Outcome {
    #[track_caller]
    fn code_is(self, code: i32) {
        assert_eq!(self.code, code, "{self:#?}");
    }
}

/// Chains of a dataset's centres by structure, with the structure's split.
fn centred(dataset: &Dataset) -> Vec<(String, Split, Vec<String>)> {
    let mut all: Vec<(String, Split, Vec<String>)> = Vec::new();
    for s in dataset.structures() {
        all.push((s.id.clone(), s.split, Vec::new()));
    }
    for centre in 0..dataset.len() as u32 {
        let id = dataset.residue(centre);
        let (structure, _) = dataset.centre(centre);
        let chain = id.residue.chain.to_string();
        let chains = &mut all[structure].2;
        if !chains.contains(&chain) {
            chains.push(chain);
        }
    }
    all
}

#[test]
fn a_table_chooses_structures_and_splits() {
    let folder = folder();
    let table = put(
        &folder,
        "splits.csv",
        "id,split,chain\n1ubi,train,\n2XHE,validation,A\npdb3mht,test,\n",
    );
    let out = folder.path().join("out.h5");
    let options = ["--splits", table.to_str().unwrap()];
    let told = prepare(&[&structures()], &options, &out).success();
    assert!(!told.stdout.contains("by chance"), "{told:#?}");
    let found = centred(&Dataset::open(&out).unwrap());
    let expected = [
        ("2XHE", Split::Validation, "A"),
        ("1ubi", Split::Train, "A"),
        ("3mht", Split::Test, "A"),
    ];
    let expected =
        expected.map(|(id, split, chain)| (id.to_string(), split, vec![chain.to_string()]));
    assert_eq!(found, expected);

    let bad = put(&folder, "bad.csv", "id,split\n1ubi,train\n1a8o,learn\n");
    let options = ["--splits", bad.to_str().unwrap()];
    let other = folder.path().join("other.h5");
    prepare(&[&structures()], &options, &other).failure(2, "bad.csv: line 3");
    assert!(!other.exists());
}

#[test]
fn all_models_are_structures_of_one_split() {
    let folder = folder();
    let out = folder.path().join("out.h5");
    let inputs = ["1LCD.pdb.gz", "2OFG.cif.gz", "pdb1ubi.pdb"].map(structure);
    let inputs: Vec<&Path> = inputs.iter().map(PathBuf::as_path).collect();
    prepare(&inputs, &["--models", "all"], &out).success();
    let dataset = Dataset::open(&out).unwrap();
    let ids: Vec<_> = dataset.structures().iter().map(|s| s.id.as_str()).collect();
    let expected = [
        "1LCD:1", "1LCD:2", "1LCD:3", "2OFG:1", "2OFG:2", "2OFG:3", "1ubi",
    ];
    assert_eq!(ids, expected);
    let splits: Vec<_> = dataset.structures().iter().map(|s| s.split).collect();
    assert_eq!(splits[0..3], [splits[0]; 3]);
    assert_eq!(splits[3..6], [splits[3]; 3]);
}

#[test]
fn options_change_what_is_kept() {
    let folder = folder();
    let count = |options: &[&str]| {
        let out = folder.path().join("out.h5");
        prepare(&[&structure("1A8O.pdb")], options, &out).success();
        let dataset = Dataset::open(&out).unwrap();
        (
            dataset.atom_count(),
            dataset.len(),
            dataset.fingerprint().to_string(),
        )
    };
    // 644 atoms: 88 of water, 32 of selenomethionine.
    let all = count(&[]);
    assert_eq!((all.0, all.1), (556, 66));
    let none = count(&["--no-hetero"]);
    assert_eq!((none.0, none.1), (524, 66));
    let letters = count(&["--elements", "first-letter"]);
    assert_eq!(letters.0, 556);
    assert!(all.2 != none.2 && all.2 != letters.2);
    assert_eq!(all, count(&[]));
    // Four selenomethionines are centres if that is asked for, and then no hetero atoms.
    for options in [&["--modified"][..], &["--modified", "--no-hetero"]] {
        let modified = count(options);
        assert_eq!((modified.0, modified.1), (556, 70), "{options:?}");
    }
    // 317 of the 556 have a B factor below 20.
    let sure = ["--min-plddt", "20"];
    assert_eq!(count(&sure).0, 239);
    let (from, out) = (structure("1A8O.pdb"), folder.path().join("out.h5"));
    let told = prepare(&[&from], &sure, &out).success().stdout;
    let line = "atoms of a confidence (pLDDT) below 20, which are left out: 317";
    assert!(told.lines().any(|l| l == line), "{told}");
    let told = prepare(&[&from], &["--modified"], &out).success().stdout;
    let line = "residues MSE, which count as MET: 4";
    assert!(told.lines().any(|l| l == line), "{told}");
    prepare(&[&from], &["--min-plddt", "101"], &out)
        .failure(2, "--min-plddt: a number from 0 to 100 is needed");
}

#[test]
fn inspect_tells_what_is_in_a_dataset() {
    let folder = folder();
    let out = folder.path().join("out.h5");
    let told = prepare(&[&structures()], &[], &out).success().stdout;
    let dataset = Dataset::open(&out).unwrap();
    let share = |s| 100.0 * dataset.split(s).len() as f64 / dataset.len() as f64;
    let line = format!(
        "by chance and by whole structures: {:.0} % for validation (10 % asked for), {:.0} % for \
         test (10 %)",
        share(Split::Validation),
        share(Split::Test)
    );
    assert!(told.lines().any(|l| l == line), "{line}: {told}");
    let inspect = |path: &Path| run(holosig().arg("inspect").arg(path));
    let told = inspect(&out).success().stdout;
    for part in [
        "dataset, schema version 2",
        "22",
        "53998",
        "6705",
        "validation: ",
        "hetero = true",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let bytes = std::fs::read(&out).unwrap();
    let damaged = put(&folder, "damaged.h5", &bytes);
    flip_byte(&damaged, bytes.len() / 2);
    inspect(&damaged).failure(2, "damaged.h5");
    let cut = put(&folder, "cut.h5", &bytes[..bytes.len() / 2]);
    inspect(&cut).failure(2, "cut.h5");
    let mut newer = bytes.clone();
    let version = b"version=2 ";
    let at = bytes
        .windows(version.len())
        .position(|w| w == version)
        .unwrap();
    newer[at + version.len() - 2] = b'3';
    let newer = put(&folder, "newer.h5", newer);
    inspect(&newer).failure(2, "newer");
    let error = Dataset::open(&newer).unwrap_err().to_string();
    assert!(error.contains("update holosig"), "{error}");
    inspect(&structure("pdb1ubi.pdb")).failure(2, "not an HDF5 file");
}
