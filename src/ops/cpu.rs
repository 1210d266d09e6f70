//! What the CPU kernels share: access to a tensor's memory, fixed partition of a batch,
//! scratch memory, matrix products, and the choice of vector instructions.

mod matrix;
mod memory;

pub use matrix::{Matrix, MatrixMut};
pub use memory::{Buffer, scratch};

use crate::for_isa;
use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, WithDType, bail};
use std::marker::PhantomData;
use std::ops::{Deref, Range};

/// f32 and f64, the types that the kernels are generic over.
pub trait Real: WithDType + std::iter::Sum + std::ops::Neg<Output = Self> {
    /// `self * a + b`, in one instruction where the compiled-for machine has it.
    fn fused(self, a: Self, b: Self) -> Self;
    fn root(self) -> Self;
    /// The one of two forms of a constant that has this precision.
    fn choose(single: f32, double: f64) -> Self;
    /// `e^self`, to the last digit or two; in f32 for what a vector of them can hold without
    /// overflow, `|self| < 80`.
    fn exponential<const FUSED: bool>(self) -> Self;
    /// `ln(1 + self)` for `0 <= self <= 1`, to the last digit or two.
    fn log_one_plus<const FUSED: bool>(self) -> Self;
    /// `tanh(self)`, in f32 to 2e-7 of 1.
    fn hyperbolic_tangent<const FUSED: bool>(self) -> Self;
}

impl Real for f32 {
    #[inline(always)]
    fn fused(self, a: f32, b: f32) -> f32 {
        self.mul_add(a, b)
    }
    fn root(self) -> f32 {
        self.sqrt()
    }
    #[inline(always)]
    fn choose(single: f32, _: f64) -> f32 {
        single
    }
    #[inline(always)]
    fn exponential<const FUSED: bool>(self) -> f32 {
        // 2^n e^r with |r| <= ln(2) / 2: adding and subtracting 1.5 * 2^23 rounds to integers,
        // and ln(2) is taken in two parts of which n times the first is exact.
        const ROUND: f32 = 12_582_912.0;
        let n = fma::<f32, FUSED>(self, std::f32::consts::LOG2_E, ROUND) - ROUND;
        let r = fma::<f32, FUSED>(n, -0.693_359_4, self);
        let r = fma::<f32, FUSED>(n, 2.121_944_4e-4, r);
        let mut p = 1.0 / 720.0;
        for c in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            p = fma::<f32, FUSED>(p, r, c);
        }
        p * f32::from_bits(((n as i32 + 127) << 23) as u32)
    }
    #[inline(always)]
    fn log_one_plus<const FUSED: bool>(self) -> f32 {
        // 2 artanh(s) with s = x / (2 + x) <= 1/3.
        let s = self / (2.0 + self);
        let square = s * s;
        let mut p = 1.0 / 13.0;
        for c in [1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 0.2, 1.0 / 3.0, 1.0] {
            p = fma::<f32, FUSED>(p, square, c);
        }
        2.0 * s * p
    }
    #[inline(always)]
    fn hyperbolic_tangent<const FUSED: bool>(self) -> f32 {
        let e = (2.0 * self.clamp(-9.5, 9.5)).exponential::<FUSED>();
        (e - 1.0) / (e + 1.0)
    }
}

impl Real for f64 {
    #[inline(always)]
    fn fused(self, a: f64, b: f64) -> f64 {
        self.mul_add(a, b)
    }
    fn root(self) -> f64 {
        self.sqrt()
    }
    #[inline(always)]
    fn choose(_: f32, double: f64) -> f64 {
        double
    }
    #[inline(always)]
    fn exponential<const FUSED: bool>(self) -> f64 {
        self.exp()
    }
    #[inline(always)]
    fn log_one_plus<const FUSED: bool>(self) -> f64 {
        self.ln_1p()
    }
    #[inline(always)]
    fn hyperbolic_tangent<const FUSED: bool>(self) -> f64 {
        self.tanh()
    }
}

/// The contiguous elements of an op's argument.
pub fn slice<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let all = T::cpu_storage_as_slice(storage)?;
    match layout.contiguous_offsets() {
        // A part of nothing may start behind its end.
        Some((from, to)) if from == to => Ok(&[]),
        Some((from, to)) => Ok(&all[from..to]),
        None => bail!("a custom op needs contiguous arguments"),
    }
}

/// A read guard on a CPU tensor that derefs to its elements.
pub struct View<G, T> {
    guard: G,
    range: Range<usize>,
    kind: PhantomData<T>,
}

/// Elements of a contiguous CPU tensor.
pub fn view<T: WithDType>(t: &Tensor) -> Result<View<impl Deref<Target = Storage> + '_, T>> {
    let (guard, layout) = t.storage_and_layout();
    let Some((from, to)) = layout.contiguous_offsets() else {
        bail!("a custom op needs contiguous arguments")
    };
    match &*guard {
        Storage::Cpu(s) => T::cpu_storage_as_slice(s).map(|_| ())?,
        _ => bail!("the tensor is not in CPU memory"),
    }
    // A part of nothing may start behind its end.
    let range = if from == to { 0..0 } else { from..to };
    Ok(View {
        guard,
        range,
        kind: PhantomData,
    })
}

impl<G: Deref<Target = Storage>, T: WithDType> Deref for View<G, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        match &*self.guard {
            Storage::Cpu(s) => match T::cpu_storage_as_slice(s) {
                Ok(all) => &all[self.range.clone()],
                Err(_) => unreachable!("the type was checked when the view was made"),
            },
            _ => unreachable!("the device was checked when the view was made"),
        }
    }
}

/// Calls a generic function with the element type of a tensor's storage.
#[macro_export]
macro_rules! with_real {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            candle_core::DType::F32 => {
                type $T = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            other => candle_core::bail!("this op takes f32 or f64, not {other:?}"),
        }
    };
}

/// At most this many parts of a batch hold their own weight gradients.
const PARTS: usize = 8;

/// Cuts `0..batch` into at most eight parts of whole blocks of `block` samples. It depends on
/// `batch` alone: the order of sums, hence the bits, is the same for any number of threads.
pub fn parts(batch: usize, block: usize) -> Vec<Range<usize>> {
    let blocks = batch.div_ceil(block);
    let size = blocks.div_ceil(PARTS).max(1) * block;
    (0..batch)
        .step_by(size)
        .map(|from| from..(from + size).min(batch))
        .collect()
}

/// Sums equal-length vectors pairwise in a fixed tree.
pub fn tree_sum<T: WithDType>(mut parts: Vec<Vec<T>>) -> Vec<T> {
    while parts.len() > 1 {
        let mut next = Vec::with_capacity(parts.len().div_ceil(2));
        let mut rest = parts.into_iter();
        while let Some(mut a) = rest.next() {
            if let Some(b) = rest.next() {
                for (x, y) in a.iter_mut().zip(b) {
                    *x += y;
                }
            }
            next.push(a);
        }
        parts = next;
    }
    parts.pop().unwrap_or_default()
}

/// [`tree_sum`] of slices into `out`, a piece at a time so that every element is read once.
pub fn tree_sum_into<T: Real>(parts: &[&[T]], out: &mut [T]) {
    const PIECE: usize = 256;
    fn sum<T: Real>(parts: &[&[T]], at: usize, out: &mut [T]) {
        match parts {
            [] => out.fill(T::zero()),
            [one] => out.copy_from_slice(&one[at..at + out.len()]),
            _ => {
                let (left, right) = parts.split_at(parts.len().next_power_of_two() / 2);
                let mut other = [T::zero(); PIECE];
                let other = &mut other[..out.len()];
                sum(left, at, out);
                sum(right, at, other);
                for (a, &b) in out.iter_mut().zip(&*other) {
                    *a += b;
                }
            }
        }
    }
    for (i, piece) in out.chunks_mut(PIECE).enumerate() {
        sum(parts, i * PIECE, piece);
    }
}

for_isa!(
    /// Adds the inner product of `a` and `b` to `sum`, in f64 and in eight lanes.
    fn add_dot(a: &[T], b: &[T], sum: &mut f64) = add_dot_any
);

#[inline(always)]
fn add_dot_any<T: Real, const FUSED: bool>(a: &[T], b: &[T], sum: &mut f64) {
    let mut lanes = [0f64; 8];
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        for s in 0..8 {
            lanes[s] = fma::<f64, FUSED>(a[s].to_f64(), b[s].to_f64(), lanes[s]);
        }
    }
    let rest = rest_a.iter().zip(rest_b);
    let rest: f64 = rest.map(|(a, b)| a.to_f64() * b.to_f64()).sum();
    *sum += rest + lanes.into_iter().sum::<f64>();
}

/// Inner product, summed in f64.
pub fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    let mut sum = 0.0;
    add_dot(a, b, &mut sum);
    sum
}

/// Vector instructions found on this machine, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    Avx512,
    Avx2,
    Portable,
}

/// The best instructions of this machine (looked up once by the standard library).
pub fn isa() -> Isa {
    #[cfg(target_arch = "x86_64")]
    {
        let fma = is_x86_feature_detected!("fma");
        let foundation =
            is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl");
        let wide = is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512bw");
        if fma && foundation && wide {
            return Isa::Avx512;
        }
        if fma && is_x86_feature_detected!("avx2") {
            return Isa::Avx2;
        }
    }
    Isa::Portable
}

/// `a * b + c`, fused where the instructions in use have that.
#[inline(always)]
pub fn fma<T: Real, const FUSED: bool>(a: T, b: T, c: T) -> T {
    if FUSED { a.fused(b, c) } else { a * b + c }
}

/// Defines a function that runs `$body::<T, FUSED>` compiled for the best instructions of this
/// machine; `$body` and what it calls must be `#[inline(always)]`.
#[macro_export]
macro_rules! for_isa {
    ($(#[$meta:meta])* $visibility:vis fn $name:ident($($arg:ident: $kind:ty),* $(,)?) = $body:ident) => {
        $(#[$meta])*
        $visibility fn $name<T: $crate::ops::cpu::Real>($($arg: $kind),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,fma")]
            fn avx512<T: $crate::ops::cpu::Real>($($arg: $kind),*) {
                $body::<T, true>($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2<T: $crate::ops::cpu::Real>($($arg: $kind),*) {
                $body::<T, true>($($arg),*)
            }
            match $crate::ops::cpu::isa() {
                // SAFETY: `isa` found these instructions on this machine.
                #[cfg(target_arch = "x86_64")]
                $crate::ops::cpu::Isa::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::ops::cpu::Isa::Avx2 => unsafe { avx2($($arg),*) },
                _ => $body::<T, false>($($arg),*),
            }
        }
    };
}
