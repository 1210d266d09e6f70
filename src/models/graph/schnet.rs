//! SchNet (Schütt et al., NeurIPS 2017): convolutions with filters that are networks of the
//! distance. Sizes, order of layers and initialisation as released with Geom3D.
//!
//! `N` atoms, `P` pairs of edges, `F` hidden width, `W` filters.

use super::heads::{HeadConfig, Of};
use super::{Batch, Encoder, EncoderConfig, Features, Variant, check_sizes};
use crate::Result;
use crate::models::layers::{Basis, Cutoff, Embedding, Geometry, Linear, Radial, convolve};
use crate::models::layers::{CutoffShape, Readout, check_radial};
use crate::models::{Init, Parameters, Scope};
use crate::ops::dual::Dual;
use crate::ops::pointwise::ShiftedSoftplus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Sizes of SchNet; the default is the released one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SchNetConfig {
    /// Channels of the features, `F`.
    pub width: usize,
    /// Channels of the filters, `W`.
    pub filters: usize,
    /// Interaction layers.
    pub layers: usize,
    /// Number of radial functions.
    pub radial: usize,
    /// Which radial functions.
    pub basis: Basis,
    /// What messages fade with towards the cutoff.
    pub envelope: CutoffShape,
    /// Longest edge in Å.
    pub cutoff: f64,
    /// Atomic numbers up to this one are known.
    pub elements: usize,
    /// The released code's energy is a layer on the mean over the atoms.
    pub variant: Variant,
}

impl Default for SchNetConfig {
    fn default() -> Self {
        Self {
            width: 128,
            filters: 128,
            layers: 6,
            radial: 51,
            basis: Basis::Gaussian,
            envelope: CutoffShape::Cosine,
            cutoff: 10.0,
            elements: 119,
            variant: Variant::default(),
        }
    }
}

impl EncoderConfig for SchNetConfig {
    fn check(&self) -> Result<()> {
        check_sizes(&[
            ("width", self.width),
            ("filters", self.filters),
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
                readout: Readout::Mean,
                ..HeadConfig::default()
            },
        }
    }

    fn build(&self, b: &mut Scope) -> Box<dyn Encoder> {
        Box::new(SchNet::new(b, self))
    }
}

/// The network.
pub struct SchNet {
    cutoff: f64,
    elements: usize,
    width: usize,
    radial: Arc<Radial>,
    envelope: Arc<Cutoff>,
    softplus: Arc<ShiftedSoftplus>,
    embedding: Embedding,
    interactions: Vec<Interaction>,
    out: [Linear; 2],
}

/// One convolution.
struct Interaction {
    filter: [Linear; 2],
    before: Linear,
    after: Linear,
    update: Linear,
}

/// Glorot's weight, and a bias of zeros.
fn glorot(b: &mut Scope, from: usize, to: usize) -> Linear {
    Linear::new(b, from, to, Init::glorot(from, to))
}

impl Interaction {
    fn new(b: &mut Scope, config: &SchNetConfig) -> Self {
        let (width, filters) = (config.width, config.filters);
        let first = glorot(&mut b.scope("mlp.0"), config.radial, filters);
        let mut second = b.scope("mlp.2");
        // The released code sets the bias of mlp.0 to zero twice, and never this one.
        let weight = second.parameter("weight", (filters, filters), Init::glorot(filters, filters));
        let bias = second.parameter("bias", filters, Init::fan_in(filters));
        let init = Init::glorot(width, filters);
        Self {
            filter: [first, Linear::of(weight, Some(bias))],
            before: Linear::without_bias(&mut b.scope("conv.lin1"), width, filters, init),
            after: glorot(&mut b.scope("conv.lin2"), filters, width),
            update: glorot(&mut b.scope("lin"), width, width),
        }
    }
}

impl SchNet {
    fn new(b: &mut Scope, config: &SchNetConfig) -> Self {
        let (width, elements) = (config.width, config.elements);
        let embedding = Embedding::new(
            &mut b.scope("embedding"),
            elements,
            width,
            Init::Normal(1.0),
        );
        let interactions = (0..config.layers)
            .map(|i| Interaction::new(&mut b.scope(format_args!("interactions.{i}")), config))
            .collect();
        Self {
            cutoff: config.cutoff,
            elements,
            width,
            radial: config.basis.functions(config.cutoff, config.radial),
            envelope: Arc::new(Cutoff {
                shape: config.envelope,
                radius: config.cutoff,
            }),
            softplus: Arc::new(ShiftedSoftplus),
            embedding,
            interactions,
            out: ["lin1", "lin2"].map(|name| glorot(&mut b.scope(name), width, width)),
        }
    }

    /// What one interaction adds to the features `h` `[N, F]`; `radial` `[P, K]`, `envelope` `[P]`.
    fn interact(
        &self,
        layer: &Interaction,
        h: &Dual,
        geometry: &Geometry,
        [radial, envelope]: [&Dual; 2],
        p: &Parameters,
    ) -> candle_core::Result<Dual> {
        let [first, second] = &layer.filter;
        let filter = first.dual(radial, p)?.apply(&self.softplus)?;
        let filter = second.dual(&filter, p)?;
        let x = layer.before.dual(h, p)?;
        let sum = convolve(&geometry.edges, &x, &filter, envelope)?;
        let x = layer.after.dual(&sum, p)?.apply(&self.softplus)?;
        layer.update.dual(&x, p)
    }
}

impl Encoder for SchNet {
    fn cutoff(&self) -> f64 {
        self.cutoff
    }

    fn elements(&self) -> usize {
        self.elements
    }

    fn width(&self) -> usize {
        self.width
    }

    fn encode(&self, batch: &Batch, geometry: &Geometry, p: &Parameters) -> Result<Features> {
        let pairs = geometry.pairs()?;
        let radial = pairs.radial(&self.radial)?;
        let envelope = pairs.radial(&self.envelope)?;
        let mut h = Dual::from(self.embedding.forward(&batch.species, p)?);
        for layer in &self.interactions {
            h = h.add(&self.interact(layer, &h, geometry, [&radial, &envelope], p)?)?;
        }
        let h = self.out[0].dual(&h, p)?.apply(&self.softplus)?;
        Ok(Features {
            scalars: self.out[1].dual(&h, p)?,
            vectors: None,
        })
    }
}
