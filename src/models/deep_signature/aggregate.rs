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

use super::clip::Clip;
use super::config::{CoarseGraining, DeepSignatureConfig, Variant};
use crate::models::layers::Linear;
use crate::models::{Init, Parameters, Scope};
use crate::ops::assign::assign;
use crate::ops::hidden;
use crate::ops::mincut::{self, Adjacency, Pooled};
use candle_core::{Result, Tensor};

/// `A x W_rel^T + x W_root^T + b`.
#[derive(Clone)]
struct GraphConv {
    rel: Linear,
    root: Linear,
}

impl GraphConv {
    fn new(b: &mut Scope, from: usize, to: usize) -> Self {
        let root = Init::fan_in(from);
        Self {
            rel: Linear::pytorch(&mut b.scope("lin_rel"), from, to),
            root: Linear::without_bias(&mut b.scope("lin_root"), from, to, root),
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
    pool: Pool,
    /// Normalised adjacency of clusters, `[k, k]`.
    pub adjacency: Tensor,
    /// Average over time of the clusters' features, `[k, H]`.
    pub features: Tensor,
    /// Average over time of the convolution after the pooling, `[k, H]`.
    pub convolved: Tensor,
    pub mincut: Tensor,
    pub orthogonality: Tensor,
}

/// From nodes to clusters: sums over the members, or means in the corrected variant.
struct Pool {
    /// `[n, k]`
    assignment: Tensor,
    /// Sizes of the clusters, `[k, 1]`, where they divide the sums.
    sizes: Option<Tensor>,
}

impl Pool {
    fn new(assignment: &Tensor, variant: Variant) -> Result<Self> {
        let sizes = match variant {
            Variant::Published => None,
            Variant::Corrected => Some(assignment.sum(0)?.unsqueeze(1)?),
        };
        Ok(Self {
            assignment: assignment.clone(),
            sizes,
        })
    }

    fn detach(&self) -> Self {
        Self {
            assignment: self.assignment.detach(),
            sizes: self.sizes.as_ref().map(Tensor::detach),
        }
    }

    fn divide(&self, sums: Tensor) -> Result<Tensor> {
        match &self.sizes {
            Some(sizes) => sums.broadcast_div(sizes),
            None => Ok(sums),
        }
    }

    /// `[k, n]`, for few nodes.
    fn matrix(&self) -> Result<Tensor> {
        self.divide(self.assignment.t()?)
    }

    /// Features `[n, f]` of nodes to those of clusters, `[k, f]`.
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        self.divide(self.assignment.t()?.matmul(x)?)
    }

    /// The transpose of `words` `[m, k]` times the matrix: `[n, m]`.
    fn turned(&self, words: &Tensor) -> Result<Tensor> {
        self.assignment.matmul(&self.divide(words.t()?)?)
    }
}

/// The coarse-graining of one clip.
pub struct Coarse {
    /// Predicted coarse coordinates, `[T, K, d]`.
    pub path: Tensor,
    /// What they should be: pooled features of the nodes, `[T, K, d]`; no gradient reaches the
    /// assignments through it.
    pub target: Tensor,
    /// Average over time of x0, `[N, H]`; of the features, `[N, d]`, where nothing is learned.
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

#[derive(Clone)]
pub(super) enum Aggregator {
    /// Beads that the graphs bring with them, of this many.
    Fixed(usize),
    Learned(Box<Learned>),
}

impl Aggregator {
    /// The aggregator for nodes of `features` features.
    pub fn new(b: &mut Scope, config: &DeepSignatureConfig, features: usize) -> Self {
        match config.coarse_graining {
            CoarseGraining::Learned => Self::Learned(Box::new(Learned::new(b, config, features))),
            _ => Self::Fixed(config.clusters),
        }
    }

    /// Coarse-grains one clip.
    pub fn forward(&self, clip: &Clip, p: &Parameters) -> Result<Coarse> {
        match self {
            Self::Learned(learned) => learned.forward(clip, p),
            Self::Fixed(beads) => fixed(clip, *beads),
        }
    }
}

/// The means of the beads that the clip's graph brings with it. The losses are those of such an
/// assignment, and constant.
fn fixed(clip: &Clip, beads: usize) -> Result<Coarse> {
    let (nodes, frames, d) = clip.features.dims3()?;
    let (dtype, device) = (clip.features.dtype(), clip.features.device());
    let Some(bead) = &clip.graph.beads else {
        candle_core::bail!("a graph without the beads of a coarse-graining that is not learned");
    };
    let mut s = vec![0f32; nodes * beads];
    for (row, &b) in s.chunks_exact_mut(beads).zip(bead) {
        row[b as usize] = 1.0;
    }
    let s = Tensor::from_vec(s, (nodes, beads), device)?.to_dtype(dtype)?;
    let identity = Tensor::eye(beads, dtype, device)?;
    let features = clip.features.reshape((nodes, frames * d))?;
    let average = clip.features.mean(1)?;
    let level = |s: &Tensor, x: &Tensor, nodes: Adjacency| -> Result<Level> {
        let pooled = mincut::pool(s, nodes)?;
        let pool = Pool::new(s, Variant::Corrected)?;
        let features = pool.apply(x)?;
        Ok(Level {
            assignment: s.clone(),
            pool,
            adjacency: pooled.adjacency,
            convolved: features.clone(),
            features,
            mincut: pooled.mincut,
            orthogonality: pooled.orthogonality,
        })
    };
    let first = level(&s, &average, Adjacency::Graph(&clip.graph.edges))?;
    let second = level(
        &identity,
        &first.features,
        Adjacency::Clusters(&first.adjacency),
    )?;
    let third = level(
        &identity,
        &second.features,
        Adjacency::Clusters(&second.adjacency),
    )?;
    let path = first.pool.apply(&features)?.reshape((beads, frames, d))?;
    let path = path.transpose(0, 1)?.contiguous()?;
    Ok(Coarse {
        target: path.clone(),
        path,
        average,
        levels: [first, second, third],
    })
}

/// Min-cut pooling.
#[derive(Clone)]
pub(super) struct Learned {
    variant: Variant,
    propagate: Linear,
    assign: [Linear; 3],
    convolve: [GraphConv; 3],
    regress: Linear,
}

impl Learned {
    /// The aggregator for nodes of `features` features.
    fn new(b: &mut Scope, config: &DeepSignatureConfig, features: usize) -> Self {
        let (hidden, clusters) = (config.hidden, config.clusters);
        let local = &mut b.scope("local_aggregator");
        let propagate = {
            let b = &mut local.scope("conv1");
            let init = Init::glorot(features, hidden);
            let weight = b.parameter("lin.weight", (hidden, features), init);
            Linear::of(
                weight,
                Some(b.parameter("bias", hidden, Init::Constant(0.0))),
            )
        };
        let mut level = |pool, factor: usize, conv| {
            (
                Linear::pytorch(&mut local.scope(pool), hidden, factor * clusters),
                GraphConv::new(&mut local.scope(conv), hidden, hidden),
            )
        };
        let (pool1, conv2) = level("pool1", 8, "conv2");
        let (pool2, conv3) = level("pool2", 4, "conv3");
        let (pool3, conv4) = level("pool3", 1, "conv4");
        Self {
            variant: config.variant,
            propagate,
            assign: [pool1, pool2, pool3],
            convolve: [conv2, conv3, conv4],
            regress: Linear::pytorch(&mut b.scope("energy_regressor"), hidden, features),
        }
    }

    /// Coarse-grains one clip.
    fn forward(&self, clip: &Clip, p: &Parameters) -> Result<Coarse> {
        let (nodes, frames, d) = clip.features.dims3()?;
        let features = clip.features.reshape((nodes, frames * d))?;
        let mixed = clip.graph.propagation.apply(&features)?;
        let mixed = mixed.reshape((nodes, frames, d))?;
        // Weight and bias as one matrix `[d + 1, H]`, the bias last.
        let bias = self.propagate.bias(p)?.unsqueeze(0)?;
        let layer = Tensor::cat(&[self.propagate.matrix(p)?, bias], 0)?;
        let weights = clip.times.weights(frames);
        let average = hidden::average(&mixed, &layer, weights)?;

        let graph = Adjacency::Graph(&clip.graph.edges);
        let first = self.level(0, &average, graph, p)?;
        let clusters = Adjacency::Clusters(&first.adjacency);
        let second = self.level(1, &first.convolved, clusters, p)?;
        let clusters = Adjacency::Clusters(&second.adjacency);
        let third = self.level(2, &second.convolved, clusters, p)?;
        let levels = [first, second, third];

        let left = left(&levels)?;
        let right = self.right(p)?;
        // [N words, K] against the projections, words innermost in their rows.
        let words = left.reshape((nodes * WORDS, ()))?;
        let still = average.matmul(&right)?.reshape((nodes * WORDS, d))?;
        let still = words.t()?.matmul(&still)?;
        let still = (self.regress.forward(&levels[2].convolved, p)? - still)?;
        let moving = hidden::project_pooled(&left, &mixed, &layer, &right, WORDS)?;
        let moving = moving.reshape(((), d, frames))?;
        let path = moving.broadcast_add(&still.unsqueeze(2)?)?;
        let target = pooled(&levels, &features)?;
        let target = target.reshape(((), frames, d))?;
        Ok(Coarse {
            path: path.permute((2, 0, 1))?.contiguous()?,
            target: target.transpose(0, 1)?.contiguous()?,
            average,
            levels,
        })
    }

    /// One level on averages `x` `[n, H]`.
    fn level(&self, i: usize, x: &Tensor, nodes: Adjacency, p: &Parameters) -> Result<Level> {
        let layer = &self.assign[i];
        let s = assign(x, &layer.weight(p)?, &layer.bias(p)?)?;
        let Pooled {
            adjacency,
            mincut,
            orthogonality,
        } = mincut::pool(&s, nodes)?;
        let pool = Pool::new(&s, self.variant)?;
        let features = pool.apply(x)?;
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

/// Transposes of `P_w` of all words side by side, `[N, words K]`; the last letter varies slowest.
fn left(levels: &[Level; 3]) -> Result<Tensor> {
    let [first, second, third] = levels;
    let convolved = |mut words: Vec<Tensor>, level: &Level| {
        let rel = words.iter().map(|w| level.adjacency.matmul(w));
        let rel = rel.collect::<Result<Vec<_>>>()?;
        words.extend(rel);
        Ok::<_, candle_core::Error>(words)
    };
    // From the clusters of the first level to those of the second, then of the third.
    let root = second.pool.matrix()?;
    let rel = root.matmul(&first.adjacency)?;
    let words = convolved(vec![root, rel], second)?;
    let words = words.iter().map(|w| third.pool.apply(w));
    let words = convolved(words.collect::<Result<_>>()?, third)?;
    first.pool.turned(&Tensor::cat(&words, 0)?)
}

/// Features `[N, f]` pooled by all levels, `[K, f]`, without gradient to the assignments.
fn pooled(levels: &[Level; 3], features: &Tensor) -> Result<Tensor> {
    let [first, second, third] = levels.each_ref().map(|l| l.pool.detach());
    let all = first.turned(&third.apply(&second.matrix()?)?)?;
    all.t()?.matmul(features)
}
