//! The soft assignment on the processor.

use crate::for_isa;
use crate::ops::cpu::{Matrix, MatrixMut, Real, fma, parts, scratch, tree_sum};
use rayon::prelude::*;

/// Rows whose scores are made at a time.
const BLOCK: usize = 32;

for_isa!(
    /// `tanh(x + bias)` of every row in place.
    fn squash(x: &mut [T], bias: &[T]) = squash_any
);

#[inline(always)]
fn squash_any<T: Real, const FUSED: bool>(x: &mut [T], bias: &[T]) {
    for row in x.chunks_exact_mut(bias.len()) {
        for (x, &b) in row.iter_mut().zip(bias) {
            *x = T::hyperbolic_tangent::<FUSED>(*x + b);
        }
    }
}

for_isa!(
    /// Softmax of rows of numbers in [-1, 1].
    fn normalise(x: &mut [T], width: usize) = normalise_any
);

#[inline(always)]
fn normalise_any<T: Real, const FUSED: bool>(x: &mut [T], width: usize) {
    for row in x.chunks_exact_mut(width) {
        for x in row.iter_mut() {
            *x = T::exponential::<FUSED>(*x);
        }
        let scale = T::one() / total(row);
        for x in row {
            *x *= scale;
        }
    }
}

for_isa!(
    /// From softmaxes `s`, their gradients and squashed scores `t` to the scores' gradients, in
    /// place of `t`.
    fn back(s: &[T], g: &[T], t: &mut [T], width: usize) = back_any
);

#[inline(always)]
fn back_any<T: Real, const FUSED: bool>(s: &[T], g: &[T], t: &mut [T], width: usize) {
    let rows = s.chunks_exact(width).zip(g.chunks_exact(width));
    for ((s, g), t) in rows.zip(t.chunks_exact_mut(width)) {
        let mut lanes = [T::zero(); 16];
        let ((s16, s1), (g16, g1)) = (s.as_chunks::<16>(), g.as_chunks::<16>());
        for (s, g) in s16.iter().zip(g16) {
            for i in 0..16 {
                lanes[i] = fma::<T, FUSED>(s[i], g[i], lanes[i]);
            }
        }
        let rest: T = s1.iter().zip(g1).map(|(&s, &g)| s * g).sum();
        let mean = rest + lanes.into_iter().sum::<T>();
        for ((&s, &g), t) in s.iter().zip(g).zip(t) {
            *t = s * (g - mean) * (T::one() - *t * *t);
        }
    }
}

/// Sum in sixteen lanes.
#[inline(always)]
fn total<T: Real>(x: &[T]) -> T {
    let mut lanes = [T::zero(); 16];
    let (x16, rest) = x.as_chunks::<16>();
    for x in x16 {
        for i in 0..16 {
            lanes[i] += x[i];
        }
    }
    rest.iter().copied().sum::<T>() + lanes.into_iter().sum::<T>()
}

/// Sizes of one call.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub nodes: usize,
    pub clusters: usize,
    pub features: usize,
}

/// The assignments of all nodes.
pub(super) fn forward<T: Real>(sizes: Sizes, [x, weight, bias]: [&[T]; 3]) -> Vec<T> {
    let (k, h) = (sizes.clusters, sizes.features);
    let mut out = vec![T::zero(); sizes.nodes * k];
    let blocks = out.par_chunks_mut(BLOCK * k).zip(x.par_chunks(BLOCK * h));
    blocks.for_each(|(out, x)| {
        let dims = [x.len() / h, k, h];
        let (x, weight) = (Matrix::rows(x, h), Matrix::turned(weight, h));
        MatrixMut::rows(&mut *out, k).set(dims, x, weight);
        squash(out, bias);
        normalise(out, k);
    });
    out
}

/// Gradients of nodes, weight and bias, from the assignments `s` and their gradient `g`.
pub(super) fn backward<T: Real>(
    sizes: Sizes,
    [x, weight, bias]: [&[T]; 3],
    s: &[T],
    g: &[T],
) -> [Vec<T>; 3] {
    let (n, k, h) = (sizes.nodes, sizes.clusters, sizes.features);
    let parts = parts(n, BLOCK);
    let part_len = parts.first().map_or(1, |p| p.len());
    let mut gx = vec![T::zero(); n * h];
    let sums = parts
        .into_par_iter()
        .zip(gx.par_chunks_mut(part_len * h))
        .map(|(part, gx)| {
            let mut sums = vec![T::zero(); k * h + k];
            let (gweight, gbias) = sums.split_at_mut(k * h);
            scratch::<T, _>(BLOCK * k, |memory| {
                for from in part.clone().step_by(BLOCK) {
                    let len = BLOCK.min(part.end - from);
                    let scores = &mut memory[..len * k];
                    let x = &x[from * h..][..len * h];
                    let rows_of = |all: &mut [T]| {
                        MatrixMut::rows(all, k).set(
                            [len, k, h],
                            Matrix::rows(x, h),
                            Matrix::turned(weight, h),
                        );
                    };
                    rows_of(scores);
                    squash(scores, bias);
                    let (s, g) = (&s[from * k..][..len * k], &g[from * k..][..len * k]);
                    back(s, g, scores, k);
                    let at = (from - part.start) * h;
                    let gx = MatrixMut::rows(&mut gx[at..at + len * h], h);
                    gx.set(
                        [len, h, k],
                        Matrix::rows(scores, k),
                        Matrix::rows(weight, h),
                    );
                    let gw = MatrixMut::rows(&mut *gweight, h);
                    gw.add([k, h, len], Matrix::turned(scores, k), Matrix::rows(x, h));
                    for row in scores.chunks_exact(k) {
                        for (o, &g) in gbias.iter_mut().zip(row) {
                            *o += g;
                        }
                    }
                }
            });
            sums
        })
        .collect();
    let mut weight = tree_sum(sums);
    let bias = weight.split_off((k * h).min(weight.len()));
    [gx, weight, bias]
}
