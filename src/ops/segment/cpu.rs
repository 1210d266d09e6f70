//! Contractions on the processor.

use super::incidence::Incidence;
use super::kinds::{Contraction, Kind, Place, Row};
use crate::for_isa;
use crate::ops::cpu::{Real, fma};
use rayon::prelude::*;

/// A factor's elements.
#[derive(Clone, Copy)]
struct Operand<'a, T> {
    data: &'a [T],
    place: Place,
    /// Elements from a row to the next, and from an axis to the next (zero without axes).
    row: usize,
    axis: usize,
}

/// What is computed, as the inner loops see it.
struct Job<'a, T> {
    edges: &'a Incidence,
    /// Factors without channels.
    numbers: Vec<Operand<'a, T>>,
    /// Factors with channels.
    wide: Vec<Operand<'a, T>>,
    axes: usize,
    channels: usize,
    out: Place,
    out_row: usize,
    /// Elements from an axis of the result to the next (zero without axes).
    out_axis: usize,
    out_has_channels: bool,
}

/// The rows of a contraction's result one after another. Blocks of rows are computed side by side;
/// each row is summed by one thread in the order of its edges.
pub(super) fn contract<T: Real, const N: usize>(op: &Contraction<N>, data: [&[T]; N]) -> Vec<T> {
    /// Elements of the result that one thread takes at a time, about.
    const BLOCK: usize = 4096;
    let (axes, channels) = (op.widths.axes, op.widths.channels);
    let step = |row: Row| match (row.has_axes(), row.has_channels()) {
        (true, true) => channels,
        (true, false) => 1,
        (false, _) => 0,
    };
    let operand = |(kind, data): (&Kind, _)| {
        let operand = Operand {
            data,
            place: kind.place,
            row: op.widths.row(kind.row),
            axis: step(kind.row),
        };
        (kind.row.has_channels(), operand)
    };
    let operands: Vec<_> = op.factors.iter().zip(data).map(operand).collect();
    let of = |wide: bool| operands.iter().filter(move |o| o.0 == wide).map(|o| o.1);
    let job = Job {
        edges: &op.edges,
        numbers: of(false).collect(),
        wide: of(true).collect(),
        axes,
        channels,
        out: op.out.place,
        out_row: op.widths.row(op.out.row),
        out_axis: step(op.out.row),
        out_has_channels: op.out.row.has_channels(),
    };
    let mut out = vec![T::zero(); op.edges.rows(op.out.place) * job.out_row];
    if out.is_empty() {
        return out;
    }
    let rows = (BLOCK / job.out_row).max(1);
    out.par_chunks_mut(rows * job.out_row)
        .enumerate()
        .for_each(|(block, out)| sum_rows(&job, block * rows, out));
    out
}

for_isa!(
    /// Sums the rows of the result from `first` on.
    fn sum_rows(job: &Job<'_, T>, first: usize, out: &mut [T]) = sum_rows_any
);

#[inline(always)]
fn sum_rows_any<T: Real, const FUSED: bool>(job: &Job<T>, first: usize, out: &mut [T]) {
    for (i, out) in out.chunks_exact_mut(job.out_row).enumerate() {
        let row = first + i;
        for edge in job.edges.edges_of(job.out, row) {
            add_edge::<T, FUSED>(job, edge, out);
        }
    }
}

impl<'a, T: Real> Operand<'a, T> {
    /// First element of an edge's row.
    #[inline(always)]
    fn start(&self, edges: &Incidence, edge: usize) -> usize {
        edges.row(self.place, edge) * self.row
    }
}

/// Adds the product of one edge to a row of the result.
#[inline(always)]
fn add_edge<T: Real, const FUSED: bool>(job: &Job<T>, edge: usize, out: &mut [T]) {
    let n = job.channels;
    for a in 0..job.axes {
        let mut scale = T::one();
        for factor in &job.numbers {
            scale *= factor.data[factor.start(job.edges, edge) + a * factor.axis];
        }
        let channels = |k: usize| {
            let factor = &job.wide[k];
            let at = factor.start(job.edges, edge) + a * factor.axis;
            &factor.data[at..at + n]
        };
        let out = &mut out[a * job.out_axis..];
        if job.out_has_channels {
            let out = &mut out[..n];
            match job.wide.len() {
                0 => out.iter_mut().for_each(|o| *o += scale),
                1 => add_scaled::<T, 1, FUSED>(scale, [channels(0)], out),
                2 => add_scaled::<T, 2, FUSED>(scale, [channels(0), channels(1)], out),
                _ => add_scaled::<T, 3, FUSED>(scale, [0, 1, 2].map(channels), out),
            }
        } else {
            out[0] += scale
                * match job.wide.len() {
                    0 => T::one(),
                    1 => sum_products::<T, 1, FUSED>([channels(0)], n),
                    2 => sum_products::<T, 2, FUSED>([channels(0), channels(1)], n),
                    _ => sum_products::<T, 3, FUSED>([0, 1, 2].map(channels), n),
                };
        }
    }
}

/// Adds `scale` times the product of the factors to every channel.
#[inline(always)]
fn add_scaled<T: Real, const K: usize, const FUSED: bool>(
    scale: T,
    factors: [&[T]; K],
    out: &mut [T],
) {
    let factors = factors.map(|f| &f[..out.len()]);
    for (i, o) in out.iter_mut().enumerate() {
        let mut product = scale;
        for factor in &factors[1..] {
            product *= factor[i];
        }
        *o = fma::<T, FUSED>(product, factors[0][i], *o);
    }
}

/// The product of the factors summed over `n` channels, in eight lanes.
#[inline(always)]
fn sum_products<T: Real, const K: usize, const FUSED: bool>(factors: [&[T]; K], n: usize) -> T {
    const LANES: usize = 8;
    let factors = factors.map(|f| &f[..n]);
    let product = |i: usize| {
        let mut product = T::one();
        for factor in &factors[1..] {
            product *= factor[i];
        }
        product
    };
    let mut lanes = [T::zero(); LANES];
    for i in 0..n / LANES {
        for (s, lane) in lanes.iter_mut().enumerate() {
            let i = i * LANES + s;
            *lane = fma::<T, FUSED>(product(i), factors[0][i], *lane);
        }
    }
    let whole = n / LANES * LANES;
    let rest: T = (whole..n).map(|i| product(i) * factors[0][i]).sum();
    lanes.into_iter().sum::<T>() + rest
}
