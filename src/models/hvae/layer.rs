//! The layers of a block. Every layer maps a steerable tensor `[batch, dim]` to another and
//! knows its own parameters; names and numbering are those of the published state dict.

use super::config::{ChannelRule, Normalization};
use super::norm::{LayerNonlin, Signal, layer_norm};
use super::steerable::{degrees, join};
use crate::models::{Init, Parameters, ParametersBuilder};
use crate::ops::batch_norm::{BatchNorm, Mode, Statistics, batch_norm, features, statistics};
use crate::ops::cg::{Plan, cg};
use crate::ops::linear::{Order, Side, linear, weight_shapes};
use crate::so3::irreps::Irreps;
use crate::so3::paths::{Rule, pairs};
use crate::so3::wigner::w3j;
use candle_core::{DType, Result, Tensor};
use std::sync::Arc;

/// What a forward pass reads and collects.
pub struct Pass<'a> {
    pub parameters: &'a Parameters,
    pub mode: Mode,
    /// Running statistics (f64), read in evaluation mode.
    pub buffers: Option<Tensor>,
    /// New statistics in the order of the buffers, collected in training mode.
    pub statistics: Vec<Tensor>,
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
    /// A whole block as one op: batch norm (if it has a buffer), product, signal norm, linear
    /// map and skip connection.
    Cg {
        parameters: usize,
        buffer: Option<usize>,
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
                let norm = pass.batch_norm(h, irreps, *buffer, *normalization)?;
                let (w, b) = (pass.parameters.var(*weight), pass.parameters.var(*bias));
                batch_norm(h, w, b, norm)
            }
            Layer::Signal(layer) => layer.forward(h, pass.parameters),
            Layer::SampleNorm {
                affine,
                irreps,
                normalization,
            } => {
                if pass.mode == Mode::Train {
                    // The published layer keeps running statistics that it never updates or reads.
                    let constant = [
                        Tensor::zeros(irreps.channels(0), DType::F32, h.device())?,
                        Tensor::ones(features(irreps), DType::F32, h.device())?,
                    ];
                    pass.statistics.extend(constant);
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
                parameters,
                buffer,
                plan,
            } => {
                let norm = match (buffer, plan.batch_norm) {
                    (Some(buffer), Some(normalization)) => {
                        Some(pass.batch_norm(h, &plan.input, *buffer, normalization)?)
                    }
                    _ => None,
                };
                cg(h, pass.parameters.var(*parameters), plan, norm)
            }
        }
    }
}

impl Pass<'_> {
    /// The batch norm of `h`: with its own statistics in training, with the running ones else.
    fn batch_norm(
        &mut self,
        h: &Tensor,
        irreps: &Irreps,
        buffer: usize,
        normalization: Normalization,
    ) -> Result<BatchNorm> {
        let scalars = irreps.channels(0);
        let statistics = match (self.mode, &self.buffers) {
            (Mode::Eval, Some(stored)) => Statistics {
                mean: stored.narrow(0, buffer, scalars)?,
                variance: stored.narrow(0, buffer + scalars, features(irreps))?,
            },
            _ => {
                let s = statistics(h, irreps, normalization)?;
                for part in [&s.mean, &s.variance] {
                    self.statistics.push(part.to_dtype(DType::F32)?);
                }
                s
            }
        };
        Ok(BatchNorm {
            irreps: irreps.clone(),
            statistics,
            normalization,
            mode: self.mode,
        })
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

/// The layers of a block as one [`Layer::Cg`] if they are batch norm (or none), product, signal
/// norm and linear map of the forms that it computes; else as they are.
pub fn fuse(
    b: &mut ParametersBuilder,
    layers: Vec<Layer>,
    rule: Rule,
    symmetric: bool,
    skip: bool,
) -> Vec<Layer> {
    let (norm, rest) = match &layers[..] {
        [
            Layer::BatchNorm {
                weight,
                buffer,
                normalization,
                ..
            },
            rest @ ..,
        ] => (Some((*weight, *buffer, *normalization)), rest),
        all => (None, all),
    };
    let [
        Layer::Product(p),
        Layer::Signal(s),
        Layer::Linear { to, .. },
    ] = rest
    else {
        return layers;
    };
    let channels = (p.channel_rule == ChannelRule::Elementwise)
        .then(|| p.input.equal_channels())
        .flatten();
    let (Some(c), Some(signal), Some(out)) = (channels, s.fusable(), to.irreps.equal_channels())
    else {
        return layers;
    };
    if to.irreps.lmax() != p.output.lmax() {
        return layers;
    }
    let (input, output) = ((p.input.lmax(), c), (to.irreps.lmax(), out));
    let mut plan = Plan::new(rule, symmetric, input, output);
    if let Some((_, _, normalization)) = norm {
        plan = plan.with_batch_norm(normalization);
    }
    if skip {
        plan = plan.with_skip();
    }
    let first = norm.map_or(signal, |(weight, ..)| weight);
    vec![Layer::Cg {
        parameters: b.merge(first),
        buffer: norm.map(|(_, buffer, _)| buffer),
        plan: Arc::new(plan),
    }]
}
