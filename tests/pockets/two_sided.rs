//! Complexes as training data, and a model with channels for either side.

use super::common::{holosig, holosig_on, run};
use super::files::*;
use holosig::data::dataset::Dataset;
use holosig::data::neighborhoods::{Finder, Neighborhood};
use holosig::ops::zernike::Side;
use holosig::store::{self, Kind};
use std::path::{Path, PathBuf};

const JOB: &str = r#"
task = "hvae"
[data]
dataset = "complexes.h5"
played_ligands = true
[zernike]
lmax = 2
nmax = 6
cutoff = 8.0
channels = ["protein:C", "protein:other", "ligand:C", "ligand:halogen", "ligand:other", "ligand:charge", "protein:donor", "protein:surface"]
ligand_weight = 3.0
[model]
latent_dim = 6
channels = [8, 8]
degrees = [2, 1]
projection = 6
[train]
batch = 8
slices = 2
steps = 4
"#;

fn prepare(ranks: usize, source: &Path, out: &Path, more: &[&str]) -> super::common::Outcome {
    let mut command = holosig_on(ranks);
    command
        .args(["prepare", "complexes", "--complexes"])
        .arg(source);
    run(command.arg("--out").arg(out).args(more))
}

/// Some complexes, structures and a dataset of both.
fn data(dir: &Path) -> (PathBuf, PathBuf, PathBuf) {
    let source = every_form(dir);
    let structures = dir.join("structures.h5");
    run(holosig()
        .args(["prepare", "structures"])
        .arg(in_repository("structures/pdb1ubi.pdb"))
        .arg("--out")
        .arg(&structures))
    .success();
    (source, structures, dir.join("complexes.h5"))
}

#[test]
fn complexes_and_structures_become_one_dataset_on_any_number_of_ranks() {
    let dir = tempfile::tempdir().unwrap();
    let (source, structures, out) = data(dir.path());
    let with = ["--with", structures.to_str().unwrap()];
    let told = prepare(1, &source, &out, &with).success();
    assert!(
        told.stdout
            .contains("8 complexes and 1 structure without a ligand"),
        "{told:?}"
    );
    let first = std::fs::read(&out).unwrap();
    prepare(4, &source, &out, &with).success();
    assert!(first == std::fs::read(&out).unwrap());

    let dataset = Dataset::open(&out).unwrap();
    assert_eq!(dataset.structures().len(), 9);
    let complex = |s: usize| dataset.complex(s);
    assert!(complex(7).is_some() && complex(8).is_none());
    // One is without an affinity; all are of one protein.
    let known: Vec<Option<f64>> = (0..8).map(|s| complex(s).unwrap().affinity).collect();
    assert_eq!(known.iter().flatten().count(), 7);
    assert_eq!((known[0], known[3]), (Some(5.5), None));
    assert!((0..8).all(|s| complex(s).unwrap().group.as_deref() == Some("0")));
    // All centres of the complex are CA atoms near the ligand; the structure has all of its own.
    let near = |ca: &&[f64; 3]| ligand().iter().any(|l| distance(l.1, **ca) <= 10.0);
    let pocket = alpha_carbons().iter().filter(near).count();
    assert_eq!(dataset.len(), 8 * pocket + 76);
    let finder = Finder::new(&dataset, Neighborhood::default());
    let centres: Vec<u32> = (0..dataset.len() as u32).collect();
    let of_ligand = |clouds: &holosig::data::neighborhoods::Clouds, i: usize| {
        let sides = &clouds.sides[clouds.offsets[i]..clouds.offsets[i + 1]];
        sides.iter().filter(|s| **s == Side::Ligand).count()
    };
    let clouds = finder.clouds(&centres);
    // Each complex has the same neighborhoods; some atom of the ligand is within 10 Å of each.
    for i in 0..pocket {
        assert!((1..=5).contains(&of_ligand(&clouds, i)));
        assert_eq!(of_ligand(&clouds, i), of_ligand(&clouds, i + pocket));
    }
    assert!((8 * pocket..dataset.len()).all(|i| of_ligand(&clouds, i) == 0));
    // Pieces of the chain play ligands where there is none, the same ones every time.
    let played = finder.clouds_with_played_ligands(&centres, 1);
    assert!((0..pocket).all(|i| of_ligand(&played, i) == of_ligand(&clouds, i)));
    let with = (8 * pocket..dataset.len())
        .filter(|&i| of_ligand(&played, i) > 0)
        .count();
    assert!((40..=70).contains(&with), "{with}");
    assert_eq!(played, finder.clouds_with_played_ligands(&centres, 1));
    assert_ne!(played, finder.clouds_with_played_ligands(&centres, 2));

    let atoms = dir.path().join("ligand.h5");
    prepare(1, &source, &atoms, &["--centres", "ligand"]).success();
    assert_eq!(Dataset::open(&atoms).unwrap().len(), 8 * 5);
    prepare(
        1,
        &source,
        &atoms,
        &["--with", out.to_str().unwrap(), "--force"],
    )
    .failure(2, "complexes.h5: structure sdf is in both");
    prepare(1, &source, &atoms, &["--cutoff", "0", "--force"])
        .failure(2, "--cutoff 0: must be a positive length in Å");
}

/// All complexes here are of one protein, whose name the table does not give.
#[test]
fn splits_by_chance_keep_like_proteins_together() {
    let dir = tempfile::tempdir().unwrap();
    let source = every_form(dir.path());
    let table = std::fs::read_to_string(&source).unwrap();
    std::fs::write(&source, table.replacen(",split,", ",note,", 1)).unwrap();
    let mut seen = Vec::new();
    for seed in ["1", "2", "3", "4", "5", "6"] {
        let out = dir.path().join(seed);
        let more = ["--validation", "0.4", "--test", "0.4", "--seed", seed];
        prepare(2, &source, &out, &more).success();
        let dataset = Dataset::open(&out).unwrap();
        let first = dataset.structures()[0].split;
        assert!(
            dataset.structures().iter().all(|s| s.split == first),
            "{seed}"
        );
        seen.push(first);
    }
    assert!(seen.iter().any(|split| *split != seen[0]), "{seen:?}");
}

#[test]
fn what_is_left_out_of_complexes_is_told() {
    let dir = tempfile::tempdir().unwrap();
    every_form(dir.path());
    let two = sdf(&ligand()) + &sdf(&ligand());
    std::fs::write(dir.path().join("two.sdf"), two).unwrap();
    let (source, out) = (dir.path().join("some.csv"), dir.path().join("c.h5"));
    let rows = "id,protein,ligand,split\na,p.pdb,two.sdf,train\nb,p.pdb,none.sdf,train\n\
                c,whole.pdb,LIG,val\nd,p.pdb,l.sdf,\n";
    std::fs::write(&source, rows).unwrap();
    prepare(2, &source, &out, &["--strict"]).failure(2, "complex b: ");
    assert!(!out.exists());
    let told = prepare(2, &source, &out, &[]).failure(3, "2 of 4 inputs; the rest is done");
    let told = told.warned("skipped complex ");
    let line = "files of ligands with further molecules, of which the first is read: 1";
    assert!(told.stdout.lines().any(|l| l == line), "{told:#?}");
    for words in [
        "skipped complex b: ",
        "none.sdf",
        "skipped complex d: no split",
    ] {
        assert!(told.stderr.contains(words), "{words}: {told:#?}");
    }
    assert_eq!(Dataset::open(&out).unwrap().structures().len(), 2);
}

#[test]
fn a_model_with_two_sides_sees_the_ligand() {
    let dir = tempfile::tempdir().unwrap();
    let (source, structures, out) = data(dir.path());
    prepare(1, &source, &out, &["--with", structures.to_str().unwrap()]).success();
    let job = dir.path().join("job.toml");
    std::fs::write(&job, JOB).unwrap();
    let model = dir.path().join("run");
    run(holosig().arg("train").arg(&job).arg("--out").arg(&model)).success();
    // What is hidden of the ligand changes what is learned, and does not ask on which rank.
    let masked = |value: &str, ranks: usize| {
        let (out, set) = (
            dir.path().join("masked"),
            format!("data.masked_ligands={value}"),
        );
        let mut train = holosig_on(ranks);
        train.arg("train").arg(&job).arg("--out").arg(&out);
        run(train.args(["--set", &set])).success();
        let told = run(holosig().arg("hash").arg(out.join("checkpoints/last.h5"))).success();
        std::fs::remove_dir_all(out).unwrap();
        told.stdout
    };
    let [none, half, all] = ["0", "0.5", "1"].map(|value| masked(value, 1));
    assert!(none != half && half != all && none != all);
    assert_eq!(half, masked("0.5", 2));
    let one_sided = JOB
        .replace("ligand:", "")
        .replace("\"C\", \"halogen\", ", "");
    std::fs::write(&job, one_sided).unwrap();
    run(holosig()
        .arg("train")
        .arg(&job)
        .arg("--out")
        .arg(dir.path().join("x")))
    .failure(
        2,
        "data.played_ligands needs zernike.channels of the ligand's side",
    );

    // Chlorine and bromine share a channel, chlorine and nitrogen do not.
    let other = |symbol: &'static str| -> Vec<Atom> {
        let swapped = |(s, p): Atom| (if s == "Cl" { symbol } else { s }, p);
        ligand().into_iter().map(swapped).collect()
    };
    let mut manifest = String::from("id,protein,ligand\n");
    for symbol in ["Cl", "Br", "N"] {
        std::fs::write(
            dir.path().join(format!("{symbol}.sdf")),
            sdf(&other(symbol)),
        )
        .unwrap();
        manifest += &format!("{symbol},p.pdb,{symbol}.sdf\n");
    }
    let complexes = dir.path().join("c.csv");
    std::fs::write(&complexes, manifest).unwrap();
    let mut residues = Vec::new();
    for (centres, count) in [("ca", None), ("ligand", Some(5)), ("contacts", None)] {
        let file = dir.path().join(format!("{centres}.h5"));
        run(holosig()
            .arg("pockets")
            .arg(&model)
            .arg("--complexes")
            .arg(&complexes)
            .args(["--centres", centres, "--out"])
            .arg(&file))
        .success();
        let root = store::open(&file, Kind::Pockets).unwrap();
        let (z, shape) = root
            .read_shaped::<f32>("pocket", &[Some(3), Some(6)])
            .unwrap();
        let row = |i: usize| &z[i * shape[1]..(i + 1) * shape[1]];
        assert!(row(0) == row(1) && row(0) != row(2), "{centres}");
        let counts: Vec<i32> = root.group("counts").unwrap().read("residues").unwrap();
        assert!(
            counts[0] > 0 && count.is_none_or(|n| counts == [n; 3]),
            "{counts:?}"
        );
        // The size of the pocket, whatever the centres are.
        if centres == "ca" {
            residues.clone_from(&counts);
        }
        let size = root.group("counts").unwrap().read::<i32>("pocket_residues");
        assert_eq!(residues, size.unwrap(), "{centres}");
        let without: Vec<i32> = root
            .group("ligand")
            .unwrap()
            .read("atoms_without_channel")
            .unwrap();
        assert_eq!(without, [0; 3]);
        let clusters = root.read_strings("sequence_cluster").unwrap();
        assert_eq!(clusters, ["0"; 3]);
        let (counts, _) = root
            .read_shaped::<i32>("contacts", &[Some(3), None])
            .unwrap();
        assert!(counts.iter().sum::<i32>() > 100);
    }
}
