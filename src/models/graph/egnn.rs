//! EGNN (Satorras, Hoogeboom and Welling, ICML 2021) with positions that stay: messages from the
//! features of two atoms and their distance. Sizes and initialisation as released with Geom3D.
//!
//! `N` atoms, `E` edges in `P` pairs, `F` hidden width.

use super::heads::{HeadConfig, Hidden, Of};
use super::{Batch, Encoder, EncoderConfig, Features, Variant, check_sizes};
use crate::Result;
use crate::models::layers::{Cutoff, CutoffShape, Geometry, Linear, Readout, check_cutoff, joined};
use crate::models::{Init, Parameter, Parameters, Scope};
use crate::ops::dual::{At, Dual};
use crate::ops::pointwise::{Sigmoid, Silu};
use crate::ops::segment::{Place, Row, edge, receiver};
use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Sizes of EGNN; the default is the released one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EgnnConfig {
    /// Channels of the features, `F`.
    pub width: usize,
    /// Interaction layers.
    pub layers: usize,
    /// What messages fade with; the published variant has none.
    pub envelope: CutoffShape,
    /// Longest edge in Å.
    pub cutoff: f64,
    /// Atomic numbers up to this one are known.
    pub elements: usize,
    /// The released code's energy is a network of the mean over the atoms, and jumps when an atom
    /// comes into reach; it has networks for moving positions that nothing depends on.
    pub variant: Variant,
}

impl Default for EgnnConfig {
    fn default() -> Self {
        Self {
            width: 128,
            layers: 7,
            envelope: CutoffShape::Cosine,
            cutoff: 5.0,
            elements: 119,
            variant: Variant::default(),
        }
    }
}

impl EncoderConfig for EgnnConfig {
    fn check(&self) -> Result<()> {
        check_sizes(&[
            ("width", self.width),
            ("layers", self.layers),
            ("elements", self.elements),
        ])?;
        check_cutoff(self.cutoff, self.envelope)
    }

    fn head(&self) -> HeadConfig {
        let (readout, of) = match self.variant {
            Variant::Mended => (Readout::Sum, Of::Atoms),
            Variant::Published => (Readout::Mean, Of::Graph),
        };
        let hidden = Hidden::Full;
        HeadConfig {
            readout,
            of,
            hidden,
            ..HeadConfig::default()
        }
    }

    fn build(&self, b: &mut Scope) -> Box<dyn Encoder> {
        Box::new(Egnn::new(b, self))
    }
}

/// The network.
pub struct Egnn {
    config: EgnnConfig,
    envelope: Arc<Cutoff>,
    silu: Arc<Silu>,
    sigmoid: Arc<Sigmoid>,
    /// Weight `[F, 3 elements]` and bias: see [`Egnn::embed`].
    embedding: [Parameter; 2],
    layers: Vec<Layer>,
    decoder: [Linear; 2],
}

/// One round of messages.
struct Layer {
    message: [Linear; 2],
    attention: Linear,
    update: [Linear; 2],
}

impl Layer {
    fn new(b: &mut Scope, f: usize, variant: Variant) -> Self {
        let pytorch =
            |b: &mut Scope, name: &str, from, to| Linear::pytorch(&mut b.scope(name), from, to);
        let message = [
            pytorch(b, "edge_mlp.0", 2 * f + 1, f),
            pytorch(b, "edge_mlp.2", f, f),
        ];
        let update = [
            pytorch(b, "node_mlp.0", 2 * f, f),
            pytorch(b, "node_mlp.2", f, f),
        ];
        if variant == Variant::Published {
            let mut b = b.scope("positions_mlp");
            let mut unused = |name: &str, shape: &[usize], init| {
                let parameter = b.parameter(name, shape, init);
                b.unused(&parameter);
            };
            unused("0.weight", &[f, f], Init::fan_in(f));
            unused("0.bias", &[f], Init::fan_in(f));
            unused(
                "2.weight",
                &[1, f],
                Init::Uniform(1e-3 * (6.0 / (f + 1) as f64).sqrt()),
            );
        }
        Self {
            message,
            attention: pytorch(b, "att_mlp.0", f, 1),
            update,
        }
    }
}

impl Egnn {
    fn new(b: &mut Scope, config: &EgnnConfig) -> Self {
        let (f, inputs) = (config.width, 3 * config.elements);
        let embedding = {
            let mut b = b.scope("embedding");
            let weight = b.parameter("weight", (f, inputs), Init::fan_in(inputs));
            [weight, b.parameter("bias", f, Init::fan_in(inputs))]
        };
        let layer = |i| Layer::new(&mut b.scope(format_args!("gcl_{i}")), f, config.variant);
        let layers = (0..config.layers).map(layer).collect();
        Self {
            config: config.clone(),
            envelope: Arc::new(Cutoff {
                shape: config.envelope,
                radius: config.cutoff,
            }),
            silu: Arc::new(Silu),
            sigmoid: Arc::new(Sigmoid),
            embedding,
            layers,
            decoder: ["node_dec.0", "node_dec.2"]
                .map(|name| Linear::pytorch(&mut b.scope(name), f, f)),
        }
    }

    /// The atoms' first features, `[N, F]`: a linear layer of the element as one of `n`, times
    /// `(1, c, c^2)` with `c = (Z - 1) / n`.
    fn embed(&self, batch: &Batch, p: &Parameters) -> candle_core::Result<Tensor> {
        let (f, n) = (self.config.width, self.config.elements);
        let [weight, bias] = [p.get(&self.embedding[0])?, p.get(&self.embedding[1])?];
        let charge = |z: usize| z as f64 / n as f64;
        let powers: Vec<f64> = (0..n)
            .flat_map(|z| [1.0, charge(z), charge(z).powi(2)])
            .collect();
        let powers =
            Tensor::from_vec(powers, (1, n, 3), weight.device())?.to_dtype(weight.dtype())?;
        let table = weight.reshape((f, n, 3))?.broadcast_mul(&powers)?.sum(2)?;
        let table = table.t()?.broadcast_add(&bias)?;
        table.contiguous()?.index_select(&batch.species, 0)
    }

    /// The features `h` `[N, F]` after a layer (equations 3, 5 and 6, with the attention of
    /// section 3.3); `squares` `[P, 1]`, `envelope` `[E]`.
    fn update(
        &self,
        layer: &Layer,
        h: &Dual,
        edges: &EdgeInputs,
        p: &Parameters,
    ) -> candle_core::Result<Dual> {
        let incidence = &edges.geometry.edges;
        let parts = [
            At(Place::Receiver, h),
            At(Place::Sender, h),
            At(Place::Pair, &edges.squares),
        ];
        let message = joined(&layer.message[0], incidence, parts, p)?.apply(&self.silu)?;
        let message = layer.message[1].dual(&message, p)?.apply(&self.silu)?;
        let attention = layer.attention.dual(&message, p)?.apply(&self.sigmoid)?;
        let attention = attention.linear(|a| a.squeeze(1))?;
        let weight = match &edges.envelope {
            Some(envelope) => attention.mul(envelope)?,
            None => attention,
        };
        let factors = [
            (edge(Row::Channels), &message),
            (edge(Row::Number), &weight),
        ];
        let sum = Dual::contract(incidence, factors, receiver(Row::Channels))?;
        let x = layer.update[0].dual(&Dual::cat(&[h, &sum], 1)?, p)?;
        h.add(&layer.update[1].dual(&x.apply(&self.silu)?, p)?)
    }
}

/// What every layer takes of the edges.
struct EdgeInputs<'a> {
    geometry: &'a Geometry,
    /// Squared distances, `[P, 1]`.
    squares: Dual,
    /// `[E]`.
    envelope: Option<Dual>,
}

impl Encoder for Egnn {
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
        let pairs = geometry.pairs()?;
        let vectors = (edge(Row::Vector), &pairs.vectors);
        let squares = Dual::contract(&pairs.edges, [vectors, vectors], edge(Row::Number))?;
        let edges = EdgeInputs {
            geometry,
            squares: squares.linear(|x| x.unsqueeze(1))?,
            envelope: match self.config.variant {
                Variant::Mended => Some(geometry.radial(&self.envelope)?),
                Variant::Published => None,
            },
        };
        let mut h = Dual::from(self.embed(batch, p)?);
        for layer in &self.layers {
            h = self.update(layer, &h, &edges, p)?;
        }
        let h = self.decoder[0].dual(&h, p)?.apply(&self.silu)?;
        Ok(Features {
            scalars: self.decoder[1].dual(&h, p)?,
            vectors: None,
        })
    }
}
