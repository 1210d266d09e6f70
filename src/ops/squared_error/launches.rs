//! The op on a GPU.

use crate::ops::device::{Arg, Kind, Sequence};

const MODULE: &str = "squared_error";
const BLOCK: [usize; 3] = [256, 1, 1];

/// Inputs x, target, weights; output the sums of the samples.
pub fn forward(batch: usize, dim: usize) -> Sequence {
    let (mut s, inputs) = inputs(batch, dim);
    let out = s.output(Kind::F32, batch);
    let args = [&inputs[..], &[out, Arg::I32(dim as i32)]].concat();
    s.launch(
        MODULE,
        "squared_error_forward",
        [batch, 1, 1],
        BLOCK,
        0,
        args,
    );
    s
}

/// Inputs x, target, weights, gradient of the sums; output gradient of x.
pub fn backward(batch: usize, dim: usize) -> Sequence {
    let (mut s, inputs) = inputs(batch, dim);
    let grad = s.input(Kind::F32, batch);
    let out = s.output(Kind::F32, batch * dim);
    let args = [&inputs[..], &[grad, out, Arg::I32(dim as i32)]].concat();
    let grid = [dim.div_ceil(256), batch, 1];
    s.launch(MODULE, "squared_error_backward", grid, BLOCK, 0, args);
    s
}

fn inputs(batch: usize, dim: usize) -> (Sequence, [Arg; 3]) {
    let mut s = Sequence::default();
    let arrays = [batch * dim, batch * dim, dim].map(|len| s.input(Kind::F32, len));
    (s, arrays)
}
