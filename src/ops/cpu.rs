//! What the CPU kernels share: access to a tensor's memory, fixed partition of a batch,
//! scratch memory, matrix products, and the choice of vector instructions.

use crate::for_isa;
use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, WithDType, bail};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};
use std::sync::Mutex;

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

/// Memory in whole cache lines, so that vectors never straddle two.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line {
    _values: [f64; 8],
}

thread_local! {
    static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// Lends `len` elements of scratch memory that this thread keeps between calls, from the start
/// of a cache line on. The content is whatever the last user left. `f` must not call back into
/// rayon or into `scratch`.
pub fn scratch<T: Real, R>(len: usize, f: impl FnOnce(&mut [T]) -> R) -> R {
    SCRATCH.with(|cell| {
        let mut memory = cell.borrow_mut();
        let lines = (len * size_of::<T>()).div_ceil(size_of::<Line>());
        if memory.len() < lines {
            memory.resize(lines, Line { _values: [0.0; 8] });
        }
        f(elements(&mut memory, len))
    })
}

/// The elements of a buffer of lines.
///
/// # Panics
/// Fewer lines than `len` elements need.
fn elements<T: Real>(lines: &mut [Line], len: usize) -> &mut [T] {
    assert!(len * size_of::<T>() <= size_of_val(lines));
    // SAFETY: f32 and f64 (the only `Real`s) accept any bits and need at most a line's alignment;
    // the lines hold at least `len` of them.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast::<T>(), len) }
}

/// Buffers that wait for their next use.
static SPARE: Mutex<Vec<Vec<Line>>> = Mutex::new(Vec::new());

/// Memory that one thread fills and another reads, and that is kept for the next use when it is
/// dropped, so that nobody zeroes it. The content is whatever the last user left.
pub struct Buffer<T> {
    lines: Vec<Line>,
    len: usize,
    kind: PhantomData<T>,
}

impl<T: Real> Buffer<T> {
    pub fn new(len: usize) -> Self {
        let needed = (len * size_of::<T>()).div_ceil(size_of::<Line>());
        let mut spare = SPARE.lock().unwrap_or_else(|e| e.into_inner());
        // In order of length. One that is too short gives way, so that there are never more than
        // were in use at a time.
        let fitting = spare.partition_point(|lines| lines.len() < needed);
        let found = match fitting < spare.len() {
            true => Some(spare.remove(fitting)),
            false => {
                spare.pop();
                None
            }
        };
        drop(spare);
        Self {
            lines: found.unwrap_or_else(|| vec![Line { _values: [0.0; 8] }; needed]),
            len,
            kind: PhantomData,
        }
    }
}

impl<T: Real> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        assert!(self.len * size_of::<T>() <= size_of_val(&self.lines[..]));
        // SAFETY: as in `elements`.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast::<T>(), self.len) }
    }
}

impl<T: Real> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        elements(&mut self.lines, self.len)
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        /// Longer ones, in bytes, go back to the allocator: they would add to the peak.
        const LARGEST: usize = 16 << 20;
        let lines = std::mem::take(&mut self.lines);
        if size_of_val(&lines[..]) <= LARGEST {
            let mut spare = SPARE.lock().unwrap_or_else(|e| e.into_inner());
            let at = spare.partition_point(|other| other.len() < lines.len());
            spare.insert(at, lines);
        }
    }
}

/// A matrix operand: elements, and strides of its rows and columns.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    row: usize,
    column: usize,
}

impl<'a, T> Matrix<'a, T> {
    pub fn strided(data: &'a [T], row: usize, column: usize) -> Self {
        Self { data, row, column }
    }

    /// A matrix of rows that start `width` elements apart.
    pub fn rows(data: &'a [T], width: usize) -> Self {
        Self::strided(data, width, 1)
    }

    /// The transpose of [`Matrix::rows`].
    pub fn turned(data: &'a [T], width: usize) -> Self {
        Self::strided(data, 1, width)
    }
}

/// A matrix that a product is written to.
pub struct MatrixMut<'a, T> {
    data: &'a mut [T],
    row: usize,
    column: usize,
}

impl<'a, T: Real> MatrixMut<'a, T> {
    pub fn strided(data: &'a mut [T], row: usize, column: usize) -> Self {
        Self { data, row, column }
    }

    /// A matrix of rows that start `width` elements apart.
    pub fn rows(data: &'a mut [T], width: usize) -> Self {
        Self::strided(data, width, 1)
    }

    /// `self[m, n] = a[m, k] b[k, n]` on one thread.
    pub fn set(self, dims: [usize; 3], a: Matrix<T>, b: Matrix<T>) {
        self.write(dims, a, b, false);
    }

    /// `self[m, n] += a[m, k] b[k, n]` on one thread.
    pub fn add(self, dims: [usize; 3], a: Matrix<T>, b: Matrix<T>) {
        self.write(dims, a, b, true);
    }

    /// [`MatrixMut::add`] where `add` says so, else [`MatrixMut::set`].
    ///
    /// # Panics
    /// An operand too short for its sizes.
    pub fn write(self, [m, n, k]: [usize; 3], a: Matrix<T>, b: Matrix<T>, add: bool) {
        if m == 0 || n == 0 {
            return;
        }
        let last = |rows: usize, columns: usize, row: usize, column: usize| match rows * columns {
            0 => 0,
            _ => (rows - 1) * row + (columns - 1) * column + 1,
        };
        let out_end = last(m, n, self.row, self.column);
        assert!(out_end <= self.data.len(), "product: output too short");
        let a_end = last(m, k, a.row, a.column);
        assert!(a_end <= a.data.len(), "product: left operand too short");
        let b_end = last(k, n, b.row, b.column);
        assert!(b_end <= b.data.len(), "product: right operand too short");
        // SAFETY: the largest index of each operand was checked above; the output is borrowed
        // mutably, so it overlaps neither operand.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                self.data.as_mut_ptr(),
                self.column as isize,
                self.row as isize,
                add,
                a.data.as_ptr(),
                a.column as isize,
                a.row as isize,
                b.data.as_ptr(),
                b.column as isize,
                b.row as isize,
                if add { T::one() } else { T::zero() },
                T::one(),
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
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
