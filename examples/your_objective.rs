//! Pretrains a network by an objective of your own:
//!
//! ```sh
//! cargo run --release --example your_objective
//! ```
//!
//! The objective, one type: from the features of an atom, how many atoms are within 1.8 Å of it in
//! the molecule before noise was added. An objective of the crate is the same in a file of
//! `src/models/pretrain`, with its settings, and a line in `AnyObjective`.

use candle_core::{DType, Device};
use holosig::Result;
use holosig::data::neighbors::Rule;
use holosig::data::system::System;
use holosig::models::layers::{Linear, Pass};
use holosig::models::pretrain::{
    Batch, Draw, Inputs, Molecule, Objective, Perturbation, PretrainConfig, PretrainModel,
    Representations, Start, Terms,
};
use holosig::models::{Model, Scope, StepKey, scalar};

struct Neighbors {
    noise: Perturbation,
    predictor: Linear,
}

impl Neighbors {
    fn new(b: &mut Scope, width: usize) -> Self {
        Self {
            noise: Perturbation {
                noise: 0.1,
                ..Perturbation::default()
            },
            predictor: Linear::pytorch(&mut b.scope("predictor"), width, 1),
        }
    }
}

impl Objective for Neighbors {
    /// The network sees the noisy view alone; the noise is keyed by seed, step and sample.
    fn prepare(&self, molecules: &[Molecule], draw: &Draw) -> Result<Inputs> {
        let mut inputs = self.noise.views(molecules, draw)?;
        let counts: Vec<f64> = molecules.iter().flat_map(|m| counts(&m.system)).collect();
        let atoms = counts.len();
        inputs.draws.put("counts", draw.floats(counts, (atoms, 1))?);
        inputs.views.remove(0);
        Ok(inputs)
    }

    fn losses(&self, x: &Representations, batch: &Batch, pass: &Pass) -> Result<Terms> {
        let predicted = self.predictor.forward(&x.atoms[0], pass.parameters)?;
        let error = (predicted - batch.draws.get("counts")?)?;
        Ok(vec![("neighbors", error.sqr()?.mean_all()?)])
    }
}

/// Atoms within 1.8 Å of each atom.
fn counts(system: &System<f64>) -> Vec<f64> {
    let near = |a: &[f64; 3], b: &[f64; 3]| {
        let squares = a.iter().zip(b).map(|(x, y)| (x - y).powi(2));
        squares.sum::<f64>() < 1.8 * 1.8
    };
    let at = &system.positions;
    let count = |r| at.iter().filter(|other| near(r, other)).count() as f64 - 1.0;
    at.iter().map(count).collect()
}

fn main() -> Result<()> {
    let config: PretrainConfig = toml::from_str("network = \"painn\"\nwidth = 16\nlayers = 2")
        .map_err(holosig::Error::internal)?;
    let start = Start {
        seed: 1,
        dtype: DType::F32,
        device: Device::Cpu,
    };
    let build = |b: &mut Scope, width, _| Ok(Box::new(Neighbors::new(b, width)) as Box<_>);
    let model = PretrainModel::of(&config, Rule::default(), build, &start)?;

    // A chain and a ring of carbons.
    let molecule = |sample: u64, positions: Vec<[f64; 3]>| Molecule {
        sample,
        system: System {
            numbers: vec![6; positions.len()],
            positions,
            ..System::default()
        },
        ..Molecule::default()
    };
    let chain = (0..5).map(|i| [1.4 * f64::from(i), 0.0, 0.0]).collect();
    let turn = |i: u32| f64::from(i) * std::f64::consts::TAU / 6.0;
    let ring = (0..6)
        .map(|i| [1.4 * turn(i).cos(), 1.4 * turn(i).sin(), 0.0])
        .collect();
    let molecules = [molecule(0, chain), molecule(1, ring)];

    for step in 0..200 {
        let key = StepKey { seed: 1, step };
        let losses = model.losses(&model.batch(&molecules, key)?, key)?;
        let p = model.parameters();
        let gradient = p.gradient(&losses.terms[0].1)?.into_host()?;
        let stepped = p
            .flat()?
            .into_iter()
            .zip(gradient)
            .map(|(x, g)| x - 0.01 * g);
        p.set_flat(&stepped.collect::<Vec<_>>())?;
        if step % 50 == 0 {
            println!("step {step}: {:.4}", scalar(&losses.terms[0].1)?);
        }
    }
    Ok(())
}
