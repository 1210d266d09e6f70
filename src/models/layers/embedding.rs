//! One learned vector per kind of thing.

use crate::models::{Init, Parameter, Parameters, Scope};
use candle_core::{Result, Tensor};

/// A table of vectors `[kinds, width]`, read by row.
pub struct Embedding {
    weight: Parameter,
}

impl Embedding {
    pub fn new(b: &mut Scope, kinds: usize, width: usize, init: Init) -> Self {
        Self {
            weight: b.parameter("weight", (kinds, width), init),
        }
    }

    /// Kinds `[N]`, u32, to their vectors `[N, width]`.
    pub fn forward(&self, kinds: &Tensor, p: &Parameters) -> Result<Tensor> {
        p.get(&self.weight)?.index_select(kinds, 0)
    }
}
