//! Sums whose numbers travel with 16 bits, half as many bytes as [`World::fast_sum`].
//!
//! A bf16 has the range of an f32 and 8 significant bits. What rounding takes away is kept and
//! added to what is sent the next time (error feedback: Karimireddy et al. 2019, Algorithm 2;
//! on both ways, as in Tang et al. 2019), so that no part of a gradient is lost, only late.

use super::parts::{double, halve, part_of};
use super::slices::SliceTree;
use super::{LONGEST, World};
use half::bf16;
use mpi::Rank;
use mpi::point_to_point::send_receive_into;
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;
use std::ops::Range;

/// What rounding has taken from the sums so far, on one rank.
#[derive(Debug)]
pub struct Rounding {
    /// Consecutive ranks, 2^k of them, that add among themselves with all bits first.
    group: usize,
    /// From what this rank sent to the owners of parts; as long as the group's part of a vector.
    sent: Vec<f32>,
    /// From this rank's part of the sum, when it was sent to all.
    told: Vec<f32>,
}

impl Rounding {
    /// For sums that are rounded between hosts only ([`World::ranks_per_host`]); where all ranks
    /// share a host, between all of them.
    pub fn between_hosts(world: &World) -> Self {
        match world.ranks_per_host() {
            Some(ranks) if world.size().is_power_of_two() && ranks < world.size() => {
                Self::between(ranks)
            }
            _ => Self::between(1),
        }
    }

    /// For sums that are rounded between groups of 2^k consecutive ranks, of which the world has
    /// 2^m; groups of one rank fit every world.
    pub fn between(group: usize) -> Self {
        Self {
            group,
            sent: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Ranks that add among themselves with all bits first.
    pub fn group(&self) -> usize {
        self.group
    }

    /// Forgets the past: for a fresh start after a step that came to nothing.
    pub fn forget(&mut self) {
        *self = Self::between(self.group);
    }
}

/// The other ranks that own the same part of the vector in their group, and that part's own parts.
struct Rail {
    /// The rank's part of a vector after the group has summed.
    shared: Range<usize>,
    group: usize,
    rank: usize,
    size: usize,
}

impl Rail {
    fn new(world: &World, group: usize, len: usize) -> Self {
        Self {
            shared: part_of(len, world.rank() % group, group),
            group,
            rank: world.rank(),
            size: world.size() / group,
        }
    }

    /// Partners, the nearest first: whom to send to and whom to receive from in each round, as
    /// numbers on the rail.
    fn rounds(&self) -> impl Iterator<Item = (usize, usize)> {
        let (here, size) = (self.rank / self.group, self.size);
        (1..size).map(move |off| ((here + off) % size, (here + size - off) % size))
    }

    fn part(&self, number: usize) -> Range<usize> {
        let part = part_of(self.shared.len(), number, self.size);
        self.shared.start + part.start..self.shared.start + part.end
    }

    fn own(&self) -> Range<usize> {
        self.part(self.rank / self.group)
    }

    /// Sends to one rank of the rail and receives from another.
    fn exchange(
        &self,
        comm: &SimpleCommunicator,
        (to, give): (usize, &[u16]),
        (from, take): (usize, &mut [u16]),
    ) {
        let rank_of = |number: usize| (number * self.group + self.rank % self.group) as Rank;
        let to = comm.process_at_rank(rank_of(to));
        let from = comm.process_at_rank(rank_of(from));
        for i in 0..self.shared.len().div_ceil(self.size).div_ceil(LONGEST) {
            let of = |len: usize| (i * LONGEST).min(len)..((i + 1) * LONGEST).min(len);
            let (g, t) = (of(give.len()), of(take.len()));
            send_receive_into(&give[g], &to, &mut take[t], &from);
        }
    }
}

/// Rounds `values` plus what is still owed to bf16; what is owed afterwards is left in `owed`.
fn round(values: &mut [f32], owed: &mut [f32], out: &mut Vec<u16>) {
    out.clear();
    out.extend(values.iter_mut().zip(owed).map(|(value, owed)| {
        *value += *owed;
        let rounded = bf16::from_f32(*value);
        let rest = *value - rounded.to_f32();
        // A fault must not be remembered.
        *owed = if rest.is_finite() { rest } else { 0.0 };
        rounded.to_bits()
    }));
}

fn widen(bits: u16) -> f32 {
    bf16::from_bits(bits).to_f32()
}

impl World {
    /// [`World::fast_sum`] with 16 bits for every number on its way between groups of ranks: a
    /// group adds with all bits; then each rank sends its terms of a part to the part's owner,
    /// who adds them in f32 and sends the rounded sum back. Every rank gets the same bits.
    pub fn compressed_sum(&self, len: usize, tree: SliceTree, lost: &mut Rounding) -> Vec<f32> {
        let mut sum = self.compressed_sum_part(len, tree, lost);
        let Some(comm) = self.collective() else {
            return sum;
        };
        let rail = Rail::new(self, lost.group, len);
        let part = rail.own();
        lost.told.resize(part.len(), 0.0);
        let (mut own, mut theirs) = (Vec::new(), Vec::new());
        round(&mut sum[part.clone()], &mut lost.told, &mut own);
        let put = |place: &mut [f32], bits: &[u16]| {
            let pairs = place.iter_mut().zip(bits);
            pairs.for_each(|(value, &bits)| *value = widen(bits));
        };
        put(&mut sum[part], &own);
        for (to, from) in rail.rounds() {
            let place = rail.part(from);
            theirs.resize(place.len(), 0);
            rail.exchange(&comm, (to, &own), (from, &mut theirs));
            put(&mut sum[place], &theirs);
        }
        double(&comm, &mut sum, lost.group);
        sum
    }

    /// [`World::compressed_sum`], but a rank learns only its part of the sum ([`World::part`]),
    /// and that with all bits of an f32; the rest of the vector is spoilt.
    pub fn compressed_sum_part(
        &self,
        len: usize,
        tree: SliceTree,
        lost: &mut Rounding,
    ) -> Vec<f32> {
        let mut sum = tree.into_sum(len);
        let Some(comm) = self.collective() else {
            return sum;
        };
        halve(&comm, &mut sum, lost.group);
        let rail = Rail::new(self, lost.group, len);
        let part = rail.own();
        lost.sent.resize(rail.shared.len(), 0.0);
        let (mut own, mut theirs) = (Vec::new(), vec![0u16; part.len()]);
        for (to, from) in rail.rounds() {
            let place = rail.part(to);
            let start = rail.shared.start;
            let owed = &mut lost.sent[place.start - start..place.end - start];
            round(&mut sum[place], owed, &mut own);
            rail.exchange(&comm, (to, &own), (from, &mut theirs));
            let pairs = sum[part.clone()].iter_mut().zip(&theirs);
            pairs.for_each(|(value, &bits)| *value += widen(bits));
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rounding_takes_comes_later() {
        let (mut owed, mut bits) = (vec![0.0], Vec::new());
        let mut total = 0.0;
        for _ in 0..1000 {
            let mut value = [1.0009765f32];
            round(&mut value, &mut owed, &mut bits);
            total += f64::from(widen(bits[0]));
        }
        assert!((total - 1000.9765).abs() < 0.01, "{total}");
        for fault in [f32::NAN, f32::INFINITY, f32::MAX] {
            round(&mut [fault], &mut owed, &mut bits);
            assert!(!widen(bits[0]).is_finite());
            assert!(owed[0].is_finite());
        }
    }
}
