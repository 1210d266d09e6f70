//! Soft assignment of nodes to clusters: `softmax(tanh(x W^T + b))`, row by row.
//!
//! Shapes: N nodes, H features, k clusters. Only the result is kept; the way back makes the
//! scores again, which costs less than to read and write what lies between.

use super::cpu::{Matrix, Real, dtype, fma, matmul, output, parts, scratch, slice, tree_sum, view};
use crate::{for_isa, with_real};
use candle_core::{CpuStorage, CustomOp3, D, Layout, Result, Shape, Tensor, WithDType};
use rayon::prelude::*;

/// `x` `[N, H]`, `weight` `[k, H]`, `bias` `[k]` to `[N, k]`; rows sum to 1.
pub fn assign(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        let scores = x.matmul(&weight.t()?)?.broadcast_add(bias)?.tanh()?;
        return candle_nn::ops::softmax(&scores, D::Minus1);
    }
    let (weight, bias) = (weight.contiguous()?, bias.contiguous()?);
    x.contiguous()?.apply_op3(&weight, &bias, Assign)
}

/// Rows whose scores are made at a time.
const BLOCK: usize = 32;

struct Assign;

/// Sizes of one call: nodes, clusters, features.
fn sizes(x: &Shape, weight: &Shape, bias: &Shape) -> Result<(usize, usize, usize)> {
    let ((n, h), (k, width)) = (x.dims2()?, weight.dims2()?);
    if h != width || bias.dims1()? != k {
        candle_core::bail!("scores of {x:?} by a weight {weight:?} and a bias {bias:?}");
    }
    Ok((n, k, h))
}

for_isa!(
    /// `tanh(x + bias)` of every row in place.
    fn squash(x: &mut [T], bias: &[T]) = squash_any
);

#[inline(always)]
fn squash_any<T: Real, const FUSED: bool>(x: &mut [T], bias: &[T]) {
    for row in x.chunks_exact_mut(bias.len()) {
        for (x, &b) in row.iter_mut().zip(bias) {
            *x = T::hyperbolic_tangent::<FUSED>(*x + b);
        }
    }
}

for_isa!(
    /// Softmax of rows of numbers in [-1, 1].
    fn normalise(x: &mut [T], width: usize) = normalise_any
);

#[inline(always)]
fn normalise_any<T: Real, const FUSED: bool>(x: &mut [T], width: usize) {
    for row in x.chunks_exact_mut(width) {
        for x in row.iter_mut() {
            *x = T::exponential::<FUSED>(*x);
        }
        let scale = T::one() / total(row);
        for x in row {
            *x *= scale;
        }
    }
}

for_isa!(
    /// From softmaxes `s`, their gradients and squashed scores `t` to the scores' gradients, in
    /// place of `t`.
    fn back(s: &[T], g: &[T], t: &mut [T], width: usize) = back_any
);

#[inline(always)]
fn back_any<T: Real, const FUSED: bool>(s: &[T], g: &[T], t: &mut [T], width: usize) {
    let rows = s.chunks_exact(width).zip(g.chunks_exact(width));
    for ((s, g), t) in rows.zip(t.chunks_exact_mut(width)) {
        let mut lanes = [T::zero(); 16];
        let ((s16, s1), (g16, g1)) = (s.as_chunks::<16>(), g.as_chunks::<16>());
        for (s, g) in s16.iter().zip(g16) {
            for i in 0..16 {
                lanes[i] = fma::<T, FUSED>(s[i], g[i], lanes[i]);
            }
        }
        let rest: T = s1.iter().zip(g1).map(|(&s, &g)| s * g).sum();
        let mean = rest + lanes.into_iter().sum::<T>();
        for ((&s, &g), t) in s.iter().zip(g).zip(t) {
            *t = s * (g - mean) * (T::one() - *t * *t);
        }
    }
}

/// Sum in sixteen lanes.
#[inline(always)]
fn total<T: Real>(x: &[T]) -> T {
    let mut lanes = [T::zero(); 16];
    let (x16, rest) = x.as_chunks::<16>();
    for x in x16 {
        for i in 0..16 {
            lanes[i] += x[i];
        }
    }
    rest.iter().copied().sum::<T>() + lanes.into_iter().sum::<T>()
}

/// Gradients of a whole call.
struct Gradients<T> {
    x: Vec<T>,
    weight: Vec<T>,
    bias: Vec<T>,
}

fn backward<T: Real>(
    (n, k, h): (usize, usize, usize),
    [x, weight, bias]: [&[T]; 3],
    (s, g): (&[T], &[T]),
) -> Gradients<T> {
    let parts = parts(n, BLOCK);
    let part_len = parts.first().map_or(1, |p| p.len());
    let mut gx = vec![T::zero(); n * h];
    let sums = parts
        .into_par_iter()
        .zip(gx.par_chunks_mut(part_len * h))
        .map(|(part, gx)| {
            let mut sums = vec![T::zero(); k * h + k];
            let (gweight, gbias) = sums.split_at_mut(k * h);
            scratch::<T, _>(BLOCK * k, |memory| {
                for from in part.clone().step_by(BLOCK) {
                    let len = BLOCK.min(part.end - from);
                    let scores = &mut memory[..len * k];
                    let x = &x[from * h..][..len * h];
                    let rows_of = |all: &mut [T]| {
                        matmul(
                            (len, k, h),
                            (all, k, 1),
                            Matrix::rows(x, h),
                            Matrix::turned(weight, h),
                            false,
                        );
                    };
                    rows_of(scores);
                    squash(scores, bias);
                    let (s, g) = (&s[from * k..][..len * k], &g[from * k..][..len * k]);
                    back(s, g, scores, k);
                    let at = (from - part.start) * h;
                    let gx = (&mut gx[at..at + len * h], h, 1);
                    matmul(
                        (len, h, k),
                        gx,
                        Matrix::rows(scores, k),
                        Matrix::rows(weight, h),
                        false,
                    );
                    let gw = (&mut *gweight, h, 1);
                    matmul(
                        (k, h, len),
                        gw,
                        Matrix::turned(scores, k),
                        Matrix::rows(x, h),
                        true,
                    );
                    for row in scores.chunks_exact(k) {
                        for (o, &g) in gbias.iter_mut().zip(row) {
                            *o += g;
                        }
                    }
                }
            });
            sums
        })
        .collect();
    let mut weight = tree_sum(sums);
    let bias = weight.split_off((k * h).min(weight.len()));
    Gradients {
        x: gx,
        weight,
        bias,
    }
}

impl CustomOp3 for Assign {
    fn name(&self) -> &'static str {
        "soft-assignment"
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
        let (n, k, h) = sizes(l1.shape(), l2.shape(), l3.shape())?;
        with_real!(dtype(s1), T => {
            let (x, weight) = (slice::<T>(s1, l1)?, slice::<T>(s2, l2)?);
            let bias = slice::<T>(s3, l3)?;
            let mut out = vec![T::from_f64(0.0); n * k];
            let blocks = out.par_chunks_mut(BLOCK * k).zip(x.par_chunks(BLOCK * h));
            blocks.for_each(|(out, x)| {
                let dims = (x.len() / h, k, h);
                matmul(dims, (&mut *out, k, 1), Matrix::rows(x, h), Matrix::turned(weight, h), false);
                squash(out, bias);
                normalise(out, k);
            });
            Ok(output(out, (n, k)))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        s: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let sizes = sizes(x.shape(), weight.shape(), bias.shape())?;
        let grad = grad.contiguous()?;
        with_real!(grad.dtype(), T => {
            let all = [&*view::<T>(x)?, &*view::<T>(weight)?, &*view::<T>(bias)?];
            let g = backward(sizes, all, (&view::<T>(s)?, &view::<T>(&grad)?));
            let like = |data, t: &Tensor| Tensor::from_vec(data, t.shape(), t.device());
            Ok((Some(like(g.x, x)?), Some(like(g.weight, weight)?), Some(like(g.bias, bias)?)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Var};

    fn var(shape: &[usize], seed: f64, dtype: DType) -> Var {
        let len = shape.iter().product::<usize>();
        let values: Vec<f64> = (0..len)
            .map(|i| 1.5 * (seed + 1.7 * i as f64).sin())
            .collect();
        let t = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        Var::from_tensor(&t.to_dtype(dtype).unwrap()).unwrap()
    }

    fn flat(t: &Tensor) -> Vec<f64> {
        let t = t.to_dtype(DType::F64).unwrap();
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn equal_to_plain_operations() {
        for (dtype, tolerance) in [(DType::F64, 1e-13), (DType::F32, 2e-6)] {
            let v = [
                var(&[75, 5], 0.3, dtype),
                var(&[37, 5], 0.1, dtype),
                var(&[37], 0.7, dtype),
            ];
            let fused = assign(&v[0], &v[1], &v[2]).unwrap();
            let scores = v[0].matmul(&v[1].t().unwrap()).unwrap();
            let scores = scores.broadcast_add(&v[2]).unwrap().tanh().unwrap();
            let plain = candle_nn::ops::softmax(&scores, D::Minus1).unwrap();
            let close = |a: &Tensor, b: &Tensor| {
                for (a, b) in flat(a).iter().zip(flat(b)) {
                    assert!((a - b).abs() < tolerance, "{a} against {b}");
                }
            };
            close(&fused, &plain);
            let gradients = [&fused, &plain].map(|y| {
                let weights = var(y.dims(), 2.0, dtype);
                let loss = (y * weights.as_tensor()).unwrap().sum_all().unwrap();
                loss.backward().unwrap()
            });
            for v in &v {
                close(gradients[0].get(v).unwrap(), gradients[1].get(v).unwrap());
            }
        }
    }
}
