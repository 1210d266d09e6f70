//! The linear map and its adjoints on the processor: one matrix product for each degree and order
//! of a block of samples.

use super::sides::{Side, weight_shapes};
use crate::ops::cpu::{Matrix, MatrixMut, Real, parts, tree_sum};
use rayon::prelude::*;

/// Samples that one matrix product takes together.
const BLOCK: usize = 16;

/// One order of one degree.
struct Product {
    /// First weight.
    weights: usize,
    /// Channels on both sides.
    channels: [usize; 2],
    /// First element in a sample, on both sides, and stride of the channels.
    start: [usize; 2],
    stride: [usize; 2],
}

/// Calls `f` for every order of the degrees that both sides have.
fn products(from: &Side, to: &Side, mut f: impl FnMut(Product)) {
    let mut weights = 0;
    let shapes = weight_shapes(&from.irreps, &to.irreps);
    for (l, (ci, co)) in shapes.into_iter().enumerate() {
        let sides = [from.place(l), to.place(l)];
        for m in 0..2 * l + 1 {
            f(Product {
                weights,
                channels: [ci, co],
                start: sides.map(|s| s.start + m * s.orders),
                stride: sides.map(|s| s.channels),
            });
        }
        weights += ci * co;
    }
}

/// `x` mapped by the weights, whose matrices are those of the way from `to` to `from` if they are
/// `transposed`.
pub fn map<T: Real>(from: &Side, to: &Side, x: &[T], weights: &[T], transposed: bool) -> Vec<T> {
    let (di, dout) = (from.irreps.dim(), to.irreps.dim());
    let mut out = vec![T::zero(); x.len() / di * dout];
    out.par_chunks_mut(BLOCK * dout)
        .zip(x.par_chunks(BLOCK * di))
        .for_each(|(out, x)| {
            products(from, to, |p| {
                let [ci, co] = p.channels;
                let weights = &weights[p.weights..];
                let weights = match transposed {
                    false => Matrix::rows(weights, co),
                    true => Matrix::turned(weights, ci),
                };
                let x_rows = Matrix::strided(&x[p.start[0]..], di, p.stride[0]);
                let out_rows = MatrixMut::strided(&mut out[p.start[1]..], dout, p.stride[1]);
                out_rows.set([x.len() / di, co, ci], x_rows, weights);
            });
        });
    out
}

/// The gradient of the weights: sums over the batch of `x` times the gradient `g` of the output.
pub fn outer<T: Real>(from: &Side, to: &Side, x: &[T], g: &[T]) -> Vec<T> {
    let (di, dout) = (from.irreps.dim(), to.irreps.dim());
    let shapes = weight_shapes(&from.irreps, &to.irreps);
    let len = shapes.iter().map(|(ci, co)| ci * co).sum();
    let sums = parts(x.len() / di, BLOCK).into_par_iter().map(|part| {
        let mut gw = vec![T::zero(); len];
        let (x, g) = (&x[part.start * di..], &g[part.start * dout..]);
        products(from, to, |p| {
            let [ci, co] = p.channels;
            let x_columns = Matrix::strided(&x[p.start[0]..], p.stride[0], di);
            let g_rows = Matrix::strided(&g[p.start[1]..], dout, p.stride[1]);
            let gw = MatrixMut::rows(&mut gw[p.weights..], co);
            gw.add([ci, co, part.len()], x_columns, g_rows);
        });
        gw
    });
    tree_sum(sums.collect())
}
