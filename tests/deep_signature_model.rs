//! Deep Signature against golden numbers of the published code (`tests/fixtures/
//! deep_signature.h5`: three random graphs, every intermediate, losses, gradients and three Adam
//! steps in double precision), and its symmetries on random models.

#[path = "common/numbers.rs"]
mod numbers;

use candle_core::{DType, Device, Tensor};
use hdf5::File;
use holosig::models::deep_signature::{
    Clip, Coarse, DeepSignature, DeepSignatureConfig, Graph, Objective, Outputs, RawClip, TERMS,
    Variant,
};
use holosig::models::{Model, StepKey, Weights};
use numbers::values;
use std::sync::Arc;

const NODES: usize = 40;
const FRAMES: usize = 40;

fn fixture() -> File {
    File::open("tests/fixtures/deep_signature.h5").unwrap()
}

fn read(file: &File, name: &str) -> Vec<f64> {
    let data = file.dataset(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    data.read_raw::<f64>().unwrap()
}

fn published() -> DeepSignatureConfig {
    DeepSignatureConfig {
        variant: Variant::Published,
        clusters: 4,
        hidden: 8,
        ..Default::default()
    }
}

fn model(file: &File, dtype: DType) -> DeepSignature {
    let config = published();
    let model = DeepSignature::new(&config, 3, Objective::Binary, 1, dtype, &Device::Cpu).unwrap();
    let names = file.group("params").unwrap().len() as usize;
    assert_eq!(names, model.parameters().entries().len());
    let mut flat = Vec::new();
    for e in model.parameters().entries() {
        let data = file.dataset(&format!("params/{}", e.name)).unwrap();
        assert_eq!(data.shape(), e.shape, "{}", e.name);
        flat.extend(data.read_raw::<f32>().unwrap());
    }
    model.parameters().set_flat(&flat).unwrap();
    model
}

fn batch(file: &File, dtype: DType) -> Vec<Clip> {
    let edges = file
        .dataset("inputs/edge_index")
        .unwrap()
        .read_raw::<i64>()
        .unwrap();
    let (from, to) = edges.split_at(edges.len() / 2);
    let pos = read(file, "inputs/pos");
    let targets = read(file, "inputs/y");
    let len = NODES * FRAMES * 3;
    (0..3)
        .map(|g| {
            let own = |&(a, _): &(i64, i64)| a as usize / NODES == g;
            let edges: Vec<(u32, u32)> = from
                .iter()
                .copied()
                .zip(to.iter().copied())
                .filter(own)
                .map(|(a, b)| ((a as usize % NODES) as u32, (b as usize % NODES) as u32))
                .collect();
            let raw = RawClip {
                holographic: false,
                id: g as u64,
                graph: Arc::new(Graph::new(NODES, &edges, Variant::Published).unwrap()),
                features: pos[g * len..(g + 1) * len]
                    .iter()
                    .map(|&x| x as f32)
                    .collect(),
                frames: FRAMES,
                target: targets[g],
            };
            let mut clip = Clip::new(raw, &published(), dtype).unwrap();
            // The golden numbers were computed from coordinates in double precision.
            let exact = &pos[g * len..(g + 1) * len];
            let exact = Tensor::from_slice(exact, (NODES, FRAMES, 3), &Device::Cpu).unwrap();
            clip.features = exact.to_dtype(dtype).unwrap();
            clip
        })
        .collect()
}

/// Largest difference over the largest reference value.
fn relative(ours: &[f64], reference: &[f64]) -> f64 {
    assert_eq!(ours.len(), reference.len());
    let mut worst = 0.0f64;
    for (a, b) in ours.iter().zip(reference) {
        assert!(a.is_finite());
        worst = worst.max((a - b).abs());
    }
    worst / reference.iter().fold(1e-30f64, |m, x| m.max(x.abs()))
}

/// A result per clip, all clips one after another.
fn all(outputs: &Outputs, f: impl Fn(&Coarse) -> &Tensor) -> Vec<f64> {
    outputs.coarse.iter().flat_map(|c| values(f(c))).collect()
}

fn losses(model: &DeepSignature, batch: &[Clip]) -> (holosig::models::Losses, Outputs) {
    let losses = model.losses_with(batch, None);
    (losses.unwrap(), model.forward(batch).unwrap())
}

/// With the published weights.
fn objective(losses: &holosig::models::Losses) -> Tensor {
    losses.objective(&Weights::from(TERMS)).unwrap()
}

#[test]
fn every_intermediate_and_loss_equals_the_published_code() {
    let file = fixture();
    for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 2e-5)] {
        let (losses, outputs) = losses(&model(&file, dtype), &batch(&file, dtype));
        let segments = outputs.summary.segments.as_ref().unwrap();
        let scalar = |x: f64| vec![x];
        let mean = |f: &dyn Fn(&Coarse) -> Tensor| {
            let values = outputs.coarse.iter().map(|c| values(&f(c))[0]);
            values.sum::<f64>() / 3.0
        };
        let levels = |f: &dyn Fn(&Coarse, usize) -> Tensor| -> Vec<f64> {
            (0..3).map(|l| mean(&|c| f(c, l))).collect()
        };
        let agg: Vec<f64> = outputs
            .coarse
            .iter()
            .flat_map(|c| values(&c.assignment().unwrap()))
            .collect();
        let pred_y = values(&candle_nn::ops::sigmoid(&outputs.logits).unwrap());
        let terms = losses.term_values().unwrap();
        let compared = [
            ("conv1_dense", all(&outputs, |c| &c.average)),
            ("s1", all(&outputs, |c| &c.levels[0].assignment)),
            ("x1_pooled", all(&outputs, |c| &c.levels[0].features)),
            ("adj1", all(&outputs, |c| &c.levels[0].adjacency)),
            ("conv2_out", all(&outputs, |c| &c.levels[0].convolved)),
            ("s2", all(&outputs, |c| &c.levels[1].assignment)),
            ("x2_pooled", all(&outputs, |c| &c.levels[1].features)),
            ("adj2", all(&outputs, |c| &c.levels[1].adjacency)),
            ("conv3_out", all(&outputs, |c| &c.levels[1].convolved)),
            ("s3", all(&outputs, |c| &c.levels[2].assignment)),
            ("x3_pooled", all(&outputs, |c| &c.levels[2].features)),
            ("adj3", all(&outputs, |c| &c.levels[2].adjacency)),
            ("hidden_x", all(&outputs, |c| &c.levels[2].convolved)),
            ("agg_matrix", agg),
            ("mc_levels", levels(&|c, l| c.levels[l].mincut.clone())),
            (
                "o_levels",
                levels(&|c, l| c.levels[l].orthogonality.clone()),
            ),
            ("pred_e", all(&outputs, |c| &c.path)),
            ("agg_traj", all(&outputs, |c| &c.target)),
            ("logsig", values(&segments.log_signatures)),
            ("lstm_out", values(&segments.lstm)),
            ("norm_out", values(&segments.normalised)),
            ("feat", values(&outputs.summary.features)),
            ("classifier_logit", values(&outputs.logits)),
            ("pred_y", pred_y),
            ("loss_cls_bcewithlogits_of_sigmoid", scalar(terms[0])),
            ("loss_l1", scalar(terms[1])),
            ("loss_mc", scalar(terms[2])),
            ("loss_o", scalar(terms[3])),
            ("loss_total", values(&objective(&losses))),
        ];
        for (name, ours) in compared {
            let e = relative(&ours, &read(&file, &format!("intermediates/{name}")));
            println!("{dtype:?} {name}: {e:.1e}");
            assert!(e <= tolerance, "{dtype:?} {name}: {e:e}");
        }
    }
}

#[test]
fn every_gradient_equals_the_published_code() {
    let file = fixture();
    for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 5e-5)] {
        let model = model(&file, dtype);
        let (losses, _) = losses(&model, &batch(&file, dtype));
        let parameters = model.parameters();
        let gradient = parameters.exact_gradient(&objective(&losses)).unwrap();
        for e in parameters.entries() {
            let ours = gradient[e.offset..][..e.len()].to_vec();
            let reference = read(&file, &format!("grads/{}", e.name));
            let ours = if e.len() > 50_000 {
                ours.chunks(e.shape[1])
                    .step_by(16)
                    .flatten()
                    .copied()
                    .collect()
            } else {
                ours
            };
            let error = relative(&ours, &reference);
            println!("{dtype:?} {}: {error:.1e}", e.name);
            assert!(error <= tolerance, "{dtype:?} {}: {error:e}", e.name);
        }
    }
}

#[test]
fn the_gradient_of_the_coordinates_equals_the_published_code() {
    let file = fixture();
    let mut batch = batch(&file, DType::F64);
    let variables: Vec<candle_core::Var> = batch
        .iter_mut()
        .map(|clip| {
            let v = candle_core::Var::from_tensor(&clip.features).unwrap();
            clip.features = v.as_tensor().clone();
            v
        })
        .collect();
    let (losses, _) = losses(&model(&file, DType::F64), &batch);
    let store = objective(&losses).backward().unwrap();
    let ours: Vec<f64> = variables
        .iter()
        .flat_map(|v| values(store.get(v.as_tensor()).unwrap()))
        .collect();
    let e = relative(&ours, &read(&file, "grad_pos"));
    println!("{e:e}");
    assert!(e <= 1e-12, "{e:e}");
}

/// Adam with weight decay added to the gradient, as PyTorch has it.
#[test]
fn three_adam_steps_equal_the_published_code() {
    let file = fixture();
    let model = model(&file, DType::F64);
    let batch = batch(&file, DType::F64);
    let expected = file.attr("adam_losses").unwrap().read_raw::<f64>().unwrap();
    let mut flat = model.parameters().flat().unwrap();
    let (mut m, mut v) = (vec![0.0f64; flat.len()], vec![0.0f64; flat.len()]);
    for (step, expected) in expected.into_iter().enumerate() {
        let (losses, _) = losses(&model, &batch);
        let loss = self::values(&objective(&losses))[0];
        println!("step {step}: {loss} against {expected}");
        assert!((loss - expected).abs() < 1e-7 * expected);
        let gradients = model
            .parameters()
            .gradient(&objective(&losses))
            .unwrap()
            .into_host()
            .unwrap();
        let t = step as i32 + 1;
        for i in 0..flat.len() {
            let g = f64::from(gradients[i]) + 5e-4 * f64::from(flat[i]);
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.999 * v[i] + 0.001 * g * g;
            let (mean, square) = (
                m[i] / (1.0 - 0.9f64.powi(t)),
                v[i] / (1.0 - 0.999f64.powi(t)),
            );
            flat[i] -= (1e-3 * mean / (square.sqrt() + 1e-8)) as f32;
        }
        model.parameters().set_flat(&flat).unwrap();
    }
}

#[test]
fn dropout_belongs_to_the_sample() {
    let file = fixture();
    let (model, batch) = (model(&file, DType::F64), batch(&file, DType::F64));
    let key = |step| Some(StepKey { seed: 3, step });
    let features =
        |clips: &[Clip], step| values(&model.outputs(clips, key(step)).unwrap().summary.features);
    let together = features(&batch, 1);
    assert!(together.contains(&0.0));
    assert_ne!(together, features(&batch, 2));
    let alone = features(&batch[1..2], 1);
    assert!(relative(&alone, &together[8..16]) < 1e-12);
    assert_eq!(
        alone.iter().filter(|x| **x == 0.0).count(),
        together[8..16].iter().filter(|x| **x == 0.0).count()
    );
}
