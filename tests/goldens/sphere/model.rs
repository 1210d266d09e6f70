//! Published models, and toy rankings.

use super::{check, matrices};
use crate::file::read;
use candle_core::{DType, Device, Tensor};
use hdf5::File;
use holosig::downstream::spheres::retrieval::{Item, Measures, Retrieval, lists, measures};
use holosig::models::hvae::published::images::from_json;
use holosig::models::state_dict::{StateDict, assign};
use holosig::models::{Describes, Model};
use holosig::so3::wigner::turned;
use serde_json::Value;
use std::path::Path;

/// What the published class computes: stored in double, and in single precision with errors of its own.
pub fn check_published(folder: &Path) {
    let text = std::fs::read_to_string(folder.join("hparams.json")).unwrap();
    let description = from_json(&text)
        .unwrap()
        .expect("hyper-parameters of images");
    let expected = File::open(folder.join("expected.h5")).unwrap();
    let factor: f64 = expected.attr("norm_factor").unwrap().read_scalar().unwrap();
    assert!((description.norm_factor - factor).abs() < 1e-9 * factor);
    let weights = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path());
    let weights = weights
        .into_iter()
        .find(|p| p.extension().is_some_and(|e| e == "pt"))
        .unwrap();
    let stored = expected.group("f64").unwrap();
    let single = expected.group("f32").unwrap();
    for (dtype, tolerance) in [(DType::F64, 1e-9), (DType::F32, 2e-5)] {
        let model = description.build(0, dtype, &Device::Cpu).unwrap();
        assign(model.parameters(), &mut StateDict::open(&weights).unwrap()).unwrap();
        let tensor = |v: Vec<f64>, shape: &[usize]| {
            Tensor::from_vec(v, shape, &Device::Cpu)
                .unwrap()
                .to_dtype(dtype)
                .unwrap()
        };
        let values = |t: &Tensor| crate::numbers::values(t);
        let check = |own: &Tensor, name: &str| {
            let stored = read::<f64>(&stored, name);
            let own_errors: f64 = read::<f32>(&single, name)
                .iter()
                .zip(&stored)
                .map(|(&a, b)| (f64::from(a) - b).abs())
                .fold(0.0, f64::max);
            let largest = stored.iter().fold(0f64, |m, v| m.max(v.abs()));
            let single = if dtype == DType::F32 {
                4.0 * own_errors / largest
            } else {
                0.0
            };
            check(
                &values(own),
                &stored,
                tolerance + single,
                &format!("{name} {dtype:?}"),
            );
        };
        let dim = model.irreps().dim();
        let x: Vec<f64> = read::<f32>(&expected, "x")
            .into_iter()
            .map(f64::from)
            .collect();
        let x = tensor(x.clone(), &[x.len() / dim, dim]);
        let encoding = model.encode(&x).unwrap();
        check(&encoding.mean, "z_mean");
        check(encoding.log_variance.as_ref().unwrap(), "z_log_var");
        check(&encoding.frame, "frame");
        let rebuilt = model.decode(&encoding.mean, &encoding.frame).unwrap();
        check(&rebuilt, "x_reconst");
        check_losses(&expected, &model, &x, &rebuilt);

        let latent = description.model.latent_dim;
        let identity =
            |n: usize| tensor([1., 0., 0., 0., 1., 0., 0., 0., 1.].repeat(n), &[n, 3, 3]);
        let prior = expected.group("prior").unwrap();
        let z: Vec<f64> = read::<f32>(&prior, "z")
            .into_iter()
            .map(f64::from)
            .collect();
        let n = z.len() / latent;
        let canonical = model
            .decode(&tensor(z.clone(), &[n, latent]), &identity(n))
            .unwrap();
        check(&canonical, "prior/x_canonical");
        let frames: Vec<f64> = read::<f32>(&prior, "frames")
            .into_iter()
            .map(f64::from)
            .collect();
        let m = frames.len() / 9;
        let repeated: Vec<f64> = z.chunks(latent).flat_map(|z| z.repeat(m)).collect();
        let in_frames = model.decode(
            &tensor(repeated, &[n * m, latent]),
            &tensor(frames.repeat(n), &[n * m, 3, 3]),
        );
        check(&in_frames.unwrap(), "prior/x_in_frames");
        let z = read::<f64>(&stored, "interpolation/z");
        let n = z.len() / latent;
        check(
            &model
                .decode(&tensor(z, &[n, latent]), &identity(n))
                .unwrap(),
            "interpolation/x_canonical",
        );

        // In its frame an input, and what is decoded of it, stand as in the canonical one.
        let frames = matrices(&values(&encoding.frame));
        let turn = |x: &Tensor| -> Vec<f64> {
            let x = values(x);
            let rows = x.chunks(dim).zip(&frames);
            rows.flat_map(|(x, f)| turned(model.irreps(), x, f))
                .collect()
        };
        let canonical = expected.group("canonical").unwrap();
        let loose = if dtype == DType::F32 { 2e-4 } else { 1e-6 };
        for (x, name) in [(&x, "x"), (&rebuilt, "x_reconst")] {
            super::check(
                &turn(x),
                &read::<f64>(&canonical, name),
                loose,
                &format!("canonical {name} {dtype:?}"),
            );
        }
    }
}

fn check_losses(
    expected: &File,
    model: &holosig::models::hvae::Hvae,
    x: &Tensor,
    rebuilt: &Tensor,
) {
    let dim = model.irreps().dim();
    let single = |t: &Tensor| -> Vec<f32> {
        crate::numbers::values(t)
            .iter()
            .map(|&v| v as f32)
            .collect()
    };
    let (x, rebuilt) = (single(x), single(rebuilt));
    let pairs = || rebuilt.chunks(dim).zip(x.chunks(dim));
    let cosine: Vec<f64> = pairs().map(|(r, x)| model.cosine_loss(r, x)).collect();
    check(
        &cosine,
        &read::<f64>(expected, "cosine_loss"),
        1e-4,
        "cosine losses",
    );
    let square = |(r, x): (&f32, &f32)| (f64::from(*r) - f64::from(*x)).powi(2);
    let mse = rebuilt.iter().zip(&x).map(square).sum::<f64>() / x.len() as f64;
    check(
        &[mse],
        &[expected.dataset("mse").unwrap().read_scalar().unwrap()],
        1e-4,
        "MSE",
    );
}

fn same(own: &Measures, stored: &Value, what: &str) {
    let own = [own.precision, own.recall, own.f1, own.map, own.ndcg];
    for (value, name) in own.iter().zip(["P", "R", "F1", "AP", "NDCG"]) {
        let stored = stored[name].as_f64().unwrap();
        assert!(
            (value - stored).abs() < 1e-12,
            "{what} {name}: {value} {stored}"
        );
    }
}

pub fn check_retrieval(text: &str) {
    let cases: Value = serde_json::from_str(text).unwrap();
    for (name, case) in cases.as_object().unwrap() {
        let cutoff = case["cutoff"].as_u64().unwrap() as usize;
        let text = |v: &Value| v.as_str().unwrap().to_string();
        let all = case["items"].as_array().unwrap();
        let ids: Vec<String> = all.iter().map(|i| text(&i["id"])).collect();
        let items: Vec<Item> = all
            .iter()
            .map(|i| Item {
                class: text(&i["cls"]),
                subclass: text(&i["subclass"]),
            })
            .collect();
        let row = |v: &Value| {
            v.as_array()
                .unwrap()
                .iter()
                .map(|p| p.as_f64().unwrap())
                .collect()
        };
        let probabilities: Vec<Vec<f64>> = case["class_probabilities"]
            .as_array()
            .unwrap()
            .iter()
            .map(row)
            .collect();
        for (query, list) in lists(&probabilities, usize::MAX).iter().enumerate() {
            let stored = case["ranked"][&ids[query]].as_array().unwrap();
            let own: Vec<&String> = list.iter().map(|&i| &ids[i]).collect();
            let stored: Vec<String> = stored.iter().map(text).collect();
            assert_eq!(own, stored.iter().collect::<Vec<_>>(), "{name} {query}");
            let list = &list[..list.len().min(cutoff)];
            let own = measures(&items, query, list, cutoff);
            same(
                &own,
                &case["per_query"][&ids[query]],
                &format!("{name} {query}"),
            );
        }
        let means = Retrieval::of(&items, &probabilities, cutoff);
        same(&means.micro, &case["micro"], &format!("{name} micro"));
        same(
            &means.macro_average,
            &case["macro"],
            &format!("{name} macro"),
        );
    }
}
