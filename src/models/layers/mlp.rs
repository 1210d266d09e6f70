//! Linear layers with activations between them.

use super::{Activation, Linear};
use crate::models::{Parameters, Scope};
use candle_core::{Result, Tensor};

/// Linear layers, each followed by its activation.
pub struct Mlp {
    layers: Vec<(Linear, Activation)>,
}

impl Mlp {
    /// Layers of the given widths on an input of width `from`, with PyTorch's default
    /// initialisation, named as in PyTorch's `Sequential`: layers and activations are numbered
    /// together, the identity has no number.
    pub fn new(b: &mut Scope, from: usize, layers: &[(usize, Activation)]) -> Self {
        let (mut width, mut number) = (from, 0);
        let layer = |&(to, activation): &(usize, Activation)| {
            let linear = Linear::pytorch(&mut b.scope(number), width, to);
            width = to;
            number += if activation == Activation::Identity {
                1
            } else {
                2
            };
            (linear, activation)
        };
        Self {
            layers: layers.iter().map(layer).collect(),
        }
    }

    /// `[.., from]` to the last layer's width.
    pub fn forward(&self, x: &Tensor, p: &Parameters) -> Result<Tensor> {
        let step = |x: Tensor, (linear, activation): &(Linear, Activation)| {
            activation.forward(&linear.forward(&x, p)?)
        };
        self.layers.iter().try_fold(x.clone(), step)
    }
}

impl From<Linear> for Mlp {
    /// One layer without an activation, under its own name.
    fn from(linear: Linear) -> Self {
        Self {
            layers: vec![(linear, Activation::Identity)],
        }
    }
}
