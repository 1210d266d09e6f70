//! Sums of f32 vectors over all slices of all ranks.

use super::parts::{climb, halve};
use super::slices::{SliceTree, add};
use super::{LONGEST, World};
use mpi::collective::SystemOperation;
use mpi::traits::*;

impl World {
    /// The sum over all `slices`, on every rank, with bits that do not depend on the world.
    ///
    /// Each rank has put the vectors of its own slices ([`super::slice_range`]), all of length
    /// `len`, into `tree`.
    pub fn tree_sum(&self, slices: usize, len: usize, tree: SliceTree) -> Vec<f32> {
        let mut sum = self.tree_sum_part(slices, len, tree);
        self.share_parts(&mut sum);
        sum
    }

    /// [`World::tree_sum`], but a rank learns only its part of the sum ([`World::part`]); the
    /// rest of the vector is spoilt.
    ///
    /// In a world of 2^k ranks each rank sends `len` values less its own part, by recursive
    /// halving; in other worlds that much for each of the subtrees that its slices fill, at most
    /// 2 log2 of their number.
    pub fn tree_sum_part(&self, slices: usize, len: usize, tree: SliceTree) -> Vec<f32> {
        let mut nodes = tree.into_nodes();
        let level = slices.trailing_zeros() - self.size().ilog2().min(slices.trailing_zeros());
        let Some(comm) = self.collective() else {
            return nodes.remove(&(level, 0)).unwrap_or_else(|| vec![0.0; len]);
        };
        if !self.size().is_power_of_two() {
            return climb(&comm, slices, len, nodes);
        }
        let mut sum = nodes
            .remove(&(level, self.rank()))
            .unwrap_or_else(|| vec![0.0; len]);
        halve(&comm, &mut sum);
        sum
    }

    /// The sum over all slices in whatever order is fastest; last bits vary with the world.
    pub fn fast_sum(&self, len: usize, tree: SliceTree) -> Vec<f32> {
        let mut sum = vec![0.0; len];
        let mut nodes: Vec<_> = tree.into_nodes().into_iter().collect();
        nodes.sort_by_key(|(id, _)| *id);
        nodes.iter().for_each(|(_, values)| add(&mut sum, values));
        let Some(comm) = self.collective() else {
            return sum;
        };
        let mut total = vec![0.0; len];
        for (part, out) in sum.chunks(LONGEST).zip(total.chunks_mut(LONGEST)) {
            comm.all_reduce_into(part, out, SystemOperation::sum());
        }
        total
    }
}
