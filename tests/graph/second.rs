//! The two ways to differentiate a loss of forces agree: a tangent beside each value, and
//! gradients that keep their graphs, in a process that candle's switch is set in.

use crate::numbers::values;
use crate::properties::{batch, configs, model, molecules};
use candle_core::{DType, Device, Tensor, Var};
use holosig::models::Model;
use holosig::models::graph::{Batch, GraphModel};
use holosig::models::layers::forces;
use holosig::ops::derivatives::keeps_graphs;
use std::process::Command;

const KEEP: &str = "CANDLE_GRAD_DO_NOT_DETACH";

/// The sum of the mean absolute differences of energies and of forces from zero, with the graph of
/// the forces.
fn kept(model: &GraphModel, batch: &Batch) -> Tensor {
    let vectors = Var::from_tensor(&batch.vectors().unwrap())
        .unwrap()
        .into_inner();
    let energy = model.energy_along(batch, &vectors).unwrap();
    let store = energy.sum_all().unwrap().backward().unwrap();
    let forces = forces(&batch.edges, store.get(&vectors).unwrap()).unwrap();
    let mean = |t: Tensor| t.abs().unwrap().mean_all().unwrap();
    (mean(energy) + mean(forces)).unwrap()
}

#[test]
fn tangents_and_kept_graphs_give_the_same_gradient() {
    let name = "second::tangents_and_kept_graphs_give_the_same_gradient";
    if std::env::var_os(KEEP).is_none() {
        let itself = std::env::current_exe().unwrap();
        let mut command = Command::new(itself);
        let output = command
            .args(["--exact", name, "--nocapture"])
            .env(KEEP, "1")
            .output();
        let output = output.unwrap();
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8_lossy(&told);
        assert!(
            output.status.success() && told.contains("1 passed"),
            "{told}"
        );
        return;
    }
    assert!(keeps_graphs());
    for config in configs() {
        let model = model(&config, DType::F64);
        let mut batch = batch(&molecules(), &model, DType::F64);
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F64, &Device::Cpu).unwrap();
        batch.targets.graphs = vec![zeros(&[batch.len()])];
        batch.targets.forces = Some(zeros(&[batch.atoms(), 3]));
        let kept = kept(&model, &batch);
        let terms = model.terms(&batch).unwrap();
        let dual = (&terms[0].1 + &terms[1].1).unwrap();
        assert!((values(&kept)[0] - values(&dual)[0]).abs() < 1e-14);
        let [kept, dual] =
            [kept, dual].map(|loss| model.parameters().exact_gradient(&loss).unwrap());
        for (i, (a, b)) in kept.iter().zip(&dual).enumerate() {
            assert!(
                (a - b).abs() < 1e-12,
                "{:?} {i}: {a} and {b}",
                config.network
            );
        }
        let largest = dual.iter().fold(0f64, |m, g| m.max(g.abs()));
        assert!(largest > 1e-3, "nothing to test");
    }
}
