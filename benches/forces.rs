//! Two ways to train on forces: a tangent beside each value, and gradients that keep their graphs.
//!
//! A step makes the losses of energies and of forces and the gradient by all parameters. Its
//! processor time is told (mean of seven steps), which other programs change less than the time by
//! the clock, and the most memory, each in a process of its own: candle's switch holds for a
//! process.
//!
//! `cargo bench --bench forces [-- MOLECULES]`

use candle_core::{DType, Device, Result, Tensor, Var};
use holosig::bench::processor_seconds;
use holosig::data::system::System;
use holosig::models::Model;
use holosig::models::graph::{Batch, GraphConfig, GraphModel};
use holosig::models::layers::forces;
use holosig::ops::in_pool;
use std::process::Command;

const KEEP: &str = "CANDLE_GRAD_DO_NOT_DETACH";
/// Names the network to measure, in a process that was started to measure it.
const NETWORK: &str = "HOLOSIG_BENCH_NETWORK";
const ATOMS: usize = 18;

/// Compact molecules of 18 atoms.
fn batch(molecules: usize, cutoff: f64) -> Batch {
    let mut state = 1u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut molecule = |_| {
        let mut system = System::<f64>::default();
        while system.numbers.len() < ATOMS {
            let p = [0; 3].map(|_| 6.0 * random() - 3.0);
            let apart = |q: &[f64; 3]| (0..3).map(|k| (p[k] - q[k]).powi(2)).sum::<f64>() > 0.81;
            if system.positions.iter().all(apart) {
                system.positions.push(p);
                system
                    .numbers
                    .push([1, 1, 6, 7, 6, 8][(6.0 * random()) as usize]);
            }
        }
        system
    };
    let systems: Vec<_> = (0..molecules).map(&mut molecule).collect();
    let device = Device::Cpu;
    let mut batch = Batch::of_systems(&systems, cutoff, DType::F32, &device).unwrap();
    batch.targets.graphs = vec![Tensor::zeros(molecules, DType::F32, &device).unwrap()];
    batch.targets.forces = Some(Tensor::ones((batch.atoms(), 3), DType::F32, &device).unwrap());
    batch
}

fn sum(terms: Vec<(&'static str, Tensor)>) -> Result<Tensor> {
    let [(_, energy), (_, forces)] = &terms[..] else {
        unreachable!("two terms")
    };
    energy + forces
}

/// The same losses from a gradient that has a graph.
fn kept(model: &GraphModel, batch: &Batch) -> holosig::Result<Tensor> {
    let vectors = Var::from_tensor(&batch.vectors()?)?.into_inner();
    let energy = model.energy_along(batch, &vectors)?;
    let store = energy.sum_all()?.backward()?;
    let gradient = store.get(&vectors).expect("energies depend on distances");
    let forces = forces(&batch.edges, gradient)?;
    let mean = |t: Tensor, target: Option<&Tensor>| match target {
        Some(target) => (t - target)?.abs()?.mean_all(),
        None => unreachable!("the batch has targets"),
    };
    let targets = &batch.targets;
    Ok((mean(energy, targets.graphs.first())? + mean(forces, targets.forces.as_ref())?)?)
}

/// Most memory of this process, MB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM"));
    let kilobytes = line.and_then(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok());
    kilobytes.map_or(f64::NAN, |kb| kb / 1024.0)
}

fn measure(network: &str, molecules: usize) {
    holosig::keep_freed_memory();
    let config: GraphConfig = toml::from_str(&format!("network = {network:?}")).unwrap();
    let model = GraphModel::new(&config, 1, DType::F32, &Device::Cpu).unwrap();
    let batch = batch(molecules, model.encoder().cutoff());
    let keeps = std::env::var_os(KEEP).is_some();
    let before = peak();
    let step = || {
        let loss = match keeps {
            true => kept(&model, &batch).unwrap(),
            false => sum(model.terms(&batch).unwrap()).unwrap(),
        };
        let gradient = model.parameters().gradient(&loss).unwrap();
        gradient.into_host().unwrap()
    };
    let norm: f32 = in_pool(step).iter().map(|g| g * g).sum();
    const STEPS: usize = 7;
    let start = processor_seconds();
    for _ in 0..STEPS {
        in_pool(step);
    }
    let seconds = (processor_seconds() - start) / STEPS as f64;
    println!(
        "{network:<7} {:<6} {molecules:>4} molecules {:>6} edges  {:>8.1} ms  {:>7.0} MB above {before:.0}  |g|^2 {norm:.5e}",
        if keeps { "graphs" } else { "dual" },
        batch.edges.len(),
        1e3 * seconds,
        peak() - before,
    );
}

fn main() {
    holosig::leave_threads_to_rayon();
    let molecules = std::env::args()
        .skip(1)
        .find_map(|a| a.parse().ok())
        .unwrap_or(16);
    if let Ok(network) = std::env::var(NETWORK) {
        return measure(&network, molecules);
    }
    let program = std::env::current_exe().expect("this program has a path");
    for network in ["schnet", "painn"] {
        for keep in ["", "1"] {
            let mut command = Command::new(&program);
            command
                .arg(molecules.to_string())
                .env(NETWORK, network)
                .env_remove(KEEP);
            if !keep.is_empty() {
                command.env(KEEP, keep);
            }
            assert!(command.status().is_ok_and(|s| s.success()), "{network}");
        }
    }
}
