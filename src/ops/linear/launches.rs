//! The op on a GPU.

use super::sides::{Side, weight_shapes};
use crate::ops::device::{Arg, Kind, Sequence, TILE_COLUMNS, TILE_ROWS, row_tiles, sum_parts};
use std::sync::Arc;

/// Samples whose weight gradients one block sums.
const SAMPLES: usize = 16;

/// A linear map's degrees, for the kernels.
pub struct Tables {
    forward: Arc<[i32]>,
    backward: Arc<[i32]>,
    from: usize,
    to: usize,
    lmax: usize,
    weights: usize,
    /// Largest channel counts of both sides.
    widest: (usize, usize),
    /// Whether some degree of that side has no partner, and is zero.
    gaps: (bool, bool),
}

/// Offset of a degree, and strides of its orders and channels.
fn place(side: &Side, l: usize) -> [usize; 3] {
    let place = side.place(l);
    [place.start, place.orders, place.channels]
}

impl Tables {
    pub fn new(from: &Side, to: &Side) -> Self {
        let shapes = weight_shapes(&from.irreps, &to.irreps);
        let (mut forward, mut backward) = (Vec::new(), Vec::new());
        let mut offset = 0;
        for (l, &(i, o)) in shapes.iter().enumerate() {
            let (a, b) = (place(from, l), place(to, l));
            let add = |table: &mut Vec<i32>, (i, a), (o, b): (usize, [usize; 3]), w: [usize; 2]| {
                let a: [usize; 3] = a;
                let row = [&[i, o][..], &a, &b, &[offset], &w].concat();
                table.extend(row.into_iter().map(|v: usize| v as i32));
            };
            add(&mut forward, (i, a), (o, b), [o, 1]);
            add(&mut backward, (o, b), (i, a), [1, o]);
            offset += i * o;
        }
        let widest = |f: fn(&(usize, usize)) -> usize| shapes.iter().map(f).max().unwrap_or(0);
        let lmax = shapes.len() - 1;
        Self {
            forward: forward.into(),
            backward: backward.into(),
            from: from.irreps.dim(),
            to: to.irreps.dim(),
            lmax,
            weights: offset,
            widest: (widest(|s| s.0), widest(|s| s.1)),
            gaps: (from.irreps.lmax() > lmax, to.irreps.lmax() > lmax),
        }
    }
}

/// Inputs x, weights; output x mapped.
pub fn forward(t: &Tables, batch: usize) -> Sequence {
    let mut s = Sequence::default();
    let x = s.input(Kind::F32, batch * t.from);
    let w = s.input(Kind::F32, t.weights);
    let out = result(&mut s, t.gaps.1, batch * t.to);
    let table = s.ints(&t.forward);
    let args = vec![x, w, out, table];
    map(&mut s, t, batch, args, t.from, t.to, t.widest.1);
    s
}

/// Inputs weights, gradient of the result; output gradient of x.
pub fn backward_input(t: &Tables, batch: usize) -> Sequence {
    let mut s = Sequence::default();
    let w = s.input(Kind::F32, t.weights);
    let g = s.input(Kind::F32, batch * t.to);
    let gx = result(&mut s, t.gaps.0, batch * t.from);
    let table = s.ints(&t.backward);
    let args = vec![g, w, gx, table];
    map(&mut s, t, batch, args, t.to, t.from, t.widest.0);
    s
}

fn result(s: &mut Sequence, gaps: bool, len: usize) -> Arg {
    match gaps {
        true => s.zeroed(Kind::F32, len),
        false => s.output(Kind::F32, len),
    }
}

fn map(
    s: &mut Sequence,
    t: &Tables,
    batch: usize,
    mut args: Vec<Arg>,
    from: usize,
    to: usize,
    widest: usize,
) {
    args.extend([t.lmax, batch, from, to].map(|v| Arg::I32(v as i32)));
    let grid = [row_tiles(t.lmax, batch), widest.div_ceil(TILE_COLUMNS), 1];
    s.launch("linear", "linear_forward", grid, [128, 1, 1], 0, args);
}

/// Inputs x, gradient of the result; output gradient of the weights.
pub fn backward_weights(t: &Tables, batch: usize) -> Sequence {
    let mut s = Sequence::default();
    let x = s.input(Kind::F32, batch * t.from);
    let g = s.input(Kind::F32, batch * t.to);
    let gw = s.output(Kind::F32, t.weights);
    let table = s.ints(&t.forward);
    let count = batch.div_ceil(SAMPLES);
    let parts = s.scratch(Kind::F32, count * t.weights);
    let mut args = vec![x, g, parts, table];
    args.extend([t.lmax, batch, SAMPLES, t.from, t.to, t.weights].map(|v| Arg::I32(v as i32)));
    let grid = [
        t.widest.0.div_ceil(TILE_ROWS),
        t.widest.1.div_ceil(TILE_COLUMNS),
        (t.lmax + 1) * count,
    ];
    s.launch("linear", "linear_weights", grid, [128, 1, 1], 0, args);
    sum_parts(&mut s, parts, gw, count, t.weights);
    s
}
