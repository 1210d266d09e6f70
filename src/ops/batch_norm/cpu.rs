//! Batch norm on the processor.
//!
//! Sums over the batch run in f64, sixteen samples at a time in a fixed tree, so that their
//! bits do not depend on the number of threads.

use super::norm::{BatchNorm, Mode, Normalization, features, per_degree, rows};
use crate::for_isa;
use crate::ops::cpu::{Real, tree_sum, view};
use crate::so3::irreps::Irreps;
use candle_core::Result;
use rayon::prelude::*;

/// Added to a variance before its root.
const EPS: f64 = 1e-5;

/// Samples that are summed together.
const BLOCK: usize = 16;

/// What a batch norm divides by, and takes off before.
pub(super) struct Moments {
    /// Means of the scalars.
    pub mean: Vec<f64>,
    /// Mean squared sizes of all features.
    pub variance: Vec<f64>,
}

pub(super) fn statistics<T: Real>(
    x: &[T],
    irreps: &Irreps,
    normalization: Normalization,
) -> Moments {
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
    Moments { mean, variance }
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

/// What a batch norm does to a feature: `(x - mean) gain + shift`.
pub(in crate::ops) struct Map<T> {
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
pub(in crate::ops) struct Sums {
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
/// `gain (g - offset - (x - mean) slope)`; and the gradients of weight and bias.
pub(in crate::ops) struct Pull<'a, T> {
    map: &'a Map<T>,
    offset: Vec<T>,
    slope: Vec<T>,
    pub(in crate::ops) weight: Vec<T>,
    pub(in crate::ops) bias: Vec<T>,
}

impl BatchNorm {
    /// The map for given weights (one per feature) and biases (one per scalar channel).
    pub(in crate::ops) fn map<T: Real>(&self, weight: &[T], bias: &[T]) -> Result<Map<T>> {
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
    pub(in crate::ops) fn sums<T: Real>(&self, map: &Map<T>, x: &[T], g: &[T]) -> Sums {
        let mut sums = Sums {
            gradient: vec![0.0; map.gain.len()],
            product: vec![0.0; map.gain.len()],
        };
        add_sums(&self.irreps, &map.mean, x, g, &mut sums);
        sums
    }

    /// The map of gradients of a `batch` with these `sums`.
    pub(in crate::ops) fn pull<'a, T: Real>(
        &self,
        map: &'a Map<T>,
        sums: &Sums,
        batch: usize,
    ) -> Pull<'a, T> {
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
        Pull {
            map,
            offset,
            slope,
            weight: normalised.iter().map(|&d| T::from_f64(d)).collect(),
            bias: scalars.iter().map(|&s| T::from_f64(s)).collect(),
        }
    }

    /// Turns gradients of the output at `x` into gradients of the input, in place.
    pub(in crate::ops) fn pull_back<T: Real>(&self, pull: &Pull<T>, x: &[T], g: &mut [T]) {
        pull_samples(&self.irreps, pull, x, g);
    }

    pub(super) fn apply<T: Real>(&self, x: &[T], weight: &[T], bias: &[T]) -> Result<Vec<T>> {
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
    pub(super) fn unapply<T: Real>(
        &self,
        x: &[T],
        weight: &[T],
        bias: &[T],
        grad: &[T],
    ) -> Result<[Vec<T>; 3]> {
        let dim = self.irreps.dim();
        let map = self.map(weight, bias)?;
        let sums = x
            .par_chunks(BLOCK * dim)
            .zip(grad.par_chunks(BLOCK * dim))
            .map(|(x, g)| self.sums(&map, x, g));
        let sums = Sums::tree(sums.collect());
        let pull = self.pull(&map, &sums, x.len() / dim);
        let mut gx = grad.to_vec();
        gx.par_chunks_mut(BLOCK * dim)
            .zip(x.par_chunks(BLOCK * dim))
            .for_each(|(gx, x)| self.pull_back(&pull, x, gx));
        Ok([gx, pull.weight, pull.bias])
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
