//! The hidden layer on the processor, node by node.

use super::sizes::Sizes;
use crate::ops::cpu::{Matrix, MatrixMut, Real, parts, scratch, tree_sum};
use rayon::prelude::*;

impl Sizes {
    /// `h` of one node, `[T, H]`.
    fn layer<T: Real>(&self, u: &[T], layer: &[T], h: &mut [T]) {
        let bias = &layer[self.features * self.width..];
        for row in h.chunks_exact_mut(self.width) {
            row.copy_from_slice(bias);
        }
        let dims = [self.frames, self.width, self.features];
        MatrixMut::rows(&mut *h, self.width).add(
            dims,
            Matrix::rows(u, self.features),
            Matrix::rows(layer, self.width),
        );
        for x in h {
            if *x < T::zero() {
                *x = T::zero();
            }
        }
    }

    /// From the gradient `gh` of one node's `h` to those of the layer (added) and of `u`.
    fn unlayer<T: Real>(
        &self,
        [u, layer, h]: [&[T]; 3],
        gh: &mut [T],
        glayer: &mut [T],
        gu: Option<&mut [T]>,
    ) {
        for (g, &h) in gh.iter_mut().zip(h) {
            if h <= T::zero() {
                *g = T::zero();
            }
        }
        let (d, w, t) = (self.features, self.width, self.frames);
        let (gweight, gbias) = glayer.split_at_mut(d * w);
        MatrixMut::rows(gweight, w).add([d, w, t], Matrix::turned(u, d), Matrix::rows(gh, w));
        for row in gh.chunks_exact(w) {
            for (o, &g) in gbias.iter_mut().zip(row) {
                *o += g;
            }
        }
        if let Some(gu) = gu {
            MatrixMut::rows(gu, d).set([t, d, w], Matrix::rows(gh, w), Matrix::turned(layer, w));
        }
    }
}

/// Gradients of a whole call.
pub(super) struct Gradients<T> {
    pub u: Option<Vec<T>>,
    pub layer: Vec<T>,
    pub right: Vec<T>,
}

/// Runs `node(number, h, gh, gright)` on every node: it fills `gh` from `h` and adds to the
/// gradient of the projections, `right` elements. Sums go over fixed parts of the nodes.
fn backward<T: Real>(
    s: Sizes,
    [u, layer]: [&[T]; 2],
    right: usize,
    needs_u: bool,
    node: impl Fn(usize, &[T], &mut [T], &mut [T]) + Sync,
) -> Gradients<T> {
    let parts = parts(s.nodes, 1);
    let part_len = parts.first().map_or(1, |p| p.len());
    let mut gu = vec![T::zero(); if needs_u { u.len() } else { 0 }];
    let mut chunks: Vec<Option<&mut [T]>> = match needs_u {
        true => gu.chunks_mut(part_len * s.input()).map(Some).collect(),
        false => parts.iter().map(|_| None).collect(),
    };
    let sums: Vec<Vec<T>> = parts
        .into_par_iter()
        .zip(&mut chunks)
        .map(|(part, gu)| {
            let mut sums = vec![T::zero(); layer.len() + right];
            let (glayer, gright) = sums.split_at_mut(layer.len());
            scratch::<T, _>(2 * s.hidden(), |memory| {
                let (h, gh) = memory.split_at_mut(s.hidden());
                for n in part.clone() {
                    let u = &u[n * s.input()..][..s.input()];
                    s.layer(u, layer, h);
                    node(n, h, gh, gright);
                    let at = (n - part.start) * s.input();
                    let gu = gu.as_deref_mut().map(|g| &mut g[at..at + s.input()]);
                    s.unlayer([u, layer, h], gh, glayer, gu);
                }
            });
            sums
        })
        .collect();
    let mut layer_sum = tree_sum(sums);
    let right = layer_sum.split_off(layer.len().min(layer_sum.len()));
    Gradients {
        u: needs_u.then_some(gu),
        layer: layer_sum,
        right,
    }
}

/// The layer's average over time.
pub(super) fn average<T: Real>(s: Sizes, weights: &[f64], u: &[T], layer: &[T]) -> Vec<T> {
    let mut out = vec![T::zero(); s.nodes * s.width];
    let nodes = out.par_chunks_mut(s.width).zip(u.par_chunks(s.input()));
    nodes.for_each(|(out, u)| {
        scratch::<T, _>(s.hidden(), |h| {
            s.layer(u, layer, h);
            for (h, &w) in h.chunks_exact(s.width).zip(weights) {
                let w = T::from_f64(w);
                for (o, &h) in out.iter_mut().zip(h) {
                    *o += w * h;
                }
            }
        })
    });
    out
}

/// From the gradient `g` of the average to those of the features and the layer.
pub(super) fn unaverage<T: Real>(
    s: Sizes,
    weights: &[f64],
    [u, layer, g]: [&[T]; 3],
    needs_u: bool,
) -> Gradients<T> {
    backward(s, [u, layer], 0, needs_u, |n, _, gh: &mut [T], _| {
        let g = &g[n * s.width..][..s.width];
        for (row, &w) in gh.chunks_exact_mut(s.width).zip(weights) {
            let w = T::from_f64(w);
            for (o, &g) in row.iter_mut().zip(g) {
                *o = w * g;
            }
        }
    })
}

/// The projections of a layer on `words` matrices.
pub(super) struct Projection {
    pub sizes: Sizes,
    pub words: usize,
    /// Columns of all matrices.
    pub columns: usize,
}

impl Projection {
    /// `[T, words e]` to `[words, T, e]`, or back.
    fn regroup<T: Copy>(&self, frames: usize, from: &[T], to: &mut [T], back: bool) {
        let e = from.len() / (frames * self.words);
        for t in 0..frames {
            for w in 0..self.words {
                let (flat, grouped) = ((t * self.words + w) * e, (w * frames + t) * e);
                let (a, b) = if back {
                    (grouped, flat)
                } else {
                    (flat, grouped)
                };
                to[b..b + e].copy_from_slice(&from[a..a + e]);
            }
        }
    }

    /// Elements of a node's projections.
    fn of_node(&self) -> usize {
        self.sizes.frames * self.columns
    }

    pub fn forward<T: Real>(&self, u: &[T], layer: &[T], right: &[T]) -> Vec<T> {
        let (s, columns, of_node) = (self.sizes, self.columns, self.of_node());
        let mut out = vec![T::zero(); s.nodes * of_node];
        let nodes = out.par_chunks_mut(of_node).zip(u.par_chunks(s.input()));
        nodes.for_each(|(out, u)| {
            scratch::<T, _>(s.hidden() + of_node, |memory| {
                let (h, y) = memory.split_at_mut(s.hidden());
                s.layer(u, layer, h);
                let (h, right) = (Matrix::rows(h, s.width), Matrix::rows(right, columns));
                let dims = [s.frames, columns, s.width];
                MatrixMut::rows(&mut *y, columns).set(dims, h, right);
                self.regroup(s.frames, y, out, false);
            })
        });
        out
    }

    /// From the gradient `g` of the projections to those of features, layer and matrices.
    pub fn backward<T: Real>(
        &self,
        [u, layer, right, g]: [&[T]; 4],
        needs_u: bool,
    ) -> Gradients<T> {
        let (s, columns, of_node) = (self.sizes, self.columns, self.of_node());
        let node = |n: usize, h: &[T], gh: &mut [T], gright: &mut [T]| {
            let mut gy = vec![T::zero(); of_node];
            self.regroup(s.frames, &g[n * of_node..][..of_node], &mut gy, true);
            let gy = Matrix::rows(&gy, columns);
            let dims = [s.width, columns, s.frames];
            let h = Matrix::turned(h, s.width);
            MatrixMut::rows(gright, columns).add(dims, h, gy);
            let dims = [s.frames, s.width, columns];
            let right = Matrix::turned(right, columns);
            MatrixMut::rows(gh, s.width).set(dims, gy, right);
        };
        backward(s, [u, layer], right.len(), needs_u, node)
    }
}
