//! What a tensor product couples to what.

use crate::so3::blocks::{Block, Blocks, Irrep, Path};
use crate::so3::wigner::w3j;
use std::collections::BTreeSet;

/// The paths of a tensor product, with the place of their blocks in the rows of the factors, of
/// the weights and of the result.
///
/// Every path makes a block of its own in the result, with the channels of the left block, unless
/// blocks are summed, and has a weight for each channel. The right block has one channel for all, or one for each.
#[derive(Debug)]
pub struct Plan {
    pub(super) couplings: Vec<Coupling>,
    left: usize,
    right: usize,
    weights: usize,
    out: Blocks,
}

/// One path.
#[derive(Debug)]
pub(super) struct Coupling {
    /// First numbers in rows of left, right, result and weights.
    pub starts: [usize; 4],
    /// Components of left, right and result, `2 l + 1`.
    pub dims: [usize; 3],
    pub channels: usize,
    /// Channels of the right block: 1, or all.
    pub right_channels: usize,
    pub terms: Vec<Term>,
}

/// `factor * left[at[0]] * right[at[1]]` is a part of `result[at[2]]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Term {
    pub at: [usize; 3],
    pub factor: f64,
}

impl Coupling {
    /// Multiply-adds of an edge. A right block with one channel makes a matrix first, which meets
    /// all channels.
    pub fn products(&self) -> usize {
        let ends = self.terms.iter().map(|term| match self.right_channels {
            1 => [term.at[0], 0, term.at[2]],
            _ => term.at,
        });
        self.channels * ends.collect::<BTreeSet<_>>().len()
    }
}

impl Plan {
    /// The product of `left` and `right` on `paths`. Its component normalisation is a factor of
    /// `sqrt(2 l + 1)` on 3j symbols of norm 1. Blocks of the result are in the order of `key`,
    /// and those of equal keys in that of the paths; the weights are in the order of the paths.
    ///
    /// # Panics
    /// A path between blocks that there are not, or of channels that do not fit.
    pub fn new<K: Ord>(
        left: &Blocks,
        right: &Blocks,
        paths: &[Path],
        key: impl Fn(Irrep) -> K,
    ) -> Self {
        let mut order: Vec<usize> = (0..paths.len()).collect();
        order.sort_by_key(|&p| key(paths[p].irrep));
        let block = |&p: &usize| -> Block { paths[p].irrep.of(left[paths[p].left].channels) };
        let out: Blocks = order.iter().map(block).collect();
        let mut starts = vec![0; paths.len()];
        for (&p, start) in order.iter().zip(out.offsets()) {
            starts[p] = start;
        }
        let norm = |irrep: Irrep| (irrep.dim() as f64).sqrt();
        Self::at([left, right], paths, &starts, norm, out)
    }

    /// The product on `paths` to one irrep whose results are summed, without a factor on the 3j
    /// symbols: one block of the result.
    ///
    /// # Panics
    /// As [`Plan::new`]; left blocks of different numbers of channels.
    pub fn summed(left: &Blocks, right: &Blocks, paths: &[Path]) -> Self {
        let block = |path: &Path| path.irrep.of(left[path.left].channels);
        let out: Vec<Block> = paths.iter().map(block).collect();
        assert!(
            out.windows(2).all(|pair| pair[0] == pair[1]),
            "a sum of different blocks"
        );
        let out = out.into_iter().take(1).collect();
        Self::at([left, right], paths, &vec![0; paths.len()], |_| 1.0, out)
    }

    /// Paths whose results start at `starts` in a row of `out`; `norm` is a factor on the 3j
    /// symbols of an irrep.
    fn at(
        [left, right]: [&Blocks; 2],
        paths: &[Path],
        starts: &[usize],
        norm: impl Fn(Irrep) -> f64,
        out: Blocks,
    ) -> Self {
        let (lefts, rights) = (left.offsets(), right.offsets());
        let mut weights = 0;
        let coupling = |(path, out_start): (&Path, &usize)| {
            let (a, b) = (left[path.left], right[path.right]);
            assert!(
                b.channels == 1 || b.channels == a.channels,
                "a product of {} and {} channels",
                a.channels,
                b.channels
            );
            let starts = [lefts[path.left], rights[path.right], *out_start, weights];
            weights += a.channels;
            Coupling {
                starts,
                dims: [a.irrep, b.irrep, path.irrep].map(Irrep::dim),
                channels: a.channels,
                right_channels: b.channels,
                terms: terms([a.irrep.l, b.irrep.l, path.irrep.l], norm(path.irrep)),
            }
        };
        Self {
            couplings: paths.iter().zip(starts).map(coupling).collect(),
            left: left.dim(),
            right: right.dim(),
            weights,
            out,
        }
    }

    /// The blocks of the result.
    pub fn out(&self) -> &Blocks {
        &self.out
    }

    /// Numbers of a row of weights.
    pub fn weights(&self) -> usize {
        self.weights
    }

    /// The product of two rows in f64, for constants.
    pub fn evaluate(&self, left: &[f64], right: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.out.dim()];
        for coupling in &self.couplings {
            let [a, b, c, _] = coupling.starts;
            let (n, k) = (coupling.channels, coupling.right_channels);
            for term in &coupling.terms {
                for u in 0..n {
                    let x = left[a + term.at[0] * n + u];
                    let y = right[b + term.at[1] * k + if k == 1 { 0 } else { u }];
                    out[c + term.at[2] * n + u] += term.factor * x * y;
                }
            }
        }
        out
    }

    /// Numbers of a row of left, right, result and weights.
    pub(super) fn widths(&self) -> [usize; 4] {
        [self.left, self.right, self.out.dim(), self.weights]
    }
}

/// `norm w3j(l1, l2, l3)` where it is not zero.
fn terms([l1, l2, l3]: [usize; 3], norm: f64) -> Vec<Term> {
    let [_, n2, n3] = [l1, l2, l3].map(|l| 2 * l + 1);
    let symbol = w3j(l1, l2, l3);
    let term = |(i, value): (usize, &f64)| Term {
        at: [i / (n2 * n3), i / n3 % n2, i % n3],
        factor: norm * value,
    };
    let large = |(_, value): &(usize, &f64)| value.abs() > 1e-12;
    symbol.iter().enumerate().filter(large).map(term).collect()
}
