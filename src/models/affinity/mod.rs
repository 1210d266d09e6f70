//! Binding affinities, from the encoder of an H-(V)AE: neighborhoods of a pocket in, pK out.
//!
//! Each centre of a pocket has its neighborhood encoded, with the ligand and, where a view asks for
//! it, without. What the centres tell is pooled, standardised as the training complexes were before
//! the first step, and mapped to the affinity in standard deviations about the mean. The map starts
//! at zero, so that a model begins as the mean predictor. The encoder's parameters have the names of
//! the H-(V)AE that it is fine-tuned from; those of the head begin with `head`.
//!
//! Shapes: n pockets, C centres of all of them, D data dimension, Z latent dimension, F features.

mod config;
mod description;
mod ranking;

pub use config::{HeadConfig, Pool, Statistics, View};
pub use description::{Description, Scale};

use crate::models::hvae::{self, Encoder, MOMENTUM};
use crate::models::layers::{self, Activation, Linear, Mlp, Others};
use crate::models::{Init, Losses, Model, Parameters, ParametersBuilder, StepKey};
use crate::ops::segment::{Ends, Incidence};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::sync::Arc;

/// Terms of the loss with their weights where a job says none: the squared error in standard
/// deviations, and the order of pairs of one group (RankNet).
pub const TERMS: [(&str, f64); 2] = [("squared", 1.0), ("ranking", 0.0)];

/// Neighborhoods of some pockets.
pub struct Batch {
    /// Normalised zernikegrams `[C, D]`, published layout, pocket after pocket.
    pub x: Tensor,
    /// The same neighborhoods without the atoms of the ligand, where a view asks for them.
    pub bare: Option<Tensor>,
    /// Which centres are whose.
    pub pockets: Arc<Incidence>,
    /// Affinities in standard deviations about the mean, `[n]`; zeros where none are known.
    pub labels: Tensor,
    /// Numbers of the pockets' groups `[n]`, of the type of `labels`.
    pub groups: Tensor,
}

impl Batch {
    /// Puts pockets of `counts` centres one after another.
    ///
    /// # Errors
    /// Those of [`Incidence::groups`].
    pub fn incidence(counts: &[usize]) -> Result<Arc<Incidence>> {
        let owners = (0u32..).zip(counts);
        let owners: Vec<u32> = owners.flat_map(|(i, &n)| vec![i; n]).collect();
        let ends = Ends {
            rows: &owners,
            count: counts.len(),
        };
        Ok(Incidence::groups(ends)?)
    }
}

/// The network.
pub struct AffinityModel {
    encoder: Encoder,
    head: HeadConfig,
    hidden: Mlp,
    last: Linear,
    /// Of the features, `[F]` each.
    mean: Tensor,
    inverse: Tensor,
    label: Scale,
    parameters: Parameters,
    /// The same values as constants: an evaluation keeps nothing for a backward pass.
    constants: Parameters,
    compares: bool,
}

impl AffinityModel {
    fn new(description: &Description, seed: u64, dtype: DType, device: &Device) -> Result<Self> {
        let (encoder, head) = (&description.encoder, &description.head);
        let irreps = encoder.zernike.irreps();
        encoder.model.validate(&irreps)?;
        let mut builder = ParametersBuilder::default();
        let mut b = builder.root();
        let encoder = Encoder::new(&mut b, &encoder.model, &irreps);
        let mut b = b.scope("head");
        let layers: Vec<_> = head.hidden.iter().map(|&w| (w, Activation::Relu)).collect();
        let hidden = Mlp::new(&mut b.scope("hidden"), description.width(), &layers);
        let width = head.hidden.last().copied();
        let width = width.unwrap_or(description.width());
        let last = Linear::new(&mut b.scope("affinity"), width, 1, Init::Constant(0.0));
        let momentum = match head.statistics {
            Statistics::Kept => 0.0,
            Statistics::Batch => MOMENTUM,
        };
        let parameters = builder.build(seed, dtype, device, momentum)?;
        let numbers = |of: fn(&Scale) -> f64| {
            let values: Vec<f64> = description.features.iter().map(of).collect();
            Tensor::from_vec(values, description.width(), device)?.to_dtype(dtype)
        };
        Ok(Self {
            encoder,
            head: head.clone(),
            hidden,
            last,
            mean: numbers(|s| s.mean)?,
            inverse: numbers(|s| 1.0 / s.deviation)?,
            label: description.label,
            constants: parameters.constants(),
            parameters,
            compares: false,
        })
    }

    /// The same model, whose losses compare the pockets of all slices of a step: needed where ranks
    /// have a weight.
    pub fn comparing(mut self, compares: bool) -> Self {
        self.compares = compares;
        self
    }

    /// A run in training mode over the model's parameters or the same values as constants.
    fn training<'a>(&self, parameters: &'a Parameters) -> Result<hvae::Pass<'a>> {
        match self.head.statistics {
            Statistics::Kept => hvae::Pass::evaluation(&self.parameters, parameters),
            Statistics::Batch => Ok(hvae::Pass::training(parameters)),
        }
    }

    /// Pooled features `[n, F]` as they are before they are standardised.
    fn pooled(&self, batch: &Batch, pass: &mut hvae::Pass) -> Result<Tensor> {
        let (with, without) = match &batch.bare {
            None => (self.encoder.latent(&batch.x, pass)?, None),
            Some(bare) => {
                let both = Tensor::cat(&[&batch.x, bare], 0)?;
                let (both, n) = (self.encoder.latent(&both, pass)?, batch.x.dim(0)?);
                (both.narrow(0, 0, n)?, Some(both.narrow(0, n, n)?))
            }
        };
        let missing =
            || Error::internal("a view of pockets without the ligand, which are not there");
        let view = |view: &View| -> Result<Tensor> {
            let without = || without.as_ref().ok_or_else(missing);
            Ok(match view {
                View::With => with.clone(),
                View::Without => without()?.clone(),
                View::Difference => (&with - without()?)?.abs()?,
                View::Products => (&with * without()?)?,
            })
        };
        let views: Vec<Tensor> = self.head.views.iter().map(view).collect::<Result<_>>()?;
        let rows = Tensor::cat(&views, 1)?.contiguous()?;
        let pooled = self
            .head
            .pool
            .readout()
            .forward(&rows.into(), &batch.pockets)?;
        Ok(pooled.value)
    }

    /// Affinities `[n]` in standard deviations about the mean.
    fn standardised(&self, batch: &Batch, pass: &mut hvae::Pass) -> Result<Tensor> {
        let pooled = self.pooled(batch, pass)?;
        let features = pooled
            .broadcast_sub(&self.mean)?
            .broadcast_mul(&self.inverse)?;
        let features = self.hidden.forward(&features, pass.parameters)?;
        let affinity = self.last.forward(&features, pass.parameters)?;
        Ok(affinity.squeeze(1)?)
    }

    /// Pooled features `[n][F]` in evaluation mode, not standardised.
    ///
    /// # Errors
    /// A failure of the numerical backend.
    pub fn features(&self, batch: &Batch) -> Result<Vec<Vec<f64>>> {
        let mut pass = hvae::Pass::evaluation(&self.parameters, &self.constants)?;
        let pooled = self.pooled(batch, &mut pass)?;
        Ok(pooled.to_dtype(DType::F64)?.to_vec2()?)
    }

    /// Affinities `[n]` in evaluation mode, pK.
    ///
    /// # Errors
    /// A failure of the numerical backend.
    pub fn predict(&self, batch: &Batch) -> Result<Vec<f64>> {
        let values = numbers(&self.evaluated(batch)?)?;
        Ok(values.into_iter().map(|v| self.label.physical(v)).collect())
    }

    fn evaluated(&self, batch: &Batch) -> Result<Tensor> {
        let mut pass = hvae::Pass::evaluation(&self.parameters, &self.constants)?;
        self.standardised(batch, &mut pass)
    }

    /// Losses of a slice; `compared` brings the rows that are compared together.
    fn losses_of(&self, batch: &Batch, compared: &layers::Pass) -> Result<Losses> {
        let mut pass = self.training(&self.parameters)?;
        let predicted = self.standardised(batch, &mut pass)?;
        let squared = (&predicted - &batch.labels)?.sqr()?.mean_all()?;
        let rows = [&predicted, &batch.labels, &batch.groups];
        let rows = rows.map(|rows| compared.whole(rows));
        let [predicted, labels, groups] = rows;
        let ranking = ranking::loss(&predicted?, &labels?, &groups?)?;
        let statistics = match self.head.statistics {
            Statistics::Batch => pass.statistics,
            Statistics::Kept => self.kept()?,
        };
        Ok(Losses {
            terms: vec![(TERMS[0].0, squared), (TERMS[1].0, ranking)],
            statistics,
        })
    }

    /// The running statistics, which stay.
    fn kept(&self) -> Result<Vec<Tensor>> {
        let buffers = self.parameters.buffers();
        Ok(match buffers.len() {
            0 => Vec::new(),
            n => vec![Tensor::from_vec(buffers, n, self.parameters.device())?],
        })
    }
}

fn numbers(t: &Tensor) -> Result<Vec<f64>> {
    Ok(t.to_dtype(DType::F64)?.to_vec1()?)
}

impl Model for AffinityModel {
    type Batch = Batch;

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn losses(&self, batch: &Batch, _: StepKey) -> Result<Losses> {
        self.losses_of(batch, &layers::Pass::training(&self.parameters))
    }

    fn compares(&self) -> bool {
        self.compares
    }

    fn tell(&self, batch: &Batch, _: StepKey) -> Result<Vec<Tensor>> {
        let mut pass = self.training(&self.constants)?;
        let predicted = self.standardised(batch, &mut pass)?;
        Ok(vec![predicted, batch.labels.clone(), batch.groups.clone()])
    }

    fn losses_among(&self, batch: &Batch, _: StepKey, others: Others) -> Result<Losses> {
        let compared = layers::Pass::training(&self.parameters).among(others);
        self.losses_of(batch, &compared)
    }

    /// The terms, and `error`, the absolute error in pK. Every sample of a batch has the batch's
    /// `ranking`, as pairs are no sum over samples.
    fn metrics(&self, batch: &Batch) -> Result<Vec<(&'static str, Vec<f64>)>> {
        let predicted = self.evaluated(batch)?;
        let ranking = ranking::loss(&predicted, &batch.labels, &batch.groups)?;
        let ranking = crate::models::scalar(&ranking)?;
        let pairs = numbers(&predicted)?
            .into_iter()
            .zip(numbers(&batch.labels)?);
        let off: Vec<f64> = pairs.map(|(p, y)| p - y).collect();
        Ok(vec![
            (TERMS[0].0, off.iter().map(|d| d * d).collect()),
            (TERMS[1].0, vec![ranking; off.len()]),
            (
                "error",
                off.iter().map(|d| d.abs() * self.label.deviation).collect(),
            ),
        ])
    }
}
