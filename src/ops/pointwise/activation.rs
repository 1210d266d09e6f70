//! Smooth activations.

use super::functions::Functions;
use crate::for_isa;
use crate::ops::cpu::Real;

/// `x / (1 + e^-x)` (also called swish).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silu;

/// `ln(1 + e^x) - ln 2` (SchNet, Schütt et al. 2017).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShiftedSoftplus;

/// `1 / (1 + e^-x)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sigmoid;

/// `x / (1 + e^-x) / 0.6`, which keeps the variance of normal numbers (GemNet, Gasteiger et al.
/// 2021).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScaledSilu;

/// `sin x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sine;

/// `max(x, 0)`; its slope at 0 is 0, as in PyTorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relu;

impl Functions for Relu {
    const NAME: &'static str = "the ReLU";
    const HIGHEST: usize = 2;

    fn evaluate<T: Real>(&self, order: usize, x: &[T], out: &mut [T]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = match order {
                0 if x > T::zero() => x,
                1 if x > T::zero() => T::one(),
                _ => T::zero(),
            };
        }
    }
}

impl Functions for Sigmoid {
    const NAME: &'static str = "the logistic function";
    const HIGHEST: usize = 2;

    fn evaluate<T: Real>(&self, order: usize, x: &[T], out: &mut [T]) {
        // It is the derivative of the softplus.
        ShiftedSoftplus.evaluate(order + 1, x, out);
    }
}

impl Functions for ScaledSilu {
    const NAME: &'static str = "the scaled SiLU";
    const HIGHEST: usize = 3;

    fn evaluate<T: Real>(&self, order: usize, x: &[T], out: &mut [T]) {
        let scale = T::from_f64(1.0 / 0.6);
        Silu.evaluate(order, x, out);
        out.iter_mut().for_each(|out| *out *= scale);
    }
}

impl Functions for Sine {
    const NAME: &'static str = "the sine";
    const HIGHEST: usize = 3;

    fn evaluate<T: Real>(&self, order: usize, x: &[T], out: &mut [T]) {
        for (out, &x) in out.iter_mut().zip(x) {
            let (sin, cos) = x.to_f64().sin_cos();
            *out = T::from_f64([sin, cos, -sin, -cos][order]);
        }
    }
}

impl Functions for Silu {
    const NAME: &'static str = "the SiLU";
    const HIGHEST: usize = 3;

    fn evaluate<T: Real>(&self, order: usize, x: &[T], out: &mut [T]) {
        match order {
            0 => silu_0(x, out),
            1 => silu_1(x, out),
            2 => silu_2(x, out),
            _ => silu_3(x, out),
        }
    }
}

impl Functions for ShiftedSoftplus {
    const NAME: &'static str = "the shifted softplus";
    const HIGHEST: usize = 3;

    fn evaluate<T: Real>(&self, order: usize, x: &[T], out: &mut [T]) {
        match order {
            0 => softplus_0(x, out),
            1 => softplus_1(x, out),
            2 => softplus_2(x, out),
            _ => softplus_3(x, out),
        }
    }
}

for_isa!(fn silu_0(x: &[T], out: &mut [T]) = silu_0_any);
for_isa!(fn silu_1(x: &[T], out: &mut [T]) = silu_1_any);
for_isa!(fn silu_2(x: &[T], out: &mut [T]) = silu_2_any);
for_isa!(fn silu_3(x: &[T], out: &mut [T]) = silu_3_any);
for_isa!(fn softplus_0(x: &[T], out: &mut [T]) = softplus_0_any);
for_isa!(fn softplus_1(x: &[T], out: &mut [T]) = softplus_1_any);
for_isa!(fn softplus_2(x: &[T], out: &mut [T]) = softplus_2_any);
for_isa!(fn softplus_3(x: &[T], out: &mut [T]) = softplus_3_any);

#[inline(always)]
fn each<T: Real>(x: &[T], out: &mut [T], f: impl Fn(T) -> T) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = f(x);
    }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
fn sigmoid<T: Real, const FUSED: bool>(x: T) -> T {
    // Beyond it `e^-x` would overflow, and the result is 0 or 1 as well.
    let limit = T::choose(79.0, 700.0);
    let x = if x < -limit { -limit } else { x };
    let x = if x > limit { limit } else { x };
    T::one() / (T::one() + (-x).exponential::<FUSED>())
}

// With s the logistic function, s' = s (1 - s) =: p and p' = p (1 - 2 s).

#[inline(always)]
fn silu_0_any<T: Real, const FUSED: bool>(x: &[T], out: &mut [T]) {
    each(x, out, |x| x * sigmoid::<T, FUSED>(x));
}

#[inline(always)]
fn silu_1_any<T: Real, const FUSED: bool>(x: &[T], out: &mut [T]) {
    each(x, out, |x| {
        let s = sigmoid::<T, FUSED>(x);
        s * (T::one() + x * (T::one() - s))
    });
}

#[inline(always)]
fn silu_2_any<T: Real, const FUSED: bool>(x: &[T], out: &mut [T]) {
    let two = T::from_f64(2.0);
    each(x, out, |x| {
        let s = sigmoid::<T, FUSED>(x);
        s * (T::one() - s) * (two + x * (T::one() - two * s))
    });
}

#[inline(always)]
fn silu_3_any<T: Real, const FUSED: bool>(x: &[T], out: &mut [T]) {
    let (two, three) = (T::from_f64(2.0), T::from_f64(3.0));
    each(x, out, |x| {
        let s = sigmoid::<T, FUSED>(x);
        let (p, q) = (s * (T::one() - s), T::one() - two * s);
        p * (three * q + x * (q * q - two * p))
    });
}

#[inline(always)]
fn softplus_0_any<T: Real, const FUSED: bool>(x: &[T], out: &mut [T]) {
    let ln_2 = T::from_f64(std::f64::consts::LN_2);
    let limit = T::choose(79.0, 700.0);
    each(x, out, |x| {
        let size = if x < T::zero() { -x } else { x };
        let size = if size > limit { limit } else { size };
        let positive = if x < T::zero() { T::zero() } else { x };
        positive + (-size).exponential::<FUSED>().log_one_plus::<FUSED>() - ln_2
    });
}

#[inline(always)]
fn softplus_1_any<T: Real, const FUSED: bool>(x: &[T], out: &mut [T]) {
    each(x, out, |x| sigmoid::<T, FUSED>(x));
}

#[inline(always)]
fn softplus_2_any<T: Real, const FUSED: bool>(x: &[T], out: &mut [T]) {
    each(x, out, |x| {
        let s = sigmoid::<T, FUSED>(x);
        s * (T::one() - s)
    });
}

#[inline(always)]
fn softplus_3_any<T: Real, const FUSED: bool>(x: &[T], out: &mut [T]) {
    let two = T::from_f64(2.0);
    each(x, out, |x| {
        let s = sigmoid::<T, FUSED>(x);
        s * (T::one() - s) * (T::one() - two * s)
    });
}
