//! The logarithm in the truncated tensor algebra, forward and backward, of one signature.
//!
//! With `X` the signature without its scalar 1 and N the depth,
//! ```text
//! log(1 + X) = X P_1,  P_N = 1/N,  P_k = 1/k - X P_{k+1}
//! ```
//! where `P_k` is needed to level N - k only.

use super::horner::Shape;
use crate::for_isa;
use crate::ops::cpu::{Real, fma, scratch};

/// First elements of `P_1, .., P_{N-1}` (levels from 1) and the length of all.
fn places(shape: &Shape) -> Vec<usize> {
    let mut at = vec![0];
    for k in 1..shape.depth {
        at.push(at[k - 1] + shape.offsets[shape.depth - k]);
    }
    at
}

/// `out_m = sign (p0 X_m + sum_{i + j = m} X_i (x) P_j)` for levels `1..=top`.
#[inline(always)]
fn product<T: Real, const F: bool>(
    shape: &Shape,
    top: usize,
    x: &[T],
    (p0, p): (T, &[T]),
    sign: T,
    out: &mut [T],
) {
    let at = &shape.offsets;
    for m in 1..=top {
        let out = &mut out[at[m - 1]..at[m]];
        for (o, &x) in out.iter_mut().zip(&x[at[m - 1]..at[m]]) {
            *o = sign * p0 * x;
        }
        for i in 1..m {
            let p = &p[at[m - i - 1]..at[m - i]];
            for (row, &x) in out.chunks_exact_mut(p.len()).zip(&x[at[i - 1]..at[i]]) {
                let x = sign * x;
                for (o, &p) in row.iter_mut().zip(p) {
                    *o = fma::<T, F>(x, p, *o);
                }
            }
        }
    }
}

/// Derivative of [`product`]: adds to `gx` and `gp`.
#[inline(always)]
fn unproduct<T: Real, const F: bool>(
    shape: &Shape,
    top: usize,
    (x, p0, p): (&[T], T, &[T]),
    (sign, g): (T, &[T]),
    gx: &mut [T],
    gp: &mut [T],
) {
    let at = &shape.offsets;
    for m in 1..=top {
        let g = &g[at[m - 1]..at[m]];
        for (o, &g) in gx[at[m - 1]..at[m]].iter_mut().zip(g) {
            *o += sign * p0 * g;
        }
        for i in 1..m {
            let right = at[m - i - 1]..at[m - i];
            let (p, gp) = (&p[right.clone()], &mut gp[right]);
            let left = at[i - 1]..at[i];
            let rows = g.chunks_exact(p.len()).zip(&x[left.clone()]);
            for ((g, &x), o) in rows.zip(&mut gx[left]) {
                let x = sign * x;
                *o += sign * dot::<T, F>(g, p);
                for (o, &g) in gp.iter_mut().zip(g) {
                    *o = fma::<T, F>(x, g, *o);
                }
            }
        }
    }
}

/// A dot product in sixteen partial sums, so that it runs in vector registers.
#[inline(always)]
pub(super) fn dot<T: Real, const F: bool>(a: &[T], b: &[T]) -> T {
    let (a, a_rest) = a.as_chunks::<16>();
    let (b, b_rest) = b.as_chunks::<16>();
    let mut sums = [T::zero(); 16];
    for (a, b) in a.iter().zip(b) {
        for i in 0..16 {
            sums[i] = fma::<T, F>(a[i], b[i], sums[i]);
        }
    }
    let rest: T = a_rest.iter().zip(b_rest).map(|(&a, &b)| a * b).sum();
    sums.into_iter().sum::<T>() + rest
}

/// `P_1, .., P_{N-1}` into `p`.
#[inline(always)]
fn series<T: Real, const F: bool>(shape: &Shape, at: &[usize], x: &[T], p: &mut [T]) {
    for k in (1..shape.depth).rev() {
        let (this, next) = p[at[k - 1]..].split_at_mut(at[k] - at[k - 1]);
        let p0 = T::from_f64(1.0 / (k + 1) as f64);
        product::<T, F>(shape, shape.depth - k, x, (p0, next), -T::one(), this);
    }
}

for_isa!(fn log_path(shape: &Shape, x: &[T], out: &mut [T], p: &mut [T]) = log_any);

#[inline(always)]
fn log_any<T: Real, const F: bool>(shape: &Shape, x: &[T], out: &mut [T], p: &mut [T]) {
    series::<T, F>(shape, &places(shape), x, p);
    product::<T, F>(shape, shape.depth, x, (T::one(), p), T::one(), out);
}

/// The logarithm of the signature `x` into `out`.
pub(super) fn forward<T: Real>(shape: &Shape, x: &[T], out: &mut [T]) {
    let len = places(shape)[shape.depth - 1];
    scratch::<T, _>(len, |p| log_path(shape, x, out, p));
}

for_isa!(fn unlog(shape: &Shape, x: &[T], g: &[T], gx: &mut [T], memory: &mut [T]) = unlog_any);

#[inline(always)]
fn unlog_any<T: Real, const F: bool>(
    shape: &Shape,
    x: &[T],
    g: &[T],
    gx: &mut [T],
    memory: &mut [T],
) {
    let at = places(shape);
    let (p, gp) = memory.split_at_mut(memory.len() / 2);
    series::<T, F>(shape, &at, x, p);
    gp.fill(T::zero());
    let (n, one) = (shape.depth, T::one());
    unproduct::<T, F>(shape, n, (x, one, p), (one, g), gx, gp);
    for k in 1..n {
        let p0 = T::from_f64(1.0 / (k + 1) as f64);
        let (g, gnext) = gp[at[k - 1]..].split_at_mut(at[k] - at[k - 1]);
        unproduct::<T, F>(shape, n - k, (x, p0, &p[at[k]..]), (-one, g), gx, gnext);
    }
}

/// Gradient of the signature `x`, given the gradient `g` of its logarithm.
pub(super) fn backward<T: Real>(shape: &Shape, x: &[T], g: &[T], gx: &mut [T]) {
    let len = 2 * places(shape)[shape.depth - 1];
    gx.fill(T::zero());
    scratch::<T, _>(len, |memory| unlog(shape, x, g, gx, memory));
}
