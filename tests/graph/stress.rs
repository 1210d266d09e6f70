//! Stresses of crystals: slopes of energies by a strain, losses of them, symmetry.

use crate::graphs::{parameters, set_parameters};
use crate::numbers::{tensor, values};
use crate::properties::{configs, model, slopes};
use candle_core::{DType, Device, Tensor};
use holosig::data::system::{Cell, System};
use holosig::models::graph::{Batch, GraphConfig, GraphModel, Network, Penalty, Stresses};
use holosig::models::{Model, StepKey, Weights};
use holosig::so3::rotation;

type Matrix = [[f64; 3]; 3];

/// A crystal in a skewed cell, `copies` times along its first vector; a cell of size 1 is shorter than
/// the cutoff.
fn crystal(copies: usize, size: f64) -> System<f64> {
    let vectors = [[2.9, 0.2, 0.0], [0.3, 3.1, 0.1], [0.1, -0.2, 3.3]];
    let vectors = vectors.map(|v| v.map(|x| size * x));
    let places = [[0.1, 0.2, 0.3], [1.4, 1.7, 0.9], [0.6, 1.5, 2.4]];
    let mut system = System::default();
    for copy in 0..copies {
        for (number, place) in [6, 8, 1].into_iter().zip(places) {
            let moved = |k: usize| place[k] + copy as f64 * vectors[0][k];
            system.numbers.push(number);
            system.positions.push(std::array::from_fn(moved));
        }
    }
    let first = vectors[0].map(|x| x * copies as f64);
    system.cell = Cell::new([first, vectors[1], vectors[2]]);
    system
}

/// A crystal, a molecule, and another crystal.
fn systems() -> [System<f64>; 3] {
    let mut molecule = crystal(1, 1.0);
    molecule.cell = None;
    let mut other = crystal(1, 1.0);
    other.numbers.pop();
    other.positions.pop();
    [crystal(1, 1.0), molecule, other]
}

/// The size of a cell that a network has a smooth energy in. An atom and its images to both sides are
/// a straight chain, whose torsions SphereNet leaves to rounding.
fn size_for(config: &GraphConfig) -> f64 {
    match config.network {
        Network::SphereNet(_) => 1.25,
        _ => 1.0,
    }
}

/// Atoms and cell moved by a linear map.
fn mapped(system: &System<f64>, map: impl Fn([f64; 3]) -> [f64; 3]) -> System<f64> {
    let mut moved = system.clone();
    moved.positions.iter_mut().for_each(|p| *p = map(*p));
    moved.cell = system.cell.and_then(|c| Cell::new(c.vectors().map(&map)));
    moved
}

fn batch(systems: &[System<f64>], model: &GraphModel) -> Batch {
    let cutoff = model.encoder().cutoff();
    Batch::of_systems(systems, cutoff, DType::F64, &Device::Cpu).unwrap()
}

/// The stress of each system, by its virial and volume; those of molecules are no numbers.
fn stresses(systems: &[System<f64>], model: &GraphModel) -> Vec<Matrix> {
    let virials = values(&model.predict(&batch(systems, model)).unwrap().virial);
    let volume = |s: &System<f64>| s.cell.map_or(f64::NAN, |c| c.volume());
    let pairs = systems.iter().zip(virials.chunks(9));
    pairs
        .map(|(s, virial)| {
            std::array::from_fn(|i| std::array::from_fn(|k| -virial[3 * i + k] / volume(s)))
        })
        .collect()
}

#[track_caller]
fn close(a: &Matrix, b: &Matrix, tolerance: f64, what: &str) {
    let (a, b) = (a.as_flattened(), b.as_flattened());
    let largest = b.iter().fold(0f64, |m, x| m.max(x.abs()));
    assert!(largest > 1e-4, "{what}: nothing to compare, {b:?}");
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() < tolerance * largest, "{what}: {a} for {b}");
    }
}

#[test]
fn stresses_are_slopes_by_a_strain_of_atoms_and_cell() {
    for config in configs() {
        let model = model(&config, DType::F64);
        let system = crystal(1, size_for(&config));
        let volume = system.cell.unwrap().volume();
        let slope = |a: usize, b: usize| {
            let at = |step: f64| {
                let strained = mapped(&system, |mut p| {
                    p[a] += step * p[b];
                    p
                });
                values(&model.energy(&batch(&[strained], &model)).unwrap())
            };
            slopes(at)[0] / volume
        };
        let expected = std::array::from_fn(|a| std::array::from_fn(|b| slope(a, b)));
        let own = stresses(std::slice::from_ref(&system), &model)[0];
        close(&own, &expected, 1e-7, &format!("{:?}", config.network));
    }
}

#[test]
fn stresses_turn_and_are_the_same_in_a_larger_cell() {
    for config in configs() {
        let model = model(&config, DType::F64);
        let r = rotation::random(5);
        let turn = |p: [f64; 3]| std::array::from_fn(|i| (0..3).map(|k| r[i][k] * p[k]).sum());
        let [one, two] = [1, 2].map(|copies| crystal(copies, size_for(&config)));
        let all = [one.clone(), mapped(&one, turn), two];
        let [own, turned, larger] = stresses(&all, &model).try_into().unwrap();
        let sum = |i: usize, k: usize| -> f64 {
            let pairs = (0..9).map(|n| (n / 3, n % 3));
            pairs.map(|(a, b)| r[i][a] * own[a][b] * r[k][b]).sum()
        };
        let expected = std::array::from_fn(|i| std::array::from_fn(|k| sum(i, k)));
        close(
            &turned,
            &expected,
            1e-9,
            &format!("turned, {:?}", config.network),
        );
        // A readout that is the mean over atoms gives an energy that does not grow.
        let mean = config.head().readout == holosig::models::layers::Readout::Mean;
        let of_graph = config.head().of == holosig::models::graph::heads::Of::Graph;
        if !mean && !of_graph {
            close(
                &larger,
                &own,
                1e-9,
                &format!("larger, {:?}", config.network),
            );
        }
    }
}

/// Targets of energies and forces, and of the stresses of the first and the last system.
fn with_targets(model: &GraphModel) -> Batch {
    let systems = systems();
    let mut batch = batch(&systems, model);
    batch.targets.graphs = vec![tensor(1, &[3], DType::F64)];
    batch.targets.forces = Some(tensor(2, &[8, 3], DType::F64));
    batch.targets.stress = Some(known(&systems, 1.5));
    batch
}

/// What the stresses are to be.
const TARGET: Matrix = [[0.3, 0.1, -0.2], [0.1, -0.1, 0.05], [-0.2, 0.05, 0.2]];

fn known(systems: &[System<f64>], share: f64) -> Stresses {
    let known = systems.iter().map(|s| Some((TARGET, s.cell?.volume())));
    let known: Vec<_> = known.collect();
    Stresses::new(&known, share, DType::F64, &Device::Cpu).unwrap()
}

fn objective(model: &GraphModel, batch: &Batch, weights: &Weights) -> Tensor {
    let key = StepKey { seed: 1, step: 1 };
    let losses = model.losses_weighed(batch, key, weights).unwrap();
    losses.objective(weights).unwrap()
}

fn penalised(mut config: GraphConfig, forces: Penalty, stress: Penalty) -> GraphModel {
    config.penalties.forces = forces;
    config.penalties.stress = stress;
    model(&config, DType::F64)
}

#[test]
fn gradients_of_losses_of_forces_and_stresses_equal_differences() {
    // Parameters of a network that are compared.
    const SOME: usize = 16;
    let weights =
        |forces, stress| Weights::from([("energy", 0.5), ("forces", forces), ("stress", stress)]);
    let cases = [
        (weights(0.7, 3.0), Penalty::L1, Penalty::L2),
        (weights(0.0, 2.0), Penalty::L2, Penalty::L1),
    ];
    for (config, (weights, forces, stress)) in configs()
        .into_iter()
        .flat_map(|config| cases.clone().map(|case| (config.clone(), case)))
    {
        let model = penalised(config, forces, stress);
        let batch = with_targets(&model);
        let p = model.parameters();
        let gradient = p
            .exact_gradient(&objective(&model, &batch, &weights))
            .unwrap();
        let flat = parameters(&model);
        let unused: Vec<&str> = p.unused().collect();
        let used = p.entries().iter().filter(|e| !unused.contains(&&*e.name));
        for entry in used.step_by(p.entries().len().div_ceil(SOME)) {
            let i = entry.offset + entry.len() / 2;
            let at = |step: f64| {
                let mut moved = flat.clone();
                moved[i] += step;
                set_parameters(&model, &moved);
                values(&objective(&model, &batch, &weights))
            };
            let slope = slopes(at)[0];
            let error = (gradient[i] - slope).abs();
            let name = &entry.name;
            assert!(
                error < 1e-7 * (1.0 + slope.abs()),
                "{name}: {} for {slope}",
                gradient[i]
            );
            set_parameters(&model, &flat);
        }
    }
}

#[test]
fn the_term_is_the_mean_over_systems_with_a_stress() {
    let config = configs().swap_remove(1);
    let model = penalised(config, Penalty::L1, Penalty::L1);
    let batch = with_targets(&model);
    let own = stresses(&systems(), &model);
    let error = |own: &Matrix| {
        let pairs = own.as_flattened().iter().zip(TARGET.as_flattened());
        pairs.map(|(own, known)| (own - known).abs()).sum::<f64>() / 9.0
    };
    let expected = (error(&own[0]) + error(&own[2])) / 2.0;
    let weights = Weights::from([("energy", 0.0), ("forces", 0.0), ("stress", 1.0)]);
    let loss = values(&objective(&model, &batch, &weights))[0];
    assert!((loss - expected).abs() < 1e-12, "{loss} for {expected}");
    let metrics = model.metrics(&batch).unwrap();
    let of = |name: &str| {
        let (_, values) = metrics.iter().find(|(own, _)| *own == name).unwrap();
        (values[1], values.iter().sum::<f64>() / 3.0)
    };
    for name in ["stress", "stress_mae"] {
        let (of_molecule, mean) = of(name);
        assert_eq!(of_molecule, 0.0);
        assert!((mean - expected).abs() < 1e-12, "{name}: {mean}");
    }
    // The terms alone do not say which gradient their sum is to have.
    let told = model.terms(&batch).unwrap_err().to_string();
    assert!(told.contains("forces of the loss has no weight"), "{told}");
}

/// A crystal whose atom has no neighbor has no stress, and its loss a gradient of zero.
#[test]
fn a_crystal_without_edges_has_no_stress() {
    let config = configs().swap_remove(1);
    let model = penalised(config, Penalty::L1, Penalty::L1);
    let lone = System {
        numbers: vec![6],
        positions: vec![[0.0; 3]],
        cell: Cell::new([[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]]),
        ..System::default()
    };
    let mut batch = batch(std::slice::from_ref(&lone), &model);
    batch.targets.stress = Some(known(&[lone], 1.0));
    let terms = model.terms(&batch).unwrap();
    let mean = TARGET.as_flattened().iter().map(|x| x.abs()).sum::<f64>() / 9.0;
    assert!((values(&terms[0].1)[0] - mean).abs() < 1e-12);
    let gradient = model.parameters().exact_gradient(&terms[0].1).unwrap();
    assert!(gradient.iter().all(|g| *g == 0.0));
}
