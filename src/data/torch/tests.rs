//! What is read of a file of `torch.save`, and how often.

#[path = "../../../tests/common/torch.rs"]
mod written;

use super::*;
use written::{Array, archive, dictionary, global, legacy, pickle, state_dict, tuple};

/// Bytes that this thread has read so far.
fn bytes_read() -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    let count = told.lines().find_map(|l| l.strip_prefix("rchar: "));
    count.unwrap().parse().unwrap()
}

#[test]
fn only_what_is_asked_for_is_read_and_each_storage_once() {
    const NUMBERS: i64 = 1 << 18;
    const TENSORS: i64 = 100;
    let array = |name: String, key: &str, offset: i64| Array {
        name,
        class: "FloatStorage",
        key: key.into(),
        stored: NUMBERS,
        offset,
        shape: vec![1],
        strides: vec![1],
    };
    let names: Vec<String> = (0..TENSORS).map(|i| format!("tied.{i}")).collect();
    let tied = (0..).zip(&names);
    let mut arrays: Vec<Array> = tied.map(|(i, name)| array(name.clone(), "0", i)).collect();
    arrays.push(array("gone".into(), "1", 0));
    let stored: Vec<u8> = (0..NUMBERS)
        .flat_map(|i| (i as f32).to_le_bytes())
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.pt");
    let whole = archive(&pickle(&state_dict(&arrays)), &[("0".into(), stored)]);
    std::fs::write(&path, whole).unwrap();

    let mut file = TorchFile::open(&path).unwrap();
    let wanted = |name| Wanted { name, shape: &[1] };
    let all: Vec<Wanted> = names.iter().map(|name| wanted(name.as_str())).collect();
    let before = bytes_read();
    let values = file.read(&all).unwrap().concat();
    let read = bytes_read() - before;
    assert!(values.into_iter().eq((0..TENSORS).map(|i| i as f32)));
    assert!(read < 2 * 4 * NUMBERS as u64, "{read} bytes are read");
    let told = file.read(&[wanted("gone")]).unwrap_err().to_string();
    assert!(told.contains("no entry \"model/data/1\""), "{told}");
}

/// What opening a file of these bytes and asking for the shape of its tensor `x` is refused with.
fn refused(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.pt");
    std::fs::write(&path, bytes).unwrap();
    let shape =
        TorchFile::open(&path).and_then(|file| file.shape("x").map(|s| s.map(<[_]>::to_vec)));
    shape.unwrap_err().to_string()
}

#[test]
fn a_tensor_with_too_few_arguments_is_refused() {
    let call = |module: &str, name: &str, arguments: &[Vec<u8>]| {
        [&global(module, name)[..], &tuple(arguments), b"R"].concat()
    };
    let none = || b"N".to_vec();
    let rebuild = || global("torch._utils", "_rebuild_tensor_v2");
    let mut cases = Vec::new();
    for (module, name, needed) in [
        ("torch._utils", "_rebuild_tensor", 4),
        ("torch._utils", "_rebuild_tensor_v2", 4),
        ("torch._utils", "_rebuild_tensor_v3", 7),
        ("torch._utils", "_rebuild_parameter", 1),
        ("torch._utils", "_rebuild_parameter_with_state", 1),
        ("torch._tensor", "_rebuild_from_type_v2", 3),
    ] {
        for given in 0..needed {
            let arguments = vec![none(); given];
            let what = format!("{name} of {given}");
            cases.push((what, call(module, name, &arguments)));
        }
    }
    for given in 0..4 {
        let inner = tuple(&vec![none(); given]);
        let arguments = [rebuild(), none(), inner];
        let typed = call("torch._tensor", "_rebuild_from_type_v2", &arguments);
        cases.push((format!("typed of {given}"), typed));
        let plain = call("torch._utils", "_rebuild_tensor_v2", &vec![none(); given]);
        let parameter = call("torch._utils", "_rebuild_parameter", &[plain]);
        cases.push((format!("parameter of {given}"), parameter));
    }
    for (what, tensor) in cases {
        let told = refused(&archive(&pickle(&dictionary(&[("x", tensor)])), &[]));
        assert!(told.starts_with("tensor x "), "{what}: {told}");
        assert!(told.ends_with("has too few arguments"), "{what}: {told}");
    }
}

#[test]
fn a_storage_of_an_old_file_that_goes_beyond_it_is_refused() {
    let x = |key: &str, name: &str| Array {
        name: name.into(),
        class: "FloatStorage",
        key: key.into(),
        stored: 12,
        offset: 0,
        shape: vec![12],
        strides: vec![1],
    };
    let body = pickle(&state_dict(&[x("0", "x"), x("1", "y")]));
    let stored = |numbers: [i64; 2]| {
        let storages = [0, 1].map(|i| (i.to_string(), numbers[i], vec![0; 48]));
        legacy(&body, true, &storages)
    };
    let good = stored([12, 12]);
    let cases = [
        (good[..good.len() - 1].to_vec(), "\"1\" of 12 numbers"),
        (stored([12, 13]), "\"1\" of 13 numbers"),
        (stored([27, 12]), "\"0\" of 27 numbers"),
        (
            stored([12, i64::MAX]),
            "\"1\" of 9223372036854775807 numbers",
        ),
    ];
    for (bytes, what) in cases {
        let told = refused(&bytes);
        assert!(told.contains("m.pt: "), "{told}");
        assert!(
            told.contains(&format!("storage {what} goes beyond the file")),
            "{told}"
        );
    }
}
