//! The intrinsic-extrinsic convolution (Hermosilla et al., ICLR 2021) as a layer: messages are
//! mapped by a matrix that is a network of the edge's features.
//!
//! `N` nodes, `E` edges, `H` hidden channels, `K` features of an edge.

use super::linear;
use crate::models::Scope;
use crate::models::layers::{BatchNorm, Linear, Pass};
use crate::ops::segment::{Incidence, Row, contract, edge, gather, receiver};
use candle_core::{Result, Tensor};
use std::sync::Arc;

/// Widths of the layer.
#[derive(Debug, Clone, Copy)]
pub struct IeConvWidths {
    pub input: usize,
    /// `H`.
    pub hidden: usize,
    pub output: usize,
    /// `K`.
    pub edges: usize,
    /// Hidden channels of the network that makes the matrices.
    pub kernel: usize,
}

/// The layer; messages fall on the edges' receivers.
pub struct IeConv {
    hidden: usize,
    dropout: f64,
    before: BatchNorm,
    message: (Linear, BatchNorm),
    kernel: [Linear; 2],
    update: BatchNorm,
    after: (Linear, BatchNorm),
}

impl IeConv {
    /// `dropout` is of the sums, before the last linear layer.
    pub fn new(b: &mut Scope, w: IeConvWidths, dropout: f64) -> Self {
        let mut linear = |name: &str, from, to| Linear::pytorch(&mut b.scope(name), from, to);
        let kernel = [
            linear("kernel.layers.0", w.edges, w.kernel),
            linear("kernel.layers.1", w.kernel, (w.hidden + 1) * w.hidden),
        ];
        let (first, last) = (
            linear("linear1", w.input, w.hidden),
            linear("linear2", w.hidden, w.output),
        );
        let mut norm = |name: &str, width| BatchNorm::new(&mut b.scope(name), width);
        Self {
            hidden: w.hidden,
            dropout,
            before: norm("input_batch_norm", w.input),
            message: (first, norm("message_batch_norm", w.hidden)),
            kernel,
            update: norm("update_batch_norm", w.hidden),
            after: (last, norm("output_batch_norm", w.output)),
        }
    }

    /// `x` `[N, input]` to `[N, output]`; `features` `[E, K]`; `chains` are the nodes of each sample.
    ///
    /// # Errors
    /// Other shapes.
    pub fn forward(
        &self,
        x: &Tensor,
        edges: &Arc<Incidence>,
        features: &Tensor,
        chains: &Incidence,
        pass: &Pass,
    ) -> Result<Tensor> {
        let (p, h) = (pass.parameters, self.hidden);
        let y = self.before.forward(x, pass)?.relu()?;
        // The layer on nodes, of which there are fewer than edges.
        let y = gather(edges, &linear(&self.message.0, &y, p)?)?;
        let messages = self.message.1.forward(&y, pass)?.relu()?;
        let kernel = linear(&self.kernel[0], features, p)?.relu()?;
        let kernel = linear(&self.kernel[1], &kernel, p)?.reshape(((), h + 1, h))?;
        let shift = kernel.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?;
        let matrix = kernel.narrow(1, 1, h)?.contiguous()?;
        let factors = [
            (edge(Row::Vectors), &matrix),
            (edge(Row::Channels), &messages),
        ];
        let mapped = contract(edges, factors, receiver(Row::Vector))?;
        let shifts = contract(edges, [(edge(Row::Vector), &shift)], receiver(Row::Vector))?;
        let sums = self.update.forward(&(mapped + shifts)?, pass)?.relu()?;
        let sums = pass.dropout(&sums, self.dropout, chains)?;
        self.after
            .1
            .forward(&linear(&self.after.0, &sums, p)?, pass)
    }
}
