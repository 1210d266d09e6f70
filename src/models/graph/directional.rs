//! What DimeNet++ and SphereNet have in common: messages along edges that are updated from the
//! messages that come in at their senders, weighed by a filter of angles.
//!
//! `N` atoms, `E` edges in `P` pairs, `T` chains of two edges, `F` hidden width.

use crate::models::layers::{Embedding, Geometry, Linear, joined};
use crate::models::{Init, Parameters, Scope};
use crate::ops::dense::dense;
use crate::ops::dual::{At, Dual};
use crate::ops::pointwise::Silu;
use crate::ops::segment::{Incidence, Place, Row, edge, pair, receiver, sender};
use candle_core::{Result, Tensor};
use std::sync::Arc;

/// Widths of a network's blocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Widths {
    /// `F`.
    pub hidden: usize,
    /// Of messages inside a triplet.
    pub inner: usize,
    /// Of bases between their two layers.
    pub basis: usize,
    /// Of an output block.
    pub out: usize,
    /// Number of radial functions.
    pub radial: usize,
}

/// An orthogonal weight, and a bias of zeros.
fn orthogonal(b: &mut Scope, name: &str, from: usize, to: usize) -> Linear {
    let init = Init::glorot_orthogonal(from, to);
    Linear::new(&mut b.scope(name), from, to, init)
}

/// An orthogonal weight without a bias.
pub(super) fn unbiased(b: &mut Scope, name: &str, from: usize, to: usize) -> Linear {
    let init = Init::glorot_orthogonal(from, to);
    Linear::without_bias(&mut b.scope(name), from, to, init)
}

/// `x + silu(lin2(silu(lin1 x)))`.
struct Residual([Linear; 2]);

impl Residual {
    fn new(b: &mut Scope, width: usize) -> Self {
        Self(["lin1", "lin2"].map(|name| orthogonal(b, name, width, width)))
    }

    fn forward(&self, x: &Dual, p: &Parameters) -> Result<Dual> {
        let silu = Arc::new(Silu);
        let y = self.0[0].dual(x, p)?.apply(&silu)?;
        x.add(&self.0[1].dual(&y, p)?.apply(&silu)?)
    }
}

/// The first messages, of the elements at both ends and the distance.
pub(super) struct EdgeEmbedding {
    table: Embedding,
    radial: Linear,
    joined: Linear,
}

impl EdgeEmbedding {
    /// `radial` is the name of the layer on radial functions.
    pub fn new(b: &mut Scope, elements: usize, widths: Widths, radial: &str) -> Self {
        let f = widths.hidden;
        let init = Init::Uniform(3f64.sqrt());
        Self {
            table: Embedding::new(&mut b.scope("emb"), elements, f, init),
            radial: Linear::pytorch(&mut b.scope(radial), widths.radial, f),
            joined: Linear::pytorch(&mut b.scope("lin"), 3 * f, f),
        }
    }

    /// Messages `[E, F]` for the atoms' `species` `[N]` and radial functions `[P, K]`.
    pub fn forward(
        &self,
        species: &Tensor,
        geometry: &Geometry,
        radial: &Dual,
        p: &Parameters,
    ) -> Result<Dual> {
        let silu = Arc::new(Silu);
        let atoms = Dual::from(self.table.forward(species, p)?);
        let radial = self.radial.dual(radial, p)?.apply(&silu)?;
        let parts = [
            At(Place::Receiver, &atoms),
            At(Place::Sender, &atoms),
            At(Place::Pair, &radial),
        ];
        joined(&self.joined, &geometry.edges, parts, p)?.apply(&silu)
    }
}

/// From the messages that an atom receives to its energy.
pub(super) struct Output {
    up: Linear,
    layers: [Linear; 3],
    last: Linear,
}

impl Output {
    pub fn new(b: &mut Scope, widths: Widths, last: Init) -> Self {
        let (f, out) = (widths.hidden, widths.out);
        let up = {
            let mut b = b.scope("lin_up");
            let weight = b.parameter("weight", (out, f), Init::glorot_orthogonal(f, out));
            let bias = b.parameter("bias", out, Init::fan_in(f));
            Linear::of(weight, Some(bias))
        };
        Self {
            up,
            layers: ["lins.0", "lins.1", "lins.2"].map(|name| orthogonal(b, name, out, out)),
            last: Linear::without_bias(&mut b.scope("lin"), out, 1, last),
        }
    }

    /// Energies `[N, 1]` from `messages` `[E, F]` times filters `[P, F]`.
    pub fn forward(
        &self,
        geometry: &Geometry,
        messages: &Dual,
        filters: &Dual,
        p: &Parameters,
    ) -> Result<Dual> {
        let silu = Arc::new(Silu);
        let factors = [
            (edge(Row::Channels), messages),
            (pair(Row::Channels), filters),
        ];
        let sum = Dual::contract(&geometry.edges, factors, receiver(Row::Channels))?;
        let mut x = self.up.dual(&sum, p)?;
        for layer in &self.layers {
            x = layer.dual(&x, p)?.apply(&silu)?;
        }
        self.last.dual(&x, p)
    }
}

/// The update of messages, around what goes on in triplets.
pub(super) struct Interaction {
    radial: [Linear; 2],
    from: Linear,
    own: Linear,
    down: Linear,
    up: Linear,
    before: Residual,
    joined: Linear,
    after: [Residual; 2],
}

impl Interaction {
    pub fn new(b: &mut Scope, widths: Widths) -> Self {
        let (f, inner) = (widths.hidden, widths.inner);
        Self {
            radial: [
                unbiased(b, "lin_rbf1", widths.radial, widths.basis),
                unbiased(b, "lin_rbf2", widths.basis, f),
            ],
            from: orthogonal(b, "lin_kj", f, f),
            own: orthogonal(b, "lin_ji", f, f),
            down: unbiased(b, "lin_down", f, inner),
            up: unbiased(b, "lin_up", inner, f),
            before: Residual::new(&mut b.scope("layers_before_skip.0"), f),
            joined: orthogonal(b, "lin", f, f),
            after: [0, 1]
                .map(|i| Residual::new(&mut b.scope(format_args!("layers_after_skip.{i}")), f)),
        }
    }

    /// New messages `[E, F]` from radial functions `[P, K]`; `triplets` makes of inner messages `[E, inner]` their sums over the
    /// chains that end with each edge.
    pub fn forward(
        &self,
        edges: &Arc<Incidence>,
        messages: &Dual,
        radial: &Dual,
        triplets: impl Fn(&Dual) -> Result<Dual>,
        p: &Parameters,
    ) -> Result<Dual> {
        let silu = Arc::new(Silu);
        let own = self.own.dual(messages, p)?.apply(&silu)?;
        let filter = self.radial[1].dual(&self.radial[0].dual(radial, p)?, p)?;
        let factors = [
            (
                edge(Row::Channels),
                &self.from.dual(messages, p)?.apply(&silu)?,
            ),
            (pair(Row::Channels), &filter),
        ];
        let inner = Dual::contract(edges, factors, edge(Row::Channels))?;
        let inner = self.down.dual(&inner, p)?.apply(&silu)?;
        let sums = self.up.dual(&triplets(&inner)?, p)?.apply(&silu)?;
        let new = self.before.forward(&own.add(&sums)?, p)?;
        let new = self.joined.dual(&new, p)?.apply(&silu)?.add(messages)?;
        self.after
            .iter()
            .try_fold(new, |x, layer| layer.forward(&x, p))
    }
}

/// Two layers on the products of `degrees` functions of an angle and functions of a distance, with
/// the sum over functions of the angle still to be made: the layers act on pairs of edges, which are
/// fewer than the chains.
pub(super) struct AngularFilter {
    layers: [Linear; 2],
    /// `[A, 1, L, 1]`: which degree's radial functions each of `A` angular ones goes with.
    degree_of: Vec<usize>,
    degrees: usize,
}

impl AngularFilter {
    /// `degree_of[a]` is the degree, below `degrees`, of the radial functions that the angular
    /// function `a` is multiplied with; `names` are those of the two layers.
    pub fn new(
        b: &mut Scope,
        names: [&str; 2],
        degree_of: Vec<usize>,
        degrees: usize,
        widths: Widths,
    ) -> Self {
        let inputs = degree_of.len() * widths.radial;
        Self {
            layers: [
                unbiased(b, names[0], inputs, widths.basis),
                unbiased(b, names[1], widths.basis, widths.inner),
            ],
            degree_of,
            degrees,
        }
    }

    /// `[P, A, inner]` from the radial functions of all degrees, `[P, L K]`.
    pub fn on_pairs(&self, radial: &Dual, p: &Parameters) -> Result<Dual> {
        let weight = self.layers[0].weight(p)?;
        let (angular, basis) = (self.degree_of.len(), weight.dim(0)?);
        let count = weight.dim(1)? / angular;
        let chosen = |a: usize, l: usize| f64::from(self.degree_of[a] == l);
        let mask = (0..angular).flat_map(|a| (0..self.degrees).map(move |l| (a, l)));
        let mask: Vec<f64> = mask.map(|(a, l)| chosen(a, l)).collect();
        let mask = Tensor::from_vec(mask, (angular, 1, self.degrees, 1), weight.device())?
            .to_dtype(weight.dtype())?;
        // `[A, basis, L, K]`: zero where the degree is not that of the angular function.
        let spread = weight
            .reshape((basis, angular, 1, count))?
            .transpose(0, 1)?
            .broadcast_mul(&mask)?
            .reshape((angular * basis, self.degrees * count))?;
        let first = radial.linear(|x| dense(x, &spread)?.reshape((x.dim(0)?, angular, basis)))?;
        self.layers[1].dual(&first, p)
    }
}

/// The sums, over the chains that end with each edge, of inner messages `[E, inner]` times filters
/// `[P, A, inner]` of their first edges times angular functions `[T, A]`.
pub(super) fn sum_chains(
    geometry: &Geometry,
    chains: &Arc<Incidence>,
    messages: &Dual,
    filters: &Dual,
    angular: &Dual,
) -> Result<Dual> {
    let factors = [
        (edge(Row::Channels), messages),
        (pair(Row::Vectors), filters),
    ];
    let filtered = Dual::contract(&geometry.edges, factors, edge(Row::Vectors))?;
    let factors = [
        (edge(Row::Vector), angular),
        (sender(Row::Vectors), &filtered),
    ];
    Dual::contract(chains, factors, receiver(Row::Channels))
}
