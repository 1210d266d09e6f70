//! Moving vectors between ranks in parts: each rank's part of a sum, and the parts put together.
//!
//! A rank's part follows from length, rank and world alone, so nobody needs to tell where it is.

use super::slices::{NodeId, SliceTree, add, slice_range};
use super::{LONGEST, World};
use mpi::Rank;
use mpi::point_to_point::send_receive_into;
use mpi::topology::{Process, SimpleCommunicator};
use mpi::traits::*;
use std::collections::HashMap;
use std::ops::Range;

/// Values that are exchanged at a time while sums are formed: small enough for the cache and to
/// need no memory worth mentioning, large enough for the network's full speed.
const BLOCK: usize = 1 << 18;

/// Values that rank 0 receives at a time in [`World::collect_parts`].
const PIECE: usize = 1 << 20;

/// The part of `len` values that belongs to `rank`: in a world of 2^k ranks what recursive
/// halving leaves there, in others the `rank`-th of equal parts.
pub fn part_of(len: usize, rank: usize, size: usize) -> Range<usize> {
    match size.is_power_of_two() {
        true => halvings(len, rank, size)
            .last()
            .map_or(0..len, |h| h.keep.clone()),
        false => slice_range(len, rank, size),
    }
}

/// One step of recursive halving.
struct Halving {
    peer: usize,
    /// What this rank goes on with.
    keep: Range<usize>,
    /// What the peer goes on with.
    give: Range<usize>,
}

/// The halvings of a rank, neighbours first: at step k this rank and rank ^ 2^k share a segment,
/// and each keeps one half of it.
fn halvings(len: usize, rank: usize, size: usize) -> Vec<Halving> {
    let (mut start, mut end) = (0, len);
    let bits = (0..size.trailing_zeros()).map(|k| 1 << k);
    bits.map(|bit| {
        let middle = start + (end - start) / 2;
        let (keep, give) = match rank & bit {
            0 => (start..middle, middle..end),
            _ => (middle..end, start..middle),
        };
        (start, end) = (keep.start, keep.end);
        let peer = rank ^ bit;
        Halving { peer, keep, give }
    })
    .collect()
}

/// The `i`-th block of `len` values of a range; empty behind its end.
fn block(range: &Range<usize>, i: usize, len: usize) -> Range<usize> {
    let at = |i: usize| (range.start + i * len).min(range.end);
    at(i)..at(i + 1)
}

impl World {
    /// The part of `len` values that belongs to this rank ([`part_of`]).
    pub fn part(&self, len: usize) -> Range<usize> {
        part_of(len, self.rank(), self.size())
    }

    /// Every rank's part of `values` on every rank: the all-gather that completes
    /// [`World::tree_sum_part`]. Each rank sends `len` values less its own part.
    pub fn share_parts(&self, values: &mut [f32]) {
        let Some(comm) = self.collective() else {
            return;
        };
        let (len, rank, size) = (values.len(), self.rank(), self.size());
        if size.is_power_of_two() {
            return double(&comm, values, size);
        }
        for off in 1..size {
            let (to, from) = ((rank + off) % size, (rank + size - off) % size);
            let (own, theirs) = (self.part(len), part_of(len, from, size));
            let to = comm.process_at_rank(to as Rank);
            let from = comm.process_at_rank(from as Rank);
            exchange(values, len.div_ceil(size), (&to, own), (&from, theirs));
        }
    }

    /// Hands a vector of `len` values, of which every rank holds its part in `own`, to `take` on
    /// rank 0: piece by piece, in order, so that nobody holds it whole.
    pub fn collect_parts(&self, len: usize, own: &[f32], mut take: impl FnMut(Vec<f32>)) {
        let Some(comm) = self.collective() else {
            own.chunks(PIECE).for_each(|piece| take(piece.to_vec()));
            return;
        };
        let mut parts: Vec<_> = (0..self.size())
            .map(|rank| (part_of(len, rank, self.size()).start, rank))
            .collect();
        parts.sort_unstable();
        for (_, owner) in parts {
            if owner == self.rank() {
                let root = comm.process_at_rank(0);
                for piece in own.chunks(PIECE) {
                    match owner {
                        0 => take(piece.to_vec()),
                        _ => root.send(piece),
                    }
                }
            } else if self.is_root() {
                let peer = comm.process_at_rank(owner as Rank);
                let mut left = part_of(len, owner, self.size()).len();
                while left > 0 {
                    let mut piece = vec![0.0f32; left.min(PIECE)];
                    peer.receive_into(&mut piece[..]);
                    left -= piece.len();
                    take(piece);
                }
            }
        }
    }
}

/// Sends one part of `values` and receives another one in its place. `longest` bounds the length
/// of all parts that are under way, so that every rank sends the same number of messages.
fn exchange(
    values: &mut [f32],
    longest: usize,
    (to, give): (&Process<'_>, Range<usize>),
    (from, take): (&Process<'_>, Range<usize>),
) {
    for i in 0..longest.div_ceil(LONGEST) {
        let ranges = [block(&give, i, LONGEST), block(&take, i, LONGEST)];
        let [give, take] = values
            .get_disjoint_mut(ranges)
            .expect("parts do not overlap");
        send_receive_into(&*give, to, take, from);
    }
}

/// Leaves the sum over each `group` = 2^k consecutive ranks, in the tree's order, in this rank's
/// part of `sum` ([`part_of`] the group): rank pairs (0,1), (2,3), ... first, then pairs of pairs.
/// The rest of `sum` is spoilt.
pub(super) fn halve(comm: &SimpleCommunicator, sum: &mut [f32], group: usize) {
    let mut received = vec![0.0f32; BLOCK.min(sum.len().div_ceil(2))];
    for step in halvings(sum.len(), comm.rank() as usize, group) {
        let peer = comm.process_at_rank(step.peer as Rank);
        for i in 0..step.keep.len().max(step.give.len()).div_ceil(BLOCK) {
            let keep = block(&step.keep, i, BLOCK);
            let received = &mut received[..keep.len()];
            send_receive_into(&sum[block(&step.give, i, BLOCK)], &peer, received, &peer);
            add(&mut sum[keep], received);
        }
    }
}

/// Every part on every rank of a group: [`halve`] run backwards.
pub(super) fn double(comm: &SimpleCommunicator, values: &mut [f32], group: usize) {
    for step in halvings(values.len(), comm.rank() as usize, group)
        .into_iter()
        .rev()
    {
        let peer = comm.process_at_rank(step.peer as Rank);
        let longest = step.keep.len().max(step.give.len());
        exchange(values, longest, (&peer, step.keep), (&peer, step.give));
    }
}

/// Nodes of the tree that a rank with slices `own` has summed by itself: the largest subtrees
/// that they fill, in order.
fn nodes_of(slices: usize, own: Range<usize>) -> Vec<NodeId> {
    let mut nodes = Vec::new();
    let mut at = own.start;
    while at < own.end {
        let aligned = at.trailing_zeros().min(slices.trailing_zeros());
        let level = aligned.min((own.end - at).ilog2());
        nodes.push((level, at >> level));
        at += 1 << level;
    }
    nodes
}

/// Leaves the sum over the ranks of any world, in the tree's order, in this rank's part of the
/// returned vector; the rest of it is spoilt. Every rank sends each of its nodes' parts to the
/// owner of the part, who climbs the tree with them.
pub(super) fn climb(
    comm: &SimpleCommunicator,
    slices: usize,
    len: usize,
    mut nodes: HashMap<NodeId, Vec<f32>>,
) -> Vec<f32> {
    let (rank, size) = (comm.rank() as usize, comm.size() as usize);
    let top = (slices.trailing_zeros(), 0);
    let nodes_of = |rank| nodes_of(slices, slice_range(slices, rank, size));
    let part = part_of(len, rank, size);
    let block_len = (BLOCK / size).max(1 << 10);
    let own = nodes_of(rank);
    let (mut sent, mut received) = (Vec::new(), Vec::new());
    for i in 0..len.div_ceil(size).div_ceil(block_len) {
        let mine = block(&part, i, block_len);
        let tree = SliceTree::new();
        for off in 0..size {
            let (to, from) = ((rank + off) % size, (rank + size - off) % size);
            let theirs = block(&part_of(len, to, size), i, block_len);
            sent.clear();
            for id in &own {
                sent.extend_from_slice(&nodes[id][theirs.clone()]);
            }
            let coming = nodes_of(from);
            received.resize(coming.len() * mine.len(), 0.0);
            match off {
                0 => received.copy_from_slice(&sent),
                _ => {
                    let to = comm.process_at_rank(to as Rank);
                    let from = comm.process_at_rank(from as Rank);
                    send_receive_into(&sent[..], &to, &mut received[..], &from);
                }
            }
            for (j, id) in coming.into_iter().enumerate() {
                let values = received[j * mine.len()..][..mine.len()].to_vec();
                tree.insert_node(id, values);
            }
        }
        let done = tree.take_nodes().remove(&top).unwrap_or_default();
        // Nobody needs this part of the own nodes any more.
        if let Some(place) = nodes.get_mut(&own[0]) {
            place[mine].copy_from_slice(&done);
        }
    }
    nodes.remove(&own[0]).unwrap_or_default()
}

/// Most values that a rank of `size` sends for a sum over `slices` of `len` values, told to all.
pub fn most_sent(slices: usize, len: usize, size: usize) -> usize {
    let nodes = (0..size).map(|r| nodes_of(slices, slice_range(slices, r, size)).len());
    (nodes.max().unwrap_or(0) + 1) * (len - len / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_vector() {
        for size in 1..=9 {
            for len in [0, 1, 7, 8, 1000, 1003] {
                let mut parts: Vec<_> = (0..size).map(|r| part_of(len, r, size)).collect();
                parts.sort_by_key(|p| (p.start, p.end));
                let mut next = 0;
                for part in parts {
                    assert_eq!(part.start, next, "{len} {size}");
                    assert!(part.len() <= len.div_ceil(size), "{len} {size}");
                    next = part.end;
                }
                assert_eq!(next, len);
            }
        }
    }

    #[test]
    fn nodes_fill_the_slices_of_a_rank() {
        assert_eq!(nodes_of(8, 0..8), [(3, 0)]);
        assert_eq!(nodes_of(8, 2..5), [(1, 1), (0, 4)]);
        assert_eq!(nodes_of(16, 5..16), [(0, 5), (1, 3), (3, 1)]);
        assert_eq!(nodes_of(1, 0..1), [(0, 0)]);
        assert_eq!(most_sent(8, 100, 1), 0);
        assert_eq!(most_sent(8, 100, 4), 2 * 75);
        assert_eq!(most_sent(8, 90, 3), 3 * 60);
    }
}
