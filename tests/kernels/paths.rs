//! Signatures and log-signatures.

use crate::host::Data;
use crate::twin::{Twin, f32s, tensor};
use crate::{close, run};
use candle_core::{DType, Tensor};
use holosig::ops::device::Kind;
use holosig::ops::signature::{Basis, launches as device, log_signature, signature};
use holosig::words;

/// A random walk, as paths are.
fn walk(batch: usize, points: usize, channels: usize) -> Tensor {
    let steps = tensor(1, &[batch, points, channels]);
    let walk = steps.cumsum(1).and_then(|w| w * 0.3);
    walk.expect("a path")
}

fn f64s(t: &Data) -> Data {
    Data::F64(t.numbers())
}

#[test]
fn signatures() {
    for (batch, points, channels, depth) in [
        (1, 1, 2, 2),
        (2, 2, 1, 1),
        (3, 7, 3, 1),
        (2, 70, 5, 2),
        (2, 41, 3, 4),
        (1, 9, 1, 3),
        (2, 5, 12, 3),
    ] {
        let what = format!("signature of {batch} x {points} x {channels} to depth {depth}");
        let path = walk(batch, points, channels);
        let twin = Twin::new(&[&path], |v| signature(&v[0], depth));
        let (path, out) = (f32s(&path), Data::F32(twin.out.clone()));
        let inputs = [path, out, twin.grad()];
        for (kind, inputs) in [
            (Kind::F32, inputs.clone()),
            (Kind::F64, inputs.each_ref().map(f64s)),
        ] {
            let s = device::forward(kind, batch, points, channels, depth).expect("small");
            let got = run(&what, &s, &inputs[..1]);
            close(&what, &got.outputs[0], &twin.out, 3e-6);
            let s = device::backward(kind, batch, points, channels, depth).expect("small");
            let got = run(&what, &s, &inputs);
            let name = format!("{what}, gradient, {kind:?}");
            close(&name, &got.outputs[0], &twin.gradients[0], 1e-5);
        }
    }
}

/// The whole way of a log-signature deeper than three: signature, logarithm, choice of words.
#[test]
fn logarithms() {
    for (batch, points, channels, depth, kind) in [
        (2, 12, 3, 4, Kind::F64),
        (3, 5, 2, 6, Kind::F64),
        (2, 9, 7, 1, Kind::F32),
        (2, 9, 7, 2, Kind::F32),
        (1, 4, 1, 3, Kind::F64),
    ] {
        let what = format!("logarithm of {batch} x {points} x {channels} to depth {depth}");
        let path = walk(batch, points, channels);
        let out = |basis| Twin::new(&[&path], |v| log_signature(&v[0], depth, basis));
        let twin = out(Basis::Expand);
        let of = |d: Data| if kind == Kind::F64 { f64s(&d) } else { d };
        let path = of(f32s(&path));
        let s = device::forward(kind, batch, points, channels, depth).expect("small");
        let x = run(&what, &s, std::slice::from_ref(&path))
            .outputs
            .remove(0);
        let s = device::logarithm(kind, batch, channels, depth).expect("small");
        let log = run(&what, &s, std::slice::from_ref(&x)).outputs.remove(0);
        close(&what, &log, &twin.out, 3e-6);
        let s = device::logarithm_backward(kind, batch, channels, depth).expect("small");
        let gx = run(&what, &s, &[x.clone(), of(twin.grad())])
            .outputs
            .remove(0);
        let s = device::backward(kind, batch, points, channels, depth).expect("small");
        let gpath = run(&what, &s, &[path, x, gx]).outputs.remove(0);
        close(
            &format!("{what}, gradient"),
            &gpath,
            &twin.gradients[0],
            1e-5,
        );

        let words_of = words::lyndon_positions(channels, depth);
        let terms = words::terms(channels, depth).expect("few words");
        let choice = device::Choice::new(&words_of, terms);
        let chosen = run(&what, &device::choose(kind, &choice, false, batch), &[log]);
        let chosen = chosen.outputs[0].clone();
        if depth > 3 {
            close(&what, &chosen, &out(Basis::Words).out, 3e-6);
        }
        let s = device::choose(kind, &choice, true, batch);
        let all = run(&what, &s, std::slice::from_ref(&chosen)).outputs[0].numbers();
        let (sum, chosen) = (
            all.iter().sum::<f64>(),
            chosen.numbers().iter().sum::<f64>(),
        );
        assert!((sum - chosen).abs() < 1e-5, "{what}: words put back");
    }
}

#[test]
fn lyndon_log_signatures() {
    for (batch, points, channels, depth) in [
        (1, 1, 3, 3),
        (2, 9, 1, 3),
        (3, 8, 4, 1),
        (2, 30, 37, 2),
        (2, 25, 30, 3),
        (1, 150, 70, 3),
        (2, 2, 2, 3),
    ] {
        let what = format!("log-signature of {batch} x {points} x {channels} to depth {depth}");
        let path = walk(batch, points, channels);
        let twin = Twin::new(&[&path], |v| log_signature(&v[0], depth, Basis::Words));
        assert_eq!(path.dtype(), DType::F32);
        let inputs = [f32s(&path), Data::F32(twin.out.clone()), twin.grad()];
        let s = device::lyndon(batch, points, channels, depth).expect("small");
        let got = run(&what, &s, &inputs[..1]);
        close(&what, &got.outputs[0], &twin.out, 1e-5);
        let s = device::lyndon_backward(batch, points, channels, depth).expect("small");
        let got = run(&what, &s, &inputs);
        close(
            &format!("{what}, gradient"),
            &got.outputs[0],
            &twin.gradients[0],
            1e-5,
        );
    }
}
