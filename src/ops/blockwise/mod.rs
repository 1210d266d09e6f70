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
//! Like [`tensor_product`](super::tensor_product) the op is the derivative of a form, here of
//! input, output and weights, and closed under differentiation. Sums over rows go in parts that
//! depend on the number of rows alone. There are no GPU kernels yet.

mod cpu;
mod plan;

pub use plan::{Map, Part, Plan, merged, single};

use super::adapter::apply;
use super::cpu::Real;
use super::op::{Array, Closed, Op};
use candle_core::{Result, Shape, Tensor, bail};
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
    let form = Form {
        plan: plan.clone(),
        runs: runs.clone(),
        rows,
        by: OUT,
    };
    apply(form, [x, weights])
}

/// Arguments of the form.
const IN: usize = 0;
const OUT: usize = 1;
const WEIGHTS: usize = 2;

/// The derivative of the form by one of its arguments; the op's inputs are the other two in order.
#[derive(Debug, Clone)]
struct Form {
    plan: Arc<Plan>,
    runs: Arc<[Run]>,
    rows: usize,
    by: usize,
}

impl Form {
    /// The argument that input `k` is.
    fn argument(&self, k: usize) -> usize {
        k + usize::from(k >= self.by)
    }

    fn dims(&self, argument: usize) -> Vec<usize> {
        let width = self.plan.widths()[argument];
        match argument {
            WEIGHTS => vec![width],
            _ => vec![self.rows, width],
        }
    }
}

impl Op<2> for Form {
    const NAME: &'static str = "the linear map of blocks";

    fn shape(&self, inputs: [&Shape; 2]) -> Result<Shape> {
        for (k, shape) in inputs.iter().enumerate() {
            let expected = self.dims(self.argument(k));
            if shape.dims() != expected {
                bail!(
                    "{}: argument {k} is {shape:?}, not {expected:?}",
                    Self::NAME
                );
            }
        }
        Ok(self.dims(self.by).into())
    }

    fn forward<T: Real>(&self, [a, b]: [Array<T>; 2]) -> Result<Vec<T>> {
        Ok(match self.by {
            WEIGHTS => cpu::by_weights(self, [a.data, b.data]),
            by => cpu::by_rows(self, by, a.data, b.data),
        })
    }

    fn products(&self, _: [&Shape; 2]) -> usize {
        let of_map = |map: &Map| map.dim * map.channels[0] * map.channels[1];
        self.rows * self.plan.maps.iter().map(of_map).sum::<usize>()
    }
}

impl Closed<2> for Form {
    fn backward(
        &self,
        inputs: [&Tensor; 2],
        grad: &Tensor,
        wanted: [bool; 2],
    ) -> Result<[Option<Tensor>; 2]> {
        let mut arguments = [grad; 3];
        for (k, input) in inputs.into_iter().enumerate() {
            arguments[self.argument(k)] = input;
        }
        let mut gradients = [None, None];
        for k in (0..2).filter(|&k| wanted[k]) {
            let mut op = self.clone();
            op.by = self.argument(k);
            let inputs = [0, 1].map(|i| arguments[op.argument(i)]);
            gradients[k] = Some(apply(op, inputs)?);
        }
        Ok(gradients)
    }
}

#[cfg(test)]
mod tests;
