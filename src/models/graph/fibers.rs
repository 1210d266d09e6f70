//! What tensor field networks are made of (Thomas et al. 2018, arXiv:1802.08219): features of
//! several degrees, kernels that couple them along edges, and norms. Names, sizes and
//! initialisation as released with Geom3D.
//!
//! A fiber has features of degrees `l = 0, 1, ..`, each `[N, (2 l + 1) * channels]`, channels
//! innermost. `N` atoms, `E` edges, `J` degree of a harmonic.

use super::heads::{HeadConfig, Hidden, Of};
use super::nequip::one_hot;
use super::{Batch, Variant};
use crate::models::layers::irreps::spherical_harmonics;
use crate::models::layers::{
    Activation, Cutoff, CutoffShape, Geometry, LayerNorm, Linear, Readout,
};
use crate::models::{Init, Parameter, Parameters, Scope};
use crate::ops::dense::dense;
use crate::ops::dual::{At, Dual};
use crate::ops::edge_map::{Sizes, edge_map};
use crate::ops::segment::{Incidence, Place, Row, edge, receiver};
use crate::ops::tensor_product::{Plan, product};
use crate::so3::blocks::{Blocks, Irrep, Path};
use candle_core::{Result, Tensor};
use std::f64::consts::PI;
use std::sync::Arc;

/// Features by degree.
pub(super) type Fiber = Vec<Dual>;

/// Kinds of bonds that edges are told apart by: single, double, triple, aromatic, none.
const BONDS: usize = 5;

/// The released head, or one of the energies of atoms.
pub(super) fn head(variant: Variant) -> HeadConfig {
    match variant {
        Variant::Published => HeadConfig {
            readout: Readout::Max,
            of: Of::Graph,
            hidden: Hidden::Full,
            activation: Activation::Relu,
        },
        Variant::Mended => HeadConfig {
            hidden: Hidden::Full,
            ..HeadConfig::default()
        },
    }
}

/// A ReLU as released. Forces jump at its kink, so the mended networks have a smooth one.
fn activation(variant: Variant) -> Activation {
    match variant {
        Variant::Published => Activation::Relu,
        Variant::Mended => Activation::Swish,
    }
}

/// Sizes that all layers share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// The highest degree.
    pub lmax: usize,
    /// Width of the radial networks.
    pub radial: usize,
    pub variant: Variant,
}

/// What every layer takes of the batch.
pub(super) struct Inputs<'a> {
    pub batch: &'a Batch,
    pub edges: &'a Arc<Incidence>,
    /// `S_J` of the way from receiver to sender, `[E, (2 lmax + 1)^2]`.
    harmonics: Dual,
    /// The same, going to zero at the cutoff in a mended network.
    faded: Dual,
    /// What messages go to zero with, `[E]`, in a mended network.
    pub envelope: Option<Dual>,
    /// What sums over an atom's edges are multiplied with to be means, `[N]`.
    shares: Dual,
    /// Whether an atom has edges, `[N]`: without, a released network forgets the atom.
    reached: Option<Dual>,
    /// Kind of the bond and distance in Å, `[E, BONDS + 1]`.
    features: Dual,
    ones: Dual,
}

impl<'a> Inputs<'a> {
    /// For edges up to `cutoff` Å.
    pub fn new(
        batch: &'a Batch,
        geometry: &'a Geometry,
        shape: Shape,
        cutoff: f64,
    ) -> Result<Self> {
        let edges = &geometry.edges;
        let constant = |values: Vec<f64>, width: usize| {
            let rows = values.len() / width;
            let values = Tensor::from_vec(values, (rows, width), batch.species.device())?;
            Ok::<_, candle_core::Error>(Dual::from(values.to_dtype(batch.dtype)?))
        };
        let degrees: Vec<f64> = (0..=2 * shape.lmax).flat_map(scales).collect();
        let scales = constant(degrees.clone(), degrees.len())?.value;
        let harmonics = spherical_harmonics(geometry, 2 * shape.lmax)?;
        let harmonics = harmonics.linear(|y| y.broadcast_mul(&scales))?;
        let envelope = match shape.variant {
            Variant::Published => None,
            Variant::Mended => Some(geometry.radial(&Arc::new(Cutoff {
                shape: CutoffShape::Polynomial(6),
                radius: cutoff,
            }))?),
        };
        let (faded, shares, reached) = match &envelope {
            None => {
                let counts = (0..edges.receiving()).map(|atom| edges.of_receiver(atom).len());
                let counts: Vec<usize> = counts.collect();
                let shares = counts.iter().map(|&n| 1.0 / n.max(1) as f64).collect();
                let reached = counts.iter().map(|&n| n.min(1) as f64).collect();
                let number = |values| constant(values, 1)?.linear(|t| t.squeeze(1));
                (harmonics.clone(), number(shares)?, Some(number(reached)?))
            }
            Some(envelope) => {
                let factors = [
                    (edge(Row::Channels), &harmonics),
                    (edge(Row::Number), envelope),
                ];
                let faded = Dual::contract(edges, factors, edge(Row::Channels))?;
                let sums = [(edge(Row::Number), envelope)];
                let sums = Dual::contract(edges, sums, receiver(Row::Number))?;
                let sums = sums.map(|n| n + 1.0, |_, t| Ok(t.clone()))?;
                (faded, sums.recip()?, None)
            }
        };
        let bond = |&order: &u8| {
            let kind = usize::from(order.wrapping_sub(1)).min(BONDS - 1);
            (0..BONDS).map(move |k| f64::from(u8::from(k == kind)))
        };
        let bonds = constant(batch.bonds.iter().flat_map(bond).collect(), BONDS)?;
        let distances = geometry.distances.linear(|d| d.unsqueeze(1))?;
        Ok(Self {
            batch,
            edges,
            harmonics,
            faded,
            envelope,
            shares,
            reached,
            features: Dual::cat(&[&bonds, &distances], 1)?,
            ones: constant(vec![1.0; edges.len()], 1)?,
        })
    }

    /// `x` `[N, F]` times numbers of the atoms, `[N]`.
    fn times(&self, x: &Dual, numbers: &Dual) -> Result<Dual> {
        let factors = [(edge(Row::Channels), x), (edge(Row::Number), numbers)];
        Dual::contract(&self.batch.graphs, factors, edge(Row::Channels))
    }
}

/// What the harmonics of degree `J` are multiplied with: `(-1)^J / sqrt(4 pi)`, for each order.
fn scales(degree: usize) -> impl Iterator<Item = f64> {
    let sign = if degree.is_multiple_of(2) { 1.0 } else { -1.0 };
    std::iter::repeat_n(sign / (4.0 * PI).sqrt(), 2 * degree + 1)
}

/// Channels of the fiber that atoms begin with: their element, one of `elements`, and its number.
pub(super) fn first(elements: usize) -> [usize; 1] {
    [elements + 1]
}

/// That fiber.
pub(super) fn elements(batch: &Batch, elements: usize) -> Result<Fiber> {
    let number = batch.species.to_dtype(batch.dtype)?.unsqueeze(1)?;
    let all = Tensor::cat(&[&one_hot(batch, elements)?, &number], 1)?;
    Ok(vec![all.into()])
}

/// Mixes the channels of a degree, the same for all orders; no bias.
pub(super) struct Mix {
    weight: Parameter,
    degree: usize,
    from: usize,
}

impl Mix {
    /// A weight of this name whose elements are `[to, from]`.
    pub fn new(b: &mut Scope, name: impl std::fmt::Display, degree: usize, dims: &[usize]) -> Self {
        let from = dims[dims.len() - 1];
        let init = Init::Normal(1.0 / (from as f64).sqrt());
        Self {
            weight: b.parameter(name, dims, init),
            degree,
            from,
        }
    }

    /// Features side by side, whose channels are together those of the layer.
    pub fn forward(&self, parts: &[&Dual], p: &Parameters) -> Result<Dual> {
        let orders = 2 * self.degree + 1;
        let rows = |x: &&Dual| x.linear(|x| x.reshape((x.dim(0)? * orders, x.dim(1)? / orders)));
        let rows = parts.iter().map(rows).collect::<Result<Vec<_>>>()?;
        let x = match rows.as_slice() {
            [one] => one.clone(),
            several => Dual::cat(&several.iter().collect::<Vec<_>>(), 1)?,
        };
        let weight = p.get(&self.weight)?;
        let weight = weight.reshape((weight.elem_count() / self.from, self.from))?;
        x.linear(|x| {
            let y = dense(x, &weight)?;
            y.reshape((y.dim(0)? / orders, orders * y.dim(1)?))
        })
    }
}

/// A kernel from features of one degree to those of another,
/// `K(r) = sum over J of R_J(|r|) sum_m w3j(l, k, J) S_Jm(r)`, where `R_J` are matrices that a
/// network of bond and distance makes.
struct Kernel {
    hidden: [(Linear, LayerNorm); 2],
    last: Linear,
    sizes: Sizes,
    activation: Activation,
    plan: Arc<Plan>,
}

impl Kernel {
    /// Between degrees, of so many channels.
    fn new(b: &mut Scope, shape: Shape, [k, l]: [usize; 2], [from, to]: [usize; 2]) -> Self {
        let mut b = b.scope(format_args!("kernel_unary.({k},{l}).rp.net"));
        let mut layer = |number: usize, from: usize, to: usize| {
            let mut b = b.scope(number);
            let weight = b.parameter(
                "weight",
                (to, from),
                Init::Uniform((6.0 / from as f64).sqrt()),
            );
            let bias = b.parameter("bias", to, Init::fan_in(from));
            Linear::of(weight, Some(bias))
        };
        let degrees = k.abs_diff(l)..=k + l;
        let sizes = Sizes {
            maps: degrees.clone().count(),
            axes: 2 * k + 1,
            from,
            to,
        };
        let width = shape.radial;
        let linear = [layer(0, BONDS + 1, width), layer(3, width, width)];
        let last = layer(6, width, sizes.maps * from * to);
        let left: Blocks = degrees.clone().map(|_| Irrep::even(k).of(to)).collect();
        let path = |(left, right)| Path {
            left,
            right,
            irrep: Irrep::even(l),
        };
        let paths: Vec<Path> = degrees.enumerate().map(path).collect();
        let harmonics = Blocks::harmonics(2 * shape.lmax, true);
        let mut norm = |name| LayerNorm::new(&mut b.scope(name), width);
        let [first, second] = linear;
        Self {
            hidden: [(first, norm("1.bn")), (second, norm("4.bn"))],
            last,
            sizes,
            activation: activation(shape.variant),
            plan: Arc::new(Plan::summed(&left, &harmonics, &paths)),
        }
    }

    /// The messages of features `x` of the senders, at the edges or summed.
    fn forward(&self, x: &Dual, inputs: &Inputs, out: Place, p: &Parameters) -> Result<Dual> {
        let mut features = inputs.features.clone();
        for (linear, norm) in &self.hidden {
            let y = norm.dual(&linear.dual(&features, p)?, p)?;
            features = self.activation.dual(&y)?;
        }
        let features = Dual::cat(&[&features, &inputs.ones], 1)?;
        let matrices = edge_map(inputs.edges, self.sizes, x, &features, &self.weights(p)?)?;
        let harmonics = match out {
            Place::Receiver => &inputs.faded,
            _ => &inputs.harmonics,
        };
        let [matrices, harmonics] = [&matrices, harmonics].map(|x| At(Place::Edge, x));
        product(&self.plan, inputs.edges, matrices, harmonics, out)
    }

    /// Weights and biases of the last layer, whose outputs are by `to`, `from`, map, in the order
    /// of [`edge_map`].
    fn weights(&self, p: &Parameters) -> Result<Tensor> {
        let Sizes { maps, from, to, .. } = self.sizes;
        let bias = self.last.bias(p)?.unsqueeze(1)?;
        let all = Tensor::cat(&[&self.last.weight(p)?, &bias], 1)?;
        let width = all.dim(1)?;
        let all = all
            .reshape((to, from, maps, width))?
            .permute((2, 1, 0, 3))?;
        all.reshape((maps * from * to, width))
    }
}

/// Kernels between all degrees of two fibers, by degree of the result.
pub(super) struct Kernels(Vec<Vec<Kernel>>);

impl Kernels {
    /// From fibers to fibers of so many channels in each degree.
    pub fn new(b: &mut Scope, shape: Shape, from: &[usize], to: &[usize]) -> Self {
        let kernels = to.iter().enumerate().map(|(l, &to)| {
            let kernel = |(k, &from)| Kernel::new(b, shape, [k, l], [from, to]);
            from.iter().enumerate().map(kernel).collect()
        });
        Self(kernels.collect())
    }

    /// The message of every edge.
    pub fn messages(&self, x: &Fiber, inputs: &Inputs, p: &Parameters) -> Result<Fiber> {
        self.forward(x, inputs, Place::Edge, p)
    }

    /// The mean message to every atom.
    fn means(&self, x: &Fiber, inputs: &Inputs, p: &Parameters) -> Result<Fiber> {
        let sums = self.forward(x, inputs, Place::Receiver, p)?;
        sums.iter()
            .map(|x| inputs.times(x, &inputs.shares))
            .collect()
    }

    fn forward(&self, x: &Fiber, inputs: &Inputs, out: Place, p: &Parameters) -> Result<Fiber> {
        let degree = |kernels: &Vec<Kernel>| {
            let mut parts = kernels
                .iter()
                .zip(x)
                .map(|(k, x)| k.forward(x, inputs, out, p));
            match parts.next() {
                Some(first) => parts.try_fold(first?, |sum, part| sum.add(&part?)),
                None => candle_core::bail!("a fiber without degrees"),
            }
        };
        self.0.iter().map(degree).collect()
    }
}

/// The mean of messages, and what an atom keeps of itself.
pub(super) struct Convolution {
    kernels: Kernels,
    /// For the degrees that both fibers have.
    own: Vec<Mix>,
}

impl Convolution {
    /// From fibers to fibers of so many channels in each degree.
    pub fn new(b: &mut Scope, shape: Shape, from: &[usize], to: &[usize]) -> Self {
        let own = from.iter().zip(to).enumerate().map(|(l, (&from, &to))| {
            Mix::new(b, format_args!("kernel_self.{l}"), l, &[1, to, from])
        });
        Self {
            own: own.collect(),
            kernels: Kernels::new(b, shape, from, to),
        }
    }

    pub fn forward(&self, x: &Fiber, inputs: &Inputs, p: &Parameters) -> Result<Fiber> {
        let mut out = self.kernels.means(x, inputs, p)?;
        for ((mix, x), out) in self.own.iter().zip(x).zip(&mut out) {
            let mut own = mix.forward(&[x], p)?;
            if let Some(reached) = &inputs.reached {
                own = inputs.times(&own, reached)?;
            }
            *out = out.add(&own)?;
        }
        Ok(out)
    }
}

/// Layers on the lengths of features, which keep their directions: layer norm, activation, linear.
pub(super) struct Norm {
    degrees: Vec<Stack>,
    variant: Variant,
}

/// Norms, each with an activation and perhaps a linear layer after it.
type Stack = Vec<(LayerNorm, Option<Linear>)>;

impl Norm {
    /// Of so many channels in each degree. Without linear `layers` there are one norm and one
    /// activation.
    pub fn new(b: &mut Scope, variant: Variant, channels: &[usize], layers: usize) -> Self {
        let degree = |(l, &width): (usize, &usize)| {
            let mut b = b.scope(format_args!("transform.{l}"));
            let layer = |i: usize| {
                let norm = LayerNorm::new(&mut b.scope(format_args!("{}.bn", 3 * i)), width);
                let mut linear = || {
                    let mut b = b.scope(3 * i + 2);
                    let init = Init::Uniform((6.0 / width as f64).sqrt());
                    let weight = b.parameter("weight", (width, width), init);
                    let is_last = i + 1 == layers;
                    let bias = is_last.then(|| b.parameter("bias", width, Init::fan_in(width)));
                    Linear::of(weight, bias)
                };
                (norm, (i < layers).then(&mut linear))
            };
            (0..layers.max(1)).map(layer).collect()
        };
        Self {
            degrees: channels.iter().enumerate().map(degree).collect(),
            variant,
        }
    }

    /// A length is `sqrt(x^2 + e^2)`, so that there is a direction, and its derivative, at zero:
    /// `e` is what the released code cuts lengths off at, which leaves a step where an invariant
    /// changes sign, or large enough for energies to be smooth.
    fn shortest(&self) -> f64 {
        match self.variant {
            Variant::Published => 1e-12,
            Variant::Mended => 0.1,
        }
    }

    pub fn forward(&self, x: &Fiber, p: &Parameters) -> Result<Fiber> {
        let degree = |(l, (layers, x)): (usize, (&Stack, &Dual))| {
            let orders = 2 * l + 1;
            let squares = x.mul(x)?.linear(|s| {
                let channels = s.dim(1)? / orders;
                s.reshape((s.dim(0)?, orders, channels))?.sum(1)
            })?;
            let lengths = squares.sqrt(self.shortest().powi(2))?;
            let mut new = lengths.clone();
            for (norm, linear) in layers {
                new = activation(self.variant).dual(&norm.dual(&new, p)?)?;
                if let Some(linear) = linear {
                    new = linear.dual(&new, p)?;
                }
            }
            let scale = new.mul(&lengths.recip()?)?;
            x.mul(&scale.linear(|s| s.repeat((1, orders)))?)
        };
        self.degrees.iter().zip(x).enumerate().map(degree).collect()
    }
}
