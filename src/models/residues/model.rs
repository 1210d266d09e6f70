//! The adapter from networks of residues to the trainer.

use super::{Batch, Encoder, Network, On};
use crate::data::chains::Chain;
use crate::models::layers::{Mode, Pass};
use crate::models::{Losses, Model, Parameters, ParametersBuilder, StepKey};
use crate::{Error, Result};
use candle_core::{D, DType, Device, Tensor};
use candle_nn::ops::log_softmax;
use serde::{Deserialize, Serialize};

/// What is learned of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// One of so many classes: cross entropy.
    Class(usize),
    /// Which of so many labels it has, each for itself: the mean over the labels of the binary cross
    /// entropies.
    Labels(usize),
}

impl Objective {
    /// Numbers that the network gives of a chain.
    pub fn outputs(self) -> usize {
        match self {
            Objective::Class(n) | Objective::Labels(n) => n,
        }
    }

    /// Loss of each chain, `[chains]`, for `logits` `[chains, outputs]`.
    fn losses(self, logits: &Tensor, targets: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Objective::Class(_) => {
                let log = log_softmax(logits, D::Minus1)?;
                log.gather(&targets.unsqueeze(1)?, 1)?.squeeze(1)?.neg()
            }
            Objective::Labels(_) => {
                // log(1 + e^z) - z y, without overflow.
                let soft = (logits.relu()? + (logits.abs()?.neg()?.exp()? + 1.0)?.log()?)?;
                (soft - (logits * targets)?)?.mean(1)
            }
        }
    }

    /// Probabilities of the classes, or of each label, `[chains, outputs]`.
    pub fn probabilities(self, logits: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Objective::Class(_) => candle_nn::ops::softmax(logits, D::Minus1),
            Objective::Labels(_) => candle_nn::ops::sigmoid(logits),
        }
    }
}

/// The term of the loss.
pub const TERM: &str = "prediction";

/// A network with its objective.
pub struct ResidueModel {
    encoder: Box<dyn Encoder>,
    objective: Objective,
    parameters: Parameters,
}

impl ResidueModel {
    /// A model that computes in `dtype`; `seed` draws its initial values.
    ///
    /// # Errors
    /// Sizes that are no network; a device without memory.
    pub fn new(
        network: &Network,
        objective: Objective,
        seed: u64,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let config = network.config();
        config.check()?;
        let mut builder = ParametersBuilder::default();
        let encoder = config.build(&mut builder.root(), objective.outputs());
        Ok(Self {
            encoder,
            objective,
            parameters: builder.build(seed, dtype, device, config.momentum())?,
        })
    }

    pub fn encoder(&self) -> &dyn Encoder {
        &*self.encoder
    }

    pub fn objective(&self) -> Objective {
        self.objective
    }

    /// The input for some chains, without targets.
    ///
    /// # Errors
    /// A chain that the network can make nothing of.
    pub fn batch(&self, chains: &[Chain]) -> Result<Batch> {
        let on = On {
            dtype: self.parameters.dtype(),
            device: self.parameters.device(),
        };
        self.encoder.batch(chains, on)
    }

    /// Evaluation with the running statistics that the model has.
    ///
    /// # Errors
    /// Those of candle.
    pub fn evaluation(&self) -> Result<Mode> {
        Ok(Mode::evaluation(&self.parameters)?)
    }

    /// `[chains, outputs]`, as a function of the parameters.
    ///
    /// # Errors
    /// Those of candle.
    pub fn logits(&self, batch: &Batch, mode: Mode) -> Result<Tensor> {
        let pass = Pass::new(&self.parameters, mode, &batch.samples);
        Ok(self.encoder.forward(batch, &pass)?)
    }

    /// Probabilities of the classes, or of each label, f64 `[chains, outputs]`; constants.
    ///
    /// # Errors
    /// Those of candle.
    pub fn probabilities(&self, batch: &Batch) -> Result<Tensor> {
        let p = self.parameters.constants();
        let pass = Pass::new(&p, self.evaluation()?, &batch.samples);
        let logits = self.encoder.forward(batch, &pass)?.to_dtype(DType::F64)?;
        Ok(self.objective.probabilities(&logits)?)
    }

    /// Losses of a batch in a mode of one's own.
    ///
    /// # Errors
    /// A batch without targets.
    pub fn losses_in(&self, batch: &Batch, mode: Mode) -> Result<Losses> {
        let pass = Pass::new(&self.parameters, mode, &batch.samples);
        let logits = self.encoder.forward(batch, &pass)?;
        let mut loss = self
            .objective
            .losses(&logits, targets(batch)?)?
            .mean_all()?;
        if batch.levels.iter().any(|level| level.edges.is_empty()) {
            loss = (loss + self.parameters.nothing()?)?;
        }
        Ok(Losses {
            terms: vec![(TERM, loss)],
            statistics: pass.into_statistics()?,
        })
    }
}

fn targets(batch: &Batch) -> Result<&Tensor> {
    let missing = || Error::internal("a batch of chains without targets");
    batch.targets.as_ref().ok_or_else(missing)
}

impl Model for ResidueModel {
    type Batch = Batch;

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn losses(&self, batch: &Batch, key: StepKey) -> Result<Losses> {
        self.losses_in(batch, Mode::Train(Some(key)))
    }

    fn metrics(&self, batch: &Batch) -> Result<Vec<(&'static str, Vec<f64>)>> {
        let p = self.parameters.constants();
        let pass = Pass::new(&p, self.evaluation()?, &batch.samples);
        let logits = self.encoder.forward(batch, &pass)?;
        let values = |t: Tensor| -> Result<Vec<f64>> { Ok(t.to_dtype(DType::F64)?.to_vec1()?) };
        let targets = targets(batch)?;
        let loss = values(self.objective.losses(&logits, targets)?)?;
        let score = match self.objective {
            Objective::Class(_) => ("accuracy", logits.argmax(1)?.eq(targets)?),
            Objective::Labels(_) => {
                // All of a chain's labels, and no other.
                let right = logits.gt(0.0)?.to_dtype(DType::F64)?;
                let wrong = (right - targets.to_dtype(DType::F64)?)?.abs()?.sum(1)?;
                ("exact", wrong.eq(0.0)?)
            }
        };
        Ok(vec![(TERM, loss), (score.0, values(score.1)?)])
    }
}
