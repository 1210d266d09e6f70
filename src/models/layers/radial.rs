//! Radial bases: functions of the distance between two atoms, as the input of edge networks.
//!
//! Each is a set of [`Functions`] with derivatives up to the second, which is what the gradient
//! of a tangent needs.

use super::{Cutoff, Geometry};
use crate::models::{Init, Parameter, Parameters, Scope};
use crate::ops::cpu::Real;
use crate::ops::dense::dense;
use crate::ops::dual::Dual;
use crate::ops::pointwise::{Functions, Sine};
use crate::ops::segment::{Row, edge};
use candle_core::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;
use std::sync::Arc;

/// `g_k(d) = exp(-(d - mu_k)^2 / (2 w^2))`, `mu_k` evenly spaced on `[0, cutoff]` at a distance of
/// `w` (Schütt et al. 2017, eq. 5 with `gamma = 1 / (2 w^2)`).
///
/// Values under 1e-20 in f32 are zero: the processor is many times slower with numbers that are
/// denormal, as products with smaller ones would be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gaussians {
    cutoff: f64,
    count: usize,
}

/// `b_n(d) = sqrt(2 / c) sin(n pi d / c) / d`, `n = 1..=count`, `c` the cutoff (Gasteiger et al.
/// 2020, eq. 7). Not for `d = 0`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bessel {
    cutoff: f64,
    count: usize,
}

/// Which radial basis a network has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    #[default]
    Gaussian,
    Bessel,
}

impl Basis {
    /// `count` functions on `[0, cutoff]`, Å.
    pub fn functions(self, cutoff: f64, count: usize) -> Arc<Radial> {
        Arc::new(match self {
            Basis::Gaussian => Radial::Gaussian(Gaussians::new(cutoff, count)),
            Basis::Bessel => Radial::Bessel(Bessel::new(cutoff, count)),
        })
    }
}

/// A radial basis of either kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Radial {
    Gaussian(Gaussians),
    Bessel(Bessel),
}

/// `norm C(d) sin(f_n x) / x` with `x = d / cutoff`, a cutoff function `C` and frequencies `f_n`
/// that are trained, from `n pi` on (Gasteiger et al. 2020, eq. 7 and 8).
pub struct SineBasis {
    frequencies: Parameter,
    envelope: Arc<Cutoff>,
    norm: f64,
    sine: Arc<Sine>,
}

impl SineBasis {
    /// `count` functions, whose frequencies are the parameter `name`.
    pub fn new(b: &mut Scope, name: &str, count: usize, envelope: Cutoff, norm: f64) -> Self {
        Self {
            frequencies: b.parameter(name, count, Init::Multiples(PI as f32)),
            envelope: Arc::new(envelope),
            norm,
            sine: Arc::new(Sine),
        }
    }

    /// `[E, count]`.
    ///
    /// # Errors
    /// Those of candle.
    pub fn forward(&self, geometry: &Geometry, p: &Parameters) -> Result<Dual> {
        let cutoff = self.envelope.radius;
        let frequencies = p.get(&self.frequencies)?.unsqueeze(1)?;
        let arguments = geometry.distances.linear(|d| {
            let x = (d / cutoff)?.unsqueeze(1)?;
            dense(&x, &frequencies)
        })?;
        let inverse = geometry
            .distances
            .recip()?
            .linear(|y| y * (cutoff * self.norm))?;
        let factors = [
            (edge(Row::Channels), &arguments.apply(&self.sine)?),
            (edge(Row::Number), &geometry.radial(&self.envelope)?),
            (edge(Row::Number), &inverse),
        ];
        Dual::contract(&geometry.edges, factors, edge(Row::Channels))
    }
}

impl Gaussians {
    /// `count` (at least 2) functions on `[0, cutoff]`, Å.
    pub fn new(cutoff: f64, count: usize) -> Self {
        Self { cutoff, count }
    }
}

impl Bessel {
    /// `count` functions on `(0, cutoff]`, Å.
    pub fn new(cutoff: f64, count: usize) -> Self {
        Self { cutoff, count }
    }
}

impl Functions for Gaussians {
    const NAME: &'static str = "the Gaussian basis";
    const HIGHEST: usize = 2;

    fn count(&self) -> usize {
        self.count
    }

    fn evaluate<T: Real>(&self, order: usize, x: &[T], out: &mut [T]) {
        let spacing = self.cutoff / (self.count - 1) as f64;
        let coefficient = T::from_f64(-0.5 / (spacing * spacing));
        let two = T::from_f64(2.0);
        let least = T::choose(-46.0, -700.0);
        let centres: Vec<T> = (0..self.count)
            .map(|k| T::from_f64(spacing * k as f64))
            .collect();
        for (out, &x) in out.chunks_exact_mut(self.count).zip(x) {
            for (out, &centre) in out.iter_mut().zip(&centres) {
                let distance = x - centre;
                let exponent = coefficient * distance * distance;
                if exponent < least {
                    *out = T::zero();
                    continue;
                }
                let value = exponent.exponential::<false>();
                let slope = two * coefficient * distance;
                *out = value
                    * match order {
                        0 => T::one(),
                        1 => slope,
                        _ => slope * slope + two * coefficient,
                    };
            }
        }
    }
}

impl Functions for Bessel {
    const NAME: &'static str = "the Bessel basis";
    const HIGHEST: usize = 2;

    fn count(&self) -> usize {
        self.count
    }

    fn evaluate<T: Real>(&self, order: usize, x: &[T], out: &mut [T]) {
        let norm = (2.0 / self.cutoff).sqrt();
        for (out, &x) in out.chunks_exact_mut(self.count).zip(x) {
            let d = x.to_f64();
            for (n, out) in (1..).zip(out) {
                let k = n as f64 * PI / self.cutoff;
                let (sin, cos) = (k * d).sin_cos();
                // With f = sin(k d) / d: d f' = k cos - f, and d f'' = -k^2 sin - 2 f'.
                let value = sin / d;
                let slope = (k * cos - value) / d;
                *out = T::from_f64(
                    norm * match order {
                        0 => value,
                        1 => slope,
                        _ => (-k * k * sin - 2.0 * slope) / d,
                    },
                );
            }
        }
    }
}

impl Functions for Radial {
    const NAME: &'static str = "the radial basis";
    const HIGHEST: usize = 2;

    fn count(&self) -> usize {
        match self {
            Radial::Gaussian(f) => f.count(),
            Radial::Bessel(f) => f.count(),
        }
    }

    fn evaluate<T: Real>(&self, order: usize, x: &[T], out: &mut [T]) {
        match self {
            Radial::Gaussian(f) => f.evaluate(order, x, out),
            Radial::Bessel(f) => f.evaluate(order, x, out),
        }
    }
}
