//! NequIP (Batzner et al., Nature Communications 2022): messages are tensor products of features
//! with the spherical harmonics of the edges, weighted by networks of the distance. Sizes, order of
//! weights and initialisation as released with Geom3D.
//!
//! `N` atoms, `P` pairs of edges, `F` channels of each irrep.

use super::heads::{HeadConfig, Of};
use super::{Batch, Encoder, EncoderConfig, Features, Variant, check_sizes};
use crate::Result;
use crate::models::layers::irreps::{
    BlockLinear, ByKind, Gate, Gating, Normalized, NormalizedMlp, Scale, Style, spherical_harmonics,
};
use crate::models::layers::{Cutoff, CutoffShape, Geometry, SineBasis, check_radial};
use crate::models::{Parameters, Scope};
use crate::ops::blockwise::single;
use crate::ops::dual::{At, Dual};
use crate::ops::segment::Place;
use crate::ops::tensor_product::{Plan, weighted_product};
use crate::so3::blocks::{Blocks, Irrep, paths};
use candle_core::{DType, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Sizes of NequIP; the default is the released one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NequipConfig {
    /// Channels of the features, `F`.
    pub width: usize,
    /// Interaction layers.
    pub layers: usize,
    /// The highest degree of features and harmonics.
    pub lmax: usize,
    /// Number of radial functions.
    pub radial: usize,
    /// Width of the radial networks.
    pub radial_width: usize,
    /// Hidden layers of the radial networks.
    pub radial_layers: usize,
    /// What messages fade with towards the cutoff.
    pub envelope: CutoffShape,
    /// Longest edge in Å.
    pub cutoff: f64,
    /// Atomic numbers up to this one are known.
    pub elements: usize,
    /// Mended: sums of messages are divided by the root of this number of neighbors, as in the
    /// paper; the released code gives it and does not use it.
    pub neighbors: f64,
    /// Which form of the network.
    pub variant: Variant,
}

impl Default for NequipConfig {
    fn default() -> Self {
        Self {
            width: 64,
            layers: 5,
            lmax: 1,
            radial: 8,
            radial_width: 64,
            radial_layers: 3,
            envelope: CutoffShape::Polynomial(6),
            cutoff: 5.0,
            elements: 10,
            neighbors: 8.0,
            variant: Variant::default(),
        }
    }
}

impl EncoderConfig for NequipConfig {
    fn check(&self) -> Result<()> {
        check_sizes(&[
            ("width / 2", self.width / 2),
            ("layers", self.layers),
            ("radial_width", self.radial_width),
            ("elements", self.elements),
        ])?;
        super::check_neighbors(self.neighbors)?;
        check_radial(self.radial, self.cutoff, self.envelope)
    }

    fn head(&self) -> HeadConfig {
        HeadConfig {
            of: Of::Network,
            ..HeadConfig::default()
        }
    }

    fn build(&self, b: &mut Scope) -> Box<dyn Encoder> {
        Box::new(Nequip::new(b, self))
    }
}

/// The network.
pub struct Nequip {
    config: NequipConfig,
    embedding: BlockLinear,
    radial: SineBasis,
    convolutions: Vec<Convolution>,
    out: [BlockLinear; 2],
}

/// A convolution and the activations after it.
struct Convolution {
    /// What atoms keep of themselves, with weights for each element.
    own: BlockLinear,
    before: BlockLinear,
    filter: NormalizedMlp,
    plan: Arc<Plan>,
    after: BlockLinear,
    gate: Gate,
}

const STYLE: Style = Style {
    weight: "weight",
    bias: None,
    scale: Scale::Layer,
};

const GATING: Gating = Gating {
    scalars: Normalized::Silu,
    pseudoscalars: Normalized::Tanh,
    gates: Normalized::Silu,
};

/// The order of blocks: by degree, odd ones first.
fn order(irrep: Irrep) -> impl Ord {
    (irrep.l, !irrep.odd)
}

impl Convolution {
    /// A convolution of features in blocks `from`.
    fn new(b: &mut Scope, config: &NequipConfig, from: &Blocks) -> Self {
        let harmonics = Blocks::harmonics(config.lmax, false);
        let hidden = [false, true].into_iter().flat_map(|odd| {
            let block = move |l| Irrep { l, odd }.of(config.width);
            (0..=config.lmax).map(block)
        });
        // A block that nothing reaches is left out.
        let reached = |irrep| !paths(from, &harmonics, |i| i == irrep).is_empty();
        let hidden = hidden.collect::<Blocks>().filter(reached);
        let (scalars, gated) = (
            hidden.filter(|irrep| irrep.l == 0),
            hidden.filter(|irrep| irrep.l > 0),
        );
        let to = Gate::input(&scalars, &gated, order);
        let products = paths(from, &harmonics, |irrep| to.contains(irrep));
        let plan = Plan::new(from, &harmonics, &products, order);
        let mut widths = vec![config.radial];
        widths.extend(vec![config.radial_width; config.radial_layers]);
        widths.push(plan.weights());
        let mut b = b.scope("conv");
        let elements = config.elements;
        Self {
            own: BlockLinear::grouped(
                &mut b.scope("sc"),
                STYLE,
                [from, &to],
                &single(from),
                elements,
            ),
            before: BlockLinear::new(&mut b.scope("linear_1"), STYLE, from, from),
            filter: NormalizedMlp::new(&mut b.scope("fc"), &widths, |q| format!("layer{q}.weight")),
            after: BlockLinear::new(&mut b.scope("linear_2"), STYLE, plan.out(), &to),
            plan: Arc::new(plan),
            gate: Gate::new(&to, &scalars, &gated, GATING),
        }
    }
}

/// What every layer takes of the batch.
struct Inputs<'a> {
    batch: &'a Batch,
    geometry: &'a Geometry,
    kinds: ByKind,
    harmonics: Dual,
    /// `[P, radial]`.
    radial: Dual,
    /// What sums over neighbors are multiplied with.
    share: f64,
}

impl Nequip {
    fn new(b: &mut Scope, config: &NequipConfig) -> Self {
        let (f, elements) = (config.width, config.elements);
        let mut features = Blocks::scalars(f);
        let one_hot = Blocks::scalars(elements);
        let envelope = Cutoff {
            shape: config.envelope,
            radius: config.cutoff,
        };
        let norm = 2.0 / config.cutoff.powi(2);
        let embedding = BlockLinear::new(
            &mut b.scope("chemical_embedding.linear"),
            STYLE,
            &one_hot,
            &features,
        );
        let radial = SineBasis::new(
            &mut b.scope("radial_basis.basis"),
            "bessel_weights",
            config.radial,
            envelope,
            norm,
        );
        let mut convolutions = Vec::new();
        for k in 0..config.layers {
            let mut b = b.scope(format_args!("layer{k}_convnet"));
            let layer = Convolution::new(&mut b, config, &features);
            features = layer.gate.out().clone();
            convolutions.push(layer);
        }
        let hidden = Blocks::scalars(f / 2);
        let mut out = |name, from: &Blocks, to: &Blocks| {
            BlockLinear::new(&mut b.scope(format_args!("{name}.linear")), STYLE, from, to)
        };
        let out = [
            out("conv_to_output_hidden", &features, &hidden),
            out("output_hidden_to_scalar", &hidden, &Blocks::scalars(1)),
        ];
        Self {
            config: config.clone(),
            embedding,
            radial,
            convolutions,
            out,
        }
    }

    /// The features after one convolution.
    fn convolve(
        &self,
        layer: &Convolution,
        x: &Dual,
        inputs: &Inputs,
        p: &Parameters,
    ) -> candle_core::Result<Dual> {
        let edges = &inputs.geometry.edges;
        let filter = layer.filter.forward(&inputs.radial, p)?;
        let messages = weighted_product(
            &layer.plan,
            edges,
            [
                At(Place::Sender, &layer.before.forward(x, p)?),
                At(Place::Edge, &inputs.harmonics),
                At(Place::Pair, &filter),
            ],
            Place::Receiver,
        )?;
        let messages = messages.linear(|m| m * inputs.share)?;
        let own = layer.own.by_kind(x, &inputs.kinds, p)?;
        let sum = layer.after.forward(&messages, p)?.add(&own)?;
        layer.gate.forward(&sum, &inputs.batch.graphs)
    }
}

/// `[N, elements]`: 1 at each atom's element.
pub(super) fn one_hot(batch: &Batch, elements: usize) -> candle_core::Result<Tensor> {
    let all = Tensor::eye(elements, DType::F32, batch.species.device())?;
    all.index_select(&batch.species, 0)?.to_dtype(batch.dtype)
}

impl Encoder for Nequip {
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
            kinds: ByKind::new(&batch.species.to_vec1()?)?,
            harmonics: spherical_harmonics(geometry, self.config.lmax)?,
            radial: self.radial.forward(&geometry.pairs()?, p)?,
            share: match self.config.variant {
                Variant::Published => 1.0,
                Variant::Mended => 1.0 / self.config.neighbors.sqrt(),
            },
        };
        let one_hot = one_hot(batch, self.config.elements)?;
        let mut x = self.embedding.forward(&one_hot.into(), p)?;
        for layer in &self.convolutions {
            x = self.convolve(layer, &x, &inputs, p)?;
        }
        let hidden = self.out[0].forward(&x, p)?;
        Ok(Features {
            scalars: self.out[1].forward(&hidden, p)?,
            vectors: None,
        })
    }
}
