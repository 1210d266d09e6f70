//! Fitted regressors as files, and their use.

use super::{Best, Fits, Fitted, Learner, Pair, Problem, Results};
use crate::downstream::pockets::Pockets;
use crate::store::{self, Kind, Storage};
use crate::{Error, Result, stats};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// The first line of a table of predictions.
pub const HEADER: &str = "id,predicted,standard_deviation,measured";

pub(super) fn file(folder: &Path, learner: Learner) -> PathBuf {
    folder.join("models").join(format!("{}.h5", learner.name()))
}

/// Writes the regressors of the chosen form of the learned embedding: one file each, with the fits of all folds and
/// resamples in CBOR.
pub(super) fn write(
    folder: &Path,
    pockets: &Pockets,
    problem: &Problem,
    pairs: &[Pair],
    best: &[Vec<Best>],
    fits: &Fits,
) -> Result<()> {
    for (p, pair) in pairs.iter().enumerate() {
        if fits.encoded[p].is_empty() {
            continue;
        }
        let features = &problem.features[pair.features].name;
        store::write(&file(folder, pair.learner), Kind::Regressor, |root| {
            root.set_attr_text("code_version", env!("CARGO_PKG_VERSION"))?;
            root.set_attr_text("features", features)?;
            root.set_attr_text("model", pair.learner.name())?;
            let hyper: Vec<String> = best[p].iter().map(|b| b.hyper.to_string()).collect();
            root.set_attr_text("grid_point", &hyper.join(" | "))?;
            root.set_attr_text("checkpoint_hash", &pockets.checkpoint_hash)?;
            root.set_attr_text("pocket", &pockets.definition)?;
            let fits = &fits.encoded[p];
            let mut ends = vec![0u64];
            fits.iter()
                .for_each(|f| ends.push(ends[ends.len() - 1] + f.len() as u64));
            root.write("offsets", &[ends.len()], &ends, Storage::Plain)?;
            let bytes = fits.concat();
            root.write("fits", &[bytes.len()], &bytes, Storage::Compressed)
        })?;
    }
    Ok(())
}

/// What saved regressors make of other pockets.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    pub learner: Learner,
    /// Of every complex: the mean over the fits.
    pub mean: Vec<f64>,
    /// Their standard deviation; `None` of a single fit.
    pub deviation: Vec<Option<f64>>,
}

impl Predictions {
    /// As CSV: id, prediction, its spread, and the affinity where the pocket file has it.
    ///
    /// # Errors
    /// None but failures of the CSV library.
    pub fn csv(&self, pockets: &Pockets) -> Result<Vec<u8>> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(HEADER.split(','))
            .map_err(Error::internal)?;
        let text = |value: Option<f64>| value.map_or(String::new(), |v| v.to_string());
        for (i, id) in pockets.ids.iter().enumerate() {
            let measured = pockets.affinity.get(i).filter(|a| a.is_finite());
            let record = [
                id.clone(),
                self.mean[i].to_string(),
                text(self.deviation[i]),
                text(measured.copied()),
            ];
            csv.write_record(record).map_err(Error::internal)?;
        }
        csv.into_inner().map_err(Error::internal)
    }
}

/// Predicts with the regressors in `folder`: `learner`'s, or those that did best in validation.
///
/// # Errors
/// A folder without them; pockets of another model, cutoff or pooling.
pub fn predict(folder: &Path, pockets: &Pockets, learner: Option<Learner>) -> Result<Predictions> {
    let (learner, members) = match learner {
        Some(learner) => (learner, vec![learner]),
        None => {
            let results = Results::read(folder)?;
            (results.chosen, results.members())
        }
    };
    let fits = members.iter().map(|&m| of_fits(folder, pockets, m));
    let fits = fits.collect::<Result<Vec<Vec<Vec<f64>>>>>()?;
    let of = |i: usize| {
        // Regressors weigh alike, however many fits each has.
        let of_member = |fits: &Vec<Vec<f64>>| fits.iter().map(|f| f[i]).collect::<Vec<f64>>();
        let predicted: Vec<Vec<f64>> = fits.iter().map(of_member).collect();
        let means: Vec<f64> = predicted.iter().map(|p| stats::mean(p)).collect();
        let all = predicted.concat();
        let deviation = (all.len() > 1).then(|| stats::sample_deviation(&all));
        (stats::mean(&means), deviation)
    };
    let (mean, deviation) = (0..pockets.ids.len()).map(of).unzip();
    Ok(Predictions {
        learner,
        mean,
        deviation,
    })
}

/// What every saved fit of a regressor predicts, `[fit][complex]`.
fn of_fits(folder: &Path, pockets: &Pockets, learner: Learner) -> Result<Vec<Vec<f64>>> {
    let path = file(folder, learner);
    let root = store::open(&path, Kind::Regressor)?;
    let made = [
        (
            "checkpoint",
            root.attr_text("checkpoint_hash")?,
            &pockets.checkpoint_hash,
        ),
        ("pockets", root.attr_text("pocket")?, &pockets.definition),
    ];
    for (what, fitted_to, given) in made {
        if fitted_to != *given {
            let what = format!(
                "made with {what} {given}, but the regressor was fitted to {what} {fitted_to}"
            );
            return Err(Error::file(&pockets.path, what));
        }
    }
    let bytes: Vec<u8> = root.read("fits")?;
    let ends: Vec<u64> = root.read("offsets")?;
    let fits: Result<Vec<Fitted>> = ends
        .windows(2)
        .map(|w| {
            let part = bytes.get(w[0] as usize..w[1] as usize).unwrap_or_default();
            ciborium::from_reader(part).map_err(|e| Error::file(&path, e))
        })
        .collect();
    let name = root.attr_text("features")?;
    let features = pockets.features.iter().find(|f| f.name == name);
    let features = features.ok_or_else(|| {
        let what = format!("no features {name:?}: make it again with `holosig pockets`");
        Error::file(&pockets.path, what)
    })?;
    let n = pockets.ids.len();
    fits?
        .par_iter()
        .map(|fit| match fit.width() == features.width {
            true => fit.predict(&features.rows, n),
            false => Err(Error::file(
                &path,
                format!(
                    "needs {} features, where {} has {}",
                    fit.width(),
                    pockets.path.display(),
                    features.width
                ),
            )),
        })
        .collect()
}
