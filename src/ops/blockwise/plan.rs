//! Which block is mapped to which, by which part of the weights.

use crate::so3::blocks::Blocks;
use std::ops::Range;

/// The maps between blocks of one irrep, each with its part of a flat vector of weights.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(super) maps: Vec<Map>,
    from: usize,
    to: usize,
    weights: usize,
    kinds: usize,
    /// Inputs of a channel of each output block.
    fans: Vec<usize>,
}

/// A part of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub len: usize,
    /// Number of inputs of a channel of the output.
    pub fan: usize,
}

/// One block to one block, with weights `[from channels, kinds, to channels]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    /// First numbers of the two blocks in their rows, and of the weights.
    pub starts: [usize; 3],
    /// Channels of the two.
    pub channels: [usize; 2],
    /// `2 l + 1` of both.
    pub dim: usize,
    /// Number of the output block.
    pub block: usize,
    /// Times the weights.
    pub factor: f64,
}

impl Plan {
    /// All maps from blocks of `from` to blocks of `to` of the same irrep. `groups` are the blocks
    /// of the input that share their place in the order of the weights: by group, by block of
    /// `to`, and within by block of the group. `kinds` of rows have weights of their own.
    ///
    /// The factor of a map is `factor(F)`, `F` the number of inputs of a channel of the output.
    pub fn new(
        [from, to]: [&Blocks; 2],
        groups: &[Range<usize>],
        kinds: usize,
        factor: impl Fn(usize) -> f64,
    ) -> Self {
        let (from_starts, to_starts) = (from.offsets(), to.offsets());
        let fans: Vec<usize> = fans([from, to]).iter().map(|fan| fan * kinds).collect();
        let (mut maps, mut weights) = (Vec::new(), 0);
        for group in groups {
            for (o, out) in to.iter().enumerate() {
                for i in group.clone().filter(|&i| from[i].irrep == out.irrep) {
                    maps.push(Map {
                        starts: [from_starts[i], to_starts[o], weights],
                        channels: [from[i].channels, out.channels],
                        dim: out.irrep.dim(),
                        block: o,
                        factor: factor(fans[o]),
                    });
                    weights += from[i].channels * kinds * out.channels;
                }
            }
        }
        Self {
            maps,
            from: from.dim(),
            to: to.dim(),
            weights,
            kinds,
            fans,
        }
    }

    /// Number of weights.
    pub fn weights(&self) -> usize {
        self.weights
    }

    /// The parts of the weights that belong to one block of the output, in order: their length, and
    /// the number of inputs of a channel of that block.
    pub fn parts(&self) -> impl Iterator<Item = Part> {
        self.maps.iter().map(|map| Part {
            len: map.channels[0] * self.kinds * map.channels[1],
            fan: self.fans[map.block],
        })
    }

    /// Number of inputs of a channel of an output block.
    pub fn fan(&self, block: usize) -> usize {
        self.fans[block]
    }

    /// Number of kinds of rows.
    pub fn kinds(&self) -> usize {
        self.kinds
    }

    /// Numbers of a row of the input, of a row of the output, and of the weights.
    pub(super) fn widths(&self) -> [usize; 3] {
        [self.from, self.to, self.weights]
    }
}

/// Every block by itself.
pub fn single(blocks: &Blocks) -> Vec<Range<usize>> {
    (0..blocks.len()).map(|i| i..i + 1).collect()
}

/// Runs of neighbours of one irrep.
pub fn merged(blocks: &Blocks) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (i, block) in blocks.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if blocks[run.start].irrep == block.irrep => run.end = i + 1,
            _ => runs.push(i..i + 1),
        }
    }
    runs
}

/// Number of channels that each block of `to` is made of.
fn fans([from, to]: [&Blocks; 2]) -> Vec<usize> {
    let fan = |irrep| {
        let same = from.iter().filter(|b| b.irrep == irrep);
        same.map(|b| b.channels).sum()
    };
    to.iter().map(|b| fan(b.irrep)).collect()
}
