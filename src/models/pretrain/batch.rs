//! What an objective sees: molecules, views of them, and what a network says of these.

use super::Draw;
use crate::data::system::System;
use crate::models::graph;
use crate::{Error, Result};
use candle_core::Tensor;
use std::collections::BTreeMap;

/// A molecule of the data.
#[derive(Debug, Clone, Default)]
pub struct Molecule {
    /// Its number among the samples: what random numbers are keyed by.
    pub sample: u64,
    /// What a user calls it.
    pub name: String,
    pub system: System<f64>,
    /// A label, standardised.
    pub target: Option<f64>,
}

impl Molecule {
    /// Makes sure that bonds are known.
    ///
    /// # Errors
    /// Several atoms without a bond; bonds without an order each.
    pub fn check_bonds(&self) -> Result<()> {
        let (bonds, orders) = (self.system.bonds.len(), self.system.orders.len());
        if bonds != orders {
            return Err(Error::input(format!(
                "{}: {bonds} bonds with {orders} orders",
                self.name
            )));
        }
        match bonds == 0 && self.system.len() > 1 {
            true => Err(Error::input(format!(
                "{} has no bonds, which this objective needs: prepare the data from files with \
                 bonds (SDF, HDF5 of QM9)",
                self.name
            ))),
            false => Ok(()),
        }
    }
}

/// Tensors by name, drawn or read off the molecules.
#[derive(Debug, Clone, Default)]
pub struct Draws(BTreeMap<&'static str, Tensor>);

impl Draws {
    /// Puts a tensor under a name.
    pub fn put(&mut self, name: &'static str, tensor: Tensor) {
        self.0.insert(name, tensor);
    }

    /// The tensor of a name.
    ///
    /// # Errors
    /// A name that nothing was put under.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        let found = self.0.get(name);
        found.ok_or_else(|| Error::internal(format!("an objective without {name}")))
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// What an objective makes of some molecules.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// The molecules as the network is to see them, one or several times.
    pub views: Vec<Vec<System<f64>>>,
    pub draws: Draws,
}

impl Inputs {
    /// The molecules as they are, and the graph of each atom (`graph_of`).
    ///
    /// # Errors
    /// Those of candle.
    pub fn of(molecules: &[Molecule], draw: &Draw) -> Result<Self> {
        let mut draws = Draws::default();
        let of = |(i, m): (u32, &Molecule)| std::iter::repeat_n(i, m.system.len());
        let graph_of: Vec<u32> = (0..).zip(molecules).flat_map(of).collect();
        let atoms = graph_of.len();
        draws.put("graph_of", draw.rows(graph_of, atoms)?);
        let clean = molecules.iter().map(|m| m.system.clone()).collect();
        Ok(Self {
            views: vec![clean],
            draws,
        })
    }
}

/// Views of some molecules, ready for the network.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub views: Vec<graph::Batch>,
    pub draws: Draws,
}

/// What a network says of each view.
#[derive(Debug, Clone, Default)]
pub struct Representations {
    /// Features of atoms, `[N, F]`.
    pub atoms: Vec<Tensor>,
    /// Features of molecules, `[B, F]`: the mean over their atoms, or the sum.
    pub graphs: Vec<Tensor>,
    /// Vectors of atoms, `[N, 3, F]`, of networks that have them.
    pub vectors: Vec<Option<Tensor>>,
}
