//! Paths of invariants to descriptors of motion: log-signatures of every residue and of the whole,
//! and how much each residue's surroundings move.
//!
//! | name | shape | what |
//! |---|---|---|
//! | `log_signature/NNNNNN` | [segments, residues, terms] f32 | per trajectory, of its segments |
//! | `global` | [segments, terms] f32 | of the mean over residues, all segments |
//! | `length/NNNNNN`, `quadratic_variation/NNNNNN` | [residues] f64 | of the conditioned path: sums of steps and of squared steps |
//! | `displacement/NNNNNN` | [lags, residues] f64 | mean squared displacement at the frames of `lags/NNNNNN` |
//! | `jitter/NNNNNN` | [residues] f64 | share of the quadratic variation that is jitter |
//! | `activity/NNNNNN` | [parts of time, residues] f64 | mean step |
//! | `projection` | [z, channels] f64 | principal axes of what moves; `explained` [channels], shares of its variance |
//! | `segment/*`, `trajectory/*`, `residue/*` | | who they are; residues of graph g from `residue/offsets[g]` on |
//!
//! A path's log-signature depends on its steps alone, so it is the same for frames that are
//! repeated. The projection is that of the motion: the covariance of every residue's invariants
//! about their own mean over time, summed over residues and trajectories.

use super::measures::{self, Conditioning};
use crate::comm::{World, packed, pulse};
use crate::data::trajectory::{Dataset, Segment, coordinates_name};
use crate::downstream::pca;
use crate::ops::in_pool;
use crate::ops::signature::{Basis, log_signature};
use crate::store::{Kind, NewFile, Node, Storage};
use crate::{Error, Result, words};
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What descriptors are made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Depth of log-signatures.
    pub depth: usize,
    /// Channels that invariants are projected to.
    pub channels: usize,
    pub conditioning: Conditioning,
    /// Time as one more channel, which grows by one in this many frames.
    pub time: Option<f64>,
    /// Double the path to lead and lag.
    pub lead_lag: bool,
}

/// Terms that a log-signature may have.
const TERMS: usize = 1 << 20;

/// Residues that a rank reads before it hands their results to rank 0.
const RESIDUES: usize = 4;

/// Parts of time that activity is told in.
const PARTS: usize = 200;

impl Settings {
    /// Channels of the path whose signature is taken.
    fn width(&self) -> usize {
        let channels = self.channels + usize::from(self.time.is_some());
        channels * if self.lead_lag { 2 } else { 1 }
    }

    fn terms(&self) -> Result<usize> {
        let (channels, depth) = (self.width(), self.depth);
        let terms = words::lyndon_terms(channels, depth);
        terms.filter(|&n| n <= TERMS).ok_or_else(|| {
            Error::input(format!(
                "--depth {depth}: a log-signature of {channels} channels has more than {TERMS} \
                 terms; choose a smaller --depth or fewer --channels"
            ))
        })
    }

    /// Refuses what makes no descriptors of `dataset`.
    fn check(&self, dataset: &Dataset) -> Result<()> {
        let bad = |what: String| Err(Error::input(what));
        if dataset.kind() != Kind::InvariantPaths {
            let what = "trajectories, where paths of invariants are needed; make them with `holosig \
                        embed CHECKPOINT --trajectories FILE --holographic`";
            return Err(Error::file(dataset.path(), what));
        }
        if self.channels > dataset.dimensions() {
            return bad(format!(
                "--channels {}: there are {} invariants",
                self.channels,
                dataset.dimensions()
            ));
        }
        if self.time.is_some_and(|t| !(t.is_finite() && t > 0.0)) {
            return bad("--time: a positive number of frames is needed".into());
        }
        let lag = self.conditioning.lag;
        match dataset
            .segments()
            .iter()
            .find(|s| (s.frames as usize) <= lag)
        {
            Some(segment) => bad(format!(
                "--lag {lag} leaves one point of segments of {} frames; a path needs two",
                segment.frames
            )),
            None => self.terms().map(drop),
        }
    }

    /// Log-signatures `[paths, terms]` of projected paths `[paths, points, channels]`.
    fn log_signatures(&self, paths: &[f64], count: usize) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        for path in paths.chunks_exact(paths.len() / count.max(1)) {
            let mut path = path.to_vec();
            let mut channels = self.channels;
            if let Some(frames) = self.time {
                path = measures::with_time(&path, channels, self.conditioning.lag, frames);
                channels += 1;
            }
            if self.lead_lag {
                path = measures::lead_lag(&path, channels);
            }
            all.extend(path);
        }
        let shape = (count, all.len() / (count * self.width()), self.width());
        let paths = Tensor::from_vec(all, shape, &Device::Cpu)?;
        let log = in_pool(|| log_signature(&paths, self.depth, Basis::Words))?;
        let log = log.flatten_all()?.to_vec1::<f64>()?;
        Ok(log.into_iter().map(|x| x as f32).collect())
    }
}

/// What a residue's path in one trajectory becomes.
#[derive(Serialize, Deserialize)]
struct Row {
    /// Conditioned and projected segments, `[segments, points, channels]`.
    #[serde(with = "packed")]
    paths: Vec<f64>,
    /// `[segments, terms]`
    #[serde(with = "packed")]
    signatures: Vec<f32>,
    /// Length and quadratic variation.
    length: [f64; 2],
    /// By lag.
    displacement: Vec<f64>,
    activity: Vec<f64>,
}

/// Writes descriptors of the paths in `dataset` to `out`; collective.
///
/// # Errors
/// Settings that do not fit the paths, values that are not finite, an unwritable file.
pub fn write(world: &World, dataset: &Dataset, settings: &Settings, out: &Path) -> Result<()> {
    world.agree(settings.check(dataset))?;
    let job = Job::new(dataset, settings);
    let mut output = world.on_root(|| Output::begin(&job, out))?;
    let axes = job.axes(world)?;
    world.on_root(|| match &output {
        Some(output) => write_axes(output, &job, &axes),
        None => Ok(()),
    })?;
    world.ordered(
        job.items.len(),
        RESIDUES,
        |items| items.map(|i| job.row(job.items[i], &axes)).collect(),
        |items, rows: Vec<Row>| {
            items.zip(rows).try_for_each(|(i, row)| match &mut output {
                Some(output) => output.add(&job, job.items[i], row),
                None => Ok(()),
            })
        },
    )?;
    world.on_root(|| output.map(Output::finish).transpose())?;
    Ok(())
}

/// Principal axes of the motion.
struct Axes {
    /// `[channels][z]`
    directions: Vec<Vec<f64>>,
    /// Shares of the variance.
    explained: Vec<f64>,
}

/// A residue of a trajectory.
#[derive(Clone, Copy)]
struct Item {
    trajectory: usize,
    residue: usize,
}

struct Job<'a> {
    dataset: &'a Dataset,
    settings: &'a Settings,
    items: Vec<Item>,
    /// Numbers of the segments of each trajectory.
    segments: Vec<Vec<usize>>,
}

impl<'a> Job<'a> {
    fn new(dataset: &'a Dataset, settings: &'a Settings) -> Self {
        let mut segments = vec![Vec::new(); dataset.trajectories().len()];
        for (id, segment) in dataset.segments().iter().enumerate() {
            segments[segment.trajectory as usize].push(id);
        }
        let trajectories = dataset.trajectories().iter().enumerate();
        let items = trajectories.flat_map(|(trajectory, t)| {
            let residues = dataset.graphs()[t.graph as usize].nodes;
            (0..residues).map(move |residue| Item {
                trajectory,
                residue,
            })
        });
        Self {
            items: items.collect(),
            dataset,
            settings,
            segments,
        }
    }

    fn residues(&self, trajectory: usize) -> usize {
        let graph = self.dataset.trajectories()[trajectory].graph;
        self.dataset.graphs()[graph as usize].nodes
    }

    /// The invariants of a residue in all frames.
    fn path(&self, item: Item) -> Result<Vec<f32>> {
        pulse::tick();
        let path = self.dataset.path_of(item.trajectory, item.residue)?;
        match path.iter().position(|x| !x.is_finite()) {
            None => Ok(path),
            Some(i) => {
                let name = &self.dataset.trajectories()[item.trajectory].name;
                let (frame, residue) = (i / self.dataset.dimensions(), item.residue);
                let what = format!("{name}, frame {frame}, residue {residue}: {}", path[i]);
                Err(Error::file(self.dataset.path(), what))
            }
        }
    }

    /// Principal axes of the motion, the same on every rank. Collective.
    fn axes(&self, world: &World) -> Result<Axes> {
        let z = self.dataset.dimensions();
        let mut sum = vec![0.0; z * z];
        world.ordered(
            self.items.len(),
            RESIDUES,
            |items| {
                let mut part = vec![0.0; z * z];
                for i in items {
                    let path = self.path(self.items[i])?;
                    let path = self.settings.conditioning.apply(&path, z);
                    scatter(&path, z, &mut part);
                }
                Ok(Scatter(part))
            },
            |_, Scatter(part)| {
                sum.iter_mut().zip(part).for_each(|(s, p)| *s += p);
                Ok(())
            },
        )?;
        let sum = world.broadcast(sum);
        let total: f64 = (0..z).map(|i| sum[i * z + i]).sum();
        let found = pca::axes(sum, z, self.settings.channels);
        let share = |v: f64| if total > 0.0 { v / total } else { 0.0 };
        Ok(Axes {
            explained: found.iter().map(|a| share(a.variance)).collect(),
            directions: found.into_iter().map(|a| a.direction).collect(),
        })
    }

    fn row(&self, item: Item, axes: &Axes) -> Result<Row> {
        let (z, conditioning) = (self.dataset.dimensions(), self.settings.conditioning);
        let path = self.path(item)?;
        let segments = &self.segments[item.trajectory];
        let mut paths = Vec::new();
        for &id in segments {
            let Segment { start, frames, .. } = self.dataset.segments()[id];
            let rows = start as usize * z..(start as usize + frames as usize) * z;
            let points = conditioning.apply(&path[rows], z);
            paths.extend(points.chunks_exact(z).flat_map(|x| project(x, axes)));
        }
        let frames = path.len() / z;
        let lags = measures::lags(frames);
        let whole = conditioning.apply(&path, z);
        Ok(Row {
            signatures: self.settings.log_signatures(&paths, segments.len())?,
            paths,
            length: measures::length(&whole, z),
            displacement: lags
                .iter()
                .map(|&k| measures::displacement(&path, z, k))
                .collect(),
            activity: measures::activity(&whole, z, parts(frames, conditioning.lag)),
        })
    }
}

/// Parts of time that a trajectory's activity is told in.
fn parts(frames: usize, lag: usize) -> usize {
    (frames.div_ceil(lag) - 1).clamp(1, PARTS)
}

fn project<'a>(x: &'a [f64], axes: &'a Axes) -> impl Iterator<Item = f64> + 'a {
    let directions = axes.directions.iter();
    directions.map(move |d| d.iter().zip(x).map(|(d, x)| d * x).sum())
}

/// A matrix on its way to rank 0.
#[derive(Serialize, Deserialize)]
struct Scatter(#[serde(with = "packed")] Vec<f64>);

/// Adds the scatter matrix of a path `[points, z]` about its mean to `sum`, as a mean over points.
fn scatter(path: &[f64], z: usize, sum: &mut [f64]) {
    let n = (path.len() / z) as f64;
    let mean: Vec<f64> = (0..z)
        .map(|k| path.iter().skip(k).step_by(z).sum::<f64>() / n)
        .collect();
    let mut centred = vec![0.0; z];
    for row in path.chunks_exact(z) {
        let parts = centred.iter_mut().zip(row).zip(&mean);
        parts.for_each(|((c, x), m)| *c = x - m);
        for (line, a) in sum.chunks_exact_mut(z).zip(&centred) {
            let entries = line.iter_mut().zip(&centred);
            entries.for_each(|(entry, b)| *entry += a * b / n);
        }
    }
}

/// Groups with one dataset for each trajectory.
const GROUPS: [&str; 6] = [
    "log_signature",
    "length",
    "quadratic_variation",
    "displacement",
    "jitter",
    "activity",
];

/// The file while it is filled, on rank 0.
struct Output {
    file: NewFile,
    groups: [Node; 6],
    terms: usize,
    /// Rows of the trajectory that is being gathered.
    rows: Vec<Row>,
}

impl Output {
    fn begin(job: &Job, out: &Path) -> Result<Self> {
        let file = NewFile::create(out, Kind::Motion)?;
        let (dataset, terms) = (job.dataset, job.settings.terms()?);
        file.set_attr_text("paths", &dataset.fingerprint())?;
        file.set_attr_text("trajectories", &dataset.root().attr_text("trajectories")?)?;
        file.set_attr_text(
            "checkpoint_hash",
            &dataset.root().attr_text("checkpoint_hash")?,
        )?;
        let settings = serde_json::to_string_pretty(job.settings).map_err(Error::internal)?;
        file.write_text("settings", &settings)?;
        describe(&file, dataset)?;
        let shape = [dataset.segments().len(), terms];
        file.create::<f32>("global", &shape, Storage::Compressed)?;
        let groups = GROUPS.map(|name| file.create_group(name));
        let [a, b, c, d, e, f] = groups;
        Ok(Self {
            groups: [a?, b?, c?, d?, e?, f?],
            file,
            terms,
            rows: Vec::new(),
        })
    }

    fn add(&mut self, job: &Job, item: Item, row: Row) -> Result<()> {
        self.rows.push(row);
        match self.rows.len() == job.residues(item.trajectory) {
            true => self.close(job, item.trajectory),
            false => Ok(()),
        }
    }

    /// Writes what was gathered of a trajectory.
    fn close(&mut self, job: &Job, trajectory: usize) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let (n, name) = (rows.len(), coordinates_name(trajectory));
        let ids = &job.segments[trajectory];
        let [signature, length, variation, displacement, jitter, activity] = &self.groups;

        let width = self.terms;
        let of = |s: usize| {
            let each = rows
                .iter()
                .map(move |r| &r.signatures[s * width..(s + 1) * width]);
            each.flatten().copied()
        };
        let all: Vec<f32> = (0..ids.len()).flat_map(of).collect();
        signature.write(&name, &[ids.len(), n, width], &all, Storage::Compressed)?;
        let mut mean = vec![0.0; rows[0].paths.len()];
        for row in &rows {
            mean.iter_mut()
                .zip(&row.paths)
                .for_each(|(m, x)| *m += x / n as f64);
        }
        let global = job.settings.log_signatures(&mean, ids.len())?;
        for (&id, row) in ids.iter().zip(global.chunks_exact(width)) {
            self.file.write_rows("global", id, row)?;
        }

        let column = |of: &dyn Fn(&Row) -> f64| rows.iter().map(of).collect::<Vec<f64>>();
        let put =
            |group: &Node, values: Vec<f64>| group.write(&name, &[n], &values, Storage::Plain);
        put(length, column(&|r| r.length[0]))?;
        put(variation, column(&|r| r.length[1]))?;
        let share = |r: &Row| match r.displacement[..] {
            [first, second, ..] => measures::jitter(first, second),
            _ => 0.0,
        };
        put(jitter, column(&share))?;
        let table = |group: &Node, of: fn(&Row) -> &Vec<f64>| {
            let lines = of(&rows[0]).len();
            let values: Vec<f64> = (0..lines)
                .flat_map(|i| rows.iter().map(move |r| of(r)[i]))
                .collect();
            group.write(&name, &[lines, n], &values, Storage::Compressed)
        };
        table(displacement, |r| &r.displacement)?;
        table(activity, |r| &r.activity)
    }

    fn finish(self) -> Result<()> {
        drop(self.groups);
        self.file.finish().map(drop)
    }
}

/// Writes the projection.
fn write_axes(output: &Output, job: &Job, axes: &Axes) -> Result<()> {
    let (z, c) = (job.dataset.dimensions(), axes.directions.len());
    let values: Vec<f64> = (0..z)
        .flat_map(|i| axes.directions.iter().map(move |d| d[i]))
        .collect();
    let file = &output.file;
    file.write("projection", &[z, c], &values, Storage::Plain)?;
    file.write("explained", &[c], &axes.explained, Storage::Plain)
}

/// Who segments, trajectories and residues are, and the lags of displacements.
fn describe(file: &Node, dataset: &Dataset) -> Result<()> {
    let numbers = |group: &Node, name: &str, values: &[u64]| {
        group.write(name, &[values.len()], values, Storage::Compressed)
    };
    let group = file.create_group("segment")?;
    let segments = dataset.segments().iter();
    let of = |value: fn(&Segment) -> u64| segments.clone().map(value).collect::<Vec<u64>>();
    numbers(&group, "trajectory", &of(|s| s.trajectory.into()))?;
    numbers(&group, "start", &of(|s| s.start))?;
    numbers(&group, "frames", &of(|s| s.frames.into()))?;

    let group = file.create_group("trajectory")?;
    let all = dataset.trajectories().iter();
    let names: Vec<&str> = all.clone().map(|t| t.name.as_str()).collect();
    group.write_strings("name", &names)?;
    let labels: Vec<&str> = all
        .clone()
        .map(|t| t.label.as_deref().unwrap_or(""))
        .collect();
    group.write_strings("label", &labels)?;
    let graphs: Vec<u64> = all.clone().map(|t| t.graph.into()).collect();
    numbers(&group, "graph", &graphs)?;
    let frames: Vec<u64> = all.clone().map(|t| t.frames).collect();
    numbers(&group, "frames", &frames)?;
    let steps: Vec<f64> = all
        .clone()
        .map(|t| t.time_step.unwrap_or(f64::NAN))
        .collect();
    group.write("time_step", &[steps.len()], &steps, Storage::Compressed)?;
    group.set_attr_text("time_unit", dataset.time_unit())?;

    let group = file.create_group("residue")?;
    let systems = dataset.graphs().iter().filter_map(|g| g.atoms.as_ref());
    let residues: Vec<_> = systems.flat_map(|s| &s.residues).collect();
    let texts: Vec<&str> = residues.iter().map(|r| r.chain.as_str()).collect();
    group.write_strings("chain", &texts)?;
    let texts: Vec<&str> = residues.iter().map(|r| r.name.as_str()).collect();
    group.write_strings("name", &texts)?;
    let values: Vec<i32> = residues.iter().map(|r| r.number).collect();
    group.write("number", &[values.len()], &values, Storage::Compressed)?;
    let mut offsets = vec![0u64];
    for graph in dataset.graphs() {
        offsets.push(offsets[offsets.len() - 1] + graph.nodes as u64);
    }
    numbers(&group, "offsets", &offsets)?;

    let group = file.create_group("lags")?;
    for (i, t) in all.enumerate() {
        let lags: Vec<u64> = measures::lags(t.frames as usize)
            .iter()
            .map(|&k| k as u64)
            .collect();
        numbers(&group, &coordinates_name(i), &lags)?;
    }
    Ok(())
}
