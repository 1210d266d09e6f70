//! A supervised network of signals on the sphere: the encoder's blocks down to scalars, which layers
//! of numbers tell the classes by. In the published experiment it judges what a conditional H-VAE
//! samples. Parameter names are those of the published state dict.
//!
//! Shapes: B batch, D data dimension, K classes.

use super::block::Block;
use super::config::HvaeConfig;
use super::layer::{self, Layer, Pass, add_linear};
use super::{MOMENTUM, blocks, data_side, steerable};
use crate::models::layers::{Linear, mask};
use crate::models::sizes::{DEEPEST, check_width};
use crate::models::{Losses, Model, Parameters, ParametersBuilder, StepKey};
use crate::ops::zernike;
use crate::so3::irreps::Irreps;
use crate::{Error, Result};
use candle_core::{D, DType, Device, Tensor};
use candle_nn::ops::log_softmax;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A supervised network of signals on the sphere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassifierConfig {
    /// Channels after each block.
    pub channels: Vec<usize>,
    /// Largest degree after each block; the last must be 0: what tells the classes is invariant.
    pub degrees: Vec<usize>,
    /// Channels that the first linear map brings every degree to. Absent: no such map, which needs
    /// data with equal channels in every degree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projection: Option<usize>,
    /// Sizes of hidden layers between the last block's scalars and the classes.
    #[serde(default = "hidden")]
    pub hidden: Vec<usize>,
    /// Probability that a number of a hidden layer is dropped in training.
    #[serde(default = "dropout")]
    pub dropout: f64,
}

fn hidden() -> Vec<usize> {
    vec![32]
}

fn dropout() -> f64 {
    0.1
}

impl ClassifierConfig {
    /// Refuses what cannot be built on data of `irreps`, naming the setting.
    ///
    /// # Errors
    /// Such a setting.
    pub fn validate(&self, irreps: &Irreps) -> Result<()> {
        let bad = |what: String| Err(Error::input(format!("model.{what}")));
        let n = self.channels.len();
        if n == 0 || n > DEEPEST || self.hidden.len() > DEEPEST {
            return bad(format!("channels: 1 to {DEEPEST} blocks are needed"));
        }
        if self.degrees.len() != n {
            let len = self.degrees.len();
            return bad(format!("degrees has {len} entries, channels has {n}"));
        }
        let widths = self.channels.iter().map(|&w| ("model.channels", w));
        let widths = widths.chain(self.hidden.iter().map(|&w| ("model.hidden", w)));
        let projection = self.projection.map(|w| ("model.projection", w));
        for (key, width) in widths.chain(projection) {
            check_width(key, width)?;
        }
        if self.projection.is_none() && irreps.equal_channels().is_none() {
            return bad("projection is needed: the data's degrees have different channels".into());
        }
        if !(0.0..1.0).contains(&self.dropout) {
            let rate = self.dropout;
            return bad(format!(
                "dropout = {rate}: a probability less than 1 is needed"
            ));
        }
        // A product at most doubles the largest degree.
        let mut reach = irreps.lmax();
        for (i, &degree) in self.degrees.iter().enumerate() {
            reach = (2 * reach).min(zernike::LMAX);
            if degree > reach {
                return bad(format!(
                    "degrees[{i}] = {degree}, but block {i} can reach at most {reach}"
                ));
            }
            reach = degree;
        }
        match reach {
            0 => Ok(()),
            _ => bad("degrees: the last entry must be 0, classes are told by scalars".into()),
        }
    }

    /// The blocks are those of an encoder with these settings.
    fn encoder(&self) -> HvaeConfig {
        HvaeConfig {
            degrees: Some(self.degrees.clone()),
            projection: self.projection,
            ..HvaeConfig::new(1, self.channels.clone())
        }
    }
}

/// Signals and their classes.
pub struct LabelledBatch {
    /// Normalised coefficients `[B, D]`, published layout.
    pub x: Tensor,
    /// What identifies the samples: what is dropped out is drawn from it.
    pub ids: Vec<u64>,
    /// Numbers of the classes, u32 `[B]`.
    pub classes: Tensor,
}

/// The network.
pub struct SphereClassifier {
    irreps: Irreps,
    parameters: Parameters,
    /// The same values as constants: an evaluation keeps nothing for a backward pass.
    constants: Parameters,
    initial: Option<Layer>,
    blocks: Vec<Block>,
    hidden: Vec<Linear>,
    head: Linear,
    dropout: f64,
}

impl SphereClassifier {
    /// The term of the loss: cross entropy.
    pub const TERM: &str = "prediction";

    /// Builds the network for data of `irreps` (published layout), parameters drawn from `seed`.
    ///
    /// # Errors
    /// A setting that cannot be built, by name.
    pub fn new(
        config: &ClassifierConfig,
        irreps: &Irreps,
        classes: usize,
        seed: u64,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        config.validate(irreps)?;
        let encoder = config.encoder();
        let mut builder = ParametersBuilder::default();
        let b = &mut builder.root();
        let first = encoder.first_irreps(irreps);
        let initial = config.projection.map(|_| {
            let b = &mut b.scope("initial_linear_projection");
            add_linear(b, data_side(irreps), layer::steerable(&first))
        });
        let plans = encoder.encoder_plan(irreps);
        let blocks = blocks(&mut b.scope("cg_blocks"), &encoder, &first, &plans);
        let mut width = blocks[blocks.len() - 1].output.channels(0);
        let mut layer = |(i, &to): (usize, &usize)| {
            let linear = Linear::pytorch(&mut b.scope(format_args!("fc_blocks.{i}.0")), width, to);
            width = to;
            linear
        };
        let hidden = config.hidden.iter().enumerate().map(&mut layer).collect();
        let head = Linear::pytorch(&mut b.scope("output_head"), width, classes);
        let parameters = builder.build(seed, dtype, device, MOMENTUM)?;
        Ok(Self {
            irreps: irreps.clone(),
            constants: parameters.constants(),
            parameters,
            initial,
            blocks,
            hidden,
            head,
            dropout: config.dropout,
        })
    }

    /// Logits `[B, K]` of `x` `[B, D]` in evaluation mode; constants.
    ///
    /// # Errors
    /// A failure of the numerical backend.
    pub fn logits(&self, x: &Tensor) -> Result<Tensor> {
        let mut pass = Pass::evaluation(&self.parameters, &self.constants)?;
        Ok(self.forward(x, &mut pass, |_, h| Ok(h))?)
    }

    /// `drop` is what happens to a hidden layer, by its number.
    fn forward(
        &self,
        x: &Tensor,
        pass: &mut Pass,
        drop: impl Fn(usize, Tensor) -> candle_core::Result<Tensor>,
    ) -> candle_core::Result<Tensor> {
        let mut h = match &self.initial {
            Some(map) => map.forward(x, pass)?,
            None => steerable::from_published(x, &self.irreps)?,
        };
        for block in &self.blocks {
            h = block.forward(&h, pass)?;
        }
        for (i, layer) in self.hidden.iter().enumerate() {
            h = drop(i, layer.forward(&h, pass.parameters)?.relu()?)?;
        }
        self.head.forward(&h, pass.parameters)
    }

    /// Zeroes numbers `[B, width]` of a hidden layer and scales up the others.
    fn dropped(
        &self,
        h: &Tensor,
        ids: &[u64],
        key: StepKey,
        layer: usize,
    ) -> candle_core::Result<Tensor> {
        if self.dropout == 0.0 {
            return Ok(h.clone());
        }
        let width = h.dim(1)?;
        let row = |&id: &u64| mask(key, id, layer as u64, self.dropout).take(width);
        let factors: Vec<f64> = ids.iter().flat_map(row).collect();
        h * Tensor::from_vec(factors, h.shape(), h.device())?.to_dtype(h.dtype())?
    }
}

/// Cross entropy of each sample, `[B]`.
fn cross_entropy(logits: &Tensor, classes: &Tensor) -> candle_core::Result<Tensor> {
    let log = log_softmax(logits, D::Minus1)?;
    log.gather(&classes.unsqueeze(1)?, 1)?.squeeze(1)?.neg()
}

impl Model for SphereClassifier {
    type Batch = LabelledBatch;

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn losses(&self, batch: &LabelledBatch, key: StepKey) -> Result<Losses> {
        let mut pass = Pass::training(&self.parameters);
        let drop = |layer, h: Tensor| self.dropped(&h, &batch.ids, key, layer);
        let logits = self.forward(&batch.x, &mut pass, drop)?;
        let loss = cross_entropy(&logits, &batch.classes)?.mean_all()?;
        Ok(Losses {
            terms: vec![(Self::TERM, loss)],
            statistics: pass.statistics,
        })
    }

    /// `prediction` (cross entropy) and `accuracy`.
    fn metrics(&self, batch: &LabelledBatch) -> Result<Vec<(&'static str, Vec<f64>)>> {
        let logits = self.logits(&batch.x)?;
        let numbers = |t: Tensor| -> Result<Vec<f64>> { Ok(t.to_dtype(DType::F64)?.to_vec1()?) };
        let loss = numbers(cross_entropy(&logits, &batch.classes)?)?;
        let right = numbers(logits.argmax(1)?.eq(&batch.classes)?)?;
        Ok(vec![(Self::TERM, loss), ("accuracy", right)])
    }
}
