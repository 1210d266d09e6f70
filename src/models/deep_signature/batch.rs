//! Coarse-graining a batch: threads share the clips, which are independent of one another, each
//! clip a small graph of its own that ends at the parameters. The graphs of the first clips are
//! kept for the way back, the others' made again there: memory is bounded. Gradients are summed
//! in a fixed tree, so that bits do not depend on the number of threads.

use super::aggregate::{Aggregator, Coarse};
use super::clip::Clip;
use crate::models::Parameters;
use crate::ops::adapter::apply_once;
use crate::ops::cpu::{Real, tree_sum};
use crate::ops::op::{Array, Backward, Once, Op};
use candle_core::{Device, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::sync::Mutex;

/// What the rest of the model sees of a coarse-grained clip.
pub(super) struct Beads {
    /// `[T, K, d]`
    pub path: Tensor,
    /// Losses of one clip: coordinates, min-cut, orthogonality.
    pub losses: [Tensor; 3],
}

impl Beads {
    pub fn of(coarse: &Coarse) -> Result<Self> {
        Ok(Self {
            path: coarse.path.clone(),
            losses: [
                coarse.coordinates_loss()?,
                coarse.mincut_loss()?,
                coarse.orthogonality_loss()?,
            ],
        })
    }

    /// Path, then losses.
    fn flat(&self) -> Result<Tensor> {
        Tensor::cat(
            &[self.path.flatten_all()?, Tensor::stack(&self.losses, 0)?],
            0,
        )
    }
}

/// How clips are coarse-grained.
pub(super) struct Coarsening<'a> {
    pub aggregator: &'a Aggregator,
    /// Beads of a clip.
    pub beads: usize,
    /// Groups of parameters, the model's first, that are the aggregator's.
    pub groups: usize,
    /// Gradients reach the parameters. None reaches the features, which are constants.
    pub learn: bool,
}

/// Coarse-grains `clips` with the model's `parameters`.
pub(super) fn coarse_grain(
    how: Coarsening,
    clips: &[Clip],
    parameters: &Parameters,
) -> Result<Vec<Beads>> {
    let Coarsening {
        aggregator,
        beads,
        groups,
        learn,
    } = how;
    let variables: Vec<Tensor> = parameters.variables().take(groups).cloned().collect();
    let shapes = clips.iter().map(|clip| {
        let (_, frames, d) = clip.features.dims3()?;
        Ok((frames, beads, d))
    });
    let shapes: Vec<_> = shapes.collect::<Result<_>>()?;
    let op = CoarseGrain {
        aggregator: aggregator.clone(),
        clips: clips.to_vec(),
        lens: variables.iter().map(Tensor::elem_count).collect(),
        names: (0..groups).map(|g| parameters.names(g)).collect(),
        rows: shapes.iter().map(|(t, k, d)| t * k * d + LOSSES).collect(),
        graphs: learn.then(Mutex::default),
    };
    let rows = op.rows.clone();
    let flat = Tensor::cat(&variables, 0)?;
    let flat = if learn { flat } else { flat.detach() };
    let all = apply_once(op, [&flat])?;
    let mut at = 0;
    let clip = |(shape, len): (_, usize)| {
        let row = all.narrow(0, at, len)?;
        at += len;
        let loss = |i: usize| row.get(len - LOSSES + i);
        Ok(Beads {
            path: row
                .narrow(0, 0, len - LOSSES)?
                .reshape::<(_, _, _)>(shape)?,
            losses: [loss(0)?, loss(1)?, loss(2)?],
        })
    };
    shapes.into_iter().zip(rows).map(clip).collect()
}

/// Losses of a clip.
const LOSSES: usize = 3;

/// Nodes of the clips whose graphs are kept; a node of the default model takes about 10 kB by a count
/// of its tensors, not by measurement.
const KEPT: usize = 12_000;

/// From the aggregator's flat parameters to [`Beads::flat`] of every clip, one after another.
struct CoarseGrain {
    aggregator: Aggregator,
    clips: Vec<Clip>,
    /// Elements of the groups of parameters.
    lens: Vec<usize>,
    /// What they are called.
    names: Vec<String>,
    /// Elements of the clips' results.
    rows: Vec<usize>,
    /// Graphs for the way back, of the clips that keep theirs; nothing without one.
    graphs: Option<Mutex<Vec<Option<ClipGraph>>>>,
}

/// One clip's result and the parameters that its graph ends at.
struct ClipGraph {
    result: Tensor,
    parameters: Parameters,
}

impl CoarseGrain {
    fn run(&self, clip: &Clip, flat: &Tensor) -> Result<ClipGraph> {
        let parameters = Parameters::stand_in(flat, &self.lens)?;
        let coarse = self.aggregator.forward(clip, &parameters)?;
        Ok(ClipGraph {
            result: Beads::of(&coarse)?.flat()?,
            parameters,
        })
    }

    /// The clips, each with whether its graph is kept.
    fn clips(&self) -> Vec<(&Clip, bool)> {
        let mut nodes = 0;
        let clips = self.clips.iter().map(|clip| {
            nodes += clip.graph.nodes;
            (clip, self.graphs.is_some() && nodes <= KEPT)
        });
        clips.collect()
    }

    /// Takes the kept graphs; a second way back finds none.
    fn take_graphs(&self) -> Vec<Option<ClipGraph>> {
        let taken = self.graphs.as_ref().map(|graphs| {
            let mut graphs = graphs.lock().unwrap_or_else(|e| e.into_inner());
            std::mem::take(&mut *graphs)
        });
        let mut graphs = taken.unwrap_or_default();
        graphs.resize_with(self.clips.len(), || None);
        graphs
    }

    /// Gradient of the parameters, given that of one clip's result.
    fn unrun(&self, graph: ClipGraph, grad: &Tensor) -> Result<Tensor> {
        let ClipGraph { result, parameters } = graph;
        let store = (result * grad)?.sum_all()?.backward()?;
        let variables = parameters.variables().zip(&self.names);
        let gradients = variables.map(|(variable, names)| match store.get(variable) {
            Some(gradient) => gradient.flatten_all(),
            None => bail!("a clip's beads do not depend on {names}"),
        });
        Tensor::cat(&gradients.collect::<Result<Vec<_>>>()?, 0)
    }
}

impl Op<1> for CoarseGrain {
    const NAME: &'static str = "the coarse-graining of clips";

    fn shape(&self, _: [&Shape; 1]) -> Result<Shape> {
        Ok(self.rows.iter().sum::<usize>().into())
    }

    fn forward<T: Real>(&self, [flat]: [Array<T>; 1]) -> Result<Vec<T>> {
        let flat = Tensor::from_slice(&flat, flat.len(), &Device::Cpu)?;
        let run = |(clip, keep): (&Clip, bool)| {
            let graph = self.run(clip, &flat)?;
            let row = graph.result.to_vec1::<T>()?;
            Ok((row, keep.then_some(graph)))
        };
        let all = self.clips().into_par_iter().map(run);
        let all = all.collect::<Result<Vec<_>>>()?;
        let (rows, graphs): (Vec<Vec<T>>, Vec<_>) = all.into_iter().unzip();
        if let Some(kept) = &self.graphs {
            *kept.lock().unwrap_or_else(|e| e.into_inner()) = graphs;
        }
        Ok(rows.concat())
    }
}

impl Once<1> for CoarseGrain {
    fn vjp<T: Real>(&self, call: Backward<T, 1>) -> Result<[Option<Vec<T>>; 1]> {
        let tensor = |data: &[T]| Tensor::from_slice(data, data.len(), &Device::Cpu);
        let flat = tensor(&call.inputs[0])?;
        let mut rest = call.grad.data;
        let grads = self.rows.iter().map(|&len| {
            let (grad, next) = rest.split_at(len);
            rest = next;
            tensor(grad)
        });
        let grads = grads.collect::<Result<Vec<Tensor>>>()?;
        let clips = self.clips.par_iter().zip(self.take_graphs()).zip(grads);
        let sums = clips.map(|((clip, kept), grad)| {
            let graph = match kept {
                Some(graph) => graph,
                None => self.run(clip, &flat)?,
            };
            self.unrun(graph, &grad)?.to_vec1::<T>()
        });
        Ok([Some(tree_sum(sums.collect::<Result<Vec<_>>>()?))])
    }
}
