//! ProNet (Wang et al., ICLR 2023): messages between residues by their place relative to the chain,
//! seen at one of three levels: alpha carbons, the backbone, or all atoms. Sizes and order of layers
//! as released with Geom3D.
//!
//! `N` residues, `E` edges, `H` hidden width. Messages go from `j` to `i`.

use super::batch::{groups, joined_edges, near, sizes};
use super::{Batch, Encoder, EncoderConfig, Level, On, Variant};
use super::{check_dropout, check_length, check_sizes, linear};
use crate::data::chains::Chain;
use crate::data::chains::geometry::{about, norm};
use crate::data::neighbors::Edges;
use crate::data::system::cross;
use crate::data::system::{Point, dot, sub};
use crate::models::layers::{Embedding, Linear, Pass, Readout, SphericalBessel};
use crate::models::{Init, Parameters, Scope};
use crate::ops::pointwise::Functions;
use crate::ops::segment::{Incidence, Row, contract, edge, receiver, sender};
use crate::{Error, Result};
use candle_core::Tensor;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// How much of a residue is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Detail {
    /// Its kind and the alpha carbons.
    #[default]
    AminoAcid,
    /// The torsions of the backbone and the planes of N, CA and C too.
    Backbone,
    /// The torsions of the side chain too.
    AllAtom,
}

/// Sizes of ProNet; the default is the released one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProNetConfig {
    /// `aminoacid`, `backbone` or `allatom`.
    pub level: Detail,
    /// Channels of a residue, `H`.
    pub width: usize,
    /// Channels between the two layers on features of edges.
    pub middle: usize,
    /// Interaction blocks.
    pub layers: usize,
    /// Radial functions of each degree.
    pub radial: usize,
    /// Degrees of spherical harmonics, less than this number.
    pub degrees: usize,
    /// Longest edge in Å.
    pub cutoff: f64,
    /// Of the residues within the cutoff so many nearest send to a residue.
    pub neighbors: usize,
    /// Layers on the three kinds of messages together; one less follows.
    pub joint_layers: usize,
    /// Layers after the sum over the residues.
    pub out_layers: usize,
    /// Features of the distance along the sequence.
    pub positions: usize,
    /// Part of the channels that training drops out.
    pub dropout: f64,
    /// In the released code the first and the last residue of a chain have neighbors along the
    /// sequence in other chains of the batch; norms of radial functions are rounded to single
    /// precision.
    pub variant: Variant,
}

impl Default for ProNetConfig {
    fn default() -> Self {
        Self {
            level: Detail::default(),
            width: 128,
            middle: 64,
            layers: 4,
            radial: 6,
            degrees: 2,
            cutoff: 10.0,
            neighbors: 32,
            joint_layers: 3,
            out_layers: 2,
            positions: 16,
            dropout: 0.0,
            variant: Variant::default(),
        }
    }
}

/// Kinds of residues in the released tables.
const KINDS: usize = 26;

impl ProNetConfig {
    /// Angles between two residues besides those of the direction: one torsion, or three of Euler's.
    fn angles(&self) -> usize {
        match self.level {
            Detail::AminoAcid => 1,
            Detail::Backbone | Detail::AllAtom => 3,
        }
    }

    /// Features of an edge: place of the sender, angles, distance along the sequence.
    fn features(&self) -> [usize; 3] {
        let (n, k) = (self.degrees, self.radial);
        [n * n * k, self.angles() * n * k, self.positions]
    }

    /// What is known of a residue besides its kind.
    fn torsions(&self) -> usize {
        match self.level {
            Detail::AminoAcid => 0,
            Detail::Backbone => 6,
            Detail::AllAtom => 14,
        }
    }
}

impl EncoderConfig for ProNetConfig {
    fn check(&self) -> Result<()> {
        check_sizes(&[
            ("width", self.width),
            ("middle", self.middle),
            ("layers", self.layers),
            ("radial", self.radial),
            ("neighbors", self.neighbors),
            ("joint_layers", self.joint_layers),
            ("out_layers", self.out_layers),
        ])?;
        let wrong = |what: String| Err(Error::input(what));
        if !(1..=2).contains(&self.degrees) {
            return wrong(format!("degrees = {}: must be 1 or 2", self.degrees));
        }
        if self.positions == 0 || self.positions % 2 == 1 {
            return wrong(format!(
                "positions = {}: must be an even number",
                self.positions
            ));
        }
        check_length("cutoff", self.cutoff)?;
        check_dropout(self.dropout)
    }

    fn build(&self, b: &mut Scope, outputs: usize) -> Box<dyn Encoder> {
        Box::new(ProNet::new(b, self, outputs))
    }
}

/// Glorot's weight, and a bias of zeros.
fn glorot(b: &mut Scope, name: impl std::fmt::Display, from: usize, to: usize) -> Linear {
    Linear::new(&mut b.scope(name), from, to, Init::glorot(from, to))
}

/// Glorot's weight alone.
fn unbiased(b: &mut Scope, name: impl std::fmt::Display, from: usize, to: usize) -> Linear {
    Linear::without_bias(&mut b.scope(name), from, to, Init::glorot(from, to))
}

/// Messages by one kind of features.
struct Messages {
    filter: [Linear; 2],
    sum: Linear,
    own: Linear,
    after: Linear,
}

/// An interaction block.
struct Block {
    first: [Linear; 2],
    messages: Vec<Messages>,
    joint: Vec<Linear>,
    last: Vec<Linear>,
    out: Linear,
}

impl Block {
    fn new(b: &mut Scope, c: &ProNetConfig) -> Self {
        let h = c.width;
        let messages = |(k, features): (usize, usize)| Messages {
            filter: [
                unbiased(b, format_args!("lin_feature{k}.lin1"), features, c.middle),
                unbiased(b, format_args!("lin_feature{k}.lin2"), c.middle, h),
            ],
            sum: glorot(b, format_args!("conv{k}.lin_l"), h, h),
            own: unbiased(b, format_args!("conv{k}.lin_r"), h, h),
            after: glorot(b, format_args!("lin{k}"), h, h),
        };
        let messages = c.features().into_iter().enumerate().map(messages).collect();
        let joint = |k: usize| {
            let from = if k == 0 { 3 * h } else { h };
            glorot(b, format_args!("lins_cat.{k}"), from, h)
        };
        Self {
            messages,
            joint: (0..c.joint_layers).map(joint).collect(),
            last: (0..c.joint_layers - 1)
                .map(|k| glorot(b, format_args!("lins.{k}"), h, h))
                .collect(),
            first: [1, 2].map(|k| glorot(b, format_args!("lin_{k}"), h, h)),
            out: glorot(b, "final", h, h),
        }
    }

    fn forward(
        &self,
        x: &Tensor,
        level: &Level,
        rate: f64,
        pass: &Pass,
    ) -> candle_core::Result<Tensor> {
        let p = pass.parameters;
        let silu = |layer: &Linear, x: &Tensor| linear(layer, x, p)?.silu();
        let (own, rest) = (silu(&self.first[0], x)?, silu(&self.first[1], x)?);
        let message = |(m, features): (&Messages, &Tensor)| {
            let filter = linear(&m.filter[1], &linear(&m.filter[0], features, p)?, p)?;
            let factors = [
                (sender(Row::Channels), &own),
                (edge(Row::Channels), &filter),
            ];
            let sum = contract(&level.edges, factors, receiver(Row::Channels))?;
            let sum = (linear(&m.sum, &sum, p)? + linear(&m.own, &own, p)?)?;
            pass.dropout(&silu(&m.after, &sum)?, rate, &level.chains)
        };
        let messages = self.messages.iter().zip(&level.features).map(message);
        let messages = messages.collect::<candle_core::Result<Vec<_>>>()?;
        let joint = Tensor::cat(&messages, 1)?;
        let joint = self
            .joint
            .iter()
            .try_fold(joint, |x, layer| silu(layer, &x))?;
        let last = (joint + rest)?;
        let last = self
            .last
            .iter()
            .try_fold(last, |x, layer| silu(layer, &x))?;
        linear(&self.out, &last, p)
    }
}

/// What a residue starts from.
enum Start {
    Kinds(Embedding),
    Features(Linear),
}

/// The network.
struct ProNet {
    config: ProNetConfig,
    radial: SphericalBessel,
    start: Start,
    blocks: Vec<Block>,
    out: Vec<Linear>,
    last: Linear,
}

impl ProNet {
    fn new(b: &mut Scope, c: &ProNetConfig, outputs: usize) -> Self {
        let at = &mut b.scope("embedding");
        let start = match c.level {
            Detail::AminoAcid => {
                Start::Kinds(Embedding::new(at, KINDS, c.width, Init::Normal(1.0)))
            }
            _ => Start::Features(Linear::pytorch(at, KINDS + c.torsions(), c.width)),
        };
        let radial = match c.variant {
            Variant::Published => SphericalBessel::single,
            Variant::Mended => SphericalBessel::new,
        };
        Self {
            config: c.clone(),
            radial: radial(c.cutoff, c.degrees, c.radial),
            start,
            blocks: (0..c.layers)
                .map(|k| Block::new(&mut b.scope(format_args!("interaction_blocks.{k}")), c))
                .collect(),
            out: (0..c.out_layers - 1)
                .map(|k| glorot(b, format_args!("lins_out.{k}"), c.width, c.width))
                .collect(),
            last: glorot(b, "lin_out", c.width, outputs),
        }
    }

    /// Features of the edge from `j` to `i` of residues in `track`.
    fn features(&self, track: &Track, i: usize, j: usize) -> [Vec<f64>; 3] {
        let (c, at) = (&self.config, |k: usize| track.backbone[k][1]);
        let v = sub(at(j), at(i));
        let d = norm(v);
        let mut radial = vec![0.0; c.degrees * c.radial];
        self.radial.evaluate(0, &[d], &mut radial);
        let (zeroth, first) = radial.split_at(c.radial);
        let (before, after) = (track.before[i], track.after[i]);
        let (p0, p1) = (sub(at(before), at(i)), sub(at(after), at(i)));
        let theta = f64::atan2(norm(cross(v, p0)), dot(v, p0));
        let phi = about(p0, p1, v);
        let (constant, s) = (0.5 / PI.sqrt(), (0.75 / PI).sqrt());
        let scaled = |radial: &[f64], y: f64| radial.iter().map(|r| r * y).collect::<Vec<_>>();
        let mut place = scaled(zeroth, constant);
        let angles = match c.level {
            Detail::AminoAcid => vec![track.torsion(i, j)],
            _ => euler(track.backbone[i], track.backbone[j]).to_vec(),
        };
        let mut turned = Vec::new();
        for &angle in &angles {
            turned.extend(scaled(zeroth, constant));
            if c.degrees > 1 {
                turned.extend(scaled(first, s * angle.cos()));
            }
        }
        if c.degrees > 1 {
            place.extend(scaled(first, s * theta.cos()));
            place.extend(scaled(first, s * theta.sin() * phi.cos()));
            place.extend(scaled(first, s * theta.sin() * phi.sin()));
        }
        [place, turned, along(j as f64 - i as f64, c.positions)]
    }

    /// The residues of the batch and their neighbors along the sequence.
    fn track(&self, chains: &[Chain]) -> Track {
        let mut track = Track::default();
        for chain in chains {
            let (first, n) = (track.backbone.len(), chain.len());
            track.backbone.extend(&chain.backbone);
            // The neighbor on the other side of the next one stands in for one that there is not, so
            // that directions differ.
            let inside = |k: usize, instead: usize| match k < n {
                true => first + k,
                false => first + instead,
            };
            for k in 0..n {
                let near_start = 2.min(n - 1);
                track.before.push(inside(k.wrapping_sub(1), near_start));
                track.after.push(inside(k + 1, k.saturating_sub(2)));
            }
        }
        if self.config.variant == Variant::Published {
            let n = track.backbone.len();
            track.before = (0..n).map(|k| (k + n - 1) % n).collect();
            track.after = (0..n).map(|k| (k + 1) % n).collect();
        }
        track
    }
}

/// Residues, and where the one before and the one after each is.
#[derive(Default)]
struct Track {
    backbone: Vec<[Point; 3]>,
    before: Vec<usize>,
    after: Vec<usize>,
}

impl Track {
    /// The torsion about the edge from the neighbor of `i` to that of `j`.
    fn torsion(&self, i: usize, j: usize) -> f64 {
        let other = |k: usize, than: usize| match self.before[k] == than {
            true => self.after[k],
            false => self.before[k],
        };
        let at = |k: usize| self.backbone[k][1];
        let from = |k: usize, than: usize| sub(at(other(k, than)), at(k));
        about(sub(at(j), at(i)), from(i, j), from(j, i))
    }
}

/// Euler's angles between the planes of N, CA and C of two residues.
fn euler(i: [Point; 3], j: [Point; 3]) -> [f64; 3] {
    let axes = |[n, ca, c]: [Point; 3]| {
        let x = sub(n, ca);
        let z = cross(x, cross(x, sub(c, ca)));
        (x, z, norm(z) + 1e-7)
    };
    let ((x, z, length), (other_x, other_z, other_length)) = (axes(i), axes(j));
    let nodes = cross(z, other_z);
    [
        f64::atan2(dot(cross(x, nodes), z) / length, dot(x, nodes)),
        f64::atan2(norm(nodes), dot(z, other_z)),
        f64::atan2(
            dot(cross(nodes, other_x), other_z) / other_length,
            dot(nodes, other_x),
        ),
    ]
}

/// Cosines, then sines, of a number of steps along the sequence times `10000^(-k / count)`, `k = 0, 2,
/// ..` (Vaswani et al. 2017).
fn along(steps: f64, count: usize) -> Vec<f64> {
    let angle = |k: usize| steps * f64::powf(1e4, -((2 * k) as f64) / count as f64);
    let angles = (0..count / 2).map(angle);
    angles
        .clone()
        .map(f64::cos)
        .chain(angles.map(f64::sin))
        .collect()
}

impl Encoder for ProNet {
    /// Features of edges: place of the sender, angles, distance along the sequence.
    fn batch(&self, chains: &[Chain], on: On) -> Result<Batch> {
        let c = &self.config;
        let edges = chains
            .par_iter()
            .map(|chain| near(&chain.carbons(), c.cutoff, c.neighbors));
        let edges: Vec<Edges> = edges.collect::<Result<_>>()?;
        let edges = joined_edges(&edges, &sizes(chains))?;
        let track = self.track(chains);
        let ends = edges.receivers().par_iter().zip(edges.senders());
        let all: Vec<[Vec<f64>; 3]> = ends
            .map(|(&i, &j)| self.features(&track, i as usize, j as usize))
            .collect();
        let widths = c.features();
        let features = (0..3).map(|k| {
            let values = all.iter().flat_map(|f| f[k].iter().copied()).collect();
            on.tensor(values, &[edges.len(), widths[k]])
        });
        let level = Level {
            features: features.collect::<Result<_>>()?,
            edges,
            pool: None,
            chains: groups(&sizes(chains))?,
        };
        let nodes = match c.level {
            Detail::AminoAcid => None,
            _ => Some(residues(chains, c, on)?),
        };
        let kinds = on.kinds(chains.iter().flat_map(|chain| chain.kinds.iter().copied()))?;
        Ok(Batch::new(kinds, nodes, vec![level]))
    }

    fn forward(&self, batch: &Batch, pass: &Pass) -> candle_core::Result<Tensor> {
        let (p, level, rate) = (pass.parameters, &batch.levels[0], self.config.dropout);
        let x = match (&self.start, &batch.nodes) {
            (Start::Kinds(table), _) => table.forward(&batch.kinds, p)?,
            (Start::Features(layer), Some(nodes)) => linear(layer, nodes, p)?,
            _ => candle_core::bail!("a batch without torsions"),
        };
        let step = |x: Tensor, block: &Block| block.forward(&x, level, rate, pass);
        let x = self.blocks.iter().try_fold(x, step)?;
        let sum = Readout::Sum.forward(&x.into(), &level.chains)?.value;
        self.read(sum, rate, pass, batch.len())
    }
}

impl ProNet {
    /// The layers after the sum, `[chains, H]`.
    fn read(
        &self,
        sum: Tensor,
        rate: f64,
        pass: &Pass,
        chains: usize,
    ) -> candle_core::Result<Tensor> {
        let p: &Parameters = pass.parameters;
        let rows: std::sync::Arc<Incidence> = groups(&vec![1; chains])?;
        let step =
            |x: Tensor, layer: &Linear| pass.dropout(&linear(layer, &x, p)?.relu()?, rate, &rows);
        let x = self.out.iter().try_fold(sum, step)?;
        linear(&self.last, &x, p)
    }
}

/// Kinds, one-hot, and torsions of the residues, `[N, 26 + torsions]`.
fn residues(chains: &[Chain], c: &ProNetConfig, on: On) -> Result<Tensor> {
    let width = KINDS + c.torsions();
    let mut all = Vec::new();
    for chain in chains {
        for (k, &kind) in chain.kinds.iter().enumerate() {
            let first = all.len();
            all.resize(first + KINDS, 0.0);
            all[first + kind as usize] = 1.0;
            all.extend(chain.torsions[k]);
            if c.level == Detail::AllAtom {
                all.extend(chain.side[k]);
            }
        }
    }
    let rows = all.len() / width;
    on.tensor(all, &[rows, width])
}
