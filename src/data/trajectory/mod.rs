//! Ensembles of trajectories on graphs: molecular dynamics, or simulated networks.
//!
//! A trajectories file is plain HDF5 (see [`crate::store`]):
//!
//! | name | shape | what |
//! |---|---|---|
//! | attributes `origin`, `unit`, `time_unit`, `dimensions` | | where the frames come from, unit of `coordinates`, of `time_step`; values per node |
//! | attributes `segment_folds`, `trajectory_folds`, `classes` | | see [`Cut`] and [`Protocol`]; the sorted labels |
//! | `settings` | text | the resolved options of the command that made the file (JSON) |
//! | `trajectories/{name,label,group,split}` | `[trajectories]` | strings; `split` is empty where folds decide |
//! | `trajectories/{frames,graph,fold,time_step}` | `[trajectories]` | frames stored, row of `graphs`, fold, time between frames |
//! | `segments/{trajectory,start,frames,group,fold}` | `[segments]` | the samples: `frames` frames from `start` on |
//! | `graphs/{nodes,edges}` | `[graphs]` | counts, in the order of `nodes/*` and `edges` |
//! | `edges` | [sum of edges, 2] | each undirected edge once, i < j, numbered within its graph |
//! | `nodes/{name,element,residue,residue_name,residue_number,chain}` | [sum of nodes] | atoms only |
//! | `coordinates/NNNNNN` | [frames, nodes, dimensions] f32 | one dataset per trajectory, chunked by segment |
//!
//! Memory while writing does not grow with a trajectory's length; a reader loads the tables
//! and then single segments.

mod cut;
mod dataset;
mod folds;
mod part;
mod tables;
mod write;

pub use crate::data::{Partition, Split};
pub use cut::{Cut, Segment};
pub use dataset::{Coordinates, Dataset, Protocol, Trajectory, coordinates_name};
pub use write::{About, Source, Summary, prepare};

use crate::data::system::System;
use serde::{Deserialize, Serialize};

/// What is known of a trajectory before its frames are read.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    pub name: String,
    /// A class name or a number, as the user wrote it; `None` when nothing is to be learned.
    pub label: Option<String>,
    /// Trajectories of one group (one molecule, one mutant) stay in the same fold.
    pub group: String,
    /// Fixed by the user; otherwise folds decide.
    pub split: Option<Split>,
}

/// The nodes of a trajectory and what binds them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Graph {
    pub nodes: usize,
    /// Each undirected edge once, i < j, in ascending order.
    pub edges: Vec<[u32; 2]>,
    /// The nodes as atoms or residues, without positions; `None` when they are neither.
    pub atoms: Option<System>,
}

impl Graph {
    /// Number of nodes without an edge.
    pub fn isolated(&self) -> usize {
        let mut alone = vec![true; self.nodes];
        for &node in self.edges.iter().flatten() {
            alone[node as usize] = false;
        }
        alone.into_iter().filter(|a| *a).count()
    }
}

/// What a source tells about a trajectory once its frames are read.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Header {
    pub graph: Graph,
    /// Time between stored frames; `None` when the file does not say.
    pub time_step: Option<f64>,
}
