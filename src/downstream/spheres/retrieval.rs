//! Retrieval: how good the lists are that a classifier makes of a set of shapes (paper, Table 1), by
//! the measures of SHREC'17 (Savva et al. 2017).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The longest list.
pub const CUTOFF: usize = 1000;

/// A member of the set: its class and a finer class within it.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    pub class: String,
    pub subclass: String,
}

/// Measures of one list, or their means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// P@N: relevant members of the list.
    pub precision: f64,
    /// R@N: relevant members that are in the list.
    pub recall: f64,
    /// F1@N
    pub f1: f64,
    /// Average precision over all relevant members of the set.
    pub map: f64,
    /// Normalised discounted cumulative gain.
    pub ndcg: f64,
}

/// Means over queries, and over classes of the means of their queries.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Retrieval {
    pub micro: Measures,
    pub macro_average: Measures,
}

/// The list of every member: those whose most probable class is the same, in descending order of its
/// probability, of equals the later one first; at most `cutoff`.
pub fn lists(probabilities: &[Vec<f64>], cutoff: usize) -> Vec<Vec<usize>> {
    let best = |p: &Vec<f64>| {
        (0..p.len())
            .rev()
            .max_by(|&a, &b| p[a].total_cmp(&p[b]))
            .unwrap_or(0)
    };
    let predicted: Vec<usize> = probabilities.iter().map(best).collect();
    let mut of_class: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (item, &class) in predicted.iter().enumerate() {
        of_class.entry(class).or_default().push(item);
    }
    for (&class, list) in &mut of_class {
        list.sort_by(|&a, &b| {
            let order = probabilities[b][class].total_cmp(&probabilities[a][class]);
            order.then(b.cmp(&a))
        });
        list.truncate(cutoff);
    }
    predicted
        .iter()
        .map(|class| of_class[class].clone())
        .collect()
}

/// How relevant a member is for a query: 0 in another class, 3 in the same finer class, 2 if it has
/// none of its own, 1 else.
fn relevance(query: &Item, other: &Item) -> f64 {
    if other.class != query.class {
        0.0
    } else if other.subclass == query.subclass {
        3.0
    } else if other.subclass == query.class {
        2.0
    } else {
        1.0
    }
}

fn gain(scores: &[f64]) -> f64 {
    let terms = scores.iter().enumerate().map(|(i, s)| match i {
        0 => *s,
        i => s / ((i + 1) as f64).log2(),
    });
    terms.sum()
}

/// The measures of the list of one query.
pub fn measures(items: &[Item], query: usize, list: &[usize], cutoff: usize) -> Measures {
    let mut all: Vec<f64> = items
        .iter()
        .map(|other| relevance(&items[query], other))
        .filter(|&r| r > 0.0)
        .collect();
    all.sort_by(|a, b| b.total_cmp(a));
    all.truncate(cutoff);
    let scores: Vec<f64> = list
        .iter()
        .map(|&i| relevance(&items[query], &items[i]))
        .collect();
    let (mut hits, mut precisions) = (0.0, 0.0);
    for (i, _) in scores.iter().enumerate().filter(|(_, s)| **s > 0.0) {
        hits += 1.0;
        precisions += hits / (i + 1) as f64;
    }
    if hits == 0.0 {
        return Measures::default();
    }
    let (precision, recall) = (hits / scores.len() as f64, hits / all.len() as f64);
    Measures {
        precision,
        recall,
        f1: 2.0 * precision * recall / (precision + recall),
        map: precisions / all.len() as f64,
        ndcg: gain(&scores) / gain(&all),
    }
}

impl Measures {
    fn mean(all: &[Measures]) -> Self {
        let n = all.len().max(1) as f64;
        let of = |value: fn(&Measures) -> f64| all.iter().map(value).sum::<f64>() / n;
        Self {
            precision: of(|m| m.precision),
            recall: of(|m| m.recall),
            f1: of(|m| m.f1),
            map: of(|m| m.map),
            ndcg: of(|m| m.ndcg),
        }
    }
}

impl Retrieval {
    /// Of the lists that the probabilities `[items, classes]` of a classifier make.
    pub fn of(items: &[Item], probabilities: &[Vec<f64>], cutoff: usize) -> Self {
        let lists = lists(probabilities, cutoff);
        let all = lists
            .iter()
            .enumerate()
            .map(|(q, list)| measures(items, q, list, cutoff));
        let all: Vec<Measures> = all.collect();
        let mut of_class: BTreeMap<&str, Vec<Measures>> = BTreeMap::new();
        for (item, measures) in items.iter().zip(&all) {
            of_class.entry(&item.class).or_default().push(*measures);
        }
        let means: Vec<Measures> = of_class.values().map(|all| Measures::mean(all)).collect();
        Self {
            micro: Measures::mean(&all),
            macro_average: Measures::mean(&means),
        }
    }
}
