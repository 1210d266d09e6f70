//! Normalisation of features of irreps.

use crate::models::{Init, Parameter, Parameters, Scope};
use crate::ops::dual::Dual;
use crate::ops::segment::{Incidence, Row, edge, receiver};
use crate::so3::blocks::{Blocks, Irrep};
use candle_core::{Result, Tensor};
use std::sync::Arc;

/// What norms are means over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// The channels of a block, for each row.
    Channels,
    /// The rows of a graph, for each channel.
    Graphs,
}

/// Divides each block by the root of the mean of its squares, and scales it; the mean of invariants
/// is taken away before, and they get a bias.
pub struct BlockNorm {
    over: Over,
    blocks: Blocks,
    weight: Parameter,
    bias: Parameter,
}

impl BlockNorm {
    const EPSILON: f64 = 1e-5;

    /// Weights for all channels and biases for those of invariants, under the given names.
    pub fn new(b: &mut Scope, [weight, bias]: [&str; 2], over: Over, blocks: &Blocks) -> Self {
        let invariants = blocks.filter(|irrep| irrep == Irrep::SCALAR).channels();
        Self {
            over,
            blocks: blocks.clone(),
            weight: b.parameter(weight, blocks.channels(), Init::Constant(1.0)),
            bias: b.parameter(bias, invariants, Init::Constant(0.0)),
        }
    }

    /// `[rows, dim]` to the same; `graphs` are the groups of the rows.
    ///
    /// # Errors
    /// Another width.
    pub fn forward(&self, x: &Dual, graphs: &Arc<Incidence>, p: &Parameters) -> Result<Dual> {
        let (weight, bias) = (p.get(&self.weight)?, p.get(&self.bias)?);
        let (mut channel, mut invariant) = (0, 0);
        let mut parts = Vec::new();
        for (block, start) in self.blocks.iter().zip(self.blocks.offsets()) {
            let (n, dim) = (block.channels, block.irrep.dim());
            let mut part = x.linear(|x| x.narrow(1, start, n * dim))?;
            let is_invariant = block.irrep == Irrep::SCALAR;
            if is_invariant {
                let mean = self.mean(&part, graphs)?;
                part = part.sub(&mean.linear(|m| m.broadcast_as((m.dim(0)?, n)))?)?;
            }
            let squares = part.mul(&part)?;
            let squares = squares.linear(|s| s.reshape((s.dim(0)?, dim, n))?.mean(1))?;
            let inverse = self.mean(&squares, graphs)?.sqrt(Self::EPSILON)?.recip()?;
            let weight = weight.narrow(0, channel, n)?;
            let scale = inverse.linear(|s| s.broadcast_mul(&weight)?.repeat((1, dim)))?;
            part = part.mul(&scale)?;
            if is_invariant {
                let bias = bias.narrow(0, invariant, n)?;
                part = part.map(|x| x.broadcast_add(&bias), |_, t| Ok(t.clone()))?;
                invariant += n;
            }
            channel += n;
            parts.push(part);
        }
        Dual::cat(&parts.iter().collect::<Vec<_>>(), 1)
    }

    /// The mean of `[rows, channels]` that belongs to each row: `[rows, 1]`, or `[rows, channels]`.
    fn mean(&self, x: &Dual, graphs: &Arc<Incidence>) -> Result<Dual> {
        if self.over == Over::Channels {
            return x.linear(|x| x.mean_keepdim(1));
        }
        let shares: Vec<f64> = (0..graphs.receiving())
            .map(|graph| 1.0 / graphs.of_receiver(graph).len().max(1) as f64)
            .collect();
        let shares = Tensor::from_vec(shares, graphs.receiving(), x.value.device())?;
        let shares = Dual::from(shares.to_dtype(x.value.dtype())?);
        let sums = Dual::contract(graphs, [(edge(Row::Channels), x)], receiver(Row::Channels))?;
        let factors = [
            (receiver(Row::Channels), &sums),
            (receiver(Row::Number), &shares),
        ];
        Dual::contract(graphs, factors, edge(Row::Channels))
    }
}
