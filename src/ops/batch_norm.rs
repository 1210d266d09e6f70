//! Batch normalisation of steerable tensors (e3nn's `BatchNorm`, equations in the style of
//! Ioffe & Szegedy): scalars lose their batch mean, every feature is divided by the root of
//! its mean squared component, scaled by a weight, and scalars gain a bias. Rotations commute
//! with it, as a feature's orders share one scale.

#[cfg(feature = "cuda")]
mod cuda;

use super::cpu::{Real, dtype, output, slice, view};
use crate::so3::irreps::Irreps;
use crate::with_real;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use serde::{Deserialize, Serialize};

/// Added to a variance before its root.
const EPS: f64 = 1e-5;

/// How the orders of a feature are pooled into its squared size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalization {
    /// Mean over orders.
    #[default]
    Component,
    /// Sum over orders.
    Norm,
}

impl Normalization {
    /// Weight of one squared order in the squared size of a degree-`l` feature.
    pub fn weight(self, l: usize) -> f64 {
        match self {
            Normalization::Component => 1.0 / (2 * l + 1) as f64,
            Normalization::Norm => 1.0,
        }
    }
}

/// Means of the scalars `[channels_0]` and mean squared sizes of all features (`l` ascending,
/// then channel), over a batch; f64, where the batch is.
#[derive(Debug, Clone)]
pub struct Statistics {
    pub mean: Tensor,
    pub variance: Tensor,
}

/// Batch statistics of `x` `[batch, irreps.dim()]`; f64 sums in sample order.
pub fn statistics(x: &Tensor, irreps: &Irreps, normalization: Normalization) -> Result<Statistics> {
    let x = x.contiguous()?;
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return cuda::statistics(&x, irreps, normalization);
    }
    let (mean, variance) =
        with_real!(x.dtype(), T => statistics_of::<T>(&view(&x)?, irreps, normalization));
    Ok(Statistics {
        mean: Tensor::from_vec(mean, irreps.channels(0), x.device())?,
        variance: Tensor::from_vec(variance, features(irreps), x.device())?,
    })
}

fn statistics_of<T: Real>(
    x: &[T],
    irreps: &Irreps,
    normalization: Normalization,
) -> (Vec<f64>, Vec<f64>) {
    let scalars = irreps.channels(0);
    let batch = (x.len() / irreps.dim()) as f64;
    let mut mean = vec![0f64; scalars];
    for sample in x.chunks_exact(irreps.dim()) {
        for (m, &v) in mean.iter_mut().zip(&sample[..scalars]) {
            *m += v.to_f64();
        }
    }
    mean.iter_mut().for_each(|m| *m /= batch);
    let mut variance = vec![0f64; features(irreps)];
    for sample in x.chunks_exact(irreps.dim()) {
        for (v, (&x, &m)) in variance.iter_mut().zip(sample.iter().zip(&mean)) {
            let d = x.to_f64() - m;
            *v += d * d;
        }
        rows(irreps, |l, feature, start, n| {
            if l > 0 {
                for (v, &x) in variance[feature..feature + n]
                    .iter_mut()
                    .zip(&sample[start..start + n])
                {
                    *v += x.to_f64() * x.to_f64();
                }
            }
        });
    }
    let mut feature = 0;
    for l in 0..=irreps.lmax() {
        let weight = if l == 0 { 1.0 } else { normalization.weight(l) };
        for v in &mut variance[feature..feature + irreps.channels(l)] {
            *v *= weight / batch;
        }
        feature += irreps.channels(l);
    }
    (mean, variance)
}

/// Number of features: channels summed over degrees.
pub fn features(irreps: &Irreps) -> usize {
    (0..=irreps.lmax()).map(|l| irreps.channels(l)).sum()
}

/// Calls `f(l, first feature, first element, channels)` for every row (l, m) of one sample.
fn rows(irreps: &Irreps, mut f: impl FnMut(usize, usize, usize, usize)) {
    let (mut feature, mut start) = (0, 0);
    for l in 0..=irreps.lmax() {
        let n = irreps.channels(l);
        for _ in 0..2 * l + 1 {
            f(l, feature, start, n);
            start += n;
        }
        feature += n;
    }
}

/// Whether the statistics are functions of the batch (and are differentiated through).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Train,
    Eval,
}

/// Normalises `x` `[batch, irreps.dim()]` with `statistics`; `weight` has one value per feature,
/// `bias` one per scalar channel. In [`Mode::Train`] the statistics must be those of `x`.
pub fn batch_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    irreps: &Irreps,
    statistics: Statistics,
    normalization: Normalization,
    mode: Mode,
) -> Result<Tensor> {
    let op = BatchNorm {
        irreps: irreps.clone(),
        statistics,
        normalization,
        mode,
    };
    x.contiguous()?.apply_op3(weight, bias, op)
}

/// Of input, weight and bias.
type Gradients<T> = (Vec<T>, Vec<T>, Vec<T>);

struct BatchNorm {
    irreps: Irreps,
    statistics: Statistics,
    normalization: Normalization,
    mode: Mode,
}

impl BatchNorm {
    /// 1 / sqrt(variance + eps) per feature.
    fn scales<T: Real>(&self) -> Result<Vec<T>> {
        let variance = view::<f64>(&self.statistics.variance)?;
        let scale = variance.iter().map(|v| T::from_f64(1.0 / (v + EPS).sqrt()));
        Ok(scale.collect())
    }

    /// Means per feature: zero beyond the scalars.
    fn means<T: Real>(&self) -> Result<Vec<T>> {
        let mean = view::<f64>(&self.statistics.mean)?;
        let mut m: Vec<T> = mean.iter().map(|&m| T::from_f64(m)).collect();
        m.resize(features(&self.irreps), T::zero());
        Ok(m)
    }

    fn forward<T: Real>(&self, x: &[T], weight: &[T], bias: &[T]) -> Result<Vec<T>> {
        let scale: Vec<T> = self
            .scales::<T>()?
            .iter()
            .zip(weight)
            .map(|(&s, &w)| s * w)
            .collect();
        let mean = self.means::<T>()?;
        let mut shift: Vec<T> = bias.to_vec();
        shift.resize(scale.len(), T::zero());
        let mut out = Vec::with_capacity(x.len());
        for sample in x.chunks_exact(self.irreps.dim()) {
            rows(&self.irreps, |_, f, start, n| {
                let per_feature = mean[f..f + n]
                    .iter()
                    .zip(&scale[f..f + n])
                    .zip(&shift[f..f + n]);
                let row = sample[start..start + n].iter().zip(per_feature);
                out.extend(row.map(|(&x, ((&m, &s), &b))| (x - m) * s + b));
            });
        }
        Ok(out)
    }

    /// Gradients of input, weight and bias.
    fn backward<T: Real>(&self, x: &[T], weight: &[T], grad: &[T]) -> Result<Gradients<T>> {
        let (scale, mean) = (self.scales::<T>()?, self.means::<T>()?);
        let dim = self.irreps.dim();
        let batch = (x.len() / dim) as f64;
        // Per feature: sums of the gradient (scalars) and of gradient times normalised input.
        let mut sum = vec![0f64; scale.len()];
        let mut dot = vec![0f64; scale.len()];
        for (sample, g) in x.chunks_exact(dim).zip(grad.chunks_exact(dim)) {
            rows(&self.irreps, |_, f, start, n| {
                for c in 0..n {
                    let (x, g) = (sample[start + c], g[start + c]);
                    sum[f + c] += g.to_f64();
                    dot[f + c] += (g * (x - mean[f + c]) * scale[f + c]).to_f64();
                }
            });
        }
        let scalars = self.irreps.channels(0);
        let bias_grad = sum[..scalars].iter().map(|&s| T::from_f64(s)).collect();
        let weight_grad = dot.iter().map(|&d| T::from_f64(d)).collect();
        let mut gx = Vec::with_capacity(x.len());
        // Means over the batch that the statistics' own gradients bring (none in eval mode).
        let (mut mean_g, mut mean_dot) =
            (vec![T::zero(); scale.len()], vec![T::zero(); scale.len()]);
        if self.mode == Mode::Train {
            let mut feature = 0;
            for l in 0..=self.irreps.lmax() {
                let weight = if l == 0 {
                    1.0
                } else {
                    self.normalization.weight(l)
                } / batch;
                for f in feature..feature + self.irreps.channels(l) {
                    mean_dot[f] = T::from_f64(dot[f] * weight);
                    if l == 0 {
                        mean_g[f] = T::from_f64(sum[f] / batch);
                    }
                }
                feature += self.irreps.channels(l);
            }
        }
        for (sample, g) in x.chunks_exact(dim).zip(grad.chunks_exact(dim)) {
            rows(&self.irreps, |_, f, start, n| {
                gx.extend((0..n).map(|c| {
                    let (k, i) = (f + c, start + c);
                    let normalised = (sample[i] - mean[k]) * scale[k];
                    weight[k] * scale[k] * (g[i] - mean_g[k] - normalised * mean_dot[k])
                }));
            });
        }
        Ok((gx, weight_grad, bias_grad))
    }
}

impl CustomOp3 for BatchNorm {
    fn name(&self) -> &'static str {
        "so3-batch-norm"
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
        with_real!(dtype(s1), T => {
            let out = self.forward::<T>(slice(s1, l1)?, slice(s2, l2)?, slice(s3, l3)?)?;
            Ok(output(out, l1.shape().clone()))
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
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        #[cfg(feature = "cuda")]
        if grad.device().is_cuda() {
            let [gx, gweight, gbias] = self.cuda_backward(x, weight, &grad)?;
            return Ok((Some(gx), Some(gweight), Some(gbias)));
        }
        let device = x.device();
        with_real!(grad.dtype(), T => {
            let (gx, gw, gb) = self.backward::<T>(&view(x)?, &view(weight)?, &view(&grad)?)?;
            Ok((
                Some(Tensor::from_vec(gx, x.shape(), device)?),
                Some(Tensor::from_vec(gw, weight.shape(), device)?),
                Some(Tensor::from_vec(gb, bias.shape(), device)?),
            ))
        })
    }
}
