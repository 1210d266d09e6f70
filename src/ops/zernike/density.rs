//! From a zernikegram back to densities in space.

use super::tables::SLACK;
use super::{Binomial, Transform};
use crate::so3::harmonics::harmonics;
use crate::so3::radial::{Radial, damping};
use crate::{Error, Result};
use rayon::prelude::*;
use std::f64::consts::PI;

/// Radial functions over their factors.
struct Functions {
    radial: Radial,
    /// In the order of [`Radial::evaluate`].
    factors: Vec<f64>,
}

impl Transform {
    /// Density of each channel at `points` (Å, about the centre), `[points, channels]`, in Å^-3:
    /// the smoothest density in the ball whose projections `int f(r) P_nlm(r) dr` are the
    /// coefficients of `zernikegram`,
    ///
    /// ```text
    /// f_c(r) = cutoff^-3 (4 pi)^-1 sum_nlm Z^c_nlm Q_nl(rho) Y_lm(r / |r|)
    /// ```
    ///
    /// where the functions `Q_nl` are dual to `R_nl`: equal to them for [`Binomial::Exact`].
    /// Under [`super::Weighting::Square`] it is the density of the weighted atoms. It is zero
    /// beyond the cutoff.
    ///
    /// # Errors
    /// A zernikegram of another length; a point that is not finite.
    pub fn density(&self, zernikegram: &[f32], points: &[[f64; 3]]) -> Result<Vec<f64>> {
        let cutoff = self.settings.cutoff;
        let scale = 1.0 / (4.0 * PI * cutoff.powi(3));
        self.sum(zernikegram, points, &self.dual(), scale)
    }

    /// The sum of the functions of the transform itself at `points`, `[points, channels]`, as the
    /// published code draws densities: `f_c(r) = sum_nlm Z^c_nlm R_nl(rho) Y_lm(r / |r|)`. Under
    /// [`super::Weighting::Square`] an atom adds 1 at its own place. It is zero beyond the cutoff.
    ///
    /// # Errors
    /// As [`Transform::density`].
    pub fn field(&self, zernikegram: &[f32], points: &[[f64; 3]]) -> Result<Vec<f64>> {
        let settings = &self.settings;
        let radial = Radial::new(settings.lmax, settings.nmax, settings.binomial);
        let orders: usize = (0..=settings.lmax).map(|l| radial.orders(l)).sum();
        let factors = vec![1.0; orders];
        self.sum(zernikegram, points, &Functions { radial, factors }, 1.0)
    }

    fn sum(
        &self,
        zernikegram: &[f32],
        points: &[[f64; 3]],
        functions: &Functions,
        scale: f64,
    ) -> Result<Vec<f64>> {
        if zernikegram.len() != self.irreps.dim() {
            return Err(Error::input(format!(
                "a zernikegram of {} numbers, where the settings make {}",
                zernikegram.len(),
                self.irreps.dim()
            )));
        }
        if let Some(i) = points.iter().position(|p| !p.iter().all(|c| c.is_finite())) {
            return Err(Error::input(format!(
                "point {i}: a coordinate is not finite"
            )));
        }
        let channels = self.settings.channels.len();
        let mut out = vec![0.0; points.len() * channels];
        out.par_chunks_exact_mut(channels)
            .zip(points)
            .for_each(|(out, &point)| {
                self.evaluate(zernikegram, functions, point, out);
                out.iter_mut().for_each(|density| *density *= scale);
            });
        Ok(out)
    }

    /// The exact polynomials, and by what to divide them to get the dual ones.
    fn dual(&self) -> Functions {
        let settings = &self.settings;
        let exact = Radial::new(settings.lmax, settings.nmax, Binomial::Exact);
        let factor = |l, k| match settings.binomial {
            Binomial::Published => damping(l, k),
            Binomial::Exact => 1.0,
        };
        let factors = (0..=settings.lmax)
            .flat_map(|l| (0..exact.orders(l)).map(move |k| factor(l, k)))
            .collect();
        Functions {
            radial: exact,
            factors,
        }
    }

    fn evaluate(
        &self,
        zernikegram: &[f32],
        Functions { radial, factors }: &Functions,
        point: [f64; 3],
        out: &mut [f64],
    ) {
        let cutoff = self.settings.cutoff;
        let rho = point.iter().map(|c| c * c).sum::<f64>().sqrt() / cutoff;
        if rho > 1.0 + SLACK {
            return;
        }
        let y = harmonics(self.settings.lmax, point);
        let values = radial.evaluate(rho);
        let mut values = values.into_iter().zip(factors).map(|(r, f)| r / f);
        let mut rest = zernikegram;
        for l in 0..=self.settings.lmax {
            let y = &y[l * l..(l + 1) * (l + 1)];
            let orders: Vec<f64> = values.by_ref().take(radial.orders(l)).collect();
            for density in out.iter_mut() {
                for r in &orders {
                    let (row, after) = rest.split_at(y.len());
                    rest = after;
                    let sum: f64 = row.iter().zip(y).map(|(&z, y)| z as f64 * y).sum();
                    *density += r * sum;
                }
            }
        }
    }
}
