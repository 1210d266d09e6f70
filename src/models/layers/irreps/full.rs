//! The tensor product with a weight for every pair of channels.

use super::{BlockLinear, Style};
use crate::models::{Parameters, Scope};
use crate::ops::dual::{At, Dual};
use crate::ops::segment::{Incidence, Place};
use crate::ops::tensor_product::{Plan, product};
use crate::so3::blocks::{Blocks, paths};
use candle_core::Result;
use std::ops::Range;
use std::sync::Arc;

/// The product of features with an attribute (one channel for each irrep) on all paths, mixed by a
/// linear map: `out_o[c, w] = sum over paths, u of W[u, w] sqrt(2 l + 1) w3j[a, b, c] x[a, u] y[b]`.
pub struct FullProduct {
    plan: Arc<Plan>,
    linear: BlockLinear,
}

impl FullProduct {
    /// From blocks and an attribute to blocks. The weights are in the order of e3nn: by block of
    /// the features, of the attribute, of the result.
    pub fn new(b: &mut Scope, style: Style, [from, attribute]: [&Blocks; 2], to: &Blocks) -> Self {
        let all = paths(from, attribute, |irrep| to.contains(irrep));
        let plan = Plan::new(from, attribute, &all, |_| ());
        let mut pairs: Vec<Range<usize>> = Vec::new();
        for (i, path) in all.iter().enumerate() {
            let pair = |i: usize| [all[i].left, all[i].right];
            match pairs.last_mut() {
                Some(last) if pair(last.start) == [path.left, path.right] => last.end = i + 1,
                _ => pairs.push(i..i + 1),
            }
        }
        Self {
            linear: BlockLinear::grouped(b, style, [plan.out(), to], &pairs, 1),
            plan: Arc::new(plan),
        }
    }

    /// The product at the edges of `edges`.
    ///
    /// # Errors
    /// Rows that do not fit.
    pub fn forward(
        &self,
        edges: &Arc<Incidence>,
        x: At,
        attribute: At,
        p: &Parameters,
    ) -> Result<Dual> {
        let product = product(&self.plan, edges, x, attribute, Place::Edge)?;
        self.linear.forward(&product, p)
    }
}
