//! Graphs of residues as networks take them.

use crate::data::chains::Chain;
use crate::data::neighbors::{Edges, Rule};
use crate::data::system::{Point, System};
use crate::ops::segment::{Ends, Incidence};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::sync::Arc;

/// Type and device of a batch's numbers.
#[derive(Clone, Copy)]
pub struct On<'a> {
    pub dtype: DType,
    pub device: &'a Device,
}

impl On<'_> {
    /// Numbers, rounded to the batch's type.
    pub fn tensor(self, values: Vec<f64>, shape: &[usize]) -> Result<Tensor> {
        let tensor = Tensor::from_vec(values, shape, self.device)?;
        Ok(tensor.to_dtype(self.dtype)?)
    }

    /// Kinds, u32 `[N]`.
    pub fn kinds(self, kinds: impl IntoIterator<Item = u8>) -> Result<Tensor> {
        let kinds: Vec<u32> = kinds.into_iter().map(u32::from).collect();
        let len = kinds.len();
        Ok(Tensor::from_vec(kinds, len, self.device)?)
    }
}

/// A graph of the nodes of all chains.
#[derive(Debug, Clone)]
pub struct Level {
    /// Directed edges, sorted by receiver.
    pub edges: Arc<Incidence>,
    /// What is known of the edges, `[E, ..]` each; which, the network's own words say.
    pub features: Vec<Tensor>,
    /// Nodes of the next level, and which nodes of this one become one; none for the last.
    pub pool: Option<Arc<Incidence>>,
    /// The nodes of each chain.
    pub chains: Arc<Incidence>,
}

/// The chains of a batch as graphs of a network.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Kind of each node, u32 `[N]`.
    pub kinds: Tensor,
    /// What else is known of the nodes, `[N, F]`.
    pub nodes: Option<Tensor>,
    /// At least one.
    pub levels: Vec<Level>,
    /// Classes (u32 `[chains]`), or labels (1 or 0, `[chains, labels]`), where they are known.
    pub targets: Option<Tensor>,
    /// Number of each chain in its dataset: what its random numbers are drawn by.
    pub samples: Vec<u64>,
}

impl Batch {
    /// A batch of these levels, without targets.
    pub(super) fn new(kinds: Tensor, nodes: Option<Tensor>, levels: Vec<Level>) -> Self {
        let chains = levels[0].chains.receiving() as u64;
        Self {
            kinds,
            nodes,
            levels,
            targets: None,
            samples: (0..chains).collect(),
        }
    }

    /// Number of chains.
    pub fn len(&self) -> usize {
        self.levels[0].chains.receiving()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The nodes of each chain, given how many it has.
pub(super) fn groups(sizes: &[usize]) -> candle_core::Result<Arc<Incidence>> {
    let of = |(chain, &size): (u32, &usize)| std::iter::repeat_n(chain, size);
    let rows: Vec<u32> = (0..).zip(sizes).flat_map(of).collect();
    let count = sizes.len();
    Incidence::groups(Ends { rows: &rows, count })
}

/// Edges of several chains as those of one graph: `edges[c]` are counted from the first of
/// `sizes[c]` nodes.
pub(super) fn joined_edges(edges: &[Edges], sizes: &[usize]) -> Result<Arc<Incidence>> {
    let (mut receivers, mut senders) = (Vec::new(), Vec::new());
    let mut first = 0u32;
    for (edges, &size) in edges.iter().zip(sizes) {
        receivers.extend(edges.receivers.iter().map(|i| first + i));
        senders.extend(edges.senders.iter().map(|j| first + j));
        first += size as u32;
    }
    let ends = |rows| Ends {
        rows,
        count: first as usize,
    };
    Ok(Incidence::new(ends(&receivers), ends(&senders))?)
}

/// Edges from the `most` nearest of the nodes within `radius` Å of each.
///
/// # Errors
/// Two nodes at the same place; a position that is not finite.
pub(super) fn near(positions: &[Point], radius: f64, most: usize) -> Result<Edges> {
    let system = System {
        numbers: vec![6; positions.len()],
        positions: positions.to_vec(),
        ..System::default()
    };
    let edges = Rule::Nearest { count: most }.edges(&system, radius)?;
    let mut ends = edges.receivers.iter().zip(&edges.senders);
    let same = |&(&i, &j): &(&u32, &u32)| positions[i as usize] == positions[j as usize];
    match ends.find(same) {
        None => Ok(edges),
        Some((i, j)) => Err(Error::input(format!(
            "nodes {i} and {j} of a chain are at the same place"
        ))),
    }
}

/// The chains' sizes.
pub(super) fn sizes(chains: &[Chain]) -> Vec<usize> {
    chains.iter().map(Chain::len).collect()
}
