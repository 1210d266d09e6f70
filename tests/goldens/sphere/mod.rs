//! Signals on the sphere against stored numbers of the published code: every file of
//! `$HOLOSIG_GOLDEN/sphere`, or of the smaller copies in `tests/fixtures/sphere`. What a file is about
//! shows in what it holds; sizes and settings are its attributes.

mod density;
mod images;
mod model;
mod shapes;

use candle_core::{DType, Device, Tensor};
use hdf5::{File, Group};
use holosig::ops::sphere::SphereTransform;
use holosig::so3::rotation::Matrix;
use holosig::so3::sphere::{Grid, Rings};
use std::path::PathBuf;

/// The folder of the files.
fn folder() -> PathBuf {
    let own = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/sphere"
    ));
    std::env::var_os("HOLOSIG_GOLDEN")
        .map(|folder| PathBuf::from(folder).join("sphere"))
        .filter(|folder| folder.is_dir())
        .unwrap_or(own)
}

/// All HDF5 files that hold something of a name, itself or in one of their groups.
fn files(what: &str) -> Vec<(String, File)> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "h5"));
    paths.sort();
    let open = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, File::open(&path).unwrap())
    };
    let holds = |(_, file): &(String, File)| {
        file.link_exists(what) || file.groups().unwrap().iter().any(|g| g.link_exists(what))
    };
    paths.into_iter().map(open).filter(holds).collect()
}

fn number(group: &Group, name: &str) -> usize {
    group.attr(name).unwrap().read_scalar::<i64>().unwrap() as usize
}

/// The grid and the largest degree that a file's attributes name.
fn grid(file: &File) -> (Grid, usize) {
    let rings = match crate::file::text(file, "grid") {
        name if name.starts_with("Driscoll-Healy") => Rings::DriscollHealy,
        name if name.starts_with("SOFT") => Rings::Soft,
        name => panic!("grid {name}"),
    };
    let bandwidth = number(file, "bandwidth");
    (Grid { rings, bandwidth }, number(file, "lmax"))
}

fn matrices(flat: &[f64]) -> Vec<Matrix> {
    flat.as_chunks::<3>().0.as_chunks::<3>().0.to_vec()
}

/// Largest difference, in units of the largest value.
#[track_caller]
fn check(own: &[f64], published: &[f64], tolerance: f64, what: &str) {
    assert_eq!(own.len(), published.len(), "{what}");
    let largest = published.iter().fold(0f64, |m, v| m.max(v.abs()));
    let differences = own.iter().zip(published).map(|(a, b)| (a - b).abs());
    let error = differences.fold(0f64, |m, d| if d > m || d.is_nan() { d } else { m }) / largest;
    println!("{what}: {error:.1e}");
    assert!(error <= tolerance, "{what}: {error:e} > {tolerance:e}");
}

/// Angles and weights of a file's grid.
fn check_grid(file: &File, name: &str) {
    let (grid, lmax) = grid(file);
    let stored = file.group("grid").unwrap();
    let read = |what: &str| crate::file::read::<f64>(&stored, what);
    check(&grid.beta(), &read("beta"), 1e-15, &format!("{name} beta"));
    check(
        &grid.alpha(),
        &read("alpha"),
        1e-15,
        &format!("{name} alpha"),
    );
    check(
        &grid.weights(lmax),
        &read("ring_weight"),
        1e-12,
        &format!("{name} weights"),
    );
}

/// Coefficients of signals, and the signals of coefficients, in either precision.
fn check_transform(
    file: &File,
    channels: usize,
    signals: &[f64],
    coefficients: &[f64],
    what: &str,
) {
    let (grid, lmax) = grid(file);
    for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 2e-6)] {
        let t = SphereTransform::new(grid, lmax, channels, dtype, &Device::Cpu).unwrap();
        let n = grid.side();
        let shape = (signals.len() / (channels * n * n), channels, n, n);
        let x = Tensor::from_slice(signals, shape, &Device::Cpu).unwrap();
        let own = t.forward(&x.to_dtype(dtype).unwrap()).unwrap();
        let what = format!("{what} {dtype:?}");
        check(
            &crate::numbers::values(&own),
            coefficients,
            tolerance,
            &what,
        );
    }
}

#[test]
fn images_on_the_sphere() {
    for (name, file) in files("signal") {
        check_grid(&file, &name);
        images::check_projection(&file, &name);
        images::check_coefficients(&file, &name);
        images::check_rotations(&file, &name);
    }
}

#[test]
fn shapes_seen_from_the_sphere() {
    let files = files("vertices");
    assert!(!files.is_empty());
    for (name, file) in files {
        check_grid(&file, &name);
        shapes::check_named_weights(&file, &name);
        for group in file.groups().unwrap() {
            if group.link_exists("vertices") {
                shapes::check_shape(&file, &group, &format!("{name}{}", group.name()));
            }
        }
    }
}

#[test]
fn published_models() {
    let entries = std::fs::read_dir(folder()).unwrap();
    let folders = entries
        .map(|e| e.unwrap().path())
        .filter(|p| p.join("hparams.json").is_file());
    let folders: Vec<PathBuf> = folders.collect();
    assert!(!folders.is_empty());
    folders
        .iter()
        .for_each(|folder| model::check_published(folder));
}

#[test]
fn retrieval_of_toy_rankings() {
    let text = std::fs::read_to_string(folder().join("retrieval.json")).unwrap();
    model::check_retrieval(&text);
}

#[test]
fn densities_of_zernikegrams() {
    let files = files("points");
    assert!(!files.is_empty());
    for (name, file) in files {
        for group in file.groups().unwrap() {
            density::check_cloud(&file, &group, &format!("{name}{}", group.name()));
        }
    }
}
