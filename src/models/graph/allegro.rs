//! Allegro (Musaelian et al., Nature Communications 2023): features of pairs of atoms, which meet
//! the sum of the pairs around their first atom and never features of other atoms, so that nothing
//! reaches farther than the cutoff. Sizes, order of weights and initialisation as released with
//! Geom3D.
//!
//! `N` atoms, `E` edges, `W` width of the edges' invariants, `U` channels of their features.

use super::heads::{HeadConfig, Of};
use super::nequip::one_hot;
use super::{Batch, Encoder, EncoderConfig, Features, Variant, check_neighbors, check_sizes};
use crate::Result;
use crate::models::layers::irreps::{
    BlockLinear, NormalizedMlp, Scale, Style, spherical_harmonics,
};
use crate::models::layers::{Cutoff, CutoffShape, Geometry, SineBasis, check_radial};
use crate::models::{Init, Parameters, Scope};
use crate::ops::dense::dense;
use crate::ops::dual::{At, Dual};
use crate::ops::segment::{Place, Row, edge, receiver, sender};
use crate::ops::tensor_product::{Plan, product, weighted_product};
use crate::so3::blocks::{Blocks, Irrep, Path, paths};
use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;
use std::ops::Range;
use std::sync::Arc;

/// Sizes of Allegro; the default is the released one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AllegroConfig {
    /// Invariant channels of an edge, `W`.
    pub width: usize,
    /// Channels of the features of an edge, `U`.
    pub channels: usize,
    /// Interaction layers.
    pub layers: usize,
    /// The highest degree of features and harmonics.
    pub lmax: usize,
    /// Number of radial functions.
    pub radial: usize,
    /// What messages fade with towards the cutoff.
    pub envelope: CutoffShape,
    /// Longest edge in Å.
    pub cutoff: f64,
    /// Atomic numbers up to this one are known.
    pub elements: usize,
    /// Mended: sums over edges are divided by the root of this number of neighbors, as in the
    /// paper; the released code does not.
    pub neighbors: f64,
    /// Which form of the network.
    pub variant: Variant,
}

impl Default for AllegroConfig {
    fn default() -> Self {
        Self {
            width: 512,
            channels: 32,
            layers: 5,
            lmax: 1,
            radial: 8,
            envelope: CutoffShape::Polynomial(6),
            cutoff: 5.0,
            elements: 10,
            neighbors: 8.0,
            variant: Variant::default(),
        }
    }
}

impl EncoderConfig for AllegroConfig {
    fn check(&self) -> Result<()> {
        check_sizes(&[
            ("width", self.width),
            ("channels", self.channels),
            ("layers", self.layers),
            ("elements", self.elements),
        ])?;
        check_neighbors(self.neighbors)?;
        check_radial(self.radial, self.cutoff, self.envelope)
    }

    fn head(&self) -> HeadConfig {
        HeadConfig {
            of: Of::Network,
            ..HeadConfig::default()
        }
    }

    fn build(&self, b: &mut Scope) -> Box<dyn Encoder> {
        Box::new(Allegro::new(b, self))
    }
}

/// The network.
pub struct Allegro {
    config: AllegroConfig,
    radial: SineBasis,
    envelope: Arc<Cutoff>,
    /// Mean of each radial function, and the inverse of its deviation.
    normal: [Vec<f64>; 2],
    /// Harmonics with weights for each channel.
    embed: Arc<Plan>,
    layers: Vec<Layer>,
    last: NormalizedMlp,
    energy: NormalizedMlp,
}

/// What the features of an edge become where they meet their surroundings.
struct Layer {
    invariants: NormalizedMlp,
    weights: NormalizedMlp,
    plan: Arc<Plan>,
    /// Number of blocks of invariants at the start of the product.
    scalars: usize,
    /// None after the last product, of which the invariants alone are used.
    mix: Option<Mix>,
}

/// The linear map of the blocks of a product, with weights `[to, from, block]` for each irrep.
struct Mix {
    linear: BlockLinear,
    /// Number of blocks of each irrep.
    counts: Vec<usize>,
}

const STYLE: Style = Style {
    weight: "w",
    bias: None,
    scale: Scale::Layer,
};

/// Irreps of the features before each layer and after the last: those that can be reached and that
/// the energy depends on.
fn irreps(config: &AllegroConfig) -> Vec<Blocks> {
    let harmonics = Blocks::harmonics(config.lmax, false);
    let mut all = vec![harmonics.clone()];
    // What cannot be reached once is not there later either: pseudoscalars, for one.
    let mut wanted: Blocks = (0..=config.lmax)
        .flat_map(|l| [false, true].map(|odd| Irrep { l, odd }.of(1)))
        .collect();
    for k in 0..config.layers {
        if k + 1 == config.layers {
            wanted = Blocks::scalars(1);
        }
        wanted = wanted.filter(|irrep| !paths(&all[k], &harmonics, |i| i == irrep).is_empty());
        all.push(wanted.clone());
    }
    for k in (0..config.layers).rev() {
        let needed = |irrep: Irrep| {
            let one = [irrep.of(1)].into_iter().collect();
            !paths(&one, &harmonics, |i| all[k + 1].contains(i)).is_empty()
        };
        all[k] = all[k].filter(needed);
    }
    let wide = |blocks: &Blocks| {
        let block = |b: &crate::so3::blocks::Block| b.irrep.of(config.channels);
        blocks.iter().map(block).collect()
    };
    all.iter().map(wide).collect()
}

/// All paths from `features` and `harmonics` to `to`: by block of the result, of the features, of
/// the harmonics.
fn by_result(features: &Blocks, harmonics: &Blocks, to: &Blocks) -> Vec<Path> {
    let of = |b: &crate::so3::blocks::Block| {
        let irrep = b.irrep;
        paths(features, harmonics, move |i| i == irrep)
    };
    to.iter().flat_map(of).collect()
}

impl Layer {
    /// Layer `k` from blocks to blocks.
    fn new(
        b: &mut Scope,
        config: &AllegroConfig,
        k: usize,
        [from, to]: [&Blocks; 2],
        inputs: usize,
    ) -> Self {
        let (u, w) = (config.channels, config.width);
        let harmonics: Blocks = (0..=config.lmax).map(|l| Irrep::natural(l).of(u)).collect();
        let plan = Plan::new(from, &harmonics, &by_result(from, &harmonics, to), |_| ());
        let blocks = plan.out();
        let count = |irrep| blocks.iter().filter(|b| b.irrep == irrep).count();
        let counts: Vec<usize> = to.iter().map(|b| count(b.irrep)).collect();
        let ranges = |end: &mut usize, n: &usize| {
            *end += n;
            Some(*end - n..*end)
        };
        let groups: Vec<Range<usize>> = counts.iter().scan(0, ranges).collect();
        let weights = (1 + usize::from(k == 0)) * harmonics.len() * u;
        let name = |q| format!("_forward._weight_{q}");
        let invariants = NormalizedMlp::new(
            &mut b.scope(format_args!("latents.{k}")),
            &[inputs, w],
            name,
        );
        let weights = NormalizedMlp::new(
            &mut b.scope(format_args!("env_embed_mlps.{k}")),
            &[w, w, weights],
            name,
        );
        let last = k + 1 == config.layers;
        let mix = (!last || config.variant == Variant::Published).then(|| {
            let mut b = b.scope(format_args!("linears.{k}"));
            let linear = BlockLinear::grouped(&mut b, STYLE, [blocks, to], &groups, 1);
            if last {
                linear.unused(&mut b);
            }
            Mix {
                linear,
                counts: counts.clone(),
            }
        });
        Self {
            invariants,
            weights,
            scalars: counts[0],
            plan: Arc::new(plan),
            mix: if last { None } else { mix },
        }
    }
}

impl Mix {
    /// # Errors
    /// Those of candle.
    fn forward(&self, x: &Dual, channels: usize, p: &Parameters) -> candle_core::Result<Dual> {
        let flat = self.linear.weights(p)?;
        let (mut parts, mut start) = (Vec::new(), 0);
        for &count in &self.counts {
            let len = channels * channels * count;
            let part = flat
                .narrow(0, start, len)?
                .reshape((channels, channels, count))?;
            parts.push(part.permute((2, 1, 0))?.contiguous()?.flatten_all()?);
            start += len;
        }
        self.linear.with_weights(x, &Tensor::cat(&parts, 0)?, p)
    }
}

/// `[rows, a * b]` with `a` outside to the same with `b` outside.
fn turn(x: &Dual, a: usize, b: usize) -> candle_core::Result<Dual> {
    x.linear(|x| {
        let rows = x.dim(0)?;
        let turned = x.reshape((rows, a, b))?.transpose(1, 2)?;
        turned.contiguous()?.reshape((rows, a * b))
    })
}

/// `[rows, n]` times a number for each row.
fn times(geometry: &Geometry, x: &Dual, numbers: &Dual) -> candle_core::Result<Dual> {
    let factors = [(edge(Row::Channels), x), (edge(Row::Number), numbers)];
    Dual::contract(&geometry.edges, factors, edge(Row::Channels))
}

/// What old and new invariants become: `(old + new / 2) / sqrt(1 + 1/4)`.
fn residual(old: &Dual, new: &Dual) -> candle_core::Result<Dual> {
    const SHARE: f64 = 0.5;
    let norm = 1.0 / (1.0 + SHARE * SHARE).sqrt();
    let new = new.linear(|x| x * (SHARE * norm))?;
    old.linear(|x| x * norm)?.add(&new)
}

/// Mean and inverse deviation of `(2 / c) sin(n pi r / c) / r` over 4000 distances up to `c`.
fn statistics(cutoff: f64, count: usize) -> [Vec<f64>; 2] {
    const POINTS: usize = 4000;
    let of = |n: usize| {
        let r = |i: usize| cutoff * i as f64 / POINTS as f64;
        let value = |i| 2.0 / cutoff * (n as f64 * PI * r(i) / cutoff).sin() / r(i);
        let mean = (1..=POINTS).map(value).sum::<f64>() / POINTS as f64;
        let squares = (1..=POINTS).map(|i| (value(i) - mean).powi(2)).sum::<f64>();
        (mean, (squares / (POINTS - 1) as f64).sqrt().recip())
    };
    let (means, inverses) = (1..=count).map(of).unzip();
    [means, inverses]
}

impl Allegro {
    fn new(b: &mut Scope, config: &AllegroConfig) -> Self {
        let (u, w) = (config.channels, config.width);
        let envelope = Cutoff {
            shape: config.envelope,
            radius: config.cutoff,
        };
        let harmonics = Blocks::harmonics(config.lmax, false);
        let embed = paths(&Blocks::scalars(u), &harmonics, |_| true);
        let embed = Plan::new(&Blocks::scalars(u), &harmonics, &embed, |_| ());
        let norm = 2.0 / config.cutoff.powi(2);
        let radial = SineBasis::new(
            &mut b.scope("radial_basis.basis.basis"),
            "bessel_weights",
            config.radial,
            envelope,
            norm,
        );
        let irreps = irreps(config);
        let (mut layers, mut inputs) = (Vec::new(), 2 * config.elements + config.radial);
        for (k, pair) in irreps.windows(2).enumerate() {
            let layer = Layer::new(
                &mut b.scope("Allegro"),
                config,
                k,
                [&pair[0], &pair[1]],
                inputs,
            );
            inputs = w + layer.scalars * u;
            layers.push(layer);
        }
        let name = |q| format!("_forward._weight_{q}");
        let last = NormalizedMlp::new(&mut b.scope("Allegro.final_latent"), &[inputs, w], name);
        let inits = vec![Init::Uniform(3f64.sqrt()); 2];
        let mut scope = b.scope("edge_eng._module");
        Self {
            config: config.clone(),
            radial,
            envelope: Arc::new(envelope),
            normal: statistics(config.cutoff, config.radial),
            embed: Arc::new(embed),
            layers,
            last,
            energy: NormalizedMlp::with_inits(&mut scope, &[w, w, 1], inits, name),
        }
    }

    /// The radial functions with mean 0 and variance 1, times the envelope, `[E, radial]`.
    fn radial(
        &self,
        geometry: &Geometry,
        envelope: &Dual,
        p: &Parameters,
    ) -> candle_core::Result<Dual> {
        let constant = |values: &Vec<f64>| {
            let row =
                Tensor::from_slice(values, (1, values.len()), geometry.distances.value.device())?;
            row.to_dtype(geometry.distances.value.dtype())
        };
        let [mean, inverse] = [constant(&self.normal[0])?, constant(&self.normal[1])?];
        let mean = mean.t()?;
        let means = envelope.linear(|u| dense(&u.unsqueeze(1)?, &mean))?;
        let centred = self.radial.forward(geometry, p)?.sub(&means)?;
        centred.linear(|x| x.broadcast_mul(&inverse))
    }

    /// What is known of an edge at first: both elements and the distance, `[E, ..]`.
    fn inputs(
        &self,
        batch: &Batch,
        geometry: &Geometry,
        radial: Dual,
    ) -> candle_core::Result<Dual> {
        let one_hot = Dual::from(one_hot(batch, self.config.elements)?);
        let at = |kind| Dual::contract(&geometry.edges, [(kind, &one_hot)], edge(Row::Channels));
        Dual::cat(
            &[
                &at(receiver(Row::Channels))?,
                &at(sender(Row::Channels))?,
                &radial,
            ],
            1,
        )
    }
}

impl Encoder for Allegro {
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
        let (u, degrees) = (self.config.channels, self.config.lmax + 1);
        let edges = &geometry.edges;
        let envelope = geometry.radial(&self.envelope)?;
        let radial = self.radial(geometry, &envelope, p)?;
        let harmonics = spherical_harmonics(geometry, self.config.lmax)?;
        let ones = Tensor::ones((batch.atoms(), u), batch.dtype, batch.species.device())?;
        let ones = Dual::from(ones);
        let share = match self.config.variant {
            Variant::Published => 1.0,
            Variant::Mended => 1.0 / self.config.neighbors.sqrt(),
        };
        let embed = |weights: &Dual, out| {
            let factors = [
                At(Place::Receiver, &ones),
                At(Place::Edge, &harmonics),
                At(Place::Edge, weights),
            ];
            weighted_product(&self.embed, edges, factors, out)
        };
        let first = self.inputs(batch, geometry, radial)?;
        let mut invariants = times(
            geometry,
            &self.layers[0].invariants.forward(&first, p)?,
            &envelope,
        )?;
        let mut features: Option<Dual> = None;
        let mut scalars: Option<Dual> = None;
        for layer in &self.layers {
            if let Some(scalars) = &scalars {
                let inputs = Dual::cat(&[&invariants, scalars], 1)?;
                let new = layer.invariants.forward(&inputs, p)?;
                invariants = residual(&invariants, &times(geometry, &new, &envelope)?)?;
            }
            let weights = layer.weights.forward(&invariants, p)?;
            let part = |first: usize| -> candle_core::Result<Dual> {
                let part = weights.linear(|w| w.narrow(1, first * u * degrees, u * degrees))?;
                turn(&part, u, degrees)
            };
            let (own, around) = match &features {
                Some(features) => (features.clone(), part(0)?),
                None => (embed(&part(0)?, Place::Edge)?, part(1)?),
            };
            let around = embed(&around, Place::Receiver)?.linear(|x| x * share)?;
            let [own, around] = [At(Place::Edge, &own), At(Place::Receiver, &around)];
            let product = product(&layer.plan, edges, own, around, Place::Edge)?;
            let blocks = product.linear(|x| x.narrow(1, 0, layer.scalars * u))?;
            scalars = Some(turn(&blocks, layer.scalars, u)?);
            if let Some(mix) = &layer.mix {
                features = Some(mix.forward(&product, u, p)?);
            }
        }
        if let Some(scalars) = &scalars {
            let new = self
                .last
                .forward(&Dual::cat(&[&invariants, scalars], 1)?, p)?;
            invariants = residual(&invariants, &times(geometry, &new, &envelope)?)?;
        }
        let energies = self.energy.forward(&invariants, p)?;
        let factors = [(edge(Row::Channels), &energies)];
        let atoms = Dual::contract(edges, factors, receiver(Row::Channels))?;
        Ok(Features {
            scalars: atoms.linear(|x| x * share)?,
            vectors: None,
        })
    }
}
