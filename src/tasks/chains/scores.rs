//! How well classes and labels of chains are told.

use super::Goal;
use crate::print::count;
use crate::stats::{auprc, auroc, mean};
use serde::Serialize;
use std::collections::BTreeMap;

/// Scores of chains: of `all`, and of each part of them that has a name of its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Scores(BTreeMap<String, PartScores>);

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
enum PartScores {
    Class(ClassScores),
    Labels(LabelScores),
}

/// Scores of classes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassScores {
    pub chains: usize,
    pub accuracy: f64,
    /// Share of chains whose class is among the five most probable.
    pub top5: f64,
    /// Accuracy of the class that is most frequent in training.
    pub majority: f64,
    /// Mean over the classes that occur of the areas under the ROC curve, each against the others.
    pub auroc: Option<f64>,
    /// The same of average precision.
    pub auprc: Option<f64>,
}

/// Scores of labels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelScores {
    pub chains: usize,
    /// Largest F1 of mean precision and recall of the chains over all thresholds (Radivojac et al.
    /// 2013, protein-centric).
    pub fmax: f64,
    /// Threshold of probability at which it is reached.
    pub threshold: f64,
    /// [`LabelScores::fmax`] of the frequencies of the labels in training, for every chain alike.
    pub fmax_frequencies: f64,
    /// Average precision over all pairs of a chain and a label.
    pub auprc: Option<f64>,
    /// Mean over the labels that occur of the areas under the ROC curve.
    pub auroc: Option<f64>,
    /// Share of chains whose most probable label is one of theirs.
    pub top1: f64,
}

/// A chain that is tested.
#[derive(Debug, Clone, PartialEq)]
pub struct Tested<'a> {
    pub part: &'a str,
    /// Places of its classes, ascending.
    pub labels: &'a [u32],
    /// `[classes]`.
    pub probabilities: &'a [f64],
}

impl Scores {
    /// `frequencies` are the shares of training chains that have each label.
    pub fn new(goal: Goal, tested: &[Tested], frequencies: &[f64]) -> Self {
        let of = |own: &[&Tested]| match goal {
            Goal::Class => PartScores::Class(ClassScores::of(own, frequencies)),
            Goal::Labels => PartScores::Labels(LabelScores::of(own, frequencies)),
        };
        let all: Vec<&Tested> = tested.iter().collect();
        let mut parts: BTreeMap<String, Vec<&Tested>> = BTreeMap::new();
        for chain in tested {
            parts.entry(chain.part.into()).or_default().push(chain);
        }
        let mut scores = BTreeMap::from([("all".to_string(), of(&all))]);
        if parts.len() > 1 {
            scores.extend(parts.into_iter().map(|(part, own)| (part, of(&own))));
        }
        Self(scores)
    }

    /// A few lines for the reader.
    pub fn table(&self) -> String {
        let show = |v: Option<f64>| v.map_or("-".into(), |v| format!("{v:.4}"));
        let line = |(part, scores): (&String, &PartScores)| match scores {
            PartScores::Class(s) => format!(
                "{part}: accuracy {:.4}, of the five most probable {:.4}, most frequent class {:.4}, \
                 AUROC {}, AUPRC {} ({})\n",
                s.accuracy,
                s.top5,
                s.majority,
                show(s.auroc),
                show(s.auprc),
                count(s.chains, "chain")
            ),
            PartScores::Labels(s) => format!(
                "{part}: Fmax {:.4} at {:.3}, of frequencies {:.4}, AUPRC {}, AUROC {}, most \
                 probable label right {:.4} ({})\n",
                s.fmax,
                s.threshold,
                s.fmax_frequencies,
                show(s.auprc),
                show(s.auroc),
                s.top1,
                count(s.chains, "chain")
            ),
        };
        self.0.iter().map(line).collect()
    }
}

/// Places from the most probable on, the first of equals first.
pub fn ranking(probabilities: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    order
}

/// Whether a chain has a label.
fn has(chain: &Tested, label: usize) -> bool {
    chain.labels.binary_search(&(label as u32)).is_ok()
}

/// Share of the chains for which one of the `first` most probable classes is theirs.
fn among(chains: &[&Tested], first: usize) -> f64 {
    let hit = |chain: &&&Tested| {
        let order = ranking(chain.probabilities);
        order.into_iter().take(first).any(|class| has(chain, class))
    };
    share(chains.iter().filter(hit).count(), chains.len())
}

fn share(part: usize, all: usize) -> f64 {
    part as f64 / all.max(1) as f64
}

/// Means over the classes that some of the chains have, and some have not.
fn areas(chains: &[&Tested], of: fn(&[f64], &[bool]) -> Option<f64>) -> Option<f64> {
    let classes = chains.first().map_or(0, |c| c.probabilities.len());
    let area = |class: usize| {
        let scores: Vec<f64> = chains.iter().map(|c| c.probabilities[class]).collect();
        let positive: Vec<bool> = chains.iter().map(|c| has(c, class)).collect();
        of(&scores, &positive)
    };
    let all: Vec<f64> = (0..classes).filter_map(area).collect();
    (!all.is_empty()).then(|| mean(&all))
}

impl ClassScores {
    fn of(chains: &[&Tested], frequencies: &[f64]) -> Self {
        let frequent = ranking(frequencies).first().copied().unwrap_or(0);
        Self {
            chains: chains.len(),
            accuracy: among(chains, 1),
            top5: among(chains, 5),
            majority: share(
                chains.iter().filter(|c| has(c, frequent)).count(),
                chains.len(),
            ),
            auroc: areas(chains, auroc),
            auprc: areas(chains, auprc),
        }
    }
}

impl LabelScores {
    fn of(chains: &[&Tested], frequencies: &[f64]) -> Self {
        let own = |chain: &Tested| chain.probabilities.to_vec();
        let best = fmax(chains, own);
        let pairs = chains.iter().flat_map(|c| c.probabilities.iter().copied());
        let positive = |c: &&Tested| -> Vec<bool> {
            (0..c.probabilities.len())
                .map(|label| has(c, label))
                .collect()
        };
        let positive: Vec<bool> = chains.iter().flat_map(positive).collect();
        Self {
            chains: chains.len(),
            fmax: best.f1,
            threshold: best.threshold,
            fmax_frequencies: fmax(chains, |_| frequencies.to_vec()).f1,
            auprc: auprc(&pairs.collect::<Vec<_>>(), &positive),
            auroc: areas(chains, auroc),
            top1: among(chains, 1),
        }
    }
}

/// The F1 of labels from a probability on.
#[derive(Default)]
struct F1 {
    f1: f64,
    threshold: f64,
}

/// The largest F1 over the thresholds 0.001, 0.002, .. 1. Precision is the mean over the chains of
/// which anything is said, recall over all that have a label.
fn fmax(chains: &[&Tested], probabilities: impl Fn(&Tested) -> Vec<f64>) -> F1 {
    const STEPS: usize = 1000;
    let labelled: Vec<&&Tested> = chains.iter().filter(|c| !c.labels.is_empty()).collect();
    // For each threshold: sum of precisions and number of chains that have one, sum of recalls.
    let mut sums = vec![(0.0, 0usize, 0.0); STEPS];
    for chain in &labelled {
        let own = probabilities(chain);
        let order = ranking(&own);
        let (mut said, mut right) = (0, 0);
        for step in (0..STEPS).rev() {
            let threshold = (step + 1) as f64 / STEPS as f64;
            while said < order.len() && own[order[said]] >= threshold {
                right += usize::from(has(chain, order[said]));
                said += 1;
            }
            if said > 0 {
                sums[step].0 += share(right, said);
                sums[step].1 += 1;
            }
            sums[step].2 += share(right, chain.labels.len());
        }
    }
    let f1 = |(step, &(precision, count, recall)): (usize, &(f64, usize, f64))| {
        let (p, r) = (
            precision / count.max(1) as f64,
            recall / labelled.len().max(1) as f64,
        );
        let f1 = if p + r > 0.0 {
            2.0 * p * r / (p + r)
        } else {
            0.0
        };
        let threshold = (step + 1) as f64 / STEPS as f64;
        F1 { f1, threshold }
    };
    let better = |best: F1, next: F1| if next.f1 > best.f1 { next } else { best };
    sums.iter().enumerate().map(f1).fold(F1::default(), better)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tested<'a>(part: &'a str, labels: &'a [u32], probabilities: &'a [f64]) -> Tested<'a> {
        Tested {
            part,
            labels,
            probabilities,
        }
    }

    #[test]
    fn classes_by_hand() {
        let chains = [
            tested("test_fold", &[0], &[0.6, 0.3, 0.1]),
            tested("test_fold", &[2], &[0.5, 0.3, 0.2]),
            tested("test_family", &[1], &[0.2, 0.7, 0.1]),
        ];
        let scores = Scores::new(Goal::Class, &chains, &[0.2, 0.1, 0.7]);
        assert_eq!(scores.0.len(), 3);
        let PartScores::Class(all) = &scores.0["all"] else {
            panic!("classes");
        };
        assert_eq!(
            (all.accuracy, all.top5, all.majority),
            (2.0 / 3.0, 1.0, 1.0 / 3.0)
        );
        // Of class 0 the positive stands first, of 1 and 2 too.
        assert_eq!(all.auroc, Some(1.0));
        let PartScores::Class(fold) = &scores.0["test_fold"] else {
            panic!("classes");
        };
        assert_eq!((fold.chains, fold.accuracy), (2, 0.5));
        assert!(scores.table().contains("test_family: accuracy 1.0000"));
    }

    #[test]
    fn labels_by_hand() {
        // At 0.5: precisions 1 and 1/2, recalls 1/2 and 1. At 0.3: 2/3 and 1/2, 1 and 1.
        let chains = [
            tested("test", &[0, 1], &[0.9, 0.4, 0.35]),
            tested("test", &[2], &[0.8, 0.1, 0.6]),
        ];
        let refs: Vec<&Tested> = chains.iter().collect();
        let scores = LabelScores::of(&refs, &[1.0, 0.0, 0.0]);
        // At 0.4: precisions 1 and 1/2, recalls 1 and 1: 2 * 0.75 / 1.75.
        assert!((scores.fmax - 1.5 / 1.75).abs() < 1e-12, "{}", scores.fmax);
        assert!(scores.threshold > 0.35 && scores.threshold <= 0.4);
        // Label 0 for everybody: precision 1/2, recall 1/4.
        assert!((scores.fmax_frequencies - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(scores.top1, 0.5);
    }
}
