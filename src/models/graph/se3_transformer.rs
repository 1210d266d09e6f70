//! The SE(3)-Transformer (Fuchs et al., NeurIPS 2020): attention between features of several
//! degrees, on bonds or other edges. Sizes, order of weights and initialisation as released with
//! Geom3D.
//!
//! `N` atoms, `E` edges, `H` heads.

use super::fiber_network::{FiberNetwork, Layer, Sizes};
use super::fibers::{Fiber, Inputs, Kernels, Mix, Shape, head};
use super::heads::HeadConfig;
use super::{Encoder, EncoderConfig, Variant, check_degrees, check_sizes};
use crate::models::layers::{CutoffShape, check_cutoff, edge_softmax};
use crate::models::{Parameters, Scope};
use crate::ops::dense::dense;
use crate::ops::dual::Dual;
use crate::ops::segment::{Place, Row, edge, receiver};
use crate::{Error, Result};
use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sizes of the SE(3)-Transformer; the default is the released one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Se3TransformerConfig {
    /// Channels of each degree. The features at the end have as many for every degree.
    pub width: usize,
    /// Channels of each degree of values, keys and queries.
    pub attention_width: usize,
    /// Heads, `H`.
    pub heads: usize,
    /// Layers of attention.
    pub layers: usize,
    /// The highest degree.
    pub lmax: usize,
    /// Width of the radial networks.
    pub radial_width: usize,
    /// Longest edge in Å.
    pub cutoff: f64,
    /// Atomic numbers up to this one are known.
    pub elements: usize,
    /// Mended: attention is shared over the edges that an atom receives, as in the paper, where
    /// the released code shares it over those that an atom sends; messages go to zero at the
    /// cutoff, and lengths, activations and with them energies are smooth; the energy is a sum
    /// over atoms, where in the released code it is made of the largest features.
    pub variant: Variant,
}

impl Default for Se3TransformerConfig {
    fn default() -> Self {
        Self {
            width: 32,
            attention_width: 16,
            heads: 8,
            layers: 7,
            lmax: 3,
            radial_width: 32,
            cutoff: 5.0,
            elements: 119,
            variant: Variant::default(),
        }
    }
}

impl Se3TransformerConfig {
    /// Scalars at the end.
    fn features(&self) -> usize {
        self.width * (self.lmax + 1)
    }
}

impl EncoderConfig for Se3TransformerConfig {
    fn check(&self) -> Result<()> {
        check_degrees(self.lmax.saturating_add(1))?;
        check_sizes(&[
            ("width", self.width),
            ("attention_width", self.attention_width),
            ("heads", self.heads),
            ("layers", self.layers),
            ("radial_width", self.radial_width),
            ("elements", self.elements),
            ("width * (lmax + 1)", self.features()),
        ])?;
        if !self.attention_width.is_multiple_of(self.heads) {
            return Err(Error::input(format!(
                "attention_width = {}: no multiple of heads = {}",
                self.attention_width, self.heads
            )));
        }
        check_cutoff(self.cutoff, CutoffShape::Polynomial(6))
    }

    fn head(&self) -> HeadConfig {
        head(self.variant)
    }

    fn build(&self, b: &mut Scope) -> Box<dyn Encoder> {
        let shape = Shape {
            lmax: self.lmax,
            radial: self.radial_width,
            variant: self.variant,
        };
        let sizes = Sizes {
            channels: self.width,
            shape,
            layers: self.layers,
            norm_layers: 0,
            features: self.features(),
            cutoff: self.cutoff,
            elements: self.elements,
        };
        let layer =
            |b: &mut Scope, from: &[usize], _: &[usize]| Attention::new(b, self, shape, from);
        Box::new(FiberNetwork::new(&mut b.scope("layers"), sizes, layer))
    }
}

/// Attention, and a map of its result and of the atom's own features.
struct Attention {
    values: Kernels,
    keys: Kernels,
    queries: Vec<Mix>,
    out: Vec<Mix>,
    /// Which rows share attention.
    over: Place,
    heads: usize,
    /// Channels of each degree of values and keys.
    width: usize,
}

impl Attention {
    /// On fibers of so many channels in each degree.
    fn new(b: &mut Scope, config: &Se3TransformerConfig, shape: Shape, from: &[usize]) -> Self {
        let width = config.attention_width;
        let degrees = config.lmax + 1;
        let mut at = b.scope("GMAB");
        let values = Kernels::new(&mut at.scope("v"), shape, from, &vec![width; degrees]);
        let keys = Kernels::new(&mut at.scope("k"), shape, from, &vec![width; from.len()]);
        let mut at = at.scope("q.transform");
        let query = |(l, &from): (usize, &usize)| Mix::new(&mut at, l, l, &[width, from]);
        let queries = from.iter().enumerate().map(query).collect();
        let mut at = b.scope("project.transform");
        let out = |l: usize| {
            let own = from.get(l).copied().unwrap_or(0);
            Mix::new(&mut at, l, l, &[config.width, width + own])
        };
        Self {
            values,
            keys,
            queries,
            out: (0..degrees).map(out).collect(),
            over: match config.variant {
                Variant::Published => Place::Sender,
                Variant::Mended => Place::Receiver,
            },
            heads: config.heads,
            width,
        }
    }

    /// Which channels of the first `degrees` degrees, side by side, are a head's: 1 for these and
    /// 0 for others, `[H, channels]`, in the type of `like`.
    fn members(&self, degrees: usize, like: &Tensor) -> candle_core::Result<Tensor> {
        let (channels, own) = (degrees * degrees * self.width, self.width / self.heads);
        let member = |n: usize| {
            let (head, channel) = (n / channels, n % channels % self.width);
            f64::from(u8::from(channel / own == head))
        };
        let members: Vec<f64> = (0..self.heads * channels).map(member).collect();
        Tensor::from_vec(members, (self.heads, channels), like.device())?.to_dtype(like.dtype())
    }
}

impl Layer for Attention {
    fn forward(&self, x: &Fiber, inputs: &Inputs, p: &Parameters) -> candle_core::Result<Fiber> {
        let edges = inputs.edges;
        let joined = |fiber: &Fiber| Dual::cat(&fiber.iter().collect::<Vec<_>>(), 1);
        let values = joined(&self.values.messages(x, inputs, p)?)?;
        let keys = joined(&self.keys.messages(x, inputs, p)?)?;
        let queries = self.queries.iter().zip(x);
        let queries = queries.map(|(mix, x)| mix.forward(&[x], p));
        let queries = joined(&queries.collect::<candle_core::Result<_>>()?)?;
        let factors = [
            (edge(Row::Channels), &keys),
            (receiver(Row::Channels), &queries),
        ];
        let products = Dual::contract(edges, factors, edge(Row::Channels))?;
        let share = 1.0 / (products.value.dim(1)? as f64).sqrt();
        let of_keys = (self.members(x.len(), &products.value)? * share)?;
        let scores = products.linear(|x| dense(x, &of_keys))?;
        let shares = edge_softmax(edges, self.over, &scores, inputs.envelope.as_ref())?;
        let of_values = self.members(self.out.len(), &values.value)?.t()?;
        let spread = shares.linear(|a| dense(a, &of_values))?;
        let factors = [
            (edge(Row::Channels), &values),
            (edge(Row::Channels), &spread),
        ];
        let sums = Dual::contract(edges, factors, receiver(Row::Channels))?;
        let out = self.out.iter().enumerate().map(|(l, mix)| {
            let (start, len) = (l * l * self.width, (2 * l + 1) * self.width);
            let sum = sums.linear(|s| s.narrow(1, start, len))?;
            match x.get(l) {
                Some(x) => mix.forward(&[&sum, x], p),
                None => mix.forward(&[&sum], p),
            }
        });
        out.collect()
    }
}
