//! ProteinNet's records as lists of structures, and as structures themselves.

use super::*;

/// A ProteinNet record of `sequence`; N, CA and C of residue i are at 100 i + 1, 2, 3 pm on
/// each axis.
fn record(id: &str, sequence: &str) -> String {
    let n = sequence.len();
    let evolutionary = format!("{}\n", vec!["0.05"; n].join("\t")).repeat(21);
    let axis: Vec<String> = (0..3 * n)
        .map(|k| format!("{}", 100 * (k / 3) + k % 3 + 1))
        .collect();
    let tertiary = format!("{}\n", axis.join("\t")).repeat(3);
    let mask: String = (0..n).map(|i| if i == 1 { '-' } else { '+' }).collect();
    format!(
        "[ID]\n{id}\n[PRIMARY]\n{sequence}\n[EVOLUTIONARY]\n{evolutionary}[TERTIARY]\n{tertiary}\
         [MASK]\n{mask}\n\n"
    )
}

fn records(ids: &[&str]) -> String {
    ids.iter().map(|id| record(id, "AGXW")).collect()
}

#[test]
fn proteinnet_records_choose_entries_chains_and_splits() {
    let folder = folder();
    let training = put(
        &folder,
        "training_30",
        records(&["2XHE_1_B", "1A8O_d1a8oa_", "1K1I_1_A", "9XYZ_1_A"]),
    );
    let validation = put(
        &folder,
        "validation",
        records(&["30#1UBI_1_A", "50#1QBS_1_Z"]),
    );
    let testing = put(&folder, "casp", records(&["TBM#T0999", "FM#1orc"]));
    let missing = folder.path().join("missing.txt");
    let mut files = Vec::new();
    for ranks in [1, 3] {
        let out = folder.path().join(format!("{ranks}.h5"));
        let outcome = run(holosig_on(ranks)
            .args(["prepare", "structures"])
            .arg(structures())
            .args([
                "--proteinnet",
                training.to_str().unwrap(),
                "--split-name",
                "train",
            ])
            .args([
                "--proteinnet",
                validation.to_str().unwrap(),
                "--split-name",
                "validation",
            ])
            .args([
                "--proteinnet",
                testing.to_str().unwrap(),
                "--split-name",
                "test",
            ])
            .args([Path::new("--missing"), &missing, Path::new("--out"), &out]))
        .success();
        // 22 files, of which 6 are of entries that are named.
        assert!(
            outcome.stdout.contains("16 files in no list"),
            "{outcome:#?}"
        );
        let told = "3 without a structure: 9xyz, 1qbs_Z, T0999";
        assert!(outcome.stdout.contains(told), "{outcome:#?}");
        assert_eq!(
            std::fs::read_to_string(&missing).unwrap(),
            "# ids without a structure (holosig prepare structures)\n9xyz\n1qbs_Z\nT0999\n"
        );
        files.push(std::fs::read(&out).unwrap());
    }
    assert_eq!(files[0], files[1]);
    let dataset = Dataset::open(&folder.path().join("1.h5")).unwrap();
    let chain = |c: &str| vec![c.to_string()];
    let expected = [
        ("1A8O", Split::Train, chain("A")),
        ("1K1I", Split::Train, chain("A")),
        ("1orc", Split::Test, chain("A")),
        ("1ubi", Split::Validation, chain("A")),
        ("2XHE", Split::Train, chain("B")),
    ];
    let mut found = centred(&dataset);
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(
        found,
        expected.map(|(id, split, chains)| (id.to_string(), split, chains))
    );
    // Atoms of the other chain stay: they are neighbours.
    let both = read(&structure("2XHE.pdb.gz"), &ReadOptions::default()).unwrap();
    let place = dataset
        .structures()
        .iter()
        .position(|s| s.id == "2XHE")
        .unwrap();
    assert_eq!(dataset.atoms(place).numbers.len(), both[0].system.len());

    // The name `casp` tells no split.
    let out = folder.path().join("out.h5");
    let casp = testing.to_str().unwrap();
    prepare(&[&structures()], &["--proteinnet", casp], &out).failure(2, "--split-name");
    prepare(
        &[&structures()],
        &[
            "--proteinnet",
            casp,
            "--split-name",
            "test",
            "--split-name",
            "train",
        ],
        &out,
    )
    .failure(2, "2 times for 1 ProteinNet files");
}

#[test]
fn backbones_come_from_proteinnet_itself() {
    let folder = folder();
    let training = put(
        &folder,
        "training_30",
        records(&["9ABC_1_A", "9ABD_d9abda_"]),
    );
    let validation = put(&folder, "validation", records(&["30#9ABE_2_b"]));
    let out = folder.path().join("out.h5");
    run(holosig_on(2)
        .args(["prepare", "structures", "--backbone"])
        .args([
            Path::new("--proteinnet"),
            &training,
            Path::new("--proteinnet"),
            &validation,
        ])
        .arg("--out")
        .arg(&out))
    .success();
    let dataset = Dataset::open(&out).unwrap();
    let ids: Vec<_> = dataset
        .structures()
        .iter()
        .map(|s| (s.id.as_str(), s.file.as_str(), s.split))
        .collect();
    let expected = [
        ("9ABC_1_A", "training_30", Split::Train),
        ("9ABD_d9abda_", "training_30", Split::Train),
        ("30#9ABE_2_b", "validation", Split::Validation),
    ];
    assert_eq!(ids, expected);
    // A is known, G is masked, X is no amino acid, W is known: three residues, two centres.
    let atoms = dataset.atoms(0);
    let place = |x: f32| [x; 3];
    let expected = [0.01, 0.02, 0.03, 2.01, 2.02, 2.03, 3.01, 3.02, 3.03].map(place);
    assert_eq!(atoms.positions, expected);
    assert_eq!(atoms.numbers, [7, 6, 6, 7, 6, 6, 7, 6, 6]);
    assert_eq!(dataset.len(), 6);
    let last = dataset.residue(5);
    let residue = last.residue;
    assert_eq!(
        (
            last.structure,
            residue.name.as_str(),
            residue.number,
            residue.chain.as_str()
        ),
        ("30#9ABE_2_b", "TRP", 4, "b")
    );
}

#[test]
fn a_cut_record_is_named_and_nothing_is_written() {
    let folder = folder();
    let whole = records(&["1UBI_1_A", "1A8O_1_A"]);
    let out = folder.path().join("out.h5");
    let second = whole.find("1A8O").unwrap();
    // Inside the last record: its sequence, its profile, its coordinates, its mask.
    let inside = ["AGXW", "0.05", "[TERTIARY]\n1", "[MASK]\n+"];
    for part in inside {
        let cut = second + whole[second..].find(part).unwrap() + part.len();
        let path = put(&folder, "training_30", &whole[..cut]);
        for options in [&[][..], &["--backbone"]] {
            let inputs = [structures()];
            let inputs = if options.is_empty() { &inputs[..] } else { &[] };
            let outcome = run(holosig_on(2)
                .args(["prepare", "structures"])
                .args(inputs)
                .args(options)
                .args([Path::new("--proteinnet"), &path, Path::new("--out"), &out]));
            let outcome = outcome.failure(2, "record 1A8O_1_A");
            let line = outcome.stderr.lines().find(|l| l.contains("1A8O")).unwrap();
            assert!(line.contains("training_30: line "), "{line}");
        }
    }
    assert_eq!(names(&folder), ["training_30"]);
}
