//! The holographic (variational) autoencoder, H-(V)AE (Visani, Pun, Angaji & Nourmohammad,
//! "Holographic-(V)AE: an end-to-end SO(3)-Equivariant (Variational) Autoencoder in Fourier
//! Space"): a zernikegram in, an invariant latent `z` and an equivariant frame in the middle,
//! the zernikegram out.
//!
//! Shapes: B batch, D data dimension, Z latent dimension; steerable tensors as in
//! [`crate::ops`]. Parameter names are those of the published state dict.

mod block;
mod classifier;
pub mod config;
mod decoder;
mod description;
mod draws;
mod encoder;
mod frame;
mod layer;
mod loss;
mod norm;
pub mod published;
mod sphere;
mod steerable;

pub use classifier::{ClassifierConfig, LabelledBatch, SphereClassifier};
pub use config::HvaeConfig;
pub use description::Description;
pub(in crate::models) use encoder::Encoder;
pub use frame::gram_schmidt;
pub(in crate::models) use layer::Pass;
pub use loss::LossWeights;
pub use sphere::{ClassifierDescription, SphereDescription};

use crate::models::layers::Linear;
use crate::models::{
    Init, Losses, Model, Parameter, Parameters, ParametersBuilder, Scope, StepKey,
};
use crate::ops::linear::{Order, Side};
use crate::so3::irreps::Irreps;
use crate::{Error, Result};
use block::Block;
use candle_core::{DType, Device, Tensor};
use decoder::Decoder;
use encoder::Blocks;

/// Weight of new batch statistics in the running ones.
pub(in crate::models) const MOMENTUM: f64 = 0.1;

/// Terms of the objective with their published weights; a plain autoencoder has the first only.
pub const TERMS: [(&str, f64); 2] = [("reconstruction", 1000.0), ("kl", 0.5)];

/// One slice of samples.
pub struct HvaeBatch {
    /// Normalised zernikegrams `[B, D]`, published layout.
    pub x: Tensor,
    /// What identifies the samples: their noise is drawn from it.
    pub ids: Vec<u64>,
    /// Labels of a conditional model, one-hot `[B, K]`.
    pub labels: Option<Tensor>,
}

/// What the encoder makes of a batch.
pub struct Encoding {
    /// Invariant latent, `[B, Z]`.
    pub mean: Tensor,
    /// `[B, Z]`, variational models only.
    pub log_variance: Option<Tensor>,
    /// `[B, 3, 3]`, rows x, y, z.
    pub frame: Tensor,
}

/// What a pass over a batch in training mode makes.
pub struct Passed {
    pub losses: Losses,
    pub encoding: Encoding,
    /// The reconstruction, `[B, D]`.
    pub rebuilt: Tensor,
}

/// The model.
pub struct Hvae {
    config: HvaeConfig,
    parameters: Parameters,
    /// The same values as constants: an evaluation keeps nothing for a backward pass.
    constants: Parameters,
    encoder: Encoder,
    log_variance: Option<Linear>,
    frame_learner: Option<Parameter>,
    decoder: Decoder,
    losses: LossWeights,
    mask: Option<Mask>,
}

/// Part of the input that is hidden from the encoder in training, all of it or nothing.
#[derive(Debug, Clone)]
pub struct Mask {
    /// That it is hidden, for each sample and step.
    pub probability: f64,
    /// Whether each coefficient of the data belongs to it, `[D]`.
    pub coefficients: Vec<bool>,
}

impl Hvae {
    /// Builds the model for data of `irreps` (published layout), parameters drawn from `seed`.
    pub fn new(
        config: &HvaeConfig,
        irreps: &Irreps,
        seed: u64,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        config.validate(irreps)?;
        let mut builder = ParametersBuilder::default();
        let b = &mut builder.root();
        let encoder = Encoder::new(b, config, irreps);
        let latent = encoder.output();
        let (scalars, vectors) = (latent.channels(0), latent.channels(1));
        let log_variance = config.variational.then(|| {
            let b = &mut b.scope("encoder_log_var");
            Linear::pytorch(b, encoder.width(), config.latent_dim)
        });
        let frame_learner = config
            .learn_frame
            .then(|| mixing(&mut b.scope("frame_learner"), vectors, 2));
        let decoder = Decoder::new(b, config, irreps, scalars, vectors);
        let parameters = builder.build(seed, dtype, device, MOMENTUM)?;
        Ok(Self {
            config: config.clone(),
            constants: parameters.constants(),
            parameters,
            encoder,
            log_variance,
            frame_learner,
            decoder,
            losses: LossWeights::new(irreps, dtype, device)?,
            mask: None,
        })
    }

    /// The model, from whose encoder a part of the input is hidden in training: the whole input is to be
    /// rebuilt.
    pub fn masking(self, mask: Mask) -> Self {
        Self {
            mask: Some(mask),
            ..self
        }
    }

    pub fn config(&self) -> &HvaeConfig {
        &self.config
    }

    /// Irreps of the data, published layout.
    pub fn irreps(&self) -> &Irreps {
        self.encoder.irreps()
    }

    /// Encodes `x` `[B, D]` in evaluation mode.
    pub fn encode(&self, x: &Tensor) -> Result<Encoding> {
        Ok(self.encode_in(x, &mut self.evaluation()?)?)
    }

    /// Decodes `z` `[B, Z]` and frames `[B, 3, 3]` to `[B, D]` in evaluation mode. A conditional model
    /// takes `[B, Z + K]`: labels, one-hot, beside the latent.
    pub fn decode(&self, z: &Tensor, frame: &Tensor) -> Result<Tensor> {
        Ok(self.decoder.forward(z, frame, &mut self.evaluation()?)?)
    }

    /// Cosine loss of one reconstruction.
    pub fn cosine_loss(&self, rebuilt: &[f32], x: &[f32]) -> f64 {
        self.losses.cosine(rebuilt, x)
    }

    fn evaluation(&self) -> Result<Pass<'_>> {
        Pass::evaluation(&self.parameters, &self.constants)
    }

    fn encode_in(&self, x: &Tensor, pass: &mut Pass) -> candle_core::Result<Encoding> {
        let Blocks {
            steerable: h,
            scalars,
        } = self.encoder.blocks(x, pass)?;
        let p = pass.parameters;
        let frame = match &self.frame_learner {
            Some(weight) => {
                let vectors = steerable::degree(&h, self.encoder.output(), 1)?;
                let vectors = vectors.broadcast_matmul(&p.get(weight)?)?;
                gram_schmidt(&vectors.transpose(1, 2)?.contiguous()?)?
            }
            None => Tensor::eye(3, x.dtype(), x.device())?
                .unsqueeze(0)?
                .repeat((x.dim(0)?, 1, 1))?,
        };
        Ok(Encoding {
            mean: self.encoder.mean(&scalars, pass)?,
            log_variance: self
                .log_variance
                .as_ref()
                .map(|d| d.forward(&scalars, p))
                .transpose()?,
            frame,
        })
    }

    /// Random numbers `[B, n]` of a step, where the batch is.
    fn drawn(&self, values: Vec<f64>, batch: &HvaeBatch) -> candle_core::Result<Tensor> {
        let rows = batch.ids.len();
        let shape = (rows, values.len() / rows.max(1));
        Tensor::from_vec(values, shape, batch.x.device())?.to_dtype(batch.x.dtype())
    }

    /// A pass in training mode over `x` `[B, D]` with given noise `[B, Z]` (unused by a plain
    /// autoencoder). Nothing of `x` is hidden, and it has no labels.
    pub fn pass_with(&self, x: &Tensor, noise: &Tensor) -> Result<Passed> {
        let batch = HvaeBatch {
            x: x.clone(),
            ids: Vec::new(),
            labels: None,
        };
        self.pass(&batch, x, noise)
    }

    /// A pass over a batch of which the encoder sees `seen` `[B, D]`: the reconstruction, from
    /// `z = mean + exp(log_variance / 2) noise`, is compared with all of it.
    fn pass(&self, batch: &HvaeBatch, seen: &Tensor, noise: &Tensor) -> Result<Passed> {
        let mut pass = Pass::training(&self.parameters);
        let encoding = self.encode_in(seen, &mut pass)?;
        let z = match &encoding.log_variance {
            Some(log_variance) => (&encoding.mean + ((log_variance * 0.5)?.exp()? * noise)?)?,
            None => encoding.mean.clone(),
        };
        let z = self.with_labels(&z, batch)?;
        let rebuilt = self.decoder.forward(&z, &encoding.frame, &mut pass)?;
        let reconstruction =
            self.losses
                .reconstruction(self.config.reconstruction, &rebuilt, &batch.x)?;
        let mut terms = vec![(TERMS[0].0, reconstruction)];
        if let Some(log_variance) = &encoding.log_variance {
            terms.push((TERMS[1].0, loss::kl(&encoding.mean, log_variance)?));
        }
        let statistics = pass.statistics;
        Ok(Passed {
            losses: Losses { terms, statistics },
            encoding,
            rebuilt,
        })
    }

    /// Latents `[B, Z]` as the decoder takes them.
    fn with_labels(&self, z: &Tensor, batch: &HvaeBatch) -> Result<Tensor> {
        match (&batch.labels, self.config.conditions) {
            (None, 0) => Ok(z.clone()),
            (Some(labels), k) if labels.dim(1)? == k => Ok(Tensor::cat(&[z, labels], 1)?),
            _ => Err(Error::internal(
                "labels of a model without conditions, or none",
            )),
        }
    }
}

/// A linear map of the channels of degree 1, `[from, to]`.
fn mixing(b: &mut Scope, from: usize, to: usize) -> Parameter {
    b.parameter("weights.1", (from, to), Init::glorot(from, to))
}

/// The side of a linear map that faces the data.
fn data_side(irreps: &Irreps) -> Side {
    Side {
        irreps: irreps.clone(),
        order: Order::Published,
    }
}

fn blocks(
    b: &mut Scope,
    config: &HvaeConfig,
    input: &Irreps,
    plans: &[config::BlockPlan],
) -> Vec<Block> {
    let mut input = input.clone();
    let mut out = Vec::with_capacity(plans.len());
    for (i, plan) in plans.iter().enumerate() {
        let block = Block::new(&mut b.scope(i), config, &input, plan);
        input = block.output.clone();
        out.push(block);
    }
    out
}

impl Model for Hvae {
    type Batch = HvaeBatch;

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn losses(&self, batch: &HvaeBatch, key: StepKey) -> Result<Losses> {
        let noise = draws::noise(key, &batch.ids, self.config.latent_dim);
        let noise = self.drawn(noise, batch)?;
        let mut seen = batch.x.clone();
        if self.config.denoising > 0.0 {
            let visible = draws::visible(key, &batch.ids, self.irreps(), self.config.denoising);
            seen = (seen * self.drawn(visible, batch)?)?;
        }
        if let Some(mask) = &self.mask {
            let unmasked = draws::unmasked(key, &batch.ids, mask);
            seen = (seen * self.drawn(unmasked, batch)?)?;
        }
        Ok(self.pass(batch, &seen, &noise)?.losses)
    }

    /// `reconstruction`, `kl` (variational models), `cosine`; the latent's mean is decoded.
    fn metrics(&self, batch: &HvaeBatch) -> Result<Vec<(&'static str, Vec<f64>)>> {
        if !batch.x.device().is_cpu() {
            return self.metrics_there(batch);
        }
        let encoding = self.encode(&batch.x)?;
        let z = self.with_labels(&encoding.mean, batch)?;
        let rebuilt = rows(&self.decode(&z, &encoding.frame)?)?;
        let x = rows(&batch.x)?;
        let pairs = || rebuilt.iter().zip(&x);
        let cosine: Vec<f64> = pairs().map(|(r, x)| self.losses.cosine(r, x)).collect();
        let reconstruction = pairs()
            .map(|(r, x)| self.losses.sample(self.config.reconstruction, r, x))
            .collect();
        let mut out = vec![("reconstruction", reconstruction)];
        if let Some(log_variance) = &encoding.log_variance {
            let (mean, log_variance) = (rows(&encoding.mean)?, rows(log_variance)?);
            out.push((
                "kl",
                mean.iter()
                    .zip(&log_variance)
                    .map(|(m, v)| loss::kl_sample(m, v))
                    .collect(),
            ));
        }
        out.push(("cosine", cosine));
        Ok(out)
    }
}

impl Hvae {
    /// [`Model::metrics`] in f32 on the device: only the numbers come to the host.
    fn metrics_there(&self, batch: &HvaeBatch) -> Result<Vec<(&'static str, Vec<f64>)>> {
        let encoding = self.encode(&batch.x)?;
        let z = self.with_labels(&encoding.mean, batch)?;
        let rebuilt = self.decode(&z, &encoding.frame)?;
        let numbers = |t: Tensor| t.to_dtype(DType::F64)?.to_vec1::<f64>();
        let kind = self.config.reconstruction;
        let reconstruction = self.losses.samples(kind, &rebuilt, &batch.x)?;
        let mut out = vec![("reconstruction", numbers(reconstruction)?)];
        if let Some(log_variance) = &encoding.log_variance {
            let kl = loss::kl_samples(&encoding.mean, log_variance)?;
            out.push(("kl", numbers(kl)?));
        }
        let cosine = self.losses.cosines(&rebuilt, &batch.x)?;
        out.push(("cosine", numbers(cosine)?));
        Ok(out)
    }
}

/// Rows of a matrix as f32.
fn rows(t: &Tensor) -> candle_core::Result<Vec<Vec<f32>>> {
    t.to_dtype(DType::F32)?.to_vec2()
}
