//! What TFN and the SE(3)-Transformer share: layers of fibers, a norm after each, and a last
//! convolution to scalars.

use super::fibers::{Convolution, Fiber, Inputs, Norm, Shape, elements, first};
use super::{Batch, Encoder, Features, Variant};
use crate::Result;
use crate::models::layers::Geometry;
use crate::models::{Parameters, Scope};
use candle_core::bail;

/// A map of fibers along edges.
pub(super) trait Layer {
    fn forward(&self, x: &Fiber, inputs: &Inputs, p: &Parameters) -> candle_core::Result<Fiber>;
}

impl Layer for Convolution {
    fn forward(&self, x: &Fiber, inputs: &Inputs, p: &Parameters) -> candle_core::Result<Fiber> {
        Convolution::forward(self, x, inputs, p)
    }
}

/// Sizes of a [`FiberNetwork`].
pub(super) struct Sizes {
    /// Channels of each degree between the layers.
    pub channels: usize,
    pub shape: Shape,
    /// Layers before the last convolution.
    pub layers: usize,
    /// Linear layers of each norm.
    pub norm_layers: usize,
    /// Scalars at the end.
    pub features: usize,
    /// Longest edge in Å.
    pub cutoff: f64,
    pub elements: usize,
}

/// The network.
pub(super) struct FiberNetwork<L> {
    sizes: Sizes,
    layers: Vec<(L, Norm)>,
    last: Convolution,
}

impl<L> FiberNetwork<L> {
    /// Layers at the places 0, 2, .. of `b`, made by `layer` from the channels of their input, norms
    /// between them.
    pub fn new(
        b: &mut Scope,
        sizes: Sizes,
        layer: impl Fn(&mut Scope, &[usize], &[usize]) -> L,
    ) -> Self {
        let variant: Variant = sizes.shape.variant;
        let hidden = vec![sizes.channels; sizes.shape.lmax + 1];
        let mut channels = first(sizes.elements).to_vec();
        let mut layers = Vec::new();
        for k in 0..sizes.layers {
            let made = layer(&mut b.scope(2 * k), &channels, &hidden);
            let norm = Norm::new(&mut b.scope(2 * k + 1), variant, &hidden, sizes.norm_layers);
            layers.push((made, norm));
            channels.clone_from(&hidden);
        }
        let b = &mut b.scope(2 * layers.len());
        let last = Convolution::new(b, sizes.shape, &channels, &[sizes.features]);
        Self {
            sizes,
            layers,
            last,
        }
    }
}

impl<L: Layer + Send + Sync> Encoder for FiberNetwork<L> {
    fn cutoff(&self) -> f64 {
        self.sizes.cutoff
    }

    fn elements(&self) -> usize {
        self.sizes.elements
    }

    fn width(&self) -> usize {
        self.sizes.features
    }

    fn encode(&self, batch: &Batch, geometry: &Geometry, p: &Parameters) -> Result<Features> {
        let inputs = Inputs::new(batch, geometry, self.sizes.shape, self.sizes.cutoff)?;
        let mut x = elements(batch, self.sizes.elements)?;
        for (layer, norm) in &self.layers {
            x = norm.forward(&layer.forward(&x, &inputs, p)?, p)?;
        }
        Ok(invariants(self.last.forward(&x, &inputs, p)?)?)
    }
}

/// The features of a fiber of degree 0.
fn invariants(mut fiber: Fiber) -> candle_core::Result<Features> {
    match fiber.pop() {
        Some(scalars) if fiber.is_empty() => Ok(Features {
            scalars,
            vectors: None,
        }),
        _ => bail!("a fiber of other degrees than 0"),
    }
}
