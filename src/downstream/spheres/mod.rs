//! What a trained model of signals on the sphere is used for: its evaluation, and pictures that it
//! makes.

mod classifier;
mod classify;
mod evaluate;
pub mod retrieval;

pub use classifier::Classifier;
pub use evaluate::{ClassLoss, Evaluation, Options, Record, outputs, run};

use crate::Result;
use crate::ops::in_pool;
use crate::tasks::Trained;
use crate::tasks::spheres::SpheresKind;
use candle_core::{Device, Tensor};

/// A trained model of signals on the sphere.
pub type SphereModel = Trained<SpheresKind>;

/// What the encoder makes of some signals.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Encoded {
    /// `[n, z]`
    pub invariants: Vec<f32>,
    /// `[n, 3, 3]`, rows x, y, z.
    pub frames: Vec<f32>,
}

impl SphereModel {
    /// Length of a signal's coefficients.
    pub fn dim(&self) -> usize {
        self.model.irreps().dim()
    }

    /// Size of the latent.
    pub fn latent(&self) -> usize {
        self.description.model.latent_dim
    }

    /// Numbers of a signal that the decoder takes, beside its frame.
    pub fn decoder_input(&self) -> usize {
        self.description.model.decoder_input()
    }

    /// Encodes normalised coefficients `[n, D]`; the latent is its mean, never sampled.
    ///
    /// # Errors
    /// A failure of the numerical backend.
    pub fn encode(&self, x: &[f32]) -> Result<Encoded> {
        in_pool(|| {
            let shape = (x.len() / self.dim(), self.dim());
            let encoding = self
                .model
                .encode(&Tensor::from_slice(x, shape, &Device::Cpu)?)?;
            Ok(Encoded {
                invariants: encoding.mean.flatten_all()?.to_vec1()?,
                frames: encoding.frame.flatten_all()?.to_vec1()?,
            })
        })
    }

    /// Latents `[n, Z]` as the decoder takes them: a conditional model's with labels beside them,
    /// `[n, Z + K]`.
    ///
    /// # Errors
    /// A label of none of the model's classes.
    pub fn with_labels<'a>(
        &self,
        z: &[f32],
        labels: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<f32>> {
        let labels = self.description.one_hot(labels)?;
        if labels.is_empty() {
            return Ok(z.to_vec());
        }
        let beside = labels.chunks_exact(self.description.classes.len());
        let rows = z.chunks_exact(self.latent()).zip(beside);
        Ok(rows.flat_map(|(z, label)| [z, label].concat()).collect())
    }

    /// Decodes `z` `[n, Z]` ([`SphereModel::with_labels`]) in frames `[n, 3, 3]` to normalised
    /// coefficients `[n, D]`.
    ///
    /// # Errors
    /// A failure of the numerical backend.
    pub fn decode(&self, z: &[f32], frames: &[f32]) -> Result<Vec<f32>> {
        in_pool(|| {
            let n = frames.len() / 9;
            let z = Tensor::from_slice(z, (n, self.decoder_input()), &Device::Cpu)?;
            let frames = Tensor::from_slice(frames, (n, 3, 3), &Device::Cpu)?;
            Ok(self.model.decode(&z, &frames)?.flatten_all()?.to_vec1()?)
        })
    }
}
