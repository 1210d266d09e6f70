//! Activations that respect irreps.

use crate::ops::dual::{At, Dual};
use crate::ops::pointwise::{Sigmoid, Silu};
use crate::ops::segment::{Incidence, Place};
use crate::ops::tensor_product::{Plan, product};
use crate::so3::blocks::{Blocks, Irrep, Path};
use candle_core::Result;
use std::sync::Arc;

/// `E[f(z)^2]^(-1/2)` of a function `f` of normal numbers `z`, with the digits of the published
/// networks, which come from a million samples (e3nn's `normalize2mom`).
pub(super) const SILU: f64 = 1.6791767923989418;
const TANH: f64 = 1.5937334472592695;
const SIGMOID: f64 = 1.8467055342154763;
const SMOOTH_LEAKY: f64 = 1.531320475574866;

/// Functions of invariants, times the number that makes their second moment 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalized {
    Silu,
    /// For pseudoscalars, which change sign in a mirror: it is odd.
    Tanh,
    Sigmoid,
    /// `0.2 x + 0.8 x sigmoid(x)`, a smooth leaky ReLU (Equiformer).
    SmoothLeaky,
}

impl Normalized {
    /// # Errors
    /// Those of candle.
    pub fn forward(self, x: &Dual) -> Result<Dual> {
        let times = |x: Dual, factor: f64| x.linear(|x| x * factor);
        match self {
            Self::Silu => times(x.apply(&Arc::new(Silu))?, SILU),
            Self::Sigmoid => times(x.apply(&Arc::new(Sigmoid))?, SIGMOID),
            Self::Tanh => {
                let sigmoid = times(x.clone(), 2.0)?.apply(&Arc::new(Sigmoid))?;
                sigmoid.map(|s| s.affine(2.0 * TANH, -TANH), |_, t| t * (2.0 * TANH))
            }
            Self::SmoothLeaky => {
                let silu = times(x.apply(&Arc::new(Silu))?, 0.8 * SMOOTH_LEAKY)?;
                silu.add(&times(x.clone(), 0.2 * SMOOTH_LEAKY)?)
            }
        }
    }
}

/// The activations of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gating {
    pub scalars: Normalized,
    pub pseudoscalars: Normalized,
    pub gates: Normalized,
}

/// Activations of the scalars of a row; every other channel is multiplied with a scalar of its own,
/// its gate.
///
/// The input has the gates behind the scalars in one block, see [`Gate::input`]; the result has the
/// scalars first and the gated blocks after them.
pub struct Gate {
    gating: Gating,
    /// Where the invariants and pseudoscalars are in a row of the input.
    scalars: Vec<Scalars>,
    /// Where the gates are.
    gates: Scalars,
    plan: Arc<Plan>,
    out: Blocks,
}

#[derive(Debug, Clone, Copy)]
struct Scalars {
    start: usize,
    len: usize,
    odd: bool,
}

impl Gate {
    /// What a layer before the gate must give: `scalars`, a gate for every channel of `gated`, and
    /// `gated`, in the order of `key`, neighbours of one irrep in one block.
    pub fn input<K: Ord>(scalars: &Blocks, gated: &Blocks, key: impl Fn(Irrep) -> K) -> Blocks {
        let gates = Blocks::scalars(gated.channels());
        scalars.and(&gates).and(gated).sorted(key).merged()
    }

    /// A gate on `input`, which is [`Gate::input`] of `scalars` (at most one block of each parity)
    /// and `gated` (at most one block of each irrep).
    ///
    /// # Panics
    /// Another input.
    pub fn new(input: &Blocks, scalars: &Blocks, gated: &Blocks, gating: Gating) -> Self {
        let index = |irrep| match input.iter().position(|b| b.irrep == irrep) {
            Some(index) => index,
            None => unreachable!("a gate on {input} for {scalars} and {gated}"),
        };
        let starts = input.offsets();
        let invariants = scalars.iter().filter(|b| b.irrep == Irrep::SCALAR);
        let invariants = invariants.map(|b| b.channels).sum::<usize>();
        let gates = Scalars {
            start: if gated.is_empty() {
                0
            } else {
                starts[index(Irrep::SCALAR)] + invariants
            },
            len: gated.channels(),
            odd: false,
        };
        let of_gates: Blocks = gated.iter().map(|b| Irrep::SCALAR.of(b.channels)).collect();
        let path = |(right, block): (usize, &crate::so3::blocks::Block)| Path {
            left: index(block.irrep),
            right,
            irrep: block.irrep,
        };
        let paths: Vec<Path> = gated.iter().enumerate().map(path).collect();
        let scalar = |b: &crate::so3::blocks::Block| Scalars {
            start: starts[index(b.irrep)],
            len: b.channels,
            odd: b.irrep.odd,
        };
        Self {
            gating,
            scalars: scalars.iter().map(scalar).collect(),
            gates,
            plan: Arc::new(Plan::new(input, &of_gates, &paths, |_| ())),
            out: scalars.and(gated),
        }
    }

    /// The blocks of the result.
    pub fn out(&self) -> &Blocks {
        &self.out
    }

    /// `x` at the edges of `rows`, one edge for each row.
    ///
    /// # Errors
    /// Another width.
    pub fn forward(&self, x: &Dual, rows: &Arc<Incidence>) -> Result<Dual> {
        let part = |s: &Scalars| x.linear(|x| x.narrow(1, s.start, s.len));
        let mut parts = Vec::new();
        for scalars in &self.scalars {
            let activation = match scalars.odd {
                true => self.gating.pseudoscalars,
                false => self.gating.scalars,
            };
            parts.push(activation.forward(&part(scalars)?)?);
        }
        if self.gates.len > 0 {
            let gates = self.gating.gates.forward(&part(&self.gates)?)?;
            let at = |dual| At(Place::Edge, dual);
            parts.push(product(&self.plan, rows, at(x), at(&gates), Place::Edge)?);
        }
        Dual::cat(&parts.iter().collect::<Vec<_>>(), 1)
    }
}
