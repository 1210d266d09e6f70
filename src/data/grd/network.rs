//! Random networks of the families used for gene regulatory dynamics in "Neural Dynamics on
//! Complex Networks" (Zang & Wang, KDD 2020), with its parameters.

use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Fewest nodes that every family can be made with.
pub const SMALLEST: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Square grid, each node bound to its 8 neighbors
    Grid,
    /// Erdős-Rényi, each pair bound with probability 0.1
    Random,
    /// Barabási-Albert, each new node bound to 5 old ones
    PowerLaw,
    /// Newman-Watts ring with 4 ring neighbors, a shortcut for each edge with probability 0.5
    SmallWorld,
    /// Four communities: probability 0.25 within, 0.01 between
    Community,
}

impl Family {
    pub const ALL: [Family; 5] = [
        Family::Grid,
        Family::Random,
        Family::PowerLaw,
        Family::SmallWorld,
        Family::Community,
    ];
}

/// An undirected network.
pub struct Network {
    /// Each edge once, i < j, ascending.
    pub edges: Vec<[u32; 2]>,
    neighbors: Vec<Vec<u32>>,
}

impl Network {
    /// Draws a network of `nodes` nodes, at least [`SMALLEST`].
    pub fn draw(family: Family, nodes: usize, rng: &mut impl RngExt) -> Network {
        let edges = match family {
            Family::Grid => grid(nodes),
            Family::Random => pairs(nodes, rng, |_, _| 0.1),
            Family::PowerLaw => power_law(nodes, 5, rng),
            Family::SmallWorld => small_world(nodes, 2, 0.5, rng),
            Family::Community => pairs(nodes, rng, |i, j| {
                let block = |n: usize| 4 * n / nodes;
                if block(i) == block(j) { 0.25 } else { 0.01 }
            }),
        };
        Self::new(nodes, edges)
    }

    #[cfg(test)]
    pub(super) fn without_edges(nodes: usize) -> Network {
        Self::new(nodes, BTreeSet::new())
    }

    fn new(nodes: usize, edges: BTreeSet<[u32; 2]>) -> Network {
        let mut neighbors = vec![Vec::new(); nodes];
        for &[i, j] in &edges {
            neighbors[i as usize].push(j);
            neighbors[j as usize].push(i);
        }
        Network {
            edges: edges.into_iter().collect(),
            neighbors,
        }
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.neighbors.len()
    }

    pub fn is_empty(&self) -> bool {
        self.neighbors.is_empty()
    }

    pub fn neighbors(&self, node: usize) -> &[u32] {
        &self.neighbors[node]
    }

    /// The `count` nodes nearest to a random node, by number of edges between.
    pub fn ball(&self, count: usize, rng: &mut impl RngExt) -> Vec<usize> {
        let nodes = self.neighbors.len();
        let mut seen = vec![false; nodes];
        let mut ball = Vec::with_capacity(count);
        while ball.len() < count.min(nodes) {
            // A further start when a component is exhausted.
            let start = rng.random_range(0..nodes);
            if seen[start] {
                continue;
            }
            seen[start] = true;
            let mut next = ball.len();
            ball.push(start);
            while next < ball.len() && ball.len() < count {
                for &n in self.neighbors(ball[next]) {
                    if !seen[n as usize] {
                        seen[n as usize] = true;
                        ball.push(n as usize);
                    }
                }
                next += 1;
            }
        }
        ball.truncate(count);
        ball
    }
}

fn edge(i: usize, j: usize) -> [u32; 2] {
    [i.min(j) as u32, i.max(j) as u32]
}

/// Rows of ceil(sqrt(nodes)) nodes, the last one perhaps shorter.
fn grid(nodes: usize) -> BTreeSet<[u32; 2]> {
    let width = (nodes as f64).sqrt().ceil() as usize;
    let mut edges = BTreeSet::new();
    for i in 0..nodes {
        let (row, column) = (i / width, i % width);
        let right = (column + 1 < width).then_some(i + 1);
        let below =
            (column.saturating_sub(1)..=(column + 1).min(width - 1)).map(|c| (row + 1) * width + c);
        for j in right.into_iter().chain(below).filter(|&j| j < nodes) {
            edges.insert(edge(i, j));
        }
    }
    edges
}

/// Each pair on its own.
fn pairs(
    nodes: usize,
    rng: &mut impl RngExt,
    probability: impl Fn(usize, usize) -> f64,
) -> BTreeSet<[u32; 2]> {
    let mut edges = BTreeSet::new();
    for i in 0..nodes {
        for j in i + 1..nodes {
            if rng.random::<f64>() < probability(i, j) {
                edges.insert(edge(i, j));
            }
        }
    }
    edges
}

/// Preferential attachment from a star of `bound` + 1 nodes on.
fn power_law(nodes: usize, bound: usize, rng: &mut impl RngExt) -> BTreeSet<[u32; 2]> {
    let mut edges: BTreeSet<[u32; 2]> = (1..=bound).map(|i| edge(0, i)).collect();
    // Each node as often as it has edges.
    let mut ends: Vec<usize> = edges.iter().flatten().map(|&n| n as usize).collect();
    for new in bound + 1..nodes {
        let mut chosen = BTreeSet::new();
        while chosen.len() < bound {
            chosen.insert(ends[rng.random_range(0..ends.len())]);
        }
        for old in chosen {
            edges.insert(edge(old, new));
            ends.extend([old, new]);
        }
    }
    edges
}

/// A ring in which each node is bound to the `reach` next ones, and for each of these edges,
/// with probability `shortcut`, its first node to a random one.
fn small_world(
    nodes: usize,
    reach: usize,
    shortcut: f64,
    rng: &mut impl RngExt,
) -> BTreeSet<[u32; 2]> {
    let ring = |i: usize| (1..=reach).map(move |d| (i, (i + d) % nodes));
    let mut edges: BTreeSet<[u32; 2]> =
        (0..nodes).flat_map(ring).map(|(i, j)| edge(i, j)).collect();
    for i in (0..nodes).flat_map(ring).map(|(i, _)| i) {
        if rng.random::<f64>() < shortcut {
            let mut j = rng.random_range(0..nodes);
            while j == i || edges.contains(&edge(i, j)) {
                j = rng.random_range(0..nodes);
            }
            edges.insert(edge(i, j));
        }
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn mean_degree(family: Family, nodes: usize) -> f64 {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let total: usize = (0..20)
            .map(|_| Network::draw(family, nodes, &mut rng).edges.len())
            .sum();
        2.0 * total as f64 / (20 * nodes) as f64
    }

    #[test]
    fn families_have_their_degrees() {
        // Grid: (4 (s-1)^2 + 4 (s-1)) / s^2 with s = 20 edges per node, doubled.
        assert_eq!(
            mean_degree(Family::Grid, 400),
            2.0 * (2 * 19 * 20 + 2 * 19 * 19) as f64 / 400.0
        );
        assert!((mean_degree(Family::Random, 400) - 39.9).abs() < 0.6);
        assert_eq!(
            mean_degree(Family::PowerLaw, 400),
            2.0 * (5 + 394 * 5) as f64 / 400.0
        );
        assert!((mean_degree(Family::SmallWorld, 400) - 6.0).abs() < 0.1);
        assert!((mean_degree(Family::Community, 400) - (99.0 * 0.25 + 3.0)).abs() < 0.5);
    }

    #[test]
    fn networks_are_simple_graphs_of_any_size() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for nodes in [SMALLEST, 17, 30, 101] {
            for family in Family::ALL {
                let network = Network::draw(family, nodes, &mut rng);
                assert!(network.edges.windows(2).all(|w| w[0] < w[1]));
                let simple = network
                    .edges
                    .iter()
                    .all(|e| e[0] < e[1] && (e[1] as usize) < nodes);
                assert!(simple, "{family:?}");
                let ball = network.ball(nodes / 4, &mut rng);
                let distinct: BTreeSet<usize> = ball.iter().copied().collect();
                assert_eq!((ball.len(), distinct.len()), (nodes / 4, nodes / 4));
            }
        }
    }
}
