//! SEGNN (Brandstetter et al., ICLR 2022): messages and updates are networks whose layers are
//! tensor products with attributes of edges and atoms. Sizes, order of weights and initialisation
//! as released with Geom3D.
//!
//! `N` atoms, `E` edges, `W` width of the invariants at the end.

use super::heads::{HeadConfig, Hidden, Of};
use super::nequip::one_hot;
use super::{Batch, Encoder, EncoderConfig, Features, Variant, check_sizes};
use crate::Result;
use crate::models::layers::irreps::{
    BlockLinear, BlockNorm, FullProduct, Gate, Gating, Normalized, Over, Scale, Style,
    spherical_harmonics,
};
use crate::models::layers::{Cutoff, CutoffShape, Geometry, Readout, check_radial};
use crate::models::{Parameters, Scope};
use crate::ops::dual::{At, Dual};
use crate::ops::pointwise::{Sigmoid, Silu};
use crate::ops::segment::{Incidence, Place, Row, edge, receiver, sender};
use crate::so3::blocks::{Blocks, Irrep, paths};
use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Sizes of SEGNN; the default is the one released for MD17.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SegnnConfig {
    /// `W`; the features have as many channels as give a product of them `W^2` weights.
    pub width: usize,
    /// Interaction layers.
    pub layers: usize,
    /// The highest degree of features.
    pub lmax: usize,
    /// The highest degree of attributes.
    pub lmax_attributes: usize,
    /// Whether messages are multiplied with a sigmoid of their own.
    pub attention: bool,
    /// Longest edge in Å.
    pub cutoff: f64,
    /// Atomic numbers up to this one are known.
    pub elements: usize,
    /// Mended: messages go to zero at the cutoff, where energies jump in the released code; norms
    /// are those of each atom, where they are of the whole graph in the released code; and the
    /// energy is a sum over atoms.
    pub variant: Variant,
}

impl Default for SegnnConfig {
    fn default() -> Self {
        Self {
            width: 128,
            layers: 7,
            lmax: 2,
            lmax_attributes: 3,
            attention: false,
            cutoff: 2.0,
            elements: 119,
            variant: Variant::default(),
        }
    }
}

impl SegnnConfig {
    /// The harmonics of directions.
    fn attributes(&self) -> Blocks {
        Blocks::harmonics(self.lmax_attributes, false)
    }

    /// The features: the fewest channels that give a product with the attributes `W^2` weights.
    fn features(&self) -> Blocks {
        let of =
            |n: usize| -> Blocks { (0..=self.lmax).map(|l| Irrep::natural(l).of(n)).collect() };
        // Every path has the square of the number of channels.
        let one = of(1);
        let count = paths(&one, &self.attributes(), |irrep| one.contains(irrep)).len();
        let enough = |n: &usize| count * n * n >= self.width * self.width;
        of((1..=self.width).find(enough).unwrap_or(self.width))
    }
}

impl EncoderConfig for SegnnConfig {
    fn check(&self) -> Result<()> {
        check_sizes(&[
            ("width", self.width),
            ("layers", self.layers),
            ("lmax_attributes", self.lmax_attributes),
            ("elements", self.elements),
        ])?;
        check_radial(2, self.cutoff, CutoffShape::Polynomial(6))
    }

    fn head(&self) -> HeadConfig {
        HeadConfig {
            readout: match self.variant {
                Variant::Published => Readout::Mean,
                Variant::Mended => Readout::Sum,
            },
            of: match self.variant {
                Variant::Published => Of::Graph,
                Variant::Mended => Of::Atoms,
            },
            hidden: Hidden::Full,
            ..HeadConfig::default()
        }
    }

    fn build(&self, b: &mut Scope) -> Box<dyn Encoder> {
        Box::new(Segnn::new(b, self))
    }
}

const STYLE: Style = Style {
    weight: "tp.weight",
    bias: Some("biases"),
    scale: Scale::Uniform,
};

const GATING: Gating = Gating {
    scalars: Normalized::Silu,
    pseudoscalars: Normalized::Tanh,
    gates: Normalized::Sigmoid,
};

/// A product with attributes and a gate.
struct Gated {
    product: FullProduct,
    gate: Gate,
}

impl Gated {
    /// From blocks to `to`.
    fn new(b: &mut Scope, [from, attributes]: [&Blocks; 2], to: &Blocks) -> Self {
        let (scalars, gated) = (
            to.filter(|irrep| irrep.l == 0),
            to.filter(|irrep| irrep.l > 0),
        );
        let gates = Gate::input(&scalars, &gated, |irrep| irrep.l);
        Self {
            product: FullProduct::new(b, STYLE, [from, attributes], &gates),
            gate: Gate::new(&gates, &scalars, &gated, GATING),
        }
    }

    /// At the edges of `rows`.
    fn forward(
        &self,
        rows: &Arc<Incidence>,
        x: &Dual,
        attributes: &Dual,
        p: &Parameters,
    ) -> candle_core::Result<Dual> {
        self.gate
            .forward(&along(&self.product, rows, x, attributes, p)?, rows)
    }
}

/// A product of rows at the edges of `rows`.
fn along(
    product: &FullProduct,
    rows: &Arc<Incidence>,
    x: &Dual,
    attributes: &Dual,
    p: &Parameters,
) -> candle_core::Result<Dual> {
    let [x, attributes] = [x, attributes].map(|dual| At(Place::Edge, dual));
    product.forward(rows, x, attributes, p)
}

/// Messages, an update and a norm.
struct Layer {
    messages: [Gated; 2],
    attention: Option<FullProduct>,
    update: Gated,
    change: FullProduct,
    norm: BlockNorm,
}

/// What every layer takes of the batch.
struct Inputs<'a> {
    batch: &'a Batch,
    edges: &'a Arc<Incidence>,
    /// Harmonics of the edges, and their means at the atoms.
    of_edges: Dual,
    of_atoms: Dual,
    /// Squared distances, `[E, 1]`.
    squares: Dual,
    /// Factors that make messages go to zero at the cutoff, `[E]`.
    envelope: Option<Dual>,
}

impl Layer {
    fn new(b: &mut Scope, config: &SegnnConfig) -> Self {
        let (x, attributes) = (config.features(), config.attributes());
        let both = x.and(&x);
        let pair = both.and(&Blocks::scalars(1));
        let over = match config.variant {
            Variant::Published => Over::Graphs,
            Variant::Mended => Over::Channels,
        };
        Self {
            messages: [(1, &pair), (2, &x)].map(|(i, from)| {
                let mut b = b.scope(format_args!("message_layer_{i}"));
                Gated::new(&mut b, [from, &attributes], &x)
            }),
            attention: config.attention.then(|| {
                let mut b = b.scope("inference_layer");
                FullProduct::new(&mut b, STYLE, [&x, &attributes], &Blocks::scalars(1))
            }),
            update: Gated::new(&mut b.scope("update_layer_1"), [&both, &attributes], &x),
            change: FullProduct::new(&mut b.scope("update_layer_2"), STYLE, [&x, &attributes], &x),
            norm: BlockNorm::new(&mut b.scope("feature_norm"), ["weight", "bias"], over, &x),
        }
    }

    fn forward(&self, x: &Dual, inputs: &Inputs, p: &Parameters) -> candle_core::Result<Dual> {
        let (edges, atoms) = (inputs.edges, &inputs.batch.graphs);
        let at = |kind| Dual::contract(edges, [(kind, x)], edge(Row::Channels));
        let (to, from) = (at(receiver(Row::Channels))?, at(sender(Row::Channels))?);
        let mut m = Dual::cat(&[&to, &from, &inputs.squares], 1)?;
        for layer in &self.messages {
            m = layer.forward(edges, &m, &inputs.of_edges, p)?;
        }
        let mut factors = inputs.envelope.clone();
        if let Some(attention) = &self.attention {
            let score = along(attention, edges, &m, &inputs.of_edges, p)?;
            let share = score.linear(|s| s.squeeze(1))?.apply(&Arc::new(Sigmoid))?;
            factors = Some(match factors {
                Some(factors) => factors.mul(&share)?,
                None => share,
            });
        }
        let message = (edge(Row::Channels), &m);
        let sum = match &factors {
            Some(factors) => {
                let factors = [message, (edge(Row::Number), factors)];
                Dual::contract(edges, factors, receiver(Row::Channels))?
            }
            None => Dual::contract(edges, [message], receiver(Row::Channels))?,
        };
        let both = Dual::cat(&[x, &sum], 1)?;
        let update = self.update.forward(atoms, &both, &inputs.of_atoms, p)?;
        let change = along(&self.change, atoms, &update, &inputs.of_atoms, p)?;
        self.norm.forward(&x.add(&change)?, atoms, p)
    }
}

/// The network.
pub struct Segnn {
    config: SegnnConfig,
    envelope: Arc<Cutoff>,
    embedding: Gated,
    first: FullProduct,
    layers: Vec<Layer>,
    invariants: FullProduct,
    out: BlockLinear,
}

impl Segnn {
    fn new(b: &mut Scope, config: &SegnnConfig) -> Self {
        let (x, attributes) = (config.features(), config.attributes());
        let one_hot = Blocks::scalars(config.elements);
        let out = Blocks::scalars(config.width);
        let full = |b: &mut Scope, name, from: &Blocks, to: &Blocks| {
            FullProduct::new(&mut b.scope(name), STYLE, [from, &attributes], to)
        };
        let embedding = Gated::new(
            &mut b.scope("embedding_layer_1"),
            [&one_hot, &attributes],
            &x,
        );
        let first = full(b, "embedding_layer_2", &x, &x);
        let layer = |k| Layer::new(&mut b.scope(format_args!("layers.{k}")), config);
        Self {
            config: config.clone(),
            envelope: Arc::new(Cutoff {
                shape: CutoffShape::Polynomial(6),
                radius: config.cutoff,
            }),
            embedding,
            first,
            layers: (0..config.layers).map(layer).collect(),
            invariants: full(b, "head_pre_pool_layer_1", &x, &out),
            out: BlockLinear::new(&mut b.scope("head_pre_pool_layer_2"), STYLE, &out, &out),
        }
    }

    /// The mean of the attributes of each atom's edges, with 1 for that of degree 0.
    ///
    /// With factors `u` of the edges it is `sum u Y / (1 + sum u)`: a mean would jump for the first
    /// neighbor.
    fn attributes(
        &self,
        batch: &Batch,
        edges: &Arc<Incidence>,
        harmonics: &Dual,
        envelope: Option<&Dual>,
    ) -> candle_core::Result<Dual> {
        let ones = |rows| Tensor::ones(rows, batch.dtype, batch.species.device());
        let (sum, count) = match envelope {
            None => {
                let own = [(edge(Row::Channels), harmonics)];
                let counts: Vec<f64> = (0..edges.receiving())
                    .map(|row| edges.of_receiver(row).len().max(1) as f64)
                    .collect();
                let counts = Tensor::from_vec(counts, edges.receiving(), batch.species.device())?;
                (
                    Dual::contract(edges, own, receiver(Row::Channels))?,
                    Dual::from(counts.to_dtype(batch.dtype)?),
                )
            }
            Some(envelope) => {
                let shared = [
                    (edge(Row::Channels), harmonics),
                    (edge(Row::Number), envelope),
                ];
                let count = [(edge(Row::Number), envelope)];
                let count = Dual::contract(edges, count, receiver(Row::Number))?;
                (
                    Dual::contract(edges, shared, receiver(Row::Channels))?,
                    count.map(|n| n + 1.0, |_, t| Ok(t.clone()))?,
                )
            }
        };
        let factors = [
            (edge(Row::Channels), &sum),
            (edge(Row::Number), &count.recip()?),
        ];
        let mean = Dual::contract(&batch.graphs, factors, edge(Row::Channels))?;
        let rest = mean.linear(|x| x.narrow(1, 1, x.dim(1)? - 1))?;
        Dual::cat(&[&ones((batch.atoms(), 1))?.into(), &rest], 1)
    }
}

impl Encoder for Segnn {
    fn cutoff(&self) -> f64 {
        self.config.cutoff
    }

    fn elements(&self) -> usize {
        self.config.elements
    }

    fn width(&self) -> usize {
        self.config.width
    }

    fn encode(&self, batch: &Batch, geometry: &Geometry, p: &Parameters) -> Result<Features> {
        let edges = &geometry.edges;
        let of_edges = spherical_harmonics(geometry, self.config.lmax_attributes)?;
        let envelope = match self.config.variant {
            Variant::Published => None,
            Variant::Mended => Some(geometry.radial(&self.envelope)?),
        };
        let squares = geometry.distances.mul(&geometry.distances)?;
        let inputs = Inputs {
            batch,
            edges,
            of_atoms: self.attributes(batch, edges, &of_edges, envelope.as_ref())?,
            of_edges,
            squares: squares.linear(|s| s.unsqueeze(1))?,
            envelope,
        };
        let atoms = &batch.graphs;
        let one_hot = one_hot(batch, self.config.elements)?.into();
        let x = self
            .embedding
            .forward(atoms, &one_hot, &inputs.of_atoms, p)?;
        let mut x = along(&self.first, atoms, &x, &inputs.of_atoms, p)?;
        for layer in &self.layers {
            x = layer.forward(&x, &inputs, p)?;
        }
        let x = along(&self.invariants, atoms, &x, &inputs.of_atoms, p)?;
        let x = x.apply(&Arc::new(Silu))?;
        Ok(Features {
            scalars: self.out.forward(&x, p)?,
            vectors: None,
        })
    }
}
