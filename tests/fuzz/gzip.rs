//! Gzipped files: a structure in one member and in two.

use super::{Target, pdb};
use flate2::{Compression, write::GzEncoder};
use std::io::Write;

pub const TARGET: Target = Target {
    corpus: || {
        let text = pdb::chains();
        let (head, tail) = text.split_at(text.len() / 2);
        vec![
            packed(text.as_bytes()),
            [packed(head.as_bytes()), packed(tail.as_bytes())].concat(),
        ]
    },
    words: &["\u{1f}", "\u{8}"],
    ending: ".pdb.gz",
    read: pdb::structure,
};

fn packed(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}
