//! A hidden layer `h = relu(u W + b)` that is too large to keep: it is seen only through its
//! average over time and through narrow projections of all nodes together, and computed again on
//! the way back.
//!
//! Shapes: N nodes, T frames, d features, H width. `layer` is `[d + 1, H]`, the rows of W and b.

use super::cpu::{Matrix, Real, dtype, matmul, output, parts, scratch, slice, tree_sum, view};
use crate::with_real;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, WithDType};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Nodes whose hidden layers are held at a time.
const BLOCK: usize = 8;

/// `sum_t weights[t] h[n, t]` for `u` `[N, T, d]`: `[N, H]`.
pub fn average(u: &Tensor, layer: &Tensor, weights: Arc<[f64]>) -> Result<Tensor> {
    u.contiguous()?
        .apply_op2(&layer.contiguous()?, Average { weights })
}

/// `sum_{n, w} left[k, n w] h[n, t] Q_w` for `u` `[N, T, d]`, matrices `Q_w` side by side,
/// `right` `[H, words e]`, and `left` `[K, N words]`, words innermost: `[K, T e]`.
pub fn project(u: &Tensor, layer: &Tensor, right: &Tensor, left: &Tensor) -> Result<Tensor> {
    let (width, columns) = right.dims2()?;
    let nodes = u.dim(0)?;
    let words = left.dim(1)? / nodes;
    if left.dim(1)? != words * nodes || words == 0 || columns % words != 0 {
        candle_core::bail!(
            "{:?} on the left and {:?} on the right of {nodes} nodes",
            left.shape(),
            right.shape()
        );
    }
    let maps = Tensor::cat(&[layer.flatten_all()?, right.flatten_all()?], 0)?;
    let op = Project {
        words,
        width,
        columns,
    };
    u.contiguous()?.apply_op3(&maps, &left.contiguous()?, op)
}

/// Sizes of one call.
#[derive(Clone, Copy)]
struct Sizes {
    nodes: usize,
    frames: usize,
    features: usize,
    width: usize,
}

impl Sizes {
    fn new(u: &Shape, (rows, width): (usize, usize)) -> Result<Self> {
        let (nodes, frames, features) = u.dims3()?;
        if rows != features + 1 {
            candle_core::bail!("a layer of {rows} rows on {features} features");
        }
        Ok(Self {
            nodes,
            frames,
            features,
            width,
        })
    }

    fn input(&self) -> usize {
        self.frames * self.features
    }

    fn hidden(&self) -> usize {
        self.frames * self.width
    }

    /// `h` of some nodes, `[nodes, T, H]`.
    fn layer<T: Real>(&self, u: &[T], layer: &[T], h: &mut [T]) {
        let bias = &layer[self.features * self.width..];
        for row in h.chunks_exact_mut(self.width) {
            row.copy_from_slice(bias);
        }
        let dims = (h.len() / self.width, self.width, self.features);
        matmul(
            dims,
            (&mut *h, self.width, 1),
            rows(u, self.features),
            rows(layer, self.width),
            true,
        );
        for x in h {
            if *x < T::zero() {
                *x = T::zero();
            }
        }
    }

    /// From the gradient `gh` of the `h` of some nodes to those of the layer (added) and of `u`.
    fn unlayer<T: Real>(
        &self,
        (u, layer, h): (&[T], &[T], &[T]),
        gh: &mut [T],
        glayer: &mut [T],
        gu: Option<&mut [T]>,
    ) {
        for (g, &h) in gh.iter_mut().zip(h) {
            if h <= T::zero() {
                *g = T::zero();
            }
        }
        let (d, w, t) = (self.features, self.width, h.len() / self.width);
        let (gweight, gbias) = glayer.split_at_mut(d * w);
        matmul((d, w, t), (gweight, w, 1), turned(u, d), rows(gh, w), true);
        for row in gh.chunks_exact(w) {
            for (o, &g) in gbias.iter_mut().zip(row) {
                *o += g;
            }
        }
        if let Some(gu) = gu {
            matmul((t, d, w), (gu, d, 1), rows(gh, w), turned(layer, w), false);
        }
    }
}

fn rows<T>(data: &[T], width: usize) -> Matrix<'_, T> {
    Matrix {
        data,
        row: width,
        column: 1,
    }
}

fn turned<T>(data: &[T], width: usize) -> Matrix<'_, T> {
    Matrix {
        data,
        row: 1,
        column: width,
    }
}

/// Gradients of a whole call.
struct Gradients<T> {
    u: Option<Vec<T>>,
    layer: Vec<T>,
    right: Vec<T>,
    /// Of every node, one after another.
    left: Vec<T>,
}

/// What a block of nodes reads and writes on the way back.
struct Block<'a, T> {
    nodes: Range<usize>,
    /// `[nodes, T, H]`
    h: &'a [T],
    /// Gradient of `h`, to fill.
    gh: &'a mut [T],
    /// Gradient of what stands on the right, to add to.
    right: &'a mut [T],
    /// Gradient of what belongs to these nodes, to fill.
    left: &'a mut [T],
}

/// Cuts into pieces of `len`; as many empty ones as there are `parts` when there is nothing.
fn pieces<T>(data: &mut [T], len: usize, parts: usize) -> Vec<&mut [T]> {
    match len {
        0 => (0..parts).map(|_| Default::default()).collect(),
        _ => data.chunks_mut(len).collect(),
    }
}

/// Runs `block` on all nodes. `right` and `left` are the numbers of elements of what is shared
/// by, and belongs to, a node. Sums go over fixed parts of the nodes.
fn backward<T: Real>(
    s: Sizes,
    (u, layer): (&[T], &[T]),
    (right, left): (usize, usize),
    needs_u: bool,
    block: impl Fn(Block<T>) + Sync,
) -> Gradients<T> {
    let parts = parts(s.nodes, BLOCK);
    let part_len = parts.first().map_or(1, |p| p.len());
    let u_len = if needs_u { s.input() } else { 0 };
    let mut gu = vec![T::zero(); s.nodes * u_len];
    let mut gleft = vec![T::zero(); s.nodes * left];
    let outputs = pieces(&mut gu, part_len * u_len, parts.len())
        .into_iter()
        .zip(pieces(&mut gleft, part_len * left, parts.len()));
    let work: Vec<_> = parts.into_iter().zip(outputs).collect();
    let sums: Vec<Vec<T>> = work
        .into_par_iter()
        .map(|(part, (gu, gleft))| {
            let mut sums = vec![T::zero(); layer.len() + right];
            let (glayer, gright) = sums.split_at_mut(layer.len());
            scratch::<T, _>(2 * BLOCK * s.hidden(), |memory| {
                for from in part.clone().step_by(BLOCK) {
                    let nodes = from..(from + BLOCK).min(part.end);
                    let (h, gh) = memory.split_at_mut(BLOCK * s.hidden());
                    let (h, gh) = (
                        &mut h[..nodes.len() * s.hidden()],
                        &mut gh[..nodes.len() * s.hidden()],
                    );
                    let u = &u[from * s.input()..nodes.end * s.input()];
                    s.layer(u, layer, h);
                    let at = from - part.start;
                    block(Block {
                        nodes: nodes.clone(),
                        h: &*h,
                        gh: &mut *gh,
                        right: &mut *gright,
                        left: &mut gleft[at * left..(at + nodes.len()) * left],
                    });
                    let gu = needs_u.then(|| &mut gu[at * u_len..(at + nodes.len()) * u_len]);
                    s.unlayer((u, layer, h), gh, glayer, gu);
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
        left: gleft,
    }
}

fn tensor<T: Real>(data: Vec<T>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(data, like.shape(), like.device())
}

struct Average {
    weights: Arc<[f64]>,
}

impl CustomOp2 for Average {
    fn name(&self) -> &'static str {
        "hidden-average"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let s = Sizes::new(l1.shape(), l2.shape().dims2()?)?;
        with_real!(dtype(s1), T => {
            let (u, layer) = (slice::<T>(s1, l1)?, slice::<T>(s2, l2)?);
            let mut out = vec![T::from_f64(0.0); s.nodes * s.width];
            out.par_chunks_mut(s.width).zip(u.par_chunks(s.input())).for_each(|(out, u)| {
                scratch::<T, _>(s.hidden(), |h| {
                    s.layer(u, layer, h);
                    for (h, &w) in h.chunks_exact(s.width).zip(&*self.weights) {
                        let w = T::from_f64(w);
                        for (o, &h) in out.iter_mut().zip(h) {
                            *o += w * h;
                        }
                    }
                })
            });
            Ok(output(out, (s.nodes, s.width)))
        })
    }

    fn bwd(
        &self,
        u: &Tensor,
        layer: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let s = Sizes::new(u.shape(), layer.dims2()?)?;
        let grad = grad.contiguous()?;
        with_real!(grad.dtype(), T => {
            let (ud, ld, g) = (&*view::<T>(u)?, &*view::<T>(layer)?, &*view::<T>(&grad)?);
            let out = backward(s, (ud, ld), (0, 0), u.track_op(), |block: Block<T>| {
                let g = g[block.nodes.start * s.width..].chunks_exact(s.width);
                for (gh, g) in block.gh.chunks_exact_mut(s.hidden()).zip(g) {
                    for (row, &w) in gh.chunks_exact_mut(s.width).zip(&*self.weights) {
                        let w = T::from_f64(w);
                        for (o, &g) in row.iter_mut().zip(g) {
                            *o = w * g;
                        }
                    }
                }
            });
            let gu = out.u.map(|g| tensor(g, u)).transpose()?;
            Ok((gu, Some(tensor(out.layer, layer)?)))
        })
    }
}

struct Project {
    words: usize,
    /// Columns of `layer`, rows of `right`.
    width: usize,
    /// Of `right`.
    columns: usize,
}

impl Project {
    /// `[T, words e]` of every node to `[words, T, e]`, or back.
    fn regroup<T: Copy>(&self, frames: usize, from: &[T], to: &mut [T], back: bool) {
        let e = self.columns / self.words;
        let nodes = from.chunks_exact(frames * self.columns);
        for (from, to) in nodes.zip(to.chunks_exact_mut(frames * self.columns)) {
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
    }

    /// Sizes, and the two matrices of `maps`.
    fn parts<'a, T>(&self, u: &Shape, maps: &'a [T]) -> Result<(Sizes, &'a [T], &'a [T])> {
        let right = self.width * self.columns;
        let layer = maps.len() - right;
        let s = Sizes::new(u, (layer / self.width, self.width))?;
        let (layer, right) = maps.split_at(layer);
        Ok((s, layer, right))
    }

    /// `h Q_w` of the nodes of `h`, `[nodes words, T e]`; `flat` is working memory as long.
    fn products<T: Real>(&self, s: Sizes, h: &[T], right: &[T], flat: &mut [T], out: &mut [T]) {
        let dims = (h.len() / s.width, self.columns, s.width);
        let right = rows(right, self.columns);
        matmul(
            dims,
            (&mut *flat, self.columns, 1),
            rows(h, s.width),
            right,
            false,
        );
        self.regroup(s.frames, flat, out, false);
    }

    /// Columns of `left` that belong to some nodes.
    fn columns_of<'a, T>(&self, nodes: usize, first: usize, left: &'a [T]) -> Matrix<'a, T> {
        Matrix {
            data: &left[first * self.words..],
            row: nodes * self.words,
            column: 1,
        }
    }
}

impl CustomOp3 for Project {
    fn name(&self) -> &'static str {
        "hidden-project"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let beads = l3.shape().dims2()?.0;
        with_real!(dtype(s1), T => {
            let (u, left) = (slice::<T>(s1, l1)?, slice::<T>(s3, l3)?);
            let (s, layer, right) = self.parts(l1.shape(), slice::<T>(s2, l2)?)?;
            // Of a node, and of a frame of all beads.
            let (of_node, width) = (s.frames * self.columns, s.frames * self.columns / self.words);
            let sum = |part: Range<usize>| {
                let mut sum = vec![T::from_f64(0.0); beads * width];
                scratch::<T, _>(BLOCK * (s.hidden() + 2 * of_node), |memory| {
                    for from in part.clone().step_by(BLOCK) {
                        let n = BLOCK.min(part.end - from);
                        let (h, y) = memory.split_at_mut(n * s.hidden());
                        let (flat, y) = y.split_at_mut(n * of_node);
                        let y = &mut y[..n * of_node];
                        s.layer(&u[from * s.input()..(from + n) * s.input()], layer, h);
                        self.products(s, h, right, flat, y);
                        let left = self.columns_of(s.nodes, from, left);
                        let dims = (beads, width, n * self.words);
                        matmul(dims, (&mut sum, width, 1), left, rows(y, width), true);
                    }
                });
                sum
            };
            let sums: Vec<Vec<T>> = parts(s.nodes, BLOCK).into_par_iter().map(sum).collect();
            Ok(output(tree_sum(sums), (beads, width)))
        })
    }

    fn bwd(
        &self,
        u: &Tensor,
        maps: &Tensor,
        left: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        with_real!(grad.dtype(), T => {
            let (ud, md, ld) = (&*view::<T>(u)?, &*view::<T>(maps)?, &*view::<T>(left)?);
            let (g, (beads, width)) = (&*view::<T>(&grad)?, grad.dims2()?);
            let (s, layer, right) = self.parts(u.shape(), md)?;
            let block = |block: Block<T>| {
                let n = block.nodes.len();
                let mut flat = vec![T::from_f64(0.0); n * s.frames * self.columns];
                let mut y = flat.clone();
                self.products(s, block.h, right, &mut flat, &mut y);
                // [words of these nodes, beads]
                let dims = (n * self.words, beads, width);
                let out = (block.left, beads, 1);
                matmul(dims, out, rows(&y, width), turned(g, width), false);
                let left = self.columns_of(s.nodes, block.nodes.start, ld);
                let left = Matrix { row: left.column, column: left.row, ..left };
                let dims = (n * self.words, width, beads);
                matmul(dims, (&mut y, width, 1), left, rows(g, width), false);
                self.regroup(s.frames, &y, &mut flat, true);
                let (gy, rows_of) = (rows(&flat, self.columns), n * s.frames);
                let dims = (s.width, self.columns, rows_of);
                let out = (block.right, self.columns, 1);
                matmul(dims, out, turned(block.h, s.width), gy, true);
                let dims = (rows_of, s.width, self.columns);
                let right = turned(right, self.columns);
                matmul(dims, (block.gh, s.width, 1), gy, right, false);
            };
            let sizes = (right.len(), self.words * beads);
            let mut out = backward(s, (ud, layer), sizes, u.track_op(), block);
            let gu = out.u.map(|g| tensor(g, u)).transpose()?;
            out.layer.append(&mut out.right);
            let gleft = Tensor::from_vec(out.left, (s.nodes * self.words, beads), left.device())?;
            Ok((gu, Some(tensor(out.layer, maps)?), Some(gleft.t()?.contiguous()?)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    fn var(shape: &[usize], seed: f64) -> Var {
        let len = shape.iter().product::<usize>();
        let values: Vec<f64> = (0..len).map(|i| (seed + 1.7 * i as f64).sin()).collect();
        Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
    }

    fn flat(t: &Tensor) -> Vec<f64> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn close(a: &Tensor, b: &Tensor) {
        for (a, b) in flat(a).iter().zip(flat(b)) {
            assert!((a - b).abs() < 1e-12, "{a} against {b}");
        }
    }

    #[test]
    fn equal_to_plain_operations() {
        let (n, t, d, h, words, e) = (11, 5, 3, 4, 2, 3);
        let (beads, shape) = (7, (n * words, t * e));
        let all = [
            var(&[n, t, d], 0.3),
            var(&[d + 1, h], 0.1),
            var(&[h, words * e], 0.7),
            var(&[beads, n * words], 0.9),
        ];
        let all = all.each_ref().map(|v| v.as_tensor());
        let weights: Vec<f64> = (0..t).map(|i| 0.1 + 0.05 * i as f64).collect();
        let plain = || -> Result<[Tensor; 2]> {
            let x = all[0]
                .reshape((n * t, d))?
                .matmul(&all[1].narrow(0, 0, d)?)?;
            let x = x.broadcast_add(&all[1].narrow(0, d, 1)?)?.relu()?;
            let w = Tensor::new(weights.as_slice(), &Device::Cpu)?.reshape((1, t, 1))?;
            let y = x
                .matmul(all[2])?
                .reshape((n, t, words, e))?
                .transpose(1, 2)?;
            let average = x.reshape((n, t, h))?.broadcast_mul(&w)?.sum(1)?;
            Ok([average, all[3].matmul(&y.reshape(shape)?)?])
        };
        let fused = [
            average(all[0], all[1], weights.clone().into()).unwrap(),
            project(all[0], all[1], all[2], all[3]).unwrap(),
        ];
        for (fused, plain) in fused.iter().zip(&plain().unwrap()) {
            close(fused, plain);
            let gradient = |x: &Tensor| {
                let w = var(x.dims(), 2.0);
                (x * w.as_tensor())
                    .unwrap()
                    .sum_all()
                    .unwrap()
                    .backward()
                    .unwrap()
            };
            let (ours, reference) = (gradient(fused), gradient(plain));
            for v in all {
                assert_eq!(ours.get(v).is_some(), reference.get(v).is_some());
                if let (Some(a), Some(b)) = (ours.get(v), reference.get(v)) {
                    close(a, b);
                }
            }
        }
    }
}
