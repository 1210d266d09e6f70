//! DimeNet++ (Gasteiger et al., ICLR 2020 and NeurIPS workshop 2020): messages along edges that see
//! distances and the angles between edges. Sizes, order of layers and initialisation as released
//! with Geom3D.
//!
//! `N` atoms, `E` edges in `P` pairs, `T` chains of two edges, `F` hidden width, `L` degrees, `K` radial
//! functions.

use super::directional::{
    AngularFilter, EdgeEmbedding, Interaction, Output, Widths, sum_chains, unbiased,
};
use super::heads::{HeadConfig, Of};
use super::{Batch, Encoder, EncoderConfig, Features, Variant, check_degrees, check_sizes};
use crate::Result;
use crate::models::layers::{
    AngularPolynomials, Cutoff, CutoffShape, Geometry, Linear, SineBasis, SphericalBessel,
    check_cutoff,
};
use crate::models::{Init, Parameters, Scope};
use crate::ops::dual::Dual;
use crate::ops::segment::{Incidence, Row, edge, receiver, sender};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Sizes of DimeNet++; the default is the released one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DimeNetConfig {
    /// Channels of the features, `F`.
    pub width: usize,
    /// Interaction blocks.
    pub layers: usize,
    /// Width of messages inside a triplet.
    pub inner: usize,
    /// Width of bases between their two layers.
    pub basis: usize,
    /// Width of an output block.
    pub out: usize,
    /// Degrees of the angular basis, `L`.
    pub degrees: usize,
    /// Number of radial functions, `K`.
    pub radial: usize,
    /// Longest edge in Å.
    pub cutoff: f64,
    /// Atomic numbers up to this one are known.
    pub elements: usize,
    /// The released code takes angles for constants when it differentiates, so that its forces are
    /// not the gradient of its energy.
    pub variant: Variant,
}

impl Default for DimeNetConfig {
    fn default() -> Self {
        Self {
            width: 128,
            layers: 4,
            inner: 64,
            basis: 8,
            out: 128,
            degrees: 7,
            radial: 6,
            cutoff: 5.0,
            elements: 119,
            variant: Variant::default(),
        }
    }
}

impl DimeNetConfig {
    fn widths(&self) -> Widths {
        Widths {
            hidden: self.width,
            inner: self.inner,
            basis: self.basis,
            out: self.out,
            radial: self.radial,
        }
    }
}

impl EncoderConfig for DimeNetConfig {
    fn check(&self) -> Result<()> {
        check_sizes(&[
            ("width", self.width),
            ("inner", self.inner),
            ("basis", self.basis),
            ("out", self.out),
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
        Box::new(DimeNet::new(b, self))
    }
}

/// The network.
pub struct DimeNet {
    config: DimeNetConfig,
    radial: SineBasis,
    spherical: Arc<SphericalBessel>,
    angular: Arc<AngularPolynomials>,
    envelope: Arc<Cutoff>,
    embedding: EdgeEmbedding,
    interactions: Vec<(AngularFilter, Interaction)>,
    outputs: Vec<(Linear, Output)>,
}

impl DimeNet {
    fn new(b: &mut Scope, config: &DimeNetConfig) -> Self {
        let widths = config.widths();
        let envelope = Cutoff {
            shape: CutoffShape::Polynomial(6),
            radius: config.cutoff,
        };
        let output = |b: &mut Scope, i: usize| {
            let b = &mut b.scope(format_args!("output_blocks.{i}"));
            let filter = unbiased(b, "lin_rbf", widths.radial, widths.hidden);
            (filter, Output::new(b, widths, Init::Constant(0.0)))
        };
        let interaction = |b: &mut Scope, i: usize| {
            let b = &mut b.scope(format_args!("interaction_blocks.{i}"));
            let degrees = (0..config.degrees).collect();
            let names = ["lin_sbf1", "lin_sbf2"];
            let filter = AngularFilter::new(b, names, degrees, config.degrees, widths);
            (filter, Interaction::new(b, widths))
        };
        let (degrees, radial) = (config.degrees, config.radial);
        Self {
            radial: SineBasis::new(&mut b.scope("rbf"), "freq", radial, envelope, 1.0),
            spherical: Arc::new(SphericalBessel::new(config.cutoff, degrees, radial)),
            angular: Arc::new(AngularPolynomials::zonal(degrees)),
            envelope: Arc::new(envelope),
            embedding: EdgeEmbedding::new(&mut b.scope("emb"), config.elements, widths, "lin_rbf"),
            interactions: (0..config.layers).map(|i| interaction(b, i)).collect(),
            outputs: (0..=config.layers).map(|i| output(b, i)).collect(),
            config: config.clone(),
        }
    }

    /// Spherical Bessel functions times `C(d) cutoff / d`, `[P, L K]`.
    fn spherical(&self, pairs: &Geometry) -> candle_core::Result<Dual> {
        let cutoff = self.config.cutoff;
        let inverse = pairs.distances.recip()?.linear(|y| y * cutoff)?;
        let factors = [
            (edge(Row::Channels), &pairs.radial(&self.spherical)?),
            (edge(Row::Number), &pairs.radial(&self.envelope)?),
            (edge(Row::Number), &inverse),
        ];
        Dual::contract(&pairs.edges, factors, edge(Row::Channels))
    }

    /// Harmonics of the angle by which each chain of edges bends, `[T, L]`.
    fn angles(&self, geometry: &Geometry, chains: &Arc<Incidence>) -> candle_core::Result<Dual> {
        let directions = geometry.directions()?;
        let factors = [
            (receiver(Row::Vector), &directions),
            (sender(Row::Vector), &directions),
        ];
        let mut cosines = Dual::contract(chains, factors, edge(Row::Number))?;
        if self.config.variant == Variant::Published {
            cosines = cosines.value.detach().into();
        }
        cosines.apply(&self.angular)
    }
}

impl Encoder for DimeNet {
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
        batch.chains().map(|_| ())
    }

    fn encode(&self, batch: &Batch, geometry: &Geometry, p: &Parameters) -> Result<Features> {
        let chains = batch.chains()?;
        let pairs = geometry.pairs()?;
        let radial = self.radial.forward(&pairs, p)?;
        let spherical = self.spherical(&pairs)?;
        let angular = self.angles(geometry, &chains)?;
        let output = |(filter, output): &(Linear, Output), messages: &Dual| {
            output.forward(geometry, messages, &filter.dual(&radial, p)?, p)
        };
        let mut messages = self
            .embedding
            .forward(&batch.species, geometry, &radial, p)?;
        let mut energies = output(&self.outputs[0], &messages)?;
        for ((filter, interaction), block) in self.interactions.iter().zip(&self.outputs[1..]) {
            let filters = filter.on_pairs(&spherical, p)?;
            let triplets = |x: &Dual| sum_chains(geometry, &chains, x, &filters, &angular);
            messages = interaction.forward(&geometry.edges, &messages, &radial, triplets, p)?;
            energies = energies.add(&output(block, &messages)?)?;
        }
        let blocks = self.outputs.len() as f64;
        Ok(Features {
            scalars: energies.linear(|e| e / blocks)?,
            vectors: None,
        })
    }
}
