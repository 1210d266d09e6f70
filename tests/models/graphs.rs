//! Networks of atoms, on small molecules.

use crate::case::{Case, Change, section};
use candle_core::{DType, Device, Tensor};
use holosig::data::neighbors::Rule;
use holosig::data::system::System;
use holosig::models::graph::{Batch, GraphModel};
use holosig::models::{Describes, Weights};
use holosig::so3::rotation;
use holosig::tasks::systems::{Baseline, Description, On, TargetDescription};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The settings of `[model]`.
pub struct Graphs(pub &'static str);

/// A molecule of four to seven atoms, no two of them nearer than 0.8 Å, and random targets.
fn molecule(id: u64) -> (System<f64>, f64, Vec<[f64; 3]>) {
    let mut rng = ChaCha8Rng::seed_from_u64(900 + id);
    let atoms = rng.random_range(4..8);
    let mut system = System::default();
    while system.numbers.len() < atoms {
        let p: [f64; 3] = std::array::from_fn(|_| rng.random_range(-1.8..1.8));
        let apart = |q: &[f64; 3]| (0..3).map(|k| (p[k] - q[k]).powi(2)).sum::<f64>() > 0.64;
        if system.positions.iter().all(apart) {
            system.positions.push(p);
            system.numbers.push([1, 6, 7, 8][rng.random_range(0..4)]);
        }
    }
    let mut number = || rng.random_range(-1.0..1.0);
    let forces = (0..atoms)
        .map(|_| std::array::from_fn(|_| number()))
        .collect();
    (system, number(), forces)
}

fn changed(rows: &mut [[f64; 3]], change: Change, moves: bool) {
    match change {
        Change::None => {}
        Change::Permuted => rows.reverse(),
        Change::Moved if moves => rows.iter_mut().for_each(|p| {
            *p = std::array::from_fn(|k| p[k] + k as f64 + 1.0);
        }),
        Change::Moved => {}
        Change::Rotated(seed) => {
            let r = rotation::random(seed);
            rows.iter_mut().for_each(|p| {
                *p = std::array::from_fn(|i| (0..3).map(|k| r[i][k] * p[k]).sum());
            });
        }
    }
}

impl Case for Graphs {
    type Model = GraphModel;
    const TASK: &'static str = "systems";

    fn job(&self) -> String {
        let model = self.0;
        format!(
            "task = 'systems'\n[data]\ndataset = 'systems.h5'\nforces = true\n[model]\n{model}\n"
        )
    }

    fn description(&self) -> String {
        let description = Description {
            forces: true,
            stress: false,
            edges: Rule::Radius,
            targets: vec![TargetDescription {
                name: "energy".into(),
                unit: "eV".into(),
                scale: 1.0,
                classes: Vec::new(),
                baseline: Baseline::default(),
            }],
            model: section(&self.job(), "model"),
        };
        description.to_toml().unwrap()
    }

    fn build(&self, description: &str, seed: u64, dtype: DType) -> holosig::Result<GraphModel> {
        Description::from_toml(description)?.build(seed, dtype, &Device::Cpu)
    }

    fn batch(&self, ids: &[u64], change: Change, dtype: DType) -> Batch {
        let (mut systems, mut energies, mut forces) = (Vec::new(), Vec::new(), Vec::new());
        for &id in ids {
            let (mut system, energy, mut own) = molecule(id);
            changed(&mut system.positions, change, true);
            changed(&mut own, change, false);
            if change == Change::Permuted {
                system.numbers.reverse();
            }
            systems.push(system);
            energies.push(energy);
            forces.extend(own);
        }
        let description = Description::from_toml(&self.description()).unwrap();
        let model = self.model(1, dtype);
        let device = &Device::Cpu;
        let mut batch = description
            .batch(&model, &systems, On { dtype, device })
            .unwrap();
        let tensor = |t: candle_core::Result<Tensor>| t.unwrap().to_dtype(dtype).unwrap();
        batch.targets.graphs = vec![tensor(Tensor::from_vec(energies, ids.len(), device))];
        let flat: Vec<f64> = forces.concat();
        batch.targets.forces = Some(tensor(Tensor::from_vec(flat, (forces.len(), 3), device)));
        batch
    }

    /// The energy, and the sum of the lengths of all forces.
    fn predict(&self, model: &GraphModel, batch: &Batch) -> Vec<Vec<f64>> {
        let prediction = model.predict(batch).unwrap();
        let energies = crate::numbers::values(&prediction.energy);
        let forces = crate::numbers::values(&prediction.forces);
        let lengths = forces
            .chunks(3)
            .map(|f| f.iter().map(|x| x * x).sum::<f64>().sqrt());
        let lengths: Vec<f64> = lengths.collect();
        let graph = |(g, energy)| {
            let own = batch.graphs.of_receiver(g).clone();
            vec![energy, own.map(|atom| lengths[atom]).sum()]
        };
        energies.into_iter().enumerate().map(graph).collect()
    }

    fn symmetries(&self) -> Vec<(Change, f64, f64)> {
        let exact = |change| (change, 1e-10, 2e-4);
        [Change::Permuted, Change::Moved, Change::Rotated(4)]
            .map(exact)
            .into()
    }

    fn weights(&self) -> Weights<'static> {
        Weights::from([("energy", 0.3), ("forces", 0.7)])
    }
}
