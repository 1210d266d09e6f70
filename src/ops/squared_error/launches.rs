//! The op on a GPU.

use crate::ops::device::{Arg, Kind, Sequence};

/// Inputs x, target, weights; output the errors.
pub fn forward(batch: usize, dim: usize) -> Sequence {
    let (mut s, inputs) = inputs(batch, dim);
    let out = s.output(Kind::F32, batch * dim);
    launch(
        &mut s,
        "squared_error_forward",
        [batch, dim],
        &[&inputs[..], &[out]].concat(),
    );
    s
}

/// Inputs x, target, weights, gradient of the errors; output gradient of x.
pub fn backward(batch: usize, dim: usize) -> Sequence {
    let (mut s, inputs) = inputs(batch, dim);
    let grad = s.input(Kind::F32, batch * dim);
    let out = s.output(Kind::F32, batch * dim);
    launch(
        &mut s,
        "squared_error_backward",
        [batch, dim],
        &[&inputs[..], &[grad, out]].concat(),
    );
    s
}

fn inputs(batch: usize, dim: usize) -> (Sequence, [Arg; 3]) {
    let mut s = Sequence::default();
    let arrays = [batch * dim, batch * dim, dim].map(|len| s.input(Kind::F32, len));
    (s, arrays)
}

fn launch(s: &mut Sequence, kernel: &'static str, [batch, dim]: [usize; 2], args: &[Arg]) {
    let mut args = args.to_vec();
    args.push(Arg::I32(dim as i32));
    let grid = [dim.div_ceil(256), batch, 1];
    s.launch("squared_error", kernel, grid, [256, 1, 1], 0, args);
}
