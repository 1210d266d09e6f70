//! Contractions on the processor.

use super::incidence::Incidence;
use super::kinds::{Contraction, Kind, Row};
use super::place::Place;
use crate::for_isa;
use crate::ops::cpu::Real;
use crate::ops::lanes::{LANES, Lanes, load, total};
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
    match *job.wide {
        [] => sum_numbers(job, first, out),
        [a] => sum_axes(job, [a], first, out),
        [a, b] => sum_axes(job, [a, b], first, out),
        [a, b, c, ..] => sum_axes(job, [a, b, c], first, out),
    }
}

/// [`sum_rows`] where no factor has channels; all channels of the result, if it has any, are the same.
#[inline(always)]
fn sum_numbers<T: Real>(job: &Job<T>, first: usize, out: &mut [T]) {
    let channels = if job.out_has_channels {
        job.channels
    } else {
        1
    };
    for (i, out) in out.chunks_exact_mut(job.out_row).enumerate() {
        for edge in job.edges.edges_of(job.out, first + i) {
            for axis in 0..job.axes {
                let mut product = T::one();
                for factor in &job.numbers {
                    product *= factor.data[factor.start(job.edges, edge) + axis * factor.axis];
                }
                let out = &mut out[axis * job.out_axis..][..channels];
                out.iter_mut().for_each(|sum| *sum += product);
            }
        }
    }
}

/// [`sum_rows`] with factors that have channels: three axes at a time, as those of space, or one.
#[inline(always)]
fn sum_axes<T: Real, const K: usize>(
    job: &Job<T>,
    wide: [Operand<T>; K],
    first: usize,
    out: &mut [T],
) {
    let mut axis = 0;
    while axis + 3 <= job.axes {
        Walk::<T, K, 3> { job, wide, axis }.rows(first, out);
        axis += 3;
    }
    while axis < job.axes {
        Walk::<T, K, 1> { job, wide, axis }.rows(first, out);
        axis += 1;
    }
}

impl<T> Operand<'_, T> {
    /// First element of an edge's row.
    #[inline(always)]
    fn start(&self, edges: &Incidence, edge: usize) -> usize {
        edges.row(self.place, edge) * self.row
    }
}

/// A walk over rows that sums the products of `K` factors with channels, at `A` axes.
struct Walk<'a, T, const K: usize, const A: usize> {
    job: &'a Job<'a, T>,
    wide: [Operand<'a, T>; K],
    /// The first of the axes.
    axis: usize,
}

/// Where an edge's factors are, and what their product is multiplied by.
#[derive(Clone, Copy)]
struct Spot<T, const K: usize, const A: usize> {
    /// Where the channels of each factor start, at the first axis.
    starts: [usize; K],
    /// The product of the factors without channels.
    scales: [T; A],
}

impl<T: Real, const K: usize, const A: usize> Walk<'_, T, K, A> {
    /// Sums the rows of the result from `first` on.
    #[inline(always)]
    fn rows(&self, first: usize, out: &mut [T]) {
        /// Edges whose products are summed in registers.
        const EDGES: usize = 16;
        let job = self.job;
        let mut spots = [Spot {
            starts: [0; K],
            scales: [T::one(); A],
        }; EDGES];
        for (i, out) in out.chunks_exact_mut(job.out_row).enumerate() {
            let out = &mut out[self.axis * job.out_axis..];
            if job.out == Place::Edge {
                self.sum(&[self.spot(first + i)], out);
                continue;
            }
            let mut len = 0;
            for edge in job.edges.edges_of(job.out, first + i) {
                if len == EDGES {
                    self.sum(&spots, out);
                    len = 0;
                }
                spots[len] = self.spot(edge);
                len += 1;
            }
            self.sum(&spots[..len], out);
        }
    }

    #[inline(always)]
    fn spot(&self, edge: usize) -> Spot<T, K, A> {
        let Job { edges, numbers, .. } = self.job;
        let start = |factor: &Operand<T>| factor.start(edges, edge) + self.axis * factor.axis;
        let starts = self.wide.each_ref().map(|factor| {
            let start = start(factor);
            // What `lanes` relies on.
            assert!(start + (A - 1) * factor.axis + self.job.channels <= factor.data.len());
            start
        });
        let mut scales = [T::one(); A];
        for factor in numbers {
            let start = start(factor);
            for (a, scale) in scales.iter_mut().enumerate() {
                *scale *= factor.data[start + a * factor.axis];
            }
        }
        Spot { starts, scales }
    }

    /// Adds the products of some edges to a row of the result.
    #[inline(always)]
    fn sum(&self, spots: &[Spot<T, K, A>], out: &mut [T]) {
        let (job, n) = (self.job, self.job.channels);
        if !job.out_has_channels {
            for spot in spots {
                for (a, &scale) in spot.scales.iter().enumerate() {
                    out[a * job.out_axis] += scale * self.inner(spot, a);
                }
            }
            return;
        }
        let whole = n - n % LANES;
        let mut from = 0;
        while from < whole {
            self.sum_lanes::<true>(spots, from, out);
            from += LANES;
        }
        if whole < n {
            self.sum_lanes::<false>(spots, whole, out);
        }
    }

    /// [`Walk::sum`] of the channels from one on.
    #[inline(always)]
    fn sum_lanes<const WHOLE: bool>(&self, spots: &[Spot<T, K, A>], from: usize, out: &mut [T]) {
        let (n, step) = (self.job.channels, self.job.out_axis);
        if step > 0 {
            let mut sums: [Lanes<T>; A] =
                std::array::from_fn(|a| get::<T, WHOLE>(&out[a * step..][..n], from));
            for spot in spots {
                for (a, sum) in sums.iter_mut().enumerate() {
                    let product = self.product::<WHOLE>(spot.scales[a], spot, a, from);
                    *sum = plus(*sum, product);
                }
            }
            for (a, sum) in sums.iter().enumerate() {
                put::<T, WHOLE>(sum, &mut out[a * step..][..n], from);
            }
        } else {
            let mut sum = get::<T, WHOLE>(&out[..n], from);
            for spot in spots {
                let mut of_axes = [T::zero(); LANES];
                for (a, &scale) in spot.scales.iter().enumerate() {
                    let product = self.product::<WHOLE>(scale, spot, a, from);
                    of_axes = plus(of_axes, product);
                }
                sum = plus(sum, of_axes);
            }
            put::<T, WHOLE>(&sum, &mut out[..n], from);
        }
    }

    /// The product of the factors at an axis summed over the channels, in two vectors of lanes in
    /// turn.
    #[inline(always)]
    fn inner(&self, spot: &Spot<T, K, A>, a: usize) -> T {
        let n = self.job.channels;
        let mut sums = [[T::zero(); LANES]; 2];
        let whole = n - n % LANES;
        let pairs = n - n % (2 * LANES);
        let one = T::one();
        let mut from = 0;
        while from < pairs {
            sums[0] = plus(sums[0], self.product::<true>(one, spot, a, from));
            sums[1] = plus(sums[1], self.product::<true>(one, spot, a, from + LANES));
            from += 2 * LANES;
        }
        if pairs < whole {
            sums[0] = plus(sums[0], self.product::<true>(one, spot, a, pairs));
        }
        if whole < n {
            let rest = self.product::<false>(one, spot, a, whole);
            match whole == pairs {
                true => sums[0] = plus(sums[0], rest),
                false => sums[1] = plus(sums[1], rest),
            }
        }
        total(plus(sums[0], sums[1]))
    }

    /// `scale` times the product of the factors at an axis and some channels.
    #[inline(always)]
    fn product<const WHOLE: bool>(
        &self,
        scale: T,
        spot: &Spot<T, K, A>,
        a: usize,
        from: usize,
    ) -> Lanes<T> {
        let mut product = [scale; LANES];
        for (k, factor) in self.wide.iter().enumerate() {
            let start = spot.starts[k] + a * factor.axis;
            let lanes = match WHOLE {
                // SAFETY: `spot` has checked that all channels of the axis are there, and those
                // from `from` on fill the lanes.
                true => unsafe { lanes(factor.data, start + from) },
                false => load(&factor.data[..start + self.job.channels], start + from),
            };
            product = times(product, lanes);
        }
        product
    }
}

/// The lanes from an element on.
///
/// # Safety
/// There are as many elements.
#[inline(always)]
unsafe fn lanes<T: Real>(data: &[T], from: usize) -> Lanes<T> {
    debug_assert!(from + LANES <= data.len());
    // SAFETY: the caller's.
    unsafe { data.as_ptr().add(from).cast::<Lanes<T>>().read() }
}

/// The lanes from a channel on, of which there are enough if `WHOLE`.
#[inline(always)]
fn get<T: Real, const WHOLE: bool>(channels: &[T], from: usize) -> Lanes<T> {
    if !WHOLE {
        return load(channels, from);
    }
    let mut lanes = [T::zero(); LANES];
    lanes.copy_from_slice(&channels[from..from + LANES]);
    lanes
}

/// Writes what [`get`] reads.
#[inline(always)]
fn put<T: Real, const WHOLE: bool>(lanes: &Lanes<T>, channels: &mut [T], from: usize) {
    match WHOLE {
        true => channels[from..from + LANES].copy_from_slice(lanes),
        false => {
            let rest = channels.len() - from;
            channels[from..].copy_from_slice(&lanes[..rest]);
        }
    }
}

#[inline(always)]
fn plus<T: Real>(mut a: Lanes<T>, b: Lanes<T>) -> Lanes<T> {
    (0..LANES).for_each(|s| a[s] += b[s]);
    a
}

#[inline(always)]
fn times<T: Real>(mut a: Lanes<T>, b: Lanes<T>) -> Lanes<T> {
    (0..LANES).for_each(|s| a[s] *= b[s]);
    a
}
