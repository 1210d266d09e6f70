//! Networks: a batch in, losses out, named parameters. No MPI, no files.

pub mod affinity;
mod builder;
pub mod deep_signature;
mod describes;
pub mod flat;
pub mod gradient;
pub mod graph;
mod handle;
pub mod hvae;
mod init;
pub mod layers;
pub mod parameters;
pub mod pretrain;
pub mod residues;
pub mod sizes;
pub mod state_dict;

pub use builder::{ParametersBuilder, Scope};
pub use describes::Describes;
pub use flat::Flat;
use gradient::Missing;
pub use handle::{Buffer, Parameter};
pub use init::Init;
pub use parameters::{Entry, Parameters};

use crate::{Error, Result};
use candle_core::{DType, Tensor};
use layers::Others;

/// What distinguishes one forward pass in training from another: everything random in it is
/// drawn from these numbers and the sample's own id, never from a rank, a thread or a slice.
#[derive(Debug, Clone, Copy)]
pub struct StepKey {
    pub seed: u64,
    pub step: u64,
}

/// Weights of the terms of an objective, by name, in the order of the terms.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights<'a>(Vec<(&'a str, f64)>);

impl<'a> FromIterator<(&'a str, f64)> for Weights<'a> {
    fn from_iter<I: IntoIterator<Item = (&'a str, f64)>>(weights: I) -> Self {
        Self(weights.into_iter().collect())
    }
}

impl<'a, const N: usize> From<[(&'a str, f64); N]> for Weights<'a> {
    fn from(weights: [(&'a str, f64); N]) -> Self {
        Self(weights.to_vec())
    }
}

impl Weights<'_> {
    /// Names and weights.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().copied()
    }

    /// The weight of a term.
    ///
    /// # Errors
    /// A term that has none.
    pub fn of(&self, term: &str) -> Result<f64> {
        let found = self.iter().find(|(name, _)| *name == term);
        let missing = || Error::internal(format!("the term {term} of the loss has no weight"));
        found.map(|(_, weight)| weight).ok_or_else(missing)
    }
}

/// Losses of one slice, in training mode.
pub struct Losses {
    /// Named terms of the objective (means over the slice's samples), scalars, always the same
    /// names in the same order. They stay on the device until somebody reads them, so that a GPU
    /// need not wait.
    pub terms: Vec<(&'static str, Tensor)>,
    /// New batch statistics, rank 1, in the order and lengths of [`Parameters::buffers`] when put
    /// one after another (none when the model has no buffers). The trainer averages them over
    /// slices and gives them to [`Parameters::update_buffers`].
    pub statistics: Vec<Tensor>,
}

impl Losses {
    /// The scalar to differentiate: the sum of weight x term, in the order of the terms.
    ///
    /// # Errors
    /// A term without a weight, a model without terms.
    pub fn objective(&self, weights: &Weights) -> Result<Tensor> {
        let mut sum: Option<Tensor> = None;
        for (name, term) in &self.terms {
            let weighted = (term * weights.of(name)?)?;
            sum = Some(match sum {
                Some(sum) => (sum + weighted)?,
                None => weighted,
            });
        }
        sum.ok_or_else(|| Error::internal("a model without a term to learn by"))
    }

    /// What may become of parameters that [`Losses::objective`] does not depend on.
    pub fn missing(&self, weights: &Weights) -> Missing {
        let off = |term: &str| weights.iter().any(|(name, w)| name == term && w == 0.0);
        match self.terms.iter().any(|(term, _)| off(term)) {
            true => Missing::Zero,
            false => Missing::Refused,
        }
    }

    /// Values of the terms.
    pub fn term_values(&self) -> Result<Vec<f64>> {
        self.terms.iter().map(|(_, term)| scalar(term)).collect()
    }

    /// All statistics, one after another.
    pub fn statistics_values(&self) -> Result<Vec<f32>> {
        match self.statistics.is_empty() {
            true => Ok(Vec::new()),
            false => Ok(Tensor::cat(&self.statistics, 0)?.to_vec1()?),
        }
    }
}

/// The value of a scalar tensor.
///
/// # Errors
/// A tensor of more than one value; a failure of the device.
pub fn scalar(t: &Tensor) -> Result<f64> {
    Ok(t.to_dtype(DType::F64)?.to_scalar()?)
}

/// A trainable network as the trainer sees it.
pub trait Model: Send + Sync {
    /// One slice's input, made by a loader.
    type Batch: Send + Sync;

    fn parameters(&self) -> &Parameters;

    /// Losses of a slice in training mode (batch statistics of this slice).
    fn losses(&self, batch: &Self::Batch, key: StepKey) -> Result<Losses>;

    /// [`Model::losses`] for an objective with these weights, of a model whose terms share a gradient:
    /// then that of [`Losses::objective`] is right for these weights alone.
    ///
    /// # Errors
    /// Those of [`Model::losses`].
    fn losses_weighed(&self, batch: &Self::Batch, key: StepKey, _: &Weights) -> Result<Losses> {
        self.losses(batch, key)
    }

    /// Whether losses compare the samples of all slices of a step: then the trainer lets every slice
    /// [tell](Model::tell) the others what they need, and asks for [`Model::losses_among`].
    fn compares(&self) -> bool {
        false
    }

    /// What the other slices of a step need to know of this one, as constants.
    ///
    /// # Errors
    /// Those of [`Model::losses`].
    fn tell(&self, _: &Self::Batch, _: StepKey) -> Result<Vec<Tensor>> {
        Ok(Vec::new())
    }

    /// The losses of the whole step as one of its slices differentiates them, with what all slices
    /// have told.
    ///
    /// # Errors
    /// Those of [`Model::losses`]; slices that have told other things.
    fn losses_among(&self, batch: &Self::Batch, key: StepKey, _: Others) -> Result<Losses> {
        self.losses(batch, key)
    }

    /// Named metrics of a batch in evaluation mode, the terms of the objective among them, one
    /// value per sample and name (`values[k][i]`: metric `k`, sample `i`), so that the caller can
    /// sum them in an order that does not depend on how samples were batched.
    fn metrics(&self, batch: &Self::Batch) -> Result<Vec<(&'static str, Vec<f64>)>>;
}
