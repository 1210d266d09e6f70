//! Graphs of atoms as networks take them.

use super::slopes::Stresses;
use super::triplets::Lists;
use crate::data::neighbors::{self, Coordinate, Edges};
use crate::data::system::System;
use crate::models::layers::{Geometry, differences};
use crate::ops::dual::Dual;
use crate::ops::segment::{Ends, Incidence};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::sync::Arc;

/// What a batch is made of: atoms and edges of several graphs, one graph after another.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// Atomic numbers, `[N]`.
    pub numbers: &'a [u8],
    /// Å, `[N]`.
    pub positions: &'a [[f64; 3]],
    /// Atoms that edges end at, ascending, `[E]`.
    pub receivers: &'a [u32],
    /// Atoms that edges start from, `[E]`.
    pub senders: &'a [u32],
    /// Å: from each edge's sender to its image beside the receiver, `[E]`; zeros in free space.
    pub shifts: &'a [[f64; 3]],
    /// Order of the bond of each edge's atoms, `[E]`: 1, 2, 3, 4 where aromatic, 0 where there is
    /// none; or nothing if no bonds are known.
    pub bonds: &'a [u8],
    /// Graph of each atom, ascending, `[N]`.
    pub graph_of: &'a [u32],
    /// Number of graphs.
    pub graphs: usize,
}

/// What is known of a batch's graphs.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    /// `[graphs]` for each output of the model, in their order: numbers in the output's scale, or
    /// classes (u32).
    pub graphs: Vec<Tensor>,
    /// `[N, 3]`, the first output's unit per Å, negative gradients of it.
    pub forces: Option<Tensor>,
    pub stress: Option<Stresses>,
}

/// Atoms of several graphs and the edges between them.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Atomic number less one, u32, `[N]`.
    pub species: Tensor,
    /// Largest atomic number.
    pub largest: u8,
    /// Å, f64, `[N, 3]`.
    pub positions: Tensor,
    /// Directed edges between atoms, sorted by receiver, in pairs of an edge and the edge back.
    pub edges: Arc<Incidence>,
    /// Å, f64, `[E, 3]`: see [`Parts::shifts`].
    pub shifts: Tensor,
    /// See [`Parts::bonds`], `[E]`.
    pub bonds: Vec<u8>,
    /// The atoms of each graph.
    pub graphs: Arc<Incidence>,
    pub targets: Targets,
    /// Pairs of edges, made when they are asked for.
    pub(super) lists: Lists,
    /// Type of the network's numbers.
    pub dtype: DType,
}

impl Batch {
    /// A batch without targets, for a network that computes in `dtype`.
    ///
    /// # Errors
    /// Parts of different lengths; an atom, a graph or an element that there is not; edges or
    /// atoms out of order; an edge from one graph to another, or of no length.
    pub fn new(parts: Parts, dtype: DType, device: &Device) -> Result<Self> {
        parts.check()?;
        let atoms = parts.numbers.len();
        let ends = |rows| Ends { rows, count: atoms };
        let species: Vec<u32> = parts.numbers.iter().map(|&z| u32::from(z) - 1).collect();
        let matrix =
            |rows: &[[f64; 3]]| Tensor::from_slice(rows.as_flattened(), (rows.len(), 3), device);
        Ok(Self {
            largest: parts.numbers.iter().max().copied().unwrap_or(0),
            species: Tensor::from_vec(species, atoms, device)?,
            positions: matrix(parts.positions)?,
            edges: Incidence::in_pairs(ends(parts.receivers), ends(parts.senders), &parts.back())?,
            shifts: matrix(parts.shifts)?,
            bonds: match parts.bonds.is_empty() {
                true => vec![0; parts.receivers.len()],
                false => parts.bonds.to_vec(),
            },
            graphs: Incidence::groups(Ends {
                rows: parts.graph_of,
                count: parts.graphs,
            })?,
            targets: Targets::default(),
            lists: Lists::default(),
            dtype,
        })
    }

    /// A batch of systems, one graph each, with edges between all atoms and images of atoms within
    /// `cutoff` Å; no targets.
    ///
    /// # Errors
    /// As [`Batch::new`] and [`neighbors::edges`].
    pub fn of_systems<T: Coordinate>(
        systems: &[System<T>],
        cutoff: f64,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let edges = systems
            .iter()
            .map(|system| neighbors::edges(system, cutoff));
        let edges: Vec<Edges> = edges.collect::<Result<_>>()?;
        Self::of_graphs(systems, &edges, dtype, device)
    }

    /// A batch of systems, one graph each, with these edges; no targets.
    ///
    /// # Errors
    /// As [`Batch::new`].
    pub fn of_graphs<T: Coordinate>(
        systems: &[System<T>],
        edges: &[Edges],
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let (mut numbers, mut positions, mut graph_of) = (Vec::new(), Vec::new(), Vec::new());
        let (mut receivers, mut senders, mut shifts) = (Vec::new(), Vec::new(), Vec::new());
        let mut bonds = Vec::new();
        for (graph, (system, edges)) in (0u32..).zip(systems.iter().zip(edges)) {
            let first = numbers.len() as u32;
            shifts.extend(edges.offsets(system));
            let ends = edges.receivers.iter().zip(&edges.senders);
            bonds.extend(ends.map(|(&i, &j)| system.order(i, j)));
            receivers.extend(edges.receivers.iter().map(|i| first + i));
            senders.extend(edges.senders.iter().map(|j| first + j));
            numbers.extend_from_slice(&system.numbers);
            positions.extend(system.positions.iter().map(|p| p.map(Into::into)));
            graph_of.extend(std::iter::repeat_n(graph, system.len()));
        }
        let parts = Parts {
            numbers: &numbers,
            positions: &positions,
            receivers: &receivers,
            senders: &senders,
            shifts: &shifts,
            bonds: &bonds,
            graph_of: &graph_of,
            graphs: systems.len(),
        };
        Self::new(parts, dtype, device)
    }

    /// Number of graphs.
    pub fn len(&self) -> usize {
        self.graphs.receiving()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of atoms.
    pub fn atoms(&self) -> usize {
        self.graphs.len()
    }

    /// Å: the vectors from each edge's receiver to its sender, `[E, 3]`. They are differences in
    /// f64, so that rounding does not grow with the distance from the origin.
    pub fn vectors(&self) -> Result<Tensor> {
        Ok(self.vectors_f64()?.to_dtype(self.dtype)?)
    }

    /// [`Batch::vectors`] in f64.
    pub(super) fn vectors_f64(&self) -> Result<Tensor> {
        Ok((differences(&self.edges, &self.positions)? + &self.shifts)?)
    }

    /// The edges' geometry with these vectors.
    pub fn geometry(&self, vectors: Dual) -> Result<Geometry> {
        Ok(Geometry::new(&self.edges, vectors)?)
    }
}

impl Parts<'_> {
    /// The edge back of each edge, images told apart; the edge itself where there is none.
    fn back(&self) -> Vec<u32> {
        let mut back: Vec<u32> = (0..self.receivers.len() as u32).collect();
        let of = |atom: u32| {
            let first = self.receivers.partition_point(|&i| i < atom);
            first..self.receivers.partition_point(|&i| i <= atom)
        };
        for edge in 0..back.len() {
            if back[edge] as usize != edge {
                continue;
            }
            let (to, from) = (self.receivers[edge], self.senders[edge]);
            let turned = self.shifts[edge].map(|s| -s);
            let reverses = |&other: &usize| {
                let free = other > edge && back[other] as usize == other;
                free && self.senders[other] == to && self.shifts[other] == turned
            };
            if let Some(other) = of(from).find(reverses) {
                (back[edge], back[other]) = (other as u32, edge as u32);
            }
        }
        back
    }

    fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::input(format!("a batch of graphs: {what}")));
        let (atoms, edges) = (self.numbers.len(), self.receivers.len());
        let bonds = match self.bonds.is_empty() {
            true => edges,
            false => self.bonds.len(),
        };
        for (name, len, expected) in [
            ("positions", self.positions.len(), atoms),
            ("graph numbers", self.graph_of.len(), atoms),
            ("senders", self.senders.len(), edges),
            ("shifts", self.shifts.len(), edges),
            ("orders of bonds", bonds, edges),
        ] {
            if len != expected {
                return wrong(format!("{len} {name}, expected {expected}"));
            }
        }
        if let Some(atom) = self.numbers.iter().position(|&z| z == 0) {
            return wrong(format!("atom {atom} has atomic number 0"));
        }
        if let Some(graph) = self.graph_of.iter().find(|&&g| g as usize >= self.graphs) {
            return wrong(format!("an atom of graph {graph} of {}", self.graphs));
        }
        for (rows, what) in [
            (self.graph_of, "atoms are not in order of their graphs"),
            (self.receivers, "edges are not in order of their receivers"),
        ] {
            if !rows.is_sorted() {
                return wrong(what.into());
            }
        }
        for (edge, (&i, &j)) in self.receivers.iter().zip(self.senders).enumerate() {
            let (Some(a), Some(b)) = (self.graph_of.get(i as usize), self.graph_of.get(j as usize))
            else {
                return wrong(format!("edge {edge} joins atoms {j} and {i} of {atoms}"));
            };
            if a != b {
                return wrong(format!("edge {edge} joins graphs {b} and {a}"));
            }
            let [from, to] = [j, i].map(|atom| self.positions[atom as usize]);
            if (0..3).all(|k| from[k] + self.shifts[edge][k] == to[k]) {
                return wrong(format!("atoms {j} and {i} are at the same place"));
            }
        }
        Ok(())
    }
}
