//! Min-cut pooling's products: sparse matrices, and the hidden layer that is not kept.

use crate::host::Data;
use crate::twin::{Twin, f32s, tensor};
use crate::{close, random, run};
use holosig::ops::hidden::{self, Sizes, launches as device};
use holosig::ops::sparse::Sparse;
use holosig::ops::sparse::launches::{Tables, apply};

const TOLERANCE: f64 = 3e-6;

#[test]
fn sparse_products() {
    for (rows, columns, count, width) in [(1, 1, 1, 1), (37, 23, 200, 130), (5, 9, 0, 3)] {
        let places = random(1, 3 * count);
        let at = |r: f32, n: usize| ((r.abs() * n as f32) as usize).min(n - 1);
        let entries: Vec<_> = places
            .as_chunks::<3>()
            .0
            .iter()
            .map(|&[r, c, v]| (at(r, rows), at(c, columns), f64::from(v)))
            .collect();
        let sparse = Sparse::new(rows, columns, &entries);
        let x = tensor(2, &[columns, width]);
        let twin = Twin::new(&[&x], |v| sparse.apply(&v[0]));
        let t = Tables::new(&sparse);
        let got = run("sparse", &apply(&t, false, width), &[f32s(&x)]);
        close("sparse", &got.outputs[0], &twin.out, 1e-6);
        let got = run("its gradient", &apply(&t, true, width), &[twin.grad()]);
        close("its gradient", &got.outputs[0], &twin.gradients[0], 1e-6);
    }
}

#[test]
fn hidden_layers() {
    for (nodes, frames, features, width, words, e) in [
        (1, 1, 1, 1, 1, 1),
        (11, 5, 3, 10, 8, 3),
        (70, 17, 3, 67, 8, 9),
        (3, 2, 40, 33, 2, 1),
    ] {
        let z = Sizes {
            nodes,
            frames,
            features,
            width,
        };
        let what = format!("hidden layer of {z:?}");
        let u = tensor(1, &[nodes, frames, features]);
        let layer = tensor(2, &[features + 1, width]);
        let right = tensor(3, &[width, words * e]);
        let weights = random(4, frames);
        let twin = Twin::new(&[&u, &layer], |v| {
            let weights: Vec<f64> = weights.iter().map(|&w| w.into()).collect();
            hidden::average(&v[0], &v[1], weights.into())
        });
        let weights = Data::F32(weights.clone());
        let inputs = [f32s(&u), f32s(&layer), weights, twin.grad()];
        let got = run(&what, &device::average(&z), &inputs[..3]);
        close(&what, &got.outputs[0], &twin.out, TOLERANCE);
        let got = run(&what, &device::average_backward(&z, true), &inputs);
        for (got, i) in got.outputs.iter().zip([1, 0]) {
            close(&what, got, &twin.gradients[i], TOLERANCE);
        }

        let twin = Twin::new(&[&u, &layer, &right], |v| {
            hidden::project(&v[0], &v[1], &v[2], words)
        });
        let inputs = [f32s(&u), f32s(&layer), f32s(&right), twin.grad()];
        let got = run(&what, &device::project(&z, words, words * e), &inputs[..3]);
        close(&what, &got.outputs[0], &twin.out, TOLERANCE);
        let s = device::project_backward(&z, words, words * e, true);
        let got = run(&what, &s, &inputs);
        for (got, i) in got.outputs.iter().zip([1, 2, 0]) {
            close(&what, got, &twin.gradients[i], TOLERANCE);
        }
    }
}
