//! Tensor products on the processor.

use super::plan::Coupling;
use super::{Form, LEFT, OUT, RIGHT, WEIGHTS};
use crate::for_isa;
use crate::ops::cpu::{Real, fma};
use crate::ops::lanes::{LANES, add, load};
use crate::ops::segment::{Incidence, Place};
use rayon::prelude::*;
use std::ops::Range;

/// What is computed, as the inner loops see it.
struct Job<'a, T> {
    edges: &'a Incidence,
    couplings: &'a [Coupling],
    /// The terms of each coupling with factors of this type.
    terms: Vec<Vec<([usize; 3], T)>>,
    arguments: [&'a [T]; 4],
    places: [Place; 4],
    widths: [usize; 4],
    by: usize,
    weighted: bool,
}

/// The derivative's rows one after another. Blocks of rows are computed side by side; each row is
/// summed by one thread in the order of its edges.
pub(super) fn derivative<T: Real, const N: usize>(form: &Form<N>, arguments: [&[T]; 4]) -> Vec<T> {
    /// Numbers of the result that one thread takes at a time, about.
    const BLOCK: usize = 4096;
    let couplings = &form.plan.couplings;
    let terms = |c: &Coupling| {
        let term = |t: &super::plan::Term| (t.at, T::from_f64(t.factor));
        c.terms.iter().map(term).collect()
    };
    let job = Job {
        edges: &form.edges,
        couplings,
        terms: couplings.iter().map(terms).collect(),
        arguments,
        places: form.places,
        widths: form.plan.widths(),
        by: form.by,
        weighted: N == 3,
    };
    let width = job.widths[job.by];
    let mut out = vec![T::zero(); form.edges.rows(job.places[job.by]) * width];
    if out.is_empty() {
        return out;
    }
    let rows = (BLOCK / width).max(1);
    out.par_chunks_mut(rows * width)
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
    let size = |c: &Coupling| c.dims[0] * c.dims[2];
    let mut matrix = vec![T::zero(); job.couplings.iter().map(size).max().unwrap_or(0)];
    for (i, out) in out.chunks_exact_mut(job.widths[job.by]).enumerate() {
        let row = first + i;
        for edge in job.edges.edges_of(job.places[job.by], row) {
            add_edge::<T, FUSED>(job, edge, &mut matrix, out);
        }
    }
}

impl<'a, T: Real> Job<'a, T> {
    /// The row of an argument that an edge has to do with.
    #[inline(always)]
    fn row(&self, argument: usize, edge: usize) -> &'a [T] {
        let row = self.edges.row(self.places[argument], edge);
        let width = self.widths[argument];
        &self.arguments[argument][row * width..][..width]
    }
}

/// Adds what one edge gives to a row of the result.
#[inline(always)]
fn add_edge<T: Real, const FUSED: bool>(
    job: &Job<T>,
    edge: usize,
    matrix: &mut [T],
    out: &mut [T],
) {
    let mut rows: [&[T]; 4] = [&[]; 4];
    for argument in [LEFT, RIGHT, OUT, WEIGHTS] {
        if argument != job.by && (argument != WEIGHTS || job.weighted) {
            rows[argument] = job.row(argument, edge);
        }
    }
    for (coupling, terms) in job.couplings.iter().zip(&job.terms) {
        let part = |argument: usize| coupling.part(argument);
        let out = &mut out[part(job.by)];
        let blocks: [&[T]; 4] = std::array::from_fn(|argument| match rows[argument] {
            [] => [].as_slice(),
            row => &row[part(argument)],
        });
        if coupling.right_channels > 1 {
            channelwise::<T, FUSED>(coupling, terms, job.by, blocks, out);
            continue;
        }
        let matrix = &mut matrix[..coupling.dims[0] * coupling.dims[2]];
        if job.by != RIGHT {
            coupling.matrix(terms, blocks[RIGHT], matrix);
        }
        match job.by {
            OUT | LEFT => multiply::<T, FUSED>(coupling, matrix, job.by, blocks, out),
            WEIGHTS => weigh::<T, FUSED>(coupling, matrix, blocks, out),
            _ => collect::<T, FUSED>(coupling, terms, matrix, blocks, out),
        }
    }
}

impl Coupling {
    /// Where its block of an argument is in a row.
    #[inline(always)]
    fn part(&self, argument: usize) -> Range<usize> {
        let channels = if argument == RIGHT {
            self.right_channels
        } else {
            self.channels
        };
        let dim = if argument == WEIGHTS {
            1
        } else {
            self.dims[argument]
        };
        let start = self.starts[argument];
        start..start + dim * channels
    }

    /// The linear map of left to result that a right factor is, `[left, result]`.
    #[inline(always)]
    fn matrix<T: Real>(&self, terms: &[([usize; 3], T)], right: &[T], matrix: &mut [T]) {
        matrix.fill(T::zero());
        for &([a, b, c], factor) in terms {
            matrix[a * self.dims[2] + c] += factor * right[b];
        }
    }
}

/// Derivatives by result and left: the map, or its transpose, of the other of the two, times the
/// weights.
#[inline(always)]
fn multiply<T: Real, const FUSED: bool>(
    coupling: &Coupling,
    matrix: &[T],
    by: usize,
    blocks: [&[T]; 4],
    out: &mut [T],
) {
    let n = coupling.channels;
    let (from, steps) = match by {
        OUT => (LEFT, [coupling.dims[2], 1]),
        _ => (OUT, [1, coupling.dims[2]]),
    };
    for (to, out) in out.chunks_exact_mut(n).enumerate() {
        for u in (0..n).step_by(LANES) {
            let mut sum = [T::zero(); LANES];
            for (i, x) in blocks[from].chunks_exact(n).enumerate() {
                let (factor, x) = (matrix[i * steps[0] + to * steps[1]], load(x, u));
                for s in 0..LANES {
                    sum[s] = fma::<T, FUSED>(factor, x[s], sum[s]);
                }
            }
            if !blocks[WEIGHTS].is_empty() {
                let weights = load(blocks[WEIGHTS], u);
                (0..LANES).for_each(|s| sum[s] *= weights[s]);
            }
            add(&sum, out, u);
        }
    }
}

/// Derivative by the weights.
#[inline(always)]
fn weigh<T: Real, const FUSED: bool>(
    coupling: &Coupling,
    matrix: &[T],
    blocks: [&[T]; 4],
    out: &mut [T],
) {
    let n = coupling.channels;
    for u in (0..n).step_by(LANES) {
        let mut sum = [T::zero(); LANES];
        for (c, grad) in blocks[OUT].chunks_exact(n).enumerate() {
            let mut image = [T::zero(); LANES];
            for (a, x) in blocks[LEFT].chunks_exact(n).enumerate() {
                let (factor, x) = (matrix[a * coupling.dims[2] + c], load(x, u));
                for s in 0..LANES {
                    image[s] = fma::<T, FUSED>(factor, x[s], image[s]);
                }
            }
            let grad = load(grad, u);
            for s in 0..LANES {
                sum[s] = fma::<T, FUSED>(image[s], grad[s], sum[s]);
            }
        }
        add(&sum, out, u);
    }
}

/// Derivative by a right factor without channels.
#[inline(always)]
fn collect<T: Real, const FUSED: bool>(
    coupling: &Coupling,
    terms: &[([usize; 3], T)],
    matrix: &mut [T],
    blocks: [&[T]; 4],
    out: &mut [T],
) {
    let n = coupling.channels;
    for (a, x) in blocks[LEFT].chunks_exact(n).enumerate() {
        for (c, grad) in blocks[OUT].chunks_exact(n).enumerate() {
            let mut lanes = [T::zero(); LANES];
            for u in (0..n).step_by(LANES) {
                let (mut x, grad) = (load(x, u), load(grad, u));
                if !blocks[WEIGHTS].is_empty() {
                    let weights = load(blocks[WEIGHTS], u);
                    (0..LANES).for_each(|s| x[s] *= weights[s]);
                }
                for s in 0..LANES {
                    lanes[s] = fma::<T, FUSED>(x[s], grad[s], lanes[s]);
                }
            }
            matrix[a * coupling.dims[2] + c] = lanes.into_iter().sum();
        }
    }
    for &([a, b, c], factor) in terms {
        out[b] += factor * matrix[a * coupling.dims[2] + c];
    }
}

/// Any derivative where the right factor has channels.
#[inline(always)]
fn channelwise<T: Real, const FUSED: bool>(
    coupling: &Coupling,
    terms: &[([usize; 3], T)],
    by: usize,
    blocks: [&[T]; 4],
    out: &mut [T],
) {
    let n = coupling.channels;
    let [first, second] = match by {
        LEFT => [RIGHT, OUT],
        RIGHT => [LEFT, OUT],
        _ => [LEFT, RIGHT],
    };
    for &(at, factor) in terms {
        let row = |argument: usize| at[argument] * n..(at[argument] + 1) * n;
        let (x, y) = (&blocks[first][row(first)], &blocks[second][row(second)]);
        let out = &mut out[row(by)];
        for ((o, &x), &y) in out.iter_mut().zip(x).zip(y) {
            *o = fma::<T, FUSED>(factor * x, y, *o);
        }
    }
}
