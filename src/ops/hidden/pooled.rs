//! Projections of the hidden layer that meet their weights where they are made: of a block of
//! nodes at a time, whose layers and projections stay in the second-level cache.
//!
//! Here the layer of a node is `[H, T]`, frames innermost, and its projections `[words e, T]`:
//! as they lie, a node's words are rows of what is summed.

use super::sizes::Sizes;
use crate::for_isa;
use crate::ops::cpu::{Matrix, MatrixMut, Real, fma, parts, scratch, tree_sum};
use crate::ops::op::{Array, Backward, Once, Op};
use candle_core::{Result, Shape, bail};
use rayon::prelude::*;

/// Nodes that are made at a time.
const BLOCK: usize = 32;

/// Of weights `left` `[N, words K]`, features, and layer and `right` in one flat tensor.
pub(super) struct Pooled {
    pub words: usize,
    pub sizes: Sizes,
    /// Projections of a node, `words e`.
    pub columns: usize,
    pub beads: usize,
}

/// What one block of nodes needs.
struct Memory<'a, T> {
    /// Features of a node, turned, and their gradient.
    turned: &'a mut [T],
    /// Layers of the nodes.
    h: &'a mut [T],
    /// Projections of the nodes.
    y: &'a mut [T],
    /// Gradients of the two.
    gh: &'a mut [T],
    gy: &'a mut [T],
}

for_isa!(
    /// `relu(W^T u + b)` of one node's features `[d, T]`, `[H, T]`; `layer` holds W and b.
    fn activate(u: &[T], layer: &[T], h: &mut [T], frames: usize) = activate_any
);

#[inline(always)]
fn activate_any<T: Real, const FUSED: bool>(u: &[T], layer: &[T], h: &mut [T], frames: usize) {
    let width = h.len() / frames;
    let d = u.len() / frames;
    for (j, h) in h.chunks_exact_mut(frames).enumerate() {
        h.fill(layer[d * width + j]);
        for (i, u) in u.chunks_exact(frames).enumerate() {
            let weight = layer[i * width + j];
            for (h, &u) in h.iter_mut().zip(u) {
                *h = fma::<T, FUSED>(weight, u, *h);
            }
        }
        for h in h {
            *h = if *h < T::zero() { T::zero() } else { *h };
        }
    }
}

for_isa!(
    /// Where `h` is zero, so is its gradient.
    fn deactivate(h: &[T], gh: &mut [T]) = deactivate_any
);

#[inline(always)]
fn deactivate_any<T: Real, const FUSED: bool>(h: &[T], gh: &mut [T]) {
    for (g, &h) in gh.iter_mut().zip(h) {
        *g = if h <= T::zero() { T::zero() } else { *g };
    }
}

/// Rows of a matrix `[rows, width]` to its columns.
fn turn<T: Copy>(from: &[T], to: &mut [T], width: usize) {
    let rows = from.len() / width;
    for (r, row) in from.chunks_exact(width).enumerate() {
        for (c, &v) in row.iter().enumerate() {
            to[c * rows + r] = v;
        }
    }
}

/// Gradients of a part of the nodes, or of all.
struct Gradients<T> {
    left: Vec<T>,
    u: Option<Vec<T>>,
    weights: Vec<T>,
}

impl Pooled {
    /// Elements of `[e, T]`.
    fn row(&self) -> usize {
        self.columns / self.words * self.sizes.frames
    }

    fn of_node(&self) -> usize {
        self.columns * self.sizes.frames
    }

    fn lend<T: Real, R>(&self, back: bool, f: impl FnOnce(Memory<T>) -> R) -> R {
        let (h, y) = (BLOCK * self.sizes.hidden(), BLOCK * self.of_node());
        let (gh, gy) = if back {
            (self.sizes.hidden(), y)
        } else {
            (0, 0)
        };
        let turned = 2 * self.sizes.input();
        scratch(turned + h + y + gh + gy, |memory| {
            let (turned, memory) = memory.split_at_mut(turned);
            let (h, memory) = memory.split_at_mut(h);
            let (y, memory) = memory.split_at_mut(y);
            let (gh, gy) = memory.split_at_mut(gh);
            f(Memory {
                turned,
                h,
                y,
                gh,
                gy,
            })
        })
    }

    /// Layers and projections of a block of nodes.
    fn make<T: Real>(&self, u: &[T], weights: &[T], memory: &mut Memory<T>) {
        let (frames, width, d) = (self.sizes.frames, self.sizes.width, self.sizes.features);
        let (layer, right) = weights.split_at((d + 1) * width);
        let h = memory.h.chunks_exact_mut(self.sizes.hidden());
        let y = memory.y.chunks_exact_mut(self.of_node());
        for ((u, h), y) in u.chunks_exact(self.sizes.input()).zip(h).zip(y) {
            let turned = &mut memory.turned[..u.len()];
            turn(u, turned, d);
            activate(turned, layer, h, frames);
            let right = Matrix::turned(right, self.columns);
            let dims = [self.columns, frames, width];
            MatrixMut::rows(y, frames).set(dims, right, Matrix::rows(h, frames));
        }
    }

    fn pool<T: Real>(&self, left: &[T], u: &[T], weights: &[T]) -> Vec<T> {
        let (k, row, input) = (self.beads, self.row(), self.sizes.input());
        let parts = parts(self.sizes.nodes, BLOCK).into_par_iter().map(|part| {
            let mut out = vec![T::zero(); k * row];
            self.lend(false, |mut memory| {
                for from in part.clone().step_by(BLOCK) {
                    let nodes = BLOCK.min(part.end - from);
                    self.make(&u[from * input..][..nodes * input], weights, &mut memory);
                    let words = self.words * nodes;
                    let left = &left[from * self.words * k..][..words * k];
                    let y = Matrix::rows(&memory.y[..words * row], row);
                    let left = Matrix::turned(left, k);
                    MatrixMut::rows(&mut out, row).add([k, row, words], left, y);
                }
            });
            out
        });
        tree_sum(parts.collect())
    }

    fn unpool<T: Real>(&self, [left, u, weights, grad]: [&[T]; 4], needs_u: bool) -> Gradients<T> {
        let parts = parts(self.sizes.nodes, BLOCK).into_par_iter();
        let parts = parts.map(|part| {
            let (k, row, input) = (self.beads, self.row(), self.sizes.input());
            let mut out = Gradients {
                left: vec![T::zero(); part.len() * self.words * k],
                u: needs_u.then(|| vec![T::zero(); part.len() * input]),
                weights: vec![T::zero(); weights.len()],
            };
            self.lend(true, |mut memory| {
                for from in part.clone().step_by(BLOCK) {
                    let nodes = BLOCK.min(part.end - from);
                    let u = &u[from * input..][..nodes * input];
                    self.make(u, weights, &mut memory);
                    let words = self.words * nodes;
                    let at = (from - part.start) * self.words * k;
                    // Of the left matrix: y grad^T.
                    let gleft = MatrixMut::rows(&mut out.left[at..at + words * k], k);
                    let y = Matrix::rows(&memory.y[..words * row], row);
                    gleft.set([words, k, row], y, Matrix::turned(grad, row));
                    // Of the projections.
                    let left = &left[from * self.words * k..][..words * k];
                    let gy = MatrixMut::rows(&mut memory.gy[..words * row], row);
                    gy.set(
                        [words, row, k],
                        Matrix::rows(left, k),
                        Matrix::rows(grad, row),
                    );
                    let at = (from - part.start) * input;
                    let gu = out.u.as_mut().map(|g| &mut g[at..at + u.len()]);
                    self.unmake(u, weights, &mut memory, &mut out.weights, gu);
                }
            });
            out
        });
        let mut parts: Vec<_> = parts.collect();
        let weights = parts.iter_mut().map(|p| std::mem::take(&mut p.weights));
        let weights = tree_sum(weights.collect());
        let us = parts.iter_mut().filter_map(|p| p.u.take());
        let us: Vec<Vec<T>> = us.collect();
        let left: Vec<Vec<T>> = parts.into_iter().map(|p| p.left).collect();
        Gradients {
            left: left.concat(),
            u: needs_u.then(|| us.concat()),
            weights,
        }
    }

    /// From the gradients of a block's projections to those of weights (added) and features.
    fn unmake<T: Real>(
        &self,
        u: &[T],
        weights: &[T],
        memory: &mut Memory<T>,
        gweights: &mut [T],
        mut gu: Option<&mut [T]>,
    ) {
        let (frames, width, d) = (self.sizes.frames, self.sizes.width, self.sizes.features);
        let (input, columns) = (self.sizes.input(), self.columns);
        let (layer, right) = weights.split_at((d + 1) * width);
        let (glayer, gright) = gweights.split_at_mut(layer.len());
        let (gweight, gbias) = glayer.split_at_mut(d * width);
        let h = memory.h.chunks_exact(self.sizes.hidden());
        let gy = memory.gy.chunks_exact(self.of_node());
        for (i, ((u, h), gy)) in u.chunks_exact(input).zip(h).zip(gy).enumerate() {
            let gh = &mut *memory.gh;
            let gy_rows = Matrix::rows(gy, frames);
            let dims = [width, columns, frames];
            let gr = MatrixMut::rows(&mut *gright, columns);
            gr.add(dims, Matrix::rows(h, frames), Matrix::turned(gy, frames));
            let dims = [width, frames, columns];
            let by = Matrix::rows(right, columns);
            MatrixMut::rows(&mut *gh, frames).set(dims, by, gy_rows);
            deactivate(h, gh);
            // Of the layer: u^T gh^T, `u` `[T, d]`.
            let to = MatrixMut::rows(&mut *gweight, width);
            let (by, gh_rows) = (Matrix::turned(u, d), Matrix::turned(gh, frames));
            to.add([d, width, frames], by, gh_rows);
            for (o, row) in gbias.iter_mut().zip(gh.chunks_exact(frames)) {
                *o += row.iter().copied().sum::<T>();
            }
            if let Some(gu) = gu.as_deref_mut() {
                let to = MatrixMut::rows(&mut gu[i * input..][..input], d);
                let by = Matrix::turned(layer, width);
                to.set([frames, d, width], Matrix::turned(gh, frames), by);
            }
        }
    }
}

impl Op<3> for Pooled {
    const NAME: &'static str = "the pooled projection of a hidden layer";

    fn shape(&self, [left, ..]: [&Shape; 3]) -> Result<Shape> {
        if left.dims2()? != (self.sizes.nodes, self.words * self.beads) {
            bail!("weights {left:?} of {} nodes", self.sizes.nodes);
        }
        Ok((self.beads, self.row()).into())
    }

    fn forward<T: Real>(&self, [left, u, weights]: [Array<T>; 3]) -> Result<Vec<T>> {
        Ok(self.pool(&left, &u, &weights))
    }
}

impl Once<3> for Pooled {
    fn vjp<T: Real>(&self, call: Backward<T, 3>) -> Result<[Option<Vec<T>>; 3]> {
        let [left, u, weights] = call.inputs.map(|input| input.data);
        let out = self.unpool([left, u, weights, &call.grad], call.wanted[1]);
        Ok([Some(out.left), out.u, Some(out.weights)])
    }
}
