//! Features in blocks: channels of irreps of O(3), written `64x0e+64x1o`, and the paths of tensor
//! products of them.
//!
//! A row of features holds block after block, and in a block `[2 l + 1, channels]`, channels
//! innermost. (Weights do not depend on that; they keep the published order.)

use std::fmt;

/// An irreducible representation of O(3): degree and parity. Even ones (`e`) do not change sign
/// when space is inverted, odd ones (`o`) do. Even comes before odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Irrep {
    /// The degree.
    pub l: usize,
    /// Whether it changes sign when space is inverted.
    pub odd: bool,
}

/// Channels of one irrep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// How many copies of the irrep.
    pub channels: usize,
    /// The irrep of every channel.
    pub irrep: Irrep,
}

/// Blocks of a row in order; two may have the same irrep.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blocks(Vec<Block>);

impl Irrep {
    /// Invariants.
    pub const SCALAR: Irrep = Irrep::even(0);

    /// Degree `l`, even.
    pub const fn even(l: usize) -> Self {
        Self { l, odd: false }
    }

    /// The irrep of the spherical harmonics of degree `l`: parity `(-1)^l`.
    pub const fn natural(l: usize) -> Self {
        let odd = l % 2 == 1;
        Self { l, odd }
    }

    /// `2 l + 1`.
    pub const fn dim(self) -> usize {
        2 * self.l + 1
    }

    /// The irreps of the tensor product with another, by degree.
    pub fn times(self, other: Self) -> impl Iterator<Item = Irrep> {
        let odd = self.odd != other.odd;
        (self.l.abs_diff(other.l)..=self.l + other.l).map(move |l| Irrep { l, odd })
    }

    /// `channels` of it.
    pub const fn of(self, channels: usize) -> Block {
        let irrep = self;
        Block { channels, irrep }
    }
}

impl fmt::Display for Irrep {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}{}", self.l, if self.odd { 'o' } else { 'e' })
    }
}

impl Block {
    /// Numbers of a row.
    pub const fn dim(&self) -> usize {
        self.channels * self.irrep.dim()
    }
}

impl fmt::Display for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (i, block) in self.0.iter().enumerate() {
            let plus = if i == 0 { "" } else { "+" };
            write!(f, "{plus}{}x{}", block.channels, block.irrep)?;
        }
        Ok(())
    }
}

impl FromIterator<Block> for Blocks {
    fn from_iter<I: IntoIterator<Item = Block>>(blocks: I) -> Self {
        Self(blocks.into_iter().filter(|b| b.channels > 0).collect())
    }
}

impl Blocks {
    /// `channels` scalars.
    pub fn scalars(channels: usize) -> Self {
        [Irrep::SCALAR.of(channels)].into_iter().collect()
    }

    /// One channel of each degree up to `lmax` with the parity of spherical harmonics, or all even.
    pub fn harmonics(lmax: usize, even: bool) -> Self {
        let irrep = |l| {
            if even {
                Irrep::even(l)
            } else {
                Irrep::natural(l)
            }
        };
        (0..=lmax).map(|l| irrep(l).of(1)).collect()
    }

    /// The blocks in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Block> + Clone {
        self.0.iter()
    }

    /// Number of blocks.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no blocks.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Numbers of a row.
    pub fn dim(&self) -> usize {
        self.0.iter().map(Block::dim).sum()
    }

    /// Channels of all blocks.
    pub fn channels(&self) -> usize {
        self.0.iter().map(|b| b.channels).sum()
    }

    /// First number of each block in a row.
    pub fn offsets(&self) -> Vec<usize> {
        let start = |at: &mut usize, b: &Block| {
            let start = *at;
            *at += b.dim();
            Some(start)
        };
        self.0.iter().scan(0, start).collect()
    }

    /// Whether a block has this irrep.
    pub fn contains(&self, irrep: Irrep) -> bool {
        self.0.iter().any(|b| b.irrep == irrep)
    }

    /// Blocks of both, one after the other.
    pub fn and(&self, other: &Self) -> Self {
        self.0.iter().chain(&other.0).copied().collect()
    }

    /// Only blocks that `keep` says.
    pub fn filter(&self, keep: impl Fn(Irrep) -> bool) -> Self {
        self.0.iter().copied().filter(|b| keep(b.irrep)).collect()
    }

    /// The same with neighbours of one irrep made one block. The rows of two neighbours do not lie
    /// as those of one block, so this is for features that are yet to be made.
    pub fn merged(&self) -> Self {
        let mut merged: Vec<Block> = Vec::new();
        for block in &self.0 {
            match merged.last_mut() {
                Some(last) if last.irrep == block.irrep => last.channels += block.channels,
                _ => merged.push(*block),
            }
        }
        Self(merged)
    }

    /// The same in the order of a key; blocks of equal keys keep their order.
    pub fn sorted<K: Ord>(&self, key: impl Fn(Irrep) -> K) -> Self {
        let mut blocks = self.0.clone();
        blocks.sort_by_key(|b| key(b.irrep));
        Self(blocks)
    }
}

impl std::ops::Index<usize> for Blocks {
    type Output = Block;
    fn index(&self, i: usize) -> &Block {
        &self.0[i]
    }
}

/// A path of a tensor product: which block of each factor, and the irrep that they are coupled to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// Number of the block of the left factor.
    pub left: usize,
    /// Number of the block of the right factor.
    pub right: usize,
    /// What the two are coupled to.
    pub irrep: Irrep,
}

/// All paths that parity and degrees allow to irreps that are `wanted`: by block of `left`, by
/// block of `right`, by degree.
pub fn paths(left: &Blocks, right: &Blocks, wanted: impl Fn(Irrep) -> bool) -> Vec<Path> {
    let mut paths = Vec::new();
    for (i, a) in left.iter().enumerate() {
        for (j, b) in right.iter().enumerate() {
            let irreps = a.irrep.times(b.irrep).filter(|&irrep| wanted(irrep));
            paths.extend(irreps.map(|irrep| Path {
                left: i,
                right: j,
                irrep,
            }));
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features() -> Blocks {
        let vectors = Irrep::natural(1);
        [
            Irrep::SCALAR.of(4),
            vectors.of(2),
            vectors.of(3),
            Irrep::even(2).of(0),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn blocks_lie_one_after_another() {
        let blocks = features();
        assert_eq!(blocks.to_string(), "4x0e+2x1o+3x1o");
        assert_eq!(blocks.offsets(), [0, 4, 10]);
        assert_eq!((blocks.dim(), blocks.channels()), (19, 9));
        assert_eq!(blocks.merged().to_string(), "4x0e+5x1o");
        let sorted = blocks.sorted(|irrep| std::cmp::Reverse(irrep.odd));
        assert_eq!(sorted.to_string(), "2x1o+3x1o+4x0e");
    }

    #[test]
    fn paths_obey_degrees_and_parity() {
        let harmonics = Blocks::harmonics(1, false);
        let told = |wanted: fn(Irrep) -> bool| -> Vec<String> {
            paths(&features().merged(), &harmonics, wanted)
                .iter()
                .map(|p| format!("{}{}:{}", p.left, p.right, p.irrep))
                .collect()
        };
        assert_eq!(
            told(|_| true),
            ["00:0e", "01:1o", "10:1o", "11:0e", "11:1e", "11:2e"]
        );
        assert_eq!(told(|irrep| irrep.l == 1), ["01:1o", "10:1o", "11:1e"]);
    }
}
