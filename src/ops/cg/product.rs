//! The sparse Clebsch-Gordan product of a run of paths and its derivative for one sample,
//! channels in the lanes of each vector, by the best instructions of the machine.
//!
//! Rows of the input are padded with zeros to whole vectors. A term's rows and coefficient are
//! looked up once for up to four vectors of channels, whose sums stay in registers. Rows of the
//! product are not padded: the surplus lanes of a path's last vector fall into the next path,
//! which is written after it, or behind the row.

use super::plan::{Coefficient, Degree, LANES, Path, Plan};
use crate::for_isa;
use crate::ops::cpu::{Real, fma};
use std::ops::Range;

type Lanes<T> = [T; LANES];

/// Most vectors of channels that are computed together.
const ABREAST: usize = 4;

for_isa!(
    /// The product of some paths of a degree: `t[m3][p, c] = sum coefficient h[first][c]
    /// h[second][c]`, rows of `t` `stride` apart; adds `t^2`, lane by lane, to `squares`.
    pub(super) fn expand(
        plan: &Plan,
        d: &Degree,
        run: &Range<usize>,
        h: &[T],
        t: &mut [T],
        squares: &mut [T; LANES],
    ) = expand_any
);

for_isa!(
    /// Derivative of [`expand`]: adds `gt`, the gradient of the product with padded rows
    /// `[p][m3]`, times the other factor to both rows of `gh`.
    pub(super) fn contract(
        plan: &Plan,
        d: &Degree,
        run: &Range<usize>,
        h: &[T],
        gt: &[T],
        gh: &mut [T],
    ) = contract_any
);

for_isa!(
    /// `out = scale gt - share t`, from the rows of the product to padded rows `[p][m3]`.
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

/// Calls `$f::<.., N>($args, first channel)` for groups of vectors that cover the channels.
macro_rules! for_channels {
    ($plan:expr, $f:ident::<$T:ident, $FUSED:ident>($($arg:expr),*)) => {
        let mut c = 0;
        while c < $plan.padded() {
            match ($plan.padded() - c) / LANES {
                1 => $f::<$T, $FUSED, 1>($($arg),*, c),
                2 => $f::<$T, $FUSED, 2>($($arg),*, c),
                3 => $f::<$T, $FUSED, 3>($($arg),*, c),
                _ => $f::<$T, $FUSED, ABREAST>($($arg),*, c),
            }
            c += ABREAST * LANES;
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
    squares: &mut Lanes<T>,
) {
    let stride = plan.stride(run);
    for (p, path) in d.paths[run.clone()].iter().enumerate() {
        let t = &mut t[p * plan.channels..];
        for_channels!(
            plan,
            expand_vectors::<T, FUSED>(path, h, stride, t, squares)
        );
    }
}

#[inline(always)]
fn expand_vectors<T: Real, const FUSED: bool, const N: usize>(
    path: &Path,
    h: &[T],
    stride: usize,
    t: &mut [T],
    squares: &mut Lanes<T>,
    c: usize,
) {
    let mut sum = *squares;
    for (m, order) in path.orders.iter().enumerate() {
        let mut acc = [[T::zero(); LANES]; N];
        for term in &path.terms[order.clone()] {
            let a = vectors::<N, T>(h, term.first as usize + c);
            let b = vectors::<N, T>(h, term.second as usize + c);
            let k = pick::<T>(term.coefficient);
            for i in 0..N {
                for s in 0..LANES {
                    acc[i][s] = fma::<T, FUSED>(k * a[i][s], b[i][s], acc[i][s]);
                }
            }
        }
        for vector in &acc {
            for s in 0..LANES {
                sum[s] = fma::<T, FUSED>(vector[s], vector[s], sum[s]);
            }
        }
        *vectors_mut(t, m * stride + c) = acc;
    }
    *squares = sum;
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
    let (n, channels, stride) = (d.orders(), plan.channels, plan.stride(run));
    for (i, out) in out.chunks_exact_mut(plan.padded()).enumerate() {
        let at = i % n * stride + i / n * channels;
        let (t, gt) = (&t[at..at + channels], &gt[at..at + channels]);
        let (out, rest) = out.split_at_mut(channels);
        for ((out, &g), &t) in out.iter_mut().zip(gt).zip(t) {
            *out = scale * g - share * t;
        }
        rest.fill(T::zero());
    }
}

#[inline(always)]
fn contract_any<T: Real, const FUSED: bool>(
    plan: &Plan,
    d: &Degree,
    run: &Range<usize>,
    h: &[T],
    gt: &[T],
    gh: &mut [T],
) {
    let row = plan.padded();
    let paths = d.paths[run.clone()].iter();
    for (path, gt) in paths.zip(gt.chunks_exact(d.orders() * row)) {
        for_channels!(plan, contract_vectors::<T, FUSED>(path, h, row, gt, gh));
    }
}

#[inline(always)]
fn contract_vectors<T: Real, const FUSED: bool, const N: usize>(
    path: &Path,
    h: &[T],
    row: usize,
    gt: &[T],
    gh: &mut [T],
    c: usize,
) {
    for products in path.products.chunk_by(|a, b| a.first == b.first) {
        let first = products[0].first as usize + c;
        let a = *vectors::<N, T>(h, first);
        // A square's second factor is its first: its share goes through memory.
        let mut ga = std::mem::replace(vectors_mut::<N, T>(gh, first), [[T::zero(); LANES]; N]);
        for product in products {
            let mut g = [[T::zero(); LANES]; N];
            for pull in &path.pulls[product.uses.clone()] {
                let k = pick::<T>(pull.coefficient);
                let gt = vectors::<N, T>(gt, pull.order as usize * row + c);
                for i in 0..N {
                    for s in 0..LANES {
                        g[i][s] = fma::<T, FUSED>(k, gt[i][s], g[i][s]);
                    }
                }
            }
            let second = product.second as usize + c;
            let (b, gb) = (vectors::<N, T>(h, second), vectors_mut::<N, T>(gh, second));
            for i in 0..N {
                for s in 0..LANES {
                    ga[i][s] = fma::<T, FUSED>(g[i][s], b[i][s], ga[i][s]);
                    gb[i][s] = fma::<T, FUSED>(g[i][s], a[i][s], gb[i][s]);
                }
            }
        }
        let total = vectors_mut::<N, T>(gh, first);
        for i in 0..N {
            for s in 0..LANES {
                total[i][s] += ga[i][s];
            }
        }
    }
}
