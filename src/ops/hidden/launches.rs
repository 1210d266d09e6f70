//! The op on a GPU.

use super::sizes::Sizes;
use crate::ops::device::{Arg, Kind, Sequence, TILE_COLUMNS, TILE_ROWS, ints, sum_parts};

/// Rows (node, frame) whose weight gradients one block sums.
const ROWS: usize = 1024;

impl Sizes {
    fn rows(&self) -> usize {
        self.nodes * self.frames
    }

    fn layer_len(&self) -> usize {
        (self.features + 1) * self.width
    }

    fn args(&self) -> [Arg; 4] {
        ints([self.rows(), self.frames, self.features, self.width])
    }

    /// u and layer.
    fn inputs(&self, s: &mut Sequence) -> (Arg, Arg) {
        let u = s.input(Kind::F32, self.rows() * self.features);
        (u, s.input(Kind::F32, self.layer_len()))
    }
}

fn launch(s: &mut Sequence, kernel: &'static str, grid: [usize; 3], args: Vec<Arg>) {
    s.launch("hidden", kernel, grid, [128, 1, 1], 0, args);
}

fn tiles(rows: usize, columns: usize, parts: usize) -> [usize; 3] {
    [
        rows.div_ceil(TILE_ROWS),
        columns.div_ceil(TILE_COLUMNS),
        parts,
    ]
}

/// Inputs u, layer, weights over time; output the average.
pub fn average(z: &Sizes) -> Sequence {
    let mut s = Sequence::default();
    let (u, layer) = z.inputs(&mut s);
    let weights = s.input(Kind::F32, z.frames);
    let out = s.output(Kind::F32, z.nodes * z.width);
    let mut args = vec![u, layer, weights, out];
    args.extend(z.args());
    let grid = [(z.nodes * z.width).div_ceil(128), 1, 1];
    launch(&mut s, "hidden_average", grid, args);
    s
}

/// Inputs u, layer, weights over time, gradient of the average; outputs gradients of the layer
/// and, where asked for, of u.
pub fn average_backward(z: &Sizes, needs_u: bool) -> Sequence {
    let mut s = Sequence::default();
    let (u, layer) = z.inputs(&mut s);
    let weights = s.input(Kind::F32, z.frames);
    let g = s.input(Kind::F32, z.nodes * z.width);
    let glayer = s.output(Kind::F32, z.layer_len());
    let gh = s.scratch(Kind::F32, z.rows() * z.width);
    let mut args = vec![u, layer, weights, g, gh];
    args.extend(z.args());
    let grid = [(z.rows() * z.width).div_ceil(128), 1, 1];
    launch(&mut s, "hidden_unaverage", grid, args);
    finish(&mut s, z, [u, layer, gh], glayer, needs_u);
    s
}

/// Inputs u, layer, right; output the projections.
pub fn project(z: &Sizes, words: usize, columns: usize) -> Sequence {
    let mut s = Sequence::default();
    let (u, layer) = z.inputs(&mut s);
    let right = s.input(Kind::F32, z.width * columns);
    let out = s.output(Kind::F32, z.rows() * columns);
    let mut args = vec![u, layer, right, out];
    args.extend(z.args());
    args.extend(ints([words, columns]));
    launch(&mut s, "hidden_project", tiles(z.rows(), columns, 1), args);
    s
}

/// Inputs u, layer, right, gradient of the projections; outputs gradients of the layer, of right
/// and, where asked for, of u.
pub fn project_backward(z: &Sizes, words: usize, columns: usize, needs_u: bool) -> Sequence {
    let mut s = Sequence::default();
    let (u, layer) = z.inputs(&mut s);
    let right = s.input(Kind::F32, z.width * columns);
    let g = s.input(Kind::F32, z.rows() * columns);
    let glayer = s.output(Kind::F32, z.layer_len());
    let gright = s.output(Kind::F32, z.width * columns);
    let gh = s.scratch(Kind::F32, z.rows() * z.width);
    let mut args = vec![u, layer, right, g, gh];
    args.extend(z.args());
    args.extend(ints([words, columns]));
    launch(
        &mut s,
        "hidden_unproject",
        tiles(z.rows(), z.width, 1),
        args,
    );

    let count = z.rows().div_ceil(ROWS);
    let parts = s.scratch(Kind::F32, count * z.width * columns);
    let mut args = vec![u, layer, g, parts];
    args.extend(z.args());
    args.extend(ints([words, columns, ROWS]));
    launch(&mut s, "hidden_right", tiles(z.width, columns, count), args);
    sum_parts(&mut s, parts, gright, count, z.width * columns);
    finish(&mut s, z, [u, layer, gh], glayer, needs_u);
    s
}

/// From the gradient of `u W + b` to those of the layer and of u.
fn finish(s: &mut Sequence, z: &Sizes, [u, layer, gh]: [Arg; 3], glayer: Arg, needs_u: bool) {
    let count = z.rows().div_ceil(ROWS);
    let parts = s.scratch(Kind::F32, count * z.layer_len());
    let mut args = vec![u, gh, parts];
    args.extend(ints([z.rows(), z.features, z.width, ROWS]));
    launch(
        s,
        "hidden_layer",
        tiles(z.features + 1, z.width, count),
        args,
    );
    sum_parts(s, parts, glayer, count, z.layer_len());
    if needs_u {
        let gu = s.output(Kind::F32, z.rows() * z.features);
        let mut args = vec![gh, layer, gu];
        args.extend(ints([z.rows(), z.features, z.width]));
        let grid = [(z.rows() * z.features).div_ceil(128), 1, 1];
        launch(s, "hidden_input", grid, args);
    }
}
