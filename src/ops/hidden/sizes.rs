//! Sizes of a hidden layer.

use candle_core::{Result, Shape, bail};

/// Sizes of one call: N, T, d, H.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub nodes: usize,
    pub frames: usize,
    pub features: usize,
    pub width: usize,
}

impl Sizes {
    /// Those of `u` `[N, T, d]` and a layer `[d + 1, H]`.
    pub(super) fn new(u: &Shape, layer: &Shape) -> Result<Self> {
        let (nodes, frames, features) = u.dims3()?;
        let (rows, width) = layer.dims2()?;
        if rows != features + 1 {
            bail!("a layer of {rows} rows on {features} features");
        }
        Ok(Self {
            nodes,
            frames,
            features,
            width,
        })
    }

    /// Features of a node.
    pub(super) fn input(&self) -> usize {
        self.frames * self.features
    }

    /// Elements of a node's layer.
    pub(super) fn hidden(&self) -> usize {
        self.frames * self.width
    }
}
