//! QM9 in one HDF5 file, which a child process reads first.

use super::Target;
use super::hdf5::examined;
use super::systems::READER;

pub const TARGET: Target = Target {
    corpus: || vec![molecules()],
    words: &["train", "atom_ptr", "targets", "bonds", "HDF", "OHDR", "TREE", "HEAP", "SNOD"],
    ending: ".h5",
    read: |path| {
        examined(path)?;
        (READER.read)(path)
    },
};

fn molecules() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.h5");
    let file = ::hdf5::File::create(&path).unwrap();
    let group = file.create_group("train").unwrap();
    // What makes a dataset keeps its file open: none outlives its line.
    let new = || group.new_dataset_builder();
    new().with_data(&[1i32, 2]).create("index").unwrap();
    new().with_data(&[0i32, 2, 3]).create("atom_ptr").unwrap();
    new().with_data(&[8u8, 1, 6]).create("z").unwrap();
    let places = ndarray::Array2::from_shape_fn((3, 3), |(i, k)| (i + k) as f32);
    new().with_data(&places).create("pos").unwrap();
    let targets = ndarray::Array2::from_elem((2, 12), -0.5f64);
    let packed = new().chunk([1, 12]).deflate(4);
    packed.with_data(&targets).create("targets").unwrap();
    new().with_data(&[0i32, 1, 1]).create("bond_ptr").unwrap();
    new().with_data(&ndarray::arr2(&[[0u8, 1, 1]])).create("bonds").unwrap();
    drop(group);
    file.close().unwrap();
    std::fs::read(path).unwrap()
}
