//! GearNet (Zhang et al., ICLR 2023): convolutions with a weight for each kind of edge between
//! residues: near in space, nearest, or at some distance along the sequence. By option messages also
//! pass between edges (GearNet-Edge), and an intrinsic-extrinsic convolution is added (IEConv).
//!
//! `N` residues, `E` edges, `R` relations, `F` channels.

use super::batch::{groups, near, sizes};
use super::ieconv::{IeConv, IeConvWidths};
use super::{
    Batch, Encoder, EncoderConfig, Level, On, check_dropout, check_length, check_sizes, linear,
};
use crate::data::chains::geometry::{frames, norm, unit};
use crate::data::chains::{Chain, UNKNOWN};
use crate::data::neighbors::Edges;
use crate::data::system::{Point, dot, sub};
use crate::models::layers::{BatchNorm, Linear, Pass, Readout};
use crate::models::{Parameters, Scope};
use crate::ops::segment::{Ends, Incidence, Row, contract, receiver, segment_sum, sender};
use crate::{Error, Result};
use candle_core::Tensor;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;
use std::sync::Arc;

/// Sizes of GearNet; the default is the published one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GearNetConfig {
    /// Channels of each layer.
    pub hidden: Vec<usize>,
    /// Longest edge of the relation "near", Å.
    pub cutoff: f64,
    /// Of the residues within the cutoff so many nearest send to a residue.
    pub neighbors: usize,
    /// So many nearest residues are joined, however far.
    pub nearest: usize,
    /// Edges in space join residues at least so far apart along the sequence.
    pub gap: usize,
    /// Edges along the sequence join residues up to so far apart, each distance with a weight of its
    /// own.
    pub reach: usize,
    /// Normalise the channels of each layer over the batch, within it and after it.
    pub batch_norm: bool,
    /// Add a layer's input to its result where they are as wide.
    pub shortcut: bool,
    /// Read out the channels of all layers, not of the last one alone.
    pub concatenate: bool,
    pub readout: Readout,
    /// Messages between edges, with a weight for each of so many ranges of the angle between them; 0
    /// for none. The published GearNet-Edge has 8.
    pub angles: usize,
    /// Channels of the intrinsic-extrinsic convolution that is added to each layer; 0 for none.
    pub ieconv: usize,
    /// Part of the channels that training drops out of that convolution.
    pub dropout: f64,
}

impl Default for GearNetConfig {
    fn default() -> Self {
        Self {
            hidden: vec![512; 6],
            cutoff: 10.0,
            neighbors: 32,
            nearest: 10,
            gap: 5,
            reach: 2,
            batch_norm: true,
            shortcut: true,
            concatenate: true,
            readout: Readout::Sum,
            angles: 0,
            ieconv: 0,
            dropout: 0.2,
        }
    }
}

/// Kinds of residues, the unknown one among them.
const KINDS: usize = UNKNOWN as usize + 1;

/// Distances along the sequence that features of edges tell apart; all beyond are one.
const STEPS: usize = 11;

impl GearNetConfig {
    /// Relations: near, nearest, and one for each distance along the sequence.
    fn relations(&self) -> usize {
        2 + 2 * self.reach + 1
    }

    /// Features of an edge for messages between edges: kinds of both residues, relation, distance
    /// along the sequence, distance.
    fn edge_width(&self) -> usize {
        2 * (KINDS - 1) + self.relations() + STEPS + 1
    }
}

impl EncoderConfig for GearNetConfig {
    fn check(&self) -> Result<()> {
        if self.hidden.is_empty() {
            return Err(Error::input("hidden = []: one layer or more is needed"));
        }
        let layers = self.hidden.iter().map(|&width| ("hidden", width));
        check_sizes(&layers.collect::<Vec<_>>())?;
        check_sizes(&[("neighbors", self.neighbors), ("nearest", self.nearest)])?;
        for (name, size) in [
            ("reach", self.reach),
            ("angles", self.angles),
            ("ieconv", self.ieconv),
        ] {
            if size > 0 {
                check_sizes(&[(name, size)])?;
            }
        }
        check_length("cutoff", self.cutoff)?;
        check_dropout(self.dropout)
    }

    fn build(&self, b: &mut Scope, outputs: usize) -> Box<dyn Encoder> {
        Box::new(GearNet::new(b, self, outputs))
    }
}

/// `act(BN(W u))` of the sums `u` of a node's messages, relation by relation.
struct Convolution {
    linear: Linear,
    norm: Option<BatchNorm>,
}

impl Convolution {
    fn new(b: &mut Scope, relations: usize, from: usize, to: usize, norm: bool) -> Self {
        Self {
            linear: Linear::pytorch(&mut b.scope("linear"), relations * from, to),
            norm: norm.then(|| BatchNorm::new(&mut b.scope("batch_norm"), to)),
        }
    }

    /// `x` `[N, from]` to `[N, to]`; `edges` end at a row for each node and relation.
    fn forward(
        &self,
        x: &Tensor,
        edges: &Arc<Incidence>,
        pass: &Pass,
    ) -> candle_core::Result<Tensor> {
        let sums = contract(edges, [(sender(Row::Channels), x)], receiver(Row::Channels))?;
        let y = self.map(&sums, pass.parameters)?;
        match &self.norm {
            Some(norm) => norm.forward(&y, pass)?.relu(),
            None => y.relu(),
        }
    }

    /// The linear layer on sums `[N R, from]`.
    fn map(&self, sums: &Tensor, p: &Parameters) -> candle_core::Result<Tensor> {
        linear(&self.linear, &sums.reshape(((), self.linear.inputs()))?, p)
    }
}

/// The network.
struct GearNet {
    config: GearNetConfig,
    layers: Vec<Convolution>,
    norms: Vec<BatchNorm>,
    /// Between edges; none without angles.
    edge_layers: Vec<Convolution>,
    ieconvs: Vec<IeConv>,
    head: Linear,
}

impl GearNet {
    fn new(b: &mut Scope, c: &GearNetConfig, outputs: usize) -> Self {
        let from: Vec<usize> = std::iter::once(KINDS).chain(c.hidden.clone()).collect();
        let mut model = b.scope("model");
        let mut layers = Vec::new();
        let (mut norms, mut edge_layers, mut ieconvs) = (Vec::new(), Vec::new(), Vec::new());
        for (k, &to) in c.hidden.iter().enumerate() {
            let relations = c.relations();
            let at = |name: &str| format!("{name}.{k}");
            let layer = Convolution::new(
                &mut model.scope(at("layers")),
                relations,
                from[k],
                to,
                c.batch_norm,
            );
            layers.push(layer);
            if c.batch_norm {
                norms.push(BatchNorm::new(&mut model.scope(at("batch_norms")), to));
            }
            if c.angles > 0 {
                // The edges' channels are those of the nodes before the layer, whose weight maps both.
                let before = if k == 0 { c.edge_width() } else { from[k - 1] };
                let b = &mut model.scope(at("edge_layers"));
                edge_layers.push(Convolution::new(b, c.angles, before, from[k], c.batch_norm));
            }
            if c.ieconv > 0 {
                let widths = IeConvWidths {
                    input: from[k],
                    hidden: c.ieconv,
                    output: to,
                    edges: PAIR,
                    kernel: 32,
                };
                ieconvs.push(IeConv::new(
                    &mut model.scope(at("ieconvs")),
                    widths,
                    c.dropout,
                ));
            }
        }
        let width = match c.concatenate {
            true => c.hidden.iter().sum(),
            false => from[c.hidden.len()],
        };
        Self {
            config: c.clone(),
            layers,
            norms,
            edge_layers,
            ieconvs,
            head: Linear::pytorch(&mut b.scope("head"), width, outputs),
        }
    }
}

/// An edge of a relation between residues of a chain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Relation {
    pub receiver: u32,
    pub relation: u32,
    pub sender: u32,
}

/// The edges of a chain, by receiver, then relation.
fn relations(chain: &Chain, c: &GearNetConfig) -> Result<Vec<Relation>> {
    let at = chain.carbons();
    let n = at.len();
    let mut all = Vec::new();
    let graphs = [near(&at, c.cutoff, c.neighbors)?, nearest(&at, c)?];
    for (relation, edges) in (0..).zip(graphs) {
        for (&receiver, &sender) in edges.receivers.iter().zip(&edges.senders) {
            if receiver.abs_diff(sender) as usize >= c.gap {
                all.push(Relation {
                    receiver,
                    relation,
                    sender,
                });
            }
        }
    }
    for sender in 0..n as i64 {
        for offset in -(c.reach as i64)..=c.reach as i64 {
            let receiver = sender + offset;
            if (0..n as i64).contains(&receiver) {
                all.push(Relation {
                    receiver: receiver as u32,
                    relation: (2 + c.reach as i64 + offset) as u32,
                    sender: sender as u32,
                });
            }
        }
    }
    all.sort_by_key(|e| (e.receiver, e.relation, e.sender));
    Ok(all)
}

/// Edges from the nearest residues, however far: the radius grows until every residue has its number.
fn nearest(at: &[Point], c: &GearNetConfig) -> Result<Edges> {
    let wanted = at.len() * c.nearest.min(at.len().saturating_sub(1));
    let mut radius = c.cutoff;
    loop {
        let edges = near(at, radius, c.nearest)?;
        if edges.len() >= wanted || radius > 1e7 {
            return Ok(edges);
        }
        radius *= 2.0;
    }
}

/// Rows of a graph's edges: all chains' residues one after another.
struct Rows {
    edges: Vec<Relation>,
    /// Kind of each residue.
    kinds: Vec<u8>,
    at: Vec<[f64; 3]>,
}

impl Rows {
    fn new(chains: &[Chain], c: &GearNetConfig) -> Result<Self> {
        let each = chains.par_iter().map(|chain| relations(chain, c));
        let each: Vec<Vec<Relation>> = each.collect::<Result<_>>()?;
        let mut rows = Self {
            edges: Vec::new(),
            kinds: Vec::new(),
            at: Vec::new(),
        };
        for (chain, own) in chains.iter().zip(each) {
            let first = rows.kinds.len() as u32;
            rows.edges.extend(own.into_iter().map(|e| Relation {
                receiver: first + e.receiver,
                sender: first + e.sender,
                ..e
            }));
            rows.kinds.extend(&chain.kinds);
            rows.at.extend(chain.carbons());
        }
        Ok(rows)
    }

    /// Edges that end at a row for each residue and relation.
    fn incidence(&self, relations: usize) -> Result<Arc<Incidence>> {
        let row = |e: &Relation| e.receiver * relations as u32 + e.relation;
        let receivers: Vec<u32> = self.edges.iter().map(row).collect();
        let senders: Vec<u32> = self.edges.iter().map(|e| e.sender).collect();
        let n = self.kinds.len();
        let ends = |rows, count| Ends { rows, count };
        Ok(Incidence::new(
            ends(&receivers, n * relations),
            ends(&senders, n),
        )?)
    }

    /// What messages between edges start from, `[E, `[`GearNetConfig::edge_width`]`]`.
    fn features(&self, c: &GearNetConfig, on: On) -> Result<Tensor> {
        let width = c.edge_width();
        let mut all = vec![0.0; width * self.edges.len()];
        for (out, e) in all.chunks_exact_mut(width).zip(&self.edges) {
            let [i, j] = [e.receiver, e.sender].map(|r| r as usize);
            let kinds = KINDS - 1;
            for (first, kind) in [(0, self.kinds[j]), (kinds, self.kinds[i])] {
                if kind != UNKNOWN {
                    out[first + kind as usize] = 1.0;
                }
            }
            out[2 * kinds + e.relation as usize] = 1.0;
            let steps = i.abs_diff(j).min(STEPS - 1);
            out[2 * kinds + c.relations() + steps] = 1.0;
            out[width - 1] = norm(sub(self.at[j], self.at[i]));
        }
        on.tensor(all, &[self.edges.len(), width])
    }

    /// The graph whose nodes are the edges: `a -> b` sends to `b -> c`, by the range of the angle at
    /// `b`. Its edges end at a row for each edge and range.
    fn line_graph(&self, angles: usize) -> Result<Arc<Incidence>> {
        let n = self.kinds.len();
        let ends: Vec<u32> = self.edges.iter().map(|e| e.receiver).collect();
        let into = Incidence::groups(Ends {
            rows: &ends,
            count: n,
        })?;
        let send = |(k, e): (usize, &Relation)| {
            let (b, c) = (e.sender as usize, e.receiver as usize);
            let own = into.of_receiver(b).map(|before| {
                let a = self.edges[before].sender as usize;
                let [u, v] = [a, c].map(|x| unit(sub(self.at[x], self.at[b])));
                let angle = dot(u, v).clamp(-1.0, 1.0).acos();
                let range = (angle / PI * angles as f64) as usize;
                ((k * angles + range.min(angles - 1)) as u32, before as u32)
            });
            let mut own: Vec<(u32, u32)> = own.collect();
            own.sort_unstable();
            own
        };
        let all: Vec<Vec<(u32, u32)>> = self.edges.par_iter().enumerate().map(send).collect();
        let (receivers, senders): (Vec<u32>, Vec<u32>) = all.into_iter().flatten().unzip();
        let count = self.edges.len();
        let rows = |rows, count| Ends { rows, count };
        Ok(Incidence::new(
            rows(&receivers, count * angles),
            rows(&senders, count),
        )?)
    }
}

/// Features of an edge for the intrinsic-extrinsic convolution ([`pairs`]).
const PAIR: usize = 8;

/// The graph of residues within the cutoff, and of each of its edges: the direction to the sender in
/// the receiver's frame (3), the products of both frames' axes (3), the distance along the sequence,
/// as a part of 6 and at most 1, the distance as a part of the cutoff.
fn pairs(chains: &[Chain], c: &GearNetConfig, on: On) -> Result<Level> {
    let of_chain = |chain: &Chain| {
        let at = chain.carbons();
        let edges = near(&at, c.cutoff, c.neighbors)?;
        let frames = frames(&at);
        let mut features = Vec::with_capacity(PAIR * edges.len());
        for (&i, &j) in edges.receivers.iter().zip(&edges.senders) {
            let [a, b] = [i, j].map(|r| frames[r as usize]);
            let v = sub(at[j as usize], at[i as usize]);
            let steps = f64::from(i.abs_diff(j)).min(6.0) / 6.0;
            features.extend(a.map(|axis| dot(axis, unit(v))));
            features.extend([0, 1, 2].map(|k| dot(a[k], b[k])));
            features.extend([steps, norm(v) / c.cutoff]);
        }
        Ok((edges, features))
    };
    let all: Vec<_> = chains.par_iter().map(of_chain).collect::<Result<_>>()?;
    let (edges, features): (Vec<_>, Vec<Vec<f64>>) = all.into_iter().unzip();
    let edges = super::batch::joined_edges(&edges, &sizes(chains))?;
    let shape = [edges.len(), PAIR];
    Ok(Level {
        features: vec![on.tensor(features.concat(), &shape)?],
        edges,
        pool: None,
        chains: groups(&sizes(chains))?,
    })
}

impl Encoder for GearNet {
    /// Levels: the graph of relations; with angles the line graph, whose features of edges are those
    /// of its nodes; with IEConv the graph of pairs.
    fn batch(&self, chains: &[Chain], on: On) -> Result<Batch> {
        let c = &self.config;
        let rows = Rows::new(chains, c)?;
        let nodes = groups(&sizes(chains))?;
        let level = |edges, features| Level {
            edges,
            features,
            pool: None,
            chains: nodes.clone(),
        };
        let mut levels = vec![level(rows.incidence(c.relations())?, Vec::new())];
        if c.angles > 0 {
            levels.push(level(
                rows.line_graph(c.angles)?,
                vec![rows.features(c, on)?],
            ));
        }
        if c.ieconv > 0 {
            levels.push(pairs(chains, c, on)?);
        }
        let one_hot = |&kind: &u8| (0..UNKNOWN + 1).map(move |k| f64::from(u8::from(k == kind)));
        let one_hot: Vec<f64> = rows.kinds.iter().flat_map(one_hot).collect();
        let one_hot = on.tensor(one_hot, &[rows.kinds.len(), KINDS])?;
        Ok(Batch::new(on.kinds(rows.kinds)?, Some(one_hot), levels))
    }

    fn forward(&self, batch: &Batch, pass: &Pass) -> candle_core::Result<Tensor> {
        let (c, p) = (&self.config, pass.parameters);
        let relations = &batch.levels[0];
        let mut others = batch.levels[1..].iter();
        let line = others.next().filter(|_| c.angles > 0);
        let pairs = batch.levels.last().filter(|_| c.ieconv > 0);
        let mut edges = line.map(|level| level.features[0].clone());
        let Some(mut x) = batch.nodes.clone() else {
            candle_core::bail!("a batch without kinds of residues");
        };
        let mut all = Vec::new();
        for (k, layer) in self.layers.iter().enumerate() {
            let mut y = layer.forward(&x, &relations.edges, pass)?;
            if c.shortcut && y.dims() == x.dims() {
                y = (y + &x)?;
            }
            if let (Some(edge_layer), Some(before), Some(line)) =
                (self.edge_layers.get(k), &edges, line)
            {
                let hidden = edge_layer.forward(before, &line.edges, pass)?;
                let sums = segment_sum(&relations.edges, &hidden)?;
                y = (y + layer.map(&sums, p)?.relu()?)?;
                edges = Some(hidden);
            }
            if let (Some(layer), Some(pairs)) = (self.ieconvs.get(k), pairs) {
                let features = &pairs.features[0];
                let own = layer.forward(&x, &pairs.edges, features, &pairs.chains, pass)?;
                y = (y + own)?;
            }
            if let Some(norm) = self.norms.get(k) {
                y = norm.forward(&y, pass)?;
            }
            all.push(y.clone());
            x = y;
        }
        let features = match c.concatenate {
            true => Tensor::cat(&all, 1)?,
            false => x,
        };
        let read = c
            .readout
            .forward(&features.into(), &relations.chains)?
            .value;
        linear(&self.head, &read, p)
    }
}
