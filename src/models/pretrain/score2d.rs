//! MoleculeSDE from positions to bonds: networks for the noise on bonds and atom types, of
//! features that know the positions (Liu et al. 2023; Jo et al. 2022 for the networks).

use super::dense::Padding;
use super::{Draws, Pass, Perceptron};
use crate::Result;
use crate::models::graph::Variant;
use crate::models::layers::Linear;
use crate::models::{Init, Parameter, Parameters, Scope};
use crate::ops::pointwise::{Elu, Tanh, values};
use candle_core::{D, Tensor};
use std::sync::Arc;

/// Width of the nodes, of queries and keys (half), of a head, channels of adjacencies, layers.
const NODE: usize = 16;
const HEAD: usize = 4;
const CHANNELS: [usize; 5] = [2, 8, 8, 8, 4];
/// One-hot classes of atoms.
const CLASSES: usize = 119;

/// `D^-1/2 A D^-1/2 (x W) + b` with ones on A's diagonal and `D = max(row sum, 1)`.
struct Convolution {
    weight: Parameter,
    bias: Parameter,
}

impl Convolution {
    fn new(b: &mut Scope, from: usize, to: usize) -> Self {
        Self {
            weight: b.parameter("weight", (from, to), Init::glorot(from, to)),
            bias: b.parameter("bias", to, Init::Constant(0.0)),
        }
    }

    /// `x` `[B, n, F]`, `normal` `[B, n, n]` of [`normalized`].
    fn forward(&self, x: &Tensor, normal: &Tensor, p: &Parameters) -> Result<Tensor> {
        let weight = p.get(&self.weight)?;
        let mapped = x.broadcast_matmul(&weight)?;
        Ok(normal.matmul(&mapped)?.broadcast_add(&p.get(&self.bias)?)?)
    }
}

/// The normalised adjacency of `[B, n, n]`.
fn normalized(a: &Tensor) -> Result<Tensor> {
    let n = a.dim(1)?;
    let eye = Tensor::eye(n, a.dtype(), a.device())?;
    let a = a.broadcast_mul(&(1.0 - &eye)?)?.broadcast_add(&eye)?;
    // max(row sum, 1)
    let degree = ((a.sum(D::Minus1)? - 1.0)?.relu()? + 1.0)?;
    let scale = degree.sqrt()?.recip()?;
    Ok(a.broadcast_mul(&scale.unsqueeze(2)?)?
        .broadcast_mul(&scale.unsqueeze(1)?)?)
}

fn elu(x: &Tensor) -> candle_core::Result<Tensor> {
    values(&Arc::new(Elu), x)
}

fn tanh(x: &Tensor) -> candle_core::Result<Tensor> {
    values(&Arc::new(Tanh), x)
}

struct Attention {
    query: Perceptron,
    key: Perceptron,
    value: Convolution,
}

impl Attention {
    fn new(b: &mut Scope, from: usize) -> Self {
        let mut net =
            |name: &str| Perceptron::new(&mut b.scope(name), from, &[2 * NODE, 2 * NODE], tanh);
        let (query, key) = (net("func_q"), net("func_k"));
        let value = Convolution::new(&mut b.scope("func_v"), from, NODE);
        Self { query, key, value }
    }

    /// Values `[B, n, 16]` and scores `[B, n, n]`.
    fn forward(&self, x: &Tensor, a: &Tensor, p: &Parameters) -> Result<[Tensor; 2]> {
        let (molecules, n, _) = x.dims3()?;
        let heads = |y: Tensor| -> candle_core::Result<Tensor> {
            let split = y.reshape((molecules, n, 2 * NODE / HEAD, HEAD))?;
            split.transpose(1, 2)?.contiguous()
        };
        let (q, k) = (
            heads(self.query.forward(x, p)?)?,
            heads(self.key.forward(x, p)?)?,
        );
        let scores = (q.matmul(&k.transpose(2, 3)?.contiguous()?)? / (HEAD as f64).sqrt())?;
        let scores = tanh(&scores)?.mean(1)?;
        let scores = ((&scores + scores.transpose(1, 2)?)? * 0.5)?;
        Ok([self.value.forward(x, &normalized(a)?, p)?, scores])
    }
}

struct Layer {
    attentions: Vec<Attention>,
    pairs: Perceptron,
    nodes: Perceptron,
}

impl Layer {
    fn new(b: &mut Scope, from: usize, [channels, to]: [usize; 2]) -> Self {
        let hidden = 2 * channels.max(to);
        let attention = |c: usize| Attention::new(&mut b.scope(format_args!("attn.{c}")), from);
        let attentions = (0..channels).map(attention).collect();
        let mut net = |name: &str, from, widths: &[usize]| {
            Perceptron::new(&mut b.scope(name), from, widths, elu)
        };
        Self {
            attentions,
            pairs: net("mlp", 2 * channels, &[hidden, hidden, to]),
            nodes: net("multi_channel", channels * NODE, &[hidden, NODE]),
        }
    }

    /// Declares that what makes its nodes may be unused.
    fn without_nodes(&self, b: &mut Scope) {
        self.nodes.unused(b);
        for attention in &self.attentions {
            b.unused(&attention.value.weight);
            b.unused(&attention.value.bias);
        }
    }

    /// `x` `[B, n, F]` and `a` `[B, C, n, n]` to the next.
    fn forward(
        &self,
        x: &Tensor,
        a: &Tensor,
        padding: &Padding,
        p: &Parameters,
    ) -> Result<[Tensor; 2]> {
        let (mut values, mut scores) = (Vec::new(), Vec::new());
        for (c, attention) in self.attentions.iter().enumerate() {
            let channel = a.narrow(1, c, 1)?.squeeze(1)?;
            let [value, score] = attention.forward(x, &channel, p)?;
            values.push(value);
            scores.push(score.unsqueeze(3)?);
        }
        let nodes = self.nodes.forward(&Tensor::cat(&values, 2)?, p)?;
        scores.push(a.permute((0, 2, 3, 1))?);
        let pairs = self
            .pairs
            .forward(&Tensor::cat(&scores, 3)?.contiguous()?, p)?;
        let pairs = pairs.permute((0, 3, 1, 2))?;
        let pairs = (&pairs + pairs.transpose(2, 3)?)?;
        Ok([tanh(&padding.mask(&nodes)?)?, padding.mask_pairs(&pairs)?])
    }
}

/// Both score networks, and the embeddings of their input.
pub struct BondScore {
    types: Linear,
    positions: Linear,
    layers: Vec<Layer>,
    pairs: Perceptron,
    convolutions: Vec<Convolution>,
    nodes: Perceptron,
    variant: Variant,
}

impl BondScore {
    /// Networks on features of `width` channels.
    pub fn new(b: &mut Scope, width: usize, variant: Variant) -> Self {
        let types = Linear::pytorch(&mut b.scope("embedding_X"), CLASSES, width);
        let positions = Linear::pytorch(&mut b.scope("embedding_3D"), width, width);
        let stages = CHANNELS.len() - 1;
        let mut edge = b.scope("edge_score_network");
        let from = |k: usize| if k == 0 { width } else { NODE };
        let layer = |k: usize| {
            let at = &mut edge.scope(format_args!("layers.{k}"));
            Layer::new(at, from(k), [CHANNELS[k], CHANNELS[k + 1]])
        };
        let layers: Vec<Layer> = (0..stages).map(layer).collect();
        // Pairs are all that is asked of the last layer.
        layers[stages - 1].without_nodes(&mut edge);
        let all: usize = CHANNELS.iter().sum();
        let widths = [2 * all, 2 * all, 1];
        let pairs = Perceptron::new(&mut edge.scope("final"), all, &widths, Tensor::silu);
        let mut node = b.scope("node_score_network");
        let convolution =
            |k: usize| Convolution::new(&mut node.scope(format_args!("layers.{k}")), from(k), NODE);
        let convolutions = (0..stages).map(convolution).collect();
        let all = width + stages * NODE;
        let widths = [2 * all, 2 * all, CLASSES];
        Self {
            types,
            positions,
            layers,
            pairs,
            convolutions,
            nodes: Perceptron::new(&mut node.scope("final"), all, &widths, Tensor::silu),
            variant,
        }
    }

    /// Losses of atom types and of bonds: means over molecules of means over their entries. `atoms`
    /// are features of the positions `[N, F]`; `draws` has `graph_of`, the levels of each molecule
    /// (`bond_mean`, `bond_sigma` `[B]`), adjacencies with entries of bond type + 1 (`adjacency`
    /// `[B, n, n]`), normal numbers (`adj_noise` `[B, n, n]`, its upper half counts; `x_noise`
    /// `[B, n, 119]`) and `classes` `[N]`.
    ///
    /// The released code compares the noise with the score, which is the network's output over the
    /// level, so that low levels count most, and counts padding; mended, it is compared with the
    /// score times the level, on atoms and pairs of atoms.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn losses(&self, atoms: &Tensor, draws: &Draws, pass: &Pass) -> Result<[Tensor; 2]> {
        let p = pass.parameters;
        let adjacency = draws.get("adjacency")?;
        let (molecules, n, _) = adjacency.dims3()?;
        let padding = Padding::new(draws.get("graph_of")?, molecules, atoms.dtype())?;
        let level =
            |name: &str| -> Result<Tensor> { Ok(draws.get(name)?.reshape((molecules, 1, 1))?) };
        let (mean, sigma) = (level("bond_mean")?, level("bond_sigma")?);
        let upper = Tensor::triu2(n, atoms.dtype(), atoms.device())?;
        let upper = (upper - Tensor::eye(n, atoms.dtype(), atoms.device())?)?;
        let half = draws.get("adj_noise")?.broadcast_mul(&upper)?;
        let pair_noise = (&half + half.transpose(1, 2)?)?;
        let masked_pairs = |x: &Tensor| padding.mask_pairs(&x.unsqueeze(1)?);
        let pair_noise = masked_pairs(&pair_noise)?.squeeze(1)?;
        let noisy = |clean: &Tensor, noise: &Tensor| -> Result<Tensor> {
            Ok((clean.broadcast_mul(&mean)? + noise.broadcast_mul(&sigma)?)?)
        };
        let a = masked_pairs(&noisy(adjacency, &pair_noise)?)?;
        let type_noise = padding.mask(draws.get("x_noise")?)?;
        let one_hot = one_hot(draws.get("classes")?, atoms)?;
        let types = padding.mask(&noisy(&padding.pad(&one_hot)?, &type_noise)?)?;
        let x =
            (self.positions.forward(&padding.pad(atoms)?, p)? + self.types.forward(&types, p)?)?;
        let of_types = self.type_output(&x, &a.squeeze(1)?, &padding, p)?;
        let of_pairs = self.pair_output(&x, &a, &padding, p)?;
        let loss = |output: &Tensor, noise: &Tensor, real: &dyn Fn(usize) -> usize| {
            let error = match self.variant {
                Variant::Published => (noise - output.broadcast_div(&sigma)?)?,
                Variant::Mended => (noise - output)?,
            };
            let all = error.elem_count() / molecules;
            let share = |&count: &usize| match self.variant {
                Variant::Published => 1.0 / (all * molecules) as f64,
                Variant::Mended => 1.0 / (real(count).max(1) * molecules) as f64,
            };
            let shares: Vec<f64> = padding.counts.iter().map(share).collect();
            let shares = Tensor::from_vec(shares, molecules, error.device())?;
            let sums = error.sqr()?.flatten_from(1)?.sum(1)?;
            (sums * shares.to_dtype(error.dtype())?)?.sum_all()
        };
        Ok([
            loss(&of_types, &type_noise, &|atoms| atoms * CLASSES)?,
            loss(&of_pairs, &pair_noise, &|atoms| atoms * atoms)?,
        ])
    }

    /// The network of pairs, `[B, n, n]`.
    fn pair_output(
        &self,
        x: &Tensor,
        a: &Tensor,
        padding: &Padding,
        p: &Parameters,
    ) -> Result<Tensor> {
        let single = a.squeeze(1)?;
        let mut channels = Tensor::cat(&[a.clone(), single.matmul(&single)?.unsqueeze(1)?], 1)?;
        let mut all = vec![channels.clone()];
        let mut x = x.clone();
        for layer in &self.layers {
            [x, channels] = layer.forward(&x, &channels, padding, p)?;
            all.push(channels.clone());
        }
        let all = Tensor::cat(&all, 1)?.permute((0, 2, 3, 1))?.contiguous()?;
        let output = self.pairs.forward(&all, p)?.squeeze(3)?;
        let eye = Tensor::eye(padding.longest, output.dtype(), output.device())?;
        let output = output.broadcast_mul(&(1.0 - eye)?)?;
        Ok(padding.mask_pairs(&output.unsqueeze(1)?)?.squeeze(1)?)
    }

    /// The network of atom types, `[B, n, 119]`.
    fn type_output(
        &self,
        x: &Tensor,
        a: &Tensor,
        padding: &Padding,
        p: &Parameters,
    ) -> Result<Tensor> {
        let normal = normalized(a)?;
        let mut all = vec![x.clone()];
        for convolution in &self.convolutions {
            let last = &all[all.len() - 1];
            all.push(tanh(&convolution.forward(last, &normal, p)?)?);
        }
        let output = self.nodes.forward(&Tensor::cat(&all, 2)?, p)?;
        Ok(padding.mask(&output)?)
    }
}

/// Classes `[N]` as rows with a one, `[N, 119]`.
fn one_hot(classes: &Tensor, like: &Tensor) -> Result<Tensor> {
    let eye = Tensor::eye(CLASSES, like.dtype(), like.device())?;
    Ok(eye.index_select(classes, 0)?)
}
