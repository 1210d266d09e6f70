//! A page about an evaluation: one row per kind of model, beside published figures if asked.

use super::html::{self, Tile};
use super::latent::{self, Embedding};
use super::{HALF, Part, WIDE, folder_name};
use crate::data::table::{Row, Table};
use crate::downstream::evaluation::{Evaluation, Record};
use crate::draw::{self, Axes, PALETTE, Series, Size};
use crate::print::count;
use crate::tasks::keys::keys;
use crate::train::upgrade;
use crate::{Result, stats};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A key that tells repeats apart, not kinds of models.
const SEED: &str = "train.seed";

/// What the page is made from.
pub struct EvaluationReport {
    folder: PathBuf,
    name: String,
    record: Record,
    beside: Option<Beside>,
}

/// A table of published figures.
struct Beside {
    /// Job keys, with their values in each row.
    keys: Vec<String>,
    /// Names of figures ([`figures`]).
    figures: Vec<String>,
    rows: Vec<(Vec<String>, Vec<String>)>,
}

/// Models of equal settings but for the seed.
struct Group<'a> {
    keys: &'a [String],
    settings: Vec<String>,
    members: Vec<&'a Evaluation>,
}

impl EvaluationReport {
    /// # Errors
    /// A folder without the record of an evaluation; a table with a column that is neither a key
    /// of the models' jobs nor a figure.
    pub fn read(folder: &Path, beside: Option<&Path>) -> Result<Self> {
        let record = Record::read(folder)?;
        Ok(Self {
            name: folder_name(folder)?,
            beside: beside.map(|b| Beside::read(b, &record)).transpose()?,
            folder: folder.to_path_buf(),
            record,
        })
    }

    /// # Errors
    /// A chart that cannot be drawn, a missing embedding file.
    pub fn part(&self) -> Result<Part> {
        let keys = self.keys();
        let groups = self.groups(&keys);
        let mut body = self.table(&keys, &groups);
        body += &self.degrees(&groups)?;
        body += &self.equivariance(&groups);
        body += &self.latent()?;
        let o = &self.record.options;
        Ok(Part {
            name: self.name.clone(),
            about: format!(
                "{} on {} of the {} split of {}{}",
                count(self.record.evaluations.len(), "model"),
                count(
                    self.record.evaluations.first().map_or(0, |e| e.residues),
                    "residue"
                ),
                o.split,
                self.record.dataset,
                if o.balanced {
                    ", every type in equal shares"
                } else {
                    ""
                },
            ),
            tiles: self.tiles(),
            body,
            compared: None,
        })
    }

    /// The model that rebuilds best.
    fn best(&self) -> Option<&Evaluation> {
        let models = self.record.evaluations.iter();
        models.min_by(|a, b| a.reconstruction.cosine.total_cmp(&b.reconstruction.cosine))
    }

    fn tiles(&self) -> Vec<Tile> {
        let Some(best) = self.best() else {
            return Vec::new();
        };
        let shown = figures(best).into_iter().filter(|(name, _)| {
            name == "cosine" || name.ends_with(".linear") || name.ends_with(".nearest")
        });
        let tile = |(name, value): (String, f64)| Tile {
            value: format!("{value:.3}"),
            strong: name == "cosine",
            name: words(&name),
        };
        shown.map(tile).collect()
    }

    /// Keys in which the models' jobs differ; those of the published table where there is one.
    fn keys(&self) -> Vec<String> {
        if let Some(beside) = &self.beside {
            return beside.keys.clone();
        }
        let models = &self.record.evaluations;
        let mut values: BTreeMap<&String, Vec<String>> = BTreeMap::new();
        for key in models.iter().flat_map(|e| e.job.keys()) {
            let of = || models.iter().map(|e| setting(e, key)).collect();
            values.entry(key).or_insert_with(of);
        }
        let differing = values
            .into_iter()
            .filter(|(key, v)| *key != SEED && v.iter().any(|x| *x != v[0]));
        differing.map(|(key, _)| key.clone()).collect()
    }

    fn groups<'a>(&'a self, keys: &'a [String]) -> Vec<Group<'a>> {
        let mut groups: Vec<Group> = Vec::new();
        for e in &self.record.evaluations {
            let mut settings: Vec<String> = keys.iter().map(|k| setting(e, k)).collect();
            if e.job.is_empty() {
                settings = vec![e.checkpoint.clone()];
            }
            match groups.iter_mut().find(|g| g.settings == settings) {
                Some(group) => group.members.push(e),
                None => groups.push(Group {
                    keys,
                    settings,
                    members: vec![e],
                }),
            }
        }
        // Numbers by size.
        groups.sort_by(|a, b| {
            let number = |s: &String| s.parse::<f64>().unwrap_or(f64::NEG_INFINITY);
            let pairs = a.settings.iter().zip(&b.settings);
            let orders = pairs.map(|(a, b)| number(a).total_cmp(&number(b)).then(a.cmp(b)));
            orders.fold(std::cmp::Ordering::Equal, |all, next| all.then(next))
        });
        groups
    }

    fn table(&self, keys: &[String], groups: &[Group]) -> String {
        let names: Vec<String> = match self.record.evaluations.first() {
            Some(e) => figures(e).into_iter().map(|(name, _)| name).collect(),
            None => return String::new(),
        };
        let mut head: Vec<String> = match keys.is_empty() {
            true => vec!["model".into()],
            false => keys.to_vec(),
        };
        head.push("repeats".into());
        let published = |name: &String| {
            let b = self.beside.as_ref()?;
            Some((b, b.figures.iter().position(|f| f == name)?))
        };
        for name in &names {
            head.push(words(name));
            if published(name).is_some() {
                head.push(format!("published: {}", words(name)));
            }
        }
        let rows = groups.iter().map(|group| {
            let mut row = match keys.is_empty() {
                true => vec![group.members[0].checkpoint.clone()],
                false => group.settings.clone(),
            };
            row.resize(head_width(keys), String::new());
            row.push(group.members.len().to_string());
            for name in &names {
                row.push(group.figure(name));
                if let Some((b, place)) = published(name) {
                    row.push(b.find(&group.settings, place));
                }
            }
            row
        });
        let rows: Vec<Vec<String>> = rows.collect();
        let head: Vec<&str> = head.iter().map(String::as_str).collect();
        let mut about = "Means over repeats with their standard deviation. Accuracies by \
                         cross-validation on the residues of this page; k-means with as many clusters \
                         as there are classes."
            .to_string();
        for line in self.record.left_out() {
            about += &format!(" In {line}.");
        }
        html::section(
            "Models",
            &about,
            &format!("<div class=\"wide\">{}</div>", html::table(&head, rows)),
        )
    }

    fn degrees(&self, groups: &[Group]) -> Result<String> {
        let shown = groups.iter().rev().take(PALETTE.len()).rev();
        let series: Vec<Series> = shown
            .zip(PALETTE)
            .map(|(group, color)| Series {
                name: group.name(),
                color,
                points: group.degrees(),
            })
            .collect();
        if series.is_empty() {
            return Ok(String::new());
        }
        const SIZE: Size = Size {
            height: HALF.height,
            ..WIDE
        };
        let axes = Axes {
            x: "degree l",
            y: "cosine loss",
        };
        let svg = draw::lines(SIZE, &axes, &series, false)?;
        Ok(html::section(
            "Reconstruction by degree",
            "One minus the cosine of the angle between the coefficients of a degree and their \
             reconstruction: 0 is exact. Fine detail lives in high degrees.",
            &html::figure(&svg, "Mean over residues and repeats"),
        ))
    }

    fn equivariance(&self, groups: &[Group]) -> String {
        let rows = groups.iter().flat_map(|group| {
            group.members[0].equivariance.iter().map(|e| {
                let cell = |d: &crate::downstream::evaluation::Difference| {
                    format!("{:.1e} of {:.1e}", d.error, d.value)
                };
                vec![
                    group.name(),
                    e.precision.clone(),
                    cell(&e.invariants),
                    cell(&e.frames),
                    cell(&e.reconstruction),
                ]
            })
        });
        let head = [
            "model",
            "precision",
            "invariants",
            "frames",
            "reconstruction",
        ];
        html::section(
            "Equivariance",
            "Mean absolute difference between what a model makes of a rotated neighborhood and \
             the rotation of what it makes of the neighborhood, of the mean absolute value; \
             random rotations of 128 residues, the first repeat of each model.",
            &format!(
                "<div class=\"wide\">{}</div>",
                html::table(&head, rows.collect::<Vec<_>>())
            ),
        )
    }

    fn latent(&self) -> Result<String> {
        let Some(best) = self.best() else {
            return Ok(String::new());
        };
        let embedding = Embedding::read(&self.folder.join(&best.embeddings))?;
        Ok(html::section(
            "Latent space",
            &format!(
                "The {} invariants of {}, the model that rebuilds best. It never saw the labels.",
                best.latent_dim, best.checkpoint
            ),
            &latent::pictures(&embedding)?,
        ))
    }
}

fn head_width(keys: &[String]) -> usize {
    keys.len().max(1)
}

impl Group<'_> {
    /// `steps 1, kl 0.0`: the last words of the keys, and their values.
    fn name(&self) -> String {
        let pairs = self.keys.iter().zip(&self.settings);
        let known: Vec<String> = pairs
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| format!("{} {value}", key.rsplit('.').next().unwrap_or(key)))
            .collect();
        match known.is_empty() {
            true => self.members[0].checkpoint.clone(),
            false => known.join(", "),
        }
    }

    /// Mean over the members, with the deviation where there are several.
    fn figure(&self, name: &str) -> String {
        let of = |e: &&Evaluation| figures(e).into_iter().find(|f| f.0 == name).map(|f| f.1);
        let values: Vec<f64> = self.members.iter().filter_map(of).collect();
        let mean = stats::mean(&values);
        let digits = |v: f64| match name {
            "mse" => format!("{v:.2e}"),
            _ => format!("{v:.3}"),
        };
        match values.len() {
            0 => String::new(),
            1 => digits(mean),
            _ => {
                let deviation = stats::sample_deviation(&values);
                format!("{} ± {}", digits(mean), digits(deviation))
            }
        }
    }

    fn degrees(&self) -> Vec<(f64, f64)> {
        let n = self.members.len() as f64;
        let of = |l: usize| {
            let losses = self
                .members
                .iter()
                .map(|e| e.reconstruction.degrees[l].cosine);
            (l as f64, losses.sum::<f64>() / n)
        };
        (0..self.members[0].reconstruction.degrees.len())
            .map(of)
            .collect()
    }
}

/// Every figure of a model by its name: `cosine`, `mse`, `residue.linear`.
fn figures(e: &Evaluation) -> Vec<(String, f64)> {
    let mut out = vec![
        ("cosine".to_string(), e.reconstruction.cosine),
        ("mse".to_string(), e.reconstruction.mse),
    ];
    for k in &e.labels {
        for (name, value) in [
            ("linear", k.linear.mean),
            ("nearest", k.nearest.mean),
            ("purity", k.clustering.purity),
            ("v_measure", k.clustering.v_measure),
            ("silhouette", k.silhouette),
        ] {
            out.push((format!("{}.{name}", k.name), value));
        }
    }
    out
}

/// A figure's name in words.
fn words(name: &str) -> String {
    match name.split_once('.') {
        None if name == "cosine" => "cosine loss".into(),
        None => name.to_uppercase(),
        Some((label, figure)) => {
            let figure = match figure {
                "linear" => "linear accuracy",
                "nearest" => "5-nearest-neighbour accuracy",
                "purity" => "k-means purity",
                "v_measure" => "V-measure",
                other => other,
            };
            format!("{label}: {figure}")
        }
    }
}

/// A key of a model's job as text; empty where the job has none.
fn setting(e: &Evaluation, key: &str) -> String {
    match e.job.get(key) {
        None => String::new(),
        Some(toml::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

impl Beside {
    fn read(path: &Path, record: &Record) -> Result<Self> {
        let table = Table::read_with_remarks(path)?;
        let known: Vec<String> = match record.evaluations.first() {
            Some(e) => figures(e).into_iter().map(|f| f.0).collect(),
            None => Vec::new(),
        };
        let is_key = |name: &str| record.evaluations.iter().any(|e| e.job.contains_key(name));
        // A table may have the names that keys had in version 1.
        let today = |name: &String| match is_key(name) {
            true => name.clone(),
            false => upgrade::key(name),
        };
        let columns: Vec<String> = table.columns().iter().map(today).collect();
        let is_figure = |name: &str| known.iter().any(|k| k == name);
        // A key that none of these models' jobs sets: only rows that leave it blank can be theirs.
        let of_any = keys(None)?;
        let of_any = |name: &str| {
            of_any
                .iter()
                .any(|(_, keys)| keys.iter().any(|k| k.name == name))
        };
        let strange = |name: &&String| !is_figure(name) && !is_key(name) && !of_any(name);
        if let Some(name) = columns.iter().find(strange) {
            return Err(table.in_header(format!(
                "column {name:?} is neither a key of jobs nor a figure ({})",
                known.join(", ")
            )));
        }
        let (figures, keys): (Vec<usize>, Vec<usize>) =
            (0..columns.len()).partition(|&i| is_figure(&columns[i]));
        let (keys, unset): (Vec<usize>, Vec<usize>) =
            keys.into_iter().partition(|&i| is_key(&columns[i]));
        let names = |places: &[usize]| places.iter().map(|&i| columns[i].clone()).collect();
        let texts = |row: Row, places: &[usize]| -> Vec<String> {
            places.iter().map(|&i| row.text(i).into()).collect()
        };
        let rows = table.rows();
        let rows = rows.filter(|row| unset.iter().all(|&i| row.text(i).is_empty()));
        Ok(Self {
            keys: names(&keys),
            figures: names(&figures),
            rows: rows
                .map(|row| (texts(row, &keys), texts(row, &figures)))
                .collect(),
        })
    }

    /// The figure of the row with these settings; empty where there is none.
    fn find(&self, settings: &[String], figure: usize) -> String {
        let same = |a: &String, b: &String| match (a.parse::<f64>(), b.parse::<f64>()) {
            (Ok(a), Ok(b)) => a == b,
            _ => a == b,
        };
        let fits = |keys: &[String]| keys.iter().zip(settings).all(|(a, b)| same(a, b));
        let row = self.rows.iter().find(|(keys, _)| fits(keys));
        row.map_or(String::new(), |(_, figures)| figures[figure].clone())
    }
}
