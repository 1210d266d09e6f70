//! The spherical Fourier transform of signals on a grid, forward and inverse, as matrix products:
//! along the azimuth to orders `m`, then along the meridian to degrees `l`. Both directions are
//! made of products, so that they can be differentiated any number of times.
//!
//! Signals `[N, C, 2b, 2b]` (ring, azimuth); coefficients `[N, D]` of orthonormal real harmonics
//! with `D = C (lmax + 1)^2`, degree by degree, channel by channel, order by order, as zernikegrams
//! of one radial order.

use crate::so3::irreps::Irreps;
use crate::so3::sphere::Grid;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::f64::consts::PI;

/// The transform of signals on one grid.
pub struct SphereTransform {
    grid: Grid,
    lmax: usize,
    channels: usize,
    /// `cos m alpha_k` and `sin |m| alpha_k`, `[2b, 2 lmax + 1]`.
    azimuth: Tensor,
    /// Polar parts of the harmonics, `[2 lmax + 1, 2b, lmax + 1]`.
    polar: Tensor,
    /// The same times the weights of the rings.
    weighted: Tensor,
    /// Where each coefficient is among `[C, 2 lmax + 1, lmax + 1]`.
    places: Tensor,
    /// Where each of these is among the coefficients and a zero behind them.
    sources: Tensor,
}

impl SphereTransform {
    /// The transform of `channels` signals to degrees up to `lmax`.
    ///
    /// # Errors
    /// A grid too coarse for `lmax`; no channel.
    pub fn new(
        grid: Grid,
        lmax: usize,
        channels: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        if grid.is_empty() || lmax > grid.lmax() {
            return Err(Error::input(format!(
                "lmax = {lmax} on a grid of bandwidth {}: the largest degree is {}; take a finer grid",
                grid.bandwidth,
                grid.lmax()
            )));
        }
        if channels == 0 {
            return Err(Error::input("a signal needs one channel or more"));
        }
        let (n, orders) = (grid.side(), 2 * lmax + 1);
        let order = |i: usize| i as i64 - lmax as i64;
        let mut azimuth = Vec::with_capacity(n * orders);
        for k in 0..n {
            azimuth.extend((0..orders).map(|i| {
                // The angle is reduced first: k m is exact, its product with pi is not.
                let turn = (k as i64 * order(i).abs()) % n as i64;
                let angle = PI * turn as f64 / grid.bandwidth as f64;
                if order(i) < 0 {
                    angle.sin()
                } else {
                    angle.cos()
                }
            }));
        }
        let parts = grid.polar(lmax);
        let weights = grid.weights(lmax);
        let (mut polar, mut weighted) = (Vec::new(), Vec::new());
        for i in 0..orders {
            for (row, w) in parts[order(i).unsigned_abs() as usize].iter().zip(&weights) {
                polar.extend(row);
                weighted.extend(row.iter().map(|p| p * w));
            }
        }
        let (places, sources) = places(lmax, channels);
        let tensor =
            |v: Vec<f64>, shape: &[usize]| Tensor::from_vec(v, shape, device)?.to_dtype(dtype);
        let index = |v: Vec<u32>| {
            let len = v.len();
            Tensor::from_vec(v, len, device)
        };
        Ok(Self {
            grid,
            lmax,
            channels,
            azimuth: tensor(azimuth, &[n, orders])?,
            polar: tensor(polar, &[orders, n, lmax + 1])?,
            weighted: tensor(weighted, &[orders, n, lmax + 1])?,
            places: index(places)?,
            sources: index(sources)?,
        })
    }

    /// Degrees and channels of the coefficients.
    pub fn irreps(&self) -> Irreps {
        Irreps::uniform(self.lmax, self.channels)
    }

    /// Signals `[N, C, 2b, 2b]` to coefficients `[N, D]`: `sum_i w_i f(x_i) Y_lm(x_i)`.
    ///
    /// # Errors
    /// A signal of another shape.
    pub fn forward(&self, signals: &Tensor) -> candle_core::Result<Tensor> {
        let (batch, channels, rings, points) = signals.dims4()?;
        let n = self.grid.side();
        if (channels, rings, points) != (self.channels, n, n) {
            candle_core::bail!(
                "signals of shape {:?}, where [N, {}, {n}, {n}] is needed",
                signals.dims(),
                self.channels
            );
        }
        let (rows, orders) = (batch * channels, 2 * self.lmax + 1);
        let along = signals.reshape((rows * n, n))?.matmul(&self.azimuth)?;
        let along = along.reshape((rows, n, orders))?.permute((2, 0, 1))?;
        let degrees = along.contiguous()?.matmul(&self.weighted)?;
        let degrees = degrees.permute((1, 0, 2))?.contiguous()?;
        let flat = degrees.reshape((batch, channels * orders * (self.lmax + 1)))?;
        flat.index_select(&self.places, 1)
    }

    /// Coefficients `[N, D]` to signals `[N, C, 2b, 2b]`: `sum_lm c_lm Y_lm(x)`.
    ///
    /// # Errors
    /// Coefficients of another length.
    pub fn inverse(&self, coefficients: &Tensor) -> candle_core::Result<Tensor> {
        let (batch, n) = (coefficients.dim(0)?, self.grid.side());
        let (rows, orders) = (batch * self.channels, 2 * self.lmax + 1);
        let zero = Tensor::zeros((batch, 1), coefficients.dtype(), coefficients.device())?;
        let padded = Tensor::cat(&[coefficients, &zero], 1)?;
        let degrees = padded.index_select(&self.sources, 1)?;
        let degrees = degrees.reshape((rows, orders, self.lmax + 1))?;
        let degrees = degrees.permute((1, 0, 2))?.contiguous()?;
        let along = degrees.matmul(&self.polar.transpose(1, 2)?.contiguous()?)?;
        let along = along.permute((1, 2, 0))?.contiguous()?;
        let signals = along
            .reshape((rows * n, orders))?
            .matmul(&self.azimuth.t()?.contiguous()?)?;
        signals.reshape((batch, self.channels, n, n))
    }
}

/// Where coefficients are among `[C, 2 lmax + 1, lmax + 1]` (channel, order, degree), and the other
/// way round, with the number of coefficients for what is zero.
fn places(lmax: usize, channels: usize) -> (Vec<u32>, Vec<u32>) {
    let (orders, degrees) = (2 * lmax + 1, lmax + 1);
    let dim = channels * degrees * degrees;
    let mut places = Vec::with_capacity(dim);
    let mut sources = vec![dim as u32; channels * orders * degrees];
    for l in 0..=lmax {
        for channel in 0..channels {
            for m in lmax - l..=lmax + l {
                let place = (channel * orders + m) * degrees + l;
                sources[place] = places.len() as u32;
                places.push(place as u32);
            }
        }
    }
    (places, sources)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::so3::harmonics::harmonics;
    use crate::so3::sphere::Rings;

    fn transform(rings: Rings, bandwidth: usize, lmax: usize, channels: usize) -> SphereTransform {
        let grid = Grid { rings, bandwidth };
        SphereTransform::new(grid, lmax, channels, DType::F64, &Device::Cpu).unwrap()
    }

    fn numbers(n: usize) -> Vec<f64> {
        (0..n).map(|i| (i as f64 * 0.7 + 0.3).sin()).collect()
    }

    #[test]
    fn the_inverse_is_the_sum_of_harmonics_and_forward_undoes_it() {
        for (rings, bandwidth, lmax) in [(Rings::DriscollHealy, 7, 4), (Rings::Soft, 6, 5)] {
            let (t, channels) = (transform(rings, bandwidth, lmax, 2), 2);
            let dim = t.irreps().dim();
            let c = numbers(3 * dim);
            let tensor = Tensor::from_slice(&c, (3, dim), &Device::Cpu).unwrap();
            let signals = t.inverse(&tensor).unwrap();
            let values: Vec<f64> = signals.flatten_all().unwrap().to_vec1().unwrap();
            let points = t.grid.points();
            for (i, value) in values.iter().enumerate() {
                let [x, y, z] = points[i % points.len()];
                let (channel, row) = (i / points.len() % channels, i / points.len() / channels);
                let v = harmonics(lmax, [y, z, x]);
                let of = |l: usize| {
                    let start = row * dim + channels * l * l + channel * (2 * l + 1);
                    let terms = c[start..].iter().zip(&v[l * l..(l + 1) * (l + 1)]);
                    terms.map(|(c, y)| c * y).sum::<f64>()
                };
                let sum: f64 = (0..=lmax).map(of).sum::<f64>() / (4.0 * PI).sqrt();
                assert!((value - sum).abs() < 1e-12, "{i}: {value} {sum}");
            }
            let back: Vec<f64> = t
                .forward(&signals)
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1()
                .unwrap();
            back.iter()
                .zip(&c)
                .for_each(|(a, b)| assert!((a - b).abs() < 1e-12));
        }
    }

    #[test]
    fn the_gradient_is_the_transposed_transform() {
        let t = transform(Rings::DriscollHealy, 4, 3, 1);
        let x = candle_core::Var::from_vec(numbers(64), (1, 1, 8, 8), &Device::Cpu).unwrap();
        let g = Tensor::from_vec(numbers(16), (1, 16), &Device::Cpu).unwrap();
        let loss = |x: &Tensor| (t.forward(x).unwrap() * &g).unwrap().sum_all().unwrap();
        let gradients = loss(&x).backward().unwrap();
        let gradient: Vec<f64> = gradients
            .get(&x)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap();
        for (i, own) in gradient.iter().enumerate() {
            let shifted = |by: f64| {
                let mut v = numbers(64);
                v[i] += by;
                let x = Tensor::from_vec(v, (1, 1, 8, 8), &Device::Cpu).unwrap();
                loss(&x).to_scalar::<f64>().unwrap()
            };
            let difference = (shifted(1e-4) - shifted(-1e-4)) / 2e-4;
            assert!((own - difference).abs() < 1e-9, "{i}: {own} {difference}");
        }
    }

    #[test]
    fn a_coarse_grid_is_refused() {
        let grid = Grid {
            rings: Rings::Soft,
            bandwidth: 5,
        };
        let error = SphereTransform::new(grid, 5, 1, DType::F64, &Device::Cpu)
            .err()
            .unwrap();
        assert!(
            error.to_string().contains("the largest degree is 4"),
            "{error}"
        );
    }
}
