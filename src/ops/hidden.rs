//! A hidden layer `h = relu(u W + b)` that is too large to keep: it is seen only through its
//! average over time and through narrow projections, and computed again on the way back.
//!
//! Shapes: N nodes, T frames, d features, H width. `layer` is `[d + 1, H]`, the rows of W and b.

#[cfg(feature = "cuda")]
mod cuda;
mod pooled;

pub use pooled::project_pooled;

use super::cpu::{Matrix, Real, dtype, matmul, output, parts, scratch, slice, tree_sum, view};
use crate::with_real;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, WithDType};
use rayon::prelude::*;
use std::sync::Arc;

/// `sum_t weights[t] h[n, t]` for `u` `[N, T, d]`: `[N, H]`.
pub fn average(u: &Tensor, layer: &Tensor, weights: Arc<[f64]>) -> Result<Tensor> {
    u.contiguous()?
        .apply_op2(&layer.contiguous()?, Average { weights })
}

/// `h[n, t] Q_w` for `u` `[N, T, d]` and `words` matrices `Q_w` side by side, `right`
/// `[H, words e]`: `[N words, T e]`, words innermost in the rows.
pub fn project(u: &Tensor, layer: &Tensor, right: &Tensor, words: usize) -> Result<Tensor> {
    u.contiguous()?.apply_op3(
        &layer.contiguous()?,
        &right.contiguous()?,
        Project { words },
    )
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
    fn new(u: &Shape, layer: &Shape) -> Result<Self> {
        let (nodes, frames, features) = u.dims3()?;
        let (rows, width) = layer.dims2()?;
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

    /// `h` of one node, `[T, H]`.
    fn layer<T: Real>(&self, u: &[T], layer: &[T], h: &mut [T]) {
        let bias = &layer[self.features * self.width..];
        for row in h.chunks_exact_mut(self.width) {
            row.copy_from_slice(bias);
        }
        let dims = (self.frames, self.width, self.features);
        matmul(
            dims,
            (&mut *h, self.width, 1),
            Matrix::rows(u, self.features),
            Matrix::rows(layer, self.width),
            true,
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
        let (d, w, t) = (self.features, self.width, self.frames);
        let (gweight, gbias) = glayer.split_at_mut(d * w);
        matmul(
            (d, w, t),
            (gweight, w, 1),
            Matrix::turned(u, d),
            Matrix::rows(gh, w),
            true,
        );
        for row in gh.chunks_exact(w) {
            for (o, &g) in gbias.iter_mut().zip(row) {
                *o += g;
            }
        }
        if let Some(gu) = gu {
            matmul(
                (t, d, w),
                (gu, d, 1),
                Matrix::rows(gh, w),
                Matrix::turned(layer, w),
                false,
            );
        }
    }
}

/// Gradients of a whole call.
struct Gradients<T> {
    u: Option<Vec<T>>,
    layer: Vec<T>,
    right: Vec<T>,
}

/// Runs `node(number, h, gh, gright)` on every node: it fills `gh` from `h` and adds to the
/// gradient of the projections, `right` elements. Sums go over fixed parts of the nodes.
fn backward<T: Real>(
    s: Sizes,
    (u, layer): (&[T], &[T]),
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
        let s = Sizes::new(l1.shape(), l2.shape())?;
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

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        s1: &candle_core::CudaStorage,
        l1: &Layout,
        s2: &candle_core::CudaStorage,
        l2: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        self.cuda_forward([(s1, l1), (s2, l2)])
    }

    fn bwd(
        &self,
        u: &Tensor,
        layer: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let s = Sizes::new(u.shape(), layer.shape())?;
        let grad = grad.contiguous()?;
        #[cfg(feature = "cuda")]
        if grad.device().is_cuda() {
            return self.cuda_backward(u, layer, &grad);
        }
        with_real!(grad.dtype(), T => {
            let (ud, ld, g) = (&*view::<T>(u)?, &*view::<T>(layer)?, &*view::<T>(&grad)?);
            let out = backward(s, (ud, ld), 0, u.track_op(), |n, _, gh: &mut [T], _| {
                let g = &g[n * s.width..][..s.width];
                for (row, &w) in gh.chunks_exact_mut(s.width).zip(&*self.weights) {
                    let w = T::from_f64(w);
                    for (o, &g) in row.iter_mut().zip(g) {
                        *o = w * g;
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
}

impl Project {
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
        let s = Sizes::new(l1.shape(), l2.shape())?;
        let columns = l3.shape().dims2()?.1;
        with_real!(dtype(s1), T => {
            let (u, layer) = (slice::<T>(s1, l1)?, slice::<T>(s2, l2)?);
            let right = slice::<T>(s3, l3)?;
            let mut out = vec![T::from_f64(0.0); s.nodes * s.frames * columns];
            let of_node = s.frames * columns;
            out.par_chunks_mut(of_node).zip(u.par_chunks(s.input())).for_each(|(out, u)| {
                scratch::<T, _>(s.hidden() + of_node, |memory| {
                    let (h, y) = memory.split_at_mut(s.hidden());
                    s.layer(u, layer, h);
                    let dims = (s.frames, columns, s.width);
                    matmul(dims, (&mut *y, columns, 1), Matrix::rows(h, s.width), Matrix::rows(right, columns), false);
                    self.regroup(s.frames, y, out, false);
                })
            });
            Ok(output(out, (s.nodes * self.words, of_node / self.words)))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        s1: &candle_core::CudaStorage,
        l1: &Layout,
        s2: &candle_core::CudaStorage,
        l2: &Layout,
        s3: &candle_core::CudaStorage,
        l3: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        self.cuda_forward([(s1, l1), (s2, l2), (s3, l3)])
    }

    fn bwd(
        &self,
        u: &Tensor,
        layer: &Tensor,
        right: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let s = Sizes::new(u.shape(), layer.shape())?;
        let columns = right.dims2()?.1;
        let of_node = s.frames * columns;
        let grad = grad.contiguous()?;
        #[cfg(feature = "cuda")]
        if grad.device().is_cuda() {
            return self.cuda_backward(u, layer, right, &grad);
        }
        with_real!(grad.dtype(), T => {
            let (ud, ld, rd) = (&*view::<T>(u)?, &*view::<T>(layer)?, &*view::<T>(right)?);
            let g = &*view::<T>(&grad)?;
            let node = |n: usize, h: &[T], gh: &mut [T], gright: &mut [T]| {
                let mut gy = vec![T::from_f64(0.0); of_node];
                self.regroup(s.frames, &g[n * of_node..][..of_node], &mut gy, true);
                let dims = (s.width, columns, s.frames);
                matmul(dims, (gright, columns, 1), Matrix::turned(h, s.width), Matrix::rows(&gy, columns), true);
                let dims = (s.frames, s.width, columns);
                matmul(dims, (gh, s.width, 1), Matrix::rows(&gy, columns), Matrix::turned(rd, columns), false);
            };
            let out = backward(s, (ud, ld), rd.len(), u.track_op(), node);
            let gu = out.u.map(|g| tensor(g, u)).transpose()?;
            Ok((gu, Some(tensor(out.layer, layer)?), Some(tensor(out.right, right)?)))
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
        let (u, layer, right) = (
            var(&[n, t, d], 0.3),
            var(&[d + 1, h], 0.1),
            var(&[h, words * e], 0.7),
        );
        let all = [u.as_tensor(), layer.as_tensor(), right.as_tensor()];
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
            Ok([average, y.reshape((n * words, t * e))?])
        };
        let left = var(&[n, words * 6], 0.9);
        let pooled = |y: &Tensor| {
            let left = left.reshape((n * words, 6))?;
            let pooled = left.t()?.matmul(y)?.reshape((6, t, e))?;
            pooled.transpose(1, 2)?.flatten_from(1)
        };
        let fused = [
            average(all[0], all[1], weights.clone().into()).unwrap(),
            project(all[0], all[1], all[2], words).unwrap(),
            project_pooled(&left, all[0], all[1], all[2], words).unwrap(),
        ];
        let [a, y] = plain().unwrap();
        let all = [all[0], all[1], all[2], left.as_tensor()];
        for (fused, plain) in fused.iter().zip(&[a, y.clone(), pooled(&y).unwrap()]) {
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
