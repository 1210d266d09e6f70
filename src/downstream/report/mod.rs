//! Pages about results: runs, sweeps, regressions, evaluations, motion.
//!
//! One HTML file with its pictures inside, to be mailed or kept beside the results.

mod affinity;
mod compare;
mod evaluation;
pub(super) mod html;
mod latent;
mod motion;
mod run;
mod sweep;
mod systems;

pub use affinity::Affinity;
pub use evaluation::EvaluationReport;
pub use latent::Embedding;
pub use motion::Motion;
pub use run::Run;
pub use sweep::SweepReport;
pub use systems::Predicted;

use crate::draw::{self, Axes, Distribution, PALETTE, Series, Size};
use crate::store::Content;
use crate::{Error, Result};
use compare::Compared;
use html::Tile;
use std::path::Path;

const WIDE: Size = Size {
    width: 1000,
    height: 380,
};
const HALF: Size = Size {
    width: 560,
    height: 340,
};
const BINS: usize = 60;

/// What a page says about one folder of results.
pub struct Part {
    name: String,
    about: String,
    tiles: Vec<Tile>,
    /// Sections, HTML.
    body: String,
    /// A run, to be compared with the others of the page.
    compared: Option<Compared>,
}

impl Part {
    /// A part with sections that stand for themselves.
    pub fn plain(name: &str, about: &str, body: String) -> Self {
        Self {
            name: name.to_string(),
            about: about.to_string(),
            tiles: Vec::new(),
            body,
            compared: None,
        }
    }
}

/// How a page of ours is known.
pub fn content() -> Content {
    Content::marked("a page of holosig", "<title>holosig: ")
}

/// The page as HTML: how its runs differ, and its parts one below the other.
///
/// # Errors
/// Runs that cannot be compared: a job that is no TOML, a chart that cannot be drawn.
pub fn page(parts: &[Part]) -> Result<String> {
    let runs: Vec<&Compared> = parts.iter().filter_map(|p| p.compared.as_ref()).collect();
    let names: Vec<&str> = parts.iter().map(|p| p.name.as_str()).collect();
    let mut body = compare::section(&runs)?;
    for part in parts {
        body += &format!(
            "<header><h1>{}</h1><p>{}</p></header>\n",
            html::escape(&part.name),
            html::escape(&part.about)
        );
        if !part.tiles.is_empty() {
            body += &html::tiles(&part.tiles);
        }
        body += &part.body;
    }
    body += &format!("<footer>holosig {}</footer>\n", env!("CARGO_PKG_VERSION"));
    let title = format!("holosig: {}", names.join(", "));
    Ok(html::page(&title, &body))
}

/// Last part of a folder's path, for titles.
fn folder_name(folder: &Path) -> Result<String> {
    let whole = std::fs::canonicalize(folder).map_err(|e| Error::io(folder, e))?;
    let name = whole.file_name().unwrap_or_default();
    Ok(name.to_string_lossy().into_owned())
}

/// A run and what became of its model.
pub struct RunReport {
    pub run: Run,
    /// What the trained model makes of some structures.
    pub trained: Option<Embedding>,
    /// What an untrained model makes of the same structures.
    pub untrained: Option<Embedding>,
    /// What the model predicts of systems ([`PREDICTIONS`]).
    pub predicted: Option<Predicted>,
}

/// The file of predictions in the folder of a run.
pub const PREDICTIONS: &str = "predictions.h5";

impl RunReport {
    /// # Errors
    /// A chart that cannot be drawn.
    pub fn part(&self) -> Result<Part> {
        let mut body = self.curves()?;
        body += &self.test();
        if let Some(predicted) = &self.predicted {
            body += &predicted.sections()?;
        }
        body += &self.reconstruction()?;
        body += &self.latent()?;
        body += &self.throughput();
        body += &html::section(
            "Job",
            "The resolved job: every setting of this run, defaults included.",
            &html::folded(self.run.job.trim_end()),
        );
        Ok(Part {
            name: self.run.name.clone(),
            about: self.run.sentence(),
            tiles: self.tiles(),
            body,
            compared: Some(Compared {
                name: self.run.name.clone(),
                job: self.run.job.clone(),
                validation: self.run.series("validation", "objective"),
            }),
        })
    }

    /// Mean cosine loss of the trained and of the untrained model, where known.
    pub fn cosine_losses(&self) -> (Option<f64>, Option<f64>) {
        let mean = |e: &Option<Embedding>| e.as_ref().and_then(Embedding::mean_cosine_loss);
        (mean(&self.trained), mean(&self.untrained))
    }

    fn tiles(&self) -> Vec<Tile> {
        let mut tiles = Vec::new();
        let mut tile = |value: Option<String>, name: &str, strong| {
            if let Some(value) = value {
                tiles.push(Tile {
                    value,
                    name: name.into(),
                    strong,
                });
            }
        };
        let (trained, untrained) = self.cosine_losses();
        let digits = |v: f64| format!("{v:.3}");
        tile(trained.map(digits), "cosine loss, this model", true);
        tile(untrained.map(digits), "cosine loss, untrained", false);
        let test = |key: &str| self.run.test().find(|t| t.0 == key).map(|t| digits(t.1));
        tile(test("accuracy"), "test accuracy", true);
        tile(test("auroc"), "test AUROC", false);
        tile(
            self.run.best_cosine().map(digits),
            "best validation cosine loss",
            false,
        );
        tile(Some(self.run.steps().to_string()), "steps", false);
        tile(
            self.run.rate().map(|r| format!("{r:.0}")),
            "samples per second",
            false,
        );
        tile(self.run.parameters.map(grouped), "parameters", false);
        tile(
            self.run.start("ranks").map(|n| n.to_string()),
            match self.run.start("ranks") == Some(1.0) {
                true => "MPI rank",
                false => "MPI ranks",
            },
            false,
        );
        tiles
    }

    fn curves(&self) -> Result<String> {
        let training = self.run.series("train", "objective");
        let validation = self.run.series("validation", "objective");
        let cosine = self.run.series("validation", "cosine");
        let mut figures = String::new();
        let named = |name: &str, color, points| Series {
            name: name.into(),
            color,
            points,
        };
        let losses: Vec<Series> = [
            named("training", PALETTE[5], training),
            named("validation", PALETTE[0], validation),
        ]
        .into_iter()
        .filter(|s| !s.points.is_empty())
        .collect();
        if !losses.is_empty() {
            let values = || losses.iter().flat_map(|s| &s.points).map(|p| p.1);
            let low = values().fold(f64::INFINITY, f64::min);
            // Less than two decades read better on a plain axis.
            let logarithmic = low > 0.0 && values().fold(0.0, f64::max) > 100.0 * low;
            let axes = Axes {
                x: "step",
                y: "objective",
            };
            let svg = draw::lines(HALF, &axes, &losses, logarithmic)?;
            figures += &html::figure(&svg, "What training minimises");
        }
        if !cosine.is_empty() {
            let axes = Axes {
                x: "step",
                y: "cosine loss",
            };
            let svg = draw::lines(
                HALF,
                &axes,
                &[named("validation", PALETTE[1], cosine)],
                false,
            )?;
            figures += &html::figure(&svg, "Reconstruction of structures kept out of training");
        }
        let accuracy = self.run.series("validation", "accuracy");
        if !accuracy.is_empty() {
            let axes = Axes {
                x: "step",
                y: "accuracy",
            };
            let series = [named("validation", PALETTE[1], accuracy)];
            let svg = draw::lines(HALF, &axes, &series, false)?;
            figures += &html::figure(&svg, "Accuracy on data kept out of training");
        }
        for name in self.run.names("validation", "_mae") {
            let points = self.run.series("validation", &name);
            let quantity = name.trim_end_matches("_mae");
            let y = format!("MAE of {quantity}");
            let series = [named("validation", PALETTE[1], points)];
            let svg = draw::lines(HALF, &Axes { x: "step", y: &y }, &series, false)?;
            let caption = format!("Mean absolute error of {quantity} on data kept out of training");
            figures += &html::figure(&svg, &caption);
        }
        if figures.is_empty() {
            return Ok(String::new());
        }
        Ok(html::section(
            "Training",
            "One point per logged step and per validation; resumed runs continue the same curve.",
            &format!("<div class=\"pair\">\n{figures}</div>"),
        ))
    }

    fn test(&self) -> String {
        let number = |v: f64| match v.fract() {
            0.0 => format!("{v:.0}"),
            _ => format!("{v:.4}"),
        };
        let rows: Vec<Vec<String>> = self
            .run
            .test()
            .map(|(name, v)| vec![name.to_string(), number(v)])
            .collect();
        if rows.is_empty() {
            return String::new();
        }
        html::section(
            "Test",
            "Scores of the model that validated best, tested once at the end of the run.",
            &html::table(&["score", "value"], rows),
        )
    }

    fn reconstruction(&self) -> Result<String> {
        let losses = |e: &'_ Option<Embedding>| e.as_ref()?.cosine_loss.clone();
        let (trained, untrained) = (losses(&self.trained), losses(&self.untrained));
        let mut sets = Vec::new();
        if let Some(values) = &trained {
            sets.push(Distribution {
                name: "this model",
                color: PALETTE[0],
                values,
            });
        }
        if let Some(values) = &untrained {
            sets.push(Distribution {
                name: "untrained",
                color: PALETTE[1],
                values,
            });
        }
        if sets.iter().all(|s| s.values.is_empty()) {
            return Ok(String::new());
        }
        let axes = Axes {
            x: "cosine loss",
            y: "share of residues",
        };
        let mut body = html::figure(
            &draw::histogram(WIDE, &axes, &sets, BINS)?,
            "0: the neighborhood is rebuilt exactly; 1: what is rebuilt has nothing to do with it",
        );
        let rows = self
            .trained
            .as_ref()
            .map(latent::by_residue)
            .unwrap_or_default();
        if !rows.is_empty() {
            let rows = rows
                .into_iter()
                .map(|row| vec![row.name, row.count.to_string(), format!("{:.3}", row.mean)]);
            body += &html::table(&["central residue", "residues", "mean cosine loss"], rows);
        }
        Ok(html::section(
            "Reconstruction",
            "Every neighborhood is encoded to its invariants and frame and decoded again.",
            &body,
        ))
    }

    fn latent(&self) -> Result<String> {
        match &self.trained {
            Some(e) if e.len() > 1 => Ok(html::section(
                "Latent space",
                &format!(
                    "The {} rotation-invariant numbers per residue neighborhood, seen along the two \
                     directions in which they vary most. The model never saw the residues' names.",
                    e.dim
                ),
                &latent::scatter(e)?,
            )),
            _ => Ok(String::new()),
        }
    }

    fn throughput(&self) -> String {
        let rows = self.run.throughput();
        if rows.is_empty() {
            return String::new();
        }
        html::section(
            "Throughput",
            "One line per start of the run (a resumed run has several).",
            &html::table(&["started at step", "ranks", "samples/s"], rows),
        )
    }
}

/// A whole number with thousands set apart.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}
