//! Means of what several regressors predict: of all on the same features, whose errors differ; and of the
//! learned embedding and a baseline, each with the regressor that suits it, since trees take counts
//! better than a linear model does, and embeddings worse.

use super::{
    Best, Fits, Hyper, Learner, Pair, Problem, SEARCH, Settings, learner, pick, scores, seed,
    shared,
};
use crate::Result;
use crate::comm::World;
use crate::downstream::pockets::features::TOGETHER;

/// Adds a pair for each kind of features on which there are several regressors: the mean of their
/// predictions. Collective.
///
/// # Errors
/// A failure of a learner.
pub(super) fn committees(
    world: &World,
    problem: &Problem,
    pairs: &mut Vec<Pair>,
    best: &mut Vec<Vec<Best>>,
    settings: &Settings,
) -> Result<()> {
    for features in 0..problem.features.len() {
        let of = (0..pairs.len()).filter(|&p| pairs[p].features == features);
        let members: Vec<usize> = of.collect();
        if members.len() > 1 {
            let rmsd = validated(world, problem, pairs, best, &members, settings)?;
            let learner = Learner::Committee;
            pairs.push(Pair { features, learner });
            best.push(of_folds(Hyper::Committee, rmsd));
        }
    }
    Ok(())
}

/// Adds a pair for each of [`TOGETHER`]: the mean of the predictions of the chosen form of the embedding
/// and of the baseline, each with its best regressor by validation. Collective.
///
/// # Errors
/// A failure of a learner.
pub(super) fn together(
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
        let rmsd = validated(world, problem, pairs, best, &parts, settings)?;
        fits.predicted.push(fits.mean(&parts));
        fits.encoded.push(Vec::new());
        let learner = Learner::Average;
        pairs.push(Pair { features, learner });
        best.push(of_folds(Hyper::Average, rmsd));
    }
    Ok(())
}

fn of_folds(hyper: Hyper, rmsd: Vec<f64>) -> Vec<Best> {
    rmsd.into_iter().map(|rmsd| Best { hyper, rmsd }).collect()
}

/// Root-mean-square deviation of the mean of some pairs' predictions in validation, by fold.
fn validated(
    world: &World,
    problem: &Problem,
    pairs: &[Pair],
    best: &[Vec<Best>],
    parts: &[usize],
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
        let predict = |&p: &usize| {
            let fitted = problem.fitted(pairs[p], best[p][fold].hyper, train, seed)?;
            let rows = pick(&problem.features[pairs[p].features], validation);
            fitted.predict(&rows, validation.len())
        };
        // A committee weighs as one.
        let part = |&part: &usize| -> Result<Vec<f64>> {
            let members = problem.members(pairs, part);
            let all: Result<Vec<Vec<f64>>> = members.iter().map(predict).collect();
            Ok(learner::mean_of(&all?))
        };
        let all: Result<Vec<Vec<f64>>> = parts.iter().map(part).collect();
        let measured = problem.pick_labels(validation);
        let rmsd = scores::rmsd(&learner::mean_of(&all?), &measured);
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
