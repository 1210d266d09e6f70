//! Energies, forces, gradients of losses and first steps of training equal those of the published
//! code.

use crate::golden::{self, Atoms, NETWORKS, groups, read, tensor, uniform};
use crate::numbers::values;
use candle_core::{DType, Tensor};
use hdf5::Group;
use holosig::models::Model;
use holosig::models::graph::{Batch, GraphModel};

/// Largest difference, in units of the largest value.
#[track_caller]
fn check(own: &[f64], published: &[f64], tolerance: f64, what: &str) {
    assert_eq!(own.len(), published.len(), "{what}");
    let largest = published.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
    let differences = own.iter().zip(published).map(|(a, b)| (a - b).abs());
    let error = differences.fold(0f64, |m, d| if d > m || d.is_nan() { d } else { m }) / largest;
    println!("{what}: {error:.1e}");
    assert!(error <= tolerance, "{what}: {error:e} > {tolerance:e}");
}

/// The group's batch with the file's targets.
fn batch(group: &Group, cutoff: f64, dtype: DType) -> Batch {
    let atoms = Atoms::of(&group.group("input").unwrap());
    let mut batch = atoms.batch(cutoff, dtype);
    let edges = read::<i32>(group, "index/edge_index");
    let published = edges.as_slice();
    let own = [batch.edges.senders(), batch.edges.receivers()].concat();
    assert!(own.iter().map(|&i| i as i32).eq(published.iter().copied()));
    batch.targets.energy = Some(tensor(group, "input/y", dtype));
    batch.targets.forces = Some(tensor(group, "input/force_target", dtype));
    batch
}

fn scalar(group: &Group, name: &str) -> f64 {
    group.dataset(name).unwrap().read_scalar().unwrap()
}

/// Sum of all terms.
fn loss(model: &GraphModel, batch: &Batch) -> Tensor {
    let terms = model.terms(batch).unwrap();
    let terms = terms.into_iter().map(|(_, term)| term);
    terms.reduce(|a, b| (a + b).unwrap()).unwrap()
}

fn check_group(group: &Group, dtype: DType, tolerance: f64) {
    let what = |part: &str| format!("{}/{} {dtype:?} {part}", group.filename(), group.name());
    let model = golden::model(group, dtype);
    let names: Vec<&str> = model
        .parameters()
        .entries()
        .iter()
        .map(|e| &*e.name)
        .collect();
    assert_eq!(names, golden::order(group));
    let batch = batch(group, model.encoder().cutoff(), dtype);
    let prediction = model.predict(&batch).unwrap();
    let check_values = |own: &Tensor, name: &str| {
        check(
            &values(own),
            &read::<f64>(group, name),
            tolerance,
            &what(name),
        );
    };
    check_values(&prediction.energy, "out/energy");
    check_values(&prediction.forces, "out/force");
    let loss = loss(&model, &batch);
    check(
        &values(&loss),
        &[scalar(group, "out/loss_ef")],
        tolerance,
        &what("loss"),
    );
    let gradients = golden::gradient(&model, &loss);
    if group.group("grad").is_ok() {
        for (name, own) in names.iter().zip(&gradients) {
            let name = format!("grad/{name}");
            check(
                own,
                &read::<f64>(group, &name),
                10.0 * tolerance,
                &what(&name),
            );
        }
    } else {
        let sum = |f: &dyn Fn(usize, usize, f64) -> f64| -> Vec<f64> {
            let of =
                |(t, g): (usize, &Vec<f64>)| g.iter().enumerate().map(|(i, &v)| f(t, i, v)).sum();
            gradients.iter().enumerate().map(of).collect()
        };
        let norms = sum(&|_, _, v| v * v);
        let norms: Vec<f64> = norms.into_iter().map(f64::sqrt).collect();
        let published = read::<f64>(group, "out/grad_norm");
        check(
            &norms,
            &published,
            10.0 * tolerance,
            &what("gradient norms"),
        );
        let key = golden::seed(group) + 77;
        let dots = sum(&|t, i, v| v * uniform(key, t as u64, i as u64));
        let published = read::<f64>(group, "out/grad_dot");
        check(
            &dots,
            &published,
            10.0 * tolerance,
            &what("gradient products"),
        );
    }
}

/// Every group of every file that has an input.
fn check_all(dtype: DType, tolerance: f64) {
    for network in NETWORKS {
        for file in golden::files(network) {
            let groups = groups(&file);
            let with_input: Vec<_> = groups.iter().filter(|g| g.group("input").is_ok()).collect();
            assert!(!with_input.is_empty(), "{network}: a file without inputs");
            for group in with_input {
                check_group(group, dtype, tolerance);
            }
        }
    }
}

#[test]
fn released_networks_in_double_precision() {
    check_all(DType::F64, 1e-11);
}

#[test]
fn released_networks_in_single_precision() {
    check_all(DType::F32, 5e-6);
}

#[test]
fn flat_molecules_with_atoms_in_a_line() {
    for network in NETWORKS {
        for file in golden::files(network) {
            let group = file.group("degenerate").unwrap();
            let small = file.group("small").unwrap();
            let model = golden::model(&small, DType::F64);
            let batch = Atoms::of(&group).batch(model.encoder().cutoff(), DType::F64);
            let prediction = model.predict(&batch).unwrap();
            for (own, name) in [(prediction.energy, "energy"), (prediction.forces, "force")] {
                let what = format!("{network} degenerate {name}");
                check(&values(&own), &read::<f64>(&group, name), 1e-11, &what);
            }
        }
    }
}

/// Adam as in PyTorch, in f64.
struct Adam {
    moments: Vec<[f64; 2]>,
    steps: i32,
}

impl Adam {
    fn step(&mut self, model: &GraphModel, gradient: &[f64]) {
        const RATE: f64 = 5e-4;
        const BETAS: [f64; 2] = [0.9, 0.999];
        self.steps += 1;
        let mut flat = golden::parameters(model);
        for ((x, moments), &g) in flat.iter_mut().zip(&mut self.moments).zip(gradient) {
            let new = [g, g * g];
            let mut corrected = [0.0; 2];
            for k in 0..2 {
                moments[k] = BETAS[k] * moments[k] + (1.0 - BETAS[k]) * new[k];
                corrected[k] = moments[k] / (1.0 - BETAS[k].powi(self.steps));
            }
            *x -= RATE * corrected[0] / (corrected[1].sqrt() + 1e-8);
        }
        golden::set_parameters(model, &flat);
    }
}

#[test]
fn training_on_energies_follows_the_published_code() {
    for network in NETWORKS {
        for file in golden::files(network) {
            for group in groups(&file).iter().filter(|g| g.group("adam").is_ok()) {
                let model = golden::model(group, DType::F64);
                let mut batch = batch(group, model.encoder().cutoff(), DType::F64);
                batch.targets.forces = None;
                let mut adam = Adam {
                    moments: vec![[0.0; 2]; model.parameters().len()],
                    steps: 0,
                };
                let mut losses = Vec::new();
                for _ in 0..3 {
                    let loss = loss(&model, &batch);
                    losses.extend(values(&loss));
                    adam.step(&model, &golden::gradient(&model, &loss).concat());
                }
                losses.extend(values(&loss(&model, &batch)));
                let what = format!("{network} {} losses of training", group.name());
                check(&losses, &read::<f64>(group, "adam/loss"), 1e-9, &what);
                let energies = values(&model.energy(&batch).unwrap());
                let published = read::<f64>(group, "adam/energy_after");
                check(&energies, &published, 1e-9, &what);
            }
        }
    }
}
