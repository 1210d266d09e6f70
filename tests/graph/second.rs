//! The two ways to differentiate a loss of forces agree: a tangent beside each value, and
//! gradients that keep their graphs, in a process that candle's switch is set in.

use crate::golden;
use crate::numbers::{tensor, values};
use candle_core::{DType, Tensor, Var};
use holosig::models::Model;
use holosig::models::graph::{Batch, GraphModel};
use holosig::models::layers::forces;
use holosig::ops::derivatives::keeps_graphs;
use std::process::Command;

const KEEP: &str = "CANDLE_GRAD_DO_NOT_DETACH";

/// The mean absolute difference of the forces from their target, with the graph of the forces.
fn force_loss(model: &GraphModel, batch: &Batch, target: &Tensor) -> Tensor {
    let vectors = Var::from_tensor(&batch.vectors().unwrap())
        .unwrap()
        .into_inner();
    let energy = model
        .energy_along(batch, &vectors)
        .unwrap()
        .sum_all()
        .unwrap();
    let store = energy.backward().unwrap();
    let forces = forces(&batch.edges, store.get(&vectors).unwrap()).unwrap();
    (forces - target)
        .unwrap()
        .abs()
        .unwrap()
        .mean_all()
        .unwrap()
}

fn gradients(model: &GraphModel, loss: &Tensor) -> Vec<Vec<f64>> {
    let store = loss.backward().unwrap();
    let variables = model.parameters().variables();
    variables
        .map(|v| store.get(v).map_or(vec![], values))
        .collect()
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
    for network in golden::NETWORKS {
        let file = &golden::files(network)[0];
        let group = file.group("small").unwrap();
        let model = golden::model(&group, DType::F64);
        let atoms = golden::Atoms::of(&group.group("input").unwrap());
        let mut batch = atoms.batch(model.encoder().cutoff(), DType::F64);
        let target = tensor(5, &[batch.atoms(), 3], DType::F64);
        let kept = force_loss(&model, &batch, &target);
        batch.targets.forces = Some(target);
        let dual = &model.terms(&batch).unwrap()[0].1;
        assert!((values(&kept)[0] - values(dual)[0]).abs() < 1e-14);
        let pairs = gradients(&model, &kept)
            .into_iter()
            .zip(gradients(&model, dual));
        for ((kept, dual), entry) in pairs.zip(model.parameters().entries()) {
            // Some parameters, the last bias for one, have no part in the forces: then a kept graph
            // has no gradient, and the tangent's is zero.
            let kept = if kept.is_empty() {
                vec![0.0; dual.len()]
            } else {
                kept
            };
            assert_eq!(kept.len(), dual.len(), "{}", entry.name);
            for (a, b) in kept.iter().zip(&dual) {
                assert!(
                    (a - b).abs() < 1e-12,
                    "{network} {}: {a} and {b}",
                    entry.name
                );
            }
        }
    }
}
