//! Batch normalisation of steerable tensors (e3nn's `BatchNorm`, equations in the style of
//! Ioffe & Szegedy): scalars lose their batch mean, every feature is divided by the root of
//! its mean squared component, scaled by a weight, and scalars gain a bias. Rotations commute
//! with it, as a feature's orders share one scale.
//!
//! Sums over the batch run in f64, sixteen samples at a time in a fixed tree, so that their
//! bits do not depend on the number of threads.

#[cfg(feature = "cuda")]
mod cuda;

use super::cpu::{Real, dtype, output, slice, tree_sum, view};
use crate::so3::irreps::Irreps;
use crate::{for_isa, with_real};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Added to a variance before its root.
const EPS: f64 = 1e-5;

/// Samples that are summed together.
const BLOCK: usize = 16;

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

/// Batch statistics of `x` `[batch, irreps.dim()]`.
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
    let dim = irreps.dim();
    let batch = (x.len() / dim) as f64;
    let blocks = || x.par_chunks(BLOCK * dim);
    let sums = blocks().map(|block| {
        let mut sums = vec![0f64; irreps.channels(0)];
        add_scalars(irreps, block, &mut sums);
        sums
    });
    let mut mean = tree_sum(sums.collect());
    mean.iter_mut().for_each(|m| *m /= batch);
    let squares = blocks().map(|block| {
        let mut sums = vec![0f64; features(irreps)];
        add_squares(irreps, &mean, block, &mut sums);
        sums
    });
    let mut variance = tree_sum(squares.collect());
    for (l, range) in per_degree(irreps).enumerate() {
        let weight = if l == 0 { 1.0 } else { normalization.weight(l) };
        variance[range]
            .iter_mut()
            .for_each(|v| *v *= weight / batch);
    }
    (mean, variance)
}

for_isa!(
    fn add_scalars(irreps: &Irreps, x: &[T], sums: &mut [f64]) = add_scalars_any
);

#[inline(always)]
fn add_scalars_any<T: Real, const FUSED: bool>(irreps: &Irreps, x: &[T], sums: &mut [f64]) {
    for sample in x.chunks_exact(irreps.dim()) {
        for (sum, &v) in sums.iter_mut().zip(sample) {
            *sum += v.to_f64();
        }
    }
}

for_isa!(
    /// Adds every feature's squared size, scalars taken from their `mean`.
    fn add_squares(irreps: &Irreps, mean: &[f64], x: &[T], sums: &mut [f64]) = add_squares_any
);

#[inline(always)]
fn add_squares_any<T: Real, const FUSED: bool>(
    irreps: &Irreps,
    mean: &[f64],
    x: &[T],
    sums: &mut [f64],
) {
    for sample in x.chunks_exact(irreps.dim()) {
        for (sum, (&v, &m)) in sums.iter_mut().zip(sample.iter().zip(mean)) {
            let v = v.to_f64() - m;
            *sum += v * v;
        }
        rows(irreps, |l, feature, start, n| {
            if l > 0 {
                let sums = &mut sums[feature..feature + n];
                for (sum, &v) in sums.iter_mut().zip(&sample[start..start + n]) {
                    let v = v.to_f64();
                    *sum += v * v;
                }
            }
        });
    }
}

/// Number of features: channels summed over degrees.
pub fn features(irreps: &Irreps) -> usize {
    (0..=irreps.lmax()).map(|l| irreps.channels(l)).sum()
}

/// The features of each degree.
fn per_degree(irreps: &Irreps) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut end = 0;
    (0..=irreps.lmax()).map(move |l| {
        let start = end;
        end += irreps.channels(l);
        start..end
    })
}

/// Calls `f(l, first feature, first element, channels)` for every row (l, m) of one sample.
#[inline(always)]
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

/// A batch norm with the statistics that it uses. In [`Mode::Train`] they must be those of the
/// batch that it is applied to.
#[derive(Debug, Clone)]
pub struct BatchNorm {
    pub irreps: Irreps,
    pub statistics: Statistics,
    pub normalization: Normalization,
    pub mode: Mode,
}

/// What a batch norm does to a feature: `(x - mean) gain + shift`.
pub(super) struct Map<T> {
    mean: Vec<T>,
    gain: Vec<T>,
    shift: Vec<T>,
    /// 1 / sqrt(variance + eps).
    scale: Vec<f64>,
}

impl<T: Real> Map<T> {
    /// Applies the map to a row of neighbouring features, from feature `first` on.
    #[inline(always)]
    pub fn apply(&self, first: usize, x: &[T], out: &mut [T]) {
        let range = first..first + x.len();
        let (mean, gain) = (&self.mean[range.clone()], &self.gain[range.clone()]);
        let maps = mean.iter().zip(gain).zip(&self.shift[range]);
        for ((out, &x), ((&mean, &gain), &shift)) in out.iter_mut().zip(x).zip(maps) {
            *out = (x - mean) * gain + shift;
        }
    }
}

/// Per feature, sums over a batch that its derivative needs, in f64.
#[derive(Clone)]
pub(super) struct Sums {
    /// Of the gradient (used for scalars).
    gradient: Vec<f64>,
    /// Of the gradient times the input without its mean.
    product: Vec<f64>,
}

impl Sums {
    /// The sum of several, in a fixed tree.
    pub fn tree(parts: Vec<Sums>) -> Sums {
        let (gradient, product) = parts.into_iter().map(|s| (s.gradient, s.product)).unzip();
        Sums {
            gradient: tree_sum(gradient),
            product: tree_sum(product),
        }
    }
}

/// From the gradient of the output to that of the input, per feature:
/// `gain (g - offset - (x - mean) slope)`.
pub(super) struct Pull<'a, T> {
    map: &'a Map<T>,
    offset: Vec<T>,
    slope: Vec<T>,
}

/// Of input, weight and bias.
type Gradients<T> = (Vec<T>, Vec<T>, Vec<T>);

impl BatchNorm {
    /// The map for given weights (one per feature) and biases (one per scalar channel).
    pub(super) fn map<T: Real>(&self, weight: &[T], bias: &[T]) -> Result<Map<T>> {
        let mean = view::<f64>(&self.statistics.mean)?;
        let mut mean: Vec<T> = mean.iter().map(|&m| T::from_f64(m)).collect();
        mean.resize(weight.len(), T::zero());
        let mut shift = bias.to_vec();
        shift.resize(weight.len(), T::zero());
        let variance = view::<f64>(&self.statistics.variance)?;
        let scale: Vec<f64> = variance.iter().map(|v| 1.0 / (v + EPS).sqrt()).collect();
        let gain = scale.iter().zip(weight).map(|(&s, &w)| T::from_f64(s) * w);
        Ok(Map {
            mean,
            gain: gain.collect(),
            shift,
            scale,
        })
    }

    /// Sums over some samples `x` and gradients `g` of the output.
    pub(super) fn sums<T: Real>(&self, map: &Map<T>, x: &[T], g: &[T]) -> Sums {
        let mut sums = Sums {
            gradient: vec![0.0; map.gain.len()],
            product: vec![0.0; map.gain.len()],
        };
        add_sums(&self.irreps, &map.mean, x, g, &mut sums);
        sums
    }

    /// Gradients of weight and bias, and the map of gradients of a `batch` with these `sums`.
    pub(super) fn pull<'a, T: Real>(
        &self,
        map: &'a Map<T>,
        sums: &Sums,
        batch: usize,
    ) -> (Vec<T>, Vec<T>, Pull<'a, T>) {
        let scaled = map.scale.iter().zip(&sums.product);
        let normalised: Vec<f64> = scaled.map(|(s, p)| s * p).collect();
        let mut offset = vec![T::zero(); normalised.len()];
        let mut slope = vec![T::zero(); normalised.len()];
        if self.mode == Mode::Train {
            // The means over the batch that the statistics' own gradients bring.
            for (l, range) in per_degree(&self.irreps).enumerate() {
                let weight = if l == 0 {
                    1.0
                } else {
                    self.normalization.weight(l)
                };
                for f in range {
                    slope[f] = T::from_f64(map.scale[f] * normalised[f] * weight / batch as f64);
                    if l == 0 {
                        offset[f] = T::from_f64(sums.gradient[f] / batch as f64);
                    }
                }
            }
        }
        let scalars = &sums.gradient[..self.irreps.channels(0)];
        (
            normalised.iter().map(|&d| T::from_f64(d)).collect(),
            scalars.iter().map(|&s| T::from_f64(s)).collect(),
            Pull { map, offset, slope },
        )
    }

    /// Turns gradients of the output at `x` into gradients of the input, in place.
    pub(super) fn pull_back<T: Real>(&self, pull: &Pull<T>, x: &[T], g: &mut [T]) {
        pull_samples(&self.irreps, pull, x, g);
    }

    fn forward<T: Real>(&self, x: &[T], weight: &[T], bias: &[T]) -> Result<Vec<T>> {
        let map = self.map(weight, bias)?;
        let dim = self.irreps.dim();
        let mut out = vec![T::zero(); x.len()];
        let blocks = out
            .par_chunks_mut(BLOCK * dim)
            .zip(x.par_chunks(BLOCK * dim));
        blocks.for_each(|(out, x)| {
            for (out, x) in out.chunks_exact_mut(dim).zip(x.chunks_exact(dim)) {
                rows(&self.irreps, |_, f, start, n| {
                    map.apply(f, &x[start..start + n], &mut out[start..start + n]);
                });
            }
        });
        Ok(out)
    }

    /// Gradients of input, weight and bias.
    fn backward<T: Real>(
        &self,
        x: &[T],
        weight: &[T],
        bias: &[T],
        grad: &[T],
    ) -> Result<Gradients<T>> {
        let dim = self.irreps.dim();
        let map = self.map(weight, bias)?;
        let sums = x
            .par_chunks(BLOCK * dim)
            .zip(grad.par_chunks(BLOCK * dim))
            .map(|(x, g)| self.sums(&map, x, g));
        let sums = Sums::tree(sums.collect());
        let (gw, gb, pull) = self.pull(&map, &sums, x.len() / dim);
        let mut gx = grad.to_vec();
        gx.par_chunks_mut(BLOCK * dim)
            .zip(x.par_chunks(BLOCK * dim))
            .for_each(|(gx, x)| self.pull_back(&pull, x, gx));
        Ok((gx, gw, gb))
    }
}

for_isa!(
    fn add_sums(irreps: &Irreps, mean: &[T], x: &[T], g: &[T], sums: &mut Sums) = add_sums_any
);

#[inline(always)]
fn add_sums_any<T: Real, const FUSED: bool>(
    irreps: &Irreps,
    mean: &[T],
    x: &[T],
    g: &[T],
    sums: &mut Sums,
) {
    let dim = irreps.dim();
    for (x, g) in x.chunks_exact(dim).zip(g.chunks_exact(dim)) {
        rows(irreps, |l, f, start, n| {
            let (x, g, mean) = (&x[start..start + n], &g[start..start + n], &mean[f..f + n]);
            let product = &mut sums.product[f..f + n];
            for c in 0..n {
                product[c] += (g[c] * (x[c] - mean[c])).to_f64();
            }
            if l == 0 {
                for (sum, g) in sums.gradient[f..f + n].iter_mut().zip(g) {
                    *sum += g.to_f64();
                }
            }
        });
    }
}

for_isa!(
    fn pull_samples(irreps: &Irreps, pull: &Pull<'_, T>, x: &[T], g: &mut [T]) = pull_samples_any
);

#[inline(always)]
fn pull_samples_any<T: Real, const FUSED: bool>(
    irreps: &Irreps,
    pull: &Pull<T>,
    x: &[T],
    g: &mut [T],
) {
    let dim = irreps.dim();
    for (x, g) in x.chunks_exact(dim).zip(g.chunks_exact_mut(dim)) {
        rows(irreps, |_, f, start, n| {
            let (x, g) = (&x[start..start + n], &mut g[start..start + n]);
            let (mean, gain) = (&pull.map.mean[f..f + n], &pull.map.gain[f..f + n]);
            let (offset, slope) = (&pull.offset[f..f + n], &pull.slope[f..f + n]);
            for c in 0..n {
                g[c] = gain[c] * (g[c] - offset[c] - (x[c] - mean[c]) * slope[c]);
            }
        });
    }
}

/// Normalises `x` `[batch, norm.irreps.dim()]`; `weight` has one value per feature, `bias` one
/// per scalar channel.
pub fn batch_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, norm: BatchNorm) -> Result<Tensor> {
    x.contiguous()?.apply_op3(weight, bias, norm)
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
            let (gx, gw, gb) =
                self.backward::<T>(&view(x)?, &view(weight)?, &view(bias)?, &view(&grad)?)?;
            Ok((
                Some(Tensor::from_vec(gx, x.shape(), device)?),
                Some(Tensor::from_vec(gw, weight.shape(), device)?),
                Some(Tensor::from_vec(gb, bias.shape(), device)?),
            ))
        })
    }
}
