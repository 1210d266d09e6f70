//! GemNet-T (Gasteiger, Becker and Günnemann, NeurIPS 2021): messages along edges that see distances
//! and angles through a bilinear layer. Sizes, order of layers and initialisation as released with
//! Geom3D.
//!
//! `N` atoms, `E` edges in `P` pairs, `T` fans of two edges, `F` width of atoms, `M` width of messages, `L`
//! degrees, `K` radial functions.

mod bases;

use super::heads::{HeadConfig, Of};
use super::{Batch, Encoder, EncoderConfig, Features, check_degrees, check_sizes};
use crate::Result;
use crate::models::layers::{CutoffShape, Embedding, Geometry, Linear, check_cutoff, joined};
use crate::models::{Init, Parameter, Parameters, Scope};
use crate::ops::bilinear::bilinear;
use crate::ops::dual::{At, Dual};
use crate::ops::pointwise::ScaledSilu;
use crate::ops::segment::{Place, Row, edge, pair, receiver, sender};
use bases::{Bases, Inputs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Sizes of GemNet-T; the default is the released one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GemNetConfig {
    /// Channels of the features, `F`.
    pub width: usize,
    /// Channels of the messages, `M`.
    pub messages: usize,
    /// Interaction blocks.
    pub layers: usize,
    /// Width of messages inside a triplet.
    pub inner: usize,
    /// Width of the radial basis after its layer.
    pub radial_basis: usize,
    /// Width of the circular basis after its layer.
    pub circular_basis: usize,
    /// Width of the bilinear layer's result.
    pub bilinear: usize,
    /// Degrees of the angular basis, `L`.
    pub degrees: usize,
    /// Number of radial functions, `K`.
    pub radial: usize,
    /// Residual layers between messages and an atom's features.
    pub residuals: usize,
    /// Longest edge in Å.
    pub cutoff: f64,
    /// Atomic numbers up to this one are known.
    pub elements: usize,
}

impl Default for GemNetConfig {
    fn default() -> Self {
        Self {
            width: 128,
            messages: 128,
            layers: 4,
            inner: 64,
            radial_basis: 16,
            circular_basis: 16,
            bilinear: 64,
            degrees: 7,
            radial: 6,
            residuals: 2,
            cutoff: 5.0,
            elements: 119,
        }
    }
}

impl EncoderConfig for GemNetConfig {
    fn check(&self) -> Result<()> {
        check_sizes(&[
            ("width", self.width),
            ("messages", self.messages),
            ("inner", self.inner),
            ("radial_basis", self.radial_basis),
            ("circular_basis", self.circular_basis),
            ("bilinear", self.bilinear),
            ("radial", self.radial),
            ("elements", self.elements),
        ])?;
        check_degrees(self.degrees)?;
        check_cutoff(self.cutoff, CutoffShape::default())
    }

    fn head(&self) -> HeadConfig {
        HeadConfig {
            of: Of::Network,
            ..HeadConfig::default()
        }
    }

    fn build(&self, b: &mut Scope) -> Box<dyn Encoder> {
        Box::new(GemNet::new(b, self))
    }
}

/// The network.
pub struct GemNet {
    config: GemNetConfig,
    bases: Bases,
    embedding: Embedding,
    first: Linear,
    blocks: Vec<Block>,
    outputs: Vec<(AtomUpdate, Linear)>,
}

/// An orthogonal weight without a bias.
fn layer(b: &mut Scope, name: &str, from: usize, to: usize) -> Linear {
    Linear::without_bias(&mut b.scope(name), from, to, Init::he_orthogonal(from, to))
}

/// A constant factor, which published files hold as a parameter without a gradient.
struct Scale(Parameter);

impl Scale {
    fn new(b: &mut Scope, name: &str) -> Self {
        let parameter = b
            .scope(name)
            .parameter("scale_factor", (), Init::Constant(1.0));
        b.unused(&parameter);
        Self(parameter)
    }

    fn apply(&self, x: &Dual, p: &Parameters) -> candle_core::Result<Dual> {
        let factor = p.get(&self.0)?.detach();
        x.linear(|x| x.broadcast_mul(&factor))
    }
}

/// A linear layer and its activation.
fn active(layer: &Linear, x: &Dual, p: &Parameters) -> candle_core::Result<Dual> {
    layer.dual(x, p)?.apply(&Arc::new(ScaledSilu))
}

/// `(a + b) / sqrt 2`, which keeps the variance.
fn mean(a: &Dual, b: &Dual) -> candle_core::Result<Dual> {
    a.add(b)?.linear(|x| x / 2f64.sqrt())
}

/// `(x + act(W2 act(W1 x))) / sqrt 2`.
struct Residual([Linear; 2]);

impl Residual {
    fn new(b: &mut Scope, name: &str, width: usize) -> Self {
        let b = &mut b.scope(name);
        Self(["dense_mlp.0", "dense_mlp.1"].map(|name| layer(b, name, width, width)))
    }

    fn forward(&self, x: &Dual, p: &Parameters) -> candle_core::Result<Dual> {
        mean(x, &active(&self.0[1], &active(&self.0[0], x, p)?, p)?)
    }
}

/// From the messages that an atom receives to features of it.
struct AtomUpdate {
    filter: Linear,
    scale: Scale,
    first: Linear,
    residuals: Vec<Residual>,
}

impl AtomUpdate {
    fn new(b: &mut Scope, config: &GemNetConfig) -> Self {
        let (f, m) = (config.width, config.messages);
        Self {
            filter: layer(b, "dense_rbf", config.radial_basis, m),
            scale: Scale::new(b, "scale_sum"),
            first: layer(b, "layers.0", m, f),
            residuals: (1..=config.residuals)
                .map(|i| Residual::new(b, &format!("layers.{i}"), f))
                .collect(),
        }
    }

    /// `[N, F]` from messages `[E, M]` and radial functions `[P, R]`.
    fn forward(
        &self,
        geometry: &Geometry,
        messages: &Dual,
        radial: &Dual,
        p: &Parameters,
    ) -> candle_core::Result<Dual> {
        let factors = [
            (edge(Row::Channels), messages),
            (pair(Row::Channels), &self.filter.dual(radial, p)?),
        ];
        let sum = Dual::contract(&geometry.edges, factors, receiver(Row::Channels))?;
        let x = active(&self.first, &self.scale.apply(&sum, p)?, p)?;
        self.residuals
            .iter()
            .try_fold(x, |x, layer| layer.forward(&x, p))
    }
}

/// What a message takes from the other messages to its receiver.
struct Triplets {
    from: Linear,
    radial: Linear,
    radial_scale: Scale,
    /// `[inner, C, bilinear]`.
    bilinear: Parameter,
    sum_scale: Scale,
    down: Linear,
    /// To the message and to the one back.
    up: [Linear; 2],
}

impl Triplets {
    fn new(b: &mut Scope, config: &GemNetConfig) -> Self {
        let (m, inner, out) = (config.messages, config.inner, config.bilinear);
        let circular = config.circular_basis;
        let init = Init::he_orthogonal(inner * circular, out);
        Self {
            from: layer(b, "dense_ba", m, m),
            radial: layer(b, "mlp_rbf", config.radial_basis, m),
            radial_scale: Scale::new(b, "scale_rbf"),
            bilinear: b
                .scope("mlp_cbf")
                .parameter("weight", (inner, circular, out), init),
            sum_scale: Scale::new(b, "scale_cbf_sum"),
            down: layer(b, "down_projection", m, inner),
            up: ["up_projection_ca", "up_projection_ac"].map(|name| layer(b, name, out, m)),
        }
    }

    /// `[E, M]` from messages `[E, M]`.
    fn forward(
        &self,
        messages: &Dual,
        geometry: &Geometry,
        inputs: &Inputs,
        p: &Parameters,
    ) -> candle_core::Result<Dual> {
        let filter = self.radial_scale.apply(&inputs.on_radial[0], p)?;
        let filter = self.radial.dual(&filter, p)?;
        let factors = [
            (edge(Row::Channels), &active(&self.from, messages, p)?),
            (pair(Row::Channels), &filter),
        ];
        let y = Dual::contract(&geometry.edges, factors, edge(Row::Channels))?;
        let y = active(&self.down, &y, p)?;
        // The sum over fans comes before all layers of their angles, degree by degree.
        let factors = [
            (edge(Row::Vector), &inputs.zonal),
            (sender(Row::Channels), &y),
        ];
        let sums = Dual::contract(&inputs.fans, factors, receiver(Row::Vectors))?;
        let weight = p.get(&self.bilinear)?.permute((2, 1, 0))?;
        let weight = weight.reshape((weight.dim(0)?, ()))?;
        let y = bilinear(&inputs.circular, &sums, &weight)?;
        let y = self.sum_scale.apply(&y, p)?;
        let back = active(&self.up[1], &y, p)?;
        let factors = [(sender(Row::Channels), &back)];
        let back = Dual::contract(&inputs.reversed, factors, edge(Row::Channels))?;
        mean(&active(&self.up[0], &y, p)?, &back)
    }
}

/// An interaction block.
struct Block {
    skip: Linear,
    triplets: Triplets,
    before: Residual,
    after: Residual,
    atoms: AtomUpdate,
    joined: Linear,
    last: Residual,
}

/// Features of atoms `[N, F]` and messages `[E, M]`.
struct State {
    atoms: Dual,
    messages: Dual,
}

impl Block {
    fn new(b: &mut Scope, config: &GemNetConfig) -> Self {
        let (f, m) = (config.width, config.messages);
        Self {
            skip: layer(b, "dense_ca", m, m),
            triplets: Triplets::new(&mut b.scope("trip_interaction"), config),
            before: Residual::new(b, "layers_before_skip.0", m),
            after: Residual::new(b, "layers_after_skip.0", m),
            atoms: AtomUpdate::new(&mut b.scope("atom_update"), config),
            joined: layer(b, "concat_layer.dense", 2 * f + m, m),
            last: Residual::new(b, "residual_m.0", m),
        }
    }

    fn forward(
        &self,
        State { atoms, messages }: &State,
        geometry: &Geometry,
        inputs: &Inputs,
        p: &Parameters,
    ) -> candle_core::Result<State> {
        let skip = active(&self.skip, messages, p)?;
        let y = mean(
            &skip,
            &self.triplets.forward(messages, geometry, inputs, p)?,
        )?;
        let y = self.before.forward(&y, p)?;
        let messages = self.after.forward(&mean(messages, &y)?, p)?;
        let update = self
            .atoms
            .forward(geometry, &messages, &inputs.on_radial[1], p)?;
        let atoms = mean(atoms, &update)?;
        let y = joined(
            &self.joined,
            &geometry.edges,
            ends(&atoms, At(Place::Edge, &messages)),
            p,
        )?;
        let y = self.last.forward(&y.apply(&Arc::new(ScaledSilu))?, p)?;
        let messages = mean(&messages, &y)?;
        Ok(State { atoms, messages })
    }
}

/// Features of a message's sender and receiver, and of the message or the pair of edges.
fn ends<'a>(atoms: &'a Dual, own: At<'a>) -> [At<'a>; 3] {
    [At(Place::Sender, atoms), At(Place::Receiver, atoms), own]
}

impl GemNet {
    fn new(b: &mut Scope, config: &GemNetConfig) -> Self {
        let (f, m) = (config.width, config.messages);
        let bases = Bases::new(b, config);
        let init = Init::Uniform(3f64.sqrt());
        let embedding = Embedding::new(
            &mut b.scope("atom_emb.embeddings"),
            config.elements,
            f,
            init,
        );
        let first = layer(b, "edge_emb.dense", 2 * f + config.radial, m);
        let output = |i| {
            let b = &mut b.scope(format_args!("out_blocks.{i}"));
            (AtomUpdate::new(b, config), layer(b, "out_energy", f, 1))
        };
        let outputs = (0..=config.layers).map(output).collect();
        let block = |i| Block::new(&mut b.scope(format_args!("int_blocks.{i}")), config);
        Self {
            bases,
            embedding,
            first,
            blocks: (0..config.layers).map(block).collect(),
            outputs,
            config: config.clone(),
        }
    }
}

impl Encoder for GemNet {
    fn cutoff(&self) -> f64 {
        self.config.cutoff
    }

    fn elements(&self) -> usize {
        self.config.elements
    }

    fn width(&self) -> usize {
        1
    }

    fn prepare(&self, batch: &Batch) -> Result<()> {
        batch.fans()?;
        batch.reversed().map(|_| ())
    }

    fn encode(&self, batch: &Batch, geometry: &Geometry, p: &Parameters) -> Result<Features> {
        let inputs = self.bases.on(batch, geometry, p)?;
        let output = |(update, layer): &(AtomUpdate, Linear), messages: &Dual| {
            let x = update.forward(geometry, messages, &inputs.on_radial[2], p)?;
            layer.dual(&x, p)
        };
        let atoms = Dual::from(self.embedding.forward(&batch.species, p)?);
        let parts = ends(&atoms, At(Place::Pair, &inputs.radial));
        let messages = joined(&self.first, &geometry.edges, parts, p)?;
        let mut state = State {
            messages: messages.apply(&Arc::new(ScaledSilu))?,
            atoms,
        };
        let mut energies = output(&self.outputs[0], &state.messages)?;
        for (block, out) in self.blocks.iter().zip(&self.outputs[1..]) {
            state = block.forward(&state, geometry, &inputs, p)?;
            energies = energies.add(&output(out, &state.messages)?)?;
        }
        Ok(Features {
            scalars: energies,
            vectors: None,
        })
    }
}
