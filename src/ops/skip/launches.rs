//! The op on a GPU.

use crate::ops::device::{Arg, Kind, Sequence};
use crate::so3::irreps::Irreps;
use std::sync::Arc;

/// Where each number of one side finds its partner on the other, -1 where it has none.
pub struct Tables {
    forward: Arc<[i32]>,
    backward: Arc<[i32]>,
}

impl Tables {
    /// Of `out + input`, `out` of irreps `to`, `input` of irreps `from`.
    pub fn new(to: &Irreps, from: &Irreps) -> Self {
        Self {
            forward: partners(to, from),
            backward: partners(from, to),
        }
    }
}

fn partners(of: &Irreps, among: &Irreps) -> Arc<[i32]> {
    let mut table = Vec::with_capacity(of.dim());
    for l in 0..=of.lmax() {
        for m in 0..2 * l + 1 {
            table.extend((0..of.channels(l)).map(|c| {
                if l <= among.lmax() && c < among.channels(l) {
                    (among.offset(l) + m * among.channels(l) + c) as i32
                } else {
                    -1
                }
            }));
        }
    }
    table.into()
}

/// Inputs out, input; output their sum where they meet.
pub fn forward(t: &Tables, batch: usize) -> Sequence {
    let (dim, other) = (t.forward.len(), t.backward.len());
    let mut s = Sequence::default();
    let out = s.input(Kind::F32, batch * dim);
    let x = s.input(Kind::F32, batch * other);
    let sum = s.output(Kind::F32, batch * dim);
    let table = s.ints(&t.forward);
    let args = vec![out, x, sum, table];
    launch(&mut s, "skip_forward", batch, [dim, other], args);
    s
}

/// Input gradient of the sum; output gradient of `input`.
pub fn backward(t: &Tables, batch: usize) -> Sequence {
    let (dim, other) = (t.backward.len(), t.forward.len());
    let mut s = Sequence::default();
    let g = s.input(Kind::F32, batch * other);
    let gx = s.output(Kind::F32, batch * dim);
    let table = s.ints(&t.backward);
    let args = vec![g, gx, table];
    launch(&mut s, "skip_backward", batch, [dim, other], args);
    s
}

fn launch(
    s: &mut Sequence,
    kernel: &'static str,
    batch: usize,
    [dim, other]: [usize; 2],
    mut args: Vec<Arg>,
) {
    args.extend([dim, other].map(|v| Arg::I32(v as i32)));
    let grid = [dim.div_ceil(256), batch, 1];
    s.launch("skip", kernel, grid, [256, 1, 1], 0, args);
}
