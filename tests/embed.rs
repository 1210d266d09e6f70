//! Embeddings equal those of the published code, for any number of ranks.

mod common;

use common::{flip_byte, holosig, holosig_on, run};
use holosig::data::zernikegrams::write_settings;
use holosig::ops::zernike::{Settings, Weighting};
use holosig::store::{self, Kind, Storage};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/published_small")
        .join(name)
}

/// The published model as a checkpoint in `dir`.
fn imported(dir: &Path) -> PathBuf {
    let out = dir.join("ckpt.h5");
    let files = [fixture("model.pt"), fixture("hparams.json")];
    run(holosig().arg("import").args(files).arg("--out").arg(&out)).success();
    out
}

/// Largest difference over the largest size.
fn error(ours: &[f32], published: &[f32]) -> f32 {
    assert_eq!(ours.len(), published.len());
    let largest = published.iter().fold(0f32, |a, b| a.max(b.abs()));
    let pairs = ours.iter().zip(published);
    pairs.map(|(a, b)| (a - b).abs()).fold(0f32, f32::max) / largest
}

#[test]
fn equals_the_published_code() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("e.h5");
    run(holosig()
        .arg("embed")
        .arg(imported(dir.path()))
        .arg("--zernikegrams")
        .arg(fixture("expected.h5"))
        .arg("--out")
        .arg(&out)
        .arg("--reconstruct"))
    .success();
    let ours = store::open(&out, Kind::Embeddings).unwrap();
    let published = store::open_plain(&fixture("expected.h5")).unwrap();
    // Tolerances: f32 rounding of the published code against f64, times ten.
    for (name, shape, bound) in [
        ("zernikegram", &[80, 940][..], 0.0),
        ("invariants", &[80, 8], 4e-6),
        ("frames", &[80, 3, 3], 3e-5),
        ("reconstruction", &[80, 940], 4e-5),
    ] {
        let shape: Vec<_> = shape.iter().map(|&n| Some(n)).collect();
        let (a, _) = ours.read_shaped::<f32>(name, &shape).unwrap();
        let (b, _) = published.read_shaped::<f32>(name, &shape).unwrap();
        let error = error(&a, &b);
        assert!(error <= bound, "{name}: {error} > {bound}");
    }
    let losses = ours.read::<f32>("cosine_loss").unwrap();
    let mean = losses.iter().map(|&x| f64::from(x)).sum::<f64>() / losses.len() as f64;
    let expected: f64 = published.attr("cosine_loss").unwrap();
    assert!((mean - expected).abs() < 1e-6, "{mean} {expected}");
    for name in ["structure", "chain", "icode", "name"] {
        let read = |file: &store::File| file.group("residues").unwrap().read_strings(name).unwrap();
        assert_eq!(read(&ours), read(&published), "{name}");
    }
}

/// Enough rows for several blocks on every rank, the last of them short.
fn many_zernikegrams(path: &Path) {
    let published = store::open_plain(&fixture("expected.h5")).unwrap();
    let (values, _) = published
        .read_shaped::<f32>("zernikegram", &[None, Some(940)])
        .unwrap();
    let rows: Vec<f32> = (0..1100)
        .flat_map(|i| {
            let scale = 1.0 + i as f32 / 1100.0;
            let row = (i * 7) % 80;
            values[row * 940..(row + 1) * 940]
                .iter()
                .map(move |v| v * scale)
        })
        .collect();
    store::write(path, Kind::Zernikegrams, |root| {
        root.write("zernikegram", &[1100, 940], &rows, Storage::Plain)
    })
    .unwrap();
}

#[test]
fn any_number_of_ranks_writes_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    let ckpt = imported(dir.path());
    let zernikegrams = dir.path().join("z.h5");
    many_zernikegrams(&zernikegrams);
    let files: Vec<Vec<u8>> = [1, 2, 4]
        .into_iter()
        .map(|ranks| {
            let out = dir.path().join(format!("e{ranks}.h5"));
            run(holosig_on(ranks)
                .arg("embed")
                .arg(&ckpt)
                .arg("--zernikegrams")
                .arg(&zernikegrams)
                .arg("--out")
                .arg(&out)
                .arg("--reconstruct"))
            .success();
            std::fs::read(out).unwrap()
        })
        .collect();
    assert!(files[0] == files[1] && files[0] == files[2]);
}

#[test]
fn bad_input_is_named_once_and_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let ckpt = imported(dir.path());
    let bad = dir.path().join("bad.h5");
    let out = dir.path().join("e.h5");
    let attempt = |ranks: usize, ckpt: &Path, zernikegrams: &Path, text: &str| {
        run(holosig_on(ranks)
            .arg("embed")
            .arg(ckpt)
            .arg("--zernikegrams")
            .arg(zernikegrams)
            .arg("--out")
            .arg(&out))
        .failure(2, text);
        let left = std::fs::read_dir(dir.path()).unwrap();
        let left: Vec<_> = left.map(|e| e.unwrap().file_name()).collect();
        assert!(
            !left.iter().any(|n| n.to_string_lossy().contains("e.h5")),
            "{left:?}"
        );
    };
    for ranks in [1, 2] {
        std::fs::copy(&ckpt, &bad).unwrap();
        flip_byte(&bad, 100_000);
        attempt(ranks, &bad, &fixture("expected.h5"), "bad.h5: damaged");
        attempt(
            ranks,
            &fixture("expected.h5"),
            &bad,
            "not one that holosig wrote",
        );

        let write = |shape: &[usize], fill: f32| {
            let values = vec![fill; shape.iter().product()];
            store::write(&bad, Kind::Zernikegrams, |root| {
                root.write("zernikegram", shape, &values, Storage::Plain)
            })
            .unwrap();
        };
        write(&[3, 616], 1.0);
        attempt(
            ranks,
            &ckpt,
            &bad,
            "bad.h5: zernikegrams of length 616, where the model takes 940",
        );
        let mut settings = Settings {
            lmax: 4,
            ..Settings::default()
        };
        settings.weighting = Weighting::None;
        store::write(&bad, Kind::Zernikegrams, |root| {
            write_settings(root, &settings)?;
            root.write("zernikegram", &[1, 940], &[1f32; 940], Storage::Plain)
        })
        .unwrap();
        let text = "made with weighting = \"none\", where the model needs weighting = \"square\"";
        attempt(ranks, &ckpt, &bad, text);
        write(&[300, 940], f32::NAN);
        attempt(
            ranks,
            &ckpt,
            &bad,
            "bad.h5: residue 0: its zernikegram is not finite",
        );
        std::fs::write(&bad, "noise").unwrap();
        attempt(ranks, &ckpt, &bad, "bad.h5: not an HDF5 file");
    }
}

#[test]
fn structures_and_their_dataset_give_the_same_embeddings_in_file_order() {
    let dir = tempfile::tempdir().unwrap();
    let ckpt = imported(dir.path());
    let structures: Vec<PathBuf> = ["pdb1ubi.pdb", "1FAS.cif", "1LCD.pdb.gz"]
        .map(|name| {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/structures");
            folder.join(name)
        })
        .into();
    let dataset = dir.path().join("dataset.h5");
    run(holosig()
        .args(["prepare", "structures"])
        .args(&structures)
        .arg("--out")
        .arg(&dataset))
    .success();
    let embed = |ranks: usize, source: &str, files: &[PathBuf], name: &str| {
        let out = dir.path().join(name);
        let mut command = holosig_on(ranks);
        command.arg("embed").arg(&ckpt).arg("--out").arg(&out);
        run(command.arg(source).args(files)).success();
        out
    };
    let from_files: Vec<PathBuf> = [1, 2, 4]
        .map(|ranks| embed(ranks, "--structures", &structures, &format!("s{ranks}.h5")))
        .into();
    let bytes = |path: &Path| std::fs::read(path).unwrap();
    assert!(bytes(&from_files[0]) == bytes(&from_files[1]));
    assert!(bytes(&from_files[0]) == bytes(&from_files[2]));

    let from_dataset = embed(2, "--dataset", &[dataset], "d.h5");
    let a = store::open(&from_files[0], Kind::Embeddings).unwrap();
    let b = store::open(&from_dataset, Kind::Embeddings).unwrap();
    for name in ["invariants", "frames"] {
        let read = |f: &store::File| {
            f.read_rows::<f32>(name, 0..f.shape(name).unwrap()[0])
                .unwrap()
        };
        assert_eq!(read(&a), read(&b), "{name}");
    }
    let residues = a.group("residues").unwrap();
    let mut order = residues.read_strings("structure").unwrap();
    order.dedup();
    assert_eq!(order, ["1ubi", "1FAS", "1LCD"]);
    assert_eq!(residues.read::<i32>("number").unwrap()[..3], [1, 2, 3]);
    assert_eq!(
        residues.read_strings("name").unwrap()[..3],
        ["MET", "GLN", "ILE"]
    );
}
