//! Equiformer (Liao and Smidt, ICLR 2023): a transformer whose features are irreps, with attention
//! over the neighbors of an atom. Sizes, order of weights and initialisation as released with
//! Geom3D, where all irreps are even: the network tells mirror images apart.
//!
//! `N` atoms, `E` edges in `P` pairs, `K` radial functions. Channels are by degree, from 0 on.

mod attention;
mod radial;

pub use radial::RadialBasis;

use super::heads::{HeadConfig, Of};
use super::nequip::one_hot;
use super::{Batch, Encoder, EncoderConfig, Features, Variant, check_neighbors, check_sizes};
use crate::models::layers::irreps::{
    BlockLinear, BlockNorm, Gate, Gating, Normalized, Over, Scale, Style, spherical_harmonics,
};
use crate::models::layers::{Cutoff, CutoffShape, Geometry, check_radial};
use crate::models::{Parameters, Scope};
use crate::ops::dual::{At, Dual};
use crate::ops::segment::{Place, Row, edge, receiver};
use crate::ops::tensor_product::{Plan, weighted_product};
use crate::so3::blocks::{Blocks, Irrep};
use crate::{Error, Result};
use attention::{Attention, depthwise};
use candle_core::Tensor;
use radial::{Basis, RadialNetwork};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Sizes of Equiformer; the default is the first one released for QM9, without dropout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EquiformerConfig {
    /// Channels of the features.
    pub width: Vec<usize>,
    /// Interaction layers.
    pub layers: usize,
    /// Heads of attention.
    pub heads: usize,
    /// Channels of a head.
    pub head_width: Vec<usize>,
    /// Hidden channels of the networks after attention.
    pub hidden: Vec<usize>,
    /// Invariants after the last layer.
    pub features: usize,
    /// Number of radial functions, `K`.
    pub radial: usize,
    /// Which radial functions.
    pub basis: RadialBasis,
    /// Hidden widths of the radial networks.
    pub radial_widths: Vec<usize>,
    /// Whether values are gated and go through a second product.
    pub nonlinear: bool,
    /// Longest edge in Å.
    pub cutoff: f64,
    /// Atomic numbers up to this one are known.
    pub elements: usize,
    /// Sums over neighbors are divided by the root of this number.
    pub neighbors: f64,
    /// The energies of atoms are divided by the root of this number.
    pub atoms: f64,
    /// Mended: messages go to zero at the cutoff. In the released code they do not, and energies
    /// jump there.
    pub variant: Variant,
}

impl Default for EquiformerConfig {
    fn default() -> Self {
        Self {
            width: vec![128, 64, 32],
            layers: 6,
            heads: 4,
            head_width: vec![32, 16, 8],
            hidden: vec![384, 192, 96],
            features: 512,
            radial: 128,
            basis: RadialBasis::default(),
            radial_widths: vec![64, 64],
            nonlinear: false,
            cutoff: 5.0,
            elements: 119,
            neighbors: 15.57930850982666,
            atoms: 18.03065905448718,
            variant: Variant::default(),
        }
    }
}

impl EquiformerConfig {
    /// The highest degree.
    fn lmax(&self) -> usize {
        self.width.len() - 1
    }

    /// Widths of the radial networks before the last layer.
    fn radial_widths(&self) -> Vec<usize> {
        [&[self.radial], &*self.radial_widths].concat()
    }
}

impl EncoderConfig for EquiformerConfig {
    fn check(&self) -> Result<()> {
        for (name, channels) in [
            ("width", &self.width),
            ("head_width", &self.head_width),
            ("hidden", &self.hidden),
            ("radial_widths", &self.radial_widths),
        ] {
            if channels.is_empty() || channels.contains(&0) {
                let message = format!("{name} = {channels:?}: must be numbers of at least 1");
                return Err(Error::input(message));
            }
        }
        for (name, channels) in [("head_width", &self.head_width), ("hidden", &self.hidden)] {
            if channels.len() != self.width.len() {
                let message = format!(
                    "{name} = {channels:?}: must have as many degrees as width = {:?}",
                    self.width
                );
                return Err(Error::input(message));
            }
        }
        check_sizes(&[
            ("layers", self.layers),
            ("heads", self.heads),
            ("features", self.features),
            ("elements", self.elements),
        ])?;
        check_neighbors(self.neighbors)?;
        check_neighbors(self.atoms)?;
        check_radial(self.radial, self.cutoff, CutoffShape::Polynomial(5))
    }

    fn head(&self) -> HeadConfig {
        HeadConfig {
            of: Of::Network,
            ..HeadConfig::default()
        }
    }

    fn build(&self, b: &mut Scope) -> Box<dyn Encoder> {
        Box::new(Equiformer::new(b, self))
    }
}

const LINEAR: Style = Style {
    weight: "tp.weight",
    bias: Some("bias"),
    scale: Scale::Normal,
};

const NO_BIAS: Style = Style {
    bias: None,
    ..LINEAR
};

const EMBEDDING: Style = Style {
    scale: Scale::Unit,
    ..LINEAR
};

const GATING: Gating = Gating {
    scalars: Normalized::Silu,
    pseudoscalars: Normalized::Silu,
    gates: Normalized::Sigmoid,
};

/// Even blocks with these channels by degree.
fn even(channels: &[usize]) -> Blocks {
    let block = |(l, &n): (usize, &usize)| Irrep::even(l).of(n);
    channels.iter().enumerate().map(block).collect()
}

/// What every layer takes of the batch.
struct Inputs<'a> {
    batch: &'a Batch,
    geometry: &'a Geometry,
    harmonics: Dual,
    /// `[P, K]`.
    radial: Dual,
    /// Factors that make messages go to zero at the cutoff, `[E]`.
    envelope: Option<Dual>,
}

/// The network.
pub struct Equiformer {
    config: EquiformerConfig,
    atoms: BlockLinear,
    radial: Basis,
    envelope: Arc<Cutoff>,
    degree: Degree,
    blocks: Vec<Block>,
    norm: BlockNorm,
    head: [BlockLinear; 2],
}

/// An embedding of an atom's surroundings.
struct Degree {
    constant: BlockLinear,
    plan: Arc<Plan>,
    weights: RadialNetwork,
    out: BlockLinear,
    norm: f64,
}

/// Attention, and a network of each atom's features.
struct Block {
    norms: [BlockNorm; 2],
    attention: Attention,
    hidden: BlockLinear,
    gate: Gate,
    out: BlockLinear,
    /// In the last block, which has other features: what goes past the network.
    shortcut: Option<BlockLinear>,
}

impl Degree {
    fn new(b: &mut Scope, config: &EquiformerConfig) -> Self {
        let nodes = even(&config.width);
        let mut b = b.scope("edge_deg_embed");
        let plan = depthwise(config, &nodes, &nodes);
        Self {
            constant: BlockLinear::new(&mut b.scope("exp"), LINEAR, &Blocks::scalars(1), &nodes),
            weights: RadialNetwork::new(
                &mut b.scope("rad"),
                &config.radial_widths(),
                plan.weights(),
            ),
            out: BlockLinear::new(&mut b.scope("proj"), LINEAR, plan.out(), &nodes),
            plan,
            norm: 1.0 / config.neighbors.sqrt(),
        }
    }

    fn forward(&self, inputs: &Inputs, p: &Parameters) -> candle_core::Result<Dual> {
        let (batch, edges) = (inputs.batch, &inputs.geometry.edges);
        let ones = Tensor::ones((batch.atoms(), 1), batch.dtype, batch.species.device())?;
        let constant = self.constant.forward(&ones.into(), p)?;
        let ones = Tensor::ones(edges.len(), batch.dtype, batch.species.device())?;
        let shares = inputs.envelope.clone().unwrap_or(ones.into());
        let weights = self.weights.forward(&inputs.radial, p)?;
        let factors = [
            (edge(Row::Channels), &inputs.harmonics),
            (edge(Row::Number), &shares),
        ];
        let harmonics = Dual::contract(edges, factors, edge(Row::Channels))?;
        let factors = [
            At(Place::Sender, &constant),
            At(Place::Edge, &harmonics),
            At(Place::Pair, &weights),
        ];
        let sum = weighted_product(&self.plan, edges, factors, Place::Receiver)?;
        let factors = [(edge(Row::Number), &shares)];
        let count = Dual::contract(edges, factors, receiver(Row::Number))?;
        self.out.of_sums(&sum, &count, p)?.linear(|x| x * self.norm)
    }
}

impl Block {
    /// A block with features `to` after it.
    fn new(b: &mut Scope, config: &EquiformerConfig, to: &Blocks) -> Self {
        let (nodes, hidden) = (even(&config.width), even(&config.hidden));
        let (scalars, gated) = (
            hidden.filter(|irrep| irrep.l == 0),
            hidden.filter(|irrep| irrep.l > 0),
        );
        let gates = Gate::input(&scalars, &gated, |irrep| irrep.l);
        let norms = ["norm_1", "norm_2"].map(|name| norm(&mut b.scope(name), &nodes));
        let attention = Attention::new(&mut b.scope("ga"), config);
        let other = *to != nodes;
        Self {
            norms,
            attention,
            hidden: BlockLinear::new(&mut b.scope("ffn.fctp_1"), LINEAR, &nodes, &gates),
            gate: Gate::new(&gates, &scalars, &gated, GATING),
            out: BlockLinear::new(&mut b.scope("ffn.fctp_2"), LINEAR, &hidden, to),
            shortcut: other
                .then(|| BlockLinear::new(&mut b.scope("ffn_shortcut"), LINEAR, &nodes, to)),
        }
    }

    fn forward(&self, x: &Dual, inputs: &Inputs, p: &Parameters) -> candle_core::Result<Dual> {
        let atoms = &inputs.batch.graphs;
        let normed = self.norms[0].forward(x, atoms, p)?;
        let x = x.add(&self.attention.forward(&normed, inputs, p)?)?;
        let normed = self.norms[1].forward(&x, atoms, p)?;
        let gated = self
            .gate
            .forward(&self.hidden.forward(&normed, p)?, atoms)?;
        let new = self.out.forward(&gated, p)?;
        match &self.shortcut {
            Some(shortcut) => shortcut.forward(&x, p)?.add(&new),
            None => x.add(&new),
        }
    }
}

fn norm(b: &mut Scope, blocks: &Blocks) -> BlockNorm {
    BlockNorm::new(b, ["affine_weight", "affine_bias"], Over::Channels, blocks)
}

impl Equiformer {
    fn new(b: &mut Scope, config: &EquiformerConfig) -> Self {
        let nodes = even(&config.width);
        let features = Blocks::scalars(config.features);
        let atoms = BlockLinear::new(
            &mut b.scope("atom_embed.atom_type_lin"),
            EMBEDDING,
            &Blocks::scalars(config.elements),
            &nodes,
        );
        let radial = Basis::new(b, config.basis, config.cutoff, config.radial);
        let degree = Degree::new(b, config);
        let block = |k| {
            let to = if k + 1 == config.layers {
                &features
            } else {
                &nodes
            };
            Block::new(&mut b.scope(format_args!("blocks.{k}")), config, to)
        };
        let blocks = (0..config.layers).map(block).collect();
        let one = Blocks::scalars(1);
        Self {
            config: config.clone(),
            atoms,
            radial,
            envelope: Arc::new(Cutoff {
                shape: CutoffShape::Polynomial(5),
                radius: config.cutoff,
            }),
            degree,
            blocks,
            norm: norm(&mut b.scope("norm"), &features),
            head: [(0, &features), (2, &one)].map(|(i, to)| {
                BlockLinear::new(
                    &mut b.scope(format_args!("head.{i}")),
                    LINEAR,
                    &features,
                    to,
                )
            }),
        }
    }
}

impl Encoder for Equiformer {
    fn cutoff(&self) -> f64 {
        self.config.cutoff
    }

    fn elements(&self) -> usize {
        self.config.elements
    }

    fn width(&self) -> usize {
        1
    }

    fn encode(&self, batch: &Batch, geometry: &Geometry, p: &Parameters) -> Result<Features> {
        let inputs = Inputs {
            batch,
            geometry,
            harmonics: spherical_harmonics(geometry, self.config.lmax())?,
            radial: self.radial.forward(&geometry.pairs()?, p)?,
            envelope: match self.config.variant {
                Variant::Published => None,
                Variant::Mended => Some(geometry.radial(&self.envelope)?),
            },
        };
        let one_hot = one_hot(batch, self.config.elements)?;
        let mut x = self.atoms.forward(&one_hot.into(), p)?;
        x = x.add(&self.degree.forward(&inputs, p)?)?;
        for block in &self.blocks {
            x = block.forward(&x, &inputs, p)?;
        }
        let x = self.norm.forward(&x, &batch.graphs, p)?;
        let hidden = Normalized::Silu.forward(&self.head[0].forward(&x, p)?)?;
        let energies = self.head[1].forward(&hidden, p)?;
        let norm = 1.0 / self.config.atoms.sqrt();
        Ok(Features {
            scalars: energies.linear(|e| e * norm)?,
            vectors: None,
        })
    }
}
