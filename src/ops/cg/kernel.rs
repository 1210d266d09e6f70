//! CPU kernels of the Clebsch-Gordan step.
//!
//! A block is sixteen samples, one vector lane each. Inside a block the input is
//! `h[c][row][lane]`, the product of a degree `t[p, c][m3][lane]` (a column-major matrix of
//! `(2 l3 + 1) * 16` rows and one column per live path and channel), the output
//! `o[j][m3][lane]`, so both the product and its derivatives are plain vector arithmetic
//! without tails, and the linear map is one matrix product per degree.

use super::layout::{gather, gather_grad, scatter, scatter_grad};
use super::plan::{Degree, Path, Plan};
use super::product::{contract, expand};
use super::{LANES, Lanes, NORM_EPS};
use crate::ops::cpu::{Matrix, Real, matmul, parts, scratch, tree_sum};
use rayon::prelude::*;
use std::ops::Range;

/// Weights of the live paths of every degree, packed so that a degree is one matrix.
struct Packed<T> {
    live: Vec<Vec<T>>,
}

impl<T: Real> Packed<T> {
    fn new(plan: &Plan, weights: &[T]) -> Self {
        let live = plan.degrees.iter().map(|d| {
            let mut w = Vec::with_capacity(d.paths.len() * plan.channels * plan.out_channels);
            for path in &d.paths {
                w.extend_from_slice(&weights[plan.rows_of(d, path)]);
            }
            w
        });
        Self {
            live: live.collect(),
        }
    }
}

impl Plan {
    fn rows_of(&self, degree: &Degree, path: &Path) -> Range<usize> {
        let len = self.channels * self.out_channels;
        let start = degree.weights + path.pair * len;
        start..start + len
    }

    fn live(&self, d: &Degree) -> usize {
        d.paths.len() * self.channels
    }

    /// Elements of one block's product, per degree.
    fn product_len(&self, d: &Degree) -> usize {
        self.live(d) * (2 * d.l + 1) * LANES
    }

    fn block_len(&self) -> usize {
        self.input.dim() * LANES
    }

    fn out_len(&self, d: &Degree) -> usize {
        (2 * d.l + 1) * LANES * self.out_channels
    }
}

/// `W_l` products of the bias: `sum_rows W_0[row, j]`.
fn column_sums<T: Real>(plan: &Plan, weights: &[T]) -> Vec<T> {
    let mut sums = vec![T::zero(); plan.out_channels];
    let rows = plan.degrees[0].pairs * plan.channels;
    for row in weights[..rows * plan.out_channels].chunks_exact(plan.out_channels) {
        for (s, &w) in sums.iter_mut().zip(row) {
            *s += w;
        }
    }
    sums
}

/// The step for a whole batch.
pub(super) fn forward<T: Real>(plan: &Plan, h: &[T], weights: &[T], norm: &[T]) -> Vec<T> {
    let (di, dout) = (plan.input.dim(), plan.output.dim());
    let packed = Packed::new(plan, weights);
    let sums = column_sums(plan, weights);
    let mut out = vec![T::zero(); h.len() / di * dout];
    let largest = plan
        .degrees
        .iter()
        .map(|d| plan.product_len(d))
        .max()
        .unwrap_or(0);
    let outputs: usize = plan.degrees.iter().map(|d| plan.out_len(d)).sum();
    out.par_chunks_mut(LANES * dout)
        .zip(h.par_chunks(LANES * di))
        .for_each(|(out, h)| {
            scratch::<T, _>(plan.block_len() + largest + outputs, |memory| {
                let (block, rest) = memory.split_at_mut(plan.block_len());
                let (product, mut results) = rest.split_at_mut(largest);
                gather(plan, h, block);
                let mut squares = [T::zero(); LANES];
                let mut raw = Vec::with_capacity(plan.degrees.len());
                for (d, w) in plan.degrees.iter().zip(&packed.live) {
                    let product = &mut product[..plan.product_len(d)];
                    expand(plan, d, lanes(block), lanes_mut(product), &mut squares);
                    let (o, rest) = results.split_at_mut(plan.out_len(d));
                    results = rest;
                    map(plan, d, product, w, o);
                    raw.push(&*o);
                }
                let inverse = inverse_norms(&squares);
                scatter(plan, &raw, norm, &sums, &inverse, out);
            });
        });
    out
}

fn inverse_norms<T: Real>(squares: &Lanes<T>) -> Lanes<T> {
    squares.map(|s| T::one() / (s + T::from_f64(NORM_EPS)).root())
}

/// `o = t W` of one degree.
fn map<T: Real>(plan: &Plan, d: &Degree, product: &[T], w: &[T], o: &mut [T]) {
    let rows = (2 * d.l + 1) * LANES;
    matmul(
        (rows, plan.out_channels, plan.live(d)),
        (o, 1, rows),
        Matrix {
            data: product,
            row: 1,
            column: rows,
        },
        Matrix {
            data: w,
            row: plan.out_channels,
            column: 1,
        },
        false,
    );
}

fn lanes<T>(x: &[T]) -> &[Lanes<T>] {
    x.as_chunks().0
}

fn lanes_mut<T>(x: &mut [T]) -> &mut [Lanes<T>] {
    x.as_chunks_mut().0
}

/// What the backward pass is given.
pub(super) struct Saved<'a, T> {
    pub h: &'a [T],
    pub weights: &'a [T],
    pub norm: &'a [T],
    pub out: &'a [T],
    pub grad: &'a [T],
}

/// Gradients of the three arguments.
pub(super) struct Gradients<T> {
    pub h: Vec<T>,
    pub weights: Vec<T>,
    pub norm: Vec<T>,
}

/// Gradients of the whole batch.
///
/// With `g = dL/dout`, `G_l = g_l W_l^T`: `dL/dt_l = w_l G_l / n - t_l q / ((2l+1) n^2)`, where
/// `q = sum_l <g_l, out_l - bias part>` needs no product; `dL/dW_l = w_l U_l` with
/// `U_l = sum_b t_l^T g_l / n`, and `dL/dw_l = <W_l, U_l>`.
pub(super) fn backward<T: Real>(plan: &Plan, saved: &Saved<T>) -> Gradients<T> {
    let (di, dout) = (plan.input.dim(), plan.output.dim());
    let packed = Packed::new(plan, saved.weights);
    let sums = column_sums(plan, saved.weights);
    let mut gh = vec![T::zero(); saved.h.len()];
    let parts = parts(saved.h.len() / di, LANES);
    let part_len = parts.first().map_or(1, |p| p.len());
    let partial: Vec<Vec<T>> = gh
        .par_chunks_mut(part_len * di)
        .zip(parts)
        .map(|(gh, part)| {
            let mut u = vec![
                T::zero();
                plan.degrees
                    .iter()
                    .map(|d| plan.live(d) * plan.out_channels)
                    .sum()
            ];
            for start in (0..part.len()).step_by(LANES) {
                let end = (start + LANES).min(part.len());
                let (a, b) = (part.start + start, part.start + end);
                let block = Saved {
                    h: &saved.h[a * di..b * di],
                    out: &saved.out[a * dout..b * dout],
                    grad: &saved.grad[a * dout..b * dout],
                    ..*saved
                };
                backward_block(
                    plan,
                    &packed,
                    &sums,
                    &block,
                    &mut gh[start * di..end * di],
                    &mut u,
                );
            }
            u
        })
        .collect();
    let (weights, norm) = finish(plan, saved, &sums, &tree_sum(partial));
    Gradients {
        h: gh,
        weights,
        norm,
    }
}

/// From the summed `U` to the gradients of weights, norm weights and bias.
fn finish<T: Real>(plan: &Plan, saved: &Saved<T>, sums: &[T], u: &[T]) -> (Vec<T>, Vec<T>) {
    let co = plan.out_channels;
    let mut gw = vec![T::zero(); plan.weight_len()];
    let mut gn = vec![T::zero(); saved.norm.len()];
    let mut rest = u;
    for d in &plan.degrees {
        for path in &d.paths {
            let rows = plan.rows_of(d, path);
            let (part, next) = rest.split_at(rows.len());
            rest = next;
            let mut dot = 0f64;
            for ((g, &u), &w) in gw[rows.clone()]
                .iter_mut()
                .zip(part)
                .zip(&saved.weights[rows])
            {
                *g = saved.norm[d.l] * u;
                dot += (w * u).to_f64();
            }
            gn[d.l] += T::from_f64(dot);
        }
    }
    // The bias reaches every row of W_0 alike.
    let mut column = vec![0f64; co];
    for sample in saved.grad.chunks_exact(plan.output.dim()) {
        for (c, &g) in column.iter_mut().zip(&sample[..co]) {
            *c += g.to_f64();
        }
    }
    let last = gn.len() - 1;
    let bias = saved.norm[last];
    gn[last] = T::from_f64(column.iter().zip(sums).map(|(&c, &s)| c * s.to_f64()).sum());
    let rows = plan.degrees[0].pairs * plan.channels;
    for row in gw[..rows * co].chunks_exact_mut(co) {
        for (g, &c) in row.iter_mut().zip(&column) {
            *g += bias * T::from_f64(c);
        }
    }
    (gw, gn)
}

/// One block: writes `gh`, adds to `u`.
fn backward_block<T: Real>(
    plan: &Plan,
    packed: &Packed<T>,
    sums: &[T],
    saved: &Saved<T>,
    gh: &mut [T],
    u: &mut [T],
) {
    let products: usize = plan.degrees.iter().map(|d| plan.product_len(d)).sum();
    let largest = plan
        .degrees
        .iter()
        .map(|d| plan.product_len(d))
        .max()
        .unwrap_or(0);
    let largest_out = plan
        .degrees
        .iter()
        .map(|d| plan.out_len(d))
        .max()
        .unwrap_or(0);
    let len = 2 * plan.block_len() + products + largest + largest_out;
    scratch::<T, _>(len, |memory| {
        let (block, rest) = memory.split_at_mut(plan.block_len());
        let (gblock, rest) = rest.split_at_mut(plan.block_len());
        let (product, rest) = rest.split_at_mut(products);
        let (gproduct, gout) = rest.split_at_mut(largest);
        gather(plan, saved.h, block);
        gblock.fill(T::zero());
        let mut squares = [T::zero(); LANES];
        let mut at = 0;
        for d in &plan.degrees {
            let len = plan.product_len(d);
            expand(
                plan,
                d,
                lanes(block),
                lanes_mut(&mut product[at..at + len]),
                &mut squares,
            );
            at += len;
        }
        let inverse = inverse_norms(&squares);
        let pull = norm_pull(plan, saved, sums, &inverse);
        let (mut product, mut u) = (&*product, u);
        for (d, w) in plan.degrees.iter().zip(&packed.live) {
            let (t, rest) = product.split_at(plan.product_len(d));
            product = rest;
            let (u_d, rest) = u.split_at_mut(w.len());
            u = rest;
            let gout = &mut gout[..plan.out_len(d)];
            gather_grad(plan, d, saved.grad, &inverse, gout);
            let gproduct = &mut gproduct[..t.len()];
            unmap(plan, d, t, w, gout, gproduct, u_d);
            let scale = saved.norm[d.l];
            let shares = pull.map(|p| p * T::from_f64(1.0 / (2 * d.l + 1) as f64));
            contract(
                plan,
                d,
                lanes(block),
                lanes(t),
                lanes_mut(gproduct),
                (scale, &shares),
                lanes_mut(gblock),
            );
        }
        scatter_grad(plan, gblock, gh);
    });
}

/// `q / n^2` per lane.
fn norm_pull<T: Real>(plan: &Plan, saved: &Saved<T>, sums: &[T], inverse: &Lanes<T>) -> Lanes<T> {
    let co = plan.out_channels;
    let bias = saved.norm[saved.norm.len() - 1];
    let mut pull = [T::zero(); LANES];
    let dim = plan.output.dim();
    for (lane, (out, grad)) in saved
        .out
        .chunks_exact(dim)
        .zip(saved.grad.chunks_exact(dim))
        .enumerate()
    {
        let q = dot(out, grad) - bias * dot(sums, &grad[..co]);
        pull[lane] = q * inverse[lane] * inverse[lane];
    }
    pull
}

/// Inner product, summed lane by lane so that it vectorises.
fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    let mut sum = [T::zero(); LANES];
    let (a_lanes, b_lanes) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: T = a_lanes
        .remainder()
        .iter()
        .zip(b_lanes.remainder())
        .map(|(&a, &b)| a * b)
        .sum();
    for (a, b) in a_lanes.zip(b_lanes) {
        for s in 0..LANES {
            sum[s] += a[s] * b[s];
        }
    }
    rest + sum.into_iter().sum::<T>()
}

/// `u += t^T gout`, `gt = gout W^T`.
fn unmap<T: Real>(
    plan: &Plan,
    d: &Degree,
    t: &[T],
    w: &[T],
    gout: &[T],
    gt: &mut [T],
    u: &mut [T],
) {
    let (rows, co, k) = ((2 * d.l + 1) * LANES, plan.out_channels, plan.live(d));
    matmul(
        (k, co, rows),
        (u, co, 1),
        Matrix {
            data: t,
            row: rows,
            column: 1,
        },
        Matrix {
            data: gout,
            row: 1,
            column: rows,
        },
        true,
    );
    matmul(
        (rows, k, co),
        (gt, 1, rows),
        Matrix {
            data: gout,
            row: 1,
            column: rows,
        },
        Matrix {
            data: w,
            row: 1,
            column: co,
        },
        false,
    );
}
