//! Functions of the distance, and the networks that make weights of them.

use crate::models::layers::{Cutoff, CutoffShape, Geometry, LayerNorm, Linear, SineBasis};
use crate::models::{Init, Parameter, Parameters, Scope};
use crate::ops::dual::Dual;
use crate::ops::pointwise::Silu;
use crate::ops::segment::{Row, edge};
use candle_core::{Result, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The radial basis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RadialBasis {
    /// Gaussians whose places and widths are trained.
    #[default]
    Gaussian,
    /// Sines whose frequencies are trained.
    Bessel,
    /// Gaussians of `exp(-d)`.
    Exponential,
}

pub(super) enum Basis {
    Gaussian(Gaussians),
    Sines(SineBasis),
    Exponential(Exponential),
}

/// `exp(-z_k^2 / 2) / (sqrt(2 pi) s_k)`, `z_k = (w d / c + b - mean_k) / s_k`, `s_k = |std_k| + 1e-5`.
pub(super) struct Gaussians {
    cutoff: f64,
    mean: Parameter,
    deviation: Parameter,
    weight: Parameter,
    bias: Parameter,
}

/// `C(d) exp(-beta (exp(-5 d / c) - mu_k)^2)` with a cosine cutoff `C`, `mu_k` from `exp(-c)` to 1.
pub(super) struct Exponential {
    envelope: Arc<Cutoff>,
    count: usize,
}

impl Basis {
    pub fn new(b: &mut Scope, kind: RadialBasis, cutoff: f64, count: usize) -> Self {
        let mut b = b.scope("rbf");
        let envelope = |shape| Cutoff {
            shape,
            radius: cutoff,
        };
        match kind {
            RadialBasis::Gaussian => Self::Gaussian(Gaussians {
                cutoff,
                mean: b.parameter("mean", (1, count), Init::Between([0.0, 1.0])),
                deviation: b.parameter("std", (1, count), Init::Between([1.0 / count as f64, 1.0])),
                weight: b.parameter("weight", (1, 1), Init::Constant(1.0)),
                bias: b.parameter("bias", (1, 1), Init::Constant(0.0)),
            }),
            RadialBasis::Bessel => Self::Sines(SineBasis::new(
                &mut b.scope("rbf"),
                "frequencies",
                count,
                envelope(CutoffShape::Polynomial(5)),
                (2.0 / cutoff.powi(3)).sqrt(),
            )),
            RadialBasis::Exponential => Self::Exponential(Exponential {
                envelope: Arc::new(envelope(CutoffShape::Cosine)),
                count,
            }),
        }
    }

    /// `[E, count]`.
    pub fn forward(&self, geometry: &Geometry, p: &Parameters) -> Result<Dual> {
        match self {
            Self::Gaussian(gaussians) => gaussians.forward(geometry, p),
            Self::Sines(sines) => sines.forward(geometry, p),
            Self::Exponential(exponential) => exponential.forward(geometry),
        }
    }
}

/// `exp(x)`.
fn exp(x: &Dual) -> Result<Dual> {
    x.map(|x| x.exp(), |x, t| x.exp()? * t)
}

impl Gaussians {
    fn forward(&self, geometry: &Geometry, p: &Parameters) -> Result<Dual> {
        // Six digits, as in the released code.
        #[expect(clippy::approx_constant)]
        const PI: f64 = 3.14159;
        let deviation = (p.get(&self.deviation)?.abs()? + 1e-5)?;
        let inverse = deviation.recip()?;
        let slope = (p.get(&self.weight)? / self.cutoff)?;
        let shift = p.get(&self.mean)?.broadcast_sub(&p.get(&self.bias)?)?;
        let shift = (shift * &inverse)?;
        let slopes = slope.broadcast_mul(&inverse)?;
        let z = geometry
            .distances
            .linear(|d| d.unsqueeze(1)?.broadcast_mul(&slopes))?;
        let z = z.map(|z| z.broadcast_sub(&shift), |_, t| Ok(t.clone()))?;
        let height = (inverse / (2.0 * PI).sqrt())?;
        exp(&z.mul(&z)?.linear(|s| s * -0.5)?)?.linear(|g| g.broadcast_mul(&height))
    }
}

impl Exponential {
    fn forward(&self, geometry: &Geometry) -> Result<Dual> {
        let (cutoff, last) = (self.envelope.radius, (self.count - 1) as f64);
        let start = (-cutoff).exp();
        let root = self.count as f64 / (2.0 * (1.0 - start));
        let distances = &geometry.distances;
        let centre = |k: usize| start + (1.0 - start) * k as f64 / last;
        let centres: Vec<f64> = (0..self.count).map(centre).collect();
        let centres = Tensor::from_vec(centres, (1, self.count), distances.value.device())?;
        let centres = centres.to_dtype(distances.value.dtype())?;
        let decayed = exp(&distances.linear(|d| d * (-5.0 / cutoff))?)?;
        let count = self.count;
        let spread = decayed.linear(|x| x.unsqueeze(1)?.broadcast_as((x.dim(0)?, count)))?;
        let z = spread.map(|x| x.broadcast_sub(&centres), |_, t| Ok(t.clone()))?;
        let bumps = exp(&z.mul(&z)?.linear(|s| s * (-root * root))?)?;
        let factors = [
            (edge(Row::Channels), &bumps),
            (edge(Row::Number), &geometry.radial(&self.envelope)?),
        ];
        Dual::contract(&geometry.edges, factors, edge(Row::Channels))
    }
}

/// Weights of a tensor product from the radial functions: two hidden layers with layer norm and
/// SiLU, and an offset.
pub(super) struct RadialNetwork {
    hidden: Vec<(Linear, LayerNorm)>,
    last: Linear,
    offset: Parameter,
    silu: Arc<Silu>,
}

impl RadialNetwork {
    /// From radial functions by layers of these widths, `widths[0]` the number of functions.
    pub fn new(b: &mut Scope, widths: &[usize], to: usize) -> Self {
        let (mut hidden, mut from) = (Vec::new(), widths[0]);
        for (i, &width) in widths[1..].iter().enumerate() {
            let init = Init::fan_in(from);
            let linear = Linear::new(
                &mut b.scope(format_args!("net.{}", 3 * i)),
                from,
                width,
                init,
            );
            let norm = LayerNorm::new(&mut b.scope(format_args!("net.{}", 3 * i + 1)), width);
            hidden.push((linear, norm));
            from = width;
        }
        let mut last = b.scope(format_args!("net.{}", 3 * hidden.len()));
        let last = Linear::without_bias(&mut last, from, to, Init::fan_in(from));
        Self {
            hidden,
            last,
            offset: b.parameter("offset", to, Init::fan_in(from)),
            silu: Arc::new(Silu),
        }
    }

    /// `[E, to]`.
    pub fn forward(&self, radial: &Dual, p: &Parameters) -> Result<Dual> {
        let mut x = radial.clone();
        for (linear, norm) in &self.hidden {
            x = norm.dual(&linear.dual(&x, p)?, p)?.apply(&self.silu)?;
        }
        let offset = p.get(&self.offset)?;
        let x = self.last.dual(&x, p)?;
        x.map(|x| x.broadcast_add(&offset), |_, t| Ok(t.clone()))
    }
}
