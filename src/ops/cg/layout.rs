//! Between the tensors' layout `[sample][row][channel]` and a block's, lanes innermost.

use super::plan::{Degree, Plan};
use super::{LANES, Lanes};
use crate::ops::cpu::Real;

/// `[sample][row][c]` to `[c][row][lane]`; missing samples of the last block are zero.
pub(super) fn gather<T: Real>(plan: &Plan, h: &[T], block: &mut [T]) {
    let c_len = plan.channels;
    let dim = plan.input.dim();
    let rows = dim / c_len;
    if h.len() < LANES * dim {
        block.fill(T::zero());
    }
    for (lane, sample) in h.chunks_exact(dim).enumerate() {
        for (row, values) in sample.chunks_exact(c_len).enumerate() {
            for (c, &v) in values.iter().enumerate() {
                block[(c * rows + row) * LANES + lane] = v;
            }
        }
    }
}

/// Applies norm and bias and writes `[j][m3][lane]` of all degrees to `[sample][row][j]`.
pub(super) fn scatter<T: Real>(
    plan: &Plan,
    raw: &[&[T]],
    norm: &[T],
    sums: &[T],
    inverse: &Lanes<T>,
    out: &mut [T],
) {
    let co = plan.out_channels;
    let bias = norm[norm.len() - 1];
    for (lane, sample) in out.chunks_exact_mut(plan.output.dim()).enumerate() {
        for (d, raw) in plan.degrees.iter().zip(raw) {
            let n = 2 * d.l + 1;
            let scale = norm[d.l] * inverse[lane];
            for m in 0..n {
                let row = &mut sample[(d.l * d.l + m) * co..][..co];
                for (j, o) in row.iter_mut().enumerate() {
                    *o = raw[(j * n + m) * LANES + lane] * scale;
                }
            }
        }
        for (o, &s) in sample[..co].iter_mut().zip(sums) {
            *o += bias * s;
        }
    }
}

/// `grad / n` of one degree as `[j][m3][lane]`; missing samples are zero.
pub(super) fn gather_grad<T: Real>(
    plan: &Plan,
    d: &Degree,
    grad: &[T],
    inverse: &Lanes<T>,
    gout: &mut [T],
) {
    let (co, n, dim) = (plan.out_channels, 2 * d.l + 1, plan.output.dim());
    if grad.len() < LANES * dim {
        gout.fill(T::zero());
    }
    for (lane, sample) in grad.chunks_exact(dim).enumerate() {
        for m in 0..n {
            let row = &sample[(d.l * d.l + m) * co..][..co];
            for (j, &g) in row.iter().enumerate() {
                gout[(j * n + m) * LANES + lane] = g * inverse[lane];
            }
        }
    }
}

/// `[c][row][lane]` to `[sample][row][c]`.
pub(super) fn scatter_grad<T: Real>(plan: &Plan, gblock: &[T], gh: &mut [T]) {
    let c_len = plan.channels;
    let rows = plan.input.dim() / c_len;
    for (lane, sample) in gh.chunks_exact_mut(plan.input.dim()).enumerate() {
        for (row, values) in sample.chunks_exact_mut(c_len).enumerate() {
            for (c, v) in values.iter_mut().enumerate() {
                *v = gblock[(c * rows + row) * LANES + lane];
            }
        }
    }
}
