//! From pockets to affinities (paper, section A.6.2), and what the embedding is worth.
//!
//! Every regressor is tuned on the validation part (or, by folds, within those that are not tested) and
//! fitted to the training part, or to bootstrap resamples of it ([`Settings::bags`]). The same is done with every
//! baseline instead of the learned embedding: an untrained encoder, the zernikegrams' invariants, the
//! sizes of pocket and ligand, the ligand's elements, counts of contacts, and no features at all. The
//! test part is looked at once, at the end.
//!
//! Complexes of like proteins are groups ([`Groups`]): they share a fold, and intervals are over
//! groups.
//!
//! Fits are dealt out to the ranks and, within a rank, to its cores. What a fit gives hangs on
//! the seed and its own number alone, so results are the same for any number of either.

mod average;
mod boosting;
mod fits;
mod folds;
mod grid;
mod kernel;
mod labels;
mod learner;
mod results;
mod saved;
pub mod scores;
mod spectrum;

pub use folds::{Division, Groups};
pub use grid::{Hyper, Learner};
pub use learner::{Fitted, Samples};
pub use results::{Results, Row, Table, outputs};
pub use saved::{HEADER, predict};

use crate::comm::{World, pulse};
use crate::data::sampler::Permutation;
use crate::downstream::pockets::features::LEARNED;
use crate::downstream::pockets::{Features, Pockets};
use crate::{Error, Result};
use fits::Fits;
use folds::Fold;
use rayon::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Name of the features of the mean predictor.
pub const MEAN: &str = "mean";

/// What to regress, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    pub labels: Option<PathBuf>,
    pub division: Division,
    /// The column of groups ([`Groups::new`]).
    pub group: Option<String>,
    pub learners: Vec<Learner>,
    /// Only complexes whose columns have these values.
    pub only: Vec<(String, String)>,
    /// Columns by whose values the table is repeated.
    pub by: Vec<String>,
    /// Bootstrap resamples of the training part; 0: fits to all of it.
    pub bags: usize,
    pub seed: u64,
}

/// A seed from numbers that say what it is for.
pub(crate) fn seed(parts: &[u64]) -> u64 {
    let bytes: Vec<u8> = parts.iter().flat_map(|p| p.to_le_bytes()).collect();
    xxhash_rust::xxh3::xxh3_64(&bytes)
}

/// Parts of each rank's share of the fits after which rank 0 receives results.
const ROUNDS: usize = 4;

/// Complexes without a label that are named one by one.
const NAMED: usize = 20;

/// Purposes of random numbers.
const SEARCH: u64 = 1;
const BAG: u64 = 2;
const INTERVALS: u64 = 3;

/// Complexes with labels, divided, with every kind of features.
struct Problem {
    /// By row of the pocket file; meaningless where there is no label.
    labels: Vec<f64>,
    /// Those that vary, and none for the mean predictor.
    features: Vec<Features>,
    folds: Vec<Fold>,
    groups: Groups,
}

/// One regressor on one kind of features.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pair {
    features: usize,
    learner: Learner,
}

/// The best point of a pair's grid in one fold.
#[derive(Debug, Clone, Copy)]
struct Best {
    hyper: Hyper,
    /// Root-mean-square deviation of the validation part.
    rmsd: f64,
}

/// Fits, judges and writes everything into the folder `out`; collective. Returns the results on
/// every rank and the number of complexes without a label.
///
/// # Errors
/// Labels or division that cannot be used, an unwritable folder, a learned embedding that is the
/// same for all complexes.
pub fn run(
    world: &World,
    pockets: &Pockets,
    settings: &Settings,
    out: &Path,
) -> Result<(Option<Results>, usize)> {
    let (problem, unlabelled) = world.agree(Problem::new(pockets, settings, world.is_root()))?;
    world.on_root(|| results::make_folder(out))?;
    let mut pairs = problem.pairs(&settings.learners);
    let mut best = search(world, &problem, &pairs, settings)?;
    if world.is_root() {
        log::info!("{} grids searched, fitting", pairs.len());
    }
    average::committees(world, &problem, &mut pairs, &mut best, settings)?;
    let chosen = problem.chosen(&pairs, &best)?;
    let mut fits = fits::fit(world, &problem, &pairs, &best, chosen, settings)?;
    average::together(world, &problem, &mut pairs, &mut best, &mut fits, settings)?;
    let results = world.on_root(|| {
        let results = Results::new(
            pockets, settings, &problem, &pairs, &best, &fits, unlabelled,
        )?;
        results.write(out, pockets, &problem, settings, &fits)?;
        saved::write(out, pockets, &problem, &pairs, &best, &fits)?;
        Ok(results)
    })?;
    Ok((results, unlabelled))
}

impl Problem {
    /// The problem, and how many complexes have no label; `tell` says what is left out.
    fn new(pockets: &Pockets, settings: &Settings, tell: bool) -> Result<(Self, usize)> {
        let labels = labels::labels(pockets, settings.labels.as_deref(), tell)?;
        let mut rows: Vec<usize> = (0..pockets.ids.len()).collect();
        for (name, _) in &settings.only {
            let column = pockets.column(name)?;
            // Values of one column are alternatives.
            let wanted = settings.only.iter().filter(|(n, _)| n == name);
            let values: Vec<&str> = wanted.map(|(_, value)| value.as_str()).collect();
            rows.retain(|&row| values.contains(&column[row].as_str()));
            if rows.is_empty() {
                let what = format!("no complex whose {name} is {}", values.join(" or "));
                return Err(Error::file(&pockets.path, what));
            }
        }
        for name in &settings.by {
            pockets.column(name)?;
        }
        let (labelled, bare): (Vec<usize>, Vec<usize>) =
            rows.into_iter().partition(|&row| labels[row].is_some());
        let rows = labelled;
        for &row in bare.iter().take(NAMED).filter(|_| tell) {
            log::warn!("complex {}: no label; left out", pockets.ids[row]);
        }
        if tell && bare.len() > NAMED {
            log::warn!("and {} more without a label", bare.len() - NAMED);
        }
        if rows.is_empty() {
            return Err(Error::file(&pockets.path, "no complex has a label"));
        }
        let division = &settings.division;
        let groups = Groups::new(pockets, settings.group.as_deref())?;
        let folds = folds::divide(division, pockets, &rows, &groups, settings.seed)?;
        if tell {
            warn_of_few_groups(&groups, &folds);
        }
        let mut problem = Self {
            labels: labels.into_iter().map(|l| l.unwrap_or(f64::NAN)).collect(),
            features: pockets.features.clone(),
            folds,
            groups,
        };
        problem.drop_constant(tell)?;
        problem.features.push(Features {
            name: MEAN.into(),
            rows: Vec::new(),
            width: 0,
        });
        Ok((problem, bare.len()))
    }

    /// Leaves out features that are the same for all training complexes.
    fn drop_constant(&mut self, tell: bool) -> Result<()> {
        let train = self.folds[0].train.clone();
        let labels = self.pick_labels(&train);
        let mut keep = Vec::new();
        for features in &self.features {
            let rows = pick(features, &train);
            let samples = Samples {
                rows: &rows,
                width: features.width,
                labels: &labels,
            };
            let (constant, name) = (learner::constant_columns(samples), &features.name);
            keep.push(constant < features.width);
            if constant == features.width {
                let what = format!("{name}: the same for all training complexes");
                if name == LEARNED[0] {
                    return Err(Error::input(format!(
                        "{what}, nothing can be learned from it"
                    )));
                }
                if tell {
                    log::warn!("{what}; left out of the table");
                }
            } else if constant > 0 && tell {
                log::warn!(
                    "{name}: {constant} of {} columns are constant in training and left out",
                    features.width
                );
            }
        }
        let mut kept = keep.into_iter();
        self.features.retain(|_| kept.next().unwrap_or(true));
        Ok(())
    }

    /// The pair of a form of the learned embedding that did best in validation.
    fn chosen(&self, pairs: &[Pair], best: &[Vec<Best>]) -> Result<usize> {
        let learned =
            |&p: &usize| LEARNED.contains(&self.features[pairs[p].features].name.as_str());
        let of = (0..pairs.len()).filter(learned);
        of.min_by(|&a, &b| validation(&best[a]).total_cmp(&validation(&best[b])))
            .ok_or_else(|| Error::internal("no learned embedding"))
    }

    /// The pair of these features that did best in validation.
    fn best_of(&self, name: &str, pairs: &[Pair], best: &[Vec<Best>]) -> Option<usize> {
        let of = (0..pairs.len()).filter(|&p| self.features[pairs[p].features].name == name);
        of.min_by(|&a, &b| validation(&best[a]).total_cmp(&validation(&best[b])))
    }

    /// A pair, fitted to some rows.
    fn fitted(&self, pair: Pair, hyper: Hyper, rows: &[usize], seed: u64) -> Result<Fitted> {
        let features = &self.features[pair.features];
        let (rows, labels) = (pick(features, rows), self.pick_labels(rows));
        let samples = Samples {
            rows: &rows,
            width: features.width,
            labels: &labels,
        };
        Fitted::new(hyper, samples, seed)
    }

    /// Those whose mean a pair is: the regressors on the same features, of a committee; else itself.
    fn members(&self, pairs: &[Pair], p: usize) -> Vec<usize> {
        let of_committee =
            |&m: &usize| pairs[m].features == pairs[p].features && pairs[m].learner.is_fitted();
        match pairs[p].learner {
            Learner::Committee => (0..pairs.len()).filter(of_committee).collect(),
            _ => vec![p],
        }
    }

    fn pick_labels(&self, rows: &[usize]) -> Vec<f64> {
        rows.iter().map(|&row| self.labels[row]).collect()
    }

    /// Every regressor with every kind of features, and the mean with none.
    fn pairs(&self, learners: &[Learner]) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for (features, f) in self.features.iter().enumerate() {
            match f.name.as_str() {
                MEAN => pairs.push(Pair {
                    features,
                    learner: Learner::Mean,
                }),
                _ => pairs.extend(learners.iter().map(|&learner| Pair { features, learner })),
            }
        }
        pairs
    }
}

/// Mean RMSD of the validation parts.
fn validation(folds: &[Best]) -> f64 {
    folds.iter().map(|b| b.rmsd).sum::<f64>() / folds.len() as f64
}

/// Groups below which intervals over them are uncertain themselves.
pub const FEW_GROUPS: usize = 20;

fn warn_of_few_groups(groups: &Groups, folds: &[Fold]) {
    let tested = folds.iter().flat_map(|f| &f.test).copied();
    let numbers = groups.numbers(tested);
    let count = numbers.iter().max().map_or(0, |last| last + 1);
    if count < FEW_GROUPS {
        log::warn!(
            "{} tested complexes are of {count} groups ({}): too few to tell regressors apart",
            numbers.len(),
            groups.origin
        );
    }
}

/// Rows of a matrix of features.
fn pick(features: &Features, rows: &[usize]) -> Vec<f64> {
    let row = |&row: &usize| &features.rows[row * features.width..(row + 1) * features.width];
    rows.iter().flat_map(row).copied().collect()
}

/// The best point of every pair's grid, by fold: `[pair][fold]`.
fn search(
    world: &World,
    problem: &Problem,
    pairs: &[Pair],
    settings: &Settings,
) -> Result<Vec<Vec<Best>>> {
    let mut tasks = Vec::new();
    for (p, pair) in pairs.iter().enumerate() {
        for (fold, division) in problem.folds.iter().enumerate() {
            for tuning in 0..division.tuning.len() {
                let groups = pair.learner.grid().into_iter();
                tasks.extend(groups.map(|group| (p, fold, tuning, group)));
            }
        }
    }
    // Sums of squares, of every point of the grid.
    let tried = shared(world, tasks.len(), |i| {
        let (p, fold, tuning, group) = &tasks[i];
        let features = &problem.features[pairs[*p].features];
        let (train, validation) = &problem.folds[*fold].tuning[*tuning];
        let (rows, labels) = (pick(features, train), problem.pick_labels(train));
        let samples = Samples {
            rows: &rows,
            width: features.width,
            labels: &labels,
        };
        let (held, n) = (pick(features, validation), validation.len());
        let seed = seed(&[settings.seed, SEARCH]);
        let predicted = learner::predict_group(group, samples, &held, n, seed)?;
        let measured = problem.pick_labels(validation);
        let squares = |p: &Vec<f64>| n as f64 * scores::rmsd(p, &measured).powi(2);
        Ok(predicted.iter().map(squares).collect::<Vec<f64>>())
    })?;
    let tried = world.broadcast_value(|| Ok(tried))?;
    let mut sums: BTreeMap<(usize, usize), Vec<(Hyper, f64)>> = BTreeMap::new();
    for ((p, fold, tuning, group), tried) in tasks.iter().zip(tried) {
        let sums = sums.entry((*p, *fold)).or_default();
        for (&hyper, squares) in group.iter().zip(tried) {
            match sums.iter_mut().find(|s| *tuning > 0 && s.0 == hyper) {
                Some((_, sum)) => *sum += squares,
                None => sums.push((hyper, squares)),
            }
        }
    }
    let mut best: Vec<Vec<Best>> = vec![Vec::new(); pairs.len()];
    for ((p, fold), sums) in sums {
        let least = sums
            .into_iter()
            .reduce(|a, b| if b.1 < a.1 { b } else { a });
        let (hyper, sum) = least.ok_or_else(|| Error::internal("a grid without points"))?;
        let rmsd = (sum / problem.folds[fold].sizes()[1] as f64).sqrt();
        best[p].push(Best { hyper, rmsd });
    }
    Ok(best)
}

/// Results of `count` tasks in their order, on rank 0; nothing on the others. A rank's cores do
/// one task each.
///
/// Tasks are dealt out in an order drawn by chance: neighbours are of one regressor, and without
/// the drawing one rank would get all those that take long.
fn shared<T: Serialize + DeserializeOwned + Send>(
    world: &World,
    count: usize,
    task: impl Fn(usize) -> Result<T> + Sync + Send,
) -> Result<Vec<T>> {
    let order = Permutation::new(count as u64, 0);
    let drawn = |place: usize| order.at(place as u64) as usize;
    let mut results: Vec<(usize, T)> = Vec::new();
    world.ordered(
        count,
        count.div_ceil(world.size() * ROUNDS).max(1),
        |block| {
            let done = block.into_par_iter().map(|place| {
                pulse::tick();
                task(drawn(place))
            });
            done.collect::<Result<Vec<T>>>()
        },
        |block, done| {
            results.extend(block.map(drawn).zip(done));
            Ok(())
        },
    )?;
    results.sort_unstable_by_key(|(number, _)| *number);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
