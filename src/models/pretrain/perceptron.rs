//! Linear layers with one function between them.

use crate::models::layers::Linear;
use crate::models::{Init, Parameters, Scope};
use candle_core::{Result, Tensor};

/// Layers `layers.0`, `layers.1`, ..., with a function after each but the last.
pub struct Perceptron {
    layers: Vec<Linear>,
    between: fn(&Tensor) -> Result<Tensor>,
}

impl Perceptron {
    /// Layers of these widths on an input of width `from`, with PyTorch's initialisation.
    pub fn new(
        b: &mut Scope,
        from: usize,
        widths: &[usize],
        between: fn(&Tensor) -> Result<Tensor>,
    ) -> Self {
        Self::with(b, from, widths, between, Linear::pytorch)
    }

    /// With Glorot's weights and biases of zero.
    pub fn glorot(
        b: &mut Scope,
        from: usize,
        widths: &[usize],
        between: fn(&Tensor) -> Result<Tensor>,
    ) -> Self {
        let linear = |b: &mut Scope, from, to| Linear::new(b, from, to, Init::glorot(from, to));
        Self::with(b, from, widths, between, linear)
    }

    fn with(
        b: &mut Scope,
        mut from: usize,
        widths: &[usize],
        between: fn(&Tensor) -> Result<Tensor>,
        linear: fn(&mut Scope, usize, usize) -> Linear,
    ) -> Self {
        let mut layers = Vec::with_capacity(widths.len());
        for (i, &to) in widths.iter().enumerate() {
            layers.push(linear(&mut b.scope(format_args!("layers.{i}")), from, to));
            from = to;
        }
        Self { layers, between }
    }

    /// Declares that losses may not depend on it.
    pub fn unused(&self, b: &mut Scope) {
        self.layers.iter().for_each(|layer| layer.unused(b));
    }

    /// `[.., from]` to the last width.
    ///
    /// # Errors
    /// Another width.
    pub fn forward(&self, x: &Tensor, p: &Parameters) -> Result<Tensor> {
        let mut x = x.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            if i > 0 {
                x = (self.between)(&x)?;
            }
            x = layer.forward(&x, p)?;
        }
        Ok(x)
    }
}
