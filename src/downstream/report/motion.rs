//! The page of descriptors of motion: who moves, when, and how much of it is jitter.

use super::html::{self, Tile};
use super::{HALF, Part, WIDE};
use crate::data::trajectory::coordinates_name;
use crate::draw::{self, Axes, PALETTE, Series, Size};
use crate::print::count;
use crate::store::{self, Kind};
use crate::{Error, Result};
use std::path::Path;

/// Trajectories whose motion is drawn over time.
const DRAWN: usize = 4;
/// Residues in the table.
const LISTED: usize = 12;

/// One trajectory of a file of motion.
struct Moving {
    name: String,
    label: String,
    graph: usize,
    /// Frames, and the time between them if it is known.
    frames: f64,
    time_step: Option<f64>,
    /// Of each residue, per frame.
    length: Vec<f64>,
    jitter: Vec<f64>,
    lags: Vec<f64>,
    /// Mean over residues, by lag.
    displacement: Vec<f64>,
}

/// What a file of descriptors of motion says.
pub struct Motion {
    name: String,
    trajectories: Vec<Moving>,
    /// Mean step in each part of time, `[parts][residues]`, of the trajectories that are drawn.
    activity: Vec<(usize, Vec<Vec<f64>>)>,
    /// Of the residues of the first graph.
    residues: Vec<String>,
    first: f64,
    time_unit: String,
    explained: f64,
}

impl Motion {
    /// # Errors
    /// A file that is none of motion, or damaged.
    pub fn read(path: &Path) -> Result<Self> {
        let file = store::open(path, Kind::Motion)?;
        let group = file.group("trajectory")?;
        let (names, labels) = (group.read_strings("name")?, group.read_strings("label")?);
        let graphs: Vec<u64> = group.read("graph")?;
        let frames: Vec<u64> = group.read("frames")?;
        let steps: Vec<f64> = group.read("time_step")?;
        let [length, jitter, displacement, lags, activities] =
            ["length", "jitter", "displacement", "lags", "activity"].map(|name| file.group(name));
        let (length, jitter, displacement) = (length?, jitter?, displacement?);
        let (lags, activities) = (lags?, activities?);
        let one = |i: usize| -> Result<Moving> {
            let name = coordinates_name(i);
            let (moved, shape) = displacement.read_shaped::<f64>(&name, &[None, None])?;
            let mean = |row: &[f64]| row.iter().sum::<f64>() / row.len().max(1) as f64;
            let own = length.read::<f64>(&name)?;
            Ok(Moving {
                length: own.iter().map(|l| l / frames[i].max(1) as f64).collect(),
                jitter: jitter.read(&name)?,
                lags: lags.read::<u64>(&name)?.iter().map(|&k| k as f64).collect(),
                displacement: moved.chunks_exact(shape[1].max(1)).map(mean).collect(),
                name: names[i].clone(),
                label: labels[i].clone(),
                graph: graphs[i] as usize,
                frames: frames[i] as f64,
                time_step: Some(steps[i]).filter(|s| s.is_finite()),
            })
        };
        let trajectories = (0..names.len()).map(one).collect::<Result<Vec<_>>>()?;
        let mut drawn: Vec<usize> = Vec::new();
        for (i, t) in trajectories.iter().enumerate() {
            let new = !drawn.iter().any(|&d| trajectories[d].label == t.label);
            if new && drawn.len() < DRAWN {
                drawn.push(i);
            }
        }
        let table = |i: usize| -> Result<(usize, Vec<Vec<f64>>)> {
            let read = activities.read_shaped::<f64>(&coordinates_name(i), &[None, None]);
            let (values, shape) = read?;
            let rows = values.chunks_exact(shape[1].max(1));
            Ok((i, rows.map(<[f64]>::to_vec).collect()))
        };
        let residue = file.group("residue")?;
        let offsets: Vec<u64> = residue.read("offsets")?;
        let end = offsets.get(1).map_or(0, |&n| n as usize);
        let (chains, kinds) = (
            residue.read_strings("chain")?,
            residue.read_strings("name")?,
        );
        let numbers: Vec<i32> = residue.read("number")?;
        let called = |i: usize| format!("{} {} {}", chains[i], kinds[i], numbers[i]);
        let name = path.file_name().unwrap_or_default();
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            activity: drawn.into_iter().map(table).collect::<Result<_>>()?,
            trajectories,
            residues: (0..end).map(|i| called(i).trim().to_string()).collect(),
            first: numbers.first().map_or(1.0, |&n| f64::from(n)),
            time_unit: group.attr_text("time_unit")?,
            explained: file.read::<f64>("explained")?.iter().sum(),
        })
    }

    /// # Errors
    /// A file without trajectories, a chart that cannot be drawn.
    pub fn part(&self) -> Result<Part> {
        if self.trajectories.is_empty() {
            return Err(Error::file(&self.name, "no trajectories"));
        }
        let tile = |value: String, name: &str| Tile {
            value,
            name: name.into(),
            strong: false,
        };
        let all = || self.trajectories.iter().flat_map(|t| &t.jitter);
        let jitter = all().sum::<f64>() / all().count().max(1) as f64;
        let body = [self.sequence()?, self.time()?, self.lags()?, self.most()];
        Ok(Part {
            name: self.name.clone(),
            about: "Motion of residue neighborhoods: paths of an encoder's invariants, which no \
                    rotation or translation of a frame changes."
                .into(),
            tiles: vec![
                tile(self.trajectories.len().to_string(), "trajectories"),
                tile(self.residues.len().to_string(), "residues (first graph)"),
                tile(
                    format!("{:.0} %", 100.0 * jitter),
                    "of quadratic variation is jitter",
                ),
                tile(
                    format!("{:.0} %", 100.0 * self.explained),
                    "of motion in the projection",
                ),
            ],
            body: body.concat(),
            compared: None,
        })
    }

    /// Labels in the order of their first trajectory.
    fn labels(&self) -> Vec<&str> {
        let mut labels: Vec<&str> = Vec::new();
        for t in &self.trajectories {
            if !labels.contains(&t.label.as_str()) {
                labels.push(&t.label);
            }
        }
        labels.truncate(PALETTE.len());
        labels
    }

    /// Mean over the trajectories of the first graph with a label.
    fn mean(&self, label: &str, of: fn(&Moving) -> &Vec<f64>) -> Vec<f64> {
        let mut sums: Vec<f64> = Vec::new();
        let mut n = 0.0;
        for t in self
            .trajectories
            .iter()
            .filter(|t| t.label == label && t.graph == 0)
        {
            let values = of(t);
            if sums.is_empty() {
                sums = vec![0.0; values.len()];
            }
            n += 1.0;
            sums.truncate(values.len());
            sums.iter_mut().zip(values).for_each(|(s, v)| *s += v);
        }
        sums.into_iter().map(|s| s / n).collect()
    }

    fn series(&self, points: impl Fn(&str) -> Vec<(f64, f64)>) -> Vec<Series> {
        let labels = self.labels();
        let series = labels.iter().zip(PALETTE).map(|(label, color)| Series {
            name: match label.is_empty() {
                true => "all".into(),
                false => label.to_string(),
            },
            color,
            points: points(label),
        });
        series.filter(|s| !s.points.is_empty()).collect()
    }

    fn sequence(&self) -> Result<String> {
        let series = self.series(|label| {
            let length = self.mean(label, |t| &t.length).into_iter().enumerate();
            length.map(|(i, v)| (self.first + i as f64, v)).collect()
        });
        let axes = Axes {
            x: "residue",
            y: "path length per frame",
        };
        let svg = draw::lines(WIDE, &axes, &series, false)?;
        Ok(html::section(
            "Which residues move",
            "Length of each residue's path of invariants per frame, mean over the trajectories of a \
             label (first graph).",
            &html::figure(&svg, "In units of the encoder's latent space."),
        ))
    }

    fn time(&self) -> Result<String> {
        let mut figures = String::new();
        for (i, parts) in &self.activity {
            let t = &self.trajectories[*i];
            let residues = parts.first().map_or(0, Vec::len);
            let rows: Vec<Vec<f64>> = (0..residues)
                .map(|r| parts.iter().map(|p| p[r]).collect())
                .collect();
            let (scale, unit) = match t.time_step {
                Some(step) => (step, self.time_unit.clone()),
                None => (1.0, "frames".into()),
            };
            let axes = Axes {
                x: &format!("time ({unit})"),
                y: "residue",
            };
            let size = Size {
                width: WIDE.width,
                height: 140 + 8 * residues.clamp(10, 60) as u32,
            };
            let step = (t.frames * scale / parts.len().max(1) as f64, 1.0);
            let svg = draw::heat(size, &axes, &rows, (0.0, self.first), step)?;
            figures += &html::figure(&svg, &format!("{} {}", t.name, t.label));
        }
        Ok(html::section(
            "When they move",
            "Mean step of each residue's invariants over sequence and time, first trajectory of each \
             label.",
            &figures,
        ))
    }

    fn lags(&self) -> Result<String> {
        let series = self.series(|label| {
            let of = self.trajectories.iter().find(|t| t.label == label);
            let lags = of.map_or(&[][..], |t| &t.lags);
            let moved = self.mean(label, |t| &t.displacement);
            let points = lags.iter().copied().zip(moved);
            points.filter(|(_, d)| *d > 0.0).collect()
        });
        if series.is_empty() {
            return Ok(String::new());
        }
        let axes = Axes {
            x: "lag (frames)",
            y: "mean squared displacement",
        };
        let svg = draw::lines_over_doublings(HALF, &axes, &series, true)?;
        Ok(html::section(
            "How much is jitter",
            "Mean squared displacement of the invariants over the lag. Where it is flat, a frame has \
             forgotten the one before: a longer lag or a moving average (--lag, --smooth) loses \
             nothing. Where it grows, motion is resolved.",
            &html::figure(&svg, "Mean over residues and trajectories of a label."),
        ))
    }

    fn most(&self) -> String {
        let labels = self.labels();
        let means: Vec<Vec<f64>> = labels.iter().map(|l| self.mean(l, |t| &t.length)).collect();
        let jitters: Vec<Vec<f64>> = labels.iter().map(|l| self.mean(l, |t| &t.jitter)).collect();
        let sum = |r: usize| means.iter().filter_map(|m| m.get(r)).sum::<f64>();
        let mut order: Vec<usize> = (0..self.residues.len()).collect();
        order.sort_by(|&a, &b| sum(b).total_cmp(&sum(a)));
        let mut head = vec!["residue".to_string()];
        for label in &labels {
            head.extend([
                format!("length per frame {label}"),
                format!("jitter {label}"),
            ]);
        }
        let head: Vec<&str> = head.iter().map(|h| h.trim()).collect();
        let cell = |v: Option<&f64>| v.map_or("-".into(), |v| format!("{v:.3}"));
        let row = |&r: &usize| {
            let numbers = means.iter().zip(&jitters);
            let numbers = numbers.flat_map(|(m, j)| [cell(m.get(r)), cell(j.get(r))]);
            std::iter::once(self.residues[r].clone())
                .chain(numbers)
                .collect()
        };
        let rows: Vec<Vec<String>> = order.iter().take(LISTED).map(row).collect();
        let about = format!("The {} that move most.", count(rows.len(), "residue"));
        html::section("Who moves most", &about, &html::table(&head, rows))
    }
}
