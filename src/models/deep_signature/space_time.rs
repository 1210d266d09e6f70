//! A transformer over all beads in several frames: the strongest of the baselines without a
//! signature. Every bead in every chosen frame is a token, which knows its bead by a learned vector
//! and its time by sines and cosines; all tokens attend to all.

use super::config::HEADS;
use super::dropout::Dropout;
use super::temporal::EncoderLayer;
use crate::models::layers::Linear;
use crate::models::{Init, Parameter, Parameters, Scope};
use candle_core::{Result, Tensor};

/// Frames of a clip, evenly spread from the first to the last.
const FRAMES: usize = 8;

const LAYERS: u64 = 2;

pub(super) struct SpaceTime {
    embed: Linear,
    bead: Parameter,
    layers: Vec<EncoderLayer>,
    linear: Linear,
    width: usize,
}

impl SpaceTime {
    /// For `beads` beads of `features` features; tokens are as wide as `hidden`, or a little wider, so
    /// that the heads share them evenly.
    pub fn new(b: &mut Scope, features: usize, beads: usize, hidden: usize) -> Self {
        let width = hidden.next_multiple_of(HEADS);
        let embed = Linear::pytorch(&mut b.scope("embed"), features, width);
        let bead = b.parameter("bead", (beads, width), Init::glorot(beads, width));
        let layers = &mut b.scope("layers");
        let layer = |i| EncoderLayer::new(&mut layers.scope(i), width, Tensor::gelu_erf);
        let layers = (0..LAYERS).map(layer).collect();
        Self {
            embed,
            bead,
            layers,
            linear: Linear::pytorch(&mut b.scope("linear"), width, hidden),
            width,
        }
    }

    /// `[T, K, d]` to `[1, H]`.
    pub fn forward(&self, path: &Tensor, dropout: &Dropout, p: &Parameters) -> Result<Tensor> {
        let last = path.dim(0)? - 1;
        let frames = FRAMES.min(last + 1);
        let at = |i: usize| (i * last / (frames - 1).max(1)) as u32;
        let chosen: Vec<u32> = (0..frames).map(at).collect();
        let chosen = path.index_select(&Tensor::new(chosen, path.device())?, 0)?;
        let x = self.embed.forward(&chosen, p)?;
        let x = x.broadcast_add(&p.get(&self.bead)?.unsqueeze(0)?)?;
        let times = Tensor::new(self.times(frames), path.device())?.to_dtype(path.dtype())?;
        let x = x.broadcast_add(&times.reshape((frames, 1, self.width))?)?;
        let mut x = x.reshape((1, (), self.width))?;
        for (i, layer) in (0..).zip(&self.layers) {
            x = layer.forward(&x, dropout, 4 * i, p)?;
        }
        self.linear.forward(&x.mean(1)?, p)
    }

    /// Sines and cosines of the frames' places in the clip, `[frames, width]`.
    fn times(&self, frames: usize) -> Vec<f64> {
        let row = |t: usize| {
            (0..self.width).map(move |k| {
                let turns = (1 + k / 2) as f64 * std::f64::consts::PI;
                let angle = turns * t as f64 / (frames - 1).max(1) as f64;
                if k % 2 == 0 { angle.sin() } else { angle.cos() }
            })
        };
        (0..frames).flat_map(row).collect()
    }
}
