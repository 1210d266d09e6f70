//! The tables of a trajectories file, read whole.

use super::dataset::Trajectory;
use super::{Graph, Segment};
use crate::data::system::{Label, Residue, System};
use crate::store::Node;
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
