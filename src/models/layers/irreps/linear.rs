//! Linear maps of features of irreps.

use crate::models::{Init, Parameter, Parameters, Scope};
use crate::ops::blockwise::{Plan, Run, blockwise_by_kind, merged};
use crate::ops::dual::Dual;
use crate::ops::segment::{Ends, Incidence, Row, contract, edge, sender};
use crate::so3::blocks::{Blocks, Irrep};
use candle_core::{Result, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// How the weights of a layer start, and what they are multiplied with; `F` is the number of
/// inputs of an output channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Normal with deviation 1, and `1 / sqrt(F)` in the layer.
    Layer,
    /// Normal with deviation 1; biases are zero.
    Unit,
    /// Normal with deviation `1 / sqrt(F)`; biases are zero.
    Normal,
    /// Uniform on `+-1 / sqrt(F)`, weights and biases.
    Uniform,
}

/// The published names and initial values of a layer's parameters.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    pub weight: &'static str,
    /// Name of the biases of blocks of invariants, which a number follows; none: no biases.
    pub bias: Option<&'static str>,
    pub scale: Scale,
}

/// Mixes channels of the same irrep; biases on invariants.
pub struct BlockLinear {
    plan: Arc<Plan>,
    weight: Parameter,
    /// Biases, and where their blocks are in a row.
    biases: Vec<Bias>,
    to: Blocks,
}

struct Bias {
    parameter: Parameter,
    start: usize,
}

/// Rows in the order of their kinds, for layers that have weights for each kind.
pub struct ByKind {
    /// From rows (senders) to their places in the new order (edges).
    order: Arc<Incidence>,
    runs: Arc<[Run]>,
}

impl ByKind {
    /// # Errors
    /// None: the order exists for all kinds.
    pub fn new(kinds: &[u32]) -> Result<Self> {
        let count = kinds.len();
        let mut order: Vec<u32> = (0..count as u32).collect();
        order.sort_by_key(|&row| kinds[row as usize]);
        let mut runs: Vec<Run> = Vec::new();
        for (place, &row) in order.iter().enumerate() {
            let kind = kinds[row as usize] as usize;
            match runs.last_mut() {
                Some(run) if run.kind == kind => run.rows.end = place + 1,
                _ => runs.push(Run {
                    rows: place..place + 1,
                    kind,
                }),
            }
        }
        let places: Vec<u32> = (0..count as u32).collect();
        let ends = |rows| Ends { rows, count };
        Ok(Self {
            order: Incidence::new(ends(&places), ends(&order))?,
            runs: runs.into(),
        })
    }
}

impl BlockLinear {
    /// From blocks to blocks, where neighbours of one irrep count as one.
    pub fn new(b: &mut Scope, style: Style, from: &Blocks, to: &Blocks) -> Self {
        Self::grouped(b, style, [from, to], &merged(from), 1)
    }

    /// With an order of weights as in [`Plan::new`].
    pub fn grouped(
        b: &mut Scope,
        style: Style,
        [from, to]: [&Blocks; 2],
        groups: &[Range<usize>],
        kinds: usize,
    ) -> Self {
        let factor = |fan: usize| match style.scale {
            Scale::Layer => 1.0 / (fan as f64).sqrt(),
            _ => 1.0,
        };
        let plan = Plan::new([from, to], groups, kinds, factor);
        let parts = |init: &dyn Fn(usize) -> Init| {
            Init::Parts(
                plan.parts()
                    .map(|part| (part.len, init(part.fan)))
                    .collect(),
            )
        };
        let init = match style.scale {
            Scale::Layer | Scale::Unit => Init::Normal(1.0),
            Scale::Normal => parts(&|fan| Init::Normal(1.0 / (fan as f64).sqrt())),
            Scale::Uniform => parts(&Init::fan_in),
        };
        let weight = b.parameter(style.weight, plan.weights(), init);
        let mut biases = Vec::new();
        let invariant = |&(block, _): &(_, _)| to[block].irrep == Irrep::SCALAR;
        let starts = to.offsets().into_iter().enumerate().filter(invariant);
        for (number, (block, start)) in starts.enumerate() {
            let Some(name) = style.bias else { break };
            let init = match style.scale {
                Scale::Uniform => Init::fan_in(plan.fan(block)),
                _ => Init::Constant(0.0),
            };
            let name = format_args!("{name}.{number}");
            let parameter = b.parameter(name, to[block].channels, init);
            biases.push(Bias { parameter, start });
        }
        Self {
            plan: Arc::new(plan),
            weight,
            biases,
            to: to.clone(),
        }
    }

    /// The blocks of the result.
    pub fn out(&self) -> &Blocks {
        &self.to
    }

    /// `[rows, from]` to `[rows, to]`.
    ///
    /// # Errors
    /// Another width.
    pub fn forward(&self, x: &Dual, p: &Parameters) -> Result<Dual> {
        self.with_weights(x, &self.weights(p)?, p)
    }

    /// The flat weights.
    ///
    /// # Errors
    /// Those of candle.
    pub fn weights(&self, p: &Parameters) -> Result<Tensor> {
        p.get(&self.weight)
    }

    /// Says that no loss depends on the weights.
    pub fn unused(&self, b: &mut Scope) {
        b.unused(&self.weight);
    }

    /// [`BlockLinear::forward`] with other weights in place of the layer's.
    ///
    /// # Errors
    /// Another width, or number of weights.
    pub fn with_weights(&self, x: &Dual, weights: &Tensor, p: &Parameters) -> Result<Dual> {
        let rows = x.value.dim(0)?;
        let runs: Arc<[Run]> = Arc::new([Run {
            rows: 0..rows,
            kind: 0,
        }]);
        let map = |x: &Tensor| blockwise_by_kind(&self.plan, &runs, x, weights);
        let bias = self.bias(p)?;
        x.map(
            |x| match &bias {
                Some(bias) => map(x)?.broadcast_add(bias),
                None => map(x),
            },
            |_, t| map(t),
        )
    }

    /// The sums of the layer's results over some rows, from the sums `x` `[rows, from]` of these
    /// rows and their numbers `count` `[rows]`.
    ///
    /// # Errors
    /// Another width or number of rows.
    pub fn of_sums(&self, x: &Dual, count: &Dual, p: &Parameters) -> Result<Dual> {
        let weights = self.weights(p)?;
        let runs: Arc<[Run]> = Arc::new([Run {
            rows: 0..x.value.dim(0)?,
            kind: 0,
        }]);
        let sums = x.linear(|x| blockwise_by_kind(&self.plan, &runs, x, &weights))?;
        match self.bias(p)? {
            Some(bias) => sums.add(&count.linear(|n| n.unsqueeze(1)?.matmul(&bias.unsqueeze(0)?))?),
            None => Ok(sums),
        }
    }

    /// Each row with the weights of its kind; without biases.
    ///
    /// # Errors
    /// Another width or number of rows; a kind that the layer has no weights for.
    pub fn by_kind(&self, x: &Dual, kinds: &ByKind, p: &Parameters) -> Result<Dual> {
        let weights = p.get(&self.weight)?;
        x.linear(|x| {
            let order = &kinds.order;
            let x = contract(order, [(sender(Row::Channels), x)], edge(Row::Channels))?;
            let y = blockwise_by_kind(&self.plan, &kinds.runs, &x, &weights)?;
            contract(order, [(edge(Row::Channels), &y)], sender(Row::Channels))
        })
    }

    /// The biases as a row of the result.
    fn bias(&self, p: &Parameters) -> Result<Option<Tensor>> {
        if self.biases.is_empty() {
            return Ok(None);
        }
        let (mut parts, mut end) = (Vec::new(), 0);
        for bias in &self.biases {
            let values = p.get(&bias.parameter)?;
            if bias.start > end {
                let zeros = (bias.start - end, values.dtype(), values.device());
                parts.push(Tensor::zeros(zeros.0, zeros.1, zeros.2)?);
            }
            end = bias.start + values.elem_count();
            parts.push(values);
        }
        let rest = self.to.dim() - end;
        if rest > 0 {
            parts.push(Tensor::zeros(rest, parts[0].dtype(), parts[0].device())?);
        }
        Ok(Some(Tensor::cat(&parts, 0)?))
    }
}
