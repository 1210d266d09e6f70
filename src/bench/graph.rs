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

/// A network of the released sizes.
struct Network {
    /// As in a job.
    name: &'static str,
    /// Besides the network's name.
    config: &'static str,
    batches: &'static [usize],
}

const PUBLISHED: &str = "variant = \"published\"";

/// Where the network has edges between bonded atoms: about two for each atom, as many as there are
/// bonds in molecules.
const BONDS: &str = "variant = \"published\"\ncutoff = 1.8";

static NETWORKS: [Network; 12] = [
    network("schnet", PUBLISHED, &[16, 128]),
    network("painn", PUBLISHED, &[16, 128]),
    network("egnn", PUBLISHED, &[16, 128]),
    network("dimenetpp", PUBLISHED, &[16, 128]),
    network("spherenet", PUBLISHED, &[16, 128]),
    network("gemnet", "", &[16, 128]),
    network("nequip", PUBLISHED, &[16]),
    network("allegro", PUBLISHED, &[16]),
    network("equiformer", PUBLISHED, &[16]),
    network("segnn", PUBLISHED, &[16]),
    network("tfn", BONDS, &[16]),
    network("se3transformer", BONDS, &[16]),
];

const fn network(name: &'static str, config: &'static str, batches: &'static [usize]) -> Network {
    Network {
        name,
        config,
        batches,
    }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for network in &NETWORKS {
        for &molecules in network.batches {
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
    let prepare = move |_: &World, device: &Device| -> Result<Work> {
        let config = format!("network = {:?}\n{}", network.name, network.config);
        let config: GraphConfig = toml::from_str(&config).map_err(Error::internal)?;
        let model = GraphModel::new(&config, 1, DType::F32, device)?;
        let cutoff = model.encoder().cutoff();
        let mut batch = Batch::of_systems(&systems, cutoff, DType::F32, device)?;
        model.encoder().prepare(&batch)?;
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
        need: Need::Counted,
        prepare: Box::new(prepare),
        part: forces.then(|| Part {
            case: name(network, count, false),
            what: "a step without forces",
        }),
    }
}
