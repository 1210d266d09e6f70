//! Time of a sum over the ranks, for each way to form it.
//!
//! Ranks are dealt to nodes in order, so neighbours are on one node. Exchanges go both ways at
//! once; all ranks of a node that speak to other nodes share its link.

use super::machine::{Link, Machine};
use crate::comm::slice_range;

/// How a vector is summed over the ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// The reproducible tree: recursive halving and doubling, neighbours first; in worlds that
    /// are no power of two every rank sends the parts of its subtrees to their owners.
    Tree,
    /// The tree with 16-bit numbers on the way.
    Tree16,
    /// A ring through all ranks, as MPI libraries sum long vectors.
    Ring,
    /// Reduce-scatter inside the nodes, rings between them, all-gather inside.
    Hierarchical,
}

impl Algorithm {
    pub const ALL: [Algorithm; 4] = [
        Algorithm::Tree,
        Algorithm::Tree16,
        Algorithm::Ring,
        Algorithm::Hierarchical,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Tree => "tree",
            Algorithm::Tree16 => "tree, 16 bit",
            Algorithm::Ring => "ring",
            Algorithm::Hierarchical => "hierarchical",
        }
    }
}

/// The ranks of a job on the links of a machine.
#[derive(Debug, Clone, Copy)]
pub struct Fabric {
    ranks: usize,
    /// Ranks of a full node.
    per_node: usize,
    inside: Link,
    between: Link,
    /// Bytes of one vector added to another per second.
    add: f64,
}

impl Fabric {
    pub fn new(machine: &Machine, ranks: usize) -> Self {
        let per_node = match machine.between {
            Some(_) => machine.node.ranks.min(ranks),
            None => ranks,
        };
        // Ranks that share a core take turns.
        let share = (machine.node.cores as f64 / per_node as f64).min(1.0);
        Self {
            ranks,
            per_node,
            inside: machine.inside,
            between: machine.between.unwrap_or(machine.inside),
            add: machine.memory.add * share,
        }
    }

    pub fn nodes(&self) -> usize {
        self.ranks.div_ceil(self.per_node)
    }

    /// Ranks of a node.
    pub fn per_node(&self) -> usize {
        self.per_node
    }

    /// The sum of vectors of `values` numbers of 32 bits, for every rank.
    ///
    /// `slices` matters to the tree in worlds that are no power of two.
    pub fn sum(&self, algorithm: Algorithm, values: u64, slices: u64) -> f64 {
        let bytes = 4.0 * values as f64;
        if self.ranks == 1 {
            return 0.0;
        }
        match algorithm {
            Algorithm::Tree => self.tree(bytes, bytes, slices),
            Algorithm::Tree16 => self.tree(bytes / 2.0, bytes, slices),
            Algorithm::Ring => self.ring(bytes),
            Algorithm::Hierarchical => self.hierarchical(bytes),
        }
    }

    /// A number for every rank, by exchanges of doubling distance (recursive doubling).
    pub fn agree(&self) -> f64 {
        let rounds = self.ranks.next_power_of_two().trailing_zeros();
        (0..rounds).map(|k| self.exchange(1 << k, 8.0)).sum()
    }

    /// `messages` small ones from every rank to rank 0, one after the other.
    pub fn gather(&self, messages: usize) -> f64 {
        let here = (self.per_node - 1) as f64 * self.inside.latency;
        let there = (self.ranks - self.per_node) as f64 * self.between.latency;
        messages as f64 * (here + there)
    }

    /// All ranks exchange `bytes` with the rank at this distance (a power of two).
    fn exchange(&self, distance: usize, bytes: f64) -> f64 {
        let inside = self.inside.latency + bytes / self.inside.bandwidth;
        // Pairs of this distance stay on a node when its ranks divide into such pairs.
        if self.nodes() == 1 || self.per_node.is_multiple_of(2 * distance) {
            return inside;
        }
        let sharing = self.per_node.min(2 * distance) as f64;
        inside.max(self.between.latency + bytes * sharing / self.between.bandwidth)
    }

    /// `sent` bytes travel, `added` bytes are added.
    fn tree(&self, sent: f64, added: f64, slices: u64) -> f64 {
        if !self.ranks.is_power_of_two() {
            return self.ragged(sent, added, slices);
        }
        let halving = |k: u32| {
            let share = 0.5f64.powi(k as i32 + 1);
            2.0 * self.exchange(1 << k, sent * share) + added * share / self.add
        };
        (0..self.ranks.trailing_zeros()).map(halving).sum()
    }

    /// Every rank sends the parts of its subtrees to their owners, who share their sums.
    fn ragged(&self, sent: f64, added: f64, slices: u64) -> f64 {
        let trees = (0..self.ranks)
            .map(|r| subtrees(slice_range(slices as usize, r, self.ranks)))
            .max()
            .unwrap_or(1) as f64;
        let part = 1.0 / self.ranks as f64;
        let all_trees = trees * (self.ranks as f64 - 1.0);
        trees * self.all_to_all(sent * part)
            + self.all_to_all(sent * part)
            + all_trees * added * part / self.add
    }

    /// Every rank sends `bytes` to each of the others.
    fn all_to_all(&self, bytes: f64) -> f64 {
        let (near, far) = (self.per_node - 1, self.ranks - self.per_node);
        let sharing = self.per_node as f64;
        near as f64 * (self.inside.latency + bytes / self.inside.bandwidth)
            + far as f64 * (self.between.latency + bytes * sharing / self.between.bandwidth)
    }

    /// Two rounds through all ranks with a p-th of the vector at a time. One rank of a node speaks
    /// to the next node.
    fn ring(&self, bytes: f64) -> f64 {
        let (p, part) = (self.ranks as f64, bytes / self.ranks as f64);
        let inside = self.inside.latency + part / self.inside.bandwidth;
        let hop = match self.nodes() {
            1 => inside,
            _ if self.per_node == 1 => self.between.latency + part / self.between.bandwidth,
            _ => inside.max(self.between.latency + part / self.between.bandwidth),
        };
        (p - 1.0) * (2.0 * hop + part / self.add)
    }

    fn hierarchical(&self, bytes: f64) -> f64 {
        let (r, m) = (self.per_node as f64, self.nodes() as f64);
        let part = bytes / r;
        let inside = self.inside.latency + part / self.inside.bandwidth;
        // The ranks of a node share its link, each with its part: together the whole vector.
        let between = self.between.latency + part / m * r / self.between.bandwidth;
        (r - 1.0) * (2.0 * inside + part / self.add)
            + (m - 1.0) * (2.0 * between + part / m / self.add)
    }
}

/// How many whole subtrees the slices of a rank fill.
fn subtrees(own: std::ops::Range<usize>) -> usize {
    let mut at = own.start;
    let mut count = 0;
    while at < own.end {
        let fits = (own.end - at).ilog2();
        let aligned = if at == 0 { fits } else { at.trailing_zeros() };
        at += 1 << aligned.min(fits);
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Link = Link {
        latency: 2e-6,
        bandwidth: 1e9,
    };

    fn fabric(ranks: usize, per_node: usize, between: Link) -> Fabric {
        Fabric {
            ranks,
            per_node: per_node.min(ranks),
            inside: LINK,
            between,
            add: 4e9,
        }
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9 * b.abs(), "{a}, {b}");
    }

    const N: u64 = 3_000_000;
    const BYTES: f64 = 4.0 * N as f64;

    /// 2 (p-1)/p n/B + (p-1)/p n/A, with 2 (p-1) latencies in a ring and 2 log2 p in the tree
    /// (Thakur, Rabenseifner and Gropp 2005).
    #[test]
    fn equal_links_give_the_closed_forms() {
        for p in [2usize, 4, 8, 64, 4096] {
            let f = fabric(p, 1, LINK);
            let share = (p - 1) as f64 / p as f64;
            let moved = share * BYTES * (2.0 / LINK.bandwidth + 1.0 / f.add);
            let ring = 2.0 * (p - 1) as f64 * LINK.latency + moved;
            close(f.sum(Algorithm::Ring, N, 4096), ring);
            close(f.sum(Algorithm::Hierarchical, N, 4096), ring);
            let tree = 2.0 * f64::from(p.ilog2()) * LINK.latency + moved;
            close(f.sum(Algorithm::Tree, N, 4096), tree);
            let halved = tree - share * BYTES / LINK.bandwidth;
            close(f.sum(Algorithm::Tree16, N, 4096), halved);
            close(f.agree(), f64::from(p.ilog2()) * (LINK.latency + 8e-9));
        }
        assert!(
            Algorithm::ALL
                .iter()
                .all(|&a| fabric(1, 1, LINK).sum(a, N, 1) == 0.0)
        );
    }

    /// Over a slow link between nodes of r ranks, 2 (m-1)/m n must pass each node's link however
    /// the sum is formed (the ring sends 2 (p-1)/p n through it).
    #[test]
    fn a_slow_link_between_nodes_is_the_limit() {
        let slow = Link {
            latency: 0.0,
            bandwidth: 1e3,
        };
        let (p, r) = (32usize, 8usize);
        let f = fabric(p, r, slow);
        assert_eq!(f.nodes(), 4);
        let least = 2.0 * 3.0 / 4.0 * BYTES / slow.bandwidth;
        for algorithm in [Algorithm::Tree, Algorithm::Hierarchical] {
            let time = f.sum(algorithm, N, 32);
            assert!(
                (least..1.001 * least).contains(&time),
                "{algorithm:?} {time}"
            );
        }
        let ring = f.sum(Algorithm::Ring, N, 32);
        close(
            ring.round(),
            (2.0 * 31.0 / 32.0 * BYTES / slow.bandwidth).round(),
        );
    }

    #[test]
    fn faster_links_are_never_slower_and_more_ranks_never_faster() {
        let worlds = [2usize, 3, 4, 7, 8, 16, 100, 1024];
        for algorithm in Algorithm::ALL {
            let time = |p: usize, link| fabric(p, 4, link).sum(algorithm, N, 1024);
            let fast = Link {
                latency: 1e-6,
                bandwidth: 5e9,
            };
            let mut before = 0.0;
            for p in worlds {
                assert!(time(p, fast) <= time(p, LINK), "{algorithm:?} {p}");
                if p.is_power_of_two() {
                    assert!(time(p, LINK) >= before, "{algorithm:?} {p}");
                    before = time(p, LINK);
                }
            }
        }
    }

    #[test]
    fn ragged_worlds_send_a_part_per_subtree() {
        assert_eq!(subtrees(0..8), 1);
        assert_eq!(subtrees(0..3), 2);
        assert_eq!(subtrees(3..6), 2);
        assert_eq!(subtrees(5..8), 2);
        let tree = |p| fabric(p, 1, LINK).sum(Algorithm::Tree, N, 8);
        assert!(tree(3) > tree(2) && tree(3) > tree(4));
    }
}
