//! Activations that level off at both ends or at one.

use super::functions::Functions;
use crate::for_isa;
use crate::ops::cpu::Real;

/// The hyperbolic tangent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tanh;

/// `x` above 0, `e^x - 1` below (Clevert et al. 2016); its slope at 0 is 1, as in PyTorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elu;

impl Functions for Tanh {
    const NAME: &'static str = "the hyperbolic tangent";
    const HIGHEST: usize = 3;

    fn evaluate<T: Real>(&self, order: usize, x: &[T], out: &mut [T]) {
        tangents(x, out);
        let [one, two, six] = [1.0, 2.0, 6.0].map(T::from_f64);
        // With t the tangent, t' = 1 - t^2.
        match order {
            0 => {}
            1 => out.iter_mut().for_each(|t| *t = one - *t * *t),
            2 => out
                .iter_mut()
                .for_each(|t| *t = -two * *t * (one - *t * *t)),
            _ => out
                .iter_mut()
                .for_each(|t| *t = (one - *t * *t) * (six * *t * *t - two)),
        }
    }
}

impl Functions for Elu {
    const NAME: &'static str = "the ELU";
    const HIGHEST: usize = 3;

    fn evaluate<T: Real>(&self, order: usize, x: &[T], out: &mut [T]) {
        match order {
            0 => elu_0(x, out),
            1 => elu_1(x, out),
            _ => {
                elu_1(x, out);
                let rows = out.iter_mut().zip(x);
                let above = rows.filter(|(_, x)| **x > T::zero());
                above.for_each(|(out, _)| *out = T::zero());
            }
        }
    }
}

for_isa!(fn tangents(x: &[T], out: &mut [T]) = tangents_any);
for_isa!(fn elu_0(x: &[T], out: &mut [T]) = elu_0_any);
for_isa!(fn elu_1(x: &[T], out: &mut [T]) = elu_1_any);

#[inline(always)]
fn tangents_any<T: Real, const FUSED: bool>(x: &[T], out: &mut [T]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = tangent::<T, FUSED>(x);
    }
}

/// `e^x - 1 = 2 t / (1 - t)` with `t = tanh(x / 2)` loses no digits near 0.
#[inline(always)]
fn elu_0_any<T: Real, const FUSED: bool>(x: &[T], out: &mut [T]) {
    let half = T::from_f64(0.5);
    for (out, &x) in out.iter_mut().zip(x) {
        let below = if x < T::zero() { x } else { T::zero() };
        let t = tangent::<T, FUSED>(half * below);
        let low = (t + t) / (T::one() - t);
        *out = if x > T::zero() { x } else { low };
    }
}

#[inline(always)]
fn elu_1_any<T: Real, const FUSED: bool>(x: &[T], out: &mut [T]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = limited::<T>(x).exponential::<FUSED>();
    }
}

/// `x` where its exponential is between the smallest number and 1.
#[inline(always)]
fn limited<T: Real>(x: T) -> T {
    let lowest = T::choose(-79.0, -700.0);
    let x = if x < lowest { lowest } else { x };
    if x > T::zero() { T::zero() } else { x }
}

/// The hyperbolic tangent without branches.
#[inline(always)]
fn tangent<T: Real, const FUSED: bool>(x: T) -> T {
    // Near 0, where the exponentials cancel: the seventh convergent of Lambert's continued
    // fraction, which is exact to 2e-18 there.
    let near = T::from_f64(0.35);
    let size = if x < T::zero() { -x } else { x };
    let small = if size < near { x } else { near };
    let s = small * small;
    let [a, b, c] = [135_135.0, 17_325.0, 378.0].map(T::from_f64);
    let [e, f, g] = [62_370.0, 3_150.0, 28.0].map(T::from_f64);
    let fraction = small * (a + s * (b + s * (c + s))) / (a + s * (e + s * (f + s * g)));
    let fall = limited::<T>(-(size + size)).exponential::<FUSED>();
    let level = (T::one() - fall) / (T::one() + fall);
    let far = if x < T::zero() { -level } else { level };
    if size < near { fraction } else { far }
}
