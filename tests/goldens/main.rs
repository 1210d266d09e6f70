//! Networks of atoms and of residues against stored numbers of the published code: every group of every file in
//! `$HOLOSIG_GOLDEN/geom3d`, or of the small files in `tests/fixtures/geom3d`.
//!
//! A family is a layout of files, and its networks: a file here, a line in [`FAMILIES`]. It reads
//! sizes and settings from the attributes of each group and makes a [`Golden`] of it.

#[path = "../common/graphs.rs"]
mod graphs;
#[path = "../common/numbers.rs"]
mod numbers;

mod case;
mod file;
mod invariant;
mod pretraining;
mod residues;
mod sphere;
mod spherical;

use candle_core::DType;
use std::path::PathBuf;

/// What the published code makes of an input, to be compared.
trait Golden {
    /// Predictions, losses and their gradients.
    fn check(&self, dtype: DType, tolerance: f64);

    /// The losses of some steps of training.
    fn check_training(&self);
}

type Cases = Vec<Box<dyn Golden>>;

/// A layout of files.
struct Family {
    /// The networks of this layout.
    networks: &'static [&'static str],
    /// The cases of a network's file.
    cases: fn(&hdf5::File, &str) -> Cases,
}

const FAMILIES: &[Family] = &[invariant::FAMILY, residues::FAMILY, spherical::FAMILY];

/// All files, in order of their names.
fn files() -> Vec<PathBuf> {
    let own = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/geom3d"
    ));
    let folder = std::env::var_os("HOLOSIG_GOLDEN")
        .map(|folder| PathBuf::from(folder).join("geom3d"))
        .filter(|folder| folder.is_dir())
        .unwrap_or(own);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder:?}: {e}"));
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "h5"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder:?} has no files");
    paths
}

/// The cases of all files.
fn cases() -> Cases {
    let of_file = |path: PathBuf| {
        let file = hdf5::File::open(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        let network = file::network(&file);
        if network == pretraining::FILE {
            return Vec::new();
        }
        let family = FAMILIES.iter().find(|f| f.networks.contains(&&*network));
        let family = family.unwrap_or_else(|| panic!("{path:?}: no network {network}"));
        let cases = (family.cases)(&file, &network);
        assert!(!cases.is_empty(), "{path:?} has no group that is a case");
        cases
    };
    files().into_iter().flat_map(of_file).collect()
}

#[test]
fn double_precision() {
    cases()
        .iter()
        .for_each(|case| case.check(DType::F64, 1e-11));
}

#[test]
fn single_precision() {
    cases().iter().for_each(|case| case.check(DType::F32, 5e-6));
}

#[test]
fn training() {
    cases().iter().for_each(|case| case.check_training());
}
