//! What is read of a file of `torch.save`, and how often.

#[path = "../../../tests/common/torch.rs"]
mod written;

use super::*;
use written::{Array, archive, pickle, state_dict};

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
