//! What a batch norm is given, and how features lie in a steerable tensor.

use crate::so3::irreps::Irreps;
use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the orders of a feature are pooled into its squared size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Normalization {
    /// Mean over orders.
    #[default]
    Component,
    /// Sum over orders.
    Norm,
}

impl Normalization {
    /// Weight of one squared order in the squared size of a degree-`l` feature.
    pub fn weight(self, l: usize) -> f64 {
        match self {
            Normalization::Component => 1.0 / (2 * l + 1) as f64,
            Normalization::Norm => 1.0,
        }
    }
}

/// Means of the scalars `[channels_0]` and mean squared sizes of all features (`l` ascending,
/// then channel), over a batch; f64, where the batch is.
#[derive(Debug, Clone)]
pub struct Statistics {
    pub mean: Tensor,
    pub variance: Tensor,
}

/// Whether the statistics are functions of the batch (and are differentiated through).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Train,
    Eval,
}

/// A batch norm with the statistics that it uses. In [`Mode::Train`] they must be those of the
/// batch that it is applied to.
#[derive(Debug, Clone)]
pub struct BatchNorm {
    pub irreps: Irreps,
    pub statistics: Statistics,
    pub normalization: Normalization,
    pub mode: Mode,
}

/// Number of features: channels summed over degrees.
pub fn features(irreps: &Irreps) -> usize {
    (0..=irreps.lmax()).map(|l| irreps.channels(l)).sum()
}

/// The features of each degree.
pub(super) fn per_degree(irreps: &Irreps) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut end = 0;
    (0..=irreps.lmax()).map(move |l| {
        let start = end;
        end += irreps.channels(l);
        start..end
    })
}

/// Calls `f(l, first feature, first element, channels)` for every row (l, m) of one sample.
#[inline(always)]
pub(super) fn rows(irreps: &Irreps, mut f: impl FnMut(usize, usize, usize, usize)) {
    let (mut feature, mut start) = (0, 0);
    for l in 0..=irreps.lmax() {
        let n = irreps.channels(l);
        for _ in 0..2 * l + 1 {
            f(l, feature, start, n);
            start += n;
        }
        feature += n;
    }
}
