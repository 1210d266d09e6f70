//! Operations on steerable tensors: linear maps, skip connections, batch norm, Clebsch-Gordan.

use crate::host::Data;
use crate::twin::{Twin, f32s, tensor};
use crate::{close, run};
use candle_core::Tensor;
use holosig::ops::batch_norm::{self, BatchNorm, Mode, Normalization, features};
use holosig::ops::cg::{self, Plan, Size, cg};
use holosig::ops::device::Sequence;
use holosig::ops::linear::{self, Order, Side, linear};
use holosig::ops::skip::{self, skip};
use holosig::ops::squared_error::{self, squared_error};
use holosig::so3::irreps::Irreps;
use holosig::so3::paths::Rule;
use std::sync::Arc;

/// Of sums of a few hundred products in f32, in another order than the CPU's.
const TOLERANCE: f64 = 3e-6;

fn side(channels: &[usize], order: Order) -> Side {
    Side {
        irreps: Irreps::new(channels.to_vec()),
        order,
    }
}

#[test]
fn linear_maps() {
    use Order::{Published, Steerable};
    let cases = [
        (side(&[1], Steerable), side(&[1], Steerable), 1),
        (
            side(&[44, 40, 40, 36], Published),
            side(&[44; 4], Steerable),
            5,
        ),
        (side(&[70, 70], Steerable), side(&[67, 3, 5], Published), 35),
        (side(&[5, 17, 2], Steerable), side(&[33, 66], Steerable), 18),
    ];
    for (from, to, batch) in cases {
        let what = format!("linear {:?} to {:?}", from.irreps, to.irreps);
        let shapes = holosig::ops::linear::weight_shapes(&from.irreps, &to.irreps);
        let weights = shapes.iter().map(|(i, o)| i * o).sum();
        let x = tensor(1, &[batch, from.irreps.dim()]);
        let w = tensor(2, &[weights]);
        let twin = Twin::new(&[&x, &w], |v| linear(&v[0], &v[1], &from, &to));
        let t = linear::launches::Tables::new(&from, &to);
        let (x, w, g) = (f32s(&x), f32s(&w), twin.grad());
        let check = |name: &str, s: Sequence, inputs: [&Data; 2], want: &[f32]| {
            let got = run(&what, &s, &inputs.map(Clone::clone));
            close(&format!("{what}, {name}"), &got.outputs[0], want, TOLERANCE);
        };
        check(
            "out",
            linear::launches::forward(&t, batch),
            [&x, &w],
            &twin.out,
        );
        let s = linear::launches::backward_input(&t, batch);
        check("gradient of x", s, [&w, &g], &twin.gradients[0]);
        let s = linear::launches::backward_weights(&t, batch);
        check("gradient of weights", s, [&x, &g], &twin.gradients[1]);
    }
}

#[test]
fn skips() {
    for (to, from, batch) in [
        (vec![3, 5, 2], vec![4, 1], 7),
        (vec![60, 60], vec![44, 44, 44, 44], 3),
        (vec![1], vec![1], 1),
    ] {
        let (to, from) = (Irreps::new(to), Irreps::new(from));
        let out = tensor(1, &[batch, to.dim()]);
        let x = tensor(2, &[batch, from.dim()]);
        let twin = Twin::new(&[&out, &x], |v| skip(&v[0], &to, &v[1], &from));
        let t = skip::launches::Tables::new(&to, &from);
        let s = skip::launches::forward(&t, batch);
        let got = run("skip", &s, &[f32s(&out), f32s(&x)]);
        close("skip", &got.outputs[0], &twin.out, 0.0);
        let s = skip::launches::backward(&t, batch);
        let got = run("skip's gradient", &s, &[twin.grad()]);
        close("skip's gradient", &got.outputs[0], &twin.gradients[1], 0.0);
    }
}

#[test]
fn squared_errors() {
    for (batch, dim) in [(7, 941), (1, 1), (33, 256)] {
        let x = tensor(1, &[batch, dim]);
        let target = tensor(2, &[batch, dim]);
        let weights = tensor(3, &[dim]);
        let twin = Twin::new(&[&x], |v| squared_error(&v[0], &target, &weights));
        let inputs = [f32s(&x), f32s(&target), f32s(&weights)];
        let s = squared_error::launches::forward(batch, dim);
        let got = run("squared error", &s, &inputs);
        close("squared error", &got.outputs[0], &twin.out, 1e-6);
        let s = squared_error::launches::backward(batch, dim);
        let inputs = [&inputs[..], &[twin.grad()]].concat();
        let got = run("squared error's gradient", &s, &inputs);
        let want = &twin.gradients[0];
        close("squared error's gradient", &got.outputs[0], want, 1e-6);
    }
}

#[test]
fn batch_norms() {
    for (channels, batch, normalization, mode) in [
        (vec![5, 3, 9], 19, Normalization::Component, Mode::Train),
        (vec![34, 7], 8, Normalization::Norm, Mode::Train),
        (vec![1], 3, Normalization::Component, Mode::Train),
        (vec![60, 60, 60], 33, Normalization::Component, Mode::Eval),
    ] {
        let irreps = Irreps::new(channels);
        let what = format!("batch norm of {irreps:?}, {batch} samples, {mode:?}");
        // A mean that is large against the deviation, to see what the one pass loses.
        let x = (tensor(1, &[batch, irreps.dim()]) * 0.1).and_then(|x| x + 3.0);
        let x = x.expect("x");
        let weight = tensor(2, &[features(&irreps)]);
        let bias = tensor(3, &[irreps.channels(0)]);
        let statistics = batch_norm::statistics(&x, &irreps, normalization).expect("statistics");
        let values = |t: &Tensor| t.to_vec1::<f64>().expect("a vector");
        let mean = values(&statistics.mean);
        let variance = values(&statistics.variance);
        let t = batch_norm::launches::Tables::new(&irreps);

        let s = batch_norm::launches::statistics(&t, normalization, batch);
        let got = run(&what, &s, &[f32s(&x)]);
        for (got, want) in got.outputs.iter().zip([&mean, &variance]) {
            for (g, w) in got.numbers().iter().zip(want) {
                assert!(
                    (g - w).abs() <= 1e-12 * w.abs().max(1.0),
                    "{what}: {g}, not {w}"
                );
            }
        }

        let twin = Twin::new(&[&x, &weight, &bias], |v| {
            let norm = BatchNorm {
                irreps: irreps.clone(),
                statistics: statistics.clone(),
                normalization,
                mode,
            };
            batch_norm::batch_norm(&v[0], &v[1], &v[2], norm)
        });
        let (x, weight, bias) = (f32s(&x), f32s(&weight), f32s(&bias));
        let (mean, variance) = (Data::F64(mean), Data::F64(variance));
        let s = batch_norm::launches::forward(&t, batch);
        let inputs = [
            x.clone(),
            weight.clone(),
            bias,
            mean.clone(),
            variance.clone(),
        ];
        let got = run(&what, &s, &inputs);
        close(&what, &got.outputs[0], &twin.out, 1e-6);
        let s = batch_norm::launches::backward(&t, normalization, mode, batch);
        let got = run(&what, &s, &[x, weight, mean, variance, twin.grad()]);
        for (i, name) in ["x", "weight", "bias"].iter().enumerate() {
            let name = format!("{what}, gradient of {name}");
            close(&name, &got.outputs[i], &twin.gradients[i], TOLERANCE);
        }
    }
}

#[test]
fn clebsch_gordan_steps() {
    // Blocks of the model at z = 128, lmax 6 (whole ones at few samples), dead pairs (full and
    // elementwise rules), ragged channels, and one of each.
    for (rule, symmetric, from, to, batch) in [
        (Rule::Efficient, true, (6, 44), (6, 60), 2),
        (Rule::Efficient, true, (2, 128), (1, 128), 3),
        (Rule::Efficient, true, (1, 70), (2, 90), 9),
        (Rule::Full, false, (2, 5), (3, 7), 37),
        (Rule::Full, true, (3, 1), (2, 3), 5),
        (Rule::Elementwise, true, (2, 33), (4, 2), 66),
        (Rule::Efficient, true, (1, 1), (1, 1), 1),
    ] {
        let what = format!("Clebsch-Gordan {rule:?} {from:?} to {to:?}, {batch} samples");
        let [from, to] = [from, to].map(|(lmax, channels)| Size::new(lmax, channels));
        let plan = Arc::new(Plan::new(rule, symmetric, from, to));
        let h = tensor(1, &[batch, plan.input.dim()]);
        let scales = plan.output.lmax() + 2;
        let w = tensor(2, &[plan.parameter_len() - scales]);
        let norm = tensor(3, &[scales]);
        let twin = Twin::new(&[&h, &w, &norm], |v| {
            cg(&v[0], &Tensor::cat(&[&v[2], &v[1]], 0)?, &plan, None)
        });
        let t = cg::launches::Tables::new(&plan);
        let inputs = [f32s(&h), f32s(&w), f32s(&norm)];
        let got = run(&what, &cg::launches::forward(&t, batch), &inputs);
        close(&what, &got.outputs[0], &twin.out, TOLERANCE);
        let out = Data::F32(twin.out.clone());
        let s = cg::launches::backward(&t, batch).expect("a step that fits");
        let got = run(&what, &s, &[&inputs[..], &[out, twin.grad()]].concat());
        for (i, name) in ["h", "weights", "norm"].iter().enumerate() {
            let name = format!("{what}, gradient of {name}");
            close(&name, &got.outputs[i], &twin.gradients[i], 1e-5);
        }
    }
}
