//! CDConv (Fan et al., ICLR 2023): convolutions whose filters are continuous in space and a table along
//! the sequence, on chains that are halved again and again. Sizes, order of layers and
//! initialisation as released.
//!
//! `N` residues, `E` edges, `C` channels, `K` channels of a filter, `L` steps along the sequence.

use super::batch::{groups, joined_edges, near};
use super::{Batch, Encoder, EncoderConfig, Level, On};
use super::{check_dropout, check_length, check_sizes, leaky_relu, linear};
use crate::data::chains::geometry::{frames, norm, unit};
use crate::data::chains::{Chain, UNKNOWN};
use crate::data::neighbors::Edges;
use crate::data::system::{Point, dot, sub};
use crate::models::layers::{BatchNorm, Embedding, Linear, Pass, Readout};
use crate::models::{Init, Parameter, Scope};
use crate::ops::dense::dense;
use crate::ops::segment::{Incidence, Row, contract, edge, receiver, sender};
use crate::{Error, Result};
use candle_core::Tensor;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sizes of CDConv; the default is the released one for folds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CdConvConfig {
    /// Longest edge at each level, Å.
    pub radii: Vec<f64>,
    /// Channels at each level.
    pub channels: Vec<usize>,
    /// Steps along the sequence that have filters of their own, `L`; all farther ones count as the
    /// farthest.
    pub steps: usize,
    /// Channels of the layers that make filters; the last is `K`.
    pub kernel: Vec<usize>,
    /// Channels within a block, of 64 in each of its own.
    pub base: usize,
    /// Channels of a kind of residue.
    pub embedding: usize,
    /// Of the residues within the radius so many nearest send to a residue; the released code takes
    /// all.
    pub neighbors: usize,
    /// Part of the channels that training drops out.
    pub dropout: f64,
}

impl Default for CdConvConfig {
    fn default() -> Self {
        Self {
            radii: vec![8.0, 12.0, 16.0, 20.0],
            channels: vec![256, 512, 1024, 2048],
            steps: 5,
            kernel: vec![24],
            base: 64,
            embedding: 16,
            neighbors: 4096,
            dropout: 0.2,
        }
    }
}

impl EncoderConfig for CdConvConfig {
    fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::input(what));
        let (radii, channels) = (self.radii.len(), self.channels.len());
        if radii == 0 || radii != channels {
            return wrong(format!(
                "{radii} radii and {channels} channels: as many are needed, at least one"
            ));
        }
        if self.steps < 3 || self.steps.is_multiple_of(2) {
            return wrong(format!(
                "steps = {}: must be odd and at least 3",
                self.steps
            ));
        }
        if self.kernel.is_empty() {
            return wrong("kernel = []: one layer or more is needed".into());
        }
        for width in &self.channels {
            if width * self.base < 64 {
                return wrong(format!(
                    "channels {width} of base {}: a block has none left",
                    self.base
                ));
            }
        }
        self.radii
            .iter()
            .try_for_each(|&r| check_length("radii", r))?;
        let channels = self.channels.iter().map(|&c| ("channels", c));
        let kernel = self.kernel.iter().map(|&c| ("kernel", c));
        check_sizes(&channels.chain(kernel).collect::<Vec<_>>())?;
        check_sizes(&[
            ("steps", self.steps),
            ("base", self.base),
            ("embedding", self.embedding),
            ("neighbors", self.neighbors),
        ])?;
        check_dropout(self.dropout)
    }

    fn momentum(&self) -> f64 {
        0.2
    }

    fn build(&self, b: &mut Scope, outputs: usize) -> Box<dyn Encoder> {
        Box::new(CdConv::new(b, self, outputs))
    }
}

/// Slope of the activations of blocks where they are negative.
const BLOCK_SLOPE: f64 = 0.1;

/// The same of filters and of the classifier.
const SLOPE: f64 = 0.2;

/// Numbers that filters are made of: [`Chart::features`].
const DELTA: usize = 7;

/// A layer that has, for each number of steps along the sequence, a weight `[L, from, to]` and a bias
/// `[L, to]`.
struct StepLinear {
    weight: Parameter,
    bias: Parameter,
}

/// A convolution.
struct Convolution {
    kernel: Vec<StepLinear>,
    weight: Parameter,
}

impl Convolution {
    fn new(b: &mut Scope, c: &CdConvConfig, width: usize) -> Self {
        let mut from = DELTA;
        let mut kernel = Vec::new();
        for (k, &to) in c.kernel.iter().enumerate() {
            let mut at = b.scope("WeightNet");
            let shape = (c.steps, from, to);
            kernel.push(StepLinear {
                weight: at.parameter(format_args!("Ws.{k}"), shape, Init::fan_in(from * to)),
                bias: at.parameter(format_args!("bs.{k}"), (c.steps, to), Init::Constant(0.0)),
            });
            from = to;
        }
        let shape = (from * width, width);
        Self {
            kernel,
            weight: b.parameter("W", shape, Init::fan_in(width)),
        }
    }

    /// `x` `[N, C]` to the same.
    fn forward(&self, x: &Tensor, level: &Level, pass: &Pass) -> candle_core::Result<Tensor> {
        let p = pass.parameters;
        let [delta, step, smooth] = &level.features[..] else {
            candle_core::bail!("edges without filters");
        };
        let mut kernel = delta.clone();
        for layer in &self.kernel {
            // The layer of an edge's number of steps: a block of a row that is zero elsewhere.
            let (weight, bias) = (p.get(&layer.weight)?, p.get(&layer.bias)?);
            let spread = step.unsqueeze(2)?.broadcast_mul(&kernel.unsqueeze(1)?)?;
            let rows = Tensor::cat(&[&spread.flatten_from(1)?, step], 1)?;
            let weight = Tensor::cat(&[&weight.flatten_to(1)?, &bias], 0)?
                .t()?
                .contiguous()?;
            kernel = leaky_relu(&dense(&rows, &weight)?, SLOPE)?;
        }
        let factors = [
            (edge(Row::Vector), &kernel),
            (sender(Row::Channels), x),
            (edge(Row::Number), smooth),
        ];
        let sums = contract(&level.edges, factors, receiver(Row::Vectors))?;
        let weight = p.get(&self.weight)?.t()?.contiguous()?;
        dense(&sums.flatten_from(1)?, &weight)
    }
}

/// Batch norm, leaky ReLU and dropout, as before every linear layer of a block.
struct Ready(BatchNorm);

impl Ready {
    fn forward(&self, x: &Tensor, run: &Run) -> candle_core::Result<Tensor> {
        let y = leaky_relu(&self.0.forward(x, run.pass)?, run.slope)?;
        run.pass.dropout(&y, run.rate, run.rows)
    }
}

/// What the layers of a block share.
struct Run<'a> {
    pass: &'a Pass<'a>,
    slope: f64,
    rate: f64,
    rows: &'a Incidence,
}

/// A residual block.
struct Block {
    identity: Option<(Ready, Linear)>,
    input: (Ready, Linear, Ready),
    convolution: Convolution,
    output: (Ready, Linear),
}

impl Block {
    fn new(b: &mut Scope, c: &CdConvConfig, from: usize, to: usize) -> Self {
        let width = to * c.base / 64;
        let mut ready = |name: &str, width| Ready(BatchNorm::new(&mut b.scope(name), width));
        let identity = (from != to).then(|| ready("identity.module.0", from));
        let input = (
            ready("input.module.0", from),
            ready("input.module.4", width),
        );
        let output = ready("output.module.0", width);
        let mut linear = |name: &str, from, to| {
            Linear::without_bias(&mut b.scope(name), from, to, Init::fan_in(from))
        };
        Self {
            identity: identity.map(|ready| (ready, linear("identity.module.3", from, to))),
            input: (input.0, linear("input.module.3", from, width), input.1),
            output: (output, linear("output.module.3", width, to)),
            convolution: Convolution::new(&mut b.scope("conv"), c, width),
        }
    }

    fn forward(&self, x: &Tensor, level: &Level, run: &Run) -> candle_core::Result<Tensor> {
        let p = run.pass.parameters;
        let identity = match &self.identity {
            Some((ready, layer)) => linear(layer, &ready.forward(x, run)?, p)?,
            None => x.clone(),
        };
        let (first, layer, second) = &self.input;
        let y = linear(layer, &first.forward(x, run)?, p)?;
        let y = self
            .convolution
            .forward(&second.forward(&y, run)?, level, run.pass)?;
        let (ready, layer) = &self.output;
        linear(layer, &ready.forward(&y, run)?, p)? + identity
    }
}

/// The network.
struct CdConv {
    config: CdConvConfig,
    embedding: Embedding,
    blocks: Vec<[Block; 2]>,
    norms: [BatchNorm; 2],
    layers: [Linear; 2],
}

impl CdConv {
    fn new(b: &mut Scope, c: &CdConvConfig, outputs: usize) -> Self {
        let init = Init::Normal(1.0);
        let kinds = UNKNOWN as usize + 1;
        let embedding = Embedding::new(&mut b.scope("embedding"), kinds, c.embedding, init);
        let mut from = c.embedding;
        let mut blocks = Vec::new();
        for (k, &to) in c.channels.iter().enumerate() {
            blocks.push([(2 * k, from), (2 * k + 1, to)].map(|(number, from)| {
                Block::new(&mut b.scope(format_args!("layers.{number}")), c, from, to)
            }));
            from = to;
        }
        let hidden = from.max(outputs);
        let at = |k: usize| format!("classifier.module.{k}");
        Self {
            config: c.clone(),
            embedding,
            blocks,
            norms: [(0, from), (4, hidden)]
                .map(|(k, width)| BatchNorm::new(&mut b.scope(at(k)), width)),
            layers: [(3, from, hidden), (6, hidden, outputs)]
                .map(|(k, from, to)| Linear::pytorch(&mut b.scope(at(k)), from, to)),
        }
    }
}

/// Residues of a chain, or what they have become: places, frames and numbers along the sequence.
#[derive(Clone)]
struct Chart {
    at: Vec<Point>,
    frames: Vec<[Point; 3]>,
    numbers: Vec<usize>,
}

impl Chart {
    fn new(chain: &Chain) -> Self {
        let at = chain.carbons();
        Self {
            frames: frames(&at),
            numbers: (0..at.len()).collect(),
            at,
        }
    }

    /// Edges of all residues within `radius`, each with itself too, by receiver, then sender.
    fn edges(&self, radius: f64, most: usize) -> Result<Edges> {
        let near = near(&self.at, radius, most)?;
        let mut pairs: Vec<[u32; 2]> = (0..self.at.len() as u32).map(|i| [i, i]).collect();
        pairs.extend(
            near.receivers
                .iter()
                .zip(&near.senders)
                .map(|(&i, &j)| [i, j]),
        );
        pairs.sort_unstable();
        Ok(Edges {
            receivers: pairs.iter().map(|[i, _]| *i).collect(),
            senders: pairs.iter().map(|[_, j]| *j).collect(),
            shifts: vec![[0; 3]; pairs.len()],
        })
    }

    /// What filters are made of: the direction to the sender in the receiver's frame (3), the products
    /// of both frames' axes (3), the distance, Å.
    fn features(&self, i: usize, j: usize) -> [f64; DELTA] {
        let v = sub(self.at[j], self.at[i]);
        let d = norm(v);
        let [own, other] = [self.frames[i], self.frames[j]];
        let along = own.map(|axis| dot(axis, v) / (d + 1e-9));
        let turned: [f64; 3] = std::array::from_fn(|k| dot(own[k], other[k]));
        [
            along[0], along[1], along[2], turned[0], turned[1], turned[2], d,
        ]
    }

    /// Residues two by two become one, at their mean, and which those are.
    fn halved(&self) -> (Self, Vec<usize>) {
        let halves: Vec<usize> = self.numbers.iter().map(|n| n / 2).collect();
        let mut half = Self {
            at: Vec::new(),
            frames: Vec::new(),
            numbers: Vec::new(),
        };
        let mut sizes = Vec::new();
        let mut first = 0;
        for same in halves.chunk_by(|a, b| a == b) {
            let own = first..first + same.len();
            let mean = |of: &dyn Fn(usize) -> Point| -> Point {
                let sum = own.clone().map(of).reduce(crate::data::system::add);
                sum.unwrap_or_default().map(|x| x / same.len() as f64)
            };
            half.at.push(mean(&|k| self.at[k]));
            half.frames
                .push([0, 1, 2].map(|axis| unit(mean(&|k| self.frames[k][axis]))));
            half.numbers.push(same[0]);
            sizes.push(same.len());
            first = own.end;
        }
        (half, sizes)
    }
}

impl CdConv {
    /// A level of charts. Features of edges: [`Chart::features`] `[E, 7]`, the number of steps along
    /// the sequence, one-hot `[E, L]`, and the weight `[E]`.
    fn level(&self, charts: &[Chart], radius: f64, on: On) -> Result<Level> {
        let steps = self.config.steps;
        let s = (steps / 2) as i64;
        let edges = charts
            .par_iter()
            .map(|c| c.edges(radius, self.config.neighbors));
        let edges: Vec<Edges> = edges.collect::<Result<_>>()?;
        let (mut delta, mut step, mut smooth) = (Vec::new(), Vec::new(), Vec::new());
        for (chart, edges) in charts.iter().zip(&edges) {
            for (&i, &j) in edges.receivers.iter().zip(&edges.senders) {
                let [i, j] = [i, j].map(|k| k as usize);
                let features = chart.features(i, j);
                let q = (chart.numbers[j] as i64 - chart.numbers[i] as i64).clamp(-s, s);
                let far = features[DELTA - 1] / radius * (q.abs() as f64 / s as f64);
                delta.extend(features);
                step.extend((-s..=s).map(|k| if k == q { 1.0 } else { 0.0 }));
                smooth.push(0.5 - 0.5 * (16.0 * far - 14.0).tanh());
            }
        }
        let sizes: Vec<usize> = charts.iter().map(|c| c.at.len()).collect();
        let count = smooth.len();
        Ok(Level {
            edges: joined_edges(&edges, &sizes)?,
            features: vec![
                on.tensor(delta, &[count, DELTA])?,
                on.tensor(step, &[count, steps])?,
                on.tensor(smooth, &[count])?,
            ],
            pool: None,
            chains: groups(&sizes)?,
        })
    }
}

impl Encoder for CdConv {
    /// A level for each radius.
    fn batch(&self, chains: &[Chain], on: On) -> Result<Batch> {
        let mut charts: Vec<Chart> = chains.par_iter().map(Chart::new).collect();
        let mut levels: Vec<Level> = Vec::new();
        for &radius in &self.config.radii {
            if let Some(last) = levels.last_mut() {
                let (halves, sizes): (Vec<Chart>, Vec<Vec<usize>>) =
                    charts.iter().map(Chart::halved).unzip();
                charts = halves;
                last.pool = Some(groups(&sizes.concat())?);
            }
            levels.push(self.level(&charts, radius, on)?);
        }
        let kinds = on.kinds(chains.iter().flat_map(|chain| chain.kinds.iter().copied()))?;
        Ok(Batch::new(kinds, None, levels))
    }

    fn forward(&self, batch: &Batch, pass: &Pass) -> candle_core::Result<Tensor> {
        let (p, rate) = (pass.parameters, self.config.dropout);
        let mut x = self.embedding.forward(&batch.kinds, p)?;
        let mut read = x.clone();
        for (blocks, level) in self.blocks.iter().zip(&batch.levels) {
            let run = Run {
                pass,
                slope: BLOCK_SLOPE,
                rate,
                rows: &level.chains,
            };
            for block in blocks {
                x = block.forward(&x, level, &run)?;
            }
            let groups = level.pool.as_ref().unwrap_or(&level.chains);
            read = Readout::Mean.forward(&x.into(), groups)?.value;
            x = read.clone();
        }
        let rows = groups(&vec![1; batch.len()])?;
        let slope = |norm: &BatchNorm, x: &Tensor| leaky_relu(&norm.forward(x, pass)?, SLOPE);
        let y = pass.dropout(&slope(&self.norms[0], &read)?, rate, &rows)?;
        let y = linear(&self.layers[0], &y, p)?;
        linear(&self.layers[1], &slope(&self.norms[1], &y)?, p)
    }

    /// The classifier's batch norms are over chains.
    fn least(&self) -> usize {
        2
    }
}
