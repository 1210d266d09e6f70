//! Linear maps of features in blocks: channels of one irrep are mixed, components are not.
//!
//! ```text
//! out_o[c, w] = sum_i factor sum_u W_io[u, k, w] x_i[c, u]
//! ```
//!
//! over the blocks `i` of the irrep of `o`; `k` is the kind of the row, for maps that have weights
//! for each kind of atom (a tensor product with a one-hot vector is such a map). Weights are one
//! flat vector; a [`Plan`] says which part belongs to which pair of blocks.
//!
//! The map is a [`form`](super::form) of input, output and weights, and closed under differentiation.
//! Sums over rows go in parts that depend on the number of rows alone. There are no GPU kernels yet.

mod cpu;
mod plan;

pub use plan::{Map, Part, Plan, merged, single};

use super::cpu::Real;
use super::form::{Arguments, Form, multiply};
use candle_core::{Result, Tensor, bail};
use std::ops::Range;
use std::sync::Arc;

/// Rows of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub rows: Range<usize>,
    pub kind: usize,
}

/// Maps `x` `[rows, from]` to `[rows, to]` by flat `weights`, where all rows are of one kind.
///
/// # Errors
/// Shapes that do not fit the plan.
pub fn blockwise(plan: &Arc<Plan>, x: &Tensor, weights: &Tensor) -> Result<Tensor> {
    let rows = 0..x.dim(0)?;
    let runs: Arc<[Run]> = Arc::new([Run { rows, kind: 0 }]);
    blockwise_by_kind(plan, &runs, x, weights)
}

/// Maps `x` `[rows, from]` to `[rows, to]` by flat `weights`; `runs` cover the rows one after
/// another.
///
/// # Errors
/// Shapes that do not fit the plan; runs that do not fit the rows; a kind that there is not.
pub fn blockwise_by_kind(
    plan: &Arc<Plan>,
    runs: &Arc<[Run]>,
    x: &Tensor,
    weights: &Tensor,
) -> Result<Tensor> {
    let rows = x.dim(0)?;
    let end = runs.iter().try_fold(0, |end, run| {
        let follows = run.rows.start == end && run.kind < plan.kinds();
        follows.then_some(run.rows.end)
    });
    if end != Some(rows) {
        bail!("the linear map of blocks: {rows} rows, but kinds {runs:?}");
    }
    let form = Blockwise {
        plan: plan.clone(),
        runs: runs.clone(),
        rows,
    };
    multiply(form, [x, weights])
}

/// Arguments of the form.
const IN: usize = 0;
const OUT: usize = 1;
const WEIGHTS: usize = 2;

#[derive(Debug, Clone)]
struct Blockwise {
    plan: Arc<Plan>,
    runs: Arc<[Run]>,
    rows: usize,
}

impl Form<2> for Blockwise {
    const NAME: &'static str = "the linear map of blocks";

    const OUT: usize = OUT;

    fn dims(&self, argument: usize) -> Vec<usize> {
        let width = self.plan.widths()[argument];
        match argument {
            WEIGHTS => vec![width],
            _ => vec![self.rows, width],
        }
    }

    fn derivative<T: Real>(&self, by: usize, arguments: Arguments<T>) -> Vec<T> {
        let weights = arguments[WEIGHTS];
        match by {
            IN => cpu::by_rows(self, IN, arguments[OUT], weights),
            OUT => cpu::by_rows(self, OUT, arguments[IN], weights),
            _ => cpu::by_weights(self, arguments[IN], arguments[OUT]),
        }
    }

    fn products(&self, _: usize) -> usize {
        let of_map = |map: &Map| map.dim * map.channels[0] * map.channels[1];
        self.rows * self.plan.maps.iter().map(of_map).sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
