//! Reading a trajectories file: its tables at once, its coordinates segment by segment.

use super::tables::{self, read_graphs, read_segments, read_trajectories};
use super::{Graph, Segment, Split};
use crate::comm::World;
use crate::data::Partition;
use crate::store::{self, Digest, Header, Kind, Node, Storage};
use crate::{Error, Result};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Which samples are trained on, and which judge the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Whole trajectories: those of fold `k` are the test set and those of the next fold
    /// validate. Where the file declares test or validation trajectories, these are taken
    /// instead.
    #[default]
    Trajectories,
    /// The published protocol: segments of fold `k` of every training trajectory validate, so
    /// validation sees the molecules that are trained on; test trajectories must be declared.
    Published,
}

/// One row of the table of trajectories.
#[derive(Debug, Clone, PartialEq)]
pub struct Trajectory {
    pub name: String,
    pub label: Option<String>,
    pub group: String,
    /// Declared by the user; `None` leaves it to the folds.
    pub split: Option<Split>,
    pub fold: u32,
    pub frames: u64,
    /// Number of its graph.
    pub graph: u32,
    /// Time between stored frames in [`Dataset::time_unit`].
    pub time_step: Option<f64>,
}

/// The coordinates, or whatever else a node has, in some frames of a trajectory.
#[derive(Debug, Clone, PartialEq)]
pub struct Coordinates {
    /// [frames, nodes, dimensions], row-major, in [`Dataset::unit`].
    pub values: Vec<f32>,
    pub frames: usize,
    pub nodes: usize,
    pub dimensions: usize,
}

/// An open trajectories file, or one of the same tables whose nodes are residues with the
/// invariants of their neighborhoods in place of coordinates ([`Kind::InvariantPaths`]).
pub struct Dataset {
    file: store::File,
    kind: Kind,
    path: PathBuf,
    digest: Digest,
    origin: String,
    unit: String,
    time_unit: String,
    dimensions: usize,
    segment_folds: usize,
    trajectory_folds: usize,
    trajectories: Vec<Trajectory>,
    segments: Vec<Segment>,
    graphs: Vec<Graph>,
    classes: Vec<String>,
}

impl Dataset {
    /// Opens `path` on all ranks; rank 0 verifies its bytes. Collective.
    ///
    /// # Errors
    /// As [`store::open`]; tables that do not fit each other.
    pub fn open(world: &World, path: &Path) -> Result<Self> {
        let verified = world.on_root(|| store::open(path, kind(path)?))?;
        let opened = match verified {
            Some(file) => Ok(file),
            None => kind(path).and_then(|kind| store::open_trusted(path, kind)),
        };
        world.agree(opened.and_then(|file| Self::load(path, file)))
    }

    fn load(path: &Path, file: store::File) -> Result<Self> {
        let header = file
            .header()
            .ok_or_else(|| Error::internal("a trajectories file without a header"))?;
        let dataset = Self {
            path: path.to_path_buf(),
            kind: header.kind,
            digest: header.digest,
            origin: file.attr_text("origin")?,
            unit: file.attr_text("unit")?,
            time_unit: file.attr_text("time_unit")?,
            dimensions: file.attr::<u32>("dimensions")? as usize,
            segment_folds: file.attr::<u32>("segment_folds")? as usize,
            trajectory_folds: file.attr::<u32>("trajectory_folds")? as usize,
            trajectories: read_trajectories(&file.group("trajectories")?)?,
            segments: read_segments(&file.group("segments")?)?,
            graphs: read_graphs(&file)?,
            classes: Vec::new(),
            file,
        };
        dataset.consistent()?;
        let labels = dataset.trajectories.iter().filter_map(|t| t.label.clone());
        let mut classes: Vec<String> = labels.collect();
        sort_labels(&mut classes);
        Ok(Self { classes, ..dataset })
    }

    fn consistent(&self) -> Result<()> {
        let graphs = self.graphs.len();
        let fits = self
            .trajectories
            .iter()
            .all(|t| (t.graph as usize) < graphs)
            && self.segments.iter().all(|s| {
                let of = self.trajectories.get(s.trajectory as usize);
                of.is_some_and(|t| s.start + u64::from(s.frames) <= t.frames)
            });
        if fits {
            Ok(())
        } else {
            Err(Error::file(&self.path, "its tables do not fit each other"))
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What its nodes are: atoms or genes ([`Kind::Trajectories`]), or residues with the invariants
    /// of their neighborhoods ([`Kind::InvariantPaths`]).
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The root group: what a kind of file has beside the tables.
    pub fn root(&self) -> &Node {
        &self.file
    }

    /// Names the exact content of the file.
    pub fn fingerprint(&self) -> String {
        self.digest.to_string()
    }

    /// Kind of source, in words.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Unit of coordinates: `angstrom`, or `1` when they have none.
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// Unit of time steps: `ps` or `1`.
    pub fn time_unit(&self) -> &str {
        &self.time_unit
    }

    /// Values per node: 3 for molecules, 1 for concentrations.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Folds that whole trajectories are dealt to.
    pub fn trajectory_folds(&self) -> usize {
        self.trajectory_folds
    }

    /// Folds that the segments of one trajectory are dealt to; 1 for windows.
    pub fn segment_folds(&self) -> usize {
        self.segment_folds
    }

    /// The options of the command that made the file, as JSON.
    pub fn settings(&self) -> Result<String> {
        self.file.read_text("settings")
    }

    pub fn trajectories(&self) -> &[Trajectory] {
        &self.trajectories
    }

    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    pub fn graphs(&self) -> &[Graph] {
        &self.graphs
    }

    /// The distinct labels: by value when all are numbers, else by name. A class is its place
    /// in this list.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Deals the labels anew to the trajectories, drawn from `seed`: what a model scores then is
    /// what chance, and whatever else than the labels, can give. Labels stay within their fold and
    /// their declared split, so that every fold keeps as many of each.
    pub fn shuffle_labels(&mut self, seed: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut parts: BTreeMap<(u32, Option<Split>), Vec<usize>> = BTreeMap::new();
        for (place, t) in self.trajectories.iter().enumerate() {
            parts.entry((t.fold, t.split)).or_default().push(place);
        }
        for places in parts.into_values() {
            let labels = places.iter().map(|&p| self.trajectories[p].label.take());
            let mut labels: Vec<Option<String>> = labels.collect();
            labels.shuffle(&mut rng);
            for (place, label) in places.into_iter().zip(labels) {
                self.trajectories[place].label = label;
            }
        }
    }

    /// The trajectory of segment `id`.
    pub fn trajectory_of(&self, id: u32) -> &Trajectory {
        &self.trajectories[self.segments[id as usize].trajectory as usize]
    }

    /// The graph of segment `id`.
    pub fn graph_of(&self, id: u32) -> &Graph {
        &self.graphs[self.trajectory_of(id).graph as usize]
    }

    /// The class of segment `id`.
    ///
    /// # Errors
    /// The trajectories have no labels.
    pub fn class_of(&self, id: u32) -> Result<u32> {
        let label = self.label_of(id)?;
        let class = self.classes.iter().position(|c| c == label);
        class
            .map(|c| c as u32)
            .ok_or_else(|| Error::internal(format!("label {label} is not among the classes")))
    }

    /// The label of segment `id` as a number, for regression.
    ///
    /// # Errors
    /// The trajectories have no labels, or this one is not a finite number.
    pub fn value_of(&self, id: u32) -> Result<f64> {
        let label = self.label_of(id)?;
        number(label).ok_or_else(|| {
            let name = &self.trajectory_of(id).name;
            let what = format!("label {label:?} of {name} is not a number, as regression needs");
            Error::file(&self.path, what)
        })
    }

    fn label_of(&self, id: u32) -> Result<&str> {
        self.trajectory_of(id).label.as_deref().ok_or_else(|| {
            Error::file(
                &self.path,
                "its trajectories have no labels; prepare it from a manifest with a label column",
            )
        })
    }

    /// The coordinates of segment `id`, read from the file: no other frames are touched than
    /// those of its chunks.
    pub fn segment(&self, id: u32) -> Result<Coordinates> {
        let segment = self
            .segments
            .get(id as usize)
            .ok_or_else(|| Error::internal(format!("segment {id} of {}", self.segments.len())))?;
        let start = segment.start as usize;
        let frames = start..start + segment.frames as usize;
        self.frames(segment.trajectory as usize, frames)
    }

    /// Some frames of trajectory number `trajectory`, read from the file.
    ///
    /// # Errors
    /// Frames that are not there, a file whose nodes do not fit its graph.
    pub fn frames(&self, trajectory: usize, frames: Range<usize>) -> Result<Coordinates> {
        let nodes = self.graphs[self.trajectories[trajectory].graph as usize].nodes;
        let (group, name) = (values_group(self.kind), coordinates_name(trajectory));
        let count = frames.len();
        let values = self.file.group(group)?.read_rows::<f32>(&name, frames)?;
        if values.len() != count * nodes * self.dimensions {
            return Err(Error::file(
                &self.path,
                format!(
                    "{group}/{name} has not {nodes} nodes of {} values",
                    self.dimensions
                ),
            ));
        }
        Ok(Coordinates {
            values,
            frames: count,
            nodes,
            dimensions: self.dimensions,
        })
    }

    /// The path of one node of trajectory number `trajectory` through all frames,
    /// [frames, dimensions], read from the file.
    ///
    /// # Errors
    /// As [`Dataset::frames`].
    pub fn path_of(&self, trajectory: usize, node: usize) -> Result<Vec<f32>> {
        let frames = self.trajectories[trajectory].frames as usize;
        let group = self.file.group(values_group(self.kind))?;
        group.read_column(&coordinates_name(trajectory), 0..frames, node)
    }

    /// Begins a file of invariant paths over the same trajectories and segments, in `root`: nodes are
    /// those of `graphs`, one for each of this file's, with `dimensions` values. Room is made for
    /// `invariants/NNNNNN` [frames, nodes, dimensions] in chunks of one node and `chunk` frames.
    ///
    /// # Errors
    /// A full disk.
    pub fn begin_invariants(
        &self,
        root: &Node,
        graphs: &[Graph],
        dimensions: usize,
        chunk: usize,
    ) -> Result<Node> {
        root.set_attr_text("origin", &self.origin)?;
        root.set_attr_text("unit", "1")?;
        root.set_attr_text("time_unit", &self.time_unit)?;
        root.set_attr("dimensions", dimensions as u64)?;
        root.set_attr("segment_folds", self.segment_folds as u64)?;
        root.set_attr("trajectory_folds", self.trajectory_folds as u64)?;
        root.write_text("settings", &self.settings()?)?;
        tables::write(root, &self.trajectories, &self.segments, graphs)?;
        let group = root.create_group(values_group(Kind::InvariantPaths))?;
        for (index, trajectory) in self.trajectories.iter().enumerate() {
            let nodes = graphs[trajectory.graph as usize].nodes;
            let shape = [trajectory.frames as usize, nodes, dimensions];
            let storage = Storage::Columns(chunk);
            group.create::<f32>(&coordinates_name(index), &shape, storage)?;
        }
        Ok(group)
    }

    /// Divides the segments for fold number `fold`; see [`Protocol`].
    ///
    /// # Errors
    /// No such fold; no test trajectories where the protocol needs them; an empty part.
    pub fn partition(&self, protocol: Protocol, fold: usize) -> Result<Partition> {
        let (tests, validations) = (self.declares(Split::Test), self.declares(Split::Validation));
        let folds = self.folds(protocol)?;
        if fold >= folds {
            return Err(Error::input(format!(
                "fold {fold}: {} has folds 0 to {}",
                self.path.display(),
                folds - 1
            )));
        }
        // Fold `fold` itself, or the next one when that is the test set.
        let validating = match protocol {
            Protocol::Trajectories if !tests => (fold + 1) % folds,
            _ => fold,
        };
        let mut parts = Partition::default();
        for (id, segment) in self.segments.iter().enumerate() {
            let trajectory = &self.trajectories[segment.trajectory as usize];
            let of = match protocol {
                Protocol::Trajectories => trajectory.fold as usize,
                Protocol::Published => segment.fold as usize,
            };
            let split = trajectory.split.unwrap_or({
                if protocol == Protocol::Trajectories && !tests && of == fold {
                    Split::Test
                } else {
                    Split::Train
                }
            });
            let split = if split == Split::Train && !validations && of == validating {
                Split::Validation
            } else {
                split
            };
            parts.split_mut(split).push(id as u32);
        }
        self.none_empty(&parts, fold)?;
        Ok(parts)
    }

    fn declares(&self, split: Split) -> bool {
        self.trajectories.iter().any(|t| t.split == Some(split))
    }

    /// Number of folds that one of can be held out.
    ///
    /// # Errors
    /// Data that the protocol does not fit.
    pub fn folds(&self, protocol: Protocol) -> Result<usize> {
        let tests = self.declares(Split::Test);
        match protocol {
            Protocol::Published if !tests => Err(Error::file(
                &self.path,
                "the published protocol needs test trajectories: no row of the manifest has split = test",
            )),
            Protocol::Published if self.segment_folds < 2 => Err(Error::file(
                &self.path,
                "the published protocol needs segments in two folds or more: prepare with \
                 --segments GROUPSxFOLDS",
            )),
            Protocol::Published => Ok(self.segment_folds),
            Protocol::Trajectories => Ok(self.trajectory_folds),
        }
    }

    fn none_empty(&self, parts: &Partition, fold: usize) -> Result<()> {
        let empty = Split::ALL.iter().find(|s| parts.split(**s).is_empty());
        match empty {
            None => Ok(()),
            Some(split) => Err(Error::file(
                &self.path,
                format!(
                    "fold {fold} leaves nothing for {}: {} trajectories in {} folds; \
                     prepare with fewer --folds or declare splits in the manifest",
                    split,
                    self.trajectories.len(),
                    self.trajectory_folds
                ),
            )),
        }
    }
}

/// The kind of a file that has trajectories; for any other file the one that is expected.
fn kind(path: &Path) -> Result<Kind> {
    Ok(match Header::read(path)?.kind {
        Kind::InvariantPaths => Kind::InvariantPaths,
        _ => Kind::Trajectories,
    })
}

/// The group with what nodes have in every frame.
fn values_group(kind: Kind) -> &'static str {
    match kind {
        Kind::InvariantPaths => "invariants",
        _ => "coordinates",
    }
}

/// Name of the dataset with the coordinates of trajectory `index`.
pub fn coordinates_name(index: usize) -> String {
    format!("{index:06}")
}

pub(super) fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|v: &f64| v.is_finite())
}

/// Sorts and deduplicates labels: by value when all are numbers, else by name.
pub(super) fn sort_labels(labels: &mut Vec<String>) {
    if labels.iter().all(|l| number(l).is_some()) {
        labels.sort_by(|a, b| {
            let (x, y) = (number(a).unwrap_or(0.0), number(b).unwrap_or(0.0));
            x.total_cmp(&y).then_with(|| a.cmp(b))
        });
    } else {
        labels.sort();
    }
    labels.dedup();
}
