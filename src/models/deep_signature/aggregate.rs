//! The spatial part: graph convolution, three levels of min-cut pooling, and the regressor of
//! the coarse paths.
//!
//! Shapes: N nodes, T frames, d features, H hidden, K beads; levels have k = 8 K, 4 K, K
//! clusters. After the first convolution `x0 = relu(GCN(features))` nothing is nonlinear in the
//! frame: assignments see averages over time only. So the levels are run once, on the average of
//! `x0`, and the path of every frame follows from eight products,
//! ```text
//! path[t] = path[average] + sum_w P_w (x0[t] - x0[average]) Q_w,   w in {root, rel}^3
//! P_w = [A3] S3^T [A2] S2^T [A1] S1^T,   Q_w = W2_w W3_w W4_w R
//! ```
//! where the bracketed adjacency is present when the letter is `rel`.

use super::clip::{Clip, Graph};
use super::config::Variant;
use super::layer::{Linear, glorot};
use crate::models::{Parameters, ParametersBuilder};
use crate::ops::hidden;
use candle_core::{D, Result, Tensor};
use candle_nn::ops::softmax;

/// Keeps the degree's root away from zero, as in the published code.
const EPS: f64 = 1e-15;

/// `A x W_rel^T + x W_root^T + b`.
#[derive(Clone)]
struct GraphConv {
    rel: Linear,
    root: Linear,
}

impl GraphConv {
    fn new(b: &mut ParametersBuilder, name: &str, from: usize, to: usize) -> Self {
        Self {
            rel: Linear::new(b, &format!("{name}.lin_rel"), from, to),
            root: Linear::without_bias(b, &format!("{name}.lin_root"), from, to),
        }
    }

    fn forward(&self, x: &Tensor, adjacency: &Tensor, p: &Parameters) -> Result<Tensor> {
        self.rel.forward(&adjacency.matmul(x)?, p)? + self.root.forward(x, p)?
    }
}

/// What one level of pooling makes.
pub struct Level {
    /// Soft assignment of nodes to clusters, `[n, k]`; rows sum to 1.
    pub assignment: Tensor,
    /// Features of clusters from those of nodes, `[k, n]`.
    pub pool: Tensor,
    /// Normalised adjacency of clusters, `[k, k]`.
    pub adjacency: Tensor,
    /// Average over time of the clusters' features, `[k, H]`.
    pub features: Tensor,
    /// Average over time of the convolution after the pooling, `[k, H]`.
    pub convolved: Tensor,
    pub mincut: Tensor,
    pub orthogonality: Tensor,
}

/// The coarse-graining of one clip.
pub struct Coarse {
    /// Predicted coarse coordinates, `[T, K, d]`.
    pub path: Tensor,
    /// What they should be: pooled features of the nodes, `[T, K, d]`; no gradient reaches the
    /// assignments through it.
    pub target: Tensor,
    /// Average over time of x0, `[N, H]`.
    pub average: Tensor,
    pub levels: [Level; 3],
}

impl Coarse {
    /// Product of the three assignments: node to bead, `[N, K]`, rows sum to 1.
    pub fn assignment(&self) -> Result<Tensor> {
        let [a, b, c] = &self.levels;
        a.assignment.matmul(&b.assignment.matmul(&c.assignment)?)
    }

    /// Mean distance of predicted from pooled coordinates.
    pub fn coordinates_loss(&self) -> Result<Tensor> {
        (&self.path - &self.target)?.abs()?.mean_all()
    }

    /// Sum over the levels.
    pub fn mincut_loss(&self) -> Result<Tensor> {
        let [a, b, c] = &self.levels;
        (&a.mincut + &b.mincut)? + &c.mincut
    }

    /// Sum over the levels.
    pub fn orthogonality_loss(&self) -> Result<Tensor> {
        let [a, b, c] = &self.levels;
        (&a.orthogonality + &b.orthogonality)? + &c.orthogonality
    }
}

/// Adjacency of a level's nodes.
enum Adjacency<'a> {
    Graph(&'a Graph),
    Clusters(&'a Tensor),
}

impl Adjacency<'_> {
    fn times(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Adjacency::Graph(graph) => graph.adjacency.apply(x),
            Adjacency::Clusters(a) => a.matmul(x),
        }
    }

    /// Row sums, `[n]`.
    fn degrees(&self, like: &Tensor) -> Result<Tensor> {
        match self {
            Adjacency::Graph(graph) => {
                Tensor::new(graph.degrees.as_slice(), like.device())?.to_dtype(like.dtype())
            }
            Adjacency::Clusters(a) => a.sum(1),
        }
    }
}

#[derive(Clone)]
pub(super) struct Aggregator {
    variant: Variant,
    propagate: Linear,
    assign: [Linear; 3],
    convolve: [GraphConv; 3],
    regress: Linear,
}

impl Aggregator {
    pub fn new(
        b: &mut ParametersBuilder,
        variant: Variant,
        (features, hidden, clusters): (usize, usize, usize),
    ) -> Self {
        let name = "local_aggregator";
        let propagate = Linear::named(
            b,
            (
                format!("{name}.conv1.lin.weight"),
                format!("{name}.conv1.bias"),
            ),
            (features, hidden),
            glorot(features, hidden),
        );
        let mut pair = |level: usize, factor: usize| {
            let pool = format!("{name}.pool{level}");
            let conv = format!("{name}.conv{}", level + 1);
            (
                Linear::new(b, &pool, hidden, factor * clusters),
                GraphConv::new(b, &conv, hidden, hidden),
            )
        };
        let (pool1, conv2) = pair(1, 8);
        let (pool2, conv3) = pair(2, 4);
        let (pool3, conv4) = pair(3, 1);
        Self {
            variant,
            propagate,
            assign: [pool1, pool2, pool3],
            convolve: [conv2, conv3, conv4],
            regress: Linear::new(b, "energy_regressor", hidden, features),
        }
    }

    /// Coarse-grains one clip.
    pub fn forward(&self, clip: &Clip, p: &Parameters) -> Result<Coarse> {
        let (nodes, frames, d) = clip.features.dims3()?;
        let features = clip.features.reshape((nodes, frames * d))?;
        let mixed = clip.graph.propagation.apply(&features)?;
        let mixed = mixed.reshape((nodes, frames, d))?;
        let layer = self.propagate.stacked(p)?;
        let weights = clip.times.weights(frames);
        let average = hidden::average(&mixed, &layer, weights)?;

        let graph = Adjacency::Graph(&clip.graph);
        let first = self.level(0, &average, graph, p)?;
        let clusters = Adjacency::Clusters(&first.adjacency);
        let second = self.level(1, &first.convolved, clusters, p)?;
        let clusters = Adjacency::Clusters(&second.adjacency);
        let third = self.level(2, &second.convolved, clusters, p)?;
        let levels = [first, second, third];

        // [K, N words], to meet the rows of the projections.
        let left = left(&levels)?.reshape((WORDS, (), nodes))?;
        let left = left.permute((1, 2, 0))?.flatten_from(1)?;
        let right = self.right(p)?;
        let still = average.matmul(&right)?.reshape((nodes * WORDS, d))?;
        let still = (self.regress.forward(&levels[2].convolved, p)? - left.matmul(&still)?)?;
        let moving = left.matmul(&hidden::project(&mixed, &layer, &right, WORDS)?)?;
        let moving = moving.reshape(((), frames, d))?;
        let path = moving.broadcast_add(&still.unsqueeze(1)?)?;
        let target = pooled(&levels)?.matmul(&features)?;
        let target = target.reshape(((), frames, d))?;
        Ok(Coarse {
            path: path.transpose(0, 1)?.contiguous()?,
            target: target.transpose(0, 1)?.contiguous()?,
            average,
            levels,
        })
    }

    /// One level on averages `x` `[n, H]`.
    fn level(&self, i: usize, x: &Tensor, nodes: Adjacency, p: &Parameters) -> Result<Level> {
        let scores = self.assign[i].forward(x, p)?.tanh()?;
        let s = softmax(&scores, D::Minus1)?;
        let k = s.dim(1)?;
        let adjacent = nodes.times(&s)?;
        let raw = s.t()?.matmul(&adjacent)?;
        let eye = Tensor::eye(k, s.dtype(), s.device())?;

        let cut = (&raw * &eye)?.sum_all()?;
        let squares = s.sqr()?.sum(1)?;
        let all = (squares * nodes.degrees(&s)?)?.sum_all()?;
        let mincut = (cut / all)?.neg()?;

        let overlap = s.t()?.matmul(&s)?;
        let norm = overlap.sqr()?.sum_all()?.sqrt()?;
        let ideal = (&eye / (k as f64).sqrt())?;
        let orthogonality = (overlap.broadcast_div(&norm)? - ideal)?;
        let orthogonality = orthogonality.sqr()?.sum_all()?.sqrt()?;

        let raw = (&raw - (&raw * &eye)?)?;
        let root = (raw.sum_keepdim(1)?.sqrt()? + EPS)?;
        let adjacency = raw.broadcast_div(&root)?.broadcast_div(&root.t()?)?;

        let pool = match self.variant {
            Variant::Published => s.t()?,
            // The mean of the members, not their sum.
            Variant::Corrected => s.broadcast_div(&s.sum_keepdim(0)?)?.t()?,
        };
        let features = pool.matmul(x)?;
        let convolved = self.convolve[i].forward(&features, &adjacency, p)?;
        Ok(Level {
            assignment: s,
            pool,
            adjacency,
            features,
            convolved,
            mincut,
            orthogonality,
        })
    }

    /// `Q_w` of all words side by side, `[H, words d]`.
    fn right(&self, p: &Parameters) -> Result<Tensor> {
        let mut words = Vec::new();
        for conv in &self.convolve {
            let letters = [conv.root.matrix(p)?, conv.rel.matrix(p)?];
            words = if words.is_empty() {
                letters.to_vec()
            } else {
                let longer = letters
                    .iter()
                    .flat_map(|w| words.iter().map(|q: &Tensor| q.matmul(w)));
                longer.collect::<Result<_>>()?
            };
        }
        let regress = self.regress.matrix(p)?;
        let words: Vec<Tensor> = words
            .iter()
            .map(|q| q.matmul(&regress))
            .collect::<Result<_>>()?;
        Tensor::cat(&words, 1)
    }
}

/// Words of three letters.
const WORDS: usize = 8;

/// `P_w` of all words on top of each other, `[words K, N]`; the last letter varies slowest.
fn left(levels: &[Level; 3]) -> Result<Tensor> {
    let mut words: Vec<Tensor> = Vec::new();
    for (i, level) in levels.iter().enumerate() {
        // Words from the clusters of the first level to those of this one.
        words = match i {
            0 => vec![Tensor::eye(
                level.adjacency.dim(0)?,
                level.adjacency.dtype(),
                level.adjacency.device(),
            )?],
            _ => words
                .iter()
                .map(|w| level.pool.matmul(w))
                .collect::<Result<_>>()?,
        };
        let rel: Vec<Tensor> = words
            .iter()
            .map(|w| level.adjacency.matmul(w))
            .collect::<Result<_>>()?;
        words.extend(rel);
    }
    Tensor::cat(&words, 0)?.matmul(&levels[0].pool)
}

/// Nodes to beads, `[K, N]`, without gradient to the assignments.
fn pooled(levels: &[Level; 3]) -> Result<Tensor> {
    let [a, b, c] = levels.each_ref().map(|l| l.pool.detach());
    c.matmul(&b)?.matmul(&a)
}
