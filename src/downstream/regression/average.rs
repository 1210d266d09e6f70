//! The learned embedding and a baseline, each with the regressor that suits it, averaged: trees take
//! counts better than a linear model does, and embeddings worse, so that neither serves their columns
//! side by side.

use super::{
    Best, Fits, Hyper, Learner, Pair, Problem, SEARCH, Settings, pick, scores, seed, shared,
};
use crate::Result;
use crate::comm::World;
use crate::downstream::pockets::features::TOGETHER;

/// Adds a pair for each of [`TOGETHER`]: the mean of the predictions of the chosen form of the embedding
/// and of the baseline, each with its best regressor by validation. Collective.
///
/// # Errors
/// A failure of a learner.
pub(super) fn add(
    world: &World,
    problem: &Problem,
    pairs: &mut Vec<Pair>,
    best: &mut Vec<Vec<Best>>,
    fits: &mut Fits,
    settings: &Settings,
) -> Result<()> {
    let learned = problem.chosen(pairs, best)?;
    for (name, baseline) in TOGETHER {
        let features = problem.features.iter().position(|f| f.name == name);
        let baseline = problem.best_of(baseline, pairs, best);
        let Some((features, baseline)) = features.zip(baseline) else {
            continue;
        };
        let parts = [learned, baseline];
        let rmsd = validated(world, problem, pairs, best, parts, settings)?;
        let bags = 0..settings.bags;
        let predicted = bags.map(|bag| mean(parts.map(|p| &fits.predicted[p][bag])));
        let predicted = predicted.collect();
        fits.predicted.push(predicted);
        fits.encoded.push(Vec::new());
        pairs.push(Pair {
            features,
            learner: Learner::Average,
        });
        let of_fold = |rmsd| Best {
            hyper: Hyper::Average,
            rmsd,
        };
        best.push(rmsd.into_iter().map(of_fold).collect());
    }
    Ok(())
}

fn mean([a, b]: [&Vec<f64>; 2]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| (a + b) / 2.0).collect()
}

/// Root-mean-square deviation of the mean of two pairs' predictions in validation, by fold.
fn validated(
    world: &World,
    problem: &Problem,
    pairs: &[Pair],
    best: &[Vec<Best>],
    parts: [usize; 2],
    settings: &Settings,
) -> Result<Vec<f64>> {
    let folds = problem.folds.iter().enumerate();
    let tunings = |(fold, division): (usize, &super::Fold)| {
        (0..division.tuning.len()).map(move |tuning| (fold, tuning))
    };
    let tasks: Vec<(usize, usize)> = folds.flat_map(tunings).collect();
    let squares = shared(world, tasks.len(), |i| {
        let (fold, tuning) = tasks[i];
        let (train, validation) = &problem.folds[fold].tuning[tuning];
        let seed = seed(&[settings.seed, SEARCH]);
        let predict = |p: usize| {
            let fitted = problem.fitted(pairs[p], best[p][fold].hyper, train, seed)?;
            let rows = pick(&problem.features[pairs[p].features], validation);
            fitted.predict(&rows, validation.len())
        };
        let both = [predict(parts[0])?, predict(parts[1])?];
        let measured = problem.pick_labels(validation);
        let rmsd = scores::rmsd(&mean([&both[0], &both[1]]), &measured);
        Ok(validation.len() as f64 * rmsd.powi(2))
    })?;
    let squares = world.broadcast_value(|| Ok(squares))?;
    let mut sums = vec![0.0; problem.folds.len()];
    for ((fold, _), squares) in tasks.iter().zip(squares) {
        sums[*fold] += squares;
    }
    let sums = sums.into_iter().zip(&problem.folds);
    Ok(sums
        .map(|(sum, fold)| (sum / fold.sizes()[1] as f64).sqrt())
        .collect())
}
