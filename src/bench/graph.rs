//! Training steps of networks of atoms, at the released sizes.

use super::cases::{Group, adam};
use super::{Case, Need, Part, Work};
use crate::comm::World;
use crate::data::system::System;
use crate::models::Model;
use crate::models::graph::{Batch, GraphConfig, GraphModel};
use crate::ops::in_pool;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A network with its default sizes.
struct Network {
    name: &'static str,
    config: &'static str,
    /// Å.
    cutoff: f64,
    /// Multiply-adds of the matrix products of a forward pass, for each edge and each atom.
    per_edge: f64,
    per_atom: f64,
}

const SCHNET: Network = Network {
    name: "schnet",
    config: "network = \"schnet\"\nvariant = \"published\"",
    cutoff: 10.0,
    per_edge: 6.0 * (51.0 * 128.0 + 128.0 * 128.0),
    per_atom: (6.0 * 3.0 + 2.0) * 128.0 * 128.0,
};

const PAINN: Network = Network {
    name: "painn",
    config: "network = \"painn\"\nvariant = \"published\"",
    cutoff: 5.0,
    per_edge: 3.0 * 20.0 * 3.0 * 128.0,
    // Two layers of messages, three of the update, and two mixtures of three components.
    per_atom: 3.0 * (4.0 + 5.0 + 6.0) * 128.0 * 128.0,
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for network in [&SCHNET, &PAINN] {
        for molecules in [16, 128] {
            cases.push(step(network, molecules, false));
            cases.push(step(network, molecules, true));
        }
    }
    cases
}

/// Atoms of a molecule of the size of those in QM9.
const ATOMS: usize = 18;

/// Compact molecules of C, N, O and H, no two atoms nearer than 0.9 Å.
fn molecules(count: usize) -> Vec<System<f64>> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut molecule = |_| {
        let mut system = System::default();
        while system.numbers.len() < ATOMS {
            let p: [f64; 3] = std::array::from_fn(|_| rng.random_range(-3.0..3.0));
            let apart = |q: &[f64; 3]| (0..3).map(|k| (p[k] - q[k]).powi(2)).sum::<f64>() > 0.81;
            if system.positions.iter().all(apart) {
                system.positions.push(p);
                system
                    .numbers
                    .push([1, 1, 6, 7, 6, 8][rng.random_range(0..6)]);
            }
        }
        system
    };
    (0..count).map(&mut molecule).collect()
}

/// Name of a case.
fn name(network: &Network, molecules: usize, forces: bool) -> String {
    let target = if forces { "force" } else { "energy" };
    format!("{}-{target}-b{molecules}", network.name)
}

/// Forward, backward and Adam; with forces both losses.
fn step(network: &'static Network, count: usize, forces: bool) -> Case {
    let systems = molecules(count);
    let atoms = (count * ATOMS) as f64;
    // All atoms of a molecule are neighbors within 10 Å, and most within 5 Å.
    let edges = atoms * (ATOMS - 1) as f64;
    let forward = 2.0 * (edges * network.per_edge + atoms * network.per_atom);
    // Energies alone: forward, and backward to inputs and weights. With forces: forward, backward
    // to the inputs, forward of values and tangents, backward of both.
    let passes = if forces { 8.0 } else { 3.0 };
    let prepare = move |_: &World, device: &Device| -> Result<Work> {
        let config: GraphConfig = toml::from_str(network.config).map_err(Error::internal)?;
        let model = GraphModel::new(&config, 1, DType::F32, device)?;
        let mut batch = Batch::of_systems(&systems, network.cutoff, DType::F32, device)?;
        let random = |shape: &[usize]| Tensor::randn(0f32, 1.0, shape, device);
        batch.targets.graphs = vec![random(&[count])?];
        if forces {
            batch.targets.forces = Some(random(&[batch.atoms(), 3])?);
        }
        let mut adam = adam(model.parameters())?;
        let mut step = move || -> Result<()> {
            let mut terms = model.terms(&batch)?.into_iter().map(|(_, term)| term);
            let first = terms.next().ok_or_else(|| Error::internal("no loss"))?;
            let loss = terms.try_fold(first, |sum, term| sum + term)?;
            let gradient = model.parameters().gradient(&loss)?;
            drop(loss);
            adam.step(model.parameters(), &gradient, 1e-5)
        };
        Ok(Box::new(move |_| in_pool(&mut step)))
    };
    Case {
        name: name(network, count, forces),
        group: Group::Graph,
        unit: "molecules/s",
        amount: count as f64,
        need: Need::Flops(passes * forward),
        prepare: Box::new(prepare),
        part: forces.then(|| Part {
            case: name(network, count, false),
            what: "a step without forces",
        }),
    }
}
