//! The truncated signature of one path, forward and backward.
//!
//! Shapes: L points, c channels, depth N, dx_t the increment of step t, S_t the signature of the
//! steps before t. Chen's identity gives `S_{t+1} = S_t (x) exp(dx_t)`, per level (Kidger &
//! Lyons, "Signatory", 2021, section 4, evaluated as by Horner):
//! ```text
//! S_{t+1,k} = S_{t,k} + H_{t,k} (x) dx_t
//! H_{t,k}   = S_{t,k-1} + B_{k-1},  B_1 = dx_t / k,  B_{i+1} = (S_{t,i} + B_i) (x) dx_t / (k - i)
//! ```
//! The last level occurs in no other: it is `sum_t H_{t,N} (x) dx_t`, one matrix product per
//! block of steps. Going back, it is constant in time, so the gradients of `H` and `dx` are two
//! matrix products, and only the lower levels are recomputed, by the reversed steps
//! `S_t = S_{t+1} (x) exp(-dx_t)`: memory is that of the signature, whatever the length.

use crate::for_isa;
use crate::ops::cpu::{Matrix, MatrixMut, Real, fma, scratch};
use crate::words::offsets;

/// Sizes of a signature.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub channels: usize,
    pub depth: usize,
    /// As [`crate::words::offsets`].
    pub offsets: Vec<usize>,
}

impl Shape {
    pub fn new(channels: usize, depth: usize) -> Self {
        Self {
            channels,
            depth,
            offsets: offsets(channels, depth),
        }
    }

    pub fn terms(&self) -> usize {
        self.offsets[self.depth]
    }

    /// Terms of levels 1 to N - 1.
    fn lower(&self) -> usize {
        self.offsets[self.depth - 1]
    }

    /// Elements of H: words of N - 1 letters.
    fn prefixes(&self) -> usize {
        self.channels.pow(self.depth as u32 - 1)
    }

    /// Steps in a block: enough for an efficient matrix product, yet no more than some
    /// signatures' worth of memory.
    fn block(&self) -> usize {
        self.channels.clamp(32, 64)
    }

    /// `dx / 1, .., dx / N`, one after another.
    fn scaled(&self) -> usize {
        self.channels * self.depth
    }
}

/// Level `k` of a signature.
#[inline(always)]
fn level<'a, T>(s: &'a [T], offsets: &[usize], k: usize) -> &'a [T] {
    &s[offsets[k - 1]..offsets[k]]
}

/// `scaled[m - 1] = sign dx / m`.
#[inline(always)]
fn scale<T: Real>(dx: &[T], sign: T, scaled: &mut [T]) {
    for (m, row) in scaled.chunks_exact_mut(dx.len()).enumerate() {
        let factor = sign / T::from_f64((m + 1) as f64);
        for (s, &d) in row.iter_mut().zip(dx) {
            *s = d * factor;
        }
    }
}

/// `dx / m` of what [`scale`] wrote.
#[inline(always)]
fn part<T>(scaled: &[T], channels: usize, m: usize) -> &[T] {
    &scaled[(m - 1) * channels..m * channels]
}

/// The chain `B_1, .., B_{k-1}` of level `k`, one after another as the levels of a signature.
#[inline(always)]
fn chain<T: Real>(shape: &Shape, k: usize, s: &[T], scaled: &[T], b: &mut [T]) {
    let c = shape.channels;
    if k < 2 {
        return;
    }
    b[..c].copy_from_slice(part(scaled, c, k));
    for i in 1..k - 1 {
        let (done, next) = b.split_at_mut(shape.offsets[i]);
        let (s, b) = (level(s, &shape.offsets, i), level(done, &shape.offsets, i));
        let d = part(scaled, c, k - i);
        for ((row, &s), &b) in next.chunks_exact_mut(c).zip(s).zip(b) {
            let u = s + b;
            for (o, &d) in row.iter_mut().zip(d) {
                *o = u * d;
            }
        }
    }
}

/// `S_k += (S_{k-1} + B_{k-1}) (x) dx` for `k = top, .., 1`.
#[inline(always)]
fn advance<T: Real, const F: bool>(
    shape: &Shape,
    top: usize,
    s: &mut [T],
    scaled: &[T],
    b: &mut [T],
) {
    let c = shape.channels;
    let d = part(scaled, c, 1);
    for k in (2..=top).rev() {
        chain(shape, k, s, scaled, b);
        let (below, at) = s.split_at_mut(shape.offsets[k - 1]);
        let prefixes = below[shape.offsets[k - 2]..]
            .iter()
            .zip(level(b, &shape.offsets, k - 1));
        for (row, (&s, &b)) in at.chunks_exact_mut(c).zip(prefixes) {
            let u = s + b;
            for (o, &d) in row.iter_mut().zip(d) {
                *o = fma::<T, F>(u, d, *o);
            }
        }
    }
    if top > 0 {
        for (o, &d) in s.iter_mut().zip(d) {
            *o += d;
        }
    }
}

/// `h = S_{N-1} + B_{N-1}`, leaving the chain in `b`.
#[inline(always)]
fn prefix<T: Real>(shape: &Shape, s: &[T], scaled: &[T], b: &mut [T], h: &mut [T]) {
    let n = shape.depth;
    if n == 1 {
        h[0] = T::one();
        return;
    }
    chain(shape, n, s, scaled, b);
    let below = level(s, &shape.offsets, n - 1);
    for ((h, &s), &b) in h.iter_mut().zip(below).zip(level(b, &shape.offsets, n - 1)) {
        *h = s + b;
    }
}

#[inline(always)]
fn increment<T: Real>(path: &[T], c: usize, t: usize, dx: &mut [T]) {
    let (from, to) = (&path[t * c..][..c], &path[(t + 1) * c..][..c]);
    for ((d, &a), &b) in dx.iter_mut().zip(from).zip(to) {
        *d = b - a;
    }
}

for_isa!(fn blocks(shape: &Shape, path: &[T], from: usize, lower: &mut [T],
                   dx: &mut [T], h: &mut [T], memory: &mut [T]) = blocks_any);

/// Takes the steps `from..` of a block: lower levels in place, `dx` and `h` for the last one.
#[inline(always)]
fn blocks_any<T: Real, const F: bool>(
    shape: &Shape,
    path: &[T],
    from: usize,
    lower: &mut [T],
    dx: &mut [T],
    h: &mut [T],
    memory: &mut [T],
) {
    let c = shape.channels;
    let (scaled, b) = memory.split_at_mut(shape.scaled());
    let rows = dx
        .chunks_exact_mut(c)
        .zip(h.chunks_exact_mut(shape.prefixes()));
    for (t, (dx, h)) in rows.enumerate() {
        increment(path, c, from + t, dx);
        scale(dx, T::one(), scaled);
        prefix(shape, lower, scaled, b, h);
        advance::<T, F>(shape, shape.depth - 1, lower, scaled, b);
    }
}

/// The signature of `path` `[L, c]` into `out`, whose content is overwritten.
pub(super) fn forward<T: Real>(shape: &Shape, path: &[T], out: &mut [T]) {
    let c = shape.channels;
    let steps = (path.len() / c).saturating_sub(1);
    let (block, prefixes) = (shape.block().min(steps), shape.prefixes());
    let (lower, top) = out.split_at_mut(shape.lower());
    lower.fill(T::zero());
    if steps == 0 {
        top.fill(T::zero());
    }
    let len = block * (c + prefixes) + shape.scaled() + shape.lower();
    scratch::<T, _>(len, |memory| {
        let (dx, memory) = memory.split_at_mut(block * c);
        let (h, memory) = memory.split_at_mut(block * prefixes);
        for from in (0..steps).step_by(block.max(1)) {
            let n = block.min(steps - from);
            let (dx, h) = (&mut dx[..n * c], &mut h[..n * prefixes]);
            blocks(shape, path, from, lower, dx, h, memory);
            MatrixMut::rows(&mut *top, c).write(
                [prefixes, c, n],
                Matrix::turned(h, prefixes),
                Matrix::rows(dx, c),
                from > 0,
            );
        }
    });
}

/// Working memory of a block's way back.
struct Back<'a, T> {
    /// Lower levels of the signature after the step, then before it.
    s: &'a mut [T],
    /// Gradient of `s`.
    g: &'a mut [T],
    /// Increments, `[n, c]`.
    dx: &'a [T],
    /// H on return, `[n, prefixes]`.
    h: &'a mut [T],
    /// Gradient of H, `[n, prefixes]`.
    gh: &'a mut [T],
    /// Gradient of the increments, `[n, c]`, added to.
    gdx: &'a mut [T],
    memory: &'a mut [T],
}

for_isa!(fn back_block(shape: &Shape, back: Back<'_, T>) = back_block_any);

#[inline(always)]
fn back_block_any<T: Real, const F: bool>(shape: &Shape, back: Back<'_, T>) {
    let (c, n) = (shape.channels, shape.depth);
    let (scaled, memory) = back.memory.split_at_mut(shape.scaled());
    let (b, gb) = memory.split_at_mut(shape.lower());
    let lower = &shape.offsets;
    let steps = back
        .dx
        .chunks_exact(c)
        .zip(back.gdx.chunks_exact_mut(c))
        .zip(
            back.h
                .chunks_exact_mut(shape.prefixes())
                .zip(back.gh.chunks_exact_mut(shape.prefixes())),
        );
    for ((dx, gdx), (h, gh)) in steps.rev() {
        scale(dx, -T::one(), scaled);
        advance::<T, F>(shape, n - 1, back.s, scaled, b);
        scale(dx, T::one(), scaled);
        // Level k reads the gradient of S_{t+1,k}, and adds to those of the levels below only.
        for k in 1..n {
            let (below, at) = back.g.split_at_mut(lower[k - 1]);
            let g = &at[..lower[k] - lower[k - 1]];
            if k == 1 {
                for (o, &g) in gdx.iter_mut().zip(g) {
                    *o += g;
                }
                continue;
            }
            chain(shape, k, back.s, scaled, b);
            let s = &back.s[..lower[k - 1]];
            let gp = &mut gb[lower[k - 2]..lower[k - 1]];
            unmultiply::<T, F>(
                (level(s, lower, k - 1), level(b, lower, k - 1)),
                part(scaled, c, 1),
                g,
                gp,
                (gdx, T::one()),
            );
            unchain::<T, F>(shape, k, back.s, scaled, (b, gb), below, gdx);
        }
        prefix(shape, back.s, scaled, b, h);
        if n > 1 {
            gb[lower[n - 2]..lower[n - 1]].copy_from_slice(gh);
            unchain::<T, F>(shape, n, back.s, scaled, (b, gb), back.g, gdx);
        }
    }
}

/// Derivative of `o = (s + b) (x) d`, `d = dx * factor`: writes the gradient of `s + b` to
/// `gu` and adds that of `dx` to `gdx`.
#[inline(always)]
fn unmultiply<T: Real, const F: bool>(
    (s, b): (&[T], &[T]),
    d: &[T],
    g: &[T],
    gu: &mut [T],
    (gdx, factor): (&mut [T], T),
) {
    let rows = g.chunks_exact(d.len()).zip(gu).zip(s.iter().zip(b));
    for ((g, gu), (&s, &b)) in rows {
        let u = (s + b) * factor;
        let mut sum = T::zero();
        for ((&g, &d), o) in g.iter().zip(d).zip(gdx.iter_mut()) {
            sum = fma::<T, F>(g, d, sum);
            *o = fma::<T, F>(u, g, *o);
        }
        *gu = sum;
    }
}

/// Derivative of [`chain`] and of the sum after it: level `k - 1` of `gb` holds the gradient of
/// `S_{k-1} + B_{k-1}`. Adds to `gs` and `gdx`.
#[inline(always)]
fn unchain<T: Real, const F: bool>(
    shape: &Shape,
    k: usize,
    s: &[T],
    scaled: &[T],
    (b, gb): (&[T], &mut [T]),
    gs: &mut [T],
    gdx: &mut [T],
) {
    let (c, offsets) = (shape.channels, &shape.offsets);
    for i in (1..k).rev() {
        let range = offsets[i - 1]..offsets[i];
        for (o, &g) in gs[range.clone()].iter_mut().zip(&gb[range.clone()]) {
            *o += g;
        }
        if i == 1 {
            let factor = T::one() / T::from_f64(k as f64);
            for (o, &g) in gdx.iter_mut().zip(&gb[range]) {
                *o = fma::<T, F>(g, factor, *o);
            }
            continue;
        }
        // B_i = (S_{i-1} + B_{i-1}) (x) dx / (k - i + 1)
        let m = k - i + 1;
        let (below, at) = gb.split_at_mut(offsets[i - 1]);
        unmultiply::<T, F>(
            (level(s, offsets, i - 1), level(b, offsets, i - 1)),
            part(scaled, c, m),
            &at[..offsets[i] - offsets[i - 1]],
            &mut below[offsets[i - 2]..],
            (gdx, T::one() / T::from_f64(m as f64)),
        );
    }
}

/// Gradient of the path, given its signature `out` and the gradient `grad` of that.
pub(super) fn backward<T: Real>(shape: &Shape, path: &[T], out: &[T], grad: &[T], gpath: &mut [T]) {
    let c = shape.channels;
    gpath.fill(T::zero());
    let steps = (path.len() / c).saturating_sub(1);
    let (block, prefixes, lower) = (shape.block().min(steps), shape.prefixes(), shape.lower());
    let len = 2 * block * (c + prefixes) + 4 * lower + shape.scaled();
    scratch::<T, _>(len, |memory| {
        let (s, memory) = memory.split_at_mut(lower);
        let (g, memory) = memory.split_at_mut(lower);
        let (dx, memory) = memory.split_at_mut(block * c);
        let (gdx, memory) = memory.split_at_mut(block * c);
        let (h, memory) = memory.split_at_mut(block * prefixes);
        let (gh, memory) = memory.split_at_mut(block * prefixes);
        s.copy_from_slice(&out[..lower]);
        g.copy_from_slice(&grad[..lower]);
        let top = &grad[lower..];
        for from in (0..steps).step_by(block.max(1)).rev() {
            let n = block.min(steps - from);
            let (dx, gdx) = (&mut dx[..n * c], &mut gdx[..n * c]);
            let (h, gh) = (&mut h[..n * prefixes], &mut gh[..n * prefixes]);
            for (t, dx) in dx.chunks_exact_mut(c).enumerate() {
                increment(path, c, from + t, dx);
            }
            MatrixMut::rows(&mut *gh, prefixes).set(
                [n, prefixes, c],
                Matrix::rows(dx, c),
                Matrix::turned(top, c),
            );
            gdx.fill(T::zero());
            let back = Back {
                s: &mut *s,
                g: &mut *g,
                dx: &*dx,
                h: &mut *h,
                gh: &mut *gh,
                gdx: &mut *gdx,
                memory: &mut *memory,
            };
            back_block(shape, back);
            MatrixMut::rows(&mut *gdx, c).add(
                [n, c, prefixes],
                Matrix::rows(h, prefixes),
                Matrix::rows(top, c),
            );
            for (t, gdx) in gdx.chunks_exact(c).enumerate() {
                spread(gdx, c, from + t, gpath);
            }
        }
    });
}

/// Gradient of an increment to its two points.
pub(super) fn spread<T: Real>(gdx: &[T], c: usize, t: usize, gpath: &mut [T]) {
    let (from, to) = gpath[t * c..(t + 2) * c].split_at_mut(c);
    for ((a, b), &g) in from.iter_mut().zip(to).zip(gdx) {
        *a -= g;
        *b += g;
    }
}
