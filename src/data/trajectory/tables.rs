//! The tables of a trajectories file, read and written whole.

use super::{Graph, Segment, Trajectory};
use crate::data::system::{Label, Residue, System};
use crate::store::{Element, Node, Storage};
use crate::{Error, Result};
use std::cmp::Ordering;

fn same_length(group: &Node, lengths: &[usize]) -> Result<()> {
    if lengths.windows(2).all(|w| w[0] == w[1]) {
        return Ok(());
    }
    let name = group.h5().name();
    Err(Error::file(
        group.path(),
        format!("the columns of {name} differ in length"),
    ))
}

pub(super) fn read_trajectories(group: &Node) -> Result<Vec<Trajectory>> {
    let name = group.read_strings("name")?;
    let label = match group.has("label") {
        true => Some(group.read_strings("label")?),
        false => None,
    };
    let of_group = group.read_strings("group")?;
    let split = group.read_strings("split")?;
    let fold: Vec<u32> = group.read("fold")?;
    let frames: Vec<u64> = group.read("frames")?;
    let graph: Vec<u32> = group.read("graph")?;
    let time_step: Vec<f64> = group.read("time_step")?;
    let labels = label.as_ref().map_or(name.len(), Vec::len);
    same_length(
        group,
        &[
            name.len(),
            labels,
            of_group.len(),
            split.len(),
            fold.len(),
            frames.len(),
            graph.len(),
            time_step.len(),
        ],
    )?;
    Ok((0..name.len())
        .map(|i| Trajectory {
            name: name[i].clone(),
            label: label.as_ref().map(|l| l[i].clone()),
            group: of_group[i].clone(),
            split: split[i].parse().ok(),
            fold: fold[i],
            frames: frames[i],
            graph: graph[i],
            time_step: Some(time_step[i]).filter(|t| t.is_finite()),
        })
        .collect())
}

pub(super) fn read_segments(group: &Node) -> Result<Vec<Segment>> {
    let start: Vec<u64> = group.read("start")?;
    let [trajectory, frames, number, fold] =
        ["trajectory", "frames", "group", "fold"].map(|name| group.read::<u32>(name));
    let (trajectory, frames, number, fold) = (trajectory?, frames?, number?, fold?);
    same_length(
        group,
        &[
            start.len(),
            trajectory.len(),
            frames.len(),
            number.len(),
            fold.len(),
        ],
    )?;
    Ok((0..start.len())
        .map(|i| Segment {
            trajectory: trajectory[i],
            start: start[i],
            frames: frames[i],
            group: number[i],
            fold: fold[i],
        })
        .collect())
}

pub(super) fn read_graphs(root: &Node) -> Result<Vec<Graph>> {
    let group = root.group("graphs")?;
    let nodes: Vec<u64> = group.read("nodes")?;
    let edges: Vec<u64> = group.read("edges")?;
    let (all, _) = root.read_shaped::<u32>("edges", &[None, Some(2)])?;
    same_length(&group, &[nodes.len(), edges.len()])?;
    let total = |counts: &[u64]| counts.iter().sum::<u64>() as usize;
    if 2 * total(&edges) != all.len() {
        return Err(Error::file(root.path(), "edges do not fit graphs/edges"));
    }
    let mut atoms = match root.has("nodes") {
        true => Some(AllAtoms::read(&root.group("nodes")?, total(&nodes))?),
        false => None,
    };
    let mut pairs = all.chunks_exact(2).map(|e| [e[0], e[1]]);
    std::iter::zip(nodes, edges)
        .map(|(nodes, edges)| {
            let nodes = nodes as usize;
            let edges: Vec<[u32; 2]> = pairs.by_ref().take(edges as usize).collect();
            if edges.iter().flatten().any(|&n| n as usize >= nodes) {
                return Err(Error::file(
                    root.path(),
                    "an edge leads to a node that is not there",
                ));
            }
            Ok(Graph {
                nodes,
                edges,
                atoms: match &mut atoms {
                    Some(all) => Some(all.next(nodes, root)?),
                    None => None,
                },
            })
        })
        .collect()
}

/// The columns of `nodes`, handed out graph by graph.
struct AllAtoms {
    name: std::vec::IntoIter<String>,
    element: std::vec::IntoIter<u8>,
    residue: std::vec::IntoIter<u32>,
    residue_name: std::vec::IntoIter<String>,
    residue_number: std::vec::IntoIter<i32>,
    chain: std::vec::IntoIter<String>,
}

impl AllAtoms {
    fn read(group: &Node, total: usize) -> Result<Self> {
        let all = Self {
            name: group.read_strings("name")?.into_iter(),
            element: group.read("element")?.into_iter(),
            residue: group.read("residue")?.into_iter(),
            residue_name: group.read_strings("residue_name")?.into_iter(),
            residue_number: group.read("residue_number")?.into_iter(),
            chain: group.read_strings("chain")?.into_iter(),
        };
        let lengths = [
            total,
            all.name.len(),
            all.element.len(),
            all.residue.len(),
            all.residue_name.len(),
            all.residue_number.len(),
            all.chain.len(),
        ];
        same_length(group, &lengths)?;
        Ok(all)
    }

    /// The next graph's nodes.
    ///
    /// # Errors
    /// Residues that are not numbered in the order in which the nodes name them.
    fn next(&mut self, nodes: usize, root: &Node) -> Result<System> {
        let mut system = System {
            numbers: self.element.by_ref().take(nodes).collect(),
            names: texts(&mut self.name, nodes).collect(),
            residue_of: self.residue.by_ref().take(nodes).collect(),
            ..System::default()
        };
        let names = texts(&mut self.residue_name, nodes);
        let chains = texts(&mut self.chain, nodes);
        let numbers = self.residue_number.by_ref().take(nodes);
        for (((&place, name), chain), number) in
            system.residue_of.iter().zip(names).zip(chains).zip(numbers)
        {
            match (place as usize).cmp(&system.residues.len()) {
                Ordering::Less => {}
                Ordering::Equal => system.residues.push(Residue {
                    chain,
                    number,
                    name,
                    ..Residue::default()
                }),
                Ordering::Greater => {
                    let what = "nodes/residue: not numbered from 0 on, in the order of the nodes";
                    return Err(Error::file(root.path(), what));
                }
            }
        }
        Ok(system)
    }
}

/// The next names of a column.
fn texts(column: &mut impl Iterator<Item = String>, nodes: usize) -> impl Iterator<Item = Label> {
    column.by_ref().take(nodes).map(|text| text.as_str().into())
}

/// Writes the tables of trajectories, their segments and their graphs.
///
/// # Errors
/// A full disk.
pub(super) fn write(
    root: &Node,
    trajectories: &[Trajectory],
    segments: &[Segment],
    graphs: &[Graph],
) -> Result<()> {
    write_trajectories(&root.create_group("trajectories")?, trajectories)?;
    write_segments(&root.create_group("segments")?, segments)?;
    write_graphs(root, graphs)
}

fn write_trajectories(group: &Node, all: &[Trajectory]) -> Result<()> {
    let texts = |of: fn(&Trajectory) -> &str| all.iter().map(of).collect::<Vec<&str>>();
    group.write_strings("name", &texts(|t| &t.name))?;
    if all.iter().all(|t| t.label.is_some()) {
        group.write_strings("label", &texts(|t| t.label.as_deref().unwrap_or_default()))?;
    }
    group.write_strings("group", &texts(|t| &t.group))?;
    let splits = all
        .iter()
        .map(|t| t.split.map_or(String::new(), |s| s.to_string()));
    group.write_strings("split", &splits.collect::<Vec<_>>())?;
    column(group, "frames", all.iter().map(|t| t.frames))?;
    column(group, "graph", all.iter().map(|t| t.graph))?;
    column(group, "fold", all.iter().map(|t| t.fold))?;
    let steps = all.iter().map(|t| t.time_step.unwrap_or(f64::NAN));
    column(group, "time_step", steps)
}

fn write_segments(group: &Node, segments: &[Segment]) -> Result<()> {
    column(group, "trajectory", segments.iter().map(|s| s.trajectory))?;
    column(group, "start", segments.iter().map(|s| s.start))?;
    column(group, "frames", segments.iter().map(|s| s.frames))?;
    column(group, "group", segments.iter().map(|s| s.group))?;
    column(group, "fold", segments.iter().map(|s| s.fold))
}

fn write_graphs(root: &Node, all: &[Graph]) -> Result<()> {
    let graphs = root.create_group("graphs")?;
    column(&graphs, "nodes", all.iter().map(|g| g.nodes as u64))?;
    column(&graphs, "edges", all.iter().map(|g| g.edges.len() as u64))?;
    let edges = all.iter().flat_map(|g| g.edges.iter().flatten().copied());
    let edges: Vec<u32> = edges.collect();
    root.write("edges", &[edges.len() / 2, 2], &edges, Storage::Compressed)?;

    let atoms = all.iter().map(|g| g.atoms.as_ref());
    let Some(atoms) = atoms.collect::<Option<Vec<&System>>>() else {
        return Ok(());
    };
    let nodes = root.create_group("nodes")?;
    let residues = atoms.iter().flat_map(|a| {
        let places = a.residue_of.iter();
        places.map(|&r| a.residues[r as usize])
    });
    let residues: Vec<Residue> = residues.collect();
    let names = atoms.iter().flat_map(|a| &a.names).map(Label::as_str);
    nodes.write_strings("name", &names.collect::<Vec<_>>())?;
    let names = residues.iter().map(|r| r.name.as_str());
    nodes.write_strings("residue_name", &names.collect::<Vec<_>>())?;
    let chains = residues.iter().map(|r| r.chain.as_str());
    nodes.write_strings("chain", &chains.collect::<Vec<_>>())?;
    let elements = atoms.iter().flat_map(|a| a.numbers.iter().copied());
    column(&nodes, "element", elements)?;
    let places = atoms.iter().flat_map(|a| a.residue_of.iter().copied());
    column(&nodes, "residue", places)?;
    column(&nodes, "residue_number", residues.iter().map(|r| r.number))
}

fn column<T: Element>(group: &Node, name: &str, values: impl Iterator<Item = T>) -> Result<()> {
    let values: Vec<T> = values.collect();
    group.write(name, &[values.len()], &values, Storage::Compressed)
}
