//! One sample: a graph and what its nodes do over some frames.

use super::config::{Clock, DeepSignatureConfig, Method, Variant};
use super::fixed;
use crate::ops::mincut::Edges;
use crate::ops::sparse::Sparse;
use crate::so3::rigid::{apply, principal_axes, superposition};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::sync::Arc;

/// A molecule's bonds, or any other graph, as the model needs them.
pub struct Graph {
    pub nodes: usize,
    /// `D^-1/2 (A + I) D^-1/2`, D the in-degrees of A + I; rows are targets.
    pub(super) propagation: Arc<Sparse>,
    /// Edges from i to j, their number `A[i, j]`.
    pub(super) edges: Edges,
    /// The bead of each node, where it is not learned.
    pub(super) beads: Option<Vec<u32>>,
}

impl Graph {
    /// A graph of `nodes` nodes. Each edge is given once; the published variant takes it in the
    /// given direction only, the corrected one in both.
    ///
    /// # Errors
    /// A graph without nodes or edges, an edge to a node that does not exist or to itself.
    pub fn new(nodes: usize, edges: &[(u32, u32)], variant: Variant) -> Result<Self> {
        if nodes == 0 || edges.is_empty() {
            return Err(Error::input(format!(
                "a graph of {nodes} nodes and {} edges has nothing to pool; give it bonds",
                edges.len()
            )));
        }
        let mut directed = Vec::with_capacity(2 * edges.len());
        for &(a, b) in edges {
            let (a, b) = (a as usize, b as usize);
            if a == b || a.max(b) >= nodes {
                return Err(Error::input(format!(
                    "edge {a} - {b} in a graph of {nodes} nodes"
                )));
            }
            directed.push((a, b));
            if variant == Variant::Corrected {
                directed.push((b, a));
            }
        }
        let (mut incoming, mut degrees) = (vec![1.0f64; nodes], vec![0.0; nodes]);
        for &(a, b) in &directed {
            incoming[b] += 1.0;
            degrees[a] += 1.0;
        }
        let loops = (0..nodes).map(|i| (i, i));
        let propagation: Vec<_> = directed
            .iter()
            .copied()
            .chain(loops)
            .map(|(a, b)| (b, a, 1.0 / (incoming[a] * incoming[b]).sqrt()))
            .collect();
        let adjacency: Vec<_> = directed.iter().map(|&(a, b)| (a, b, 1.0)).collect();
        Ok(Self {
            nodes,
            propagation: Sparse::new(nodes, nodes, &propagation),
            edges: Edges {
                matrix: Sparse::new(nodes, nodes, &adjacency),
                degrees: degrees.into(),
                symmetric: variant == Variant::Corrected,
            },
            beads: None,
        })
    }

    /// The graph with the beads of a coarse-graining that is not learned; `residues` has the place
    /// of each node's residue.
    ///
    /// # Errors
    /// Beads that cannot be made of so many nodes, or residues that are not known.
    pub fn with_beads(
        mut self,
        edges: &[(u32, u32)],
        residues: Option<&[u32]>,
        config: &DeepSignatureConfig,
    ) -> Result<Self> {
        let (how, beads) = (config.coarse_graining, config.clusters);
        self.beads = fixed::beads(how, beads, self.nodes, edges, residues)?;
        Ok(self)
    }
}

/// Where the segments of a clip lie, and what each frame weighs in an average over time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Times {
    /// Sum to 1; `None` for equal weights.
    pub weights: Option<Vec<f64>>,
    /// Points of each segment: between frames `at` and `at + 1`, by the fraction.
    pub segments: Vec<Vec<(u32, f64)>>,
}

impl Times {
    /// What each of `frames` frames weighs.
    pub fn weights(&self, frames: usize) -> Arc<[f64]> {
        match &self.weights {
            Some(weights) => weights.as_slice().into(),
            None => vec![1.0 / frames as f64; frames].into(),
        }
    }

    /// Consecutive segments of equal numbers of frames; the steps between them are lost.
    fn published(frames: usize, segments: usize) -> Self {
        let len = frames / segments;
        Self {
            weights: None,
            segments: (0..segments)
                .map(|s| (s * len..(s + 1) * len).map(|t| (t as u32, 0.0)).collect())
                .collect(),
        }
    }

    /// Segments of equal share of the time that passes from frame to frame (`steps`), joined at
    /// their ends; trapezoidal weights.
    fn equal(steps: &[f64], segments: usize) -> Self {
        let mut clock = vec![0.0];
        for step in steps {
            clock.push(clock[clock.len() - 1] + step);
        }
        let total = clock[steps.len()];
        let between = |time: f64| {
            let after = clock.partition_point(|&c| c <= time);
            let at = after.saturating_sub(1).min(steps.len().saturating_sub(1));
            let step = steps.get(at).copied().unwrap_or(0.0);
            let fraction = if step > 0.0 {
                ((time - clock[at]) / step).min(1.0)
            } else {
                0.0
            };
            (at as u32, fraction)
        };
        let border = |s: usize| total * s as f64 / segments as f64;
        let cut = |s: usize| {
            let (from, to) = (border(s), border(s + 1));
            let inside = (0..clock.len()).filter(|&t| clock[t] > from && clock[t] < to);
            let mut points = vec![between(from)];
            points.extend(inside.map(|t| (t as u32, 0.0)));
            points.push(between(to));
            points
        };
        let weights = (total > 0.0).then(|| {
            let step = |t: Option<usize>| t.and_then(|t| steps.get(t)).copied().unwrap_or(0.0);
            (0..clock.len())
                .map(|t| (step(t.checked_sub(1)) + step(Some(t))) / (2.0 * total))
                .collect()
        });
        Self {
            weights,
            segments: (0..segments).map(cut).collect(),
        }
    }
}

/// A sample, prepared for one model configuration. A copy shares the features.
#[derive(Clone)]
pub struct Clip {
    /// Identifies the sample: its dropout is drawn from it.
    pub id: u64,
    pub graph: Arc<Graph>,
    /// Node features `[N, T, d]`: coordinates (nm) or anything else.
    pub features: Tensor,
    /// Number of the class, or the value to predict.
    pub target: f64,
    pub(super) times: Times,
}

/// What a clip is made from.
pub struct RawClip {
    /// Features are invariants: three of them are not coordinates.
    pub holographic: bool,
    pub id: u64,
    pub graph: Arc<Graph>,
    /// `[N, T, d]` in row-major order.
    pub features: Vec<f32>,
    pub frames: usize,
    pub target: f64,
}

impl Clip {
    /// Prepares a sample. In the corrected variant three features per node are coordinates:
    /// every frame is centred and superposed on the first, and all are turned to the first
    /// frame's principal axes, so that no rigid motion of the clip or of a frame matters.
    ///
    /// # Errors
    /// No frames, fewer frames than segments, a number of features that does not fit, values
    /// that are not finite, frames that the published variant cannot cut.
    pub fn new(raw: RawClip, config: &DeepSignatureConfig, dtype: DType) -> Result<Self> {
        let (nodes, mut frames, mut features) = (raw.graph.nodes, raw.frames, raw.features);
        config.check_frames(frames)?;
        if features.is_empty() || !features.len().is_multiple_of(nodes * frames) {
            return Err(Error::input(format!(
                "{} numbers are no features of {nodes} nodes in {frames} frames",
                features.len()
            )));
        }
        let d = features.len() / (nodes * frames);
        if let Some(i) = features.iter().position(|v| !v.is_finite()) {
            let (node, frame) = (i / (frames * d), i / d % frames);
            return Err(Error::input(format!(
                "node {node} is at {} in frame {frame}",
                features[i]
            )));
        }
        let kept: Option<Vec<usize>> = match config.method {
            Method::Head => Some(vec![0]),
            Method::Tail => Some(vec![frames - 1]),
            Method::HeadAndTail => Some(vec![0, frames - 1]),
            _ => None,
        };
        if let Some(kept) = kept {
            let rows: Vec<&[f32]> = features.chunks_exact(d).collect();
            let chosen = (0..nodes).flat_map(|n| kept.iter().map(move |t| n * frames + t));
            features = chosen.flat_map(|i| rows[i]).copied().collect();
            frames = kept.len();
        }
        let corrected = config.variant == Variant::Corrected;
        if corrected && d == 3 && !raw.holographic {
            canonicalise(&mut features, frames);
        }
        let times = if corrected {
            let steps = match config.clock {
                Clock::Frames => vec![1.0; frames - 1],
                Clock::PathLength => path_length(&features, frames, d),
            };
            Times::equal(&steps, config.segments)
        } else {
            Times::published(frames, config.segments)
        };
        let features = Tensor::from_vec(features, (nodes, frames, d), &Device::Cpu)?;
        Ok(Self {
            id: raw.id,
            graph: raw.graph,
            features: features.to_dtype(dtype)?,
            target: raw.target,
            times,
        })
    }

    /// The same sample for a model on `device`.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn to_device(mut self, device: &Device) -> Result<Self> {
        self.features = self.features.to_device(device)?;
        Ok(self)
    }
}

/// Length of each step of the path of all nodes.
fn path_length(features: &[f32], frames: usize, d: usize) -> Vec<f64> {
    let mut squares = vec![0.0f64; frames - 1];
    for node in features.chunks_exact(frames * d) {
        for (t, square) in squares.iter_mut().enumerate() {
            for i in t * d..(t + 1) * d {
                square_add(square, node[i + d], node[i]);
            }
        }
    }
    squares.into_iter().map(f64::sqrt).collect()
}

fn square_add(sum: &mut f64, a: f32, b: f32) {
    let difference = f64::from(a) - f64::from(b);
    *sum += difference * difference;
}

/// See [`Clip::new`]; `features` are `[N, T, 3]`.
fn canonicalise(features: &mut [f32], frames: usize) {
    let frame = |features: &[f32], t: usize| -> Vec<[f64; 3]> {
        let mut points: Vec<[f64; 3]> = features
            .chunks_exact(3 * frames)
            .map(|node| std::array::from_fn(|i| node[3 * t + i].into()))
            .collect();
        let n = points.len() as f64;
        let centre: [f64; 3] =
            std::array::from_fn(|i| points.iter().map(|p| p[i]).sum::<f64>() / n);
        for p in &mut points {
            *p = std::array::from_fn(|i| p[i] - centre[i]);
        }
        points
    };
    let mut first = frame(features, 0);
    let axes = principal_axes(&first);
    for p in &mut first {
        *p = apply(&axes, *p);
    }
    for t in 0..frames {
        let points = frame(features, t);
        let turn = superposition(&points, &first);
        for (node, p) in features.chunks_exact_mut(3 * frames).zip(points) {
            for (o, x) in node[3 * t..].iter_mut().zip(apply(&turn, p)) {
                *o = x as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_join_and_cover() {
        let times = Times::equal(&[1.0, 0.0, 2.0, 1.0], 2);
        assert_eq!(times.segments[0], [(0, 0.0), (1, 0.0), (2, 0.0), (2, 0.5)]);
        assert_eq!(times.segments[1], [(2, 0.5), (3, 0.0), (3, 1.0)]);
        let weights = times.weights.unwrap();
        assert_eq!(weights, [0.125, 0.125, 0.25, 0.375, 0.125]);
        assert_eq!(weights.iter().sum::<f64>(), 1.0);
    }

    #[test]
    fn a_clip_that_stands_still_has_equal_weights() {
        let times = Times::equal(&[0.0, 0.0], 2);
        assert_eq!(times.weights, None);
        assert!(times.segments.iter().all(|s| s.iter().all(|p| p.1 == 0.0)));
        let single = Times::equal(&[], 1);
        assert_eq!(single.segments, [[(0, 0.0), (0, 0.0)]]);
    }

    #[test]
    fn graphs_are_checked() {
        let told = |n, e: &[(u32, u32)]| match Graph::new(n, e, Variant::Corrected) {
            Ok(_) => String::new(),
            Err(e) => e.to_string(),
        };
        assert!(told(3, &[]).contains("3 nodes and 0 edges"));
        assert!(told(3, &[(0, 3)]).contains("edge 0 - 3"));
        assert!(told(3, &[(1, 1)]).contains("edge 1 - 1"));
        assert_eq!(told(3, &[(0, 2)]), "");
    }
}
