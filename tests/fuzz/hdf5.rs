//! HDF5 files of a user: clouds of atoms for `holosig zernike`.

use super::{Target, program};
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

fn read(path: &Path) -> holosig::Result<()> {
    let folder = path.parent().unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let _ = std::fs::remove_file(folder.join("out.h5"));
    program::run(&["zernike", name, "out.h5", "--lmax", "2", "--nmax", "4"], folder)
}
