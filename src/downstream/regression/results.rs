//! The tables of a regression and its predictions, as files.

use super::scores::{Interval, Intervals, Scores, advantage, intervals};
use super::{Best, Fits, INTERVALS, Learner, Pair, Problem, Settings, seed, validation};
use crate::downstream::pockets::Pockets;
use crate::downstream::pockets::features::{TOGETHER, title};
use crate::store::{self, Content, Kind, Output, Storage};
use crate::{Error, Result, files, stats};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Fewest complexes of which a table is made.
const FEWEST: usize = 3;

/// What a regression found: `results.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    pub code_version: String,
    /// The pocket file.
    pub pockets: String,
    pub checkpoint_hash: String,
    pub division: String,
    /// `COLUMN = VALUE` of the complexes that were used, if not all.
    pub only: Vec<String>,
    pub seed: u64,
    /// Bootstrap resamples that are fitted to; 0: to the whole training part.
    pub bags: usize,
    pub folds: usize,
    /// Complexes fitted to, tuned on and tested, in the first fold.
    pub parts: [usize; 3],
    pub unlabelled: usize,
    /// What the groups are that intervals and folds keep together.
    #[serde(default)]
    pub groups: String,
    /// The form of the learned embedding, and its regressor, with the lowest validation RMSD.
    #[serde(default = "plain")]
    pub chosen_features: String,
    pub chosen: Learner,
    /// The regressors that were fitted.
    #[serde(default)]
    pub learners: Vec<Learner>,
    /// The whole test part, then the parts of it asked for.
    pub tables: Vec<Table>,
}

/// Every regressor on some of the tested complexes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// `all`, or `COLUMN = VALUE`.
    pub name: String,
    pub complexes: usize,
    /// Groups of them.
    #[serde(default)]
    pub groups: usize,
    /// Standard deviation of the labels.
    pub deviation: f64,
    pub rows: Vec<Row>,
}

/// One regressor on one kind of features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub features: String,
    pub learner: Learner,
    /// Of each fold.
    pub hyper: Vec<String>,
    /// Mean over the folds.
    pub validation_rmsd: f64,
    /// Whether it is the regressor of these features with the lowest validation RMSD.
    pub best: bool,
    /// Of the mean prediction of all fits.
    pub bagged: Scores,
    /// 95 % confidence, over the groups.
    pub intervals: Intervals,
    /// Mean and standard deviation of the scores of single fits, in the order RMSD,
    /// Pearson, Spearman, Kendall.
    pub single: [Option<(f64, f64)>; 4],
    /// By how much the RMSD of the learned embedding with its best regressor
    /// ([`Results::chosen`]) is lower (95 %); `None` for itself.
    pub learned_better_by: Option<Interval>,
    /// Of the embedding together with a baseline: by how much its RMSD is lower than the baseline's
    /// with its best regressor (95 %).
    #[serde(default)]
    pub adds: Option<Interval>,
}

fn plain() -> String {
    "pocket".into()
}

impl Row {
    /// What the comparison with the learned embedding says.
    pub fn verdict(&self) -> &'static str {
        match self.learned_better_by {
            None => "",
            Some(i) if i.low > 0.0 => "beaten",
            Some(i) if i.high < 0.0 => "better",
            Some(_) => "undecided",
        }
    }

    /// The features' name for people.
    pub fn title(&self) -> &str {
        title(&self.features)
    }
}

impl Results {
    pub(super) fn new(
        pockets: &Pockets,
        settings: &Settings,
        problem: &Problem,
        pairs: &[Pair],
        best: &[Vec<Best>],
        fits: &Fits,
        unlabelled: usize,
    ) -> Result<Self> {
        let chosen = problem.chosen(pairs, best)?;
        let validation = |p: usize| validation(&best[p]);
        let best_of = |name: &str| problem.best_of(name, pairs, best);
        let partner = |p: usize| {
            let name = &problem.features[pairs[p].features].name;
            let (_, baseline) = TOGETHER.iter().find(|(both, _)| both == name)?;
            best_of(baseline)
        };
        let table = |(name, places): (String, Vec<usize>)| {
            let measured: Vec<f64> = places
                .iter()
                .map(|&i| problem.labels[fits.tested[i].0])
                .collect();
            let single = |fit: &Vec<f64>| -> Vec<f64> { places.iter().map(|&i| fit[i]).collect() };
            let mean =
                |p: usize| -> Vec<f64> { places.iter().map(|&i| fits.bagged(p, i)).collect() };
            let drawn = seed(&[settings.seed, INTERVALS]);
            let groups = problem
                .groups
                .numbers(places.iter().map(|&i| fits.tested[i].0));
            let row = |p: usize| {
                let pair = pairs[p];
                let predicted = mean(p);
                let fits = fits.predicted[p].iter();
                let singles: Vec<Scores> =
                    fits.map(|f| Scores::of(&single(f), &measured)).collect();
                let spread = |of: fn(&Scores) -> Option<f64>| {
                    let values: Option<Vec<f64>> = singles.iter().map(of).collect();
                    values.map(|v| (stats::mean(&v), stats::sample_deviation(&v)))
                };
                Row {
                    features: problem.features[pair.features].name.clone(),
                    learner: pair.learner,
                    hyper: best[p].iter().map(|b| b.hyper.to_string()).collect(),
                    validation_rmsd: validation(p),
                    best: best_of(&problem.features[pair.features].name) == Some(p),
                    bagged: Scores::of(&predicted, &measured),
                    intervals: intervals(&predicted, &measured, &groups, drawn),
                    single: [
                        spread(|s| Some(s.rmsd)),
                        spread(|s| s.pearson),
                        spread(|s| s.spearman),
                        spread(|s| s.kendall),
                    ],
                    learned_better_by: match p == chosen {
                        true => None,
                        false => advantage(&mean(chosen), &predicted, &measured, &groups, drawn),
                    },
                    adds: partner(p)
                        .and_then(|b| advantage(&predicted, &mean(b), &measured, &groups, drawn)),
                }
            };
            Table {
                name,
                complexes: places.len(),
                groups: groups.iter().max().map_or(0, |last| last + 1),
                deviation: stats::sample_deviation(&measured),
                rows: (0..pairs.len()).map(row).collect(),
            }
        };
        let first = &problem.folds[0];
        Ok(Self {
            code_version: env!("CARGO_PKG_VERSION").into(),
            pockets: pockets.path.display().to_string(),
            checkpoint_hash: pockets.checkpoint_hash.clone(),
            division: settings.division.to_string(),
            only: settings
                .only
                .iter()
                .map(|(c, v)| format!("{c} = {v}"))
                .collect(),
            seed: settings.seed,
            bags: settings.bags,
            folds: problem.folds.len(),
            parts: first.sizes(),
            unlabelled,
            groups: problem.groups.origin.clone(),
            chosen_features: problem.features[pairs[chosen].features].name.clone(),
            chosen: pairs[chosen].learner,
            learners: settings.learners.clone(),
            tables: parts(pockets, settings, fits)?
                .into_iter()
                .map(table)
                .collect(),
        })
    }

    /// Reads what [`super::run`] wrote.
    ///
    /// # Errors
    /// A folder without results, or with those of another version.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = file(folder);
        let text = files::read_text(&path).map_err(|_| {
            Error::file(
                folder,
                "not the folder of a regression: no readable results.json in it",
            )
        })?;
        serde_json::from_str(&text).map_err(|e| Error::file(&path, e))
    }

    /// The regressors whose mean predicts: of a committee all, else the chosen one.
    pub fn members(&self) -> Vec<Learner> {
        match self.chosen {
            Learner::Committee => self.learners.clone(),
            one => vec![one],
        }
    }

    /// Whether a folder holds results.
    pub fn are_in(folder: &Path) -> bool {
        file(folder).is_file()
    }

    pub(super) fn write(
        &self,
        folder: &Path,
        pockets: &Pockets,
        problem: &Problem,
        settings: &Settings,
        fits: &Fits,
    ) -> Result<()> {
        let json = serde_json::to_vec_pretty(self).map_err(Error::internal)?;
        store::write_bytes(&file(folder), &json)?;
        store::write_bytes(&folder.join("table.csv"), &self.table_csv()?)?;
        let names: Vec<String> = self.tables[0]
            .rows
            .iter()
            .map(|r| format!("{}:{}", r.features, r.learner.name()))
            .collect();
        let csv = predictions_csv(&names, pockets, problem, settings, fits)?;
        store::write_bytes(&folder.join("predictions.csv"), &csv)?;
        let path = folder.join("predictions.h5");
        write_predictions(&path, &names, &settings.by, pockets, problem, fits)
    }

    fn table_csv(&self) -> Result<Vec<u8>> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        let scores = ["rmsd", "pearson", "spearman", "kendall"];
        let mut head: Vec<String> = [
            "complexes",
            "n",
            "features",
            "model",
            "grid_point",
            "validation_rmsd",
            "best",
        ]
        .map(String::from)
        .to_vec();
        for score in scores {
            head.extend(
                ["", "_low", "_high", "_single_mean", "_single_sd"].map(|s| format!("{score}{s}")),
            );
        }
        let last = ["learned_better_by", "adds"];
        head.extend(
            last.iter()
                .flat_map(|c| [format!("{c}_low"), format!("{c}_high")]),
        );
        head.push("groups".into());
        csv.write_record(&head).map_err(Error::internal)?;
        let text = |v: Option<f64>| v.map_or(String::new(), |v| v.to_string());
        for table in &self.tables {
            for r in &table.rows {
                let mut record = vec![
                    table.name.clone(),
                    table.complexes.to_string(),
                    r.features.clone(),
                    r.learner.name().into(),
                    r.hyper.join(" | "),
                    r.validation_rmsd.to_string(),
                    r.best.to_string(),
                ];
                let (b, i) = (&r.bagged, &r.intervals);
                let values = [Some(b.rmsd), b.pearson, b.spearman, b.kendall];
                let ranges = [i.rmsd, i.pearson, i.spearman, i.kendall];
                for k in 0..4 {
                    record.push(text(values[k]));
                    record.push(text(ranges[k].map(|i| i.low)));
                    record.push(text(ranges[k].map(|i| i.high)));
                    record.push(text(r.single[k].map(|s| s.0)));
                    record.push(text(r.single[k].map(|s| s.1)));
                }
                for interval in [r.learned_better_by, r.adds] {
                    record.push(text(interval.map(|i| i.low)));
                    record.push(text(interval.map(|i| i.high)));
                }
                record.push(table.groups.to_string());
                csv.write_record(&record).map_err(Error::internal)?;
            }
        }
        csv.into_inner().map_err(Error::internal)
    }

    /// The tables in words: every regressor; a star marks the one of each kind of features that did
    /// best in validation.
    pub fn summary(&self) -> String {
        let mut text = format!(
            "\nlearned embedding chosen in validation: {}, {}; intervals over groups: {}\n",
            title(&self.chosen_features),
            self.chosen.name(),
            self.groups
        );
        for table in &self.tables {
            text += &format!(
                "\n{}: {} test complexes of {} groups, standard deviation {:.2}\n{:<26} {:<11} {:>10} {:>22} {:>22} {:>9} {:>8}  {}\n",
                table.name,
                table.complexes,
                table.groups,
                table.deviation,
                "features",
                "model",
                "validation",
                "RMSD [95 %]",
                "Pearson r [95 %]",
                "Spearman",
                "Kendall",
                "learned RMSD lower by"
            );
            for r in &table.rows {
                let (b, i) = (&r.bagged, &r.intervals);
                let number = |v: Option<f64>| v.map_or("-".to_string(), |v| format!("{v:.2}"));
                let range = |i: Option<Interval>| {
                    i.map_or(String::new(), |i| format!(" [{:.2}, {:.2}]", i.low, i.high))
                };
                let mut better = match r.learned_better_by {
                    Some(i) => format!("{:.2} to {:.2}: {}", i.low, i.high, r.verdict()),
                    None => String::new(),
                };
                if let Some(i) = r.adds {
                    better += &format!("; embedding adds {:.2} to {:.2}", i.low, i.high);
                }
                text += &format!(
                    "{:<26} {:<11} {:>10.2} {:>22} {:>22} {:>9} {:>8}  {better}\n",
                    r.title(),
                    format!("{}{}", r.learner.name(), if r.best { " *" } else { "" }),
                    r.validation_rmsd,
                    format!("{:.2}{}", b.rmsd, range(i.rmsd)),
                    format!("{}{}", number(b.pearson), range(i.pearson)),
                    number(b.spearman),
                    number(b.kendall),
                );
            }
        }
        text
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("results.json")
}

/// What [`super::run`] writes into `folder`: `results.json` tells whose the others are.
pub fn outputs(folder: &Path, learners: &[Learner]) -> Vec<Output> {
    let record = file(folder);
    let table = || Content::marked("a result of holosig regress", "\"code_version\":");
    let mut outputs: Vec<Output> = ["results.json", "table.csv", "predictions.csv"]
        .map(|name| Output::new(folder.join(name), table()).known_by(&record))
        .into();
    outputs.push(Output::new(
        folder.join("predictions.h5"),
        Kind::Predictions,
    ));
    let models = learners.iter().map(|l| super::saved::file(folder, *l));
    outputs.extend(models.map(|path| Output::new(path, Kind::Regressor)));
    outputs
}

/// Makes the folder of the results and makes sure that it takes files.
pub(super) fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder.join("models")).map_err(|e| Error::io(folder, e))?;
    store::Scratch::new(&file(folder)).map(drop)
}

/// Names and tested places of the tables.
fn parts(pockets: &Pockets, settings: &Settings, fits: &Fits) -> Result<Vec<(String, Vec<usize>)>> {
    let mut parts = vec![("all".to_string(), (0..fits.tested.len()).collect())];
    for name in &settings.by {
        let column = pockets.column(name)?;
        let mut values: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, &(row, _)) in fits.tested.iter().enumerate() {
            values.entry(&column[row]).or_default().push(place);
        }
        for (value, places) in values {
            match places.len() < FEWEST {
                true => log::warn!(
                    "{name} = {value}: {} tested complexes, too few for a table",
                    places.len()
                ),
                false => parts.push((format!("{name} = {value}"), places)),
            }
        }
    }
    Ok(parts)
}

fn predictions_csv(
    names: &[String],
    pockets: &Pockets,
    problem: &Problem,
    settings: &Settings,
    fits: &Fits,
) -> Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    let mut head = vec!["id".to_string(), "fold".into(), "measured".into()];
    head.extend(settings.by.iter().cloned());
    head.extend(names.iter().cloned());
    csv.write_record(&head).map_err(Error::internal)?;
    for (place, &(row, fold)) in fits.tested.iter().enumerate() {
        let mut record = vec![
            pockets.ids[row].clone(),
            fold.to_string(),
            problem.labels[row].to_string(),
        ];
        for name in &settings.by {
            record.push(pockets.column(name)?[row].clone());
        }
        record.extend((0..names.len()).map(|p| fits.bagged(p, place).to_string()));
        csv.write_record(&record).map_err(Error::internal)?;
    }
    csv.into_inner().map_err(Error::internal)
}

fn write_predictions(
    path: &Path,
    names: &[String],
    by: &[String],
    pockets: &Pockets,
    problem: &Problem,
    fits: &Fits,
) -> Result<()> {
    let (n, bags) = (fits.tested.len(), fits.most());
    let mut bagged = Vec::with_capacity(n * names.len());
    let mut single = Vec::with_capacity(n * names.len() * bags);
    for place in 0..n {
        for p in 0..names.len() {
            bagged.push(fits.bagged(p, place));
            single.extend((0..bags).map(|b| fits.single(p, b)[place]));
        }
    }
    store::write(path, Kind::Predictions, |root| {
        root.set_attr_text("units", "measured, predicted, resamples: as the labels")?;
        let ids: Vec<&str> = fits
            .tested
            .iter()
            .map(|t| pockets.ids[t.0].as_str())
            .collect();
        root.write_strings("ids", &ids)?;
        root.write_strings("models", names)?;
        let folds: Vec<u32> = fits.tested.iter().map(|t| t.1 as u32).collect();
        root.write("fold", &[n], &folds, Storage::Plain)?;
        let measured: Vec<f64> = fits.tested.iter().map(|t| problem.labels[t.0]).collect();
        root.write("measured", &[n], &measured, Storage::Plain)?;
        root.write("predicted", &[n, names.len()], &bagged, Storage::Plain)?;
        let shape = [n, names.len(), bags];
        root.write("resamples", &shape, &single, Storage::Plain)?;
        let columns = root.create_group("columns")?;
        for name in by {
            let values = pockets.column(name)?;
            let of = |t: &(usize, usize)| values[t.0].as_str();
            let values: Vec<&str> = fits.tested.iter().map(of).collect();
            columns.write_strings(name, &values)?;
        }
        Ok(())
    })
    .map(drop)
}
