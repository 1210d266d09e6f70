//! What two steerable tensors have in common, on the processor.

use crate::so3::irreps::Irreps;
use candle_core::WithDType;

/// Calls `f(start in a, start in b, length)` for every run of channels that both have.
fn runs(a: &Irreps, b: &Irreps, mut f: impl FnMut(usize, usize, usize)) {
    for l in 0..=a.lmax().min(b.lmax()) {
        let (ca, cb) = (a.channels(l), b.channels(l));
        for m in 0..2 * l + 1 {
            f(a.offset(l) + m * ca, b.offset(l) + m * cb, ca.min(cb));
        }
    }
}

/// `out + x` where both are.
pub fn add<T: WithDType>(to: &Irreps, from: &Irreps, out: &[T], x: &[T]) -> Vec<T> {
    let mut sum = out.to_vec();
    let samples = sum.chunks_exact_mut(to.dim());
    for (s, x) in samples.zip(x.chunks_exact(from.dim())) {
        runs(to, from, |a, b, n| {
            for (s, &x) in s[a..a + n].iter_mut().zip(&x[b..b + n]) {
                *s += x;
            }
        });
    }
    sum
}

/// `x` where both are, zero elsewhere.
pub fn shared<T: WithDType>(to: &Irreps, from: &Irreps, x: &[T]) -> Vec<T> {
    let mut out = vec![T::zero(); x.len() / from.dim() * to.dim()];
    let samples = out.chunks_exact_mut(to.dim());
    for (out, x) in samples.zip(x.chunks_exact(from.dim())) {
        runs(to, from, |a, b, n| {
            out[a..a + n].copy_from_slice(&x[b..b + n]);
        });
    }
    out
}
