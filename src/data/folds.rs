//! Folds of samples that belong together in groups.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// Deals `rows` to `k` folds: groups (of every row that there is, by name), shuffled, each to the
/// smallest fold, so that none is in two. Rows of a fold are ascending.
pub fn deal(rows: &[usize], groups: &[String], k: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for &row in rows {
        members.entry(&groups[row]).or_default().push(row);
    }
    let mut dealt: Vec<Vec<usize>> = members.into_values().collect();
    dealt.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    // Large groups first, so that folds come out alike; the shuffle decides among equals.
    dealt.sort_by_key(|group| std::cmp::Reverse(group.len()));
    let mut folds = vec![Vec::new(); k];
    for group in dealt {
        if let Some(smallest) = folds.iter_mut().min_by_key(|fold| fold.len()) {
            smallest.extend(group);
        }
    }
    folds.iter_mut().for_each(|fold| fold.sort_unstable());
    folds
}

/// The group of a row that is in none: no name of a group is like it.
pub fn alone(row: usize) -> String {
    format!("\0{row}")
}
