//! What a model makes of the samples that it is tried on.

use crate::comm::packed;
use serde::{Deserialize, Serialize};

/// One row per sample, in order; of all samples on rank 0 only.
#[derive(Default, Serialize, Deserialize)]
pub struct Measured {
    /// `[n, z]`
    #[serde(with = "packed")]
    pub invariants: Vec<f32>,
    /// `[n, 3, 3]`
    #[serde(with = "packed")]
    pub frames: Vec<f32>,
    /// Rows of [`super::reconstruction::errors`], of the samples that are rebuilt.
    #[serde(with = "packed")]
    pub errors: Vec<f64>,
}

impl Measured {
    /// Adds the samples after those that are here.
    pub fn append(&mut self, next: Measured) {
        self.invariants.extend(next.invariants);
        self.frames.extend(next.frames);
        self.errors.extend(next.errors);
    }
}
