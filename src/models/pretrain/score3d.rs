//! MoleculeSDE from bonds to positions: an equivariant network for the noise on positions, of
//! features that know the bonds alone (Liu et al. 2023).

use super::{Draws, Pass, Perceptron};
use crate::Result;
use crate::data::system::{cross, dot};
use crate::models::layers::{BatchNorm, LayerNorm, Linear};
use crate::models::{Parameters, Scope};
use candle_core::{D, DType, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use std::f64::consts::TAU;

/// Heads of the attention.
pub const HEADS: usize = 8;

/// Channels of the layer before the coefficients of a frame.
const COEFFICIENTS: usize = 128;

/// A frame on each edge and what an edge looks like in it; constants.
pub struct Frames {
    /// The frame's three vectors, `[E, 3, 3]`.
    pub axes: Tensor,
    /// Coefficients 0 and 2 of both ends' positions, `[E, 1]` each.
    coefficients: [[Tensor; 2]; 2],
    /// Sine and cosine of the angle between both ends' coefficients, `[E, 2]`.
    angle: Tensor,
}

impl Frames {
    /// Frames of the edges between positions `[N, 3]` (Å, centred: they are not invariant to
    /// translations): `a = (r_i - r_j) / (|.| + 1e-6)`, `b = (r_i x r_j) / (|.| + 1e-6)`,
    /// `c = a x b`, where `i` is the sender.
    ///
    /// # Errors
    /// Those of candle.
    pub fn new(positions: &Tensor, ends: &Tensor, dtype: DType) -> Result<Self> {
        const EPSILON: f64 = 1e-6;
        let device = positions.device();
        let positions = positions.to_dtype(DType::F64)?.to_vec2::<f64>()?;
        let ends = ends.to_vec2::<u32>()?;
        let unit = |v: [f64; 3]| {
            let norm = dot(v, v).sqrt() + EPSILON;
            v.map(|x| x / norm)
        };
        let mut axes = Vec::new();
        let mut columns = [const { Vec::new() }; 4];
        let mut angles = Vec::new();
        for (&i, &j) in ends[0].iter().zip(&ends[1]) {
            let [p, q] = [i, j].map(|a| {
                let row = &positions[a as usize];
                [row[0], row[1], row[2]]
            });
            let a = unit(std::array::from_fn(|k| p[k] - q[k]));
            let b = unit(cross(p, q));
            let frame = [a, b, cross(a, b)];
            let [mut of_p, mut of_q] = [p, q].map(|r| frame.map(|axis| dot(axis, r)));
            of_p[1] = of_p[1].abs();
            of_q[1] = of_q[1].abs();
            let norms = [of_p, of_q].map(|c| dot(c, c).sqrt() + EPSILON);
            let cosine = dot(of_p, of_q) / norms[0] / norms[1];
            angles.extend([(1.0 - cosine * cosine).max(0.0).sqrt(), cosine]);
            axes.extend(frame.into_iter().flatten());
            for (column, x) in columns.iter_mut().zip([of_p[0], of_p[2], of_q[0], of_q[2]]) {
                column.push(x);
            }
        }
        let edges = ends[0].len();
        let tensor = |values: Vec<f64>, shape: &[usize]| -> Result<Tensor> {
            Ok(Tensor::from_vec(values, shape, device)?.to_dtype(dtype)?)
        };
        let [p0, p2, q0, q2] = columns.map(|column| tensor(column, &[edges, 1]));
        Ok(Self {
            axes: tensor(axes, &[edges, 3, 3])?,
            coefficients: [[p0?, p2?], [q0?, q2?]],
            angle: tensor(angles, &[edges, 2])?,
        })
    }
}

/// Attention along edges with features, then a network of each atom, both with a norm on what they
/// add.
struct Transformer {
    query: Linear,
    key: Linear,
    value: Linear,
    edge: Linear,
    skip: Linear,
    forward: [Linear; 2],
    norms: [LayerNorm; 2],
}

impl Transformer {
    fn new(b: &mut Scope, width: usize) -> Self {
        let mut attention = b.scope("MHA");
        let mut linear = |name: &str| Linear::pytorch(&mut attention.scope(name), width, width);
        let (key, query, value) = (linear("lin_key"), linear("lin_query"), linear("lin_value"));
        let skip = linear("lin_skip");
        let init = crate::models::Init::fan_in(width);
        let edge = Linear::without_bias(&mut attention.scope("lin_edge"), width, width, init);
        Self {
            query,
            key,
            value,
            edge,
            skip,
            forward: [0, 3]
                .map(|k| Linear::pytorch(&mut b.scope(format_args!("FFN.{k}")), width, width)),
            norms: ["norm1", "norm2"].map(|name| LayerNorm::new(&mut b.scope(name), width)),
        }
    }

    fn forward(&self, h: &Tensor, e: &Tensor, graph: &Graph, p: &Parameters) -> Result<Tensor> {
        let attended = (self.attend(h, e, graph, p)? + self.skip.forward(h, p)?)?;
        let h = (h + self.norms[0].forward(&attended, p)?)?;
        let [first, second] = &self.forward;
        let x = second.forward(&first.forward(&h, p)?.silu()?, p)?;
        Ok((&h + self.norms[1].forward(&x, p)?)?)
    }

    fn attend(&self, h: &Tensor, e: &Tensor, graph: &Graph, p: &Parameters) -> Result<Tensor> {
        let (atoms, width) = h.dims2()?;
        let channels = width / HEADS;
        let edge = self.edge.forward(e, p)?;
        let heads = |x: Tensor| x.reshape((x.dim(0)?, HEADS, channels));
        let at = |layer: &Linear, rows: &Tensor| layer.forward(h, p)?.index_select(rows, 0);
        let query = heads(at(&self.query, &graph.to)?)?;
        let key = heads((at(&self.key, &graph.from)? + &edge)?)?;
        let value = heads((at(&self.value, &graph.from)? + &edge)?)?;
        let scores = ((query * key)?.sum(2)? / (channels as f64).sqrt())?;
        let shares = graph.softmax(&scores, atoms)?;
        let messages = value.broadcast_mul(&shares.unsqueeze(2)?)?;
        let messages = messages.reshape((messages.dim(0)?, width))?;
        Ok(h.zeros_like()?.index_add(&graph.to, &messages, 0)?)
    }
}

/// Senders and receivers, `[E]` each.
struct Graph {
    from: Tensor,
    to: Tensor,
}

impl Graph {
    /// Shares `[E, heads]` of the edges of each receiver.
    fn softmax(&self, scores: &Tensor, atoms: usize) -> Result<Tensor> {
        let heads = scores.dim(1)?;
        let rows = scores.detach().to_dtype(DType::F64)?.to_vec2::<f64>()?;
        let to = self.to.to_vec1::<u32>()?;
        let mut largest = vec![f64::NEG_INFINITY; atoms * heads];
        for (row, &i) in rows.iter().zip(&to) {
            for (k, &score) in row.iter().enumerate() {
                let own = &mut largest[i as usize * heads + k];
                *own = own.max(score);
            }
        }
        let largest = to.iter().flat_map(|&i| {
            let first = i as usize * heads;
            largest[first..first + heads].to_vec()
        });
        let largest = Tensor::from_vec(largest.collect(), (to.len(), heads), scores.device())?;
        let parts = (scores - largest.to_dtype(scores.dtype())?)?.exp()?;
        let zeros = Tensor::zeros((atoms, heads), scores.dtype(), scores.device())?;
        let sums = (zeros.index_add(&self.to, &parts, 0)? + 1e-16)?;
        Ok((parts / sums.index_select(&self.to, 0)?)?)
    }
}

/// The score network.
pub struct PositionScore {
    nodes: Perceptron,
    /// Linear, batch norm, ReLU, linear of both ends' features.
    bonds: (Linear, BatchNorm, Linear),
    /// Waves of the Fourier features: fixed numbers, drawn once for all models.
    waves: Vec<f64>,
    coefficients: Linear,
    project: Perceptron,
    layers: Vec<Vec<Transformer>>,
    mixes: Vec<[Linear; 2]>,
}

impl PositionScore {
    /// A network of `hidden` channels (a multiple of [`HEADS`]) on features of `width`.
    pub fn new(b: &mut Scope, width: usize, hidden: usize) -> Self {
        let nodes = Perceptron::new(&mut b.scope("node_emb"), width, &[hidden], Tensor::silu);
        let mut edge = b.scope("edge_2D_emb");
        let bonds = (
            Linear::pytorch(&mut edge.scope(0), 2 * width, width),
            BatchNorm::new(&mut edge.scope(1), width),
            Linear::pytorch(&mut edge.scope(3), width, hidden),
        );
        let widths = [hidden, hidden];
        let project = Perceptron::new(
            &mut b.scope("project"),
            2 * hidden + 2,
            &widths,
            Tensor::silu,
        );
        let coefficients = Linear::pytorch(&mut b.scope("coff_mlp"), 4 * hidden, hidden);
        let mut score = b.scope("score_network");
        let mut layers = Vec::new();
        let mut mixes = Vec::new();
        for block in 0..2 {
            let layer = |k: usize| {
                let name = format!("gnn_layers.{block}.{k}");
                Transformer::new(&mut score.scope(name), hidden)
            };
            layers.push((0..2).map(layer).collect());
            let mut mlp = score.scope(format_args!("basis_mlp_modules.{block}"));
            mixes.push([
                Linear::pytorch(&mut mlp.scope(0), 2 * hidden, COEFFICIENTS),
                Linear::pytorch(&mut mlp.scope(2), COEFFICIENTS, 3),
            ]);
        }
        let rng = ChaCha8Rng::seed_from_u64(hidden as u64);
        Self {
            nodes,
            bonds,
            waves: StandardNormal.sample_iter(rng).take(hidden).collect(),
            coefficients,
            project,
            layers,
            mixes,
        }
    }

    /// With other waves.
    #[must_use]
    pub fn with_waves(self, waves: Vec<f64>) -> Self {
        Self { waves, ..self }
    }

    /// Sine and cosine of `2 pi W x`, `[E, 1]` to `[E, 2 hidden]`.
    fn fourier(&self, x: &Tensor) -> Result<Tensor> {
        let waves: Vec<f64> = self.waves.iter().map(|w| TAU * w).collect();
        let waves = Tensor::from_vec(waves, (1, self.waves.len()), x.device())?;
        let phases = x.matmul(&waves.to_dtype(x.dtype())?)?;
        Ok(Tensor::cat(&[phases.sin()?, phases.cos()?], 1)?)
    }

    /// Features of the edges by their frames, `[E, hidden]`.
    fn shapes(&self, frames: &Frames, p: &Parameters) -> Result<Tensor> {
        let embed = |of: &[Tensor; 2]| -> Result<Tensor> {
            let waves = [self.fourier(&of[0])?, self.fourier(&of[1])?];
            Ok(self.coefficients.forward(&Tensor::cat(&waves, 1)?, p)?)
        };
        let [of_p, of_q] = &frames.coefficients;
        let parts = [frames.angle.clone(), embed(of_p)?, embed(of_q)?];
        Ok(self.project.forward(&Tensor::cat(&parts, 1)?, p)?)
    }

    /// The loss: the mean over molecules of the mean over atoms of `|score - epsilon|^2`. `atoms`
    /// are features of the bonds alone `[N, F]`; `draws` has edges (`edges` `[2, E]`), perturbed
    /// positions (`perturbed` `[N, 3]`, f64), their noise (`epsilon`), `graph_of` and the share of
    /// each atom in the mean (`share` `[N]`).
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn loss(&self, atoms: &Tensor, draws: &Draws, pass: &Pass) -> Result<Tensor> {
        if draws.get("edges")?.elem_count() == 0 {
            return Ok(pass.nothing()?);
        }
        let score = self.score(atoms, draws, pass)?;
        let squares = (score - draws.get("epsilon")?)?.sqr()?.sum(1)?;
        Ok((squares * draws.get("share")?)?.sum_all()?)
    }

    fn score(&self, atoms: &Tensor, draws: &Draws, pass: &Pass) -> Result<Tensor> {
        let ends = draws.get("edges")?;
        let graph = Graph {
            from: ends.get(0)?,
            to: ends.get(1)?,
        };
        let frames = Frames::new(draws.get("perturbed")?, ends, atoms.dtype())?;
        let at_ends = |x: &Tensor| -> Result<[Tensor; 2]> {
            Ok([
                x.index_select(&graph.from, 0)?,
                x.index_select(&graph.to, 0)?,
            ])
        };
        let (first, norm, last) = &self.bonds;
        let x = first.forward(&Tensor::cat(&at_ends(atoms)?, 1)?, pass.parameters)?;
        let x = norm.forward(&x, pass)?.relu()?;
        let p = pass.parameters;
        let edges = (last.forward(&x, p)? + self.shapes(&frames, p)?)?;
        let mut h = self.nodes.forward(atoms, p)?;
        let shares = graph.shares(h.dim(0)?, h.dtype())?;
        let mut gradient = Tensor::zeros((h.dim(0)?, 3), h.dtype(), h.device())?;
        for (layers, [mix, coefficients]) in self.layers.iter().zip(&self.mixes) {
            for (k, layer) in layers.iter().enumerate() {
                h = layer.forward(&h, &edges, &graph, p)?;
                if k + 1 < layers.len() {
                    h = h.silu()?;
                }
            }
            let [from, to] = at_ends(&h)?;
            let x = Tensor::cat(&[(from + to)?, edges.clone()], 1)?;
            let q = coefficients.forward(&mix.forward(&x, p)?.silu()?, p)?;
            let steps = frames
                .axes
                .broadcast_mul(&q.unsqueeze(D::Minus1)?)?
                .sum(1)?;
            let steps = steps.broadcast_mul(&shares)?;
            gradient = gradient.index_add(&graph.to, &steps, 0)?;
        }
        Ok(gradient)
    }
}

impl Graph {
    /// One over the number of edges of each edge's receiver, `[E, 1]`.
    fn shares(&self, atoms: usize, dtype: DType) -> Result<Tensor> {
        let to = self.to.to_vec1::<u32>()?;
        let mut counts = vec![0u32; atoms];
        to.iter().for_each(|&i| counts[i as usize] += 1);
        let shares: Vec<f64> = to
            .iter()
            .map(|&i| 1.0 / f64::from(counts[i as usize]))
            .collect();
        Ok(Tensor::from_vec(shares, (to.len(), 1), self.to.device())?.to_dtype(dtype)?)
    }
}
