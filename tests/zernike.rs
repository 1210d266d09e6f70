//! `holosig zernike`, as a user runs it.

mod common;

use holosig::data::zernikegrams::read_settings;
use holosig::ops::zernike::Settings;
use holosig::store::{self, Kind};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const NUMBERS: [u8; 4] = [6, 7, 8, 16];

fn reference() -> hdf5::File {
    hdf5::File::open(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/b_zft.h5"
    ))
    .unwrap()
}

/// A file of clouds, as h5py would write it.
struct Input {
    coordinates: Vec<f32>,
    elements: Vec<u8>,
    offsets: Vec<u64>,
}

impl Input {
    /// The clouds of the reference.
    fn reference() -> Self {
        let file = reference();
        let elements: Vec<u8> = file.dataset("element").unwrap().read_raw().unwrap();
        let offsets: Vec<i32> = file.dataset("ptr").unwrap().read_raw().unwrap();
        Self {
            coordinates: file.dataset("coords").unwrap().read_raw().unwrap(),
            elements: elements.iter().map(|&e| NUMBERS[e as usize]).collect(),
            offsets: offsets.iter().map(|&o| o as u64).collect(),
        }
    }

    fn write(&self, path: &Path) {
        let file = hdf5::File::create(path).unwrap();
        put(
            &file,
            "coordinates",
            &[self.elements.len(), 3],
            &self.coordinates,
        );
        put(&file, "elements", &[self.elements.len()], &self.elements);
        put(&file, "offsets", &[self.offsets.len()], &self.offsets);
    }
}

fn put<T: hdf5::H5Type>(file: &hdf5::File, name: &str, shape: &[usize], data: &[T]) {
    let dataset = file.new_dataset::<T>().shape(shape).create(name).unwrap();
    if !data.is_empty() {
        dataset.write_raw(data).unwrap();
    }
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn input(&self) -> PathBuf {
        self.0.path().join("in.h5")
    }

    fn output(&self) -> PathBuf {
        self.0.path().join("out.h5")
    }

    #[track_caller]
    fn run(&self, options: &[&str]) -> common::Outcome {
        let mut command = common::holosig();
        command
            .arg("zernike")
            .args([self.input(), self.output()])
            .args(options);
        common::run(&mut command)
    }

    /// The command fails with one line naming the file and `text`, and leaves nothing.
    #[track_caller]
    fn refused(&self, options: &[&str], text: &str) {
        let outcome = self.run(options).failure(2, text);
        assert!(outcome.stderr.contains("in.h5"), "{outcome:#?}");
        self.nothing_left();
    }

    #[track_caller]
    fn nothing_left(&self) {
        let names = std::fs::read_dir(self.0.path())
            .unwrap()
            .map(|e| e.unwrap().file_name());
        let names: Vec<_> = names.filter(|n| n != "in.h5").collect();
        assert!(names.is_empty(), "left behind: {names:?}");
    }

    fn zernikegrams(&self) -> (Vec<f32>, Vec<usize>, Settings) {
        let file = store::open(&self.output(), Kind::Zernikegrams).unwrap();
        let (data, shape) = file.read_shaped("zernikegram", &[None, None]).unwrap();
        (data, shape, read_settings(&file).unwrap())
    }
}

#[test]
fn reproduces_the_published_coefficients() {
    let folder = Folder::new();
    Input::reference().write(&folder.input());
    for (lmax, weighting, binomial, name) in [
        ("6", "square", "published", "lmax6/square/coeff_f64"),
        ("4", "none", "published", "lmax4/none/coeff_f64"),
        (
            "3",
            "square",
            "exact",
            "lmax3/square/coeff_f64_correct_binomial",
        ),
    ] {
        let options = [
            "--lmax",
            lmax,
            "--weighting",
            weighting,
            "--binomial",
            binomial,
        ];
        let outcome = folder.run(&options).success();
        assert!(
            outcome.stderr.contains("8 clouds of 484 atoms"),
            "{outcome:#?}"
        );
        let (ours, shape, settings) = folder.zernikegrams();
        assert_eq!(settings.lmax.to_string(), lmax);
        assert_eq!(settings.weighting.name(), weighting);
        assert_eq!(settings.binomial.name(), binomial);
        assert_eq!((settings.nmax, settings.cutoff), (20, 10.0));
        assert_eq!(shape, [8, settings.irreps().dim()]);
        let expected: Vec<f64> = reference().dataset(name).unwrap().read_raw().unwrap();
        let largest = expected.iter().fold(0.0, |m: f64, c| m.max(c.abs()));
        for (a, b) in ours.iter().zip(&expected) {
            assert!((*a as f64 - b).abs() < 1e-5 * largest, "{name}: {a} {b}");
        }
    }
}

#[test]
fn the_defaults_are_those_of_the_published_models() {
    let folder = Folder::new();
    Input::reference().write(&folder.input());
    folder.run(&[]).success();
    assert_eq!(folder.zernikegrams().2, Settings::default());
}

#[test]
fn channels_are_chosen_by_name() {
    let folder = Folder::new();
    let mut input = Input::reference();
    // One zinc; the sulphurs have no channel of their own.
    input.elements[0] = 30;
    input.write(&folder.input());
    folder
        .run(&["--channels", "C,N,O,S", "--weighting", "none"])
        .success();
    let (four, ..) = folder.zernikegrams();
    let outcome = folder
        .run(&["--channels", "other,C,N,O", "--weighting", "none"])
        .success();
    assert!(!outcome.stderr.contains("left out"), "{outcome:#?}");
    let (other, _, settings) = folder.zernikegrams();
    let names: Vec<String> = settings.channels.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["other", "C", "N", "O"]);
    // Degree 0: eleven orders for each channel. Carbon comes first or second.
    assert_eq!(four[..11], other[11..22]);
    // The second cloud has no zinc: what was S is now other.
    let dim = settings.irreps().dim();
    assert_eq!(four[dim + 33..dim + 44], other[dim..dim + 11]);
    let outcome = folder.run(&["--channels", "C"]).success();
    assert!(outcome.stderr.contains("atoms left out"), "{outcome:#?}");
}

#[test]
fn many_clouds_pass_through_in_blocks() {
    let folder = Folder::new();
    let clouds = 9000;
    let input = Input {
        coordinates: (0..clouds)
            .flat_map(|i| [1.0 + 8.0 * i as f32 / clouds as f32, 0.0, 0.0])
            .collect(),
        elements: vec![6; clouds],
        offsets: (0..=clouds as u64).collect(),
    };
    input.write(&folder.input());
    let options = [
        "--lmax",
        "1",
        "--nmax",
        "3",
        "--channels",
        "C",
        "--weighting",
        "none",
    ];
    folder.run(&options).success();
    let (all, shape, settings) = folder.zernikegrams();
    assert_eq!(shape, [clouds, settings.irreps().dim()]);
    // The coefficient n = 1, m = -1 is proportional to x: no row is missing or written twice.
    let dim = shape[1];
    let mut seen: Vec<u32> = all.chunks(dim).map(|z| z[2].to_bits()).collect();
    assert!(seen.iter().all(|&bits| bits != 0));
    seen.dedup();
    assert!(seen.len() > clouds - 10);
    let first = store::open(&folder.output(), Kind::Zernikegrams)
        .unwrap()
        .header()
        .unwrap()
        .digest;
    let mut command = common::holosig_on(2);
    command
        .arg("zernike")
        .args([folder.input(), folder.output()])
        .args(options);
    common::run(&mut command).success();
    let again = store::open(&folder.output(), Kind::Zernikegrams)
        .unwrap()
        .header()
        .unwrap()
        .digest;
    assert_eq!(first, again);
}

#[test]
fn bad_files_are_refused_in_one_line() {
    let folder = Folder::new();
    folder.refused(&[], "no such file");
    std::fs::write(folder.input(), b"\x00\x01not hdf5").unwrap();
    folder.refused(&[], "not an HDF5 file");

    let with = |change: fn(&mut Input)| {
        let mut input = Input::reference();
        change(&mut input);
        input.write(&folder.input());
    };
    with(|i| i.coordinates[3 * 60 + 1] = f32::NAN);
    folder.refused(
        &[],
        "dataset /coordinates: row 60 (cloud 1): not a finite number",
    );
    with(|i| i.coordinates[0] = f32::INFINITY);
    folder.refused(&[], "dataset /coordinates: row 0 (cloud 0)");
    with(|i| i.elements[7] = 200);
    folder.refused(&[], "dataset /elements: row 7: 200 is no atomic number");
    with(|i| i.offsets[3] = 10);
    folder.refused(&[], "dataset /offsets: descends from 119 to 10 at row 3");
    with(|i| *i.offsets.last_mut().unwrap() = 485);
    folder.refused(&[], "dataset /offsets: runs from 0 to 485, where 0 to 484");
    with(|i| i.offsets[0] = 2);
    folder.refused(&[], "dataset /offsets: runs from 2");
    with(|i| i.offsets.clear());
    folder.refused(&[], "dataset /offsets: empty");
    with(|i| i.offsets.truncate(1));
    folder.refused(&[], "dataset /offsets: one value, so no clouds");
}

#[test]
fn missing_and_misshapen_datasets_are_named() {
    let folder = Folder::new();
    let input = Input::reference();
    let atoms = input.elements.len();
    for missing in ["coordinates", "elements", "offsets"] {
        input.write(&folder.input());
        hdf5::File::open_rw(folder.input())
            .unwrap()
            .unlink(missing)
            .unwrap();
        folder.refused(&[], &format!("no dataset /{missing}"));
    }
    let replaced = |name: &str, write: &dyn Fn(&hdf5::File)| {
        input.write(&folder.input());
        let file = hdf5::File::open_rw(folder.input()).unwrap();
        file.unlink(name).unwrap();
        write(&file);
    };
    replaced("coordinates", &|f| {
        put(f, "coordinates", &[3, atoms], &input.coordinates)
    });
    folder.refused(
        &[],
        "dataset /coordinates: shape [3, 484], where [atoms, 3] is needed",
    );
    replaced("coordinates", &|f| {
        put(f, "coordinates", &[atoms, 3], &vec![1i32; 3 * atoms])
    });
    folder.refused(
        &[],
        "dataset /coordinates: holds int32, where floats are needed",
    );
    replaced("elements", &|f| {
        put(f, "elements", &[atoms - 1], &input.elements[1..])
    });
    folder.refused(&[], "dataset /elements: shape [483], where [484] is needed");
    replaced("elements", &|f| {
        put(f, "elements", &[atoms], &vec![6f32; atoms])
    });
    folder.refused(
        &[],
        "dataset /elements: holds float32, where integers are needed",
    );
    replaced("elements", &|f| {
        put(f, "elements", &[atoms], &vec![262i64; atoms])
    });
    folder.refused(&[], "dataset /elements: row 0: 262 is no atomic number");
    replaced("offsets", &|f| {
        put(f, "offsets", &[9], &[0i64, 1, 2, 3, 4, 5, -6, 7, 8])
    });
    folder.refused(&[], "dataset /offsets: element 6 is -6");

    // Other widths of the right class are fine.
    replaced("elements", &|f| {
        let wide: Vec<i64> = input.elements.iter().map(|&e| e as i64).collect();
        put(f, "elements", &[atoms], &wide);
    });
    folder.run(&[]).success();
}

#[test]
fn bad_settings_are_refused() {
    let folder = Folder::new();
    Input::reference().write(&folder.input());
    for (options, text) in [
        (["--lmax", "15"], "lmax = 15"),
        (["--nmax", "3"], "nmax = 3: must be at least lmax = 6"),
        (["--cutoff", "nan"], "cutoff = NaN"),
        (["--channels", "C,Q"], "channel \"Q\": no such element"),
        (["--channels", "C,C"], "C is named twice"),
        (["--weighting", "cube"], "expected `none` or `square`"),
        (["--binomial", "floor"], "expected `published` or `exact`"),
    ] {
        folder.run(&options).failure(2, text);
        folder.nothing_left();
    }
}
