//! Sums of f32 vectors over all slices of all ranks.

use super::slices::{NodeId, SliceTree, add, slice_owner};
use super::{LONGEST, World};
use mpi::Rank;
use mpi::collective::SystemOperation;
use mpi::point_to_point::send_receive_into;
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;
use std::collections::HashMap;

impl World {
    /// The sum over all `slices`, on every rank, with bits that do not depend on the world.
    ///
    /// Each rank has put the vectors of its own slices ([`super::slice_range`]), all of length
    /// `len`, into `tree`. In a world of 2^k ranks each rank sends and receives 2 `len` values
    /// (recursive halving, then doubling); in other worlds the tree is climbed node by node and
    /// the result broadcast.
    pub fn tree_sum(&self, slices: usize, len: usize, tree: SliceTree) -> Vec<f32> {
        let mut nodes = tree.into_nodes();
        let top = (slices.trailing_zeros(), 0);
        let Some(comm) = self.collective() else {
            return nodes.remove(&top).unwrap_or_else(|| vec![0.0; len]);
        };
        if self.size().is_power_of_two() {
            let mine = (top.0 - self.size().trailing_zeros(), self.rank());
            let mut sum = nodes.remove(&mine).unwrap_or_else(|| vec![0.0; len]);
            halve_and_double(&comm, &mut sum);
            sum
        } else {
            let mut sum = climb(&comm, slices, len, nodes).unwrap_or_else(|| vec![0.0; len]);
            let root = comm.process_at_rank(0);
            sum.chunks_mut(LONGEST)
                .for_each(|part| root.broadcast_into(part));
            sum
        }
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

/// All-reduce over 2^k ranks in the tree's order: rank pairs (0,1), (2,3), ... first, then pairs
/// of pairs. Halving: at step k this rank and rank ^ 2^k exchange halves of the segment that
/// they share and each sums the half that it keeps. Doubling: the sums travel back.
fn halve_and_double(comm: &SimpleCommunicator, sum: &mut [f32]) {
    let (rank, size) = (comm.rank() as usize, comm.size() as usize);
    let (mut start, mut end) = (0, sum.len());
    let mut received = vec![0.0f32; sum.len().div_ceil(2)];
    let mut splits = Vec::new();
    let mut bit = 1;
    while bit < size {
        let peer = comm.process_at_rank((rank ^ bit) as Rank);
        let middle = start + (end - start) / 2;
        splits.push((start, middle, end, bit));
        let (keep, give) = if rank & bit == 0 {
            (start..middle, middle..end)
        } else {
            (middle..end, start..middle)
        };
        exchange(&peer, &sum[give], &mut received[..keep.len()]);
        add(&mut sum[keep.clone()], &received);
        (start, end) = (keep.start, keep.end);
        bit <<= 1;
    }
    for &(start, middle, end, bit) in splits.iter().rev() {
        let peer = comm.process_at_rank((rank ^ bit) as Rank);
        let (low, high) = sum[start..end].split_at_mut(middle - start);
        if rank & bit == 0 {
            exchange(&peer, low, high);
        } else {
            exchange(&peer, high, low);
        }
    }
}

/// Sends `give` and receives `take`; their lengths may differ by one.
fn exchange(peer: &mpi::topology::Process<'_>, give: &[f32], take: &mut [f32]) {
    let parts = give.len().max(take.len()).div_ceil(LONGEST);
    for part in 0..parts {
        let of = |len: usize| (part * LONGEST).min(len)..((part + 1) * LONGEST).min(len);
        let (g, t) = (of(give.len()), of(take.len()));
        send_receive_into(&give[g], peer, &mut take[t], peer);
    }
}

/// Climbs the tree level by level; a node lives on the rank that owns its first slice. Every
/// rank walks the nodes in the same order, so blocking messages cannot deadlock.
fn climb(
    comm: &SimpleCommunicator,
    slices: usize,
    len: usize,
    mut nodes: HashMap<NodeId, Vec<f32>>,
) -> Option<Vec<f32>> {
    let (rank, size) = (comm.rank() as usize, comm.size() as usize);
    let levels = slices.trailing_zeros();
    for level in 0..levels {
        let owner = |i: usize| slice_owner(slices, i << level, size);
        for pair in 0..slices >> (level + 1) {
            let (left, right) = (2 * pair, 2 * pair + 1);
            let last = slice_owner(slices, ((pair + 1) << (level + 1)) - 1, size);
            if owner(left) == last {
                continue; // all of it on one rank, which has summed it already
            }
            if owner(left) != owner(right) && rank == owner(right) {
                let values = nodes.remove(&(level, right)).unwrap_or_default();
                let peer = comm.process_at_rank(owner(left) as Rank);
                values.chunks(LONGEST).for_each(|part| peer.send(part));
            }
            if rank == owner(left) {
                let mut values = nodes.remove(&(level, left)).unwrap_or_default();
                let other = if owner(left) == owner(right) {
                    nodes.remove(&(level, right)).unwrap_or_default()
                } else {
                    let peer = comm.process_at_rank(owner(right) as Rank);
                    let mut theirs = vec![0.0; len];
                    for part in theirs.chunks_mut(LONGEST) {
                        peer.receive_into(part);
                    }
                    theirs
                };
                add(&mut values, &other);
                nodes.insert((level + 1, pair), values);
            }
        }
    }
    nodes.remove(&(levels, 0))
}
