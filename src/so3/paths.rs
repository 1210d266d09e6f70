//! Coupling paths of tensor products: which pairs of degrees `(l1, l2)` feed degree `l3`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which pairs of degrees a tensor product couples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// The efficient tensor product: for each `l3` the minimum spanning tree of the graph whose
    /// nodes are degrees and whose edge `(l1, l2)` costs `(2 l1 + 1)(2 l2 + 1)`, plus all self-pairs
    /// (Cobb et al. 2021, section 4.2).
    Efficient,
    /// Self-pairs `(l, l)` only.
    Elementwise,
    /// Every pair that can reach `l3`.
    Full,
}

/// Pairs `(l1, l2)` of input degrees `0..=l_in` for each `l3` in `0..=min(l_out, 2 l_in)`, in the
/// order in which the published code concatenates them (it fixes the layout of the weights):
///
/// - [`Rule::Efficient`]: `l1 >= l2`, `l1` ascending, then `l2` descending; `symmetric` is implied;
/// - [`Rule::Elementwise`], [`Rule::Full`]: `l1` ascending, then `l2` ascending; only `l1 <= l2`
///   when `symmetric` (the product of a tensor with itself).
pub fn pairs(rule: Rule, symmetric: bool, l_in: usize, l_out: usize) -> Vec<Vec<(usize, usize)>> {
    (0..=l_out.min(2 * l_in))
        .map(|l3| match rule {
            Rule::Efficient => efficient(l_in, l3),
            Rule::Elementwise => (l3.div_ceil(2)..=l_in).map(|l| (l, l)).collect(),
            Rule::Full => full(symmetric, l_in, l3),
        })
        .collect()
}

/// Closed form of the minimum spanning tree with self-pairs. A degree `l1 > l3` hangs on the
/// cheapest degree it can pair with, `l1 - l3`; the degrees up to `l3` form a zigzag chain
/// `l3 - l1`, `l3 - l1 + 1`.
fn efficient(l_in: usize, l3: usize) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for l1 in l3.div_ceil(2)..=l_in {
        pairs.push((l1, l1));
        if l1 > l3 {
            if l3 > 0 {
                pairs.push((l1, l1 - l3));
            }
        } else {
            let low = l3 - l1;
            pairs.extend(
                [low + 1, low]
                    .iter()
                    .filter(|&&l2| l2 < l1)
                    .map(|&l2| (l1, l2)),
            );
        }
    }
    pairs
}

fn full(symmetric: bool, l_in: usize, l3: usize) -> Vec<(usize, usize)> {
    (0..=l_in)
        .flat_map(|l1| (0..=l_in).map(move |l2| (l1, l2)))
        .filter(|&(l1, l2)| !symmetric || l1 <= l2)
        .filter(|&(l1, l2)| l1.abs_diff(l2) <= l3 && l3 <= l1 + l2)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kruskal's algorithm on the coupling graph, as an independent source of the rule.
    fn spanning_tree(l_in: usize, l3: usize) -> Vec<(usize, usize)> {
        let mut edges: Vec<_> = full(true, l_in, l3)
            .into_iter()
            .filter(|(a, b)| a != b)
            .collect();
        edges.sort_by_key(|&(a, b)| (2 * a + 1) * (2 * b + 1));
        let mut component: Vec<usize> = (0..=l_in).collect();
        let mut tree = Vec::new();
        for (a, b) in edges {
            let (from, to) = (component[a], component[b]);
            if from != to {
                component
                    .iter_mut()
                    .filter(|c| **c == from)
                    .for_each(|c| *c = to);
                tree.push((b, a));
            }
        }
        tree.extend((0..=l_in).filter(|l| 2 * l >= l3).map(|l| (l, l)));
        tree.sort_by_key(|&(l1, l2)| (l1, std::cmp::Reverse(l2)));
        tree
    }

    #[test]
    fn efficient_is_the_minimum_spanning_tree() {
        for l_in in 1..=14 {
            let closed = pairs(Rule::Efficient, true, l_in, 2 * l_in);
            assert_eq!(closed.len(), 2 * l_in + 1);
            for (l3, pairs) in closed.iter().enumerate() {
                assert_eq!(pairs, &spanning_tree(l_in, l3), "l_in {l_in}, l3 {l3}");
            }
        }
    }

    #[test]
    fn efficient_matches_the_published_lists() {
        let published: [(usize, &[&str]); 5] = [
            (1, &["00 11", "11 10", "11"]),
            (
                2,
                &["00 11 22", "11 10 22 21", "11 22 21 20", "22 21", "22"],
            ),
            (
                4,
                &[
                    "00 11 22 33 44",
                    "11 10 22 21 33 32 44 43",
                    "11 22 21 20 33 31 44 42",
                    "22 21 33 31 30 44 41",
                    "22 33 32 31 44 41 40",
                    "33 32 44 42 41",
                    "33 44 43 42",
                    "44 43",
                    "44",
                ],
            ),
            (
                6,
                &[
                    "00 11 22 33 44 55 66",
                    "11 10 22 21 33 32 44 43 55 54 66 65",
                    "11 22 21 20 33 31 44 42 55 53 66 64",
                    "22 21 33 31 30 44 41 55 52 66 63",
                    "22 33 32 31 44 41 40 55 51 66 62",
                    "33 32 44 42 41 55 51 50 66 61",
                    "33 44 43 42 55 52 51 66 61 60",
                    "44 43 55 53 52 66 62 61",
                    "44 55 54 53 66 63 62",
                ],
            ),
            (
                8,
                &[
                    "00 11 22 33 44 55 66 77 88",
                    "11 10 22 21 33 32 44 43 55 54 66 65 77 76 88 87",
                    "11 22 21 20 33 31 44 42 55 53 66 64 77 75 88 86",
                    "22 21 33 31 30 44 41 55 52 66 63 77 74 88 85",
                    "22 33 32 31 44 41 40 55 51 66 62 77 73 88 84",
                    "33 32 44 42 41 55 51 50 66 61 77 72 88 83",
                    "33 44 43 42 55 52 51 66 61 60 77 71 88 82",
                    "44 43 55 53 52 66 62 61 77 71 70 88 81",
                    "44 55 54 53 66 63 62 77 72 71 88 81 80",
                ],
            ),
        ];
        for (l_in, lists) in published {
            let closed = pairs(Rule::Efficient, true, l_in, lists.len() - 1);
            assert_eq!(closed.len(), lists.len());
            for (pairs, list) in closed.iter().zip(lists) {
                let words: Vec<_> = pairs.iter().map(|(a, b)| format!("{a}{b}")).collect();
                assert_eq!(&words.join(" "), list, "l_in {l_in}");
            }
        }
    }

    #[test]
    fn full_and_elementwise_obey_the_triangle() {
        for l_in in 0..=8 {
            for symmetric in [false, true] {
                let all = pairs(Rule::Full, symmetric, l_in, usize::MAX);
                let count: usize = all.iter().map(Vec::len).sum();
                // Each ordered pair couples to 2 min(l1, l2) + 1 degrees.
                let expected: usize = (0..=l_in)
                    .flat_map(|a| (0..=l_in).map(move |b| (a, b)))
                    .filter(|(a, b)| !symmetric || a <= b)
                    .map(|(a, b)| 2 * a.min(b) + 1)
                    .sum();
                assert_eq!(count, expected);
                assert!(all.iter().all(|p| p.is_sorted()));
                let own = pairs(Rule::Elementwise, symmetric, l_in, usize::MAX);
                for (own, all) in own.iter().zip(&all) {
                    let diagonal: Vec<_> = all.iter().filter(|(a, b)| a == b).copied().collect();
                    assert_eq!(own, &diagonal);
                }
            }
        }
        assert_eq!(
            pairs(Rule::Full, true, 2, 1)[1],
            [(0, 1), (1, 1), (1, 2), (2, 2)]
        );
        assert_eq!(pairs(Rule::Full, false, 1, 1)[1], [(0, 1), (1, 0), (1, 1)]);
    }
}
