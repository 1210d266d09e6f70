//! Coarse-grainings that are not learned: every node in one bead, chosen before training.

use super::communities::communities;
use super::config::CoarseGraining;
use crate::{Error, Result};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// The bead of each of `nodes` nodes, by the rule `how`; `residues` has the place of each node's
/// residue. `None` where the coarse-graining is learned.
///
/// # Errors
/// More beads than nodes (than residues), or residues that are not known.
pub(super) fn beads(
    how: CoarseGraining,
    beads: usize,
    nodes: usize,
    edges: &[(u32, u32)],
    residues: Option<&[u32]>,
) -> Result<Option<Vec<u32>>> {
    let enough = |n: usize, what: &str| match n >= beads {
        true => Ok(()),
        false => Err(Error::input(format!(
            "model.coarse_graining = \"{}\": {n} {what} make no {beads} beads; set model.clusters \
             to {n} or less",
            how.name()
        ))),
    };
    if how == CoarseGraining::Learned {
        return Ok(None);
    }
    enough(nodes, "nodes")?;
    Ok(Some(match how {
        CoarseGraining::Learned => return Ok(None),
        CoarseGraining::Random => random(nodes, beads),
        CoarseGraining::Spectral => spectral(nodes, edges, beads),
        CoarseGraining::Communities => communities(nodes, edges, beads),
        CoarseGraining::Residues => {
            let residues = residues.ok_or_else(|| {
                Error::input(
                    "model.coarse_graining = \"residues\": the nodes belong to no residues; choose \
                     \"spectral\" or \"random\"",
                )
            })?;
            let mut distinct = residues.to_vec();
            distinct.sort_unstable();
            distinct.dedup();
            enough(distinct.len(), "residues")?;
            // Consecutive residues, as evenly as they can be dealt.
            let bead = |r: &u32| {
                let place = distinct.partition_point(|d| d < r);
                (place * beads / distinct.len()) as u32
            };
            residues.iter().map(bead).collect()
        }
    }))
}

/// Beads of equal sizes (but for one node), the same for every graph of so many nodes.
fn random(nodes: usize, beads: usize) -> Vec<u32> {
    let mut bead: Vec<u32> = (0..nodes).map(|i| (i * beads / nodes) as u32).collect();
    bead.shuffle(&mut ChaCha8Rng::seed_from_u64(PURPOSE ^ nodes as u64));
    bead
}

/// Sets the draw of random beads apart from other random numbers.
const PURPOSE: u64 = 0x62_6561_6473;

/// Spectral clusters: the largest part is cut at the median of its Fiedler vector until there are
/// enough (Shi and Malik, IEEE PAMI 22, 888, 2000, the normalised Laplacian).
fn spectral(nodes: usize, edges: &[(u32, u32)], beads: usize) -> Vec<u32> {
    let mut neighbors = vec![Vec::new(); nodes];
    for &(a, b) in edges {
        neighbors[a as usize].push(b);
        neighbors[b as usize].push(a);
    }
    let mut bead = vec![0; nodes];
    let mut parts: Vec<Vec<u32>> = vec![(0..nodes as u32).collect()];
    while parts.len() < beads {
        // The first of the largest.
        let size = |&i: &usize| (parts[i].len(), std::cmp::Reverse(i));
        let Some(largest) = (0..parts.len()).max_by_key(size) else {
            break;
        };
        let mut part = std::mem::take(&mut parts[largest]);
        let place = fiedler(&part, &neighbors, nodes);
        let mut order: Vec<usize> = (0..part.len()).collect();
        order.sort_by(|&a, &b| place[a].total_cmp(&place[b]).then(a.cmp(&b)));
        let half = part.len() / 2;
        let mut second: Vec<u32> = order[half..].iter().map(|&i| part[i]).collect();
        part = order[..half].iter().map(|&i| part[i]).collect();
        part.sort_unstable();
        second.sort_unstable();
        let number = parts.len() as u32;
        second.iter().for_each(|&n| bead[n as usize] = number);
        parts[largest] = part;
        parts.push(second);
    }
    bead
}

/// Enough to bring the median to rest in the graphs of molecules.
const ITERATIONS: usize = 300;

/// For each node of `part` its entry of the second eigenvector of the normalised adjacency with
/// loops, `D^-1/2 (A + I) D^-1/2`, by power iteration from a fixed start; over the root of its degree.
fn fiedler(part: &[u32], neighbors: &[Vec<u32>], nodes: usize) -> Vec<f64> {
    let mut place = vec![u32::MAX; nodes];
    for (i, &n) in (0..).zip(part) {
        place[n as usize] = i;
    }
    let inside: Vec<Vec<u32>> = part
        .iter()
        .map(|&n| {
            let all = neighbors[n as usize].iter().map(|&m| place[m as usize]);
            all.filter(|&m| m != u32::MAX).collect()
        })
        .collect();
    let root: Vec<f64> = inside
        .iter()
        .map(|n| (n.len() as f64 + 1.0).sqrt())
        .collect();
    let total: f64 = root.iter().map(|r| r * r).sum();
    let settle = |v: &mut [f64]| {
        let along = v.iter().zip(&root).map(|(x, r)| x * r).sum::<f64>() / total;
        v.iter_mut().zip(&root).for_each(|(x, r)| *x -= along * r);
        let size = v
            .iter()
            .map(|x| x * x)
            .sum::<f64>()
            .sqrt()
            .max(f64::MIN_POSITIVE);
        v.iter_mut().for_each(|x| *x /= size);
    };
    // No symmetry of the graph leaves this start alone.
    let mut v: Vec<f64> = (0..part.len()).map(|i| (1.0 + i as f64).sqrt()).collect();
    settle(&mut v);
    for _ in 0..ITERATIONS {
        let mut next: Vec<f64> = (0..v.len())
            .map(|i| {
                let around = inside[i].iter().map(|&j| v[j as usize] / root[j as usize]);
                let sum = v[i] / root[i] + around.sum::<f64>();
                // Half way to the identity: eigenvalues of one sign.
                0.5 * (v[i] + sum / root[i])
            })
            .collect();
        settle(&mut next);
        v = next;
    }
    v.iter().zip(&root).map(|(x, r)| x / r).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(how: CoarseGraining, k: usize, nodes: usize, edges: &[(u32, u32)]) -> Vec<u32> {
        beads(how, k, nodes, edges, None).unwrap().unwrap()
    }

    #[test]
    fn spectral_beads_are_the_parts_of_a_graph() {
        // Four cliques of five, each joined to the next by one edge, nodes shuffled.
        let mut names: Vec<u32> = (0..20).collect();
        names.shuffle(&mut ChaCha8Rng::seed_from_u64(1));
        let mut edges = Vec::new();
        for c in 0..4u32 {
            for i in 0..5 {
                edges.extend((0..i).map(|j| (5 * c + j, 5 * c + i)));
            }
            if c > 0 {
                edges.push((5 * c - 1, 5 * c));
            }
        }
        let edges: Vec<_> = edges
            .iter()
            .map(|&(a, b)| (names[a as usize], names[b as usize]))
            .collect();
        let bead = of(CoarseGraining::Spectral, 4, 20, &edges);
        for clique in names.chunks(5) {
            let first = bead[clique[0] as usize];
            assert!(
                clique.iter().all(|&n| bead[n as usize] == first),
                "{bead:?}"
            );
        }
        let mut distinct = bead;
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct, [0, 1, 2, 3]);
        // A chain falls into runs.
        let chain: Vec<_> = (1..12).map(|i| (i - 1, i)).collect();
        let bead = of(CoarseGraining::Spectral, 3, 12, &chain);
        assert_eq!(
            bead.windows(2).filter(|w| w[0] != w[1]).count(),
            2,
            "{bead:?}"
        );
    }

    #[test]
    fn every_bead_has_nodes() {
        let random = of(CoarseGraining::Random, 7, 23, &[]);
        for k in 0..7 {
            let size = random.iter().filter(|&&b| b == k).count();
            assert!((3..=4).contains(&size), "{random:?}");
        }
        assert!(random.windows(2).any(|w| w[0] > w[1]));
        let residues = [0, 0, 1, 1, 1, 2, 3, 3, 4];
        let told = beads(CoarseGraining::Residues, 2, 9, &[], Some(&residues)).unwrap();
        assert_eq!(told.unwrap(), [0, 0, 0, 0, 0, 0, 1, 1, 1]);
        let few = beads(CoarseGraining::Residues, 6, 9, &[], Some(&residues)).unwrap_err();
        assert!(
            few.to_string().contains("5 residues make no 6 beads"),
            "{few}"
        );
        let none = beads(CoarseGraining::Residues, 2, 9, &[], None).unwrap_err();
        assert!(none.to_string().contains("belong to no residues"), "{none}");
        assert_eq!(
            beads(CoarseGraining::Learned, 99, 9, &[], None).unwrap(),
            None
        );
    }
}
