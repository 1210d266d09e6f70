//! Properties of the H-(V)AE: sizes of the paper's models, symmetry, every option, derivatives.

#[path = "common/irreps.rs"]
mod irreps;
#[path = "common/numbers.rs"]
mod numbers;

use candle_core::{DType, Device, Tensor, Var};
use holosig::models::hvae::config::HvaeConfig;
use holosig::models::hvae::{Hvae, HvaeBatch, Passed, gram_schmidt};
use holosig::models::{Model, StepKey, Weights};
use holosig::so3::irreps::Irreps;
use holosig::so3::rotation;
use irreps::rotate_published;
use numbers::{numbers, tensor, values};

/// Largest difference over the largest value.
fn difference(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (values(a), values(b));
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(0f64, |m, v| m.max(v.abs()));
    a.iter()
        .zip(&b)
        .fold(0f64, |m, (a, b)| m.max((a - b).abs()))
        / largest
}

fn table_s2(z: usize, lmax: usize) -> HvaeConfig {
    let channels = match z {
        64 => [50, 50, 50, 64, 64, 64],
        128 => [60, 60, 60, 90, 128, 128],
        _ => [90, 90, 90, 120, 200, 256],
    };
    let degrees = match lmax {
        3 => [3, 3, 3, 3, 2, 1],
        4 => [4, 4, 4, 4, 2, 1],
        6 => [6, 6, 6, 4, 2, 1],
        _ => [8, 8, 8, 4, 2, 1],
    };
    toml::from_str(&format!(
        "latent_dim = {z}\nchannels = {channels:?}\ndegrees = {degrees:?}\nprojection = 44"
    ))
    .unwrap()
}

fn build(config: &HvaeConfig, lmax: usize, dtype: DType) -> (Hvae, Irreps) {
    let irreps = Irreps::zernike(lmax, 20, 4);
    (
        Hvae::new(config, &irreps, 5, dtype, &Device::Cpu).unwrap(),
        irreps,
    )
}

#[test]
fn parameter_counts_of_table_s2() {
    let counts = [
        (64, [630_576, 950_001, 1_589_935, 2_411_565]),
        (128, [1_222_896, 1_722_497, 2_622_591, 3_765_101]),
        (256, [2_764_208, 3_779_089, 5_609_663, 7_939_213]),
    ];
    for (z, by_lmax) in counts {
        for (lmax, count) in [3, 4, 6, 8].into_iter().zip(by_lmax) {
            let config = table_s2(z, lmax);
            assert_eq!(
                build(&config, lmax, DType::F32).0.parameters().len(),
                count,
                "z {z}, lmax {lmax}"
            );
            let variational = HvaeConfig {
                variational: true,
                ..config
            };
            let last = variational.channels[5];
            assert_eq!(
                build(&variational, lmax, DType::F32).0.parameters().len(),
                count + last * z + z
            );
        }
    }
}

/// Invariance of `z`, equivariance of frame and reconstruction.
fn check_symmetry(model: &Hvae, irreps: &Irreps, dtype: DType, tolerance: f64, what: &str) {
    let x = tensor(11, &[5, irreps.dim()], dtype);
    for seed in 0..3 {
        let r = rotation::random(seed);
        let (a, b) = (
            model.encode(&x).unwrap(),
            model.encode(&rotate_published(&x, irreps, &r)).unwrap(),
        );
        assert!(
            difference(&b.mean, &a.mean) < tolerance,
            "{what}: z {}",
            difference(&b.mean, &a.mean)
        );
        if !model.config().learn_frame {
            continue;
        }
        // frame' = frame R^T: each row is a vector that turns with the molecule.
        let rt: Vec<f64> = (0..9).map(|i| r[i % 3][i / 3]).collect();
        let rt = Tensor::from_vec(rt, (1, 3, 3), &Device::Cpu)
            .unwrap()
            .to_dtype(dtype)
            .unwrap();
        let turned = a.frame.broadcast_matmul(&rt).unwrap();
        assert!(
            difference(&b.frame, &turned) < tolerance,
            "{what}: frame {}",
            difference(&b.frame, &turned)
        );
        let (xa, xb) = (
            model.decode(&a.mean, &a.frame).unwrap(),
            model.decode(&b.mean, &b.frame).unwrap(),
        );
        let e = difference(&xb, &rotate_published(&xa, irreps, &r));
        assert!(e < tolerance, "{what}: reconstruction {e}");
    }
}

#[test]
fn z_is_invariant_and_the_frame_equivariant() {
    for (lmax, z) in [(4, 64), (6, 64)] {
        for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 2e-3)] {
            let (model, irreps) = build(&table_s2(z, lmax), lmax, dtype);
            check_symmetry(
                &model,
                &irreps,
                dtype,
                tolerance,
                &format!("lmax {lmax} {dtype:?}"),
            );
        }
    }
}

const SMALL: &str = "latent_dim = 4\nchannels = [6, 6, 8]\ndegrees = [3, 2, 1]\nprojection = 6\n";

/// Every option of the published configuration file, alone.
const OPTIONS: [&str; 25] = [
    "variational = true",
    "rules = [\"elementwise\", \"full\", \"efficient\"]",
    "rules = [\"full\", \"full\", \"full\"]\nsymmetric = false",
    "channel_rules = [\"full\", \"elementwise\", \"full\"]",
    "skip = false",
    "batch_norm = false",
    "norm = { kind = \"none\" }",
    "norm = { kind = \"signal\", affine = \"none\" }",
    "norm = { kind = \"signal\", affine = \"unique\" }",
    "norm = { kind = \"signal\", affine = \"per_feature\" }",
    "norm = { kind = \"signal\", balance = 1.0 }",
    "norm = { kind = \"layer\", affine = true }",
    "norm = { kind = \"layer_nonlin\", affine = true, activation = \"swish\" }",
    "norm_place = \"first\"",
    "norm_place = \"last\"",
    "normalization = \"norm\"",
    "linear_first = true\nnorm = { kind = \"none\" }",
    "linear_first = true\nbatch_norm = false",
    "hidden = [7, 5]",
    "learn_frame = false",
    "reconstruction = \"mse_normalized\"",
    "reconstruction = \"cosine\"",
    "final_signal_norm = true",
    "lmax = 3",
    "denoising = 0.3",
];

#[test]
fn every_option_trains_and_keeps_the_symmetry() {
    let irreps = Irreps::zernike(3, 6, 2);
    for option in OPTIONS {
        let config: HvaeConfig = toml::from_str(&format!("{SMALL}{option}")).unwrap();
        let model = Hvae::new(&config, &irreps, 5, DType::F64, &Device::Cpu).unwrap();
        check_symmetry(&model, &irreps, DType::F64, 1e-9, option);
        let batch = HvaeBatch {
            x: tensor(2, &[6, irreps.dim()], DType::F64),
            ids: (0..6).collect(),
            labels: None,
        };
        let losses = model.losses(&batch, StepKey { seed: 1, step: 2 }).unwrap();
        let p = model.parameters();
        assert_eq!(
            losses.statistics_values().unwrap().len(),
            p.buffers().len(),
            "{option}"
        );
        let weights = Weights::from([("reconstruction", 1.0), ("kl", 0.1)]);
        let objective = losses.objective(&weights).unwrap();
        let gradients = p.gradient(&objective).unwrap().into_host().unwrap();
        assert!(gradients.iter().all(|g| g.is_finite()), "{option}");
        let moved = gradients.iter().filter(|g| **g != 0.0).count();
        assert!(
            moved * 2 > gradients.len(),
            "{option}: {moved} of {} gradients",
            gradients.len()
        );
        for (name, per_sample) in model.metrics(&batch).unwrap() {
            assert!(
                per_sample.len() == 6 && per_sample.iter().all(|v| v.is_finite()),
                "{option}: {name}"
            );
        }
    }
}

#[test]
fn what_is_hidden_of_an_input_turns_with_it() {
    let irreps = Irreps::zernike(3, 6, 2);
    let config: HvaeConfig = toml::from_str(&format!("{SMALL}denoising = 0.4")).unwrap();
    let model = Hvae::new(&config, &irreps, 5, DType::F64, &Device::Cpu).unwrap();
    let x = tensor(2, &[6, irreps.dim()], DType::F64);
    let loss = |x: Tensor| {
        let (ids, labels) = ((0..6).collect(), None);
        let batch = HvaeBatch { x, ids, labels };
        let losses = model.losses(&batch, StepKey { seed: 1, step: 2 }).unwrap();
        losses.term_values().unwrap()[0]
    };
    let turned = rotate_published(&x, &irreps, &rotation::random(3));
    assert!((loss(turned) / loss(x) - 1.0).abs() < 1e-9);
}

#[test]
fn a_model_without_first_projection_takes_equal_channels() {
    let config: HvaeConfig =
        toml::from_str("latent_dim = 3\nchannels = [4, 4]\ndegrees = [2, 1]").unwrap();
    let irreps = Irreps::uniform(2, 3);
    let model = Hvae::new(&config, &irreps, 1, DType::F64, &Device::Cpu).unwrap();
    check_symmetry(&model, &irreps, DType::F64, 1e-10, "no projection");
    let unequal = Irreps::zernike(2, 6, 2);
    let error = Hvae::new(&config, &unequal, 1, DType::F64, &Device::Cpu)
        .err()
        .unwrap();
    assert!(error.to_string().contains("projection"), "{error}");
}

#[test]
fn settings_that_cannot_be_built_are_named() {
    let irreps = Irreps::zernike(3, 6, 2);
    for (text, name) in [
        (
            "latent_dim = 0\nchannels = [4]\nprojection = 4",
            "latent_dim",
        ),
        ("latent_dim = 2\nchannels = []\nprojection = 4", "channels"),
        (
            "latent_dim = 2\nchannels = [4, 4, 4]\ndegrees = [3, 2]\nprojection = 4",
            "degrees",
        ),
        (
            "latent_dim = 2\nchannels = [4]\nprojection = 4\ndenoising = 1.0",
            "denoising",
        ),
        (
            "latent_dim = 2\nchannels = [4]\nprojection = 4\nconditions = 100000",
            "conditions",
        ),
        (
            "latent_dim = 2\nchannels = [4, 4, 4]\ndegrees = [3, 3, 1]\nprojection = 4",
            "degrees[1]",
        ),
        (
            "latent_dim = 2\nchannels = [4, 4, 4]\ndegrees = [3, 2, 2]\nprojection = 4",
            "degrees[2]",
        ),
        (
            "latent_dim = 2\nchannels = [4]\ndegrees = [1]\nprojection = 4",
            "decoder",
        ),
        (
            "latent_dim = 2\nchannels = [4, 4, 4]\nprojection = 4\nrules = [\"full\"]",
            "rules",
        ),
        (
            "latent_dim = 2\nchannels = [4, 4, 4]\nprojection = 4\nlinear_first = true",
            "linear_first",
        ),
    ] {
        let config: HvaeConfig = toml::from_str(text).unwrap();
        let Err(error) = Hvae::new(&config, &irreps, 1, DType::F32, &Device::Cpu) else {
            panic!("accepted: {text}")
        };
        assert!(error.to_string().contains(name), "{text}: {error}");
        assert_eq!(error.exit_code(), 2);
    }
}

#[test]
fn the_fused_step_equals_product_norm_and_linear_map() {
    // The general layers compute the same block when the norm is written as affine per feature.
    let irreps = Irreps::zernike(3, 6, 2);
    let model = |option: &str| {
        let config: HvaeConfig = toml::from_str(&format!("{SMALL}{option}")).unwrap();
        Hvae::new(&config, &irreps, 5, DType::F64, &Device::Cpu).unwrap()
    };
    let (fused, general) = (
        model(""),
        model("norm = { kind = \"signal\", affine = \"per_feature\" }"),
    );
    // Same parameters, the norm's scalars repeated over channels.
    let by_name: std::collections::HashMap<_, _> = {
        let flat = numbers(9, fused.parameters().len());
        let entries = fused.parameters().entries();
        let flat: Vec<f32> = flat.iter().map(|v| 0.5 * *v as f32).collect();
        fused.parameters().set_flat(&flat).unwrap();
        entries
            .iter()
            .map(|e| (e.name.clone(), flat[e.offset..e.offset + e.len()].to_vec()))
            .collect()
    };
    let mut flat = Vec::new();
    for e in general.parameters().entries() {
        let source = &by_name[&e.name];
        flat.extend((0..e.len()).map(|i| source[i % source.len()]));
    }
    general.parameters().set_flat(&flat).unwrap();
    let x = tensor(3, &[19, irreps.dim()], DType::F64);
    let noise = Tensor::zeros((19, 4), DType::F64, &Device::Cpu).unwrap();
    let run = |m: &Hvae| {
        let Passed {
            losses, rebuilt, ..
        } = m.pass_with(&x, &noise).unwrap();
        let weights = Weights::from([("reconstruction", 1.0)]);
        let objective = losses.objective(&weights).unwrap();
        let g = m
            .parameters()
            .gradient(&objective)
            .unwrap()
            .into_host()
            .unwrap();
        (rebuilt, g)
    };
    let ((ra, ga), (rb, gb)) = (run(&fused), run(&general));
    assert!(difference(&ra, &rb) < 1e-12);
    for e in fused.parameters().entries() {
        let twin = general
            .parameters()
            .entries()
            .iter()
            .find(|t| t.name == e.name)
            .unwrap();
        let mut sum = vec![0f64; e.len()];
        for (i, g) in gb[twin.offset..twin.offset + twin.len()].iter().enumerate() {
            sum[i % e.len()] += *g as f64;
        }
        let largest = sum.iter().fold(1e-6f64, |m, v| m.max(v.abs()));
        for (a, b) in ga[e.offset..e.offset + e.len()].iter().zip(&sum) {
            assert!(
                (*a as f64 - b).abs() < 1e-5 * largest,
                "{}: {a} against {b}",
                e.name
            );
        }
    }
}

#[test]
fn degenerate_frames_are_finite() {
    let cases: [[f64; 6]; 5] = [
        [0.0; 6],
        [1.0, 2.0, 3.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 1.0, 2.0, 3.0],
        [1.0, 2.0, 3.0, 2.0, 4.0, 6.0],
        [1e-30, 0.0, 0.0, 0.0, 1e-30, 0.0],
    ];
    for dtype in [DType::F32, DType::F64] {
        let all: Vec<f64> = cases.concat();
        let v = Var::from_tensor(
            &Tensor::from_vec(all, (5, 2, 3), &Device::Cpu)
                .unwrap()
                .to_dtype(dtype)
                .unwrap(),
        )
        .unwrap();
        let frame = gram_schmidt(v.as_tensor()).unwrap();
        let grads = (&frame * &tensor(1, &[5, 3, 3], dtype))
            .unwrap()
            .sum_all()
            .unwrap()
            .backward()
            .unwrap();
        assert!(values(&frame).iter().all(|x| x.is_finite()));
        assert!(
            values(grads.get(v.as_tensor()).unwrap())
                .iter()
                .all(|x| x.is_finite())
        );
    }
}
