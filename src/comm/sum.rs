//! Sums of f32 vectors over all slices of all ranks.

use super::World;
use super::parts::{climb, double, halve};
use super::slices::SliceTree;
use mpi::collective::SystemOperation;
use mpi::request::multiple_scope;
use mpi::traits::*;

/// Values in a bucket of the fast sum. All buckets are under way at once: MPI adds one while
/// another one travels.
const BUCKET: usize = 1 << 20;

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
        let mut nodes = tree.take_nodes();
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
        halve(&comm, &mut sum, self.size());
        sum
    }

    /// The sum over all slices in whatever order is fastest; last bits vary with the world.
    ///
    /// Between hosts it is MPI's own sum, whose buckets keep the network busy. Ranks of one host
    /// have memory between them instead, where nothing is gained by more messages at once: halving
    /// and doubling touches each value least often.
    pub fn fast_sum(&self, len: usize, tree: SliceTree) -> Vec<f32> {
        let mut sum = tree.into_sum(len);
        let Some(comm) = self.collective() else {
            return sum;
        };
        if !self.overlaps() {
            halve(&comm, &mut sum, self.size());
            double(&comm, &mut sum, self.size());
            return sum;
        }
        let mut total = vec![0.0; len];
        multiple_scope(len.div_ceil(BUCKET), |scope, all| {
            for (part, out) in sum.chunks(BUCKET).zip(total.chunks_mut(BUCKET)) {
                all.add(comm.immediate_all_reduce_into(scope, part, out, SystemOperation::sum()));
            }
            all.wait_all(&mut Vec::new());
        });
        total
    }
}
