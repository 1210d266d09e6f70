//! GVP-GNN (Jing et al., ICLR 2021): scalars and vectors of backbone atoms, mixed by geometric vector
//! perceptrons. Sizes and order of layers as released with Geom3D for folds: the atoms are those of
//! the backbone, and the kinds of the residues are not looked at.
//!
//! `N` atoms, `E` edges, `S` scalars and `V` vectors of an atom.

use super::batch::{groups, joined_edges, near};
use super::{Batch, Encoder, EncoderConfig, Level, On};
use super::{check_dropout, check_length, check_sizes, linear};
use crate::Result;
use crate::data::chains::Chain;
use crate::data::neighbors::Edges;
use crate::data::system::{Point, sub};
use crate::models::layers::{Embedding, LayerNorm, Linear, Pass, Readout, joined};
use crate::models::{Init, Parameters, Scope};
use crate::ops::dual::{At, Dual};
use crate::ops::segment::{Incidence, Place};
use candle_core::Tensor;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Sizes of GVP-GNN; the default is the released one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GvpConfig {
    /// Scalars of an atom, `S`.
    pub scalars: usize,
    /// Vectors of an atom, `V`.
    pub vectors: usize,
    /// Scalars of an edge.
    pub edge_scalars: usize,
    /// Layers of messages.
    pub layers: usize,
    /// Number of radial functions.
    pub radial: usize,
    /// Longest edge in Å.
    pub cutoff: f64,
    /// Of the atoms within the cutoff so many nearest send to an atom.
    pub neighbors: usize,
    /// Part of the channels that training drops out.
    pub dropout: f64,
}

impl Default for GvpConfig {
    fn default() -> Self {
        Self {
            scalars: 100,
            vectors: 16,
            edge_scalars: 32,
            layers: 5,
            radial: 16,
            cutoff: 4.5,
            neighbors: 32,
            dropout: 0.1,
        }
    }
}

impl EncoderConfig for GvpConfig {
    fn check(&self) -> Result<()> {
        check_sizes(&[
            ("scalars", self.scalars),
            ("vectors", self.vectors),
            ("edge_scalars", self.edge_scalars),
            ("layers", self.layers),
            ("radial", self.radial),
            ("neighbors", self.neighbors),
        ])?;
        check_length("cutoff", self.cutoff)?;
        check_dropout(self.dropout)
    }

    fn build(&self, b: &mut Scope, outputs: usize) -> Box<dyn Encoder> {
        Box::new(GvpGnn::new(b, self, outputs))
    }
}

/// Kinds of elements: H, C, N, O, F, S, Cl, P and all others.
const ELEMENTS: usize = 9;
const CARBON: u8 = 1;
const NITROGEN: u8 = 2;

/// Scalars `[rows, S]`, and vectors `[rows, 3, V]`.
#[derive(Clone)]
struct State {
    scalars: Tensor,
    vectors: Tensor,
}

/// Squared norms are at least this: their root has a gradient.
const LEAST: f64 = 1e-8;

/// `sum over axes of v^2`, `[rows, V]`.
fn squares(v: &Tensor) -> candle_core::Result<Tensor> {
    v.sqr()?.sum(1)?.maximum(LEAST)
}

/// A geometric vector perceptron (algorithm 1, with the gate of the vectors by scalars).
struct Gvp {
    /// Vectors to hidden ones, whose norms the scalars see; none without vectors.
    hidden: Option<Linear>,
    scalars: Linear,
    /// Hidden vectors to the new ones, and scalars to their gates; none without new vectors.
    vectors: Option<[Linear; 2]>,
    relu: bool,
}

/// Channels of a [`State`].
#[derive(Clone, Copy)]
struct Width {
    scalars: usize,
    vectors: usize,
}

impl Width {
    const fn new(scalars: usize, vectors: usize) -> Self {
        Self { scalars, vectors }
    }
}

impl Gvp {
    /// From channels to channels.
    fn new(b: &mut Scope, [from, to]: [Width; 2], relu: bool) -> Self {
        let (s, v, to_s, to_v) = (from.scalars, from.vectors, to.scalars, to.vectors);
        let unbiased = |b: &mut Scope, from, to| {
            let init = Init::fan_in(from);
            Linear::without_bias(b, from, to, init)
        };
        let h = if v == 0 { 0 } else { v.max(to_v) };
        Self {
            hidden: (v > 0).then(|| unbiased(&mut b.scope("wh"), v, h)),
            scalars: Linear::pytorch(&mut b.scope("ws"), s + h, to_s),
            vectors: (v > 0 && to_v > 0).then(|| {
                [
                    unbiased(&mut b.scope("wv"), h, to_v),
                    Linear::pytorch(&mut b.scope("wsv"), to_s, to_v),
                ]
            }),
            relu,
        }
    }

    /// Of hidden vectors and of the scalars before their activation.
    fn finish(&self, scalars: Tensor, hidden: &Tensor, p: &Parameters) -> Rows {
        let vectors = match &self.vectors {
            Some([wv, gate]) => {
                let gate = candle_nn::ops::sigmoid(&linear(gate, &scalars, p)?)?;
                linear(wv, hidden, p)?.broadcast_mul(&gate.unsqueeze(1)?)?
            }
            None => hidden.narrow(2, 0, 0)?,
        };
        let scalars = match self.relu {
            true => scalars.relu()?,
            false => scalars,
        };
        Ok(State { scalars, vectors })
    }

    fn forward(&self, x: &State, p: &Parameters) -> Rows {
        let Some(wh) = &self.hidden else {
            return self.finish(linear(&self.scalars, &x.scalars, p)?, &x.vectors, p);
        };
        let hidden = linear(wh, &x.vectors, p)?;
        let norms = squares(&hidden)?.sqrt()?;
        let joined = Tensor::cat(&[&x.scalars, &norms], 1)?;
        self.finish(linear(&self.scalars, &joined, p)?, &hidden, p)
    }

    /// [`Gvp::forward`] of sender, edge and receiver side by side, on every edge.
    fn along(&self, edges: &Arc<Incidence>, nodes: &State, own: &State, p: &Parameters) -> Rows {
        let Some(wh) = &self.hidden else {
            candle_core::bail!("messages without vectors");
        };
        let places = [Place::Sender, Place::Edge, Place::Receiver];
        let parts =
            |of: fn(&State) -> &Tensor| [nodes, own, nodes].map(|s| Dual::from(of(s).clone()));
        let v = parts(|s| &s.vectors);
        let v = std::array::from_fn::<_, 3, _>(|k| At(places[k], &v[k]));
        let hidden = joined(wh, edges, v, p)?.value;
        let norms = squares(&hidden)?.sqrt()?.into();
        let [a, b, c] = &parts(|s| &s.scalars);
        let s = [
            At(places[0], a),
            At(places[1], b),
            At(places[2], c),
            At(Place::Edge, &norms),
        ];
        let scalars = joined(&self.scalars, edges, s, p)?.value;
        self.finish(scalars, &hidden, p)
    }
}

type Rows = candle_core::Result<State>;

/// Layer norm of scalars; vectors are divided by the root of their mean squared length.
struct Norm(LayerNorm);

impl Norm {
    fn new(b: &mut Scope, width: usize) -> Self {
        Self(LayerNorm::new(&mut b.scope("scalar_norm"), width))
    }

    fn forward(&self, x: &State, p: &Parameters) -> Rows {
        let vectors = match x.vectors.dim(2)? {
            0 => x.vectors.clone(),
            _ => {
                let length = squares(&x.vectors)?.mean_keepdim(1)?.sqrt()?;
                x.vectors.broadcast_div(&length.unsqueeze(1)?)?
            }
        };
        Ok(State {
            scalars: self.0.forward(&x.scalars, p)?,
            vectors,
        })
    }
}

/// A round of messages, and what each atom makes of them.
struct Layer {
    messages: [Gvp; 3],
    feedforward: [Gvp; 2],
    norms: [Norm; 2],
}

impl Layer {
    fn new(b: &mut Scope, c: &GvpConfig) -> Self {
        let own = Width::new(c.scalars, c.vectors);
        let wide = Width::new(4 * c.scalars, 2 * c.vectors);
        let message = Width::new(2 * c.scalars + c.edge_scalars, 2 * c.vectors + 1);
        let mut gvp = |name: &str, k: usize, widths, relu| {
            Gvp::new(&mut b.scope(format_args!("{name}.{k}")), widths, relu)
        };
        let messages = [
            gvp("conv.message_func", 0, [message, own], true),
            gvp("conv.message_func", 1, [own, own], true),
            gvp("conv.message_func", 2, [own, own], false),
        ];
        let feedforward = [
            gvp("ff_func", 0, [own, wide], true),
            gvp("ff_func", 1, [wide, own], false),
        ];
        let norm = |k| Norm::new(&mut b.scope(format_args!("norm.{k}")), c.scalars);
        Self {
            messages,
            feedforward,
            norms: [0, 1].map(norm),
        }
    }

    /// Means over each receiver's edges of the messages.
    fn receive(&self, x: &State, edge: &State, edges: &Arc<Incidence>, p: &Parameters) -> Rows {
        let [first, second, third] = &self.messages;
        let message = first.along(edges, x, edge, p)?;
        let message = third.forward(&second.forward(&message, p)?, p)?;
        let mean = |x: &Tensor| Readout::Mean.forward(&x.clone().into(), edges);
        let (_, axes, channels) = message.vectors.dims3()?;
        let vectors = mean(&message.vectors.flatten_from(1)?)?.value;
        Ok(State {
            scalars: mean(&message.scalars)?.value,
            vectors: vectors.reshape(((), axes, channels))?,
        })
    }
}

/// The network.
struct GvpGnn {
    config: GvpConfig,
    embedding: Embedding,
    nodes: (Norm, Gvp),
    edges: (Norm, Gvp),
    layers: Vec<Layer>,
    out: (Norm, Gvp),
    dense: [Linear; 2],
}

impl GvpGnn {
    fn new(b: &mut Scope, c: &GvpConfig, outputs: usize) -> Self {
        let own = Width::new(c.scalars, c.vectors);
        let embedding =
            Embedding::new(&mut b.scope("embed"), ELEMENTS, ELEMENTS, Init::Normal(1.0));
        let mut pair = |name: &str, widths: [Width; 2], relu| {
            let norm = Norm::new(&mut b.scope(format_args!("{name}.0")), widths[0].scalars);
            (
                norm,
                Gvp::new(&mut b.scope(format_args!("{name}.1")), widths, relu),
            )
        };
        Self {
            config: c.clone(),
            embedding,
            nodes: pair("W_v", [Width::new(ELEMENTS, 0), own], false),
            edges: pair(
                "W_e",
                [Width::new(c.radial, 1), Width::new(c.edge_scalars, 1)],
                false,
            ),
            out: pair("W_out", [own, Width::new(c.scalars, 0)], true),
            layers: (0..c.layers)
                .map(|k| Layer::new(&mut b.scope(format_args!("layers.{k}")), c))
                .collect(),
            dense: [
                Linear::pytorch(&mut b.scope("dense.0"), c.scalars, 2 * c.scalars),
                Linear::pytorch(&mut b.scope("dense.3"), 2 * c.scalars, outputs),
            ],
        }
    }

    /// `x + dropped y`, normalised.
    fn add(&self, norm: &Norm, x: &State, y: &State, nodes: &Incidence, pass: &Pass) -> Rows {
        let drop = |t: &Tensor| pass.dropout(t, self.config.dropout, nodes);
        let sum = State {
            scalars: (&x.scalars + drop(&y.scalars)?)?,
            vectors: (&x.vectors + drop(&y.vectors)?)?,
        };
        norm.forward(&sum, pass.parameters)
    }
}

/// The backbone's atoms, all alpha carbons first, then N and C; what is missing, and stands at its
/// alpha carbon, is no atom.
fn atoms(chain: &Chain) -> (Vec<u8>, Vec<Point>) {
    let ends = |place: usize, kind: u8| {
        let there = move |r: &&[Point; 3]| r[place] != r[1];
        chain
            .backbone
            .iter()
            .filter(there)
            .map(move |r| (kind, r[place]))
    };
    let carbons = chain.backbone.iter().map(|r| (CARBON, r[1]));
    carbons
        .chain(ends(0, NITROGEN))
        .chain(ends(2, CARBON))
        .unzip()
}

impl Encoder for GvpGnn {
    /// Features of edges: radial functions `[E, K]`, directions to the sender `[E, 3, 1]`.
    fn batch(&self, chains: &[Chain], on: On) -> Result<Batch> {
        let GvpConfig {
            cutoff,
            radial,
            neighbors,
            ..
        } = self.config;
        let atoms: Vec<(Vec<u8>, Vec<Point>)> = chains.par_iter().map(atoms).collect();
        let edges = atoms.par_iter().map(|(_, at)| near(at, cutoff, neighbors));
        let edges: Vec<Edges> = edges.collect::<Result<_>>()?;
        let width = cutoff / radial as f64;
        let centre = |k: usize| cutoff * k as f64 / (radial.max(2) - 1) as f64;
        let (mut gaussians, mut directions) = (Vec::new(), Vec::new());
        for ((_, at), edges) in atoms.iter().zip(&edges) {
            for (&i, &j) in edges.receivers.iter().zip(&edges.senders) {
                let v = sub(at[j as usize], at[i as usize]);
                let d = crate::data::chains::geometry::norm(v);
                gaussians.extend((0..radial).map(|k| (-((d - centre(k)) / width).powi(2)).exp()));
                directions.extend(v.map(|x| x / d));
            }
        }
        let sizes: Vec<usize> = atoms.iter().map(|(kinds, _)| kinds.len()).collect();
        let count = directions.len() / 3;
        let level = Level {
            edges: joined_edges(&edges, &sizes)?,
            features: vec![
                on.tensor(gaussians, &[count, radial])?,
                on.tensor(directions, &[count, 3, 1])?,
            ],
            pool: None,
            chains: groups(&sizes)?,
        };
        let kinds = on.kinds(atoms.into_iter().flat_map(|(kinds, _)| kinds))?;
        Ok(Batch::new(kinds, None, vec![level]))
    }

    fn forward(&self, batch: &Batch, pass: &Pass) -> candle_core::Result<Tensor> {
        let (p, level) = (pass.parameters, &batch.levels[0]);
        let embedded = self.embedding.forward(&batch.kinds, p)?;
        let none = |rows: usize, vectors| {
            Tensor::zeros((rows, 3, vectors), embedded.dtype(), embedded.device())
        };
        let start = |(norm, gvp): &(Norm, Gvp), x: State| gvp.forward(&norm.forward(&x, p)?, p);
        let atoms = embedded.dim(0)?;
        let mut x = start(
            &self.nodes,
            State {
                scalars: embedded.clone(),
                vectors: none(atoms, 0)?,
            },
        )?;
        x.vectors = none(atoms, self.config.vectors)?;
        let edge = State {
            scalars: level.features[0].clone(),
            vectors: level.features[1].clone(),
        };
        let edge = start(&self.edges, edge)?;
        for layer in &self.layers {
            let messages = layer.receive(&x, &edge, &level.edges, p)?;
            x = self.add(&layer.norms[0], &x, &messages, &level.chains, pass)?;
            let [first, second] = &layer.feedforward;
            let own = second.forward(&first.forward(&x, p)?, p)?;
            x = self.add(&layer.norms[1], &x, &own, &level.chains, pass)?;
        }
        let out = start(&self.out, x)?.scalars;
        let mean = Readout::Mean.forward(&out.into(), &level.chains)?.value;
        let [first, second] = &self.dense;
        let hidden = linear(first, &mean, p)?.relu()?;
        let rows = groups(&vec![1; batch.len()])?;
        linear(
            second,
            &pass.dropout(&hidden, self.config.dropout, &rows)?,
            p,
        )
    }
}
