//! Networks: a batch in, losses out, named parameters. No MPI, no files.

mod builder;
pub mod deep_signature;
pub mod flat;
pub mod gradient;
mod handle;
pub mod hvae;
mod init;
pub mod layers;
pub mod parameters;

pub use builder::{ParametersBuilder, Scope};
pub use flat::Flat;
pub use handle::{Buffer, Parameter};
pub use init::Init;
pub use parameters::{Entry, Parameters};

use crate::Result;
use candle_core::{DType, Tensor};

/// What distinguishes one forward pass in training from another: everything random in it is
/// drawn from these numbers and the sample's own id, never from a rank, a thread or a slice.
#[derive(Debug, Clone, Copy)]
pub struct StepKey {
    pub seed: u64,
    pub step: u64,
}

/// Losses of one slice, in training mode.
pub struct Losses {
    /// Scalar to differentiate: the mean over the slice's samples of the weighted objective.
    pub objective: Tensor,
    /// Named terms for the log (means over the slice), scalars, always the same names in the same
    /// order. They stay on the device until somebody reads them, so that a GPU need not wait.
    pub terms: Vec<(&'static str, Tensor)>,
    /// New batch statistics, rank 1, in the order and lengths of [`Parameters::buffers`] when put
    /// one after another (none when the model has no buffers). The trainer averages them over
    /// slices and gives them to [`Parameters::update_buffers`].
    pub statistics: Vec<Tensor>,
}

impl Losses {
    /// The objective's value.
    pub fn value(&self) -> Result<f64> {
        scalar(&self.objective)
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

fn scalar(t: &Tensor) -> Result<f64> {
    Ok(t.to_dtype(DType::F64)?.to_scalar()?)
}

/// A trainable network as the trainer sees it.
pub trait Model: Send + Sync {
    /// One slice's input, made by a loader.
    type Batch: Send + Sync;

    fn parameters(&self) -> &Parameters;

    /// Losses of a slice in training mode (batch statistics of this slice). `weights` are the
    /// current weights of the objective's terms in the order of [`Model::weight_names`]
    /// (schedules change them between epochs).
    fn losses(&self, batch: &Self::Batch, weights: &[f64], key: StepKey) -> Result<Losses>;

    /// Names of the objective's weights, e.g. `["reconstruction", "kl"]`.
    fn weight_names(&self) -> &'static [&'static str];

    /// Named metrics of a batch in evaluation mode, one value per sample and name
    /// (`values[k][i]`: metric `k`, sample `i`), so that the caller can sum them in an order
    /// that does not depend on how samples were batched.
    fn metrics(&self, batch: &Self::Batch) -> Result<Vec<(&'static str, Vec<f64>)>>;
}
