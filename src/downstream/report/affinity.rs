//! A page about a regression: predicted against measured, and the table of baselines.

use super::html::{self, Tile};
use super::{HALF, Part};
use crate::downstream::pockets::features::{LEARNED, TOGETHER};
use crate::downstream::regression::scores::Interval;
use crate::downstream::regression::{FEW_GROUPS, Results, Row, Table};
use crate::draw::{self, Axes, PALETTE, Series};
use crate::print::count;
use crate::store::{self, Kind};
use crate::{Error, Result};
use std::path::Path;

/// What a page about a regression is made from.
pub struct Affinity {
    pub name: String,
    results: Results,
    /// `FEATURES:MODEL`, one for each column of `predicted`.
    models: Vec<String>,
    measured: Vec<f64>,
    /// `[n, models]`
    predicted: Vec<f64>,
    /// The first column that tables were asked for by: its name and values.
    by: Option<(String, Vec<String>)>,
}

impl Affinity {
    /// Reads the folder that `holosig regress` wrote.
    ///
    /// # Errors
    /// A folder without results, a damaged file of predictions.
    pub fn read(folder: &Path) -> Result<Self> {
        let root = store::open(&folder.join("predictions.h5"), Kind::Predictions)?;
        let measured: Vec<f64> = root.read("measured")?;
        let models = root.read_strings("models")?;
        let shape = [Some(measured.len()), Some(models.len())];
        let predicted = root.read_shaped("predicted", &shape)?.0;
        let columns = root.group("columns")?;
        let by = columns.names()?.into_iter().next();
        let by = by.map(|name| columns.read_strings(&name).map(|values| (name, values)));
        let name = folder.file_name().map(|n| n.to_string_lossy().into_owned());
        Ok(Self {
            name: name.unwrap_or("regression".into()),
            results: Results::read(folder)?,
            models,
            measured,
            predicted,
            by: by.transpose()?,
        })
    }

    /// # Errors
    /// A chart that cannot be drawn.
    pub fn part(&self) -> Result<Part> {
        let r = &self.results;
        let sentence = format!(
            "Affinities from {}, divided by {}: {} complexes to fit, {} to tune, {} to test{}. \
             Groups: {}. Model {}.",
            r.pockets,
            r.division,
            r.parts[0],
            r.parts[1],
            r.parts[2],
            match r.folds {
                1 => String::new(),
                n => format!(" in the first of {n} folds"),
            },
            r.groups,
            r.checkpoint_hash,
        );
        let mut body = self.figures()?;
        for table in &r.tables {
            body += &section(table, r.bags);
        }
        Ok(Part {
            name: self.name.clone(),
            about: sentence,
            tiles: self.tiles(),
            body,
            compared: None,
        })
    }

    /// The learned embedding's row and the best of the baselines', both by validation.
    fn rivals(&self) -> Result<(&Row, &Row)> {
        let rows = || {
            self.results
                .tables
                .first()
                .into_iter()
                .flat_map(|t| &t.rows)
        };
        let chosen = &self.results.chosen_features;
        let learned = rows().find(|r| r.best && r.features == *chosen);
        let baseline = rows()
            .filter(|r| r.best && is_baseline(&r.features))
            .min_by(|a, b| a.validation_rmsd.total_cmp(&b.validation_rmsd));
        let both = learned.zip(baseline);
        both.ok_or_else(|| Error::internal("a table without the learned embedding or baselines"))
    }

    fn tiles(&self) -> Vec<Tile> {
        let Ok((learned, baseline)) = self.rivals() else {
            return Vec::new();
        };
        let tile = |value: String, name: String, strong| Tile {
            value,
            name,
            strong,
        };
        vec![
            tile(
                format!("{:.2}", learned.bagged.rmsd),
                format!("test RMSD, learned embedding, {}", learned.learner.name()),
                true,
            ),
            tile(
                number(learned.bagged.pearson),
                "Pearson r, learned embedding".into(),
                true,
            ),
            tile(
                format!("{:.2}", baseline.bagged.rmsd),
                format!(
                    "test RMSD, baseline best in validation: {}",
                    baseline.title()
                ),
                false,
            ),
            tile(
                number(baseline.bagged.pearson),
                format!("Pearson r, {}", baseline.title()),
                false,
            ),
            tile(self.measured.len().to_string(), self.tested(), false),
        ]
    }

    /// What the tile of the number of tested complexes says.
    fn tested(&self) -> String {
        match self.results.tables.first() {
            Some(all) if is_small(all) => format!(
                "tested complexes of {}, too few to decide anything",
                count(all.groups, "group")
            ),
            _ => "tested complexes".into(),
        }
    }

    fn figures(&self) -> Result<String> {
        let (learned, baseline) = self.rivals()?;
        let mut figures = String::new();
        for row in [learned, baseline] {
            let model = format!("{}:{}", row.features, row.learner.name());
            let column = self.models.iter().position(|m| *m == model);
            let column = column.ok_or_else(|| {
                Error::internal(format!("the file of predictions has no column {model}"))
            })?;
            let axes = Axes {
                x: "measured −log10 K",
                y: "predicted −log10 K",
            };
            let svg = draw::agreement(HALF, &axes, &self.series(column))?;
            let caption = format!("{}, {}", row.title(), row.learner.name());
            figures += &html::figure(&svg, &caption);
        }
        Ok(html::section(
            "Predicted against measured",
            "One dot per tested complex; on the line, prediction and measurement agree. Left the \
             learned embedding, right the baseline that did best in validation.",
            &format!("<div class=\"pair\">\n{figures}</div>"),
        ))
    }

    /// Dots, in one colour for each value of the first column that was asked for.
    fn series(&self, column: usize) -> Vec<Series> {
        let points = |takes: &dyn Fn(usize) -> bool| -> Vec<(f64, f64)> {
            let taken = (0..self.measured.len()).filter(|&i| takes(i));
            taken
                .map(|i| {
                    (
                        self.measured[i],
                        self.predicted[i * self.models.len() + column],
                    )
                })
                .collect()
        };
        let series = |name: &str, color: usize, points| Series {
            name: name.into(),
            color: PALETTE[color % PALETTE.len()],
            points,
        };
        let Some((_, values)) = &self.by else {
            return vec![series("test", 0, points(&|_| true))];
        };
        let mut names: Vec<&String> = values.iter().collect();
        names.sort();
        names.dedup();
        let of = |(i, name): (usize, &&String)| series(name, i, points(&|p| values[p] == **name));
        names.iter().enumerate().map(of).collect()
    }
}

/// Whether features owe nothing to training.
fn is_baseline(features: &str) -> bool {
    let learned = LEARNED.contains(&features) || features == "pocket_without";
    !learned && TOGETHER.iter().all(|(both, _)| *both != features)
}

fn section(table: &Table, bags: usize) -> String {
    let rows = table.rows.iter().map(|r| {
        let with = |value: String, interval: Option<Interval>| match interval {
            Some(i) => format!("{value} ({:.2} to {:.2})", i.low, i.high),
            None => value,
        };
        let single = r.single[0].map_or("-".into(), |(m, s)| format!("{m:.2} ± {s:.2}"));
        let mut better = match r.learned_better_by {
            Some(i) => format!("{:.2} to {:.2}, {}", i.low, i.high, r.verdict()),
            None => "-".into(),
        };
        if let Some(i) = r.adds {
            better += &format!("; embedding adds {:.2} to {:.2}", i.low, i.high);
        }
        vec![
            r.title().to_string(),
            format!("{}{}", r.learner.name(), if r.best { " *" } else { "" }),
            with(format!("{:.2}", r.bagged.rmsd), r.intervals.rmsd),
            single,
            with(number(r.bagged.pearson), r.intervals.pearson),
            number(r.bagged.spearman),
            number(r.bagged.kendall),
            better,
        ]
    });
    let head = [
        "features",
        "regressor",
        "RMSD (95 %)",
        "RMSD, single fits",
        "Pearson r (95 %)",
        "Spearman ρ",
        "Kendall τ",
        "learned RMSD lower by (95 %)",
    ];
    let title = match table.name.as_str() {
        "all" => "All tested complexes".to_string(),
        part => format!("Tested complexes with {part}"),
    };
    let fits = match bags {
        0 => "all fits to the training part".to_string(),
        bags => format!("{bags} fits to bootstrap resamples"),
    };
    let about = format!(
        "{} complexes of {} groups whose labels have a standard deviation of {:.2}. RMSD in units of −log10 K. \
         Scores are of the mean of {fits}; single fits: mean ± standard deviation. * marks the regressor that did best in validation. The last column \
         compares each row with the marked regressor of the learned embedding on the same \
         resamples of the groups: \"beaten\" where the interval is above zero, \"better\" where \
         it is below. Of the embedding together with a baseline it also says by how much its RMSD is \
         lower than the baseline's.{}",
        table.complexes,
        table.groups,
        table.deviation,
        caution(table)
    );
    let body = format!("<div class=\"wide\">{}</div>", html::table(&head, rows));
    html::section(&title, &about, &body)
}

/// Whether a part has few groups.
fn is_small(table: &Table) -> bool {
    table.groups < FEW_GROUPS
}

/// What is said of a part with few groups.
fn caution(table: &Table) -> String {
    match is_small(table) {
        true => format!(
            " With {} complexes of {} groups the order of the rows may be chance: it decides \
             nothing, and intervals are narrower than they should be.",
            table.complexes, table.groups
        ),
        false => String::new(),
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".into(), |v| format!("{v:.2}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_groups_decide_nothing() {
        let table = |groups| Table {
            name: "all".into(),
            complexes: 100,
            groups,
            deviation: 1.0,
            rows: Vec::new(),
        };
        assert!(section(&table(12), 10).contains("complexes of 12 groups the order"));
        assert!(!section(&table(20), 10).contains("may be chance"));
    }
}
