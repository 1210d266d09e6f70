//! Dealing whole trajectories to folds.

use super::Item;
use crate::data::Split;
use crate::data::trajectory::dataset::{number, sort_labels};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};

/// A fold for every item, the same for all items of a group, with labels spread evenly: groups
/// are ordered by label (at random within a label) and every `folds` neighbours in that order
/// go to different folds. The order of `items` does not matter.
pub(super) fn assign(items: &[Item], folds: usize, seed: u64) -> Vec<u32> {
    let mut labels: BTreeMap<&str, &str> = BTreeMap::new();
    for item in items {
        let label = item.label.as_deref().unwrap_or_default();
        labels.entry(&item.group).or_insert(label);
    }
    let mut distinct: Vec<String> = labels.values().map(|l| l.to_string()).collect();
    sort_labels(&mut distinct);
    let rank = |label: &str| distinct.iter().position(|d| d == label);

    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut groups: Vec<(&str, &str)> = labels.into_iter().collect();
    groups.shuffle(&mut rng);
    groups.sort_by_key(|(_, label)| rank(label));
    let mut fold_of = BTreeMap::new();
    for block in groups.chunks(folds) {
        let mut deal: Vec<u32> = (0..folds as u32).collect();
        deal.shuffle(&mut rng);
        for ((group, _), fold) in block.iter().zip(deal) {
            fold_of.insert(*group, fold);
        }
    }
    items.iter().map(|i| fold_of[i.group.as_str()]).collect()
}

/// Of `count` folds, those in which a label does not occur, sorted. `folds` are those of the items.
/// None where tests are declared, for folds are not tested then, and none where labels are numbers to
/// predict: where none occurs twice, or all are numbers and most occur once.
pub(super) fn lacking_a_label(items: &[Item], folds: &[u32], count: usize) -> Vec<u32> {
    let mut labels: BTreeMap<&str, usize> = BTreeMap::new();
    for label in items.iter().filter_map(|i| i.label.as_deref()) {
        *labels.entry(label).or_default() += 1;
    }
    let once = labels.values().filter(|&&n| n == 1).count();
    let numbers = labels.keys().all(|l| number(l).is_some());
    let values = once == items.len() || numbers && 2 * once > labels.len();
    let declared = items.iter().any(|i| i.split == Some(Split::Test));
    if declared || values {
        return Vec::new();
    }
    let lacks = |fold: &u32| {
        let here = items
            .iter()
            .zip(folds)
            .filter(|(i, f)| *f == fold && i.split.is_none());
        let found: BTreeSet<&str> = here.filter_map(|(i, _)| i.label.as_deref()).collect();
        found.len() < labels.len()
    };
    (0..count as u32).filter(lacks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: String, label: &str, group: String) -> Item {
        Item {
            name,
            label: Some(label.into()),
            group,
            split: None,
        }
    }

    #[test]
    fn folds_without_a_label_are_found() {
        let of = |labels: &[&str]| -> Vec<Item> {
            let items = labels.iter().enumerate();
            items
                .map(|(i, l)| item(format!("t{i}"), l, format!("g{i}")))
                .collect()
        };
        let mut items = of(&["a", "b", "a", "b", "a"]);
        assert_eq!(lacking_a_label(&items, &[0, 0, 1, 2, 2], 4), [1, 3]);
        assert_eq!(lacking_a_label(&of(&["1", "2"]), &[0, 1], 2), [0; 0]);
        let values = of(&["0", "0", "0.2", "0.35", "1"]);
        assert_eq!(lacking_a_label(&values, &[0, 0, 1, 2, 2], 3), [0; 0]);
        let classes = of(&["0", "0", "1", "1"]);
        assert_eq!(lacking_a_label(&classes, &[0, 0, 1, 1], 2), [0, 1]);
        items[0].split = Some(Split::Test);
        assert_eq!(lacking_a_label(&items, &[0, 0, 1, 2, 2], 4), [0; 0]);
    }

    #[test]
    fn folds_are_balanced_and_keep_groups_together() {
        let items: Vec<Item> = (0..40)
            .map(|i| {
                let label = if i / 2 % 2 == 0 { "a" } else { "b" };
                item(format!("t{i}"), label, format!("g{}", i / 2))
            })
            .collect();
        let folds = assign(&items, 5, 7);
        for fold in 0..5 {
            for label in ["a", "b"] {
                let here = items.iter().zip(&folds);
                let n = here.filter(|(i, f)| **f == fold && i.label.as_deref() == Some(label));
                assert_eq!(n.count(), 4, "fold {fold}, label {label}");
            }
        }
        assert!(items.iter().zip(&folds).all(|(i, f)| {
            let same = items.iter().zip(&folds).filter(|(j, _)| j.group == i.group);
            same.into_iter().all(|(_, g)| g == f)
        }));
        assert_ne!(folds, assign(&items, 5, 8));

        let mut turned = items.clone();
        turned.reverse();
        let mut again = assign(&turned, 5, 7);
        again.reverse();
        assert_eq!(folds, again);
    }
}
