//! SphereNet (Liu et al., ICLR 2022): messages along edges that see distances, angles and torsions.
//! Sizes, order of layers and initialisation as released with Geom3D.
//!
//! `N` atoms, `E` edges in `P` pairs, `T` chains of two edges, `F` hidden width, `L` degrees, `K` radial
//! functions.

use super::directional::{AngularFilter, EdgeEmbedding, Interaction, Output, Widths, unbiased};
use super::heads::{HeadConfig, Of};
use super::{Batch, Encoder, EncoderConfig, Features, Variant, check_degrees, check_sizes};
use crate::Result;
use crate::models::layers::{
    AngularPolynomials, Cutoff, CutoffShape, Geometry, Linear, SineBasis, SphericalBessel,
    check_cutoff, tesseral,
};
use crate::models::{Init, Parameters, Scope};
use crate::ops::dual::Dual;
use crate::ops::segment::{Incidence, Row, edge, pair, receiver, sender};
use candle_core::DType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Sizes of SphereNet; the default is the released one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SphereNetConfig {
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
    /// The released code multiplies the harmonic at index `p` with the radial functions of degree
    /// `p mod L`, not of its own degree.
    pub variant: Variant,
}

impl Default for SphereNetConfig {
    fn default() -> Self {
        Self {
            width: 128,
            layers: 4,
            inner: 64,
            basis: 8,
            out: 256,
            degrees: 3,
            radial: 6,
            cutoff: 5.0,
            elements: 95,
            variant: Variant::default(),
        }
    }
}

impl SphereNetConfig {
    fn widths(&self) -> Widths {
        Widths {
            hidden: self.width,
            inner: self.inner,
            basis: self.basis,
            out: self.out,
            radial: self.radial,
        }
    }

    /// The degree of the radial functions that each harmonic is multiplied with.
    fn degree_of_harmonics(&self) -> Vec<usize> {
        let degree = |p: usize| match self.variant {
            Variant::Mended => p.isqrt(),
            Variant::Published => p % self.degrees,
        };
        (0..self.degrees * self.degrees).map(degree).collect()
    }
}

impl EncoderConfig for SphereNetConfig {
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
        Box::new(SphereNet::new(b, self))
    }
}

/// The network.
pub struct SphereNet {
    config: SphereNetConfig,
    radial: SineBasis,
    spherical: Arc<SphericalBessel>,
    zonal: Arc<AngularPolynomials>,
    associated: Arc<AngularPolynomials>,
    embedding: EdgeEmbedding,
    first: Block,
    interactions: Vec<(Update, Block)>,
}

/// From messages to energies of atoms, with a filter of distances.
struct Block {
    filter: Linear,
    output: Output,
}

/// The update of messages.
struct Update {
    angles: AngularFilter,
    torsions: AngularFilter,
    interaction: Interaction,
}

/// Bases of a batch's chains of edges.
struct Bases {
    chains: Arc<Incidence>,
    /// `[P, K]`.
    radial: Dual,
    /// `[P, L K]`.
    spherical: Dual,
    /// Of angles, `[T, L]`.
    zonal: Dual,
    /// Of angles and torsions, `[T, L^2]`.
    harmonics: Dual,
}

impl SphereNet {
    fn new(b: &mut Scope, config: &SphereNetConfig) -> Self {
        let widths = config.widths();
        let (degrees, radial) = (config.degrees, config.radial);
        let envelope = Cutoff {
            shape: CutoffShape::Polynomial(6),
            radius: config.cutoff,
        };
        let output = |b: &mut Scope| Output::new(b, widths, Init::glorot_orthogonal(widths.out, 1));
        let filter = |b: &mut Scope, name| unbiased(b, name, radial, widths.hidden);
        let (embedding, first) = {
            let b = &mut b.scope("init_e");
            let embedding = EdgeEmbedding::new(b, config.elements, widths, "lin_rbf_0");
            (embedding, filter(b, "lin_rbf_1"))
        };
        let first = Block {
            filter: first,
            output: output(&mut b.scope("init_v")),
        };
        let layer = |b: &mut Scope, i: usize| {
            let output = output(&mut b.scope(format_args!("update_vs.{i}")));
            let b = &mut b.scope(format_args!("update_es.{i}"));
            let angular = |b: &mut Scope, names, degree_of| {
                AngularFilter::new(b, names, degree_of, degrees, widths)
            };
            let update = Update {
                angles: angular(b, ["lin_sbf1", "lin_sbf2"], (0..degrees).collect()),
                torsions: angular(b, ["lin_t1", "lin_t2"], config.degree_of_harmonics()),
                interaction: Interaction::new(b, widths),
            };
            let filter = filter(b, "lin_rbf");
            (update, Block { filter, output })
        };
        Self {
            radial: SineBasis::new(&mut b.scope("emb.dist_emb"), "freq", radial, envelope, 1.0),
            spherical: Arc::new(SphericalBessel::new(config.cutoff, degrees, radial)),
            zonal: Arc::new(AngularPolynomials::zonal(degrees)),
            associated: Arc::new(AngularPolynomials::associated(degrees)),
            embedding,
            first,
            interactions: (0..config.layers).map(|i| layer(b, i)).collect(),
            config: config.clone(),
        }
    }

    fn bases(&self, batch: &Batch, geometry: &Geometry, p: &Parameters) -> Result<Bases> {
        let (chains, pairs) = (batch.chains()?, geometry.pairs()?);
        let [x, y, z] = directions(&chains, &batch.torsions()?, geometry, batch.dtype)?;
        Ok(Bases {
            radial: self.radial.forward(&pairs, p)?,
            spherical: pairs.radial(&self.spherical)?,
            zonal: z.apply(&self.zonal)?,
            harmonics: tesseral(&self.associated, self.config.degrees, [&x, &y, &z])?,
            chains,
        })
    }
}

/// The direction of each chain's first edge `k -> j` as `j` sees it, in the frame of its second edge
/// `j -> i` and the edge that torsions are measured from (`origins`): the cosine of the angle along
/// the axis from `j` to `i` (third), and its sine times cosine and sine of the torsion; `[T]` each.
fn directions(
    chains: &Arc<Incidence>,
    origins: &Arc<Incidence>,
    geometry: &Geometry,
    dtype: DType,
) -> candle_core::Result<[Dual; 3]> {
    let directions = geometry.directions()?;
    let at = |list: &Arc<Incidence>, kind| {
        Dual::contract(list, [(kind, &directions)], edge(Row::Vector))
    };
    let dot = |a: &Dual, b: &Dual| {
        let factors = [(edge(Row::Vector), a), (edge(Row::Vector), b)];
        Dual::contract(chains, factors, edge(Row::Number))
    };
    let axis = at(chains, receiver(Row::Vector))?.linear(|u| u.neg())?;
    let first = at(chains, sender(Row::Vector))?;
    let origin = at(origins, sender(Row::Vector))?;
    let normal = axis.cross(&origin)?;
    // A square that is added, so that atoms in a line have a gradient: the root of the rounding.
    let least = if dtype == DType::F64 { 1e-24 } else { 1e-12 };
    let inverse = dot(&normal, &normal)?.sqrt(least)?.recip()?;
    let factors = [(edge(Row::Vector), &normal), (edge(Row::Number), &inverse)];
    let normal = Dual::contract(chains, factors, edge(Row::Vector))?;
    let in_plane = normal.cross(&axis)?;
    Ok([
        dot(&first, &in_plane)?,
        dot(&first, &normal)?.linear(|y| y.neg())?,
        dot(&first, &axis)?,
    ])
}

impl Block {
    fn forward(
        &self,
        geometry: &Geometry,
        messages: &Dual,
        radial: &Dual,
        p: &Parameters,
    ) -> candle_core::Result<Dual> {
        let filters = self.filter.dual(radial, p)?;
        self.output.forward(geometry, messages, &filters, p)
    }
}

impl Update {
    fn forward(
        &self,
        geometry: &Geometry,
        messages: &Dual,
        bases: &Bases,
        p: &Parameters,
    ) -> candle_core::Result<Dual> {
        let angles = self.angles.on_pairs(&bases.spherical, p)?;
        let torsions = self.torsions.on_pairs(&bases.spherical, p)?;
        let factors = [(pair(Row::Vectors), &torsions)];
        let torsions = Dual::contract(&geometry.edges, factors, edge(Row::Vectors))?;
        let on_chains = |angular: &Dual, filters: &Dual| {
            let factors = [
                (edge(Row::Vector), angular),
                (sender(Row::Vectors), filters),
            ];
            Dual::contract(&bases.chains, factors, edge(Row::Channels))
        };
        let torsions = on_chains(&bases.harmonics, &torsions)?;
        let triplets = |x: &Dual| {
            let factors = [(edge(Row::Channels), x), (pair(Row::Vectors), &angles)];
            let filtered = Dual::contract(&geometry.edges, factors, edge(Row::Vectors))?;
            let factors = [
                (edge(Row::Channels), &on_chains(&bases.zonal, &filtered)?),
                (edge(Row::Channels), &torsions),
            ];
            Dual::contract(&bases.chains, factors, receiver(Row::Channels))
        };
        self.interaction
            .forward(&geometry.edges, messages, &bases.radial, triplets, p)
    }
}

impl Encoder for SphereNet {
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
        batch.torsions().map(|_| ())
    }

    fn encode(&self, batch: &Batch, geometry: &Geometry, p: &Parameters) -> Result<Features> {
        let bases = self.bases(batch, geometry, p)?;
        let radial = &bases.radial;
        let mut messages = self
            .embedding
            .forward(&batch.species, geometry, radial, p)?;
        let mut energies = self.first.forward(geometry, &messages, radial, p)?;
        for (update, block) in &self.interactions {
            messages = update.forward(geometry, &messages, &bases, p)?;
            energies = energies.add(&block.forward(geometry, &messages, radial, p)?)?;
        }
        Ok(Features {
            scalars: energies,
            vectors: None,
        })
    }
}
