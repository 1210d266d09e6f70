//! The encoder down to the invariant latent: what H-(V)AE shares with networks that are fine-tuned
//! from it. Parameter names are those of the published state dict.

use super::block::Block;
use super::config::HvaeConfig;
use super::layer::{self, Layer, Pass, add_linear};
use super::{blocks, data_side, steerable};
use crate::models::Scope;
use crate::models::layers::{Activation, Linear, Mlp};
use crate::so3::irreps::Irreps;
use candle_core::{Result, Tensor};

/// Blocks, layers of numbers and the latent's linear map.
pub struct Encoder {
    irreps: Irreps,
    initial: Option<Layer>,
    blocks: Vec<Block>,
    hidden: Mlp,
    /// Channels of the hidden layers' result.
    width: usize,
    mean: Linear,
}

/// What the blocks make of a batch.
pub struct Blocks {
    /// Steerable, of [`Encoder::output`].
    pub steerable: Tensor,
    /// Scalars behind the hidden layers, `[B, W]`.
    pub scalars: Tensor,
}

impl Encoder {
    /// An encoder of data of `irreps` (published layout).
    pub fn new(b: &mut Scope, config: &HvaeConfig, irreps: &Irreps) -> Self {
        let first = config.first_irreps(irreps);
        let initial = config.projection.is_some().then(|| {
            let b = &mut b.scope("initial_linear_projection");
            add_linear(b, data_side(irreps), layer::steerable(&first))
        });
        let plans = config.encoder_plan(irreps);
        let blocks = blocks(&mut b.scope("encoder_cg_blocks"), config, &first, &plans);
        let scalars = blocks[blocks.len() - 1].output.channels(0);
        let hidden: Vec<_> = config
            .hidden
            .iter()
            .map(|&w| (w, Activation::Relu))
            .collect();
        let hidden = Mlp::new(&mut b.scope("encoder_bottleneck"), scalars, &hidden);
        let width = config.hidden.last().copied().unwrap_or(scalars);
        let mean = Linear::pytorch(&mut b.scope("encoder_mean"), width, config.latent_dim);
        Self {
            irreps: irreps.clone(),
            initial,
            blocks,
            hidden,
            width,
            mean,
        }
    }

    /// Irreps of the data, published layout.
    pub fn irreps(&self) -> &Irreps {
        &self.irreps
    }

    /// Irreps behind the last block.
    pub fn output(&self) -> &Irreps {
        &self.blocks[self.blocks.len() - 1].output
    }

    /// Channels of [`Blocks::scalars`].
    pub fn width(&self) -> usize {
        self.width
    }

    /// Runs the blocks on `x` `[B, D]`.
    pub(super) fn blocks(&self, x: &Tensor, pass: &mut Pass) -> Result<Blocks> {
        let mut h = match &self.initial {
            Some(map) => map.forward(x, pass)?,
            None => steerable::from_published(x, &self.irreps)?,
        };
        for block in &self.blocks {
            h = block.forward(&h, pass)?;
        }
        let scalars = h.narrow(1, 0, self.output().channels(0))?.contiguous()?;
        Ok(Blocks {
            scalars: self.hidden.forward(&scalars, pass.parameters)?,
            steerable: h,
        })
    }

    /// The mean of the latent `[B, Z]` of `x` `[B, D]`.
    pub fn latent(&self, x: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let blocks = self.blocks(x, pass)?;
        self.mean(&blocks.scalars, pass)
    }

    /// The mean of the latent `[B, Z]`, of [`Blocks::scalars`].
    pub(super) fn mean(&self, scalars: &Tensor, pass: &Pass) -> Result<Tensor> {
        self.mean.forward(scalars, pass.parameters)
    }
}
