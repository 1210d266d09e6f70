//! The Clebsch-Gordan step on the CPU: forward pass, and the layout that both passes share.
//!
//! A block is at most sixteen samples. Inside it the input is `h[sample][row][c]` (rows padded),
//! the product of a run of a degree's paths `t[sample][m3][p, c]`, the output of a degree
//! `o[sample][m3][j]`: channels are innermost everywhere, as in the tensors, so the product and
//! its derivatives are vector arithmetic and the linear map is one matrix product per run.

use super::plan::{BLOCK, Common, Degree, LANES, NORM_EPS, Plan};
use super::product::{TOGETHER, expand};
use crate::for_isa;
use crate::ops::batch_norm::Map;
use crate::ops::cpu::{Matrix, MatrixMut, Real, scratch};
use rayon::prelude::*;
use std::ops::Range;

/// Lengths of a sample's pieces.
impl Plan {
    pub(super) fn padded_len(&self) -> usize {
        self.input.dim() / self.channels * self.padded()
    }

    pub(super) fn product_len(&self, d: &Degree, run: &Range<usize>) -> usize {
        self.stride(run) * d.orders()
    }

    /// The same with padded rows.
    pub(super) fn padded_product_len(&self, d: &Degree, run: &Range<usize>) -> usize {
        run.len() * d.orders() * self.padded()
    }

    pub(super) fn longest_padded_product(&self) -> usize {
        let of_degree = |d: &Degree| d.runs.iter().map(|r| self.padded_product_len(d, r)).max();
        self.degrees.iter().filter_map(of_degree).max().unwrap_or(0)
    }

    pub(super) fn longest_product(&self) -> usize {
        let of_degree = |d: &Degree| d.runs.iter().map(|r| self.product_len(d, r)).max();
        self.degrees.iter().filter_map(of_degree).max().unwrap_or(0)
    }

    pub(super) fn out_len(&self, d: &Degree) -> usize {
        d.orders() * self.out_channels
    }

    pub(super) fn longest_out(&self) -> usize {
        let lengths = self.degrees.iter().map(|d| self.out_len(d));
        lengths.max().unwrap_or(0)
    }

    /// Where a degree is in a sample's output.
    pub(super) fn out_range(&self, d: &Degree) -> Range<usize> {
        let start = d.l * d.l * self.out_channels;
        start..start + self.out_len(d)
    }

    /// The weights of a run: a matrix of (paths x channels) by output channels.
    pub(super) fn run_weights(&self, d: &Degree, run: &Range<usize>) -> Range<usize> {
        let (first, last) = (&d.paths[run.start], &d.paths[run.end - 1]);
        self.weights_of(d, first).start..self.weights_of(d, last).end
    }
}

/// `W_0` products of the bias: `sum_rows W_0[row, j]`.
pub(super) fn column_sums<T: Real>(plan: &Plan, weights: &[T]) -> Vec<T> {
    let mut sums = vec![T::zero(); plan.out_channels];
    let rows = plan.degrees[0].pairs * plan.channels;
    for row in weights[..rows * plan.out_channels].chunks_exact(plan.out_channels) {
        for (s, &w) in sums.iter_mut().zip(row) {
            *s += w;
        }
    }
    sums
}

/// The step for a whole batch: output and `1 / n` of every sample.
pub(super) fn forward<T: Real>(
    plan: &Plan,
    map: Option<&Map<T>>,
    x: &[T],
    parameters: &[T],
) -> (Vec<T>, Vec<f64>) {
    let (di, dout) = (plan.input.dim(), plan.output.dim());
    let p = plan.split(parameters);
    let mut bias = column_sums(plan, p.weights);
    bias.iter_mut()
        .for_each(|s| *s *= p.norm[plan.degrees.len()]);
    let batch = x.len() / di;
    let mut out = vec![T::zero(); batch * dout];
    let mut inverses = vec![0f64; batch];
    let (product, mapped) = (plan.longest_product(), plan.longest_out());
    out.par_chunks_mut(BLOCK * dout)
        .zip(x.par_chunks(BLOCK * di))
        .zip(inverses.par_chunks_mut(BLOCK))
        .for_each(|((out, x), inverses)| {
            let samples = inverses.len();
            let len = (plan.padded_len() + product + mapped) * samples;
            scratch::<T, _>(len, |memory| {
                let (h, rest) = memory.split_at_mut(plan.padded_len() * samples);
                let (t, o) = rest.split_at_mut(product * samples);
                gather(plan, map, x, h);
                let mut squares = [0f64; BLOCK];
                for d in &plan.degrees {
                    let o = &mut o[..plan.out_len(d) * samples];
                    linear_of_product(plan, d, p.weights, h, t, o, &mut squares);
                    let into = out.chunks_exact_mut(dout);
                    for (out, o) in into.zip(o.chunks_exact(plan.out_len(d))) {
                        out[plan.out_range(d)].copy_from_slice(o);
                    }
                }
                for (sample, out) in out.chunks_exact_mut(dout).enumerate() {
                    inverses[sample] = 1.0 / (squares[sample] + NORM_EPS).sqrt();
                    apply_norm(plan, p.norm, inverses[sample], &bias, out);
                }
                add_shared(plan, x, out);
            });
        });
    (out, inverses)
}

for_isa!(
    /// Copies the input to padded rows, batch-normalised if there is a `map`.
    pub(super) fn gather(plan: &Plan, map: Option<&Map<T>>, x: &[T], h: &mut [T]) = gather_any
);

#[inline(always)]
fn gather_any<T: Real, const FUSED: bool>(plan: &Plan, map: Option<&Map<T>>, x: &[T], h: &mut [T]) {
    let (channels, padded) = (plan.channels, plan.padded());
    let rows = plan.input.dim() / channels;
    let pairs = h.chunks_exact_mut(padded).zip(x.chunks_exact(channels));
    for (i, (h, x)) in pairs.enumerate() {
        let (h, rest) = h.split_at_mut(channels);
        match map {
            None => h.copy_from_slice(x),
            Some(map) => map.apply((i % rows).isqrt() * channels, x, h),
        }
        rest.fill(T::zero());
    }
}

/// `o = t W` of one degree for a block of inputs; adds the squared norms of the products.
fn linear_of_product<T: Real>(
    plan: &Plan,
    d: &Degree,
    weights: &[T],
    h: &[T],
    t: &mut [T],
    o: &mut [T],
    squares: &mut [f64; BLOCK],
) {
    let weight = 1.0 / d.orders() as f64;
    for (i, run) in d.runs.iter().enumerate() {
        let len = plan.product_len(d, run);
        let inputs = h.chunks(TOGETHER * plan.padded_len());
        let products = inputs.zip(t.chunks_mut(TOGETHER * len));
        for ((h, t), squares) in products.zip(squares.chunks_mut(TOGETHER)) {
            let mut lanes = [[T::zero(); LANES]; TOGETHER];
            let lanes = &mut lanes[..h.len() / plan.padded_len()];
            expand(plan, d, run, h, &mut t[..len * lanes.len()], lanes);
            for (square, lanes) in squares.iter_mut().zip(lanes) {
                *square += weight * lanes.iter().map(|s| s.to_f64()).sum::<f64>();
            }
        }
        let co = plan.out_channels;
        let dims = [o.len() / co, co, run.len() * plan.channels];
        let t = Matrix::rows(t, plan.stride(run));
        let weights = Matrix::rows(&weights[plan.run_weights(d, run)], co);
        MatrixMut::rows(o, co).write(dims, t, weights, i > 0);
    }
    if d.runs.is_empty() {
        o.fill(T::zero());
    }
}

/// Scales the degrees of one sample's mapped products and adds the bias.
fn apply_norm<T: Real>(plan: &Plan, norm: &[T], inverse: f64, bias: &[T], out: &mut [T]) {
    for d in &plan.degrees {
        let scale = norm[d.l] * T::from_f64(inverse);
        out[plan.out_range(d)].iter_mut().for_each(|o| *o *= scale);
    }
    for (o, &b) in out.iter_mut().zip(bias) {
        *o += b;
    }
}

/// The skip connection: `out += x` on what both have.
fn add_shared<T: Real>(plan: &Plan, x: &[T], out: &mut [T]) {
    let samples = out.chunks_exact_mut(plan.output.dim());
    for (out, x) in samples.zip(x.chunks_exact(plan.input.dim())) {
        for Common { input, output, len } in plan.common() {
            for (out, &x) in out[output..][..len].iter_mut().zip(&x[input..][..len]) {
                *out += x;
            }
        }
    }
}
