//! Linear maps of blocks on the processor: products of matrices, component by component.

use super::plan::Map;
use super::{Blockwise, IN, OUT, Run};
use crate::ops::cpu::{Matrix, MatrixMut, Real, parts, tree_sum};
use rayon::prelude::*;
use std::ops::Range;

/// The weights times their factors.
fn scaled<T: Real>(form: &Blockwise, weights: &[T]) -> Vec<T> {
    let mut scaled = weights.to_vec();
    scale(form, &mut scaled);
    scaled
}

fn scale<T: Real>(form: &Blockwise, weights: &mut [T]) {
    for map in form.plan.maps.iter().filter(|map| map.factor != 1.0) {
        let factor = T::from_f64(map.factor);
        let len = map.channels[0] * map.channels[1] * form.plan.kinds();
        let part = &mut weights[map.starts[2]..][..len];
        part.iter_mut().for_each(|w| *w *= factor);
    }
}

/// Runs cut at the ends of some rows, counted from the first of these.
fn runs_of(form: &Blockwise, rows: &Range<usize>) -> impl Iterator<Item = Run> {
    form.runs.iter().filter_map(|run| {
        let (start, end) = (run.rows.start.max(rows.start), run.rows.end.min(rows.end));
        (start < end).then(|| Run {
            rows: start - rows.start..end - rows.start,
            kind: run.kind,
        })
    })
}

impl Map {
    /// First weight of a kind, and from a channel of the input to the next.
    fn weights(&self, kind: usize, kinds: usize) -> [usize; 2] {
        let to = self.channels[1];
        [self.starts[2] + kind * to, kinds * to]
    }
}

/// Derivative by output (the map) or input (its transpose): `x` are the rows of the other one.
pub(super) fn by_rows<T: Real>(form: &Blockwise, by: usize, x: &[T], weights: &[T]) -> Vec<T> {
    const ROWS: usize = 128;
    let widths = form.plan.widths();
    let other = IN + OUT - by;
    let (width, from) = (widths[by], widths[other]);
    let weights = scaled(form, weights);
    let mut out = vec![T::zero(); form.rows * width];
    if out.is_empty() || from == 0 {
        return out;
    }
    out.par_chunks_mut(ROWS * width)
        .zip(x.par_chunks(ROWS * from))
        .enumerate()
        .for_each(|(block, (out, x))| {
            let first = block * ROWS;
            let rows = first..first + out.len() / width;
            for run in runs_of(form, &rows) {
                for map in &form.plan.maps {
                    let [start, step] = map.weights(run.kind, form.plan.kinds());
                    let weights = match by {
                        OUT => Matrix::strided(&weights[start..], step, 1),
                        _ => Matrix::strided(&weights[start..], 1, step),
                    };
                    let dims = [run.rows.len(), map.channels[by], map.channels[other]];
                    for c in 0..map.dim {
                        let at = |a: usize| {
                            run.rows.start * widths[a] + map.starts[a] + c * map.channels[a]
                        };
                        let x = Matrix::strided(&x[at(other)..], from, 1);
                        MatrixMut::strided(&mut out[at(by)..], width, 1).add(dims, x, weights);
                    }
                }
            }
        });
    out
}

/// Derivative by the weights.
pub(super) fn by_weights<T: Real>(form: &Blockwise, x: &[T], grad: &[T]) -> Vec<T> {
    const ROWS: usize = 128;
    let [from, to, len] = form.plan.widths();
    let sum = |rows: Range<usize>| {
        let mut out = vec![T::zero(); len];
        for run in runs_of(form, &rows) {
            let first = rows.start + run.rows.start;
            for map in &form.plan.maps {
                let [start, step] = map.weights(run.kind, form.plan.kinds());
                let dims = [map.channels[0], map.channels[1], run.rows.len()];
                for c in 0..map.dim {
                    let at = |a: usize, width: usize| {
                        first * width + map.starts[a] + c * map.channels[a]
                    };
                    let x = Matrix::strided(&x[at(IN, from)..], 1, from);
                    let grad = Matrix::strided(&grad[at(OUT, to)..], to, 1);
                    MatrixMut::strided(&mut out[start..], step, 1).add(dims, x, grad);
                }
            }
        }
        out
    };
    let sums: Vec<Vec<T>> = parts(form.rows, ROWS).into_par_iter().map(sum).collect();
    let mut out = match sums.is_empty() {
        true => vec![T::zero(); len],
        false => tree_sum(sums),
    };
    scale(form, &mut out);
    out
}
