//! Deep Signature: an ensemble of trajectories to classes or numbers, through a learned
//! coarse-graining and the log-signature of the coarse path ("Deep Signature: Characterization
//! of Large-Scale Molecular Dynamics", ICLR 2025, arXiv 2410.02847). Parameter names are those
//! of the published state dict.
//!
//! Shapes: B clips, N nodes, T frames, d features per node, K beads, H hidden, S segments.
//!
//! | property of the output | corrected | published |
//! |---|---|---|
//! | numbering of the nodes | invariant | depends: one-way edges |
//! | translation, of the clip or of each frame | invariant (d = 3) | changes |
//! | rotation, of the clip or of each frame | invariant where principal axes are distinct (d = 3) | changes |
//! | frames repeated, evenly or not | invariant (clock = path-length) | even repetition only |
//! | reversal of time | told apart | told apart |

mod aggregate;
mod batch;
mod clip;
mod communities;
pub mod config;
mod decision;
mod description;
mod dropout;
mod fixed;
mod input;
mod space_time;
mod temporal;

pub use aggregate::{Coarse, Level};
pub use clip::{Clip, Graph, RawClip};
pub use config::{Clock, CoarseGraining, DeepSignatureConfig, Method, Objective, Variant};
pub use decision::Decision;
pub use description::Description;
pub use input::{clip, graphs, noisy_clip};
pub use temporal::{Segments, Summary};

use crate::models::layers::Linear;
use crate::models::sizes::PARAMETERS;
use crate::models::{Losses, Model, Parameters, ParametersBuilder, StepKey};
use crate::{Error, Result, words};
use aggregate::Aggregator;
use batch::{Beads, Coarsening, coarse_grain};
use candle_core::{D, DType, Device, Tensor};
use candle_nn::ops::{log_softmax, sigmoid, softmax};
use dropout::Dropout;
use temporal::{Path, Temporal};

/// The model.
pub struct DeepSignature {
    config: DeepSignatureConfig,
    objective: Objective,
    parameters: Parameters,
    aggregator: Aggregator,
    /// Groups of parameters that are the aggregator's: the first ones.
    aggregator_groups: usize,
    temporal: Temporal,
    classifier: Linear,
}

/// What the model makes of a batch.
pub struct Outputs {
    /// One per clip.
    pub coarse: Vec<Coarse>,
    pub summary: Summary,
    /// Logits of classes, or predicted numbers, `[B, outputs]`.
    pub logits: Tensor,
}

impl DeepSignature {
    /// Builds the model for nodes of `features` features, parameters drawn from `seed`.
    ///
    /// # Errors
    /// Settings that make no model, or one of more than `max_parameters` parameters.
    pub fn new(
        config: &DeepSignatureConfig,
        features: usize,
        objective: Objective,
        seed: u64,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        config.validate(features, objective)?;
        affordable(config, features)?;
        let mut builder = ParametersBuilder::default();
        let b = &mut builder.root();
        let aggregator = Aggregator::new(b, config, features);
        let aggregator_groups = b.groups();
        let temporal = Temporal::new(&mut b.scope("temporal_aggregator"), config, features);
        let classifier = &mut b.scope("classifier.linear");
        let classifier = Linear::pytorch(classifier, config.hidden, objective.outputs());
        Ok(Self {
            config: config.clone(),
            objective,
            parameters: builder.build(seed, dtype, device, 0.0)?,
            aggregator,
            aggregator_groups,
            temporal,
            classifier,
        })
    }

    pub fn config(&self) -> &DeepSignatureConfig {
        &self.config
    }

    pub fn objective(&self) -> Objective {
        self.objective
    }

    /// Runs the model in evaluation mode.
    pub fn forward(&self, batch: &[Clip]) -> Result<Outputs> {
        self.outputs(batch, None)
    }

    /// Runs the model and keeps all that it makes; without a key nothing is dropped out.
    pub fn outputs(&self, batch: &[Clip], key: Option<StepKey>) -> Result<Outputs> {
        let p = &self.parameters;
        let coarse = batch
            .iter()
            .map(|clip| self.aggregator.forward(clip, p))
            .collect::<candle_core::Result<Vec<_>>>()?;
        let paths: Vec<&Tensor> = coarse.iter().map(|c| &c.path).collect();
        let (summary, logits) = self.conclude(&paths, batch, key, p)?;
        Ok(Outputs {
            coarse,
            summary,
            logits,
        })
    }

    /// Probability of class 1 (two classes), probabilities of all classes, or the predicted
    /// number, per clip, from logits `[B, outputs]`.
    pub fn predict(&self, logits: &Tensor) -> Result<Vec<Vec<f64>>> {
        let logits = logits.to_dtype(DType::F64)?;
        Ok(match self.objective {
            Objective::Binary => sigmoid(&logits)?,
            Objective::Classes(_) => softmax(&logits, D::Minus1)?,
            Objective::Regression => logits,
        }
        .to_vec2()?)
    }

    /// Coarse paths and losses of a batch; without `learn` nothing is kept for a way back.
    fn beads(
        &self,
        batch: &[Clip],
        learn: bool,
        p: &Parameters,
    ) -> candle_core::Result<Vec<Beads>> {
        let constant = batch.iter().all(|clip| !clip.features.track_op());
        if constant && p.device().is_cpu() && self.aggregator_groups > 0 {
            let how = Coarsening {
                aggregator: &self.aggregator,
                beads: self.config.clusters,
                groups: self.aggregator_groups,
                learn,
            };
            return coarse_grain(how, batch, p);
        }
        let clips = batch.iter();
        clips
            .map(|clip| Beads::of(&self.aggregator.forward(clip, p)?))
            .collect()
    }

    /// Coarse paths, one per clip, to what follows them: vectors and logits.
    fn conclude(
        &self,
        paths: &[&Tensor],
        batch: &[Clip],
        key: Option<StepKey>,
        p: &Parameters,
    ) -> candle_core::Result<(Summary, Tensor)> {
        let paths = paths.iter().zip(batch).map(|(values, clip)| Path {
            values,
            times: &clip.times,
        });
        let paths: Vec<Path> = paths.collect();
        let dropout = Dropout::new(key, batch.iter().map(|c| c.id));
        let summary = self.temporal.forward(&paths, &dropout, p)?;
        let logits = self.classifier.forward(&summary.features, p)?;
        Ok((summary, logits))
    }

    /// Loss of the prediction per clip, `[B]`.
    fn prediction_loss(&self, batch: &[Clip], logits: &Tensor) -> candle_core::Result<Tensor> {
        let targets: Vec<f64> = batch.iter().map(|c| c.target).collect();
        let targets = Tensor::new(targets, logits.device())?;
        if let Objective::Classes(n) = self.objective {
            let index = targets.to_dtype(DType::U32)?;
            if let Some(bad) = batch.iter().find(|c| c.target >= n as f64) {
                candle_core::bail!("class {} of {n}", bad.target);
            }
            let log = log_softmax(logits, D::Minus1)?;
            return log.gather(&index.unsqueeze(1)?, 1)?.squeeze(1)?.neg();
        }
        let targets = targets.to_dtype(logits.dtype())?;
        let value = logits.squeeze(1)?;
        if self.objective == Objective::Regression {
            return (value - targets)?.sqr();
        }
        let z = match self.config.variant {
            Variant::Corrected => value,
            // The published loss applies a sigmoid to a sigmoid.
            Variant::Published => sigmoid(&value)?,
        };
        // log(1 + e^z) - z y, without overflow.
        let soft = (z.relu()? + (z.abs()?.neg()?.exp()? + 1.0)?.log()?)?;
        soft - (z * targets)?
    }

    /// Training losses of a batch. Without a key nothing is dropped out.
    pub fn losses_with(&self, batch: &[Clip], key: Option<StepKey>) -> Result<Losses> {
        let p = &self.parameters;
        let beads = self.beads(batch, true, p)?;
        let paths: Vec<&Tensor> = beads.iter().map(|b| &b.path).collect();
        let (_, logits) = self.conclude(&paths, batch, key, p)?;
        let mean = |loss: usize| {
            let all: Vec<&Tensor> = beads.iter().map(|b| &b.losses[loss]).collect();
            Tensor::stack(&all, 0)?.mean_all()
        };
        let values = [
            self.prediction_loss(batch, &logits)?.mean_all()?,
            mean(0)?,
            mean(1)?,
            mean(2)?,
        ];
        Ok(Losses {
            terms: TERMS.iter().map(|term| term.0).zip(values).collect(),
            statistics: Vec::new(),
        })
    }
}

/// Terms of the objective with their published weights.
pub const TERMS: [(&str, f64); 4] = [
    ("prediction", 10.0),
    ("coordinates", 0.01),
    ("mincut", 1.0),
    ("orthogonality", 1.0),
];

/// Refuses a first LSTM layer that is larger than the job allows.
fn affordable(config: &DeepSignatureConfig, features: usize) -> Result<()> {
    if config.method != Method::DeepSignature {
        return Ok(());
    }
    let (depth, limit) = (config.depth, config.max_parameters.min(PARAMETERS));
    let all = config.clusters * features;
    let channels = config.projection.unwrap_or(all);
    let terms = words::lyndon_terms(channels, depth);
    let parameters = terms.and_then(|t| t.checked_mul(4 * config.lstm));
    match parameters {
        Some(n) if n <= limit => Ok(()),
        _ => Err(Error::input(format!(
            "model: the log-signature of {channels} channels to depth {depth} has {} terms, the \
             LSTM on it {} parameters, more than max_parameters = {limit}; set projection to \
             fewer channels (24 have 4,900 terms to depth 3), lower depth or clusters, or raise \
             max_parameters",
            terms.map_or("too many".into(), |t| t.to_string()),
            parameters.map_or("too many".into(), |n| n.to_string()),
        ))),
    }
}

impl Model for DeepSignature {
    type Batch = Vec<Clip>;

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn losses(&self, batch: &Vec<Clip>, key: StepKey) -> Result<Losses> {
        self.losses_with(batch, Some(key))
    }

    /// The objective's terms, and `accuracy` (classes) or `absolute_error` (numbers).
    fn metrics(&self, batch: &Vec<Clip>) -> Result<Vec<(&'static str, Vec<f64>)>> {
        let p = &self.parameters;
        let beads = self.beads(batch, false, p)?;
        let paths: Vec<&Tensor> = beads.iter().map(|b| &b.path).collect();
        let (_, logits) = self.conclude(&paths, batch, None, p)?;
        let each = |loss: usize| -> Result<Vec<f64>> {
            let values = beads.iter().map(|b| {
                let value = b.losses[loss].to_dtype(DType::F64)?;
                Ok(value.to_scalar::<f64>()?)
            });
            values.collect()
        };
        let prediction = self.prediction_loss(batch, &logits)?;
        let predicted = self.predict(&logits)?;
        let score = |(clip, p): (&Clip, &Vec<f64>)| match self.objective {
            Objective::Regression => (p[0] - clip.target).abs(),
            Objective::Binary => f64::from((p[0] > 0.5) == (clip.target == 1.0)),
            Objective::Classes(_) => {
                let best = (0..p.len()).max_by(|&a, &b| p[a].total_cmp(&p[b]));
                f64::from(best == Some(clip.target as usize))
            }
        };
        let name = match self.objective {
            Objective::Regression => "absolute_error",
            _ => "accuracy",
        };
        Ok(vec![
            (TERMS[0].0, prediction.to_dtype(DType::F64)?.to_vec1()?),
            (TERMS[1].0, each(0)?),
            (TERMS[2].0, each(1)?),
            (TERMS[3].0, each(2)?),
            (name, batch.iter().zip(&predicted).map(score).collect()),
        ])
    }
}
