//! Atoms of several graphs, and the parameters of a network as one vector in double precision.

#![allow(dead_code)]

use crate::numbers::values;
use candle_core::{DType, Device, Tensor};
use holosig::models::graph::{Batch, GraphModel, Parts};
use holosig::models::{Entry, Model};

/// Atoms of a batch.
#[derive(Clone)]
pub struct Atoms {
    pub numbers: Vec<u8>,
    pub positions: Vec<[f64; 3]>,
    pub graph_of: Vec<u32>,
}

/// Directed edges: receivers and senders, sorted by both.
pub type Edges = [Vec<u32>; 2];

impl Atoms {
    /// All pairs within a cutoff, by comparing everybody with everybody.
    pub fn edges(&self, cutoff: f64) -> Edges {
        let mut edges = [Vec::new(), Vec::new()];
        for i in 0..self.numbers.len() {
            for j in 0..self.numbers.len() {
                let squares = (0..3).map(|k| (self.positions[i][k] - self.positions[j][k]).powi(2));
                let near = squares.sum::<f64>() < cutoff * cutoff;
                if i != j && near && self.graph_of[i] == self.graph_of[j] {
                    edges[0].push(i as u32);
                    edges[1].push(j as u32);
                }
            }
        }
        edges
    }

    pub fn batch(&self, cutoff: f64, dtype: DType) -> Batch {
        self.batch_along(&self.edges(cutoff), dtype)
    }

    pub fn batch_along(&self, edges: &Edges, dtype: DType) -> Batch {
        self.batch_of_bonds(edges, &[], dtype)
    }

    /// With the orders of the edges' bonds.
    pub fn batch_of_bonds(
        &self,
        [receivers, senders]: &Edges,
        bonds: &[u8],
        dtype: DType,
    ) -> Batch {
        let parts = Parts {
            numbers: &self.numbers,
            positions: &self.positions,
            receivers,
            senders,
            shifts: &vec![[0.0; 3]; receivers.len()],
            bonds,
            graph_of: &self.graph_of,
            graphs: self.graph_of.iter().max().map_or(0, |&g| g as usize + 1),
        };
        Batch::new(parts, dtype, &Device::Cpu).unwrap()
    }
}

/// The sum of a model's losses times the weights of energies and forces, as the trainer
/// differentiates it.
pub fn loss(model: &GraphModel, batch: &Batch, [energy, forces]: [f64; 2]) -> Tensor {
    let weighted = |(name, term): (&str, Tensor)| match name {
        "energy" => (term * energy).unwrap(),
        _ => (term * forces).unwrap(),
    };
    let terms = model.terms(batch).unwrap().into_iter().map(weighted);
    terms.reduce(|a, b| (a + b).unwrap()).unwrap()
}

/// The gradient of a scalar by each parameter, in f64.
pub fn gradient(model: &impl Model, scalar: &Tensor) -> Vec<Vec<f64>> {
    let p = model.parameters();
    let flat = p.exact_gradient(scalar).unwrap();
    let of = |e: &Entry| flat[e.offset..e.offset + e.len()].to_vec();
    p.entries().iter().map(of).collect()
}

/// All parameters in flat order.
pub fn parameters(model: &impl Model) -> Vec<f64> {
    model.parameters().variables().flat_map(values).collect()
}

/// Replaces all parameters.
pub fn set_parameters(model: &impl Model, flat: &[f64]) {
    let mut rest = flat;
    for variable in model.parameters().variables() {
        let (own, others) = rest.split_at(variable.elem_count());
        let own = Tensor::new(own, &Device::Cpu).unwrap();
        let own = own.to_dtype(variable.dtype()).unwrap();
        variable.slice_set(&own, 0, 0).unwrap();
        rest = others;
    }
    assert!(rest.is_empty());
}
