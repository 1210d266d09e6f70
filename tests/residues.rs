//! What holds for every network of residues: symmetry, independence of the chains of a batch,
//! gradients, random numbers that belong to samples.

#[path = "common/graphs.rs"]
mod graphs;
#[path = "common/numbers.rs"]
mod numbers;

use candle_core::{DType, Device, Tensor};
use graphs::{gradient, parameters, set_parameters};
use holosig::data::chains::{Chain, UNKNOWN, side};
use holosig::models::layers::Mode;
use holosig::models::residues::{Batch, Network, Objective, ResidueModel};
use holosig::models::{Model, StepKey};
use holosig::so3::rotation;
use numbers::{numbers, values};
use serde_json::{Value, json};

const CLASSES: usize = 3;

/// Small networks of every kind.
fn networks() -> Vec<Value> {
    let pronet = |level: &str| {
        json!({ "network": "pronet", "level": level, "width": 8, "middle": 6, "layers": 2,
            "dropout": 0.2 })
    };
    let gearnet = |angles: usize, ieconv: usize| json!({ "network": "gearnet", "hidden": [8, 8], "angles": angles, "ieconv": ieconv });
    vec![
        json!({ "network": "gvp", "scalars": 8, "vectors": 3, "edge_scalars": 5, "layers": 2 }),
        gearnet(0, 0),
        gearnet(8, 0),
        gearnet(0, 5),
        gearnet(4, 4),
        pronet("aminoacid"),
        pronet("backbone"),
        pronet("allatom"),
        json!({ "network": "cdconv", "radii": [8.0, 12.0, 16.0], "channels": [8, 8, 12], "base": 32,
            "kernel": [6, 4], "embedding": 6, "dropout": 0.2 }),
    ]
}

fn model(settings: &Value, objective: Objective, dtype: DType) -> ResidueModel {
    let network: Network = serde_json::from_value(settings.clone()).unwrap();
    let model = ResidueModel::new(&network, objective, 3, dtype, &Device::Cpu).unwrap();
    // Biases, which start at zero, matter too.
    let p = model.parameters();
    let noise = numbers(17, p.len()).into_iter().map(|v| 0.1 * v as f32);
    let flat = p.flat().unwrap().into_iter().zip(noise).map(|(a, b)| a + b);
    p.set_flat(&flat.collect::<Vec<_>>()).unwrap();
    model
}

fn classes(settings: &Value, dtype: DType) -> ResidueModel {
    model(settings, Objective::Class(CLASSES), dtype)
}

/// A helix with some noise, so that nothing is symmetric, and steps of 3.8 Å.
fn chain(seed: u64, len: usize) -> Chain {
    let noise = numbers(seed, 16 * len);
    let residue = |k: usize| {
        let t = 1.75 * k as f64;
        let ca = [2.3 * t.cos(), 2.3 * t.sin(), 1.5 * k as f64];
        let ca: [f64; 3] = std::array::from_fn(|i| ca[i] + 0.3 * noise[16 * k + i]);
        let beside = |first: usize, along: f64| -> [f64; 3] {
            let step = [0.9 * (t + 2.0).cos(), 0.9 * (t + 2.0).sin(), along];
            std::array::from_fn(|i| ca[i] + step[i] + 0.2 * noise[16 * k + first + i])
        };
        [beside(3, -1.0), ca, beside(6, 1.0)]
    };
    let angles = |k: usize| side(std::array::from_fn(|i| 3.0 * noise[16 * k + 9 + i]));
    let kind = |k: usize| ((10.0 + 10.0 * noise[16 * k + 13]) as u8).min(UNKNOWN);
    Chain::new(
        (0..len).map(kind).collect(),
        (0..len).map(residue).collect(),
        (0..len).map(angles).collect(),
    )
}

fn chains() -> Vec<Chain> {
    vec![chain(1, 23), chain(2, 12), chain(3, 3), chain(4, 17)]
}

/// The chain with its atoms elsewhere; torsions change their sign in a mirror.
fn moved(chain: &Chain, to: impl Fn([f64; 3]) -> [f64; 3]) -> Chain {
    let backbone = chain.backbone.iter().map(|r| r.map(&to)).collect();
    Chain::new(chain.kinds.clone(), backbone, chain.side.clone())
}

fn batch(model: &ResidueModel, chains: &[Chain]) -> Batch {
    let mut batch = model.batch(chains).unwrap();
    let classes: Vec<u32> = (0..chains.len() as u32)
        .map(|i| i % CLASSES as u32)
        .collect();
    batch.targets = Some(Tensor::new(classes, &Device::Cpu).unwrap());
    batch
}

fn logits(model: &ResidueModel, chains: &[Chain]) -> Vec<f64> {
    let mode = model.evaluation().unwrap();
    values(&model.logits(&batch(model, chains), mode).unwrap())
}

fn difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(1e-2f64, |m, v| m.max(v.abs()));
    let all = a.iter().zip(b).map(|(a, b)| (a - b).abs() / largest);
    all.fold(0.0, |m, d| if d > m || d.is_nan() { d } else { m })
}

#[test]
fn what_turns_or_moves_stays_what_it_is() {
    for (dtype, tolerance) in [(DType::F64, 1e-11), (DType::F32, 2e-4)] {
        for settings in networks() {
            let model = classes(&settings, dtype);
            let chains = chains();
            let before = logits(&model, &chains);
            for seed in 0..3 {
                let r = rotation::random(seed);
                let to = |p: [f64; 3]| {
                    std::array::from_fn(|i| (0..3).map(|k| r[i][k] * p[k]).sum::<f64>() + 7.0)
                };
                let turned: Vec<Chain> = chains.iter().map(|c| moved(c, to)).collect();
                let error = difference(&logits(&model, &turned), &before);
                assert!(error < tolerance, "{settings} {dtype:?}: {error:e}");
            }
        }
    }
}

/// Networks with frames, torsions or Euler's angles tell a protein from its mirror image; distances
/// and directions alone do not.
#[test]
fn mirror_images() {
    for settings in networks() {
        let model = classes(&settings, DType::F64);
        let chains = chains();
        let mirrored = |c: &Chain| moved(c, |[x, y, z]| [x, y, -z]);
        let mirrored: Vec<Chain> = chains.iter().map(mirrored).collect();
        let change = difference(&logits(&model, &mirrored), &logits(&model, &chains));
        let blind = settings["network"] == "gvp"
            || (settings["network"] == "gearnet" && settings["ieconv"] == 0);
        match blind {
            true => assert!(change < 1e-11, "{settings}: {change:e}"),
            false => assert!(change > 1e-6, "{settings}: {change:e}"),
        }
    }
}

#[test]
fn a_batch_is_its_members() {
    for settings in networks() {
        let model = classes(&settings, DType::F64);
        let chains = chains();
        let together = logits(&model, &chains);
        let alone: Vec<f64> = chains
            .iter()
            .flat_map(|c| logits(&model, std::slice::from_ref(c)))
            .collect();
        let error = difference(&together, &alone);
        assert!(error < 1e-12, "{settings}: {error:e}");
        let backwards: Vec<Chain> = chains.iter().rev().cloned().collect();
        let turned = logits(&model, &backwards);
        let turned: Vec<f64> = turned.chunks(CLASSES).rev().flatten().copied().collect();
        assert!(difference(&turned, &together) < 1e-12, "{settings}");
    }
}

/// The released ProNet's first and last residues see those of other chains.
#[test]
fn published_chains_depend_on_their_batch() {
    let mut settings = json!({ "network": "pronet", "width": 8, "middle": 6, "layers": 2 });
    settings["variant"] = "published".into();
    let model = classes(&settings, DType::F64);
    let together = logits(&model, &chains());
    let alone: Vec<f64> = chains()
        .iter()
        .flat_map(|c| logits(&model, std::slice::from_ref(c)))
        .collect();
    assert!(difference(&together, &alone) > 1e-6);
}

/// GVP-GNN knows no sequence: residues may come in any order.
#[test]
fn order_of_residues() {
    for settings in networks() {
        let model = classes(&settings, DType::F64);
        let own = chain(5, 14);
        let order = |k: usize| (k * 5) % 14;
        let mixed = Chain {
            kinds: (0..14).map(|k| own.kinds[order(k)]).collect(),
            backbone: (0..14).map(|k| own.backbone[order(k)]).collect(),
            torsions: (0..14).map(|k| own.torsions[order(k)]).collect(),
            side: (0..14).map(|k| own.side[order(k)]).collect(),
        };
        let change = difference(&logits(&model, &[mixed]), &logits(&model, &[own]));
        match settings["network"] == "gvp" {
            true => assert!(change < 1e-12, "{change:e}"),
            false => assert!(change > 1e-6, "{settings}: {change:e}"),
        }
    }
}

/// What is missing in files: ends of residues, kinds, all but the carbons.
#[test]
fn incomplete_chains_have_finite_outputs() {
    for settings in networks() {
        let model = classes(&settings, DType::F32);
        let mut own = chain(6, 9);
        own.kinds[4] = UNKNOWN;
        own.backbone[2][0] = own.backbone[2][1];
        own.backbone[8][2] = own.backbone[8][1];
        let carbons = own.backbone.iter().map(|r| [r[1]; 3]).collect();
        let carbons = Chain::new(own.kinds.clone(), carbons, own.side.clone());
        let line = (0..6)
            .map(|k| [[3.8 * f64::from(k), 0.0, 0.0]; 3])
            .collect();
        let line = Chain::new(vec![0; 6], line, vec![side([0.0; 4]); 6]);
        for chain in [own, carbons, line] {
            let model_batch = batch(&model, &[chain.clone(), chain.clone()]);
            let losses = model.losses_in(&model_batch, Mode::Train(None)).unwrap();
            let gradient = gradient(&model, &losses.terms[0].1).concat();
            assert!(gradient.iter().all(|g| g.is_finite()), "{settings}");
            assert!(
                logits(&model, &[chain]).iter().all(|v| v.is_finite()),
                "{settings}"
            );
        }
    }
}

#[test]
fn residues_at_one_place_are_refused() {
    for settings in networks() {
        let model = classes(&settings, DType::F32);
        let mut own = chain(6, 9);
        own.backbone[5] = own.backbone[2];
        let message = model.batch(&[own]).unwrap_err().to_string();
        assert!(
            message.contains("at the same place"),
            "{settings}: {message}"
        );
    }
}

/// Gradients of both losses, in training and in evaluation, against central differences.
#[test]
fn gradients_are_right() {
    const STEP: f64 = 1e-7;
    for settings in networks() {
        for objective in [Objective::Class(CLASSES), Objective::Labels(CLASSES)] {
            let model = model(&settings, objective, DType::F64);
            let mut batch = batch(&model, &chains());
            if let Objective::Labels(n) = objective {
                let labels = [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0; 3], [1.0; 3]];
                let labels = Tensor::new(&labels, &Device::Cpu).unwrap();
                assert_eq!(labels.dims(), [4, n]);
                batch.targets = Some(labels);
            }
            for mode in [Mode::Train(None), model.evaluation().unwrap()] {
                let loss = || {
                    let losses = model.losses_in(&batch, mode.clone()).unwrap();
                    losses.terms[0].1.clone()
                };
                let flat = parameters(&model);
                let direction = numbers(5, flat.len());
                let own = gradient(&model, &loss()).concat();
                let slope: f64 = own.iter().zip(&direction).map(|(g, d)| g * d).sum();
                let at = |step: f64| {
                    let moved = flat.iter().zip(&direction).map(|(x, d)| x + step * d);
                    set_parameters(&model, &moved.collect::<Vec<_>>());
                    values(&loss())[0]
                };
                let measured = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                set_parameters(&model, &flat);
                let error = (slope - measured).abs() / measured.abs().max(1e-3);
                assert!(
                    error < 2e-5,
                    "{settings} {objective:?}: {slope} for {measured}"
                );
            }
        }
    }
}

/// What is dropped out is drawn from the step and the sample: without batch norms the loss of a
/// batch is the mean over its members, each under its own number.
#[test]
fn dropout_belongs_to_samples() {
    let key = |step| Mode::Train(Some(StepKey { seed: 1, step }));
    for settings in networks() {
        if !["gvp", "pronet"].contains(&settings["network"].as_str().unwrap()) {
            continue;
        }
        let model = classes(&settings, DType::F64);
        let chains = chains();
        let loss = |range: std::ops::Range<usize>, step: u64| {
            let mut own = batch(&model, &chains[range.clone()]);
            let classes: Vec<u32> = range.clone().map(|i| i as u32 % CLASSES as u32).collect();
            own.targets = Some(Tensor::new(classes, &Device::Cpu).unwrap());
            own.samples = range.map(|i| 40 + i as u64).collect();
            values(&model.losses_in(&own, key(step)).unwrap().terms[0].1)[0]
        };
        let together = loss(0..4, 2);
        let alone: f64 = (0..4).map(|i| loss(i..i + 1, 2)).sum::<f64>() / 4.0;
        assert!((together - alone).abs() < 1e-12, "{settings}");
        assert_ne!(together, loss(0..4, 3), "{settings}");
    }
}

#[test]
fn settings_that_are_no_network_are_refused() {
    for (settings, key) in [
        (json!({ "network": "gvp", "layers": 0 }), "layers"),
        (json!({ "network": "gvp", "cutoff": -1.0 }), "cutoff"),
        (json!({ "network": "gearnet", "hidden": [] }), "hidden"),
        (json!({ "network": "pronet", "degrees": 3 }), "degrees"),
        (json!({ "network": "pronet", "positions": 5 }), "positions"),
        (json!({ "network": "pronet", "dropout": 1.0 }), "dropout"),
        (json!({ "network": "cdconv", "steps": 4 }), "steps"),
        (json!({ "network": "cdconv", "radii": [8.0] }), "radii"),
        (json!({ "network": "cdconv", "base": 0 }), "base"),
    ] {
        let network: Network = serde_json::from_value(settings).unwrap();
        let objective = Objective::Class(CLASSES);
        let built = ResidueModel::new(&network, objective, 0, DType::F32, &Device::Cpu);
        let message = built.err().expect("refused").to_string();
        assert!(message.contains(key), "{message}");
    }
}
