//! Maps of products on the processor, some rows at a time.

use super::{Bilinear, LEFT, OUT, RIGHT, WEIGHTS};
use crate::for_isa;
use crate::ops::cpu::{Matrix, MatrixMut, Real, fma, parts, scratch, tree_sum};
use crate::ops::form::Arguments;
use crate::ops::lanes::{LANES, add, load, total};
use rayon::prelude::*;
use std::ops::Range;

/// Rows that are computed together.
const ROWS: usize = 64;

pub(super) fn derivative<T: Real>(form: Bilinear, by: usize, arguments: Arguments<T>) -> Vec<T> {
    let job = Job { form, arguments };
    match by {
        WEIGHTS => job.by_weights(),
        by => job.by_rows(by),
    }
}

/// What is computed, as the inner loops see it.
struct Job<'a, T> {
    form: Bilinear,
    arguments: Arguments<'a, T>,
}

impl<T: Real> Job<'_, T> {
    /// Some rows of an argument.
    fn rows(&self, argument: usize, rows: &Range<usize>) -> &[T] {
        let width = self.form.width(argument);
        &self.arguments[argument][rows.start * width..rows.end * width]
    }

    /// The products of some rows, `[rows, C, I]`.
    fn products(&self, rows: &Range<usize>, out: &mut [T]) {
        out.fill(T::zero());
        let [a, s] = [LEFT, RIGHT].map(|argument| self.rows(argument, rows));
        multiply(self.form, a, s, out);
    }

    /// Blocks of rows side by side.
    fn by_rows(&self, by: usize) -> Vec<T> {
        let form = self.form;
        let (width, numbers) = (form.width(by), form.left * form.right);
        let mut out = vec![T::zero(); form.rows * width];
        if out.is_empty() || numbers == 0 {
            return out;
        }
        let weights = Matrix::rows(self.arguments[WEIGHTS], numbers);
        out.par_chunks_mut(ROWS * width)
            .enumerate()
            .for_each(|(block, out)| {
                let rows = block * ROWS..block * ROWS + out.len() / width;
                scratch(rows.len() * numbers, |products: &mut [T]| {
                    if by == OUT {
                        self.products(&rows, products);
                        let dims = [rows.len(), width, numbers];
                        let weights = Matrix::turned(self.arguments[WEIGHTS], numbers);
                        let products = Matrix::rows(products, numbers);
                        MatrixMut::rows(out, width).set(dims, products, weights);
                        return;
                    }
                    let grad = Matrix::rows(self.rows(OUT, &rows), form.out);
                    let dims = [rows.len(), numbers, form.out];
                    MatrixMut::rows(products, numbers).set(dims, grad, weights);
                    match by {
                        LEFT => by_left(form, self.rows(RIGHT, &rows), products, out),
                        _ => by_right(form, self.rows(LEFT, &rows), products, out),
                    }
                });
            });
        out
    }

    /// Parts of the rows side by side, the rows of each in order.
    fn by_weights(&self) -> Vec<T> {
        let form = self.form;
        let numbers = form.left * form.right;
        let sum = |part: Range<usize>| {
            let mut out = vec![T::zero(); form.out * numbers];
            for first in part.clone().step_by(ROWS) {
                let rows = first..(first + ROWS).min(part.end);
                scratch(rows.len() * numbers, |products: &mut [T]| {
                    self.products(&rows, products);
                    let dims = [form.out, numbers, rows.len()];
                    let grad = Matrix::turned(self.rows(OUT, &rows), form.out);
                    MatrixMut::rows(&mut out, numbers).add(
                        dims,
                        grad,
                        Matrix::rows(products, numbers),
                    );
                });
            }
            out
        };
        let sums: Vec<Vec<T>> = parts(form.rows, ROWS).into_par_iter().map(sum).collect();
        match sums.is_empty() {
            true => vec![T::zero(); form.out * numbers],
            false => tree_sum(sums),
        }
    }
}

for_isa!(
    /// `out[c, i] += sum_l a[c, l] s[l, i]` for every row.
    fn multiply(form: Bilinear, a: &[T], s: &[T], out: &mut [T]) = multiply_any
);

for_isa!(
    /// `out[c, l] += sum_i grad[c, i] s[l, i]` for every row.
    fn by_left(form: Bilinear, s: &[T], grad: &[T], out: &mut [T]) = by_left_any
);

for_isa!(
    /// `out[l, i] += sum_c grad[c, i] a[c, l]` for every row.
    fn by_right(form: Bilinear, a: &[T], grad: &[T], out: &mut [T]) = by_right_any
);

/// The rows of three arguments of which each has `C`, `L` or `I` times another one.
#[inline(always)]
fn each<'a, T>(
    sizes: [usize; 3],
    a: &'a [T],
    b: &'a [T],
    out: &'a mut [T],
) -> impl Iterator<Item = (&'a [T], &'a [T], &'a mut [T])> {
    let inputs = a.chunks_exact(sizes[0]).zip(b.chunks_exact(sizes[1]));
    let all = inputs.zip(out.chunks_exact_mut(sizes[2]));
    all.map(|((a, b), out)| (a, b, out))
}

#[inline(always)]
fn multiply_any<T: Real, const FUSED: bool>(form: Bilinear, a: &[T], s: &[T], out: &mut [T]) {
    let (left, middle, right) = (form.left, form.middle, form.right);
    for (a, s, out) in each([left * middle, middle * right, left * right], a, s, out) {
        for (a, out) in a.chunks_exact(middle).zip(out.chunks_exact_mut(right)) {
            for i in (0..right).step_by(LANES) {
                let mut sum = [T::zero(); LANES];
                for (&a, s) in a.iter().zip(s.chunks_exact(right)) {
                    let s = load(s, i);
                    for k in 0..LANES {
                        sum[k] = fma::<T, FUSED>(a, s[k], sum[k]);
                    }
                }
                add(&sum, out, i);
            }
        }
    }
}

#[inline(always)]
fn by_left_any<T: Real, const FUSED: bool>(form: Bilinear, s: &[T], grad: &[T], out: &mut [T]) {
    let (left, middle, right) = (form.left, form.middle, form.right);
    let sizes = [middle * right, left * right, left * middle];
    for (s, grad, out) in each(sizes, s, grad, out) {
        for (grad, out) in grad.chunks_exact(right).zip(out.chunks_exact_mut(middle)) {
            for (s, out) in s.chunks_exact(right).zip(out) {
                let mut lanes = [T::zero(); LANES];
                for i in (0..right).step_by(LANES) {
                    let (s, grad) = (load(s, i), load(grad, i));
                    for k in 0..LANES {
                        lanes[k] = fma::<T, FUSED>(s[k], grad[k], lanes[k]);
                    }
                }
                *out += total(lanes);
            }
        }
    }
}

#[inline(always)]
fn by_right_any<T: Real, const FUSED: bool>(form: Bilinear, a: &[T], grad: &[T], out: &mut [T]) {
    let (left, middle, right) = (form.left, form.middle, form.right);
    let sizes = [left * middle, left * right, middle * right];
    for (a, grad, out) in each(sizes, a, grad, out) {
        for (l, out) in out.chunks_exact_mut(right).enumerate() {
            for i in (0..right).step_by(LANES) {
                let mut sum = [T::zero(); LANES];
                for (a, grad) in a.chunks_exact(middle).zip(grad.chunks_exact(right)) {
                    let grad = load(grad, i);
                    for k in 0..LANES {
                        sum[k] = fma::<T, FUSED>(a[l], grad[k], sum[k]);
                    }
                }
                add(&sum, out, i);
            }
        }
    }
}
