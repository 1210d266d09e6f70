//! From the segments of a trajectories file to the model's input.

use super::{Clip, DeepSignatureConfig, Description, Graph, RawClip, Variant};
use crate::data::noise::Noise;
use crate::data::trajectory::{self, Dataset};
use crate::{Error, Result};
use candle_core::DType;
use std::sync::Arc;

/// The model's graphs of a dataset. The published variant joins all atoms of a residue and
/// nothing else, as the released code does.
///
/// # Errors
/// A graph without edges, or of fewer nodes than beads that are not learned.
pub fn graphs(dataset: &Dataset, config: &DeepSignatureConfig) -> Result<Vec<Arc<Graph>>> {
    let build = |(number, graph): (usize, &trajectory::Graph)| {
        let edges: Vec<(u32, u32)> = match (&graph.atoms, config.variant) {
            (Some(atoms), Variant::Published) => same_residue(&atoms.residue_of),
            _ => graph.edges.iter().map(|e| (e[0], e[1])).collect(),
        };
        let named = |e: Error| Error::file(dataset.path(), format!("graph {number}: {e}"));
        let residues = graph.atoms.as_ref().map(|a| a.residue_of.as_slice());
        Graph::new(graph.nodes, &edges, config.variant)
            .and_then(|made| made.with_beads(&edges, residues, config))
            .map(Arc::new)
            .map_err(named)
    };
    dataset.graphs().iter().enumerate().map(build).collect()
}

fn same_residue(residue: &[u32]) -> Vec<(u32, u32)> {
    let mut edges = Vec::new();
    for j in 0..residue.len() {
        let before = residue[..j].iter().rev();
        let same = before.take_while(|&&r| r == residue[j]).count();
        edges.extend((j - same..j).map(|i| (i as u32, j as u32)));
    }
    edges
}

/// A segment of a dataset as the model takes it.
///
/// # Errors
/// Coordinates that cannot be read or used, by trajectory and segment.
pub fn clip(
    dataset: &Dataset,
    graphs: &[Arc<Graph>],
    description: &Description,
    id: u32,
    target: f64,
) -> Result<Clip> {
    noisy_clip(dataset, graphs, description, id, target, None)
}

/// [`clip`] with noise on the coordinates of all nodes in all frames.
///
/// # Errors
/// As [`clip`].
pub fn noisy_clip(
    dataset: &Dataset,
    graphs: &[Arc<Graph>],
    description: &Description,
    id: u32,
    target: f64,
    noise: Option<&Noise>,
) -> Result<Clip> {
    let mut read = dataset.segment(id)?;
    if let Some(noise) = noise {
        noise.add(id.into(), &mut read.values);
    }
    let (frames, nodes, d) = (read.frames, read.nodes, read.dimensions);
    let scale = description.scale as f32;
    let mut features = Vec::with_capacity(read.values.len());
    for node in 0..nodes {
        for frame in 0..frames {
            let at = (frame * nodes + node) * d;
            features.extend(read.values[at..at + d].iter().map(|v| v * scale));
        }
    }
    let graph = dataset.trajectory_of(id).graph as usize;
    let raw = RawClip {
        holographic: description.holographic,
        id: id.into(),
        graph: graphs[graph].clone(),
        features,
        frames,
        target,
    };
    Clip::new(raw, &description.model, DType::F32).map_err(|e| {
        let name = &dataset.trajectory_of(id).name;
        Error::file(dataset.path(), format!("{name}, segment {id}: {e}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_graphs_are_cliques_of_residues() {
        let edges = same_residue(&[0, 0, 0, 1, 2, 2]);
        assert_eq!(edges, [(0, 1), (0, 2), (1, 2), (4, 5)]);
    }
}
