//! Linear maps along edges on the processor: some edges and some rows of their matrices at a time.

use super::{EdgeMap, FEATURES, OUT, Sizes, WEIGHTS, X};
use crate::for_isa;
use crate::ops::cpu::{Matrix, MatrixMut, Real, fma, scratch};
use crate::ops::form::Arguments;
use crate::ops::lanes::{LANES, add, load, total};
use rayon::prelude::*;
use std::ops::Range;

/// Edges that are computed together.
const EDGES: usize = 64;

/// Numbers of an edge's matrix that are made at a time, about.
const NUMBERS: usize = 512;

/// Rows of the matrices of one map.
struct Tile {
    map: usize,
    rows: Range<usize>,
}

/// What is computed, as the inner loops see it.
struct Job<'a, T> {
    form: &'a EdgeMap,
    sizes: Sizes,
    arguments: Arguments<'a, T>,
}

pub(super) fn derivative<T: Real>(form: &EdgeMap, by: usize, arguments: Arguments<T>) -> Vec<T> {
    let job = Job {
        form,
        sizes: form.sizes,
        arguments,
    };
    match by {
        WEIGHTS => job.by_weights(),
        X => job.at_senders(job.by_edges(X)),
        by => job.by_edges(by),
    }
}

/// Rows of a matrix at a time.
fn height(sizes: Sizes) -> usize {
    (NUMBERS / sizes.to.max(1)).clamp(1, sizes.from.max(1))
}

impl<T: Real> Job<'_, T> {
    fn tiles(&self) -> impl Iterator<Item = Tile> + use<T> {
        let (from, height) = (self.sizes.from, height(self.sizes));
        (0..self.sizes.maps).flat_map(move |map| {
            let rows = (0..from).step_by(height);
            rows.map(move |row| Tile {
                map,
                rows: row..(row + height).min(from),
            })
        })
    }

    /// Numbers of a row of an argument; of `X` those that an edge takes.
    fn width(&self, argument: usize) -> usize {
        self.form.rows(argument)[1]
    }

    /// The row of an argument that an edge takes.
    fn row(&self, argument: usize, edge: usize) -> &[T] {
        let row = match argument {
            X => self.form.edges.senders()[edge] as usize,
            _ => edge,
        };
        let width = self.width(argument);
        &self.arguments[argument][row * width..][..width]
    }

    /// The rows of an argument at some edges.
    fn rows(&self, argument: usize, edges: &Range<usize>) -> &[T] {
        let width = self.width(argument);
        &self.arguments[argument][edges.start * width..edges.end * width]
    }

    /// The weights of a tile, `[rows * to, K]`.
    fn weights(&self, tile: &Tile) -> &[T] {
        let row = self.sizes.to * self.width(FEATURES);
        let first = tile.map * self.sizes.from + tile.rows.start;
        &self.arguments[WEIGHTS][first * row..][..tile.rows.len() * row]
    }

    /// The part of a result's row that a map makes, `[axes, to]`.
    fn part(&self, map: usize) -> Range<usize> {
        let len = self.sizes.axes * self.sizes.to;
        map * len..(map + 1) * len
    }

    fn inner(&self, tile: &Tile) -> Inner {
        Inner {
            first: tile.rows.start,
            rows: tile.rows.len(),
            sizes: self.sizes,
        }
    }

    /// The derivative by the result, by `x` or by the features, one row for each edge.
    fn by_edges(&self, by: usize) -> Vec<T> {
        let (width, count) = (self.width(by), self.form.edges.len());
        let mut out = vec![T::zero(); count * width];
        if out.is_empty() {
            return out;
        }
        out.par_chunks_mut(EDGES * width)
            .enumerate()
            .for_each(|(block, out)| {
                let edges = block * EDGES..(block * EDGES + EDGES).min(count);
                for tile in self.tiles() {
                    self.add_tile(by, &edges, &tile, out);
                }
            });
        out
    }

    /// Adds what a tile gives to rows of some edges.
    fn add_tile(&self, by: usize, edges: &Range<usize>, tile: &Tile, out: &mut [T]) {
        let (k, width) = (self.width(FEATURES), self.width(by));
        let inner = self.inner(tile);
        let numbers = inner.rows * self.sizes.to;
        let weights = self.weights(tile);
        scratch(edges.len() * numbers, |matrices: &mut [T]| {
            if by == FEATURES {
                self.outer_products(edges, tile, matrices);
                let dims = [edges.len(), k, numbers];
                let products = Matrix::rows(matrices, numbers);
                MatrixMut::rows(out, k).add(dims, products, Matrix::rows(weights, k));
                return;
            }
            let features = Matrix::rows(self.rows(FEATURES, edges), k);
            let dims = [edges.len(), numbers, k];
            MatrixMut::rows(matrices, numbers).set(dims, features, Matrix::turned(weights, k));
            let each = edges.clone().zip(matrices.chunks_exact(numbers));
            for ((edge, matrix), out) in each.zip(out.chunks_exact_mut(width)) {
                let part = self.part(tile.map);
                match by {
                    OUT => map(inner, self.row(X, edge), matrix, &mut out[part]),
                    _ => map_back(inner, &self.row(OUT, edge)[part], matrix, out),
                }
            }
        });
    }

    /// The products of `x` and the result, `[edges, rows of the tile, to]`: what the matrices of
    /// the edges are multiplied with in the form.
    fn outer_products(&self, edges: &Range<usize>, tile: &Tile, products: &mut [T]) {
        let inner = self.inner(tile);
        let products = products.chunks_exact_mut(inner.rows * self.sizes.to);
        for (edge, product) in edges.clone().zip(products) {
            let result = &self.row(OUT, edge)[self.part(tile.map)];
            multiply(inner, self.row(X, edge), result, product);
        }
    }

    /// Sums rows of edges at their senders.
    fn at_senders(&self, of_edges: Vec<T>) -> Vec<T> {
        let [rows, width] = self.form.rows(X);
        let mut out = vec![T::zero(); rows * width];
        if out.is_empty() {
            return out;
        }
        out.par_chunks_mut(width)
            .enumerate()
            .for_each(|(row, out)| {
                for &edge in self.form.edges.of_sender(row) {
                    let own = &of_edges[edge as usize * width..][..width];
                    out.iter_mut().zip(own).for_each(|(o, &x)| *o += x);
                }
            });
        out
    }

    /// The derivative by the weights: tiles side by side, the edges of each in order.
    fn by_weights(&self) -> Vec<T> {
        let (k, count) = (self.width(FEATURES), self.form.edges.len());
        let [rows, _] = self.form.rows(WEIGHTS);
        let mut out = vec![T::zero(); rows * k];
        let mut rest = out.as_mut_slice();
        let mut tiles = Vec::new();
        for tile in self.tiles() {
            let (part, others) = rest.split_at_mut(tile.rows.len() * self.sizes.to * k);
            tiles.push((tile, part));
            rest = others;
        }
        tiles.into_par_iter().for_each(|(tile, out)| {
            let numbers = tile.rows.len() * self.sizes.to;
            scratch(EDGES * numbers, |products: &mut [T]| {
                for first in (0..count).step_by(EDGES) {
                    let edges = first..(first + EDGES).min(count);
                    self.outer_products(&edges, &tile, products);
                    let dims = [numbers, k, edges.len()];
                    let features = Matrix::rows(self.rows(FEATURES, &edges), k);
                    let products = Matrix::turned(products, numbers);
                    MatrixMut::rows(&mut *out, k).add(dims, products, features);
                }
            });
        });
        out
    }
}

/// Some rows of one edge's matrix.
#[derive(Clone, Copy)]
struct Inner {
    first: usize,
    rows: usize,
    sizes: Sizes,
}

for_isa!(
    /// `out[a, o] += sum_i matrix[i, o] x[a, i]`.
    fn map(inner: Inner, x: &[T], matrix: &[T], out: &mut [T]) = map_any
);

for_isa!(
    /// `out[a, i] += sum_o matrix[i, o] y[a, o]`.
    fn map_back(inner: Inner, y: &[T], matrix: &[T], out: &mut [T]) = map_back_any
);

for_isa!(
    /// `product[i, o] = sum_a x[a, i] y[a, o]`.
    fn multiply(inner: Inner, x: &[T], y: &[T], product: &mut [T]) = multiply_any
);

impl Inner {
    /// The channels of an axis of `x` that the rows belong to.
    #[inline(always)]
    fn channels(&self, axis: usize) -> Range<usize> {
        let start = axis * self.sizes.from + self.first;
        start..start + self.rows
    }
}

#[inline(always)]
fn map_any<T: Real, const FUSED: bool>(inner: Inner, x: &[T], matrix: &[T], out: &mut [T]) {
    let to = inner.sizes.to;
    for (axis, out) in out.chunks_exact_mut(to).enumerate() {
        let x = &x[inner.channels(axis)];
        for o in (0..to).step_by(LANES) {
            let mut sum = [T::zero(); LANES];
            for (&x, row) in x.iter().zip(matrix.chunks_exact(to)) {
                let row = load(row, o);
                for s in 0..LANES {
                    sum[s] = fma::<T, FUSED>(x, row[s], sum[s]);
                }
            }
            add(&sum, out, o);
        }
    }
}

#[inline(always)]
fn map_back_any<T: Real, const FUSED: bool>(inner: Inner, y: &[T], matrix: &[T], out: &mut [T]) {
    let to = inner.sizes.to;
    for (axis, y) in y.chunks_exact(to).enumerate() {
        let out = &mut out[inner.channels(axis)];
        for (out, row) in out.iter_mut().zip(matrix.chunks_exact(to)) {
            let mut lanes = [T::zero(); LANES];
            for o in (0..to).step_by(LANES) {
                let (row, y) = (load(row, o), load(y, o));
                for s in 0..LANES {
                    lanes[s] = fma::<T, FUSED>(row[s], y[s], lanes[s]);
                }
            }
            *out += total(lanes);
        }
    }
}

#[inline(always)]
fn multiply_any<T: Real, const FUSED: bool>(inner: Inner, x: &[T], y: &[T], product: &mut [T]) {
    let to = inner.sizes.to;
    product.fill(T::zero());
    for (axis, y) in y.chunks_exact(to).enumerate() {
        let x = &x[inner.channels(axis)];
        for (&x, product) in x.iter().zip(product.chunks_exact_mut(to)) {
            for (p, &y) in product.iter_mut().zip(y) {
                *p = fma::<T, FUSED>(x, y, *p);
            }
        }
    }
}
