//! Which products a Clebsch-Gordan step computes, and where their weights are.

use crate::so3::irreps::Irreps;
use crate::so3::paths::{Rule, pairs};
use crate::so3::wigner::w3j;
use std::ops::Range;

/// Coefficients smaller than this are rounding noise of a zero.
const ZERO: f64 = 1e-12;

/// `coefficient * h[first] * h[second]`, rows `l*l + l + m` of the input, for order `order`.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops) struct Term {
    pub first: u16,
    pub second: u16,
    pub order: u16,
    pub coefficient: Coefficient,
}

/// A coefficient in both precisions, so that kernels need not convert it.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops) struct Coefficient {
    pub single: f32,
    pub double: f64,
}

/// A pair (l1, l2) coupled to l3 that is not identically zero.
#[derive(Debug, Clone)]
pub(in crate::ops) struct Path {
    /// Number of the pair among all pairs of its l3, dead ones counted: row
    /// `pair * channels + c` of the weights.
    pub pair: usize,
    /// Terms of order m3 are `terms[orders[m3]]`.
    pub orders: Vec<Range<usize>>,
    pub terms: Vec<Term>,
    /// The same terms grouped by their first row.
    pub by_first: Vec<Term>,
}

/// Everything of one output degree.
#[derive(Debug, Clone)]
pub(in crate::ops) struct Degree {
    pub l: usize,
    pub paths: Vec<Path>,
    /// All pairs, dead ones included.
    pub pairs: usize,
    /// First weight of this degree in the flat weights.
    pub weights: usize,
}

/// The products of one Clebsch-Gordan step with channel-wise pairs.
#[derive(Debug, Clone)]
pub struct Plan {
    pub input: Irreps,
    pub output: Irreps,
    pub(in crate::ops) channels: usize,
    pub(in crate::ops) out_channels: usize,
    pub(in crate::ops) degrees: Vec<Degree>,
    weight_len: usize,
}

impl Plan {
    /// A step from `channels` channels up to `l_in` to `out_channels` channels up to `l_out`
    /// (at most `2 l_in`). `symmetric` drops the pairs (l2, l1) that repeat (l1, l2).
    pub fn new(
        rule: Rule,
        symmetric: bool,
        (l_in, channels): (usize, usize),
        (l_out, out_channels): (usize, usize),
    ) -> Self {
        let mut weight_len = 0;
        let mut degrees = Vec::new();
        for (l, list) in pairs(rule, symmetric, l_in, l_out).into_iter().enumerate() {
            let paths = list
                .iter()
                .enumerate()
                .filter_map(|(pair, &(l1, l2))| path(pair, l1, l2, l));
            degrees.push(Degree {
                l,
                paths: paths.collect(),
                pairs: list.len(),
                weights: weight_len,
            });
            weight_len += list.len() * channels * out_channels;
        }
        Self {
            input: Irreps::uniform(l_in, channels),
            output: Irreps::uniform(degrees.len() - 1, out_channels),
            channels,
            out_channels,
            degrees,
            weight_len,
        }
    }

    /// Length of the flat weights.
    pub fn weight_len(&self) -> usize {
        self.weight_len
    }

    /// Rows `(pairs x channels)` of the weights of each degree, as the published code stores them.
    pub fn weight_rows(&self) -> Vec<usize> {
        self.degrees
            .iter()
            .map(|d| d.pairs * self.channels)
            .collect()
    }

    /// Floating-point operations (multiply and add counted as two) of one sample's forward pass.
    pub fn flops(&self) -> usize {
        let per_degree = |d: &Degree| {
            let terms: usize = d.paths.iter().map(|p| p.terms.len()).sum();
            let product = 3 * terms * self.channels;
            product + 2 * d.paths.len() * self.channels * self.out_channels * (2 * d.l + 1)
        };
        self.degrees.iter().map(per_degree).sum()
    }
}

/// The nonzero terms of a pair, equal products merged; `None` if all cancel.
fn path(pair: usize, l1: usize, l2: usize, l3: usize) -> Option<Path> {
    let c = w3j(l1, l2, l3);
    let (n1, n2, n3) = (2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1);
    let at = |m1: usize, m2: usize, m3: usize| c[(m1 * n2 + m2) * n3 + m3];
    let mut terms = Vec::new();
    let mut orders = Vec::new();
    for m3 in 0..n3 {
        let start = terms.len();
        for m1 in 0..n1 {
            // For l1 = l2 the products (m1, m2) and (m2, m1) are the same number.
            let from = if l1 == l2 { m1 } else { 0 };
            for m2 in from..n2 {
                let twin = if l1 == l2 && m1 != m2 {
                    at(m2, m1, m3)
                } else {
                    0.0
                };
                let coefficient = at(m1, m2, m3) + twin;
                if coefficient.abs() > ZERO {
                    terms.push(Term {
                        first: (l1 * l1 + m1) as u16,
                        second: (l2 * l2 + m2) as u16,
                        order: m3 as u16,
                        coefficient: Coefficient {
                            single: coefficient as f32,
                            double: coefficient,
                        },
                    });
                }
            }
        }
        orders.push(start..terms.len());
    }
    let mut by_first = terms.clone();
    by_first.sort_by_key(|t: &Term| (t.first, t.order, t.second));
    (!terms.is_empty()).then_some(Path {
        pair,
        orders,
        terms,
        by_first,
    })
}
