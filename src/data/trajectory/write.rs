//! Writing a trajectories file from any source, by all ranks.
//!
//! Ranks share the trajectories out and write each to a scratch file; rank 0 copies these into
//! the HDF5 file in order. The result does not depend on the number of ranks or threads.

use super::dataset::sort_labels;
use super::{Cut, Graph, Header, Item, Segment, Trajectory, folds, part, tables};
use crate::comm::World;
use crate::store::{self, Digest, Kind, Node, Scratch, Storage};
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Where the trajectories come from.
pub trait Source: Sync {
    /// What is known of the trajectories beforehand, the same on every rank.
    fn items(&self) -> &[Item];

    /// Relative cost of reading trajectory `index`, the same on every rank.
    fn cost(&self, index: usize) -> u64;

    /// Gives the frames of trajectory `index` in order, [nodes, dimensions] values each.
    fn produce(&self, index: usize, frame: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<Header>;
}

/// What the file as a whole says of itself.
pub struct About {
    /// Kind of source, in words.
    pub origin: &'static str,
    /// Unit of coordinates.
    pub unit: &'static str,
    /// Unit of time steps.
    pub time_unit: &'static str,
    /// Values per node.
    pub dimensions: usize,
    /// Resolved options, as JSON.
    pub settings: String,
    pub cut: Cut,
    /// Folds that whole trajectories are dealt to.
    pub folds: usize,
    /// Seed of that deal.
    pub seed: u64,
    /// Leave out trajectories that cannot be read, each named, instead of giving up.
    pub skip: bool,
}

/// What was written.
pub struct Summary {
    pub trajectories: usize,
    /// Trajectories that were left out.
    pub skipped: usize,
    pub frames: u64,
    pub segments: usize,
    pub graphs: usize,
    /// Fewest and most nodes of a graph.
    pub nodes: (usize, usize),
    /// Number of trajectories with each label, in label order.
    pub labels: Vec<(String, usize)>,
    /// Folds in which a class does not occur.
    pub lacking_a_class: Vec<u32>,
    /// Graphs without any edge, by the name of the first trajectory on them.
    pub without_edges: Vec<String>,
    /// Graphs with edges and with nodes that have none, likewise.
    pub with_isolated: Vec<String>,
    pub digest: Digest,
}

/// Chunks are whole segments between these sizes, in bytes.
const SMALLEST_CHUNK: usize = 1 << 15;
const LARGEST_CHUNK: usize = 1 << 24;

/// Writes the file `out`; collective. The summary is `Some` on rank 0.
///
/// # Errors
/// Whatever the source reports; values that are not finite; a trajectory with too few frames;
/// an unwritable folder. Nothing is left behind.
pub fn prepare(
    world: &World,
    out: &Path,
    about: &About,
    source: &impl Source,
) -> Result<Option<Summary>> {
    world.agree(check(about, source.items()))?;
    world.on_root(|| Scratch::new(out).map(drop))?;
    let token = world.broadcast(std::process::id().to_le_bytes().to_vec());
    let token = u32::from_le_bytes(token.try_into().unwrap_or_default());
    let place = |index| part::place(out, token, index);

    let costs: Vec<u64> = (0..source.items().len()).map(|i| source.cost(i)).collect();
    let mine = share_out(&costs, world.size()).swap_remove(world.rank());
    let read = read_all(&mine, about, source, &place);
    let (parts, refused) = world.agree(read)?;
    let refused = gathered(world, refused)?;
    let summary = world.on_root(|| {
        refused
            .values()
            .for_each(|reason| log::warn!("skipped: {reason}"));
        merge(out, about, source.items(), &refused, &place)
    })?;
    drop(parts);
    Ok(summary)
}

/// Why trajectories are left out, by their indices.
type Refused = BTreeMap<usize, String>;

/// Those of all ranks, on rank 0; collective.
fn gathered(world: &World, own: Refused) -> Result<Refused> {
    let text = world.agree(serde_json::to_vec(&own).map_err(Error::internal))?;
    let mut all = Refused::new();
    for text in world.gather(&text) {
        all.extend(serde_json::from_slice::<Refused>(&text).map_err(Error::internal)?);
    }
    Ok(all)
}

fn check(about: &About, items: &[Item]) -> Result<()> {
    about.cut.validate()?;
    if about.folds == 0 {
        return Err(Error::input("--folds 0: it must be positive"));
    }
    if items.is_empty() {
        return Err(Error::input("no trajectories"));
    }
    Ok(())
}

/// Indices for each rank: the costliest first, each to the rank with the least so far.
fn share_out(costs: &[u64], ranks: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..costs.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(costs[i]), i));
    let mut shares = vec![Vec::new(); ranks];
    let mut loads = vec![0u64; ranks];
    for i in order {
        let least = (0..ranks).min_by_key(|&r| loads[r]).unwrap_or(0);
        loads[least] += costs[i].max(1);
        shares[least].push(i);
    }
    shares
}

fn read_all(
    mine: &[usize],
    about: &About,
    source: &impl Source,
    place: &(impl Fn(usize) -> PathBuf + Sync),
) -> Result<(Vec<part::Part>, Refused)> {
    let read = |&index: &usize| read_one(index, about, source, place(index));
    let read: Vec<Result<part::Part>> = mine.par_iter().map(read).collect();
    let (mut parts, mut refused) = (Vec::new(), Refused::new());
    for (&index, outcome) in mine.iter().zip(read) {
        match outcome {
            Err(Error::Input(reason)) if about.skip => {
                refused.insert(index, reason);
            }
            outcome => parts.push(outcome?),
        }
    }
    Ok((parts, refused))
}

fn read_one(
    index: usize,
    about: &About,
    source: &impl Source,
    place: PathBuf,
) -> Result<part::Part> {
    let name = &source.items()[index].name;
    let mut writer = part::Writer::create(place)?;
    let mut frames = 0;
    let mut width = None;
    let header = source.produce(index, &mut |values: &[f32]| {
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            return Err(Error::input(format!(
                "{name}: frame {frames}, node {}: {} is not a finite number",
                at / about.dimensions,
                values[at]
            )));
        }
        frames += 1;
        width = Some(values.len());
        writer.push(values)
    })?;
    if width.is_some_and(|w| w != header.graph.nodes * about.dimensions) {
        return Err(Error::internal(format!(
            "frames of {width:?} values on {} nodes",
            header.graph.nodes
        )));
    }
    about.segments(index, frames, name)?;
    writer.finish(&header)
}

impl About {
    /// The segments of trajectory `index`.
    fn segments(&self, index: usize, frames: usize, name: &str) -> Result<Vec<Segment>> {
        self.cut
            .segments(index as u32, frames)
            .map_err(|e| match e {
                Error::Input(text) => Error::input(format!("{name}: {text}")),
                other => other,
            })
    }
}

/// Puts what was read into the file; trajectories keep their order.
fn merge(
    out: &Path,
    about: &About,
    items: &[Item],
    refused: &Refused,
    place: &impl Fn(usize) -> PathBuf,
) -> Result<Summary> {
    let kept: Vec<usize> = (0..items.len())
        .filter(|i| !refused.contains_key(i))
        .collect();
    let items: Vec<Item> = kept.iter().map(|&i| items[i].clone()).collect();
    if items.is_empty() {
        return Err(Error::input(
            "no trajectory could be used: nothing is written",
        ));
    }
    let mut tables = Tables::default();
    let digest = store::write(out, Kind::Trajectories, |root| {
        let coordinates = root.create_group("coordinates")?;
        for (index, (item, &from)) in items.iter().zip(&kept).enumerate() {
            let part = part::Reader::open(place(from))?;
            tables.add(&coordinates, about, index, &item.name, part)?;
        }
        tables.write(root, about, &items)
    })?;
    Ok(tables.summary(&items, about, refused.len(), digest))
}

/// Everything but the coordinates, gathered while they are copied.
#[derive(Default)]
struct Tables {
    graphs: Vec<Graph>,
    /// First trajectory on each graph.
    first: Vec<usize>,
    numbers: HashMap<u128, Vec<usize>>,
    frames: Vec<u64>,
    graph: Vec<u32>,
    time_step: Vec<Option<f64>>,
    segments: Vec<Segment>,
}

impl Tables {
    fn add(
        &mut self,
        coordinates: &Node,
        about: &About,
        index: usize,
        name: &str,
        mut part: part::Reader,
    ) -> Result<()> {
        let Header { graph, time_step } = std::mem::take(&mut part.header);
        let row = graph.nodes * about.dimensions;
        let frames = (part.values / row.max(1) as u64) as usize;
        self.segments.extend(about.segments(index, frames, name)?);
        self.frames.push(frames as u64);
        self.time_step.push(time_step);
        copy(coordinates, about, index, [frames, graph.nodes], part)?;
        let graph = self.number(graph, index)?;
        self.graph.push(graph);
        Ok(())
    }

    /// The number of `graph`, stored once however many trajectories have it.
    fn number(&mut self, graph: Graph, index: usize) -> Result<u32> {
        let bytes = serde_json::to_vec(&graph).map_err(Error::internal)?;
        let same = self
            .numbers
            .entry(xxhash_rust::xxh3::xxh3_128(&bytes))
            .or_default();
        let known = same.iter().copied().find(|&n| self.graphs[n] == graph);
        let number = known.unwrap_or_else(|| {
            same.push(self.graphs.len());
            self.graphs.push(graph);
            self.first.push(index);
            self.graphs.len() - 1
        });
        Ok(number as u32)
    }

    fn write(&self, root: &Node, about: &About, items: &[Item]) -> Result<()> {
        root.set_attr_text("origin", about.origin)?;
        root.set_attr_text("unit", about.unit)?;
        root.set_attr_text("time_unit", about.time_unit)?;
        root.set_attr("dimensions", about.dimensions as u64)?;
        root.set_attr("segment_folds", about.cut.folds() as u64)?;
        root.set_attr("trajectory_folds", about.folds as u64)?;
        root.write_text("settings", &about.settings)?;
        let folds = folds::assign(items, about.folds, about.seed);
        let trajectory = |(i, item): (usize, &Item)| Trajectory {
            name: item.name.clone(),
            label: item.label.clone(),
            group: item.group.clone(),
            split: item.split,
            fold: folds[i],
            frames: self.frames[i],
            graph: self.graph[i],
            time_step: self.time_step[i],
        };
        let trajectories: Vec<Trajectory> = items.iter().enumerate().map(trajectory).collect();
        tables::write(root, &trajectories, &self.segments, &self.graphs)
    }

    fn summary(self, items: &[Item], about: &About, skipped: usize, digest: Digest) -> Summary {
        let folds = folds::assign(items, about.folds, about.seed);
        let mut labels: Vec<String> = items.iter().filter_map(|i| i.label.clone()).collect();
        sort_labels(&mut labels);
        let nodes = || self.graphs.iter().map(|g| g.nodes);
        let named = |wanted: &dyn Fn(&Graph) -> bool| -> Vec<String> {
            let graphs = std::iter::zip(&self.graphs, &self.first);
            let chosen = graphs.filter(|(g, _)| wanted(g));
            chosen.map(|(_, &i)| items[i].name.clone()).collect()
        };
        Summary {
            trajectories: items.len(),
            skipped,
            frames: self.frames.iter().sum(),
            segments: self.segments.len(),
            graphs: self.graphs.len(),
            nodes: (nodes().min().unwrap_or(0), nodes().max().unwrap_or(0)),
            without_edges: named(&|g| g.edges.is_empty()),
            with_isolated: named(&|g| !g.edges.is_empty() && g.isolated() > 0),
            labels: labels
                .into_iter()
                .map(|l| {
                    let n = items
                        .iter()
                        .filter(|i| i.label.as_ref() == Some(&l))
                        .count();
                    (l, n)
                })
                .collect(),
            lacking_a_class: folds::lacking_a_label(items, &folds, about.folds),
            digest,
        }
    }
}

/// Copies the frames of a part into a dataset of their own, chunk by chunk.
fn copy(
    coordinates: &Node,
    about: &About,
    index: usize,
    [frames, nodes]: [usize; 2],
    mut part: part::Reader,
) -> Result<()> {
    let row = nodes * about.dimensions;
    let bytes = (row * size_of::<f32>()).max(1);
    let segment = about.cut.length(frames).max(1);
    let several = SMALLEST_CHUNK.div_ceil(bytes * segment).max(1);
    let rows = (segment * several)
        .min((LARGEST_CHUNK / bytes).max(1))
        .min(frames.max(1));
    let name = super::dataset::coordinates_name(index);
    coordinates.create::<f32>(
        &name,
        &[frames, nodes, about.dimensions],
        Storage::Rows(rows),
    )?;
    let mut buffer = vec![0f32; rows * row];
    for start in (0..frames).step_by(rows) {
        let here = &mut buffer[..rows.min(frames - start) * row];
        part.read(here)?;
        coordinates.write_rows(&name, start, here)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::share_out;

    #[test]
    fn work_is_shared_evenly() {
        let costs = [10, 1, 1, 1, 7, 5, 5, 0];
        for ranks in 1..=4 {
            let shares = share_out(&costs, ranks);
            let mut all: Vec<usize> = shares.concat();
            all.sort();
            assert_eq!(all, (0..costs.len()).collect::<Vec<_>>());
            let load = |s: &Vec<usize>| s.iter().map(|&i| costs[i]).sum::<u64>();
            let most = shares.iter().map(load).max().unwrap();
            assert!(most <= (30 / ranks as u64 + 3).max(10), "{shares:?}");
        }
    }
}
