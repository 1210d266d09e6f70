//! What holds for every network: symmetry, derivatives, smoothness, independence.

use crate::graphs::{Atoms, loss, parameters, set_parameters};
use crate::numbers::{numbers, values};
use candle_core::{DType, Device};
use holosig::models::Model;
use holosig::models::graph::heads::Of;
use holosig::models::graph::{Batch, GraphConfig, GraphModel, Network, Penalty};
use holosig::so3::rotation;
use serde_json::json;

/// Small networks: every kind, with an energy of atoms and with one of the graph.
pub fn configs() -> Vec<GraphConfig> {
    let small = [
        json!({ "network": "schnet", "width": 12, "filters": 10, "layers": 2, "radial": 8,
            "cutoff": 3.0, "elements": 10 }),
        json!({ "network": "painn", "width": 12, "layers": 2, "radial": 8, "cutoff": 3.0,
            "elements": 10 }),
        json!({ "network": "painn", "width": 12, "layers": 2, "radial": 6, "basis": "bessel",
            "cutoff": 3.0, "elements": 10, "head": { "hidden": "half", "readout": "mean" } }),
        json!({ "network": "egnn", "width": 12, "layers": 2, "cutoff": 3.0, "elements": 10 }),
        json!({ "network": "dimenetpp", "width": 12, "layers": 2, "inner": 6, "basis": 4, "out": 10,
            "degrees": 4, "radial": 5, "cutoff": 3.0, "elements": 10 }),
        json!({ "network": "spherenet", "width": 12, "layers": 2, "inner": 6, "basis": 4, "out": 10,
            "degrees": 3, "radial": 5, "cutoff": 3.0, "elements": 10 }),
        json!({ "network": "gemnet", "width": 12, "messages": 10, "layers": 2, "inner": 6,
            "radial_basis": 5, "circular_basis": 4, "bilinear": 7, "degrees": 4, "radial": 5,
            "cutoff": 3.0, "elements": 10 }),
        json!({ "network": "painn", "width": 12, "layers": 2, "radial": 6, "cutoff": 3.0,
            "elements": 10, "head": { "hidden": "half", "of": "graph" } }),
        json!({ "network": "nequip", "width": 4, "layers": 2, "lmax": 2, "radial": 4,
            "radial_width": 6, "cutoff": 3.0 }),
        json!({ "network": "allegro", "width": 8, "channels": 3, "layers": 3, "radial": 4,
            "cutoff": 3.0 }),
        json!({ "network": "equiformer", "width": [6, 4, 2], "layers": 2, "heads": 2,
            "head_width": [3, 2, 1], "hidden": [4, 3, 2], "features": 6, "radial": 4,
            "radial_widths": [5], "cutoff": 3.0, "elements": 10 }),
        json!({ "network": "equiformer", "width": [6, 4], "layers": 2, "heads": 2,
            "head_width": [3, 2], "hidden": [4, 3], "features": 6, "radial": 4, "basis": "bessel",
            "radial_widths": [5, 5], "nonlinear": true, "cutoff": 3.0, "elements": 10 }),
        json!({ "network": "segnn", "width": 8, "layers": 2, "attention": true, "cutoff": 3.0,
            "elements": 10 }),
        json!({ "network": "tfn", "width": 4, "layers": 3, "lmax": 2, "radial_width": 6,
            "cutoff": 3.0, "elements": 10 }),
        json!({ "network": "se3transformer", "width": 4, "attention_width": 4, "heads": 2,
            "layers": 2, "lmax": 2, "radial_width": 6, "cutoff": 3.0, "elements": 10 }),
    ];
    small
        .map(|config| serde_json::from_value(config).unwrap())
        .into()
}

pub fn model(config: &GraphConfig, dtype: DType) -> GraphModel {
    let model = GraphModel::new(config, 3, dtype, &Device::Cpu).unwrap();
    // Biases, which start at zero, matter too.
    let p = model.parameters();
    let noise = numbers(17, p.len()).into_iter().map(|v| 0.1 * v as f32);
    let flat = p.flat().unwrap().into_iter().zip(noise).map(|(a, b)| a + b);
    p.set_flat(&flat.collect::<Vec<_>>()).unwrap();
    model
}

/// Molecules of 7, 5 and 1 atoms, no two of them nearer than 0.8 Å.
pub fn molecules() -> Atoms {
    let mut atoms = Atoms {
        numbers: vec![],
        positions: vec![],
        graph_of: vec![],
    };
    for (graph, size) in [7usize, 5, 1].into_iter().enumerate() {
        let mut seed = 100 * graph as u64;
        let first = atoms.positions.len();
        while atoms.positions.len() < first + size {
            seed += 1;
            let p: [f64; 3] = numbers(seed, 3).try_into().unwrap();
            let p = p.map(|x| 1.9 * x);
            let free = atoms.positions[first..]
                .iter()
                .all(|q| (0..3).map(|k| (p[k] - q[k]).powi(2)).sum::<f64>() > 0.64);
            if free {
                atoms.positions.push(p);
                atoms.numbers.push([1, 6, 7, 8][seed as usize % 4]);
                atoms.graph_of.push(graph as u32);
            }
        }
    }
    atoms
}

pub fn batch(atoms: &Atoms, model: &GraphModel, dtype: DType) -> Batch {
    atoms.batch(model.encoder().cutoff(), dtype)
}

/// Energies and forces.
fn predict(atoms: &Atoms, model: &GraphModel, dtype: DType) -> [Vec<f64>; 2] {
    let prediction = model.predict(&batch(atoms, model, dtype)).unwrap();
    [values(&prediction.energy), values(&prediction.forces)]
}

#[track_caller]
fn close(a: &[f64], b: &[f64], tolerance: f64, what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    let largest = b.iter().fold(1e-2f64, |m, v| m.max(v.abs()));
    for (a, b) in a.iter().zip(b) {
        let error = (a - b).abs() / largest;
        assert!(error <= tolerance, "{what}: {a} for {b}, {error:e}");
    }
}

/// Whether a network gives mirror images the same energy. SphereNet measures torsions in one sense,
/// and all irreps of Equiformer, TFN and the SE(3)-Transformer, as released, are even.
fn is_mirrored(config: &GraphConfig) -> bool {
    !matches!(
        config.network,
        Network::SphereNet(_)
            | Network::Equiformer(_)
            | Network::Tfn(_)
            | Network::Se3Transformer(_)
    )
}

/// Derivatives at 0 of functions of one number, by differences of fourth order: normalised hidden
/// layers may bend on the scale of the root of their epsilon.
pub fn slopes(at: impl Fn(f64) -> Vec<f64>) -> Vec<f64> {
    const STEP: f64 = 3e-5;
    let [a, b, c, d] = [-2.0, -1.0, 1.0, 2.0].map(|n| at(n * STEP));
    let slope = |i: usize| (8.0 * (c[i] - b[i]) - (d[i] - a[i])) / (12.0 * STEP);
    (0..a.len()).map(slope).collect()
}

fn rotated(vector: &[f64], r: &rotation::Matrix) -> [f64; 3] {
    std::array::from_fn(|i| (0..3).map(|k| r[i][k] * vector[k]).sum())
}

#[test]
fn energies_are_invariant_and_forces_turn() {
    for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 2e-5)] {
        for config in configs() {
            let model = model(&config, dtype);
            let atoms = molecules();
            let [energy, forces] = predict(&atoms, &model, dtype);
            for seed in 0..3 {
                let r = rotation::random(seed);
                let reflect = if seed == 2 && is_mirrored(&config) {
                    -1.0
                } else {
                    1.0
                };
                let moved = |p: &[f64; 3]| rotated(p, &r).map(|x| reflect * x + 5.0);
                let positions = atoms.positions.iter().map(moved).collect();
                let turned = Atoms {
                    positions,
                    numbers: atoms.numbers.clone(),
                    graph_of: atoms.graph_of.clone(),
                };
                let [e, f] = predict(&turned, &model, dtype);
                close(&e, &energy, tolerance, "energy of turned atoms");
                let expected: Vec<f64> = forces
                    .chunks(3)
                    .flat_map(|f| rotated(f, &r).map(|x| reflect * x))
                    .collect();
                close(&f, &expected, tolerance, "forces of turned atoms");
            }
        }
    }
}

#[test]
fn order_of_atoms_does_not_matter() {
    for config in configs() {
        let model = model(&config, DType::F64);
        let atoms = molecules();
        let [energy, forces] = predict(&atoms, &model, DType::F64);
        let order: Vec<usize> = (0..7).rev().chain([8, 7, 10, 11, 9, 12]).collect();
        let permuted = Atoms {
            numbers: order.iter().map(|&i| atoms.numbers[i]).collect(),
            positions: order.iter().map(|&i| atoms.positions[i]).collect(),
            graph_of: atoms.graph_of.clone(),
        };
        let [e, f] = predict(&permuted, &model, DType::F64);
        close(&e, &energy, 1e-13, "energy");
        let expected: Vec<f64> = order
            .iter()
            .flat_map(|&i| forces[3 * i..][..3].to_vec())
            .collect();
        close(&f, &expected, 1e-12, "forces");
    }
}

/// One molecule of a batch alone.
fn member(atoms: &Atoms, graph: u32) -> Atoms {
    let own = |i: &usize| atoms.graph_of[*i] == graph;
    let own: Vec<usize> = (0..atoms.numbers.len()).filter(own).collect();
    Atoms {
        numbers: own.iter().map(|&i| atoms.numbers[i]).collect(),
        positions: own.iter().map(|&i| atoms.positions[i]).collect(),
        graph_of: vec![0; own.len()],
    }
}

#[test]
fn a_batch_equals_its_members() {
    for config in configs() {
        let model = model(&config, DType::F64);
        let atoms = molecules();
        let [energy, forces] = predict(&atoms, &model, DType::F64);
        let alone: Vec<_> = (0..3)
            .map(|g| predict(&member(&atoms, g), &model, DType::F64))
            .collect();
        let joined = |k: usize| alone.iter().flat_map(|p| p[k].clone()).collect::<Vec<_>>();
        close(&joined(0), &energy, 1e-13, "energies");
        close(&joined(1), &forces, 1e-12, "forces");
        assert!(
            forces[36..].iter().all(|&f| f == 0.0),
            "a lone atom feels no force"
        );
    }
}

#[test]
fn distant_systems_have_the_sum_of_their_energies() {
    for config in configs().into_iter().filter(|c| c.head().of == Of::Atoms) {
        let model = model(&config, DType::F64);
        let atoms = molecules();
        let [energy, forces] = predict(&atoms, &model, DType::F64);
        let far = |(p, &graph): (&[f64; 3], &u32)| p.map(|x| x + 50.0 * f64::from(graph));
        let together = Atoms {
            numbers: atoms.numbers.clone(),
            positions: atoms
                .positions
                .iter()
                .zip(&atoms.graph_of)
                .map(far)
                .collect(),
            graph_of: vec![0; atoms.numbers.len()],
        };
        let [e, f] = predict(&together, &model, DType::F64);
        if config.head().readout == holosig::models::layers::Readout::Sum {
            close(
                &e,
                &[energy.iter().sum()],
                1e-12,
                "energy of distant molecules",
            );
            close(&f, &forces, 1e-11, "forces of distant molecules");
        } else {
            let mean = (7.0 * energy[0] + 5.0 * energy[1] + energy[2]) / 13.0;
            close(&e, &[mean], 1e-12, "mean energy of distant molecules");
        }
    }
}

#[test]
fn forces_are_minus_the_gradient_and_sum_to_nothing() {
    for config in configs() {
        let model = model(&config, DType::F64);
        let atoms = molecules();
        let [_, forces] = predict(&atoms, &model, DType::F64);
        let energy = |positions: Vec<[f64; 3]>| -> f64 {
            let moved = Atoms {
                positions,
                numbers: atoms.numbers.clone(),
                graph_of: atoms.graph_of.clone(),
            };
            values(&model.energy(&batch(&moved, &model, DType::F64)).unwrap())
                .iter()
                .sum()
        };
        let mut differences = Vec::new();
        for i in 0..atoms.positions.len() {
            for k in 0..3 {
                let at = |step: f64| {
                    let mut positions = atoms.positions.clone();
                    positions[i][k] += step;
                    energy(positions)
                };
                differences.push(-slopes(|step| vec![at(step)])[0]);
            }
        }
        close(&forces, &differences, 1e-8, "forces");
        for (k, graph) in [0..7, 7..12]
            .into_iter()
            .flat_map(|g| (0..3).map(move |k| (k, g.clone())))
        {
            let total: f64 = graph.map(|i| forces[3 * i + k]).sum();
            assert!(total.abs() < 1e-13, "net force {total}");
        }
    }
}

#[test]
fn virials_are_minus_the_derivative_by_strain() {
    for config in configs() {
        let model = model(&config, DType::F64);
        let atoms = molecules();
        let virial = values(
            &model
                .predict(&batch(&atoms, &model, DType::F64))
                .unwrap()
                .virial,
        );
        for (a, b) in [(0, 0), (1, 2), (2, 1)] {
            let at = |step: f64| {
                let strained = |p: &[f64; 3]| {
                    let mut p = *p;
                    p[a] += step * p[b];
                    p
                };
                let positions = atoms.positions.iter().map(strained).collect();
                let strained = Atoms {
                    positions,
                    numbers: atoms.numbers.clone(),
                    graph_of: atoms.graph_of.clone(),
                };
                values(&model.energy(&batch(&strained, &model, DType::F64)).unwrap())
            };
            let expected: Vec<f64> = slopes(at).iter().map(|slope| -slope).collect();
            let own: Vec<f64> = (0..3).map(|g| virial[9 * g + 3 * a + b]).collect();
            close(&own, &expected, 1e-8, "virial");
        }
    }
}

#[test]
fn gradients_of_force_losses_equal_differences() {
    for (config, penalty) in configs()
        .into_iter()
        .flat_map(|c| [(c.clone(), Penalty::L1), (c, Penalty::L2)])
    {
        let mut config = config;
        config.penalties.forces = penalty;
        let model = model(&config, DType::F64);
        let mut batch = batch(&molecules(), &model, DType::F64);
        let target = |seed, shape: &[usize]| crate::numbers::tensor(seed, shape, DType::F64);
        batch.targets.graphs = vec![target(1, &[3])];
        batch.targets.forces = Some(target(2, &[13, 3]));
        let p = model.parameters();
        let gradient = p.exact_gradient(&loss(&model, &batch, [1.0; 2])).unwrap();
        let flat = parameters(&model);
        // Some elements of every parameter that is trained; of networks with hundreds of parameters
        // one of each, and with one penalty.
        let many = p.entries().len() > 150;
        if many && penalty == Penalty::L1 {
            continue;
        }
        let unused: Vec<&str> = p.unused().collect();
        for entry in p.entries().iter().filter(|e| !unused.contains(&&*e.name)) {
            let some = [0, entry.len() / 2, entry.len() - 1];
            for i in &some[if many { 1..2 } else { 0..3 }] {
                let i = entry.offset + i;
                let at = |step: f64| {
                    let mut moved = flat.clone();
                    moved[i] += step;
                    set_parameters(&model, &moved);
                    values(&loss(&model, &batch, [1.0; 2]))[0]
                };
                let slope = slopes(|step| vec![at(step)])[0];
                let error = (gradient[i] - slope).abs();
                assert!(
                    error < 1e-7 * (1.0 + slope.abs()),
                    "{}: {} for {slope}",
                    entry.name,
                    gradient[i]
                );
                at(0.0);
            }
        }
    }
}

#[test]
fn nothing_jumps_when_an_atom_comes_into_reach() {
    for config in configs() {
        let model = model(&config, DType::F64);
        let cutoff = model.encoder().cutoff();
        let at = |distance: f64| {
            let atoms = Atoms {
                numbers: vec![6, 1, 8],
                positions: vec![[0.0; 3], [1.1, 0.0, 0.0], [0.0, distance, 0.0]],
                graph_of: vec![0; 3],
            };
            predict(&atoms, &model, DType::F64)
        };
        // The third atom is 1.1 Å off the second's line, so its distance to that is larger.
        let ([e_in, f_in], [e_out, f_out]) = (at(cutoff - 1e-6), at(cutoff + 1e-6));
        close(&e_in, &e_out, 1e-9, "energy at the cutoff");
        // The force is linear in the distance to the cutoff.
        close(&f_in, &f_out, 1e-4, "forces at the cutoff");
        assert_ne!(
            e_in,
            at(cutoff - 0.3)[0],
            "the atom is felt inside the cutoff"
        );
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let mut atoms = molecules();
    // More than one block of rows.
    for copy in 1..30 {
        let more = molecules();
        atoms.numbers.extend(more.numbers);
        atoms.positions.extend(more.positions);
        atoms
            .graph_of
            .extend(more.graph_of.iter().map(|g| g + 3 * copy));
    }
    for config in configs() {
        let model = model(&config, DType::F32);
        let mut batch = batch(&atoms, &model, DType::F32);
        batch.targets.forces = Some(crate::numbers::tensor(
            2,
            &[atoms.numbers.len(), 3],
            DType::F32,
        ));
        let bits = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let loss = loss(&model, &batch, [1.0; 2]);
                let gradient = model.parameters().exact_gradient(&loss).unwrap();
                gradient.into_iter().map(f64::to_bits).collect::<Vec<_>>()
            })
        };
        assert_eq!(bits(1), bits(3));
    }
}

#[test]
fn default_sizes_have_the_published_number_of_parameters() {
    for (network, count) in [
        ("schnet", 483_841),
        ("painn", 591_489),
        ("egnn", 905_480),
        ("dimenetpp", 1_067_782),
        ("spherenet", 1_890_118),
        ("gemnet", 1_895_639),
    ] {
        let config = match network {
            "gemnet" => json!({ "network": network }),
            _ => json!({ "network": network, "variant": "published" }),
        };
        let config: GraphConfig = serde_json::from_value(config).unwrap();
        let model = GraphModel::new(&config, 3, DType::F32, &Device::Cpu).unwrap();
        assert_eq!(model.parameters().len(), count, "{network}");
    }
}
