//! Gzipped files: a structure in one member and in two.

use super::{Target, pdb};
use crate::packed::gzip;

pub const TARGET: Target = Target {
    corpus: || {
        let text = pdb::chains();
        let (head, tail) = text.split_at(text.len() / 2);
        vec![
            gzip(text.as_bytes()),
            [gzip(head.as_bytes()), gzip(tail.as_bytes())].concat(),
        ]
    },
    words: &["\u{1f}", "\u{8}"],
    ending: ".pdb.gz",
    read: pdb::structure,
};
