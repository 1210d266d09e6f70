//! Communities of a graph: beads with many edges inside and few between them.

use std::collections::BTreeMap;

/// The community of each of `nodes` nodes, of which there are `count` (at most `nodes`), chosen for a
/// high modularity as by Blondel et al. (J. Stat. Mech. P10008, 2008), but with their number given:
/// single nodes move to the neighboring community that gains most; then the two communities whose
/// union gains most (or loses least) are joined until `count` are left; then nodes move again. Nodes
/// are taken in their order and ties fall to the lower number, so that a graph has one answer.
pub(super) fn communities(nodes: usize, edges: &[(u32, u32)], count: usize) -> Vec<u32> {
    let mut neighbors = vec![Vec::new(); nodes];
    for &(a, b) in edges {
        neighbors[a as usize].push(b);
        neighbors[b as usize].push(a);
    }
    let mut parts = Parts::singletons(&neighbors);
    parts.settle(count);
    while parts.alive > count {
        parts.join();
    }
    parts.settle(count);
    parts.numbered()
}

/// A division of the nodes. Gains of modularity are in units of `1 / (2 m^2)` for `m` edges, and so
/// whole numbers.
struct Parts<'a> {
    neighbors: &'a [Vec<u32>],
    /// The community of every node.
    of: Vec<u32>,
    /// Nodes in each community.
    size: Vec<usize>,
    /// The sum of their degrees.
    degree: Vec<i64>,
    /// Communities with nodes.
    alive: usize,
    /// The sum of all degrees, `2 m`.
    total: i64,
}

impl<'a> Parts<'a> {
    fn singletons(neighbors: &'a [Vec<u32>]) -> Self {
        let degree: Vec<i64> = neighbors.iter().map(|n| n.len() as i64).collect();
        Self {
            neighbors,
            of: (0..neighbors.len() as u32).collect(),
            size: vec![1; neighbors.len()],
            total: degree.iter().sum(),
            degree,
            alive: neighbors.len(),
        }
    }

    /// Moves nodes until none gains by a move; leaves at least `count` communities.
    fn settle(&mut self, count: usize) {
        // Every move raises the modularity, so this ends.
        let mut moved = true;
        while moved {
            moved = false;
            for node in 0..self.neighbors.len() {
                moved |= self.move_node(node, count);
            }
        }
    }

    fn move_node(&mut self, node: usize, count: usize) -> bool {
        let from = self.of[node];
        if self.size[from as usize] == 1 && self.alive <= count {
            return false;
        }
        let mut links: BTreeMap<u32, i64> = BTreeMap::new();
        for &n in self.neighbors[node].iter().filter(|&&n| n as usize != node) {
            *links.entry(self.of[n as usize]).or_default() += 1;
        }
        let own = self.neighbors[node].len() as i64;
        let inside = links.remove(&from).unwrap_or(0);
        let gain = |to: u32, links: i64| {
            let others = self.degree[from as usize] - own;
            self.total * (links - inside) - own * (self.degree[to as usize] - others)
        };
        let gains = links.iter().map(|(&to, &links)| (gain(to, links), to));
        let best = gains.max_by_key(|&(gain, to)| (gain, std::cmp::Reverse(to)));
        let Some((_, to)) = best.filter(|&(gain, _)| gain > 0) else {
            return false;
        };
        self.size[from as usize] -= 1;
        self.alive -= usize::from(self.size[from as usize] == 0);
        self.degree[from as usize] -= own;
        self.size[to as usize] += 1;
        self.degree[to as usize] += own;
        self.of[node] = to;
        true
    }

    /// Makes one of two communities; there must be two.
    fn join(&mut self) {
        let mut links: BTreeMap<(u32, u32), i64> = BTreeMap::new();
        for (a, neighbors) in self.of.iter().zip(self.neighbors) {
            for b in neighbors.iter().map(|&n| self.of[n as usize]) {
                if *a < b {
                    *links.entry((*a, b)).or_default() += 1;
                }
            }
        }
        // Of pairs without links, none is better than the two of the least degrees.
        let mut light: Vec<u32> = (0..self.size.len() as u32).collect();
        light.retain(|&c| self.size[c as usize] > 0);
        light.sort_by_key(|&c| (self.degree[c as usize], c));
        if let [a, b, ..] = light[..] {
            links.entry((a.min(b), a.max(b))).or_default();
        }
        let degree = |c: u32| self.degree[c as usize];
        let gains = links
            .iter()
            .map(|(&(a, b), &links)| (self.total * links - degree(a) * degree(b), (a, b)));
        let best = gains.max_by_key(|&(gain, pair)| (gain, std::cmp::Reverse(pair)));
        let Some((_, (to, from))) = best else {
            return;
        };
        self.of
            .iter_mut()
            .filter(|c| **c == from)
            .for_each(|c| *c = to);
        self.size[to as usize] += std::mem::take(&mut self.size[from as usize]);
        self.degree[to as usize] += std::mem::take(&mut self.degree[from as usize]);
        self.alive -= 1;
    }

    /// Communities numbered in the order of their first nodes.
    fn numbered(&self) -> Vec<u32> {
        let mut numbers: BTreeMap<u32, u32> = BTreeMap::new();
        self.of
            .iter()
            .map(|&c| {
                let next = numbers.len() as u32;
                *numbers.entry(c).or_insert(next)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cliques of these sizes, each joined to the next by one edge.
    fn cliques(sizes: &[u32]) -> (usize, Vec<(u32, u32)>) {
        let (mut edges, mut first) = (Vec::new(), 0);
        for size in sizes {
            for i in 0..*size {
                edges.extend((0..i).map(|j| (first + j, first + i)));
            }
            if first > 0 {
                edges.push((first - 1, first));
            }
            first += size;
        }
        (first as usize, edges)
    }

    fn modularity(of: &[u32], edges: &[(u32, u32)]) -> f64 {
        let m = edges.len() as f64;
        let communities = of.iter().max().map_or(0, |c| c + 1);
        (0..communities)
            .map(|c| {
                let ends = |&(a, b): &(u32, u32)| [a, b].map(|n| f64::from(of[n as usize] == c));
                let inside: f64 = edges.iter().map(ends).map(|[a, b]| a * b).sum();
                let degree: f64 = edges.iter().map(ends).map(|[a, b]| a + b).sum();
                inside / m - (degree / (2.0 * m)).powi(2)
            })
            .sum()
    }

    #[test]
    fn cliques_of_any_size_are_communities() {
        let (nodes, edges) = cliques(&[3, 7, 4, 5]);
        let of = communities(nodes, &edges, 4);
        let expected: Vec<u32> = [(0, 3), (1, 7), (2, 4), (3, 5)]
            .iter()
            .flat_map(|&(c, size)| vec![c; size])
            .collect();
        assert_eq!(of, expected);
    }

    #[test]
    fn there_are_as_many_as_asked_for() {
        let (nodes, edges) = cliques(&[4, 4, 4]);
        for count in 1..=nodes {
            let mut found = communities(nodes, &edges, count);
            found.sort_unstable();
            found.dedup();
            assert_eq!(found, (0..count as u32).collect::<Vec<_>>());
        }
        // Without edges too.
        let mut alone = communities(5, &[], 2);
        alone.sort_unstable();
        alone.dedup();
        assert_eq!(alone, [0, 1]);
    }

    #[test]
    fn no_division_of_a_small_graph_into_as_many_is_more_modular() {
        let edges = [
            (0, 1),
            (0, 2),
            (1, 2),
            (2, 3),
            (3, 4),
            (3, 5),
            (4, 5),
            (5, 6),
            (6, 7),
            (1, 7),
        ];
        let found = modularity(&communities(8, &edges, 3), &edges);
        let best = (0..3u32.pow(8))
            .map(|code| (0..8).map(|i| code / 3u32.pow(i) % 3).collect::<Vec<_>>())
            .filter(|of| (0..3).all(|c| of.contains(&c)))
            .map(|of| modularity(&of, &edges))
            .fold(f64::MIN, f64::max);
        assert!((found - best).abs() < 1e-12, "{found} {best}");
    }
}
