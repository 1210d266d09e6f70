//! HDF5 files of a user, which a child process reads first: clouds of atoms for `holosig zernike`.

use super::Target;
use holosig::child::is_served;
use holosig::data::zernikegrams::transform_file;
use holosig::ops::zernike::Settings;
use holosig::store::examine;
use std::path::Path;

pub const TARGET: Target = Target {
    corpus: || vec![clouds()],
    words: &["coordinates", "elements", "offsets", "HDF", "OHDR", "TREE", "HEAP", "SNOD", "GCOL"],
    ending: ".h5",
    read,
};

fn clouds() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.h5");
    let file = ::hdf5::File::create(&path).unwrap();
    let points = ndarray::Array2::from_shape_fn((6, 3), |(i, k)| (i + k) as f32 * 0.5);
    // What makes a dataset keeps its file open: none outlives its line.
    let new = || file.new_dataset_builder();
    new().with_data(&points).create("coordinates").unwrap();
    let elements = ndarray::arr1(&[6i32, 7, 8, 6, 6, 16]);
    let packed = new().chunk([3]).deflate(4);
    packed.with_data(&elements).create("elements").unwrap();
    let offsets = ndarray::arr1(&[0u64, 2, 6]);
    new().with_data(&offsets).create("offsets").unwrap();
    file.close().unwrap();
    std::fs::read(path).unwrap()
}

/// Where no child process reads a file first, this one does, as a child would.
pub fn examined(path: &Path) -> holosig::Result<()> {
    match is_served() {
        true => Ok(()),
        false => examine(path, &mut || Ok(())),
    }
}

fn read(path: &Path) -> holosig::Result<()> {
    examined(path)?;
    let settings = Settings { lmax: 2, nmax: 4, ..Settings::default() };
    transform_file(path, &path.with_file_name("out.h5"), &settings).map(drop)
}
