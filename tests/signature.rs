//! `holosig signature` through the program.

mod common;

use common::{holosig, holosig_on, run};
use hdf5::File;
use ndarray::{Array3, s};
use std::path::{Path, PathBuf};
use std::process::Command;

const GOLDEN: &str = "tests/fixtures/signature_c3_d5_f64.h5";

fn golden(dataset: &str) -> Vec<f64> {
    let file = File::open(GOLDEN).unwrap();
    let name = format!("random_L25/{dataset}");
    file.dataset(&name).unwrap().read_raw().unwrap()
}

fn paths() -> Array3<f64> {
    Array3::from_shape_vec((3, 25, 3), golden("path")).unwrap()
}

fn write<T: hdf5::H5Type>(folder: &Path, data: &Array3<T>) -> PathBuf {
    let file = folder.join("in.h5");
    let h5 = File::create(&file).unwrap();
    h5.new_dataset_builder()
        .with_data(data)
        .create("path")
        .unwrap();
    file
}

fn signature(input: &Path, output: &Path, options: &[&str]) -> Command {
    let mut command = holosig();
    command
        .arg("signature")
        .arg(input)
        .arg(output)
        .args(options);
    command
}

fn close(ours: &[f64], reference: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), reference.len());
    let scale = reference.iter().fold(1.0f64, |m, x| m.max(x.abs()));
    for (a, b) in ours.iter().zip(reference) {
        assert!((a - b).abs() <= tolerance * scale, "{a} against {b}");
    }
}

#[test]
fn signatures_equal_the_golden_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.h5");
    for (options, dataset, levels) in [
        (&[][..], "sig", [0u64, 3, 12, 39, 120, 363]),
        (&["--log"], "logsig_words", [0, 3, 6, 14, 32, 80]),
        (
            &["--log", "--basis", "words"],
            "logsig_words",
            [0, 3, 6, 14, 32, 80],
        ),
        (
            &["--log", "--basis", "expand"],
            "logsig_expand",
            [0, 3, 12, 39, 120, 363],
        ),
    ] {
        let options = [&["--depth", "5"], options].concat();
        for single in [false, true] {
            let input = match single {
                true => write(folder.path(), &paths().mapv(|v| v as f32)),
                false => write(folder.path(), &paths()),
            };
            run(&mut signature(&input, &output, &options)).success();
            let file = File::open(&output).unwrap();
            let out = file.dataset("signature").unwrap();
            assert_eq!(out.dtype().unwrap().is::<f32>(), single);
            assert_eq!(out.shape(), [3, levels[5] as usize]);
            assert_eq!(
                file.attr("levels").unwrap().read_raw::<u64>().unwrap(),
                levels
            );
            let tolerance = if single { 1e-5 } else { 1e-12 };
            close(&out.read_raw().unwrap(), &golden(dataset), tolerance);
        }
    }
}

/// More paths than fit one read, each the same as alone.
#[test]
fn long_files_are_streamed() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.h5");
    let data = Array3::from_shape_fn((9, 200, 40), |(b, t, c)| {
        ((b + 1) * (c + 2) + t * (c + 1)) as f64 * 0.7 % 1.3
    });
    let input = write(folder.path(), &data);
    // 65,640 terms of 8 bytes, and again with a depth that gives 2.6 million: several reads.
    run(&mut signature(&input, &output, &["--depth", "4"])).success();
    let out = File::open(&output).unwrap().dataset("signature").unwrap();
    assert_eq!(out.shape(), [9, 40 + 1600 + 64_000 + 2_560_000]);
    let eighth = out.read_slice_1d::<f64, _>(s![7, ..]).unwrap();
    let one = data.slice(s![7..8, .., ..]).to_owned();
    let input = write(folder.path(), &one);
    run(&mut signature(&input, &output, &["--depth", "4"])).success();
    let out = File::open(&output).unwrap().dataset("signature").unwrap();
    assert_eq!(out.read_raw::<f64>().unwrap(), eighth.to_vec());
}

#[test]
fn output_bytes_do_not_depend_on_threads() {
    let folder = tempfile::tempdir().unwrap();
    let input = write(folder.path(), &paths());
    let bytes = |threads: &str| {
        let output = folder.path().join("out.h5");
        let mut command = signature(&input, &output, &["--depth", "4", "--log"]);
        run(command.env("RAYON_NUM_THREADS", threads)).success();
        std::fs::read(output).unwrap()
    };
    assert!(bytes("1") == bytes("3"));
}

#[test]
fn under_mpirun_rank_0_works() {
    let folder = tempfile::tempdir().unwrap();
    let input = write(folder.path(), &paths());
    let output = folder.path().join("out.h5");
    let mut command = holosig_on(2);
    command.arg("signature").arg(&input).arg(&output);
    run(command.args(["--depth", "5"])).success();
    let out = File::open(&output).unwrap().dataset("signature").unwrap();
    close(&out.read_raw().unwrap(), &golden("sig"), 1e-12);
    let mut command = holosig_on(2);
    command
        .arg("signature")
        .arg(folder.path().join("none.h5"))
        .arg(&output);
    run(command.args(["--depth", "5"])).failure(2, "none.h5: no such file");
}

#[test]
fn bad_input_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.h5");
    let fails = |input: &Path, options: &[&str], text: &str| {
        run(&mut signature(input, &output, options)).failure(2, text);
        assert!(!output.exists());
    };
    let depth = ["--depth", "2"];
    fails(
        &folder.path().join("none.h5"),
        &depth,
        "none.h5: no such file",
    );
    let text = folder.path().join("text.h5");
    std::fs::write(&text, "hello").unwrap();
    fails(&text, &depth, "text.h5: not an HDF5 file");
    let empty = folder.path().join("empty.h5");
    File::create(&empty).unwrap();
    fails(&empty, &depth, "no dataset /path");

    let mut data = paths();
    data[[1, 4, 2]] = f64::NAN;
    fails(
        &write(folder.path(), &data),
        &depth,
        "path 1, point 4, channel 2 is NaN",
    );
    let none = Array3::<f64>::zeros((3, 0, 2));
    fails(
        &write(folder.path(), &none),
        &depth,
        "[3, 0, 2] holds no path",
    );
    let whole = Array3::<i32>::zeros((3, 4, 2));
    fails(
        &write(folder.path(), &whole),
        &depth,
        "holds int32, where floats are needed",
    );
    let flat = folder.path().join("flat.h5");
    let h5 = File::create(&flat).unwrap();
    h5.new_dataset_builder()
        .with_data(&[1.0, 2.0])
        .create("path")
        .unwrap();
    drop(h5);
    fails(
        &flat,
        &depth,
        "shape [2], where [batch, time, channels] is needed",
    );

    let input = write(folder.path(), &paths());
    fails(&input, &["--depth", "0"], "invalid value '0'");
    fails(
        &input,
        &["--depth", "2", "--basis", "words"],
        "arguments were not provided",
    );
    fails(
        &input,
        &["--depth", "26"],
        "GiB are free; choose a smaller depth",
    );
    fails(
        &input,
        &["--depth", "60"],
        "is too long; choose a smaller depth",
    );
    let further = folder.path().join("missing").join("out.h5");
    run(&mut signature(&input, &further, &depth)).success();
    assert!(further.exists(), "its folder is made");
}
