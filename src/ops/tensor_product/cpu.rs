//! Tensor products on the processor.

use super::plan::Coupling;
use super::{LEFT, OUT, RIGHT, TensorProduct, WEIGHTS};
use crate::for_isa;
use crate::ops::cpu::{Real, fma};
use crate::ops::form::Arguments;
use crate::ops::lanes::{LANES, Lanes, add, load, total};
use crate::ops::segment::{Incidence, Place};
use rayon::prelude::*;
use std::ops::Range;

/// What is computed, as the inner loops see it.
struct Job<'a, T> {
    edges: &'a Incidence,
    couplings: &'a [Coupling],
    /// What of each coupling is not zero.
    maps: Vec<Map<T>>,
    arguments: Arguments<'a, T>,
    places: [Place; 4],
    widths: [usize; 4],
    by: usize,
    weighted: bool,
}

/// The derivative's rows one after another. Blocks of rows are computed side by side; each row is
/// summed by one thread in the order of its edges.
pub(super) fn derivative<T: Real>(
    form: &TensorProduct,
    by: usize,
    arguments: Arguments<T>,
    weighted: bool,
) -> Vec<T> {
    /// Numbers of the result that one thread takes at a time, about.
    const BLOCK: usize = 4096;
    let couplings = &form.plan.couplings;
    let job = Job {
        edges: &form.edges,
        couplings,
        maps: couplings.iter().map(|c| Map::new(c, by)).collect(),
        arguments,
        places: form.places,
        widths: form.plan.widths(),
        by,
        weighted,
    };
    let width = job.widths[by];
    let mut out = vec![T::zero(); form.edges.rows(job.places[by]) * width];
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
    let most = job.maps.iter().map(|map| map.sources.len()).max();
    let mut matrix = vec![T::zero(); most.unwrap_or(0)];
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
    for (coupling, map) in job.couplings.iter().zip(&job.maps) {
        let part = |argument: usize| coupling.part(argument);
        let out = &mut out[part(job.by)];
        let blocks: [&[T]; 4] = std::array::from_fn(|argument| match rows[argument] {
            [] => [].as_slice(),
            row => &row[part(argument)],
        });
        if coupling.right_channels > 1 {
            channelwise::<T, FUSED>(coupling, &map.terms, job.by, blocks, out);
            continue;
        }
        let matrix = &mut matrix[..map.sources.len()];
        if job.by != RIGHT {
            matrix.fill(T::zero());
            for (&place, &([_, b, _], factor)) in map.places.iter().zip(&map.terms) {
                matrix[place] += factor * blocks[RIGHT][b];
            }
        }
        let n = coupling.channels;
        match job.by {
            OUT => map.multiply::<FUSED>(n, matrix, blocks[LEFT], blocks[WEIGHTS], out),
            LEFT => map.multiply::<FUSED>(n, matrix, blocks[OUT], blocks[WEIGHTS], out),
            WEIGHTS => map.weigh::<FUSED>(n, matrix, blocks, out),
            _ => map.collect::<FUSED>(n, matrix, blocks, out),
        }
    }
}

/// The linear map between left and result that a right factor without channels is, without its
/// zeros: components of the derivative's argument, each made of some components of the other one.
/// (By weights and by the right factor: components of the result, made of those of left.)
struct Map<T> {
    /// Where each of `sources` starts that a component is made of.
    groups: Vec<(usize, Range<usize>)>,
    /// Components of the other argument.
    sources: Vec<usize>,
    /// Components of left, right and result, and the factor of their product.
    terms: Vec<([usize; 3], T)>,
    /// The number in `sources` that each term is a part of.
    places: Vec<usize>,
}

impl<T: Real> Map<T> {
    fn new(coupling: &Coupling, by: usize) -> Self {
        let ends = |at: [usize; 3]| match by {
            LEFT => [at[0], at[2]],
            _ => [at[2], at[0]],
        };
        let mut pairs: Vec<[usize; 2]> = coupling.terms.iter().map(|t| ends(t.at)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let mut groups: Vec<(usize, Range<usize>)> = Vec::new();
        for (i, &[to, _]) in pairs.iter().enumerate() {
            match groups.last_mut() {
                Some((last, range)) if *last == to => range.end = i + 1,
                _ => groups.push((to, i..i + 1)),
            }
        }
        let place = |at| pairs.partition_point(|pair| *pair < ends(at));
        let terms = coupling.terms.iter();
        Self {
            groups,
            sources: pairs.iter().map(|pair| pair[1]).collect(),
            places: terms.clone().map(|t| place(t.at)).collect(),
            terms: terms.map(|t| (t.at, T::from_f64(t.factor))).collect(),
        }
    }

    /// A component that the map makes of `x`, at some channels.
    #[inline(always)]
    fn image<const FUSED: bool>(
        &self,
        range: &Range<usize>,
        n: usize,
        matrix: &[T],
        x: &[T],
        from: usize,
    ) -> Lanes<T> {
        let mut sum = [T::zero(); LANES];
        for (&factor, &source) in matrix[range.clone()]
            .iter()
            .zip(&self.sources[range.clone()])
        {
            let x = load(&x[source * n..][..n], from);
            for s in 0..LANES {
                sum[s] = fma::<T, FUSED>(factor, x[s], sum[s]);
            }
        }
        sum
    }

    /// Derivatives by result and left: the map of the other of the two, times the weights.
    #[inline(always)]
    fn multiply<const FUSED: bool>(
        &self,
        n: usize,
        matrix: &[T],
        x: &[T],
        weights: &[T],
        out: &mut [T],
    ) {
        for u in (0..n).step_by(LANES) {
            let weights = match weights {
                [] => [T::one(); LANES],
                weights => load(weights, u),
            };
            for (to, range) in &self.groups {
                let mut sum = self.image::<FUSED>(range, n, matrix, x, u);
                for s in 0..LANES {
                    sum[s] *= weights[s];
                }
                add(&sum, &mut out[to * n..][..n], u);
            }
        }
    }

    /// Derivative by the weights.
    #[inline(always)]
    fn weigh<const FUSED: bool>(&self, n: usize, matrix: &[T], blocks: [&[T]; 4], out: &mut [T]) {
        for u in (0..n).step_by(LANES) {
            let mut sum = [T::zero(); LANES];
            for (to, range) in &self.groups {
                let image = self.image::<FUSED>(range, n, matrix, blocks[LEFT], u);
                let grad = load(&blocks[OUT][to * n..][..n], u);
                for s in 0..LANES {
                    sum[s] = fma::<T, FUSED>(image[s], grad[s], sum[s]);
                }
            }
            add(&sum, out, u);
        }
    }

    /// Derivative by a right factor without channels.
    #[inline(always)]
    fn collect<const FUSED: bool>(
        &self,
        n: usize,
        matrix: &mut [T],
        blocks: [&[T]; 4],
        out: &mut [T],
    ) {
        for (to, range) in &self.groups {
            let grad = &blocks[OUT][to * n..][..n];
            for (place, &source) in range.clone().zip(&self.sources[range.clone()]) {
                let x = &blocks[LEFT][source * n..][..n];
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
                matrix[place] = total(lanes);
            }
        }
        for (&place, &([_, b, _], factor)) in self.places.iter().zip(&self.terms) {
            out[b] += factor * matrix[place];
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
