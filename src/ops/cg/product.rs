//! The sparse Clebsch-Gordan product of one degree and its derivative, sixteen samples in the
//! lanes of each vector, by the best instructions of the machine.

use super::plan::{Coefficient, Degree, Plan};
use super::{LANES, Lanes};
use crate::for_isa;
use crate::ops::cpu::{Real, fma};

for_isa!(
    /// The product: `t[p, c][m3] = sum coefficient h[c][first] h[c][second]`; adds
    /// `t^2 / (2 l3 + 1)` to `squares`.
    pub(super) fn expand(plan: &Plan, d: &Degree, h: &[Lanes<T>], t: &mut [Lanes<T>], squares: &mut Lanes<T>) = expand_any
);

for_isa!(
    /// Derivative of [`expand`]: `gt` holds `gout W^T` and becomes `dL/dt = scale gt - shares t`,
    /// `norm = (scale, shares)`; adds its product with the other factor to both rows of `gh`.
    pub(super) fn contract(
        plan: &Plan,
        d: &Degree,
        h: &[Lanes<T>],
        t: &[Lanes<T>],
        gt: &mut [Lanes<T>],
        norm: (T, &Lanes<T>),
        gh: &mut [Lanes<T>],
    ) = contract_any
);

/// The coefficient in the kernel's precision.
#[inline(always)]
fn pick<T: Real>(c: Coefficient) -> T {
    T::choose(c.single, c.double)
}

#[inline(always)]
fn expand_any<T: Real, const FUSED: bool>(
    plan: &Plan,
    d: &Degree,
    h: &[Lanes<T>],
    t: &mut [Lanes<T>],
    squares: &mut Lanes<T>,
) {
    let n = 2 * d.l + 1;
    let rows = plan.input.dim() / plan.channels;
    let mut sum = [T::zero(); LANES];
    for (p, path) in d.paths.iter().enumerate() {
        for (c, h) in h.chunks_exact(rows).enumerate() {
            let t = &mut t[(p * plan.channels + c) * n..][..n];
            for (t, order) in t.iter_mut().zip(&path.orders) {
                let mut acc = [T::zero(); LANES];
                for term in &path.terms[order.clone()] {
                    let (a, b) = (&h[term.first as usize], &h[term.second as usize]);
                    let k = pick::<T>(term.coefficient);
                    for s in 0..LANES {
                        acc[s] = fma::<T, FUSED>(k * a[s], b[s], acc[s]);
                    }
                }
                for s in 0..LANES {
                    sum[s] = fma::<T, FUSED>(acc[s], acc[s], sum[s]);
                }
                *t = acc;
            }
        }
    }
    let weight = T::from_f64(1.0 / n as f64);
    for s in 0..LANES {
        squares[s] += sum[s] * weight;
    }
}

#[inline(always)]
fn contract_any<T: Real, const FUSED: bool>(
    plan: &Plan,
    d: &Degree,
    h: &[Lanes<T>],
    t: &[Lanes<T>],
    gt: &mut [Lanes<T>],
    (scale, shares): (T, &Lanes<T>),
    gh: &mut [Lanes<T>],
) {
    let n = 2 * d.l + 1;
    let rows = plan.input.dim() / plan.channels;
    for (p, path) in d.paths.iter().enumerate() {
        for (c, (h, gh)) in h
            .chunks_exact(rows)
            .zip(gh.chunks_exact_mut(rows))
            .enumerate()
        {
            let at = (p * plan.channels + c) * n;
            let gt = &mut gt[at..at + n];
            for (g, t) in gt.iter_mut().zip(&t[at..at + n]) {
                for s in 0..LANES {
                    g[s] = scale * g[s] - shares[s] * t[s];
                }
            }
            for terms in path.by_first.chunk_by(|a, b| a.first == b.first) {
                let first = terms[0].first as usize;
                let (a, mut ga) = (h[first], gh[first]);
                // A square's second factor is its first: its share goes through memory.
                gh[first] = [T::zero(); LANES];
                for term in terms {
                    let second = term.second as usize;
                    let k = pick::<T>(term.coefficient);
                    let (g, b, gb) = (&gt[term.order as usize], &h[second], &mut gh[second]);
                    for s in 0..LANES {
                        let kg = k * g[s];
                        ga[s] = fma::<T, FUSED>(kg, b[s], ga[s]);
                        gb[s] = fma::<T, FUSED>(kg, a[s], gb[s]);
                    }
                }
                for s in 0..LANES {
                    gh[first][s] += ga[s];
                }
            }
        }
    }
}
