//! Trajectories of rMD17 and MD17.

use super::Target;
use super::systems::READER;
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

pub const TARGET: Target = Target {
    corpus: || vec![frames()],
    words: &["PK\u{3}\u{4}", "NUMPY", "'descr'", "'<f8'", "'|u1'", "True", "(2, 2, 3)", ".npy"],
    ending: ".npz",
    ..READER
};

/// Two frames of two atoms.
fn frames() -> Vec<u8> {
    let mut file = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let floats = |n: u8| (0..n).flat_map(|i| f64::from(i).to_le_bytes()).collect();
    for (name, kind, shape, values) in [
        ("nuclear_charges", "|u1", "(2,)", vec![8u8, 1]),
        ("coords", "<f8", "(2, 2, 3)", floats(12)),
        ("energies", "<f8", "(2,)", floats(2)),
        ("forces", "<f8", "(2, 2, 3)", floats(12)),
    ] {
        file.start_file(format!("{name}.npy"), options).unwrap();
        let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
        file.write_all(b"\x93NUMPY\x01\x00").unwrap();
        file.write_all(&(header.len() as u16).to_le_bytes()).unwrap();
        file.write_all(header.as_bytes()).unwrap();
        file.write_all(&values).unwrap();
    }
    file.finish().unwrap().into_inner()
}
