//! Contractions on the processor.

use super::incidence::Incidence;
use super::kinds::{Contraction, Kind, Row};
use super::place::Place;
use crate::for_isa;
use crate::ops::cpu::Real;
use crate::ops::lanes::{LANES, Lanes, add, load, total};
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
            add_edge(job, edge, out);
        }
    }
}

impl<'a, T: Real> Operand<'a, T> {
    /// First element of an edge's row.
    #[inline(always)]
    fn start(&self, edges: &Incidence, edge: usize) -> usize {
        edges.row(self.place, edge) * self.row
    }

    /// The channels of an axis of the row that starts somewhere.
    #[inline(always)]
    fn channels(&self, start: usize, axis: usize, channels: usize) -> &'a [T] {
        &self.data[start + axis * self.axis..][..channels]
    }
}

/// Adds the product of one edge to a row of the result.
#[inline(always)]
fn add_edge<T: Real>(job: &Job<T>, edge: usize, out: &mut [T]) {
    match *job.wide {
        [] => add_product::<T, 0>(job, [], edge, out),
        [a] => add_product::<T, 1>(job, [a], edge, out),
        [a, b] => add_product::<T, 2>(job, [a, b], edge, out),
        [a, b, c, ..] => add_product::<T, 3>(job, [a, b, c], edge, out),
    }
}

/// Axes that are computed together.
const AXES: usize = 8;

/// [`add_edge`] for some factors with channels.
#[inline(always)]
fn add_product<T: Real, const K: usize>(
    job: &Job<T>,
    wide: [Operand<T>; K],
    edge: usize,
    out: &mut [T],
) {
    let n = job.channels;
    let mut starts = [0; K];
    for (start, factor) in starts.iter_mut().zip(&wide) {
        *start = factor.start(job.edges, edge);
    }
    for first in (0..job.axes).step_by(AXES) {
        let axes = AXES.min(job.axes - first);
        let mut scales = [T::one(); AXES];
        for factor in &job.numbers {
            let start = factor.start(job.edges, edge) + first * factor.axis;
            for (a, scale) in scales[..axes].iter_mut().enumerate() {
                *scale *= factor.data[start + a * factor.axis];
            }
        }
        let mut factors = [[[].as_slice(); K]; AXES];
        for (a, factors) in factors[..axes].iter_mut().enumerate() {
            for k in 0..K {
                factors[k] = wide[k].channels(starts[k], first + a, n);
            }
        }
        let terms = || scales.iter().zip(&factors).take(axes);
        let out = &mut out[first * job.out_axis..];
        if !job.out_has_channels {
            for (a, (&scale, factors)) in terms().enumerate() {
                out[a * job.out_axis] += match K {
                    0 => scale,
                    _ => scale * sum_products(factors, n),
                };
            }
        } else if job.out_axis > 0 {
            for (a, (&scale, factors)) in terms().enumerate() {
                let out = &mut out[a * job.out_axis..][..n];
                for from in (0..n).step_by(LANES) {
                    add(&product(scale, factors, from), out, from);
                }
            }
        } else {
            for from in (0..n).step_by(LANES) {
                let mut sum = [T::zero(); LANES];
                for (&scale, factors) in terms() {
                    let product = product(scale, factors, from);
                    for s in 0..LANES {
                        sum[s] += product[s];
                    }
                }
                add(&sum, &mut out[..n], from);
            }
        }
    }
}

/// `scale` times the product of the factors at some channels.
#[inline(always)]
fn product<T: Real, const K: usize>(scale: T, factors: &[&[T]; K], from: usize) -> Lanes<T> {
    let mut product = [scale; LANES];
    for factor in factors {
        let factor = load(factor, from);
        for s in 0..LANES {
            product[s] *= factor[s];
        }
    }
    product
}

/// The product of the factors summed over `n` channels, in two vectors of lanes.
#[inline(always)]
fn sum_products<T: Real, const K: usize>(factors: &[&[T]; K], n: usize) -> T {
    let mut sums = [[T::zero(); LANES]; 2];
    for from in (0..n).step_by(2 * LANES) {
        for (half, sum) in sums.iter_mut().enumerate() {
            let from = from + half * LANES;
            if from < n {
                let product = product(T::one(), factors, from);
                for s in 0..LANES {
                    sum[s] += product[s];
                }
            }
        }
    }
    let [mut sum, other] = sums;
    for s in 0..LANES {
        sum[s] += other[s];
    }
    total(sum)
}
