//! The sparse Clebsch-Gordan product of a run of paths and its derivative, channels in the lanes
//! of each vector, by the best instructions of the machine.
//!
//! Rows of the input are padded with zeros to whole vectors. A term's rows and coefficient are
//! looked up once for two samples and up to four vectors of channels, whose sums stay in
//! registers: the loops over terms are short, and their ends hard to foresee. Rows of the
//! product are not padded: the surplus lanes of a path's last vector fall into the next path,
//! which is written after it, or behind the row.

use super::plan::{Coefficient, Degree, LANES, Path, Plan};
use crate::for_isa;
use crate::ops::cpu::{Real, fma};
use std::ops::Range;

type Lanes<T> = [T; LANES];

/// Most vectors of channels that are computed together.
const ABREAST: usize = 4;

/// Samples that are computed together; a kernel takes this many or one.
pub(super) const TOGETHER: usize = 2;

for_isa!(
    /// The product of some paths of a degree for `squares.len()` samples, one after the other in
    /// `h` and `t`: `t[m3][p, c] = sum coefficient h[first][c] h[second][c]`, rows of `t`
    /// [`Plan::stride`] apart; adds `t^2`, lane by lane, to `squares`.
    pub(super) fn expand(
        plan: &Plan,
        d: &Degree,
        run: &Range<usize>,
        h: &[T],
        t: &mut [T],
        squares: &mut [[T; LANES]],
    ) = expand_any
);

for_isa!(
    /// Derivative of [`expand`] for `samples` samples: adds `gt`, the gradient of the product
    /// with padded rows `[p][m3]`, times the other factor to both rows of `gh`.
    pub(super) fn contract(
        plan: &Plan,
        d: &Degree,
        run: &Range<usize>,
        samples: usize,
        h: &[T],
        gt: &[T],
        gh: &mut [T],
    ) = contract_any
);

for_isa!(
    /// `out = scale gt - share t` of one sample, from the rows of the product to padded rows
    /// `[p][m3]`; what is written behind a row's channels has no meaning.
    pub(super) fn through_norm(
        plan: &Plan,
        d: &Degree,
        run: &Range<usize>,
        norm: (T, T),
        t: &[T],
        gt: &[T],
        out: &mut [T],
    ) = through_norm_any
);

/// The coefficient in the kernel's precision.
#[inline(always)]
fn pick<T: Real>(c: Coefficient) -> T {
    T::choose(c.single, c.double)
}

/// `N` neighbouring vectors.
#[inline(always)]
fn vectors<const N: usize, T>(x: &[T], at: usize) -> &[Lanes<T>; N] {
    match x[at..at + N * LANES].as_chunks().0.first_chunk() {
        Some(vectors) => vectors,
        None => unreachable!("the range holds N vectors"),
    }
}

#[inline(always)]
fn vectors_mut<const N: usize, T>(x: &mut [T], at: usize) -> &mut [Lanes<T>; N] {
    match x[at..at + N * LANES].as_chunks_mut().0.first_chunk_mut() {
        Some(vectors) => vectors,
        None => unreachable!("the range holds N vectors"),
    }
}

/// Calls `f::<.., N, samples>(args, first channel)` for groups of N vectors that cover the
/// channels.
macro_rules! for_channels {
    ($plan:expr, $samples:expr, $f:ident::<$T:ident, $FUSED:ident>($($arg:expr),*)) => {
        for c in (0..$plan.padded()).step_by(ABREAST * LANES) {
            match (($plan.padded() - c) / LANES, $samples) {
                (1, 1) => $f::<$T, $FUSED, 1, 1>($($arg),*, c),
                (2, 1) => $f::<$T, $FUSED, 2, 1>($($arg),*, c),
                (3, 1) => $f::<$T, $FUSED, 3, 1>($($arg),*, c),
                (_, 1) => $f::<$T, $FUSED, ABREAST, 1>($($arg),*, c),
                (1, _) => $f::<$T, $FUSED, 1, TOGETHER>($($arg),*, c),
                (2, _) => $f::<$T, $FUSED, 2, TOGETHER>($($arg),*, c),
                (3, _) => $f::<$T, $FUSED, 3, TOGETHER>($($arg),*, c),
                _ => $f::<$T, $FUSED, ABREAST, TOGETHER>($($arg),*, c),
            }
        }
    };
}

#[inline(always)]
fn expand_any<T: Real, const FUSED: bool>(
    plan: &Plan,
    d: &Degree,
    run: &Range<usize>,
    h: &[T],
    t: &mut [T],
    squares: &mut [Lanes<T>],
) {
    let (samples, stride) = (squares.len(), plan.stride(run));
    // From a sample to the next, in `h` and in `t`.
    let steps = (h.len() / samples, t.len() / samples);
    for (p, path) in d.paths[run.clone()].iter().enumerate() {
        let t = &mut t[p * plan.channels..];
        for_channels!(
            plan,
            samples,
            expand_vectors::<T, FUSED>(path, steps, stride, h, t, squares)
        );
    }
}

#[inline(always)]
fn expand_vectors<T: Real, const FUSED: bool, const N: usize, const S: usize>(
    path: &Path,
    (next_h, next_t): (usize, usize),
    stride: usize,
    h: &[T],
    t: &mut [T],
    squares: &mut [Lanes<T>],
    c: usize,
) {
    let mut sums: [Lanes<T>; S] = std::array::from_fn(|i| squares[i]);
    for (m, order) in path.orders.iter().enumerate() {
        let mut acc = [[[T::zero(); LANES]; N]; S];
        for term in &path.terms[order.clone()] {
            let k = pick::<T>(term.coefficient);
            for (sample, acc) in acc.iter_mut().enumerate() {
                let at = sample * next_h + c;
                let a = vectors::<N, T>(h, at + term.first as usize);
                let b = vectors::<N, T>(h, at + term.second as usize);
                for i in 0..N {
                    for s in 0..LANES {
                        acc[i][s] = fma::<T, FUSED>(k * a[i][s], b[i][s], acc[i][s]);
                    }
                }
            }
        }
        for (sample, (acc, sum)) in acc.iter().zip(&mut sums).enumerate() {
            for vector in acc {
                for s in 0..LANES {
                    sum[s] = fma::<T, FUSED>(vector[s], vector[s], sum[s]);
                }
            }
            *vectors_mut(t, sample * next_t + m * stride + c) = *acc;
        }
    }
    squares.copy_from_slice(&sums);
}

#[inline(always)]
fn through_norm_any<T: Real, const FUSED: bool>(
    plan: &Plan,
    d: &Degree,
    run: &Range<usize>,
    (scale, share): (T, T),
    t: &[T],
    gt: &[T],
    out: &mut [T],
) {
    let (n, stride, row) = (d.orders(), plan.stride(run), plan.padded());
    for (i, out) in out.chunks_exact_mut(row).enumerate() {
        let at = i % n * stride + i / n * plan.channels;
        let (t, gt) = (&t[at..at + row], &gt[at..at + row]);
        for c in (0..row).step_by(LANES) {
            let (t, gt) = (vectors::<1, T>(t, c)[0], vectors::<1, T>(gt, c)[0]);
            let mut vector = [T::zero(); LANES];
            for s in 0..LANES {
                vector[s] = scale * gt[s] - share * t[s];
            }
            *vectors_mut::<1, T>(out, c) = [vector];
        }
    }
}

#[inline(always)]
fn contract_any<T: Real, const FUSED: bool>(
    plan: &Plan,
    d: &Degree,
    run: &Range<usize>,
    samples: usize,
    h: &[T],
    gt: &[T],
    gh: &mut [T],
) {
    let row = plan.padded();
    let steps = (h.len() / samples, gt.len() / samples);
    for (p, path) in d.paths[run.clone()].iter().enumerate() {
        let gt = &gt[p * d.orders() * row..];
        for_channels!(
            plan,
            samples,
            contract_vectors::<T, FUSED>(path, steps, row, h, gt, gh)
        );
    }
}

#[inline(always)]
fn contract_vectors<T: Real, const FUSED: bool, const N: usize, const S: usize>(
    path: &Path,
    (next_h, next_gt): (usize, usize),
    row: usize,
    h: &[T],
    gt: &[T],
    gh: &mut [T],
    c: usize,
) {
    for products in path.products.chunk_by(|a, b| a.first == b.first) {
        let first = products[0].first as usize + c;
        let a: [[Lanes<T>; N]; S] = std::array::from_fn(|i| *vectors(h, first + i * next_h));
        // A square's second factor is its first: its share goes through memory.
        let mut ga: [[Lanes<T>; N]; S] = std::array::from_fn(|i| {
            std::mem::replace(vectors_mut(gh, first + i * next_h), [[T::zero(); LANES]; N])
        });
        for product in products {
            let mut g = [[[T::zero(); LANES]; N]; S];
            for pull in &path.pulls[product.uses.clone()] {
                let k = pick::<T>(pull.coefficient);
                for (sample, g) in g.iter_mut().enumerate() {
                    let at = sample * next_gt + pull.order as usize * row + c;
                    let gt = vectors::<N, T>(gt, at);
                    for i in 0..N {
                        for s in 0..LANES {
                            g[i][s] = fma::<T, FUSED>(k, gt[i][s], g[i][s]);
                        }
                    }
                }
            }
            let second = product.second as usize + c;
            for sample in 0..S {
                let at = second + sample * next_h;
                let (b, gb) = (vectors::<N, T>(h, at), vectors_mut::<N, T>(gh, at));
                let (a, ga, g) = (&a[sample], &mut ga[sample], &g[sample]);
                for i in 0..N {
                    for s in 0..LANES {
                        ga[i][s] = fma::<T, FUSED>(g[i][s], b[i][s], ga[i][s]);
                        gb[i][s] = fma::<T, FUSED>(g[i][s], a[i][s], gb[i][s]);
                    }
                }
            }
        }
        for (sample, ga) in ga.iter().enumerate() {
            let total = vectors_mut::<N, T>(gh, first + sample * next_h);
            for i in 0..N {
                for s in 0..LANES {
                    total[i][s] += ga[i][s];
                }
            }
        }
    }
}
