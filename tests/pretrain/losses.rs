//! Losses of all objectives on two networks.

use crate::OBJECTIVES;
use crate::molecules::molecules;
use crate::numbers::{numbers, values};
use candle_core::{DType, Device, Tensor};
use holosig::data::neighbors::Rule;
use holosig::models::layers::{Others, Pass, Told};
use holosig::models::pretrain::{AnyObjective, PretrainConfig, PretrainModel, Start};
use holosig::models::{Model, StepKey};

const NETWORKS: [&str; 2] = [
    r#"{"network": "schnet", "width": 8, "filters": 8, "layers": 2, "radial": 6, "cutoff": 4.0, "elements": 12}"#,
    r#"{"network": "painn", "width": 8, "layers": 2, "radial": 6, "cutoff": 4.0, "elements": 12}"#,
];
const KEY: StepKey = StepKey { seed: 4, step: 7 };

fn objective((name, settings): (&str, &str)) -> AnyObjective {
    toml::from_str(&format!("name = {name:?}\n{settings}")).unwrap()
}

fn model(network: &str, of: (&str, &str), dtype: DType) -> PretrainModel {
    let config: PretrainConfig = serde_json::from_str(network).unwrap();
    let start = Start {
        seed: 3,
        dtype,
        device: Device::Cpu,
    };
    PretrainModel::new(&config, Rule::default(), &objective(of), &start).unwrap()
}

/// Parameters that a loss is not cut off from: some targets count as constants.
fn moves(objective: &str, name: &str) -> bool {
    match objective {
        "geossl-rr" => name.starts_with("objective.decoder"),
        "graphmvp" => name.starts_with("objective.ae"),
        _ => true,
    }
}

/// The derivative along a random direction, and by central differences.
#[test]
fn gradients_equal_finite_differences() {
    const STEP: f64 = 1e-6;
    for network in NETWORKS {
        for of in OBJECTIVES {
            let model = model(network, of, DType::F64);
            let batch = model.batch(&molecules(5), KEY).unwrap();
            let p = model.parameters();
            let loss = || {
                let terms = model.terms(&batch, &Pass::training(p)).unwrap();
                let names: Vec<_> = terms.iter().map(|t| t.0).collect();
                let expected = objective(of).config().terms();
                assert_eq!(names, expected.iter().map(|t| t.0).collect::<Vec<_>>());
                let sum = terms
                    .into_iter()
                    .map(|t| t.1)
                    .reduce(|a, b| (a + b).unwrap());
                sum.unwrap()
            };
            let gradient = p.exact_gradient(&loss()).unwrap();
            let mut direction = numbers(11, p.len());
            for entry in p.entries().iter().filter(|e| !moves(of.0, &e.name)) {
                direction[entry.offset..][..entry.len()].fill(0.0);
            }
            let start: Vec<f64> = p.variables().flat_map(values).collect();
            let at = |step: f64| {
                let moved = start.iter().zip(&direction).map(|(x, d)| x + step * d);
                set(&model, &moved.collect::<Vec<_>>());
                values(&loss())[0]
            };
            let difference = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            let along: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
            let error = (along - difference).abs() / along.abs().max(1.0);
            println!("{of:?}: {along} {difference}");
            assert!(along != 0.0 && error < 2e-6, "{of:?}: {along} {difference}");
        }
    }
}

fn set(model: &PretrainModel, flat: &[f64]) {
    let mut rest = flat;
    for variable in model.parameters().variables() {
        let (own, others) = rest.split_at(variable.elem_count());
        variable
            .slice_set(&Tensor::new(own, &Device::Cpu).unwrap(), 0, 0)
            .unwrap();
        rest = others;
    }
}

/// Losses that compare molecules are those of the whole batch: its slices, each with what the others
/// tell, have its value, and together its gradient.
#[test]
fn slices_together_have_the_gradient_of_the_whole() {
    let objectives = ["infograph", "geossl-rr", "geossl-infonce", "geossl-ebm-nce"];
    for network in NETWORKS {
        for name in objectives {
            let model = model(network, (name, ""), DType::F64);
            assert!(model.compares());
            let all = molecules(6);
            let p = model.parameters();
            let whole = model.batch(&all, KEY).unwrap();
            let whole = &model.losses(&whole, KEY).unwrap().terms[0].1;
            let expected = p.exact_gradient(whole).unwrap();
            let slices = [&all[..2], &all[2..3], &all[3..]];
            let batches = slices.map(|slice| model.batch(slice, KEY).unwrap());
            let mut told: Told = batches
                .iter()
                .map(|b| model.tell(b, KEY).unwrap())
                .collect();
            // A slice without samples, as at the end of an epoch.
            told.insert(2, Vec::new());
            let mut gradient = vec![0.0; p.len()];
            for ((own, batch), slice) in [0, 1, 3].into_iter().zip(&batches).zip(slices) {
                let share = slice.len() as f64 / all.len() as f64;
                let told = &told;
                let others = Others { told, own, share };
                let loss = &model.losses_among(batch, KEY, others).unwrap().terms[0].1;
                let (loss_of_slice, loss_of_all) = (values(loss)[0], values(whole)[0]);
                assert!((loss_of_slice - loss_of_all).abs() < 1e-10, "{name}");
                for (sum, g) in gradient.iter_mut().zip(p.exact_gradient(loss).unwrap()) {
                    *sum += share * g;
                }
            }
            let largest = expected.iter().fold(0.0, |a: f64, g| a.max(g.abs()));
            for (g, e) in gradient.iter().zip(&expected) {
                assert!((g - e).abs() < 1e-9 * largest, "{name}: {g} for {e}");
            }
        }
    }
}

/// Losses of bonds and positions too, but for the batch norms of the network of bonds: every slice
/// has the contrast of the whole.
#[test]
fn slices_agree_on_what_they_compare() {
    for name in ["graphmvp", "infomax"] {
        let model = model(NETWORKS[0], (name, ""), DType::F64);
        let all = molecules(6);
        let slices = [&all[..3], &all[3..]];
        let batches = slices.map(|slice| model.batch(slice, KEY).unwrap());
        let told = &batches
            .iter()
            .map(|b| model.tell(b, KEY).unwrap())
            .collect();
        let [a, b] = [0, 1].map(|own| {
            let others = Others {
                told,
                own,
                share: 0.5,
            };
            let losses = model.losses_among(&batches[own], KEY, others).unwrap();
            losses.term_values().unwrap()
        });
        let alone = model
            .losses(&batches[0], KEY)
            .unwrap()
            .term_values()
            .unwrap();
        for ((a, b), alone) in a.iter().zip(b).zip(alone) {
            assert!(
                (a - b).abs() < 1e-10 && (a - alone).abs() > 1e-6,
                "{name}: {a} {b} {alone}"
            );
        }
    }
}

/// What is drawn for a molecule follows from seed, step and sample: not from who is beside it.
#[test]
fn draws_follow_from_seed_step_and_sample() {
    for of in [("geossl-infonce", ""), ("emgp", ""), ("geossl-ddm1l", "")] {
        let model = model(NETWORKS[0], of, DType::F32);
        let all = molecules(4);
        let last = |molecules: &[_], key| {
            let batch = model.batch(molecules, key).unwrap();
            let positions = values(&batch.views.last().unwrap().positions);
            positions[positions.len() - 9..].to_vec()
        };
        let drawn = last(&all, KEY);
        assert_eq!(drawn, last(&all[2..], KEY), "{of:?}");
        for key in [StepKey { seed: 5, ..KEY }, StepKey { step: 8, ..KEY }] {
            assert_ne!(drawn, last(&all, key), "{of:?}");
        }
        let mut other = all.clone();
        other[3].sample = 9;
        assert_ne!(drawn, last(&other, KEY), "{of:?}");
    }
}

/// A slice of one molecule, of one atom, and of molecules without pairs has a finite loss.
#[test]
fn small_slices_are_finite() {
    for of in OBJECTIVES {
        let model = model(NETWORKS[1], of, DType::F32);
        let mut atom = molecules(1);
        atom[0].system.retain(&[true, false, false]);
        for slice in [molecules(1), atom] {
            let batch = model.batch(&slice, KEY).unwrap();
            let losses = model.losses(&batch, KEY).unwrap();
            for (value, (name, _)) in losses.term_values().unwrap().iter().zip(&losses.terms) {
                assert!(value.is_finite(), "{of:?}: {name} = {value}");
            }
            let sum = losses
                .terms
                .iter()
                .map(|t| t.1.clone())
                .reduce(|a, b| (a + b).unwrap());
            let gradient = model.parameters().gradient(&sum.unwrap()).unwrap();
            let gradient = gradient.into_host().unwrap();
            assert!(gradient.iter().all(|g| g.is_finite()), "{of:?}");
        }
    }
}

#[test]
fn what_is_missing_is_told() {
    let told = |of, change: &dyn Fn(&mut holosig::models::pretrain::Molecule)| {
        let mut all = molecules(3);
        change(&mut all[1]);
        let batch = model(NETWORKS[0], of, DType::F32).batch(&all, KEY);
        batch.err().unwrap().to_string()
    };
    let unbound = told(("graphmvp", ""), &|m| m.system.bind([]));
    assert!(unbound.contains("molecule 1 has no bonds"), "{unbound}");
    let unordered = told(("graphmvp", ""), &|m| m.system.orders.clear());
    assert!(unordered.contains("bonds with 0 orders"), "{unordered}");
    let unknown = told(("supervised", ""), &|m| m.target = None);
    assert!(unknown.contains("molecule 1 has no target"), "{unknown}");
    let heavy = told(("atom-type", ""), &|m| m.system.numbers[0] = 12);
    assert!(heavy.contains("model.elements must be above"), "{heavy}");
    let network = r#"{"network": "dimenetpp"}"#;
    let config: PretrainConfig = serde_json::from_str(network).unwrap();
    let start = Start {
        seed: 1,
        dtype: DType::F32,
        device: Device::Cpu,
    };
    let built = PretrainModel::new(
        &config,
        Rule::default(),
        &objective(("distance", "")),
        &start,
    );
    assert!(built.err().unwrap().to_string().contains("no features"));
}
