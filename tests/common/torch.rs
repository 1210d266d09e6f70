//! Files as PyTorch writes them, byte by byte, for tests that need what no PyTorch writes too.

#![allow(dead_code)]

use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A tensor of a pickle.
#[derive(Clone)]
pub struct Array {
    pub name: String,
    /// `FloatStorage`
    pub class: &'static str,
    /// Of its storage.
    pub key: String,
    /// Numbers of its storage.
    pub stored: i64,
    pub offset: i64,
    pub shape: Vec<i64>,
    pub strides: Vec<i64>,
}

/// Strides of a tensor whose numbers lie one after another.
pub fn row_major(shape: &[i64]) -> Vec<i64> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

pub fn text(text: &str) -> Vec<u8> {
    let len = (text.len() as u32).to_le_bytes();
    [b"X", &len[..], text.as_bytes()].concat()
}

/// `LONG1` of eight bytes.
pub fn int(value: i64) -> Vec<u8> {
    [&[0x8a, 8], &value.to_le_bytes()[..]].concat()
}

pub fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

pub fn tuple(members: &[Vec<u8>]) -> Vec<u8> {
    [b"(", &members.concat()[..], b"t"].concat()
}

fn ints(values: &[i64]) -> Vec<u8> {
    tuple(&values.iter().map(|&v| int(v)).collect::<Vec<_>>())
}

/// A call of `_rebuild_tensor_v2`.
pub fn tensor(a: &Array) -> Vec<u8> {
    let storage = tuple(&[
        text("storage"),
        global("torch", a.class),
        text(&a.key),
        text("cpu"),
        int(a.stored),
    ]);
    let hooks = [global("collections", "OrderedDict"), b")R".to_vec()].concat();
    let arguments = tuple(&[
        [&storage[..], b"Q"].concat(),
        int(a.offset),
        ints(&a.shape),
        ints(&a.strides),
        vec![0x89],
        hooks,
    ]);
    [
        &global("torch._utils", "_rebuild_tensor_v2"),
        &arguments[..],
        b"R",
    ]
    .concat()
}

/// A dictionary; keys are texts.
pub fn dictionary(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = b"}(".to_vec();
    for (key, value) in entries {
        bytes.extend(text(key));
        bytes.extend(value);
    }
    bytes.push(b'u');
    bytes
}

/// An `OrderedDict` of tensors.
pub fn state_dict(arrays: &[Array]) -> Vec<u8> {
    let mut bytes = [&global("collections", "OrderedDict")[..], b")R("].concat();
    for array in arrays {
        bytes.extend(text(&array.name));
        bytes.extend(tensor(array));
    }
    bytes.push(b'u');
    bytes
}

/// A pickle of protocol 2.
pub fn pickle(body: &[u8]) -> Vec<u8> {
    [&[0x80, 2], body, b"."].concat()
}

/// A zip archive as `torch.save` writes it.
pub fn archive(pickle: &[u8], storages: &[(String, Vec<u8>)]) -> Vec<u8> {
    archive_with(pickle, storages, CompressionMethod::Stored, "little")
}

pub fn archive_with(
    pickle: &[u8],
    storages: &[(String, Vec<u8>)],
    method: CompressionMethod,
    order: &str,
) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    let mut entry = |name: &str, bytes: &[u8]| {
        zip.start_file(name, options).unwrap();
        zip.write_all(bytes).unwrap();
    };
    entry("model/data.pkl", pickle);
    entry("model/byteorder", order.as_bytes());
    for (key, bytes) in storages {
        entry(&format!("model/data/{key}"), bytes);
    }
    zip.finish().unwrap().into_inner()
}

/// A file of PyTorch before 1.6; `numbers` of each storage come before its bytes.
pub fn legacy(pickle_: &[u8], little: bool, storages: &[(String, i64, Vec<u8>)]) -> Vec<u8> {
    let magic = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
    let order = vec![if little { 0x88 } else { 0x89 }];
    let mut bytes = [
        pickle(magic),
        pickle(&int(1001)),
        pickle(&dictionary(&[("little_endian", order)])),
        pickle_.to_vec(),
    ]
    .concat();
    let keys: Vec<Vec<u8>> = storages.iter().map(|(key, ..)| text(key)).collect();
    bytes.extend(pickle(&[b"](", &keys.concat()[..], b"e"].concat()));
    for (_, numbers, stored) in storages {
        bytes.extend(numbers.to_le_bytes());
        bytes.extend(stored);
    }
    bytes
}
