//! PyTorch files, new and old, and the numbers of their tensors.

use super::Target;
use super::written::{Array, archive, dictionary, legacy, pickle, row_major, state_dict};
use holosig::Result;
use holosig::data::torch::Wanted;
use holosig::models::state_dict::StateDict;
use std::path::Path;

/// A view may repeat a number: numbers of a tensor that a model of the tests could want.
const MOST: usize = 1 << 20;

pub const TARGET: Target = Target {
    corpus: || {
        let body = dictionary(&[("epoch", b"K\x05".to_vec()), ("model", state_dict(&arrays()))]);
        let stored: Vec<(String, Vec<u8>)> = (0..2).map(|i| (i.to_string(), vec![i; 48])).collect();
        let old: Vec<_> = stored.iter().map(|(key, bytes)| (key.clone(), 12, bytes.clone())).collect();
        let framed = [&b"\x80\x04\x95\x30\0\0\0\0\0\0\0}\x94\x8c\x05model\x94"[..], &state_dict(&arrays()), b"s."];
        vec![
            archive(&pickle(&body), &stored),
            archive(&framed.concat(), &stored),
            legacy(&pickle(&body), true, &old),
        ]
    },
    words: &[
        "torch._utils\n_rebuild_tensor_v2\n", "torch._utils\n_rebuild_parameter\n",
        "torch\nHalfStorage\n", "cos\nsystem\n", "collections\nOrderedDict\n", "model/data/0",
        "PK\x01\x02", "(", ")", "t", "R", "Q", "u", "}", "]", "2", "\u{85}",
    ],
    ending: ".pt",
    read: read_all,
};

fn arrays() -> Vec<Array> {
    let array = |name: &str, key: &str, shape: &[i64]| Array {
        name: name.into(),
        class: "FloatStorage",
        key: key.into(),
        stored: 12,
        offset: 0,
        shape: shape.to_vec(),
        strides: row_major(shape),
    };
    vec![array("a.weight", "0", &[3, 4]), array("a.bias", "1", &[4]), array("tied", "1", &[2, 6])]
}

/// Reads every tensor of a file of weights that is not too large.
pub fn read_all(path: &Path) -> Result<()> {
    let mut file = StateDict::open(path)?;
    for name in file.names() {
        let shape = file.shape(&name)?.unwrap_or_default().to_vec();
        if shape.iter().try_fold(1usize, |len, &d| len.checked_mul(d)).is_some_and(|len| len <= MOST) {
            file.read(&[Wanted { name: &name, shape: &shape }])?;
        }
    }
    Ok(())
}
