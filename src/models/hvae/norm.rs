//! The norms beside batch norm: signal norm, layer norm, layer norm with a nonlinearity. The
//! signal norm of the paper's models is part of [`crate::ops::cg`]; these are the general forms.

use super::config::{Normalization, SignalAffine};
use super::steerable::{degrees, join};
use crate::models::layers::Activation;
use crate::models::{Entry, Init, Parameter, Parameters, Scope};
use crate::ops::batch_norm::features;
use crate::ops::cg::NORM_EPS;
use crate::so3::irreps::Irreps;
use candle_core::{Result, Tensor};

/// Per sample and degree: scalars lose the mean over channels, then the degree is divided by
/// the root of the mean (over channels) squared size.
pub fn layer_norm(
    h: &Tensor,
    irreps: &Irreps,
    normalization: Normalization,
    affine: Option<&Affine>,
    p: &Parameters,
) -> Result<Tensor> {
    let affine = match affine {
        Some(affine) => Some((p.get(&affine.weight)?, p.get(&affine.bias)?)),
        None => None,
    };
    let mut feature = 0;
    let mut out = Vec::new();
    for (l, mut x) in degrees(h, irreps)?.into_iter().enumerate() {
        let c = irreps.channels(l);
        if l == 0 {
            x = x.broadcast_sub(&x.mean_keepdim(2)?)?;
        }
        // The published code adds its eps once inside the root and once after the mean.
        let size = (((x.sqr()?.sum_keepdim(1)? * normalization.weight(l))? + 1e-5)?
            .mean_keepdim(2)?
            + 1e-5)?;
        x = x.broadcast_div(&size.sqrt()?)?;
        if let Some((w, b)) = &affine {
            x = x.broadcast_mul(&w.narrow(0, feature, c)?)?;
            if l == 0 {
                x = x.broadcast_add(b)?;
            }
        }
        feature += c;
        out.push(x);
    }
    join(&out)
}

/// A weight per feature and a bias per scalar.
#[derive(Clone)]
pub struct Affine {
    pub weight: Parameter,
    pub bias: Parameter,
}

impl Affine {
    pub fn new(b: &mut Scope, weights: usize, biases: usize) -> Self {
        Self {
            weight: b.parameter("weight", weights, Init::Constant(1.0)),
            bias: b.parameter("bias", biases, Init::Constant(0.0)),
        }
    }
}

/// Signal norm: a sample divided by the root of its total squared size.
pub struct Signal {
    affine: SignalAffine,
    /// Weights per degree (or the unused one), then bias; absent without affine.
    group: Option<Parameter>,
    irreps: Irreps,
    normalization: Normalization,
    /// Factor of the balanced form.
    factor: f64,
}

impl Signal {
    pub fn new(
        b: &mut Scope,
        irreps: &Irreps,
        affine: SignalAffine,
        balance: Option<f64>,
        normalization: Normalization,
    ) -> Self {
        const ONE: Init = Init::Constant(1.0);
        let degree_weights = |size: fn(&Irreps, usize) -> usize| -> Vec<_> {
            (0..=irreps.lmax())
                .map(|l| Entry::new(format_args!("weights.{l}"), vec![size(irreps, l)], ONE))
                .collect()
        };
        let bias = |shape| Entry::new("bias", shape, Init::Constant(0.0));
        let entries = match affine {
            SignalAffine::None => vec![],
            SignalAffine::Unique => vec![Entry::new("weight", vec![1], ONE)],
            SignalAffine::PerL => [degree_weights(|_, _| 1), vec![bias(vec![1])]].concat(),
            SignalAffine::PerFeature => [
                degree_weights(Irreps::channels),
                vec![bias(vec![irreps.channels(0), 1])],
            ]
            .concat(),
        };
        let group = (!entries.is_empty()).then(|| b.group(entries));
        if let (Some(group), SignalAffine::Unique) = (&group, affine) {
            // The published layer has this weight and never multiplies by it.
            b.unused(group);
        }
        Self {
            affine,
            group,
            irreps: irreps.clone(),
            normalization,
            factor: factor(irreps, normalization, balance),
        }
    }

    /// The group of `[w_0, .., w_L, b]` when this is the plain form that [`Layer::Cg`] includes.
    pub fn fusable(&self) -> Option<&Parameter> {
        let plain = self.affine == SignalAffine::PerL
            && self.factor == 1.0
            && self.normalization == Normalization::Component;
        self.group.as_ref().filter(|_| plain)
    }

    pub fn forward(&self, h: &Tensor, parameters: &Parameters) -> Result<Tensor> {
        let parts = degrees(h, &self.irreps)?;
        let mut total = None;
        for (l, x) in parts.iter().enumerate() {
            let size = (x.sqr()?.flatten_from(1)?.sum(1)? * self.normalization.weight(l))?;
            total = Some(match total {
                None => size,
                Some(t) => (t + size)?,
            });
        }
        let Some(total) = total else {
            return Ok(h.clone());
        };
        let inverse = ((total + NORM_EPS)?.sqrt()?.recip()? * self.factor)?.reshape(((), 1, 1))?;
        let var = self.group.as_ref().map(|g| parameters.get(g)).transpose()?;
        let mut at = 0;
        let mut out = Vec::new();
        for (l, x) in parts.into_iter().enumerate() {
            let mut x = x.broadcast_mul(&inverse)?;
            if let (Some(var), Some(len)) = (&var, self.weight_len(l)) {
                x = x.broadcast_mul(&var.narrow(0, at, len)?)?;
                at += len;
                if l == 0 {
                    let bias_len = if self.affine == SignalAffine::PerL {
                        1
                    } else {
                        self.irreps.channels(0)
                    };
                    x = x.broadcast_add(&var.narrow(0, var.dim(0)? - bias_len, bias_len)?)?;
                }
            }
            out.push(x);
        }
        join(&out)
    }

    /// Length of degree `l`'s weights, if they are applied.
    fn weight_len(&self, l: usize) -> Option<usize> {
        match self.affine {
            SignalAffine::PerL => Some(1),
            SignalAffine::PerFeature => Some(self.irreps.channels(l)),
            SignalAffine::None | SignalAffine::Unique => None,
        }
    }
}

fn factor(irreps: &Irreps, normalization: Normalization, balance: Option<f64>) -> f64 {
    let Some(balance) = balance else { return 1.0 };
    match normalization {
        Normalization::Norm => (irreps.dim() as f64 / balance).sqrt(),
        // Mean multiplicity times number of degrees: the number of features.
        Normalization::Component => (features(irreps) as f64 / balance).sqrt(),
    }
}

/// Layer norm (over channels) and a nonlinearity on the norms of features; directions stay.
pub struct LayerNonlin {
    /// Per degree.
    affine: Option<Vec<Affine>>,
    activation: Activation,
    irreps: Irreps,
    normalization: Normalization,
}

impl LayerNonlin {
    pub fn new(
        b: &mut Scope,
        irreps: &Irreps,
        affine: bool,
        activation: Activation,
        normalization: Normalization,
    ) -> Self {
        let affine = affine.then(|| {
            (0..=irreps.lmax())
                .map(|l| {
                    let c = irreps.channels(l);
                    Affine::new(&mut b.scope(format_args!("layer_norms.{l}")), c, c)
                })
                .collect()
        });
        Self {
            affine,
            activation,
            irreps: irreps.clone(),
            normalization,
        }
    }

    pub fn forward(&self, h: &Tensor, parameters: &Parameters) -> Result<Tensor> {
        let mut out = Vec::new();
        for (l, x) in degrees(h, &self.irreps)?.into_iter().enumerate() {
            let norm =
                ((x.sqr()?.sum_keepdim(1)? * self.normalization.weight(l))? + 1e-6)?.sqrt()?;
            let centred = norm.broadcast_sub(&norm.mean_keepdim(2)?)?;
            let spread = (centred.sqr()?.mean_keepdim(2)? + 1e-5)?.sqrt()?;
            let mut new = centred.broadcast_div(&spread)?;
            if let Some(affine) = &self.affine {
                new = new
                    .broadcast_mul(&parameters.get(&affine[l].weight)?)?
                    .broadcast_add(&parameters.get(&affine[l].bias)?)?;
            }
            let new = self.activation.forward(&new)?;
            out.push(x.broadcast_mul(&(new / norm)?)?);
        }
        join(&out)
    }
}
