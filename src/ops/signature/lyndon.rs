//! Log-signatures to depth 3 at the Lyndon words, without a signature.
//!
//! Shapes: x path `[L, c]`, dx_t increments, T = L - 1 steps, S the increment of the whole path,
//! h_t the midpoint of step t relative to the start. Words a, ab (a < b), abc (a <= b, a < c):
//! ```text
//! log_a   = S_a
//! log_ab  = sum_t (h_t[a] - S[a]/2) dx_t[b]                       (the Lévy area)
//! log_abc = sum_t F_t[ab] dx_t[c],
//! F_t[ab] = A_t[ab] - log_ab/2 + S[a] S[b]/12 + (h_t[a]/2 - dx_t[a]/12) dx_t[b] - S[a] h_t[b]/2,
//! A_t[ab] = sum_{s < t} h_s[a] dx_s[b]
//! ```
//! from `log = s - s^2/2 + s^3/3` of a piecewise linear path. For each first letter the terms of
//! level 3 are one contiguous block, a matrix product; nothing is gathered. Memory beside the
//! output is a few times the path.

use super::horner::spread;
use super::logarithm::dot;
use crate::for_isa;
use crate::ops::cpu::{Matrix, MatrixMut, Real, fma, scratch};

/// First letters of level 2 that share a matrix product.
const ROWS: usize = 32;

/// How many letters follow `a` in second and third place in the words of level 3.
fn block(c: usize, a: usize) -> (usize, usize) {
    (c - a, c - a - 1)
}

/// Terms at words `ab`, `a` fixed: `level2[start..][..c - a - 1]`.
fn row(c: usize, a: usize) -> usize {
    a * (2 * c - a - 1) / 2
}

/// Increments and midpoints of a path.
fn steps<T: Real>(path: &[T], c: usize, dx: &mut [T], h: &mut [T]) {
    let half = T::from_f64(0.5);
    let points = path.chunks_exact(c).zip(path.chunks_exact(c).skip(1));
    let rows = dx.chunks_exact_mut(c).zip(h.chunks_exact_mut(c));
    for ((from, to), (dx, h)) in points.zip(rows) {
        for i in 0..c {
            dx[i] = to[i] - from[i];
            h[i] = (from[i] - path[i]) + half * dx[i];
        }
    }
}

/// What both ways know of a path.
struct Path<'a, T> {
    c: usize,
    steps: usize,
    /// `[T, c]`
    dx: &'a [T],
    /// `[T, c]`
    h: &'a [T],
    /// `[c]`
    total: &'a [T],
}

for_isa!(fn factors(path: &Path<'_, T>, a: usize, area: &[T], memory: &mut [T], f: &mut [T])
    = factors_any);

/// `F_t[ab]` for one `a` into `f` `[T, c - a]`, `b` from `a`; `area` holds `log_ab`, `b > a`.
#[inline(always)]
fn factors_any<T: Real, const F: bool>(
    path: &Path<'_, T>,
    a: usize,
    area: &[T],
    memory: &mut [T],
    f: &mut [T],
) {
    let c = path.c;
    let (half, twelfth) = (T::from_f64(0.5), T::from_f64(1.0 / 12.0));
    let sa = path.total[a];
    // Starts with the terms that are constant in time; A_t is added as it grows.
    let running = &mut memory[..c - a];
    running[0] = sa * sa * twelfth;
    for ((o, &area), &sb) in running[1..].iter_mut().zip(area).zip(&path.total[a + 1..]) {
        *o = sa * sb * twelfth - half * area;
    }
    let rows = path.dx.chunks_exact(c).zip(path.h.chunks_exact(c));
    for ((dx, h), f) in rows.zip(f.chunks_exact_mut(c - a)) {
        let (dx, h) = (&dx[a..], &h[a..]);
        let (ha, g) = (h[0], h[0] * half - dx[0] * twelfth);
        let s = -half * sa;
        for (((f, r), &d), &h) in f.iter_mut().zip(running.iter_mut()).zip(dx).zip(h) {
            *f = fma::<T, F>(s, h, fma::<T, F>(g, d, *r));
            *r = fma::<T, F>(ha, d, *r);
        }
    }
}

/// The log-signature of `path` `[L, c]` at Lyndon words to `depth` (at most 3) into `out`.
pub(super) fn forward<T: Real>(c: usize, depth: usize, path: &[T], out: &mut [T]) {
    let n = (path.len() / c).saturating_sub(1);
    let (level1, rest) = out.split_at_mut(c);
    for (i, o) in level1.iter_mut().enumerate() {
        *o = path[n * c + i] - path[i];
    }
    if depth == 1 {
        return;
    }
    scratch::<T, _>(3 * n * c + c + ROWS * c, |memory| {
        let (dx, memory) = memory.split_at_mut(n * c);
        let (h, memory) = memory.split_at_mut(n * c);
        let (f, memory) = memory.split_at_mut(n * c);
        steps(path, c, dx, h);
        let path = Path {
            c,
            steps: n,
            dx,
            h,
            total: level1,
        };
        let (level2, mut level3) = rest.split_at_mut(c * (c - 1) / 2);
        areas(&path, f, memory, level2);
        if depth < 3 {
            return;
        }
        for a in 0..c - 1 {
            let (second, third) = block(c, a);
            let (out, next) = level3.split_at_mut(second * third);
            level3 = next;
            let f = &mut f[..n * second];
            factors(&path, a, &level2[row(c, a)..], memory, f);
            let f = Matrix::turned(f, second);
            MatrixMut::rows(out, third).set([second, third, n], f, dx_from(&path, a + 1));
        }
    });
}

/// Increments of the channels from `from` on, `[T, c - from]`.
fn dx_from<'a, T>(path: &Path<'a, T>, from: usize) -> Matrix<'a, T> {
    Matrix::rows(&path.dx[from.min(path.dx.len())..], path.c)
}

/// `h - S/2` into `u` `[T, c]`.
fn centre<T: Real>(path: &Path<'_, T>, u: &mut [T]) {
    let half = T::from_f64(0.5);
    for (u, h) in u.chunks_exact_mut(path.c).zip(path.h.chunks_exact(path.c)) {
        for ((u, &h), &s) in u.iter_mut().zip(h).zip(path.total) {
            *u = h - half * s;
        }
    }
}

/// Level 2; `u` is working memory.
fn areas<T: Real>(path: &Path<'_, T>, u: &mut [T], memory: &mut [T], level2: &mut [T]) {
    let c = path.c;
    centre(path, u);
    for from in (0..c - 1).step_by(ROWS) {
        let count = ROWS.min(c - 1 - from);
        let width = c - 1 - from;
        let u = Matrix::turned(&u[from.min(u.len())..], c);
        MatrixMut::rows(&mut *memory, width).set(
            [count, width, path.steps],
            u,
            dx_from(path, from + 1),
        );
        for i in 0..count {
            let a = from + i;
            level2[row(c, a)..][..c - a - 1].copy_from_slice(&memory[i * width..][i..width]);
        }
    }
}

/// Gradients that the terms of one first letter add to.
struct Gradient<'a, T> {
    /// `[T, c]`
    dx: &'a mut [T],
    /// `[T, c]`
    h: &'a mut [T],
    /// `[c]`
    total: &'a mut [T],
    /// Of `log_ab`, strictly upper triangle of `[c, c]`.
    area: &'a mut [T],
}

for_isa!(fn unfactor(path: &Path<'_, T>, a: usize, k: &[T], memory: &mut [T],
                     g: &mut Gradient<'_, T>) = unfactor_any);

/// Derivative of [`factors`], given the gradient `k` `[T, c - a]` of `F_t[ab]`.
#[inline(always)]
fn unfactor_any<T: Real, const F: bool>(
    path: &Path<'_, T>,
    a: usize,
    k: &[T],
    memory: &mut [T],
    g: &mut Gradient<'_, T>,
) {
    let c = path.c;
    let (half, twelfth) = (T::from_f64(0.5), T::from_f64(1.0 / 12.0));
    let sa = path.total[a];
    // Sum of k over the later steps.
    let later = &mut memory[..c - a];
    later.fill(T::zero());
    let rows = path.dx.chunks_exact(c).zip(path.h.chunks_exact(c));
    let rows = rows.zip(g.dx.chunks_exact_mut(c).zip(g.h.chunks_exact_mut(c)));
    for (((dx, h), (gdx, gh)), k) in rows.zip(k.chunks_exact(c - a)).rev() {
        let (dx, h, gdx, gh) = (&dx[a..], &h[a..], &mut gdx[a..], &mut gh[a..]);
        let product = half * h[0] - twelfth * dx[0];
        let (dk, dl) = (dot::<T, F>(dx, k), dot::<T, F>(dx, later));
        g.total[a] -= half * dot::<T, F>(h, k);
        let (ha, s) = (h[0], -half * sa);
        let updates = gdx
            .iter_mut()
            .zip(gh.iter_mut())
            .zip(k.iter().zip(later.iter_mut()));
        for ((gdx, gh), (&k, later)) in updates {
            *gdx = fma::<T, F>(product, k, fma::<T, F>(ha, *later, *gdx));
            *gh = fma::<T, F>(s, k, *gh);
            *later += k;
        }
        gh[0] += half * dk + dl;
        gdx[0] -= twelfth * dk;
    }
    g.total[a] += twelfth * dot::<T, F>(later, &path.total[a..]);
    let targets = g.total[a..].iter_mut().zip(&mut g.area[a * c + a..]);
    for (i, ((gs, ga), &sum)) in targets.zip(later.iter()).enumerate() {
        *gs += twelfth * sa * sum;
        if i > 0 {
            *ga -= half * sum;
        }
    }
}

/// Gradient of the path, given the gradient `grad` of its log-signature and that log-signature.
pub(super) fn backward<T: Real>(
    c: usize,
    depth: usize,
    path: &[T],
    out: &[T],
    grad: &[T],
    gpath: &mut [T],
) {
    let n = (path.len() / c).saturating_sub(1);
    gpath.fill(T::zero());
    if n == 0 {
        return;
    }
    if depth == 1 {
        for i in 0..c {
            gpath[i] = -grad[i];
            gpath[n * c + i] = grad[i];
        }
        return;
    }
    scratch::<T, _>(6 * n * c + 2 * c + c * c, |memory| {
        let (dx, memory) = memory.split_at_mut(n * c);
        let (h, memory) = memory.split_at_mut(n * c);
        let (f, memory) = memory.split_at_mut(n * c);
        let (k, memory) = memory.split_at_mut(n * c);
        let (gdx, memory) = memory.split_at_mut(n * c);
        let (gh, memory) = memory.split_at_mut(n * c);
        let (gtotal, memory) = memory.split_at_mut(c);
        let (garea, memory) = memory.split_at_mut(c * c);
        steps(path, c, dx, h);
        let path = Path {
            c,
            steps: n,
            dx,
            h,
            total: &out[..c],
        };
        gtotal.copy_from_slice(&grad[..c]);
        let (grad2, grad3) = grad[c..].split_at(c * (c - 1) / 2);
        triangle(c, grad2, garea);
        gdx.fill(T::zero());
        gh.fill(T::zero());
        let mut g = Gradient {
            dx: gdx,
            h: gh,
            total: gtotal,
            area: garea,
        };
        if depth == 3 {
            let mut grad3 = grad3;
            for a in 0..c - 1 {
                let (second, third) = block(c, a);
                let (grad, next) = grad3.split_at(second * third);
                grad3 = next;
                let (f, k) = (&mut f[..n * second], &mut k[..n * second]);
                factors(&path, a, &out[c + row(c, a)..], memory, f);
                let transposed = Matrix::turned(grad, third);
                let dims = [n, second, third];
                MatrixMut::rows(&mut *k, second).set(dims, dx_from(&path, a + 1), transposed);
                let f = Matrix::rows(f, second);
                let grad = Matrix::rows(grad, third);
                MatrixMut::rows(&mut g.dx[a + 1..], c).add([n, third, second], f, grad);
                unfactor(&path, a, k, memory, &mut g);
            }
        }
        unarea(&path, f, k, &mut g);
        collect(c, &g, gpath);
    });
}

/// Level 2 as the strictly upper triangle of a square matrix.
fn triangle<T: Real>(c: usize, level2: &[T], square: &mut [T]) {
    square.fill(T::zero());
    for a in 0..c - 1 {
        square[a * c + a + 1..(a + 1) * c].copy_from_slice(&level2[row(c, a)..][..c - a - 1]);
    }
}

/// Derivative of [`areas`]; `u` and `gu` are working memory.
fn unarea<T: Real>(path: &Path<'_, T>, u: &mut [T], gu: &mut [T], g: &mut Gradient<T>) {
    let (c, n) = (path.c, path.steps);
    centre(path, u);
    let (area, turned) = (Matrix::rows(g.area, c), Matrix::turned(g.area, c));
    MatrixMut::rows(&mut *gu, c).set([n, c, c], dx_from(path, 0), turned);
    MatrixMut::rows(&mut *g.dx, c).add([n, c, c], Matrix::rows(u, c), area);
    let half = T::from_f64(0.5);
    for (gu, gh) in gu.chunks_exact(c).zip(g.h.chunks_exact_mut(c)) {
        for ((&gu, gh), gt) in gu.iter().zip(gh).zip(g.total.iter_mut()) {
            *gh += gu;
            *gt -= half * gu;
        }
    }
}

/// Gradients of increments, midpoints and total increment to those of the points.
fn collect<T: Real>(c: usize, g: &Gradient<T>, gpath: &mut [T]) {
    let half = T::from_f64(0.5);
    for (t, (gdx, gh)) in g.dx.chunks_exact(c).zip(g.h.chunks_exact(c)).enumerate() {
        spread(gdx, c, t, gpath);
        for (i, &g) in gh.iter().enumerate() {
            gpath[t * c + i] += half * g;
            gpath[(t + 1) * c + i] += half * g;
            gpath[i] -= g;
        }
    }
    let last = gpath.len() - c;
    for (i, &g) in g.total.iter().enumerate() {
        gpath[last + i] += g;
        gpath[i] -= g;
    }
}
