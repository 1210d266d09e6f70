//! Cutoff functions: factors of a message that go to zero with the distance, so that an energy
//! does not jump when an atom comes into reach.

use crate::models::sizes::WIDEST;
use crate::ops::cpu::Real;
use crate::ops::pointwise::Functions;
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// A function that is 1 at distance 0, and 0 from the cutoff on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cutoff {
    pub shape: CutoffShape,
    /// Å.
    pub radius: f64,
}

/// How a cutoff function falls, with `x = d / radius`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CutoffShape {
    /// `(cos(pi x) + 1) / 2` (Behler 2011); its slope is continuous, its curvature is not.
    #[default]
    Cosine,
    /// `1 - (p + 1)(p + 2)/2 x^p + p (p + 2) x^(p + 1) - p (p + 1)/2 x^(p + 2)` (Gasteiger et al.
    /// 2020, eq. 8) with this `p`; slope and curvature are continuous.
    Polynomial(u8),
}

/// Checks a network's settings: `count` radial functions and an envelope up to `cutoff` Å.
///
/// # Errors
/// One that is out of range, by name.
pub fn check_radial(count: usize, cutoff: f64, envelope: CutoffShape) -> Result<()> {
    check_cutoff(cutoff, envelope)?;
    let wrong = |what: String| Err(Error::input(format!("radial = {count}: {what}")));
    match count {
        0 | 1 => wrong("must be at least 2".into()),
        _ if count > WIDEST => wrong(format!("the most is {WIDEST}")),
        _ => Ok(()),
    }
}

/// Checks a network's envelope up to `cutoff` Å.
///
/// # Errors
/// One that is out of range, by name.
pub fn check_cutoff(cutoff: f64, envelope: CutoffShape) -> Result<()> {
    let wrong = |what: String| Err(Error::input(what));
    if !(cutoff.is_finite() && cutoff > 0.0) {
        return wrong(format!("cutoff = {cutoff}: must be a positive length in Å"));
    }
    match envelope {
        CutoffShape::Polynomial(p) if p < 2 => {
            wrong(format!("envelope = polynomial {p}: must be at least 2"))
        }
        _ => Ok(()),
    }
}

impl Functions for Cutoff {
    const NAME: &'static str = "the cutoff function";
    const HIGHEST: usize = 2;

    fn evaluate<T: Real>(&self, order: usize, x: &[T], out: &mut [T]) {
        let scale = self.radius.powi(order as i32);
        for (out, &x) in out.iter_mut().zip(x) {
            let x = x.to_f64() / self.radius;
            let value = match self.shape {
                _ if x >= 1.0 => 0.0,
                CutoffShape::Cosine => cosine(order, x),
                CutoffShape::Polynomial(p) => polynomial(order, p, x),
            };
            *out = T::from_f64(value / scale);
        }
    }
}

fn cosine(order: usize, x: f64) -> f64 {
    let (sin, cos) = (PI * x).sin_cos();
    match order {
        0 => 0.5 * (cos + 1.0),
        1 => -0.5 * PI * sin,
        _ => -0.5 * PI * PI * cos,
    }
}

fn polynomial(order: usize, p: u8, x: f64) -> f64 {
    let power = p as i32;
    let p = f64::from(p);
    let terms = [
        (0, 1.0),
        (power, -0.5 * (p + 1.0) * (p + 2.0)),
        (power + 1, p * (p + 2.0)),
        (power + 2, -0.5 * p * (p + 1.0)),
    ];
    let derivative = |(power, factor): (i32, f64)| {
        let falling: f64 = (0..order as i32).map(|k| f64::from(power - k)).product();
        match falling {
            0.0 => 0.0,
            falling => factor * falling * x.powi(power - order as i32),
        }
    };
    terms.map(derivative).iter().sum()
}
