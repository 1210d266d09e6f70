//! The layers of a block. Every layer maps a steerable tensor `[batch, dim]` to another and
//! knows its own parameters; names and numbering are those of the published state dict.

use super::config::{ChannelRule, Normalization};
use super::norm::{Affine, LayerNonlin, Signal, layer_norm};
use super::steerable::{degrees, join};
use crate::models::{Buffer, Entry, Init, Parameter, Parameters, Scope};
use crate::ops::batch_norm::{BatchNorm, Mode, Statistics, batch_norm, features, statistics};
use crate::ops::cg::{Plan, Size, cg};
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
        affine: Affine,
        running: Running,
        irreps: Irreps,
        normalization: Normalization,
    },
    Signal(Signal),
    SampleNorm {
        affine: Option<Affine>,
        irreps: Irreps,
        normalization: Normalization,
    },
    LayerNonlin(LayerNonlin),
    Product(Product),
    Linear {
        weights: Parameter,
        from: Side,
        to: Side,
    },
    /// A whole block as one op: batch norm (if it has statistics), product, signal norm, linear
    /// map and skip connection.
    Cg {
        parameters: Parameter,
        running: Option<Running>,
        plan: Arc<Plan>,
    },
}

impl Layer {
    pub fn forward(&self, h: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        match self {
            Layer::BatchNorm {
                affine,
                running,
                irreps,
                normalization,
            } => {
                let norm = pass.batch_norm(h, irreps, running, *normalization)?;
                let p = pass.parameters;
                batch_norm(h, &p.get(&affine.weight)?, &p.get(&affine.bias)?, norm)
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
                layer_norm(h, irreps, *normalization, affine.as_ref(), pass.parameters)
            }
            Layer::LayerNonlin(layer) => layer.forward(h, pass.parameters),
            Layer::Product(product) => product.forward(h),
            Layer::Linear { weights, from, to } => {
                linear(h, &pass.parameters.get(weights)?, from, to)
            }
            Layer::Cg {
                parameters,
                running,
                plan,
            } => {
                let norm = match (running, plan.batch_norm) {
                    (Some(running), Some(normalization)) => {
                        Some(pass.batch_norm(h, &plan.input, running, normalization)?)
                    }
                    _ => None,
                };
                cg(h, &pass.parameters.get(parameters)?, plan, norm)
            }
        }
    }
}

impl<'a> Pass<'a> {
    /// A pass with the batch's own statistics.
    pub fn training(parameters: &'a Parameters) -> Self {
        Self {
            parameters,
            mode: Mode::Train,
            buffers: None,
            statistics: Vec::new(),
        }
    }

    /// A pass over `constants` with the running statistics of `parameters`, whose values they are.
    ///
    /// # Errors
    /// A failure of the numerical backend.
    pub fn evaluation(parameters: &Parameters, constants: &'a Parameters) -> crate::Result<Self> {
        let buffers: Vec<f64> = parameters.buffers().into_iter().map(f64::from).collect();
        let stored = match buffers.len() {
            0 => None,
            n => Some(Tensor::from_vec(buffers, n, parameters.device())?),
        };
        Ok(Self {
            parameters: constants,
            mode: Mode::Eval,
            buffers: stored,
            statistics: Vec::new(),
        })
    }

    /// The batch norm of `h`: with its own statistics in training, with the running ones else.
    fn batch_norm(
        &mut self,
        h: &Tensor,
        irreps: &Irreps,
        running: &Running,
        normalization: Normalization,
    ) -> Result<BatchNorm> {
        let statistics = match (self.mode, &self.buffers) {
            (Mode::Eval, Some(stored)) => Statistics {
                mean: running.mean.of(stored)?,
                variance: running.variance.of(stored)?,
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

/// Running statistics of a norm: mean of scalars, variance of features.
#[derive(Clone, Copy)]
pub struct Running {
    mean: Buffer,
    variance: Buffer,
}

impl Running {
    fn new(b: &mut Scope, irreps: &Irreps) -> Self {
        Self {
            mean: b.buffer("running_mean", irreps.channels(0), 0.0),
            variance: b.buffer("running_var", features(irreps), 1.0),
        }
    }
}

/// Adds a batch norm.
pub fn add_batch_norm(b: &mut Scope, irreps: &Irreps, normalization: Normalization) -> Layer {
    Layer::BatchNorm {
        affine: Affine::new(b, features(irreps), irreps.channels(0)),
        running: Running::new(b, irreps),
        irreps: irreps.clone(),
        normalization,
    }
}

/// Adds a linear map between two layouts.
pub fn add_linear(b: &mut Scope, from: Side, to: Side) -> Layer {
    let shapes = weight_shapes(&from.irreps, &to.irreps).into_iter();
    let entries = shapes.enumerate().map(|(l, (i, o))| {
        let name = format_args!("weights.{l}");
        Entry::new(name, vec![i, o], Init::glorot(i, o))
    });
    let weights = b.group(entries);
    Layer::Linear { weights, from, to }
}

/// A steerable side of a linear map.
pub fn steerable(irreps: &Irreps) -> Side {
    Side {
        irreps: irreps.clone(),
        order: Order::Steerable,
    }
}

/// Adds a layer norm.
pub fn add_layer_norm(
    b: &mut Scope,
    irreps: &Irreps,
    affine: bool,
    normalization: Normalization,
) -> Layer {
    let affine = affine.then(|| Affine::new(b, features(irreps), irreps.channels(0)));
    Running::new(b, irreps);
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
    b: &mut Scope,
    layers: Vec<Layer>,
    rule: Rule,
    symmetric: bool,
    skip: bool,
) -> Vec<Layer> {
    let (norm, rest) = match &layers[..] {
        [
            Layer::BatchNorm {
                affine,
                running,
                normalization,
                ..
            },
            rest @ ..,
        ] => (Some((&affine.weight, *running, *normalization)), rest),
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
    let (from, to) = (
        Size::new(p.input.lmax(), c),
        Size::new(to.irreps.lmax(), out),
    );
    let mut plan = Plan::new(rule, symmetric, from, to);
    if let Some((_, _, normalization)) = norm {
        plan = plan.with_batch_norm(normalization);
    }
    if skip {
        plan = plan.with_skip();
    }
    let first = norm.map_or(signal, |(weight, ..)| weight);
    vec![Layer::Cg {
        parameters: b.merge(first.clone()),
        running: norm.map(|(_, running, _)| running),
        plan: Arc::new(plan),
    }]
}
