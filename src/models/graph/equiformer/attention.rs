//! Graph attention: messages are tensor products of both atoms' features with the harmonics of the
//! edge, and their sum at an atom is weighted by a softmax.

use super::radial::RadialNetwork;
use super::{EquiformerConfig, GATING, Inputs, LINEAR, NO_BIAS, even};
use crate::models::layers::edge_softmax;
use crate::models::layers::irreps::{BlockLinear, Gate, Normalized};
use crate::models::{Init, Parameter, Parameters, Scope};
use crate::ops::blockwise::single;
use crate::ops::dual::{At, Dual};
use crate::ops::segment::{Place, Row, edge, receiver, sender};
use crate::ops::tensor_product::{Plan, product, weighted_product};
use crate::so3::blocks::{Block, Blocks, Irrep, Path, paths};
use candle_core::Result;
use std::sync::Arc;

/// The paths from `from` and the harmonics to what `to` is made of, and to invariants; blocks by
/// degree.
pub(super) fn depthwise(config: &EquiformerConfig, from: &Blocks, to: &Blocks) -> Arc<Plan> {
    let harmonics = Blocks::harmonics(config.lmax(), true);
    let wanted = |irrep| irrep == Irrep::SCALAR || to.contains(irrep);
    let all = paths(from, &harmonics, wanted);
    Arc::new(Plan::new(from, &harmonics, &all, |irrep| irrep.l))
}

/// One attention.
pub(super) struct Attention {
    heads: usize,
    /// Channels of a head that make its score.
    scores: usize,
    sender: BlockLinear,
    receiver: BlockLinear,
    plan: Arc<Plan>,
    weights: RadialNetwork,
    messages: Messages,
    /// `[1, heads, scores]`.
    dot: Parameter,
    /// Values times the shares of their heads, channel by channel.
    share: Arc<Plan>,
    values: Blocks,
    out: BlockLinear,
}

/// How scores and values are made of a product.
enum Messages {
    /// One linear map gives both.
    Linear(BlockLinear),
    Nonlinear(Box<Nonlinear>),
}

/// Values are gated and go through a second product.
struct Nonlinear {
    scores: BlockLinear,
    before: BlockLinear,
    gate: Gate,
    plan: Arc<Plan>,
    /// Of the second product, one for all edges.
    weights: Parameter,
    after: BlockLinear,
}

impl Attention {
    pub fn new(b: &mut Scope, config: &EquiformerConfig) -> Self {
        let (nodes, heads) = (even(&config.width), config.heads);
        let values: Blocks = even(&config.head_width);
        let values: Blocks = values
            .iter()
            .map(|b| b.irrep.of(heads * b.channels))
            .collect();
        let scores = config.head_width[0];
        let sender = BlockLinear::new(&mut b.scope("merge_src"), LINEAR, &nodes, &nodes);
        let receiver = BlockLinear::new(&mut b.scope("merge_dst"), NO_BIAS, &nodes, &nodes);
        let plan = depthwise(config, &nodes, &nodes);
        let (weights, messages) = match config.nonlinear {
            false => {
                let mut b = b.scope("sep");
                let weights = RadialNetwork::new(
                    &mut b.scope("dtp_rad"),
                    &config.radial_widths(),
                    plan.weights(),
                );
                let both = Blocks::scalars(heads * scores).and(&values).merged();
                let linear = BlockLinear::new(&mut b.scope("lin"), LINEAR, plan.out(), &both);
                (weights, Messages::Linear(linear))
            }
            true => {
                let weights = RadialNetwork::new(
                    &mut b.scope("sep_act.dtp_rad"),
                    &config.radial_widths(),
                    plan.weights(),
                );
                let nonlinear = Nonlinear::new(b, config, &plan, heads * scores, &values);
                (weights, Messages::Nonlinear(Box::new(nonlinear)))
            }
        };
        Self {
            heads,
            scores,
            sender,
            receiver,
            plan,
            weights,
            messages,
            dot: b.parameter("alpha_dot", (1, heads, scores), Init::glorot(heads, scores)),
            share: channelwise(&values),
            out: BlockLinear::new(&mut b.scope("proj"), LINEAR, &values, &nodes),
            values,
        }
    }

    /// What atoms with features `x` get of their neighbors, `[N, dim]`.
    pub fn forward(&self, x: &Dual, inputs: &Inputs, p: &Parameters) -> Result<Dual> {
        let edges = &inputs.geometry.edges;
        let at = |x: &Dual, kind| Dual::contract(edges, [(kind, x)], edge(Row::Channels));
        let from = at(&self.sender.forward(x, p)?, sender(Row::Channels))?;
        let to = at(&self.receiver.forward(x, p)?, receiver(Row::Channels))?;
        let both = from.add(&to)?;
        let weights = self.weights.forward(&inputs.radial, p)?;
        let factors = [
            At(Place::Edge, &both),
            At(Place::Edge, &inputs.harmonics),
            At(Place::Pair, &weights),
        ];
        let message = weighted_product(&self.plan, edges, factors, Place::Edge)?;
        let (scores, values) = match &self.messages {
            Messages::Linear(linear) => self.split(&linear.forward(&message, p)?)?,
            Messages::Nonlinear(nonlinear) => (
                nonlinear.scores.forward(&message, p)?,
                nonlinear.values(&message, inputs, p)?,
            ),
        };
        let shares = edge_softmax(
            edges,
            Place::Receiver,
            &self.score(&scores, p)?,
            inputs.envelope.as_ref(),
        )?;
        let spread = self.spread(&shares)?;
        let [values, shares] = [&values, &spread].map(|x| At(Place::Edge, x));
        let sum = product(&self.share, edges, values, shares, Place::Receiver)?;
        self.out.forward(&sum, p)
    }

    /// Scores `[E, heads * scores]` and values of one linear map: the invariants of a head are
    /// first those of its score, then those of its value.
    fn split(&self, both: &Dual) -> Result<(Dual, Dual)> {
        let (heads, scores) = (self.heads, self.scores);
        let own = self.values[0].channels / heads;
        let width = heads * (scores + own);
        let part = |start: usize, len: usize| {
            both.linear(|x| {
                let rows = x.dim(0)?;
                let invariants = x
                    .narrow(1, 0, width)?
                    .reshape((rows, heads, scores + own))?;
                let part = invariants.narrow(2, start, len)?.contiguous()?;
                part.reshape((rows, heads * len))
            })
        };
        let rest = both.linear(|x| x.narrow(1, width, x.dim(1)? - width))?;
        Ok((
            part(0, scores)?,
            Dual::cat(&[&part(scores, own)?, &rest], 1)?,
        ))
    }

    /// The score of each head, `[E, heads]`.
    fn score(&self, scores: &Dual, p: &Parameters) -> Result<Dual> {
        let dot = p.get(&self.dot)?;
        let activated = Normalized::SmoothLeaky.forward(scores)?;
        activated.linear(|x| {
            let x = x.reshape((x.dim(0)?, self.heads, self.scores))?;
            x.broadcast_mul(&dot)?.sum(2)
        })
    }

    /// The share of each channel's head, `[E, channels of the values]`.
    fn spread(&self, shares: &Dual) -> Result<Dual> {
        let heads = self.heads;
        let part = |block: &Block| {
            let own = block.channels / heads;
            shares.linear(|a| {
                let rows = a.dim(0)?;
                let spread = a.unsqueeze(2)?.broadcast_as((rows, heads, own))?;
                spread.contiguous()?.reshape((rows, heads * own))
            })
        };
        let parts = self.values.iter().map(part).collect::<Result<Vec<_>>>()?;
        Dual::cat(&parts.iter().collect::<Vec<_>>(), 1)
    }
}

/// Every channel of `blocks` times an invariant of its own.
fn channelwise(blocks: &Blocks) -> Arc<Plan> {
    let factors: Blocks = blocks
        .iter()
        .map(|b| Irrep::SCALAR.of(b.channels))
        .collect();
    let path = |(i, block): (usize, &Block)| Path {
        left: i,
        right: i,
        irrep: block.irrep,
    };
    let all: Vec<Path> = blocks.iter().enumerate().map(path).collect();
    Arc::new(Plan::new(blocks, &factors, &all, |_| ()))
}

impl Nonlinear {
    /// On the blocks of a first product.
    fn new(
        b: &mut Scope,
        config: &EquiformerConfig,
        first: &Plan,
        scores: usize,
        values: &Blocks,
    ) -> Self {
        let nodes = even(&config.width);
        let (scalars, gated) = (
            nodes.filter(|irrep| irrep.l == 0),
            nodes.filter(|irrep| irrep.l > 0),
        );
        let gates = Gate::input(&scalars, &gated, |irrep| irrep.l);
        let gate = Gate::new(&gates, &scalars, &gated, GATING);
        let before = BlockLinear::new(&mut b.scope("sep_act.lin"), LINEAR, first.out(), &gates);
        let scores = BlockLinear::grouped(
            &mut b.scope("sep_alpha"),
            LINEAR,
            [first.out(), &Blocks::scalars(scores)],
            &single(first.out()),
            1,
        );
        let plan = depthwise(config, gate.out(), values);
        let mut b = b.scope("sep_value");
        Self {
            scores,
            before,
            gate,
            weights: b.parameter("dtp.tp.weight", (1, plan.weights()), Init::Normal(1.0)),
            after: BlockLinear::new(&mut b.scope("lin"), LINEAR, plan.out(), values),
            plan,
        }
    }

    fn values(&self, message: &Dual, inputs: &Inputs, p: &Parameters) -> Result<Dual> {
        let edges = &inputs.geometry.edges;
        let gated = self
            .gate
            .forward(&self.before.forward(message, p)?, edges)?;
        // The weights stand at the receivers, which are fewer than the edges.
        let weights = p.get(&self.weights)?;
        let weights = weights.broadcast_as((edges.receiving(), self.plan.weights()))?;
        let factors = [
            At(Place::Edge, &gated),
            At(Place::Edge, &inputs.harmonics),
            At(Place::Receiver, &weights.into()),
        ];
        let message = weighted_product(&self.plan, edges, factors, Place::Edge)?;
        self.after.forward(&message, p)
    }
}
