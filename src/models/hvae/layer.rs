//! The layers of a block. Every layer maps a steerable tensor `[batch, dim]` to another and
//! knows its own parameters; names and numbering are those of the published state dict.

use super::config::{Activation, ChannelRule, Normalization, SignalAffine};
use super::steerable::{degrees, join};
use crate::models::{Init, Parameters, ParametersBuilder};
use crate::ops::batch_norm::{Mode, Statistics, batch_norm, features, statistics};
use crate::ops::cg::{NORM_EPS, Plan, cg};
use crate::ops::linear::{Order, Side, linear, weight_shapes};
use crate::so3::irreps::Irreps;
use crate::so3::paths::{Rule, pairs};
use crate::so3::wigner::w3j;
use candle_core::{Result, Tensor};
use std::sync::Arc;

/// What a forward pass reads and collects.
pub struct Pass<'a> {
    pub parameters: &'a Parameters,
    pub mode: Mode,
    /// Running statistics, read in evaluation mode.
    pub buffers: &'a [f32],
    /// New statistics in the order of the buffers, collected in training mode.
    pub statistics: Vec<f32>,
}

/// A layer.
pub enum Layer {
    BatchNorm {
        weight: usize,
        bias: usize,
        buffer: usize,
        irreps: Irreps,
        normalization: Normalization,
    },
    Signal(Signal),
    SampleNorm {
        affine: Option<(usize, usize)>,
        irreps: Irreps,
        normalization: Normalization,
    },
    LayerNonlin(LayerNonlin),
    Product(Product),
    Linear {
        weights: usize,
        from: Side,
        to: Side,
    },
    /// Product, signal norm and linear map as one op.
    Cg {
        weights: usize,
        norm: usize,
        plan: Arc<Plan>,
    },
}

impl Layer {
    pub fn forward(&self, h: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        match self {
            Layer::BatchNorm {
                weight,
                bias,
                buffer,
                irreps,
                normalization,
            } => {
                let statistics = pass.statistics_of(h, irreps, *buffer, *normalization)?;
                let (w, b) = (pass.parameters.var(*weight), pass.parameters.var(*bias));
                batch_norm(h, w, b, irreps, statistics, *normalization, pass.mode)
            }
            Layer::Signal(layer) => layer.forward(h, pass.parameters),
            Layer::SampleNorm {
                affine,
                irreps,
                normalization,
            } => {
                if pass.mode == Mode::Train {
                    // The published layer keeps running statistics that it never updates or reads.
                    pass.statistics
                        .extend(std::iter::repeat_n(0.0, irreps.channels(0)));
                    pass.statistics
                        .extend(std::iter::repeat_n(1.0, features(irreps)));
                }
                layer_norm(
                    h,
                    irreps,
                    *normalization,
                    affine.map(|(w, b)| (pass.parameters.var(w), pass.parameters.var(b))),
                )
            }
            Layer::LayerNonlin(layer) => layer.forward(h, pass.parameters),
            Layer::Product(product) => product.forward(h),
            Layer::Linear { weights, from, to } => {
                linear(h, pass.parameters.var(*weights), from, to)
            }
            Layer::Cg {
                weights,
                norm,
                plan,
            } => cg(
                h,
                pass.parameters.var(*weights),
                pass.parameters.var(*norm),
                plan,
            ),
        }
    }
}

impl Pass<'_> {
    fn statistics_of(
        &mut self,
        h: &Tensor,
        irreps: &Irreps,
        buffer: usize,
        normalization: Normalization,
    ) -> Result<Statistics> {
        let scalars = irreps.channels(0);
        let total = scalars + features(irreps);
        match self.mode {
            Mode::Train => {
                let s = statistics(h, irreps, normalization)?;
                self.statistics
                    .extend(s.mean.iter().chain(&s.variance).map(|&v| v as f32));
                Ok(s)
            }
            Mode::Eval => {
                let stored: Vec<f64> = self.buffers[buffer..buffer + total]
                    .iter()
                    .map(|&v| v as f64)
                    .collect();
                Ok(Statistics {
                    mean: stored[..scalars].to_vec(),
                    variance: stored[scalars..].to_vec(),
                })
            }
        }
    }
}

/// Adds a batch norm called `name`.
pub fn add_batch_norm(
    b: &mut ParametersBuilder,
    name: &str,
    irreps: &Irreps,
    normalization: Normalization,
) -> Layer {
    let (n, scalars) = (features(irreps), irreps.channels(0));
    let weight = b.group([(format!("{name}.weight"), vec![n], Init::Constant(1.0))]);
    let bias = b.group([(format!("{name}.bias"), vec![scalars], Init::Constant(0.0))]);
    let buffer = b.buffer(format!("{name}.running_mean"), scalars, 0.0);
    b.buffer(format!("{name}.running_var"), n, 1.0);
    Layer::BatchNorm {
        weight,
        bias,
        buffer,
        irreps: irreps.clone(),
        normalization,
    }
}

/// Adds a linear map called `name` between two layouts (Glorot uniform start).
pub fn add_linear(b: &mut ParametersBuilder, name: &str, from: Side, to: Side) -> Layer {
    let shapes = weight_shapes(&from.irreps, &to.irreps);
    let entries = shapes
        .into_iter()
        .enumerate()
        .map(|(l, (i, o))| glorot(format!("{name}.weights.{l}"), i, o));
    let weights = b.group(entries);
    Layer::Linear { weights, from, to }
}

/// An entry `[i, o]` with the Glorot (Xavier) uniform start, gain 1.
pub fn glorot(name: String, i: usize, o: usize) -> (String, Vec<usize>, Init) {
    (
        name,
        vec![i, o],
        Init::Uniform((6.0 / (i + o) as f64).sqrt()),
    )
}

/// A steerable side of a linear map.
pub fn steerable(irreps: &Irreps) -> Side {
    Side {
        irreps: irreps.clone(),
        order: Order::Steerable,
    }
}

/// Adds a layer norm called `name`.
pub fn add_layer_norm(
    b: &mut ParametersBuilder,
    name: &str,
    irreps: &Irreps,
    affine: bool,
    normalization: Normalization,
) -> Layer {
    let (n, scalars) = (features(irreps), irreps.channels(0));
    let affine = affine.then(|| {
        let weight = b.group([(format!("{name}.weight"), vec![n], Init::Constant(1.0))]);
        let bias = b.group([(format!("{name}.bias"), vec![scalars], Init::Constant(0.0))]);
        (weight, bias)
    });
    b.buffer(format!("{name}.running_mean"), scalars, 0.0);
    b.buffer(format!("{name}.running_var"), n, 1.0);
    Layer::SampleNorm {
        affine,
        irreps: irreps.clone(),
        normalization,
    }
}

/// Per sample and degree: scalars lose the mean over channels, then the degree is divided by
/// the root of the mean (over channels) squared size.
fn layer_norm(
    h: &Tensor,
    irreps: &Irreps,
    normalization: Normalization,
    affine: Option<(&Tensor, &Tensor)>,
) -> Result<Tensor> {
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
        if let Some((w, b)) = affine {
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

/// Signal norm: a sample divided by the root of its total squared size.
pub struct Signal {
    affine: SignalAffine,
    /// Weights per degree (or the unused one), then bias; absent without affine.
    group: Option<usize>,
    irreps: Irreps,
    normalization: Normalization,
    /// Factor of the balanced form.
    factor: f64,
}

impl Signal {
    pub fn new(
        b: &mut ParametersBuilder,
        name: &str,
        irreps: &Irreps,
        affine: SignalAffine,
        balance: Option<f64>,
        normalization: Normalization,
    ) -> Self {
        let one = Init::Constant(1.0);
        let degree_weights = |size: fn(&Irreps, usize) -> usize| -> Vec<_> {
            (0..=irreps.lmax())
                .map(|l| (format!("{name}.weights.{l}"), vec![size(irreps, l)], one))
                .collect()
        };
        let bias = |shape| (format!("{name}.bias"), shape, Init::Constant(0.0));
        let entries = match affine {
            SignalAffine::None => vec![],
            SignalAffine::Unique => vec![(format!("{name}.weight"), vec![1], one)],
            SignalAffine::PerL => [degree_weights(|_, _| 1), vec![bias(vec![1])]].concat(),
            SignalAffine::PerFeature => [
                degree_weights(Irreps::channels),
                vec![bias(vec![irreps.channels(0), 1])],
            ]
            .concat(),
        };
        let group = (!entries.is_empty()).then(|| b.group(entries));
        Self {
            affine,
            group,
            irreps: irreps.clone(),
            normalization,
            factor: factor(irreps, normalization, balance),
        }
    }

    /// The group of `[w_0, .., w_L, b]` when this is the plain form that [`Layer::Cg`] includes.
    fn fusable(&self) -> Option<usize> {
        let plain = self.affine == SignalAffine::PerL
            && self.factor == 1.0
            && self.normalization == Normalization::Component;
        if plain { self.group } else { None }
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
        let mut at = 0;
        let mut out = Vec::new();
        for (l, x) in parts.into_iter().enumerate() {
            let mut x = x.broadcast_mul(&inverse)?;
            if let (Some(group), Some(len)) = (self.group, self.weight_len(l)) {
                let var = parameters.var(group);
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
    /// Weight and bias groups per degree.
    affine: Option<Vec<(usize, usize)>>,
    activation: Activation,
    irreps: Irreps,
    normalization: Normalization,
}

impl LayerNonlin {
    pub fn new(
        b: &mut ParametersBuilder,
        name: &str,
        irreps: &Irreps,
        affine: bool,
        activation: Activation,
        normalization: Normalization,
    ) -> Self {
        let affine = affine.then(|| {
            (0..=irreps.lmax())
                .map(|l| {
                    let entry = |what: &str, start| {
                        (
                            format!("{name}.layer_norms.{l}.{what}"),
                            vec![irreps.channels(l)],
                            Init::Constant(start),
                        )
                    };
                    (
                        b.group([entry("weight", 1.0)]),
                        b.group([entry("bias", 0.0)]),
                    )
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

    fn forward(&self, h: &Tensor, parameters: &Parameters) -> Result<Tensor> {
        let mut out = Vec::new();
        for (l, x) in degrees(h, &self.irreps)?.into_iter().enumerate() {
            let norm =
                ((x.sqr()?.sum_keepdim(1)? * self.normalization.weight(l))? + 1e-6)?.sqrt()?;
            let centred = norm.broadcast_sub(&norm.mean_keepdim(2)?)?;
            let spread = (centred.sqr()?.mean_keepdim(2)? + 1e-5)?.sqrt()?;
            let mut new = centred.broadcast_div(&spread)?;
            if let Some(groups) = &self.affine {
                let (w, b) = groups[l];
                new = new
                    .broadcast_mul(parameters.var(w))?
                    .broadcast_add(parameters.var(b))?;
            }
            let new = match self.activation {
                Activation::Identity => new,
                Activation::Relu => new.relu()?,
                Activation::Swish => new.silu()?,
                Activation::Sigmoid => candle_nn::ops::sigmoid(&new)?,
            };
            out.push(x.broadcast_mul(&(new / norm)?)?);
        }
        join(&out)
    }
}

/// The tensor product of a steerable tensor with itself, degree by degree, for any rule. The
/// published layout of its output: pairs in order, then channels (`c1 * C2 + c2` when full).
pub struct Product {
    pub input: Irreps,
    pub output: Irreps,
    channel_rule: ChannelRule,
    pairs: Vec<Vec<(usize, usize)>>,
}

impl Product {
    pub fn new(
        rule: Rule,
        channel_rule: ChannelRule,
        symmetric: bool,
        input: &Irreps,
        l_out: usize,
    ) -> Self {
        let pairs = pairs(rule, symmetric, input.lmax(), l_out);
        let channels = |&(l1, l2): &(usize, usize)| match channel_rule {
            ChannelRule::Elementwise => input.channels(l1),
            ChannelRule::Full => input.channels(l1) * input.channels(l2),
        };
        let output = Irreps::new(
            pairs
                .iter()
                .map(|list| list.iter().map(channels).sum())
                .collect(),
        );
        Self {
            input: input.clone(),
            output,
            channel_rule,
            pairs,
        }
    }

    fn forward(&self, h: &Tensor) -> Result<Tensor> {
        let parts = degrees(h, &self.input)?;
        let mut out = Vec::new();
        for (l3, list) in self.pairs.iter().enumerate() {
            let products = list
                .iter()
                .map(|&(l1, l2)| self.product(&parts[l1], &parts[l2], (l1, l2, l3)));
            out.push(Tensor::cat(&products.collect::<Result<Vec<_>>>()?, 2)?);
        }
        join(&out)
    }

    /// One pair: `[batch, 2 l3 + 1, channels]`.
    fn product(
        &self,
        a: &Tensor,
        b: &Tensor,
        (l1, l2, l3): (usize, usize, usize),
    ) -> Result<Tensor> {
        let ((batch, n1, c1), (_, n2, c2)) = (a.dims3()?, b.dims3()?);
        let outer = match self.channel_rule {
            ChannelRule::Elementwise => a
                .unsqueeze(2)?
                .broadcast_mul(&b.unsqueeze(1)?)?
                .reshape((batch, n1 * n2, c1))?,
            ChannelRule::Full => a
                .reshape((batch, n1, 1, c1, 1))?
                .broadcast_mul(&b.reshape((batch, 1, n2, 1, c2))?)?
                .reshape((batch, n1 * n2, c1 * c2))?,
        };
        let coupling = Tensor::from_vec(w3j(l1, l2, l3), (n1 * n2, 2 * l3 + 1), a.device())?;
        let coupling = coupling.to_dtype(a.dtype())?.t()?.contiguous()?;
        coupling.unsqueeze(0)?.broadcast_matmul(&outer)
    }
}

/// Replaces product, signal norm and linear map in a row by one [`Layer::Cg`] where the three
/// have the form that it computes.
pub fn fuse(layers: Vec<Layer>, rule: Rule, symmetric: bool) -> Vec<Layer> {
    let mut out: Vec<Layer> = Vec::new();
    for layer in layers {
        out.push(layer);
        let fused = match &out[..] {
            [
                ..,
                Layer::Product(p),
                Layer::Signal(s),
                Layer::Linear { weights, to, .. },
            ] => {
                let channels = (p.channel_rule == ChannelRule::Elementwise)
                    .then(|| p.input.equal_channels())
                    .flatten();
                match (channels, s.fusable(), to.irreps.equal_channels()) {
                    (Some(c), Some(norm), Some(out_channels))
                        if to.irreps.lmax() == p.output.lmax() =>
                    {
                        let plan = Plan::new(
                            rule,
                            symmetric,
                            (p.input.lmax(), c),
                            (to.irreps.lmax(), out_channels),
                        );
                        Some(Layer::Cg {
                            weights: *weights,
                            norm,
                            plan: Arc::new(plan),
                        })
                    }
                    _ => None,
                }
            }
            _ => None,
        };
        if let Some(fused) = fused {
            out.truncate(out.len() - 3);
            out.push(fused);
        }
    }
    out
}
