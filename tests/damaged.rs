//! Files whose damage leads libraries astray: HDF5 of a user, HDF5 of ours with a checksum that was
//! made to fit, NetCDF. Each is read or refused in one line; the program never dies of it.

mod common;

use common::{Outcome, holosig, run};
use std::path::Path;
use xxhash_rust::xxh3::xxh3_128;

/// Success, or exit code 2 with one line that names the file.
#[track_caller]
fn read_or_refused(outcome: Outcome, file: &str) -> bool {
    match outcome.code {
        0 => true,
        2 => {
            outcome.failure(2, &format!("{file}: "));
            false
        }
        _ => panic!("{outcome:#?}"),
    }
}

/// Places in a file: every one of the first, and some of the others.
fn places(length: usize, step: usize) -> impl Iterator<Item = usize> {
    (0..length).step_by(step)
}

fn clouds(path: &Path) {
    let file = hdf5::File::create(path).unwrap();
    let points = ndarray::Array2::from_shape_fn((6, 3), |(i, k)| (i + k) as f32 * 0.5);
    let put = file.new_dataset_builder().with_data(&points);
    put.create("coordinates").unwrap();
    let elements = ndarray::arr1(&[6i32, 7, 8, 6, 6, 16]);
    let put = file.new_dataset_builder();
    let put = put.chunk([3]).deflate(4).with_data(&elements);
    put.create("elements").unwrap();
    let offsets = ndarray::arr1(&[0u64, 2, 6]);
    let put = file.new_dataset_builder().with_data(&offsets);
    put.create("offsets").unwrap();
    file.close().unwrap();
}

#[test]
fn a_changed_byte_in_a_users_hdf5_file_ends_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("in.h5"), folder.path().join("out.h5"));
    clouds(&path);
    let good = std::fs::read(&path).unwrap();
    let (mut read, mut refused) = (0, 0);
    for at in places(good.len(), 67) {
        let mut bad = good.clone();
        bad[at] ^= 0xa5;
        std::fs::write(&path, &bad).unwrap();
        let _ = std::fs::remove_file(&out);
        let mut command = holosig();
        command.arg("zernike").arg(&path).arg(&out);
        command.args(["--lmax", "2", "--nmax", "4"]);
        match read_or_refused(run(&mut command), "in.h5") {
            true => read += 1,
            false => refused += 1,
        }
    }
    assert!(read > 0 && refused > 0, "{read} read, {refused} refused");
}

#[test]
fn a_shape_that_the_file_cannot_hold_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.h5");
    let file = hdf5::File::create(&path).unwrap();
    for (name, shape) in [
        ("coordinates", vec![1 << 40, 3]),
        ("elements", vec![1 << 40]),
    ] {
        let chunk = vec![1; shape.len()];
        let new = file.new_dataset::<f32>().shape(shape).chunk(chunk);
        new.create(name).unwrap();
    }
    let new = file.new_dataset::<u64>().shape(1usize << 60).chunk(1);
    new.create("offsets").unwrap();
    // What makes a dataset keeps its file open.
    drop(new);
    file.close().unwrap();
    let mut command = holosig();
    let out = folder.path().join("out.h5");
    command.arg("zernike").arg(&path).arg(out);
    run(&mut command).failure(
        2,
        "in.h5: dataset /offsets: shape [1152921504606846976] is more than",
    );
}

/// One row of a dataset that the program does not even need takes more memory than a child may have.
#[test]
fn a_users_hdf5_file_on_which_its_reader_dies_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("in.h5"), folder.path().join("out.h5"));
    clouds(&path);
    let zernike = || {
        let mut command = holosig();
        command.arg("zernike").arg(&path).arg(&out);
        command.args(["--lmax", "2", "--nmax", "4"]);
        run(&mut command)
    };
    zernike().success();
    std::fs::remove_file(&out).unwrap();
    let file = hdf5::File::append(&path).unwrap();
    // The file is long enough to hold such a row, as far as can be told beforehand.
    let bytes = vec![1u8; 1 << 21];
    let put = file.new_dataset_builder().with_data(&bytes);
    put.create("long").unwrap();
    let new = file.new_dataset::<f32>().shape([1, 1 << 28]);
    let new = new.chunk([1, 1 << 20]);
    new.create("wide").unwrap();
    // What makes a dataset keeps its file open.
    drop((put, new));
    file.close().unwrap();
    let told = "in.h5: damaged: the process that read it was ended by signal ";
    let outcome = zernike();
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:#?}");
    outcome.failure(2, told);
    assert!(!out.exists());
}

#[test]
fn a_checkpoint_with_a_checksum_that_was_made_to_fit_ends_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.h5");
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/published_small");
    let mut import = holosig();
    import.arg("import");
    import.args(["model.pt", "hparams.json"].map(|f| published.join(f)));
    run(import.arg("--out").arg(&path)).success();
    let good = std::fs::read(&path).unwrap();
    let line = String::from_utf8_lossy(&good[..512]).into_owned();
    let digest = line.find("xxh3-128=").unwrap() + 9;
    let mut refused = 0;
    for at in places(good.len() - 512, good.len() / 70) {
        let mut bad = good.clone();
        // Not the numbers of the model, which may be any, but what leads to them.
        bad[512 + at] ^= 0xff;
        let hash = format!("{:032x}", xxh3_128(&bad[512..]));
        bad[digest..digest + 32].copy_from_slice(hash.as_bytes());
        std::fs::write(&path, &bad).unwrap();
        let read = read_or_refused(run(holosig().arg("hash").arg(&path)), "m.h5");
        refused += usize::from(!read);
    }
    // Damage without a checksum that fits is found by the checksum.
    std::fs::write(
        &path,
        [&good[..good.len() - 1], &[!good[good.len() - 1]]].concat(),
    )
    .unwrap();
    run(holosig().arg("hash").arg(&path)).failure(2, "m.h5: damaged: its content");
    assert!(refused < 70, "{refused}");
}
