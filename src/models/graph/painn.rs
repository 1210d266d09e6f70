//! PaiNN (Schütt, Unke and Gastegger, ICML 2021): messages of scalars and vectors. Sizes, order of
//! layers and initialisation as released with Geom3D, which has Gaussians for the paper's sines.
//!
//! `N` atoms, `E` edges in `P` pairs, `F` hidden width, `K` radial functions.

use super::heads::{HeadConfig, Hidden, Of};
use super::{Batch, Encoder, EncoderConfig, Features, Variant, check_sizes};
use crate::Result;
use crate::models::layers::{Basis, Cutoff, CutoffShape, Embedding, Geometry, Linear, Radial};
use crate::models::layers::{check_radial, convolve, convolve_along, convolve_vectors};
use crate::models::{Init, Parameters, Scope};
use crate::ops::dual::Dual;
use crate::ops::pointwise::Silu;
use crate::ops::segment::{Incidence, Row, edge, pair};
use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Sizes of PaiNN; the default is the released one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PainnConfig {
    /// Channels of the features, `F`.
    pub width: usize,
    /// Interaction layers.
    pub layers: usize,
    /// Number of radial functions, `K`.
    pub radial: usize,
    /// Which radial functions.
    pub basis: Basis,
    /// What messages fade with towards the cutoff.
    pub envelope: CutoffShape,
    /// Longest edge in Å.
    pub cutoff: f64,
    /// Atomic numbers up to this one are known.
    pub elements: usize,
    /// The released code takes hydrogen's number for padding, so that its embedding is zero for
    /// ever, and its energy is a network of the sum over the atoms.
    pub variant: Variant,
}

impl Default for PainnConfig {
    fn default() -> Self {
        Self {
            width: 128,
            layers: 3,
            radial: 20,
            basis: Basis::Gaussian,
            envelope: CutoffShape::Cosine,
            cutoff: 5.0,
            elements: 119,
            variant: Variant::default(),
        }
    }
}

impl EncoderConfig for PainnConfig {
    fn check(&self) -> Result<()> {
        check_sizes(&[
            ("width", self.width),
            ("layers", self.layers),
            ("elements", self.elements),
        ])?;
        check_radial(self.radial, self.cutoff, self.envelope)
    }

    fn head(&self) -> HeadConfig {
        match self.variant {
            Variant::Mended => HeadConfig::default(),
            Variant::Published => HeadConfig {
                of: Of::Graph,
                hidden: Hidden::Half,
                ..HeadConfig::default()
            },
        }
    }

    fn build(&self, b: &mut Scope) -> Box<dyn Encoder> {
        Box::new(Painn::new(b, self))
    }
}

/// The network.
pub struct Painn {
    config: PainnConfig,
    radial: Arc<Radial>,
    envelope: Arc<Cutoff>,
    silu: Arc<Silu>,
    embedding: Embedding,
    /// Filters of all layers: scalars, directions and vectors, `3 F` rows for each layer.
    filters: Linear,
    messages: Vec<[Linear; 2]>,
    mixings: Vec<Mixing>,
}

/// What an atom makes of its own scalars and vectors.
struct Mixing {
    context: [Linear; 2],
    vectors: Linear,
}

/// Scalars `[N, F]`, and vectors `[N, 3, F]` (none before the first message).
struct State {
    scalars: Dual,
    vectors: Option<Dual>,
}

/// Glorot's weight, and a bias of zeros.
fn glorot(b: &mut Scope, from: usize, to: usize) -> Linear {
    Linear::new(b, from, to, Init::glorot(from, to))
}

impl Painn {
    fn new(b: &mut Scope, config: &PainnConfig) -> Self {
        let (f, elements) = (config.width, config.elements);
        let embedding = Embedding::new(&mut b.scope("embedding"), elements, f, Init::Normal(1.0));
        let filters = glorot(
            &mut b.scope("filter_net"),
            config.radial,
            3 * f * config.layers,
        );
        let message = |t| {
            let mut b = b.scope(format_args!("interactions.{t}.interatomic_context_net"));
            [
                glorot(&mut b.scope(0), f, f),
                glorot(&mut b.scope(1), f, 3 * f),
            ]
        };
        let messages = (0..config.layers).map(message).collect();
        let mixing = |t| {
            let mut b = b.scope(format_args!("mixing.{t}"));
            let mut context = b.scope("intraatomic_context_net");
            let context = [
                glorot(&mut context.scope(0), 2 * f, f),
                glorot(&mut context.scope(1), f, 3 * f),
            ];
            let init = Init::glorot(f, 2 * f);
            let vectors = Linear::without_bias(&mut b.scope("mu_channel_mix"), f, 2 * f, init);
            Mixing { context, vectors }
        };
        Self {
            config: config.clone(),
            radial: config.basis.functions(config.cutoff, config.radial),
            envelope: Arc::new(Cutoff {
                shape: config.envelope,
                radius: config.cutoff,
            }),
            silu: Arc::new(Silu),
            embedding,
            filters,
            messages,
            mixings: (0..config.layers).map(mixing).collect(),
        }
    }

    /// The atoms' first scalars, `[N, F]`.
    fn embed(&self, batch: &Batch, p: &Parameters) -> candle_core::Result<Tensor> {
        let embedded = self.embedding.forward(&batch.species, p)?;
        if self.config.variant != Variant::Published {
            return Ok(embedded);
        }
        let heavy = batch.species.ne(0u32)?.to_dtype(embedded.dtype())?;
        embedded.broadcast_mul(&heavy.unsqueeze(1)?)
    }

    /// The messages of layer `t` (equations 7 and 8).
    fn message(
        &self,
        t: usize,
        state: State,
        edges: &EdgeInputs,
        p: &Parameters,
    ) -> candle_core::Result<State> {
        let f = self.config.width;
        let [first, second] = &self.messages[t];
        let context = first.dual(&state.scalars, p)?.apply(&self.silu)?;
        // Three parts of a layer as three layers: a part of a result would be a copy, and its
        // gradient three more.
        let x = |k: usize| second.dual_rows(k * f..(k + 1) * f, &context, p);
        let filter = |k: usize| {
            let first = (3 * t + k) * f;
            self.filters.dual_rows(first..first + f, &edges.radial, p)
        };
        let incidence = &edges.geometry.edges;
        let scalars = convolve(incidence, &x(0)?, &filter(0)?, &edges.envelope)?;
        let mut vectors = convolve_along(incidence, &x(1)?, &filter(1)?, &edges.directions)?;
        if let Some(old) = &state.vectors {
            let gated = gate(&edges.atoms, &x(2)?, old)?;
            let turned = convolve_vectors(incidence, &gated, &filter(2)?, &edges.envelope)?;
            vectors = vectors.add(&turned)?.add(old)?;
        }
        Ok(State {
            scalars: state.scalars.add(&scalars)?,
            vectors: Some(vectors),
        })
    }

    /// The update of layer `t` (equations 9 and 10).
    fn mix(
        &self,
        t: usize,
        scalars: &Dual,
        vectors: &Dual,
        atoms: &Arc<Incidence>,
        p: &Parameters,
    ) -> candle_core::Result<State> {
        /// Under the root, so that the norm of a zero vector has a gradient.
        const EPSILON: f64 = 1e-8;
        let f = self.config.width;
        let mixing = &self.mixings[t];
        let v = mixing.vectors.dual_rows(0..f, vectors, p)?;
        let w = mixing.vectors.dual_rows(f..2 * f, vectors, p)?;
        let norms = inner(atoms, &v, &v)?.sqrt(EPSILON)?;
        let [first, second] = &mixing.context;
        let context = first.dual(&Dual::cat(&[scalars, &norms], 1)?, p)?;
        let context = context.apply(&self.silu)?;
        let part = |k: usize| second.dual_rows(k * f..(k + 1) * f, &context, p);
        let products = part(2)?.mul(&inner(atoms, &v, &w)?)?;
        Ok(State {
            scalars: scalars.add(&part(0)?)?.add(&products)?,
            vectors: Some(vectors.add(&gate(atoms, &part(1)?, &w)?)?),
        })
    }
}

/// What every layer takes of the edges.
struct EdgeInputs<'a> {
    geometry: &'a Geometry,
    /// `[P, K]`.
    radial: Dual,
    /// `[P]`.
    envelope: Dual,
    /// Directions times envelope, `[E, 3]`.
    directions: Dual,
    /// Atoms in place of edges: products atom by atom.
    atoms: Arc<Incidence>,
}

/// `x` `[N, F]` times each component of `vectors` `[N, 3, F]`.
fn gate(atoms: &Arc<Incidence>, x: &Dual, vectors: &Dual) -> candle_core::Result<Dual> {
    let factors = [(edge(Row::Channels), x), (edge(Row::Vectors), vectors)];
    Dual::contract(atoms, factors, edge(Row::Vectors))
}

/// Inner products of vectors `[N, 3, F]`, `[N, F]`.
fn inner(atoms: &Arc<Incidence>, a: &Dual, b: &Dual) -> candle_core::Result<Dual> {
    let factors = [(edge(Row::Vectors), a), (edge(Row::Vectors), b)];
    Dual::contract(atoms, factors, edge(Row::Channels))
}

impl Encoder for Painn {
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
        let envelope = pairs.radial(&self.envelope)?;
        let directions = geometry.directions()?;
        let factors = [
            (edge(Row::Vector), &directions),
            (pair(Row::Number), &envelope),
        ];
        let edges = EdgeInputs {
            directions: Dual::contract(&geometry.edges, factors, edge(Row::Vector))?,
            radial: pairs.radial(&self.radial)?,
            geometry,
            envelope,
            atoms: batch.graphs.clone(),
        };
        let mut state = State {
            scalars: self.embed(batch, p)?.into(),
            vectors: None,
        };
        for t in 0..self.config.layers {
            state = self.message(t, state, &edges, p)?;
            if let Some(vectors) = &state.vectors {
                state = self.mix(t, &state.scalars, vectors, &edges.atoms, p)?;
            }
        }
        Ok(Features {
            scalars: state.scalars,
            vectors: state.vectors,
        })
    }
}
