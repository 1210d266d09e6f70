//! Fits of the tuned regressors, and what they predict for the test parts.
//!
//! As a rule they are to the whole training part; where chance plays a part (trees), [`SEEDS`] of them
//! differ by their seeds. Resamples (`--bags`, as the published scripts draw) see 63 % of the complexes each,
//! which costs more than their mean gains where there are few.

use super::{BAG, Best, Pair, Problem, Settings, learner, pick, seed, shared};
use crate::comm::World;
use crate::{Error, Result};
use ciborium::Value;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Fits to the whole training part of a regressor in which chance plays a part.
pub const SEEDS: usize = 5;

/// Predictions of the test parts and, of the chosen form of the learned embedding, the fitted
/// regressors.
pub(super) struct Fits {
    /// `[pair][fit]`, by place in [`Fits::tested`].
    pub predicted: Vec<Vec<Vec<f64>>>,
    /// `[pair]`: fits of all folds, encoded; empty for baselines and for means of other pairs.
    pub encoded: Vec<Vec<Vec<u8>>>,
    /// Rows of the pocket file that are tested, and the fold of each.
    pub tested: Vec<(usize, usize)>,
}

impl Fits {
    /// The mean prediction of all fits.
    pub fn bagged(&self, pair: usize, place: usize) -> f64 {
        let fits = &self.predicted[pair];
        fits.iter().map(|b| b[place]).sum::<f64>() / fits.len() as f64
    }

    /// Most fits of a pair.
    pub fn most(&self) -> usize {
        self.predicted.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// A fit of a pair; one of which there are fewer stands for several.
    pub fn single(&self, pair: usize, fit: usize) -> &[f64] {
        let fits = &self.predicted[pair];
        &fits[fit % fits.len()]
    }

    /// Fit by fit, the means of some pairs.
    pub fn mean(&self, pairs: &[usize]) -> Vec<Vec<f64>> {
        let most = pairs.iter().map(|&p| self.predicted[p].len()).max();
        let of_fit = |fit: usize| {
            let all: Vec<Vec<f64>> = pairs
                .iter()
                .map(|&p| self.single(p, fit).to_vec())
                .collect();
            learner::mean_of(&all)
        };
        (0..most.unwrap_or(0)).map(of_fit).collect()
    }
}

/// Fits every pair, and takes the means of committees. The numbers are complete on rank 0 only.
///
/// # Errors
/// A failure of a learner.
pub(super) fn fit(
    world: &World,
    problem: &Problem,
    pairs: &[Pair],
    best: &[Vec<Best>],
    chosen: usize,
    settings: &Settings,
) -> Result<Fits> {
    let mut tasks = Vec::new();
    for (p, pair) in pairs
        .iter()
        .enumerate()
        .filter(|(_, pair)| pair.learner.is_fitted())
    {
        let number = match settings.bags {
            0 if pair.learner.draws() => SEEDS,
            0 => 1,
            bags => bags,
        };
        for fold in 0..problem.folds.len() {
            tasks.extend((0..number).map(|bag| (p, fold, bag)));
        }
    }
    let one = |i: usize| {
        let (p, fold, bag) = tasks[i];
        let (pair, division) = (pairs[p], &problem.folds[fold]);
        // The same resample for all pairs, another for each bag and fold.
        let seed = seed(&[settings.seed, BAG, fold as u64, bag as u64]);
        let rows = match settings.bags {
            0 => division.train.clone(),
            _ => drawn(&division.train, seed),
        };
        let fitted = problem.fitted(pair, best[p][fold].hyper, &rows, seed)?;
        let rows = pick(&problem.features[pair.features], &division.test);
        let predicted = fitted.predict(&rows, division.test.len())?;
        let mut saved = Vec::new();
        if pair.features == pairs[chosen].features {
            ciborium::into_writer(&fitted, &mut saved).map_err(Error::internal)?;
        }
        Ok((predicted, Value::Bytes(saved)))
    };
    let all = shared(world, tasks.len(), one)?;
    let mut fits = Fits {
        predicted: vec![Vec::new(); pairs.len()],
        encoded: vec![Vec::new(); pairs.len()],
        tested: Vec::new(),
    };
    for (&(p, _, bag), (predicted, saved)) in tasks.iter().zip(all) {
        if fits.predicted[p].len() <= bag {
            fits.predicted[p].push(Vec::new());
        }
        fits.predicted[p][bag].extend(predicted);
        if let Value::Bytes(saved) = saved
            && !saved.is_empty()
        {
            fits.encoded[p].push(saved);
        }
    }
    for (number, fold) in problem.folds.iter().enumerate() {
        let rows = fold.test.iter().map(|&row| (row, number));
        fits.tested.extend(rows);
    }
    if world.is_root() {
        for p in (0..pairs.len()).filter(|&p| !pairs[p].learner.is_fitted()) {
            fits.predicted[p] = fits.mean(&problem.members(pairs, p));
        }
    }
    Ok(fits)
}

/// As many rows as there are, drawn with replacement.
fn drawn(rows: &[usize], seed: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let row = |_| rows[rng.random_range(0..rows.len())];
    (0..rows.len()).map(row).collect()
}
