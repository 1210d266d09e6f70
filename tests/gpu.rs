//! Every operation on a GPU against its CPU twin, both models, and training runs. Compiled with
//! the feature `cuda` only; without a GPU every test says loudly that it was skipped, unless
//! HOLOSIG_GPU_REQUIRED is set (scripts/gpu_suite.sh sets it), when it fails.
#![cfg(feature = "cuda")]

mod common;

use candle_core::{DType, Device, Result, Tensor, Var};
use common::{mpirun, run};
use holosig::models::deep_signature::{
    Clip, DeepSignature, DeepSignatureConfig, Graph, Objective, RawClip, Variant,
};
use holosig::models::hvae::{Hvae, HvaeBatch, HvaeConfig};
use holosig::models::{Losses, Model, Parameters, Weights, deep_signature};
use holosig::ops::batch_norm::{BatchNorm, Mode, Normalization, batch_norm, features, statistics};
use holosig::ops::cg::{Plan, Size, cg};
use holosig::ops::cuda;
use holosig::ops::device;
use holosig::ops::hidden;
use holosig::ops::linear::{Order, Side, linear, weight_shapes};
use holosig::ops::signature::{Basis, log_signature, signature};
use holosig::ops::skip::skip;
use holosig::ops::sparse::Sparse;
use holosig::ops::squared_error::squared_error;
use holosig::ops::zernike::{Settings, Transform};
use holosig::so3::irreps::Irreps;
use holosig::so3::paths::Rule;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, OnceLock};

/// Of sums of a few hundred f32 products in another order.
const TOLERANCE: f64 = 1e-5;

/// The first GPU, opened once; `None`, loudly, where there is none.
fn gpu() -> Option<&'static Device> {
    static GPU: OnceLock<Option<Device>> = OnceLock::new();
    let gpu = GPU.get_or_init(|| match holosig::gpu::count() {
        Ok(n) if n > 0 => Some(holosig::gpu::open(0).expect("the GPU opens").0),
        none => {
            let required = std::env::var_os("HOLOSIG_GPU_REQUIRED").is_some();
            assert!(!required, "no GPU: {none:?}");
            eprintln!("\n*** NO GPU ({none:?}): the GPU tests are SKIPPED ***\n");
            None
        }
    });
    gpu.as_ref()
}

fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn tensor(seed: u64, shape: &[usize]) -> Tensor {
    Tensor::from_vec(numbers(seed, shape.iter().product()), shape, &Device::Cpu).unwrap()
}

fn values(t: &Tensor) -> Vec<f64> {
    let t = t.to_device(&Device::Cpu).unwrap();
    let t = t.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
    t.to_vec1().unwrap()
}

/// Fails unless the largest difference is within `tolerance` of the largest value.
#[track_caller]
fn close(what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    assert!(got.iter().all(|v| v.is_finite()), "{what}: not finite");
    let largest = want.iter().fold(1e-30f64, |m, v| m.max(v.abs()));
    let differences = got.iter().zip(want).map(|(a, b)| (a - b).abs());
    let error = differences.fold(0f64, f64::max) / largest;
    println!("{what}: {error:.1e}");
    assert!(error <= tolerance, "{what}: {error:.1e}");
}

/// An op's result and the gradients of its arguments, on a device.
fn differentiate(
    device: &Device,
    inputs: &[Tensor],
    op: &dyn Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<Vec<Tensor>> {
    let vars = inputs
        .iter()
        .map(|t| Var::from_tensor(&t.to_device(device)?));
    let vars = vars.collect::<Result<Vec<_>>>()?;
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let out = op(&tensors)?;
    let grad = tensor(99, out.dims())
        .to_device(device)?
        .to_dtype(out.dtype())?;
    let store = (&out * grad)?.sum_all()?.backward()?;
    let mut all = vec![out];
    for t in &tensors {
        all.push(store.get(t).expect("a gradient").clone());
    }
    Ok(all)
}

/// The op on both devices; on the GPU twice, with the same bits.
#[track_caller]
fn twins(what: &str, inputs: &[Tensor], op: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let Some(gpu) = gpu() else { return };
    let of = |device| differentiate(device, inputs, &op).unwrap();
    let (cpu, first, second) = (of(&Device::Cpu), of(gpu), of(gpu));
    for (i, (got, want)) in first.iter().zip(&cpu).enumerate() {
        let name = match i {
            0 => format!("{what}, result"),
            i => format!("{what}, gradient {i}"),
        };
        close(&name, &values(got), &values(want), TOLERANCE);
        assert_eq!(
            values(got),
            values(&second[i]),
            "{name}: not the same twice"
        );
    }
}

fn side(channels: &[usize], order: Order) -> Side {
    Side {
        irreps: Irreps::new(channels.to_vec()),
        order,
    }
}

#[test]
fn linear_maps_and_skips() {
    use Order::{Published, Steerable};
    let cases = [
        (
            side(&[44, 40, 36], Published),
            side(&[30; 3], Steerable),
            70,
        ),
        (side(&[70, 70], Steerable), side(&[67, 3, 5], Published), 35),
        (side(&[5, 17, 2], Steerable), side(&[33, 66], Steerable), 1),
    ];
    for (from, to, batch) in cases {
        let shapes = weight_shapes(&from.irreps, &to.irreps);
        let weights = shapes.iter().map(|(i, o)| i * o).sum();
        let inputs = [
            tensor(1, &[batch, from.irreps.dim()]),
            tensor(2, &[weights]),
        ];
        twins("linear", &inputs, |v| linear(&v[0], &v[1], &from, &to));
        let inputs = [
            tensor(3, &[batch, to.irreps.dim()]),
            tensor(4, &[batch, from.irreps.dim()]),
        ];
        let (to, from) = (&to.irreps, &from.irreps);
        twins("skip", &inputs, |v| skip(&v[0], to, &v[1], from));
    }
}

#[test]
fn squared_errors() {
    let (target, weights) = (tensor(1, &[33, 941]), tensor(2, &[941]));
    twins("squared error", &[tensor(3, &[33, 941])], |v| {
        let there = |t: &Tensor| t.to_device(v[0].device());
        squared_error(&v[0], &there(&target)?, &there(&weights)?)
    });
}

/// A batch norm with the statistics of `x`.
fn norm(
    x: &Tensor,
    irreps: &Irreps,
    normalization: Normalization,
    mode: Mode,
) -> Result<BatchNorm> {
    Ok(BatchNorm {
        irreps: irreps.clone(),
        statistics: statistics(&x.detach(), irreps, normalization)?,
        normalization,
        mode,
    })
}

#[test]
fn batch_norms() {
    let irreps = Irreps::new(vec![37, 12, 40, 3]);
    let inputs = [
        tensor(1, &[83, irreps.dim()]),
        tensor(2, &[features(&irreps)]),
        tensor(3, &[37]),
    ];
    for normalization in [Normalization::Component, Normalization::Norm] {
        for mode in [Mode::Train, Mode::Eval] {
            twins(&format!("batch norm, {mode:?}"), &inputs, |v| {
                let norm = norm(&v[0], &irreps, normalization, mode)?;
                batch_norm(&v[0], &v[1], &v[2], norm)
            });
        }
    }
}

#[test]
fn clebsch_gordan_steps() {
    let component = Normalization::Component;
    for (rule, from, to, batch) in [
        (Rule::Efficient, Size::new(6, 60), Size::new(6, 60), 37),
        (Rule::Full, Size::new(3, 7), Size::new(4, 33), 20),
        (Rule::Efficient, Size::new(1, 128), Size::new(2, 90), 1),
    ] {
        let plan = || Plan::new(rule, true, from, to);
        for plan in [plan(), plan().with_skip().with_batch_norm(component)] {
            let plan = Arc::new(plan);
            let normed = batch > 1 && plan.batch_norm.is_some();
            if plan.batch_norm.is_some() && !normed {
                continue; // no statistics of one sample
            }
            let inputs = [
                tensor(1, &[batch, plan.input.dim()]),
                tensor(2, &[plan.parameter_len()]),
            ];
            twins("Clebsch-Gordan", &inputs, |v| {
                let norm = match normed {
                    true => Some(norm(&v[0], &plan.input, component, Mode::Train)?),
                    false => None,
                };
                cg(&v[0], &v[1], &plan, norm)
            });
        }
    }
}

#[test]
fn sparse_products_and_hidden_layers() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let entries: Vec<(usize, usize, f64)> = (0..4000)
        .map(|_| {
            let place = (rng.random_range(0..700), rng.random_range(0..500));
            (place.0, place.1, rng.random_range(-1.0..1.0))
        })
        .collect();
    let sparse = Sparse::new(700, 500, &entries);
    twins("sparse", &[tensor(1, &[500, 33])], |v| sparse.apply(&v[0]));

    let (nodes, frames, d, width, words, e) = (130, 21, 3, 16, 8, 3);
    let weights: Arc<[f64]> = (0..frames).map(|i| 0.01 * (1 + i) as f64).collect();
    let inputs = [tensor(1, &[nodes, frames, d]), tensor(2, &[d + 1, width])];
    twins("hidden average", &inputs, |v| {
        hidden::average(&v[0], &v[1], weights.clone())
    });
    let inputs = [
        inputs[0].clone(),
        inputs[1].clone(),
        tensor(3, &[width, words * e]),
    ];
    twins("hidden projection", &inputs, |v| {
        hidden::project(&v[0], &v[1], &v[2], words)
    });
}

#[test]
fn signatures() {
    for (batch, points, channels, depth) in
        [(5, 9, 3, 4), (3, 25, 30, 3), (2, 2, 1, 5), (7, 1, 4, 2)]
    {
        let path = [tensor(1, &[batch, points, channels])];
        twins("signature", &path, |v| signature(&v[0], depth));
        for basis in [Basis::Words, Basis::Expand] {
            let what = format!("log-signature to depth {depth}, {basis:?}");
            twins(&what, &path, |v| log_signature(&v[0], depth, basis));
        }
    }
}

#[test]
fn zernike_transforms() {
    let Some(gpu) = gpu() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let sizes = [100, 0, 1, 333, 64];
    let mut offsets = vec![0];
    for size in sizes {
        offsets.push(offsets[offsets.len() - 1] + size);
    }
    let atoms = offsets[sizes.len()];
    let coordinates: Vec<[f32; 3]> = (0..atoms)
        .map(|_| std::array::from_fn(|_| rng.random_range(-7.0..7.0)))
        .collect();
    let channels: Vec<u8> = (0..atoms).map(|_| rng.random_range(0..5)).collect();
    for lmax in [2, 6, 8] {
        let settings = Settings {
            lmax,
            ..Settings::default()
        };
        let transform = Transform::new(&settings).unwrap();
        let mut want = vec![0f32; sizes.len() * transform.irreps().dim()];
        transform
            .apply(&coordinates, &channels, &offsets, &mut want)
            .unwrap();
        let got = transform
            .apply_on(gpu, &coordinates, &channels, &offsets, 0.5)
            .unwrap();
        let want: Vec<f64> = want.iter().map(|&v| 0.5 * f64::from(v)).collect();
        close(&format!("zernike to {lmax}"), &values(&got), &want, 2e-6);
    }
}

/// Adam's kernel has the bits of the CPU's.
#[test]
fn adam() {
    use holosig::train::optimizer::{AdamSettings, Decay, update};
    let Some(gpu) = gpu() else { return };
    let n = 100_003;
    let (mut p, mut first, mut second) = (numbers(1, n), vec![0.0; n], vec![0.0; n]);
    let on_gpu = |v: &[f32]| Tensor::from_slice(v, n, gpu).unwrap();
    let [q, m, v] = [&p, &vec![0.0; n], &vec![0.0; n]].map(|v| on_gpu(v));
    for step in 0..3 {
        let g = numbers(10 + step, n);
        let settings = AdamSettings {
            weight_decay: 0.01,
            decay: [Decay::L2, Decay::Decoupled][step % 2],
            ..AdamSettings::default()
        };
        let next = device::adam::Step {
            scale: [1.0, 0.3, 0.7][step],
            ..settings.step(step as u64, 1e-3)
        };
        update(&next, &mut p, &g, [&mut first, &mut second]);
        let sequence = device::adam::step(&next, n, step != 1);
        cuda::run_tensors(&sequence, &[&q, &on_gpu(&g), &m, &v]).unwrap();
    }
    let want: Vec<f64> = p.iter().map(|&v| v.into()).collect();
    assert_eq!(values(&q), want);
}

/// Losses, statistics and gradient of a training step.
fn step(
    losses: Losses,
    weights: &Weights,
    parameters: &Parameters,
) -> Vec<(&'static str, Vec<f64>)> {
    let objective = losses.objective(weights).unwrap();
    let gradient = parameters.gradient(&objective).unwrap();
    let wide = |v: Vec<f32>| v.into_iter().map(f64::from).collect();
    vec![
        ("terms", losses.term_values().unwrap()),
        ("statistics", wide(losses.statistics_values().unwrap())),
        ("gradient", wide(gradient.into_host().unwrap())),
    ]
}

fn same_step(what: &str, on: impl Fn(&Device) -> Vec<(&'static str, Vec<f64>)>) {
    let Some(gpu) = gpu() else { return };
    let (cpu, first, second) = (on(&Device::Cpu), on(gpu), on(gpu));
    for ((name, want), (_, got)) in cpu.iter().zip(&first) {
        close(&format!("{what}, {name}"), got, want, 5e-4);
    }
    assert_eq!(first, second, "{what}: not the same twice");
}

#[test]
fn a_step_of_the_autoencoders() {
    for variational in [false, true] {
        let config: HvaeConfig = toml::from_str(&format!(
            "latent_dim = 128\nchannels = [60, 60, 60, 90, 128, 128]\n\
             degrees = [6, 6, 6, 4, 2, 1]\nprojection = 44\nvariational = {variational}"
        ))
        .unwrap();
        let irreps = Irreps::zernike(6, 20, 4);
        let (x, noise) = (tensor(1, &[48, irreps.dim()]), tensor(2, &[48, 128]));
        same_step("H-(V)AE", |device| {
            let model = Hvae::new(&config, &irreps, 3, DType::F32, device).unwrap();
            let on = |t: &Tensor| t.to_device(device).unwrap();
            let made = model.pass_with(&on(&x), &on(&noise));
            let weights = Weights::from([("reconstruction", 1000.0), ("kl", 0.1)]);
            step(made.unwrap().losses, &weights, model.parameters())
        });
    }
}

#[test]
fn metrics_of_the_autoencoders() {
    let Some(gpu) = gpu() else { return };
    for kind in ["mse", "mse_normalized", "cosine"] {
        let config: HvaeConfig = toml::from_str(&format!(
            "latent_dim = 16\nchannels = [12, 16, 20]\ndegrees = [3, 2, 1]\nprojection = 10\n\
             variational = true\nreconstruction = {kind:?}"
        ))
        .unwrap();
        let irreps = Irreps::zernike(3, 20, 4);
        let x = tensor(1, &[33, irreps.dim()]);
        let on = |device: &Device| {
            let model = Hvae::new(&config, &irreps, 3, DType::F32, device).unwrap();
            let x = x.to_device(device).unwrap();
            let ids = (0..33).collect();
            model
                .metrics(&HvaeBatch {
                    x,
                    ids,
                    labels: None,
                })
                .unwrap()
        };
        for ((name, want), (_, got)) in on(&Device::Cpu).iter().zip(&on(gpu)) {
            close(&format!("{kind}: {name}"), got, want, 1e-4);
        }
    }
}

#[test]
fn a_step_of_deep_signature() {
    let config = DeepSignatureConfig {
        clusters: 8,
        ..DeepSignatureConfig::default()
    };
    let (nodes, frames) = (150, 40);
    let edges: Vec<(u32, u32)> = (1..nodes as u32).map(|i| (i - 1, i)).collect();
    let graph = Arc::new(Graph::new(nodes, &edges, Variant::Corrected).unwrap());
    same_step("Deep Signature", |device| {
        let clips: Vec<Clip> = (0..3)
            .map(|id| {
                let raw = RawClip {
                    holographic: false,
                    id,
                    graph: graph.clone(),
                    features: numbers(id, nodes * frames * 3),
                    frames,
                    target: (id % 2) as f64,
                };
                let clip = Clip::new(raw, &config, DType::F32).unwrap();
                clip.to_device(device).unwrap()
            })
            .collect();
        let model =
            DeepSignature::new(&config, 3, Objective::Binary, 3, DType::F32, device).unwrap();
        let losses = model.losses_with(&clips, None).unwrap();
        let weights = deep_signature::TERMS.map(|(term, _)| (term, 1.0));
        step(losses, &Weights::from(weights), model.parameters())
    });
}

/// The program, or the one that was carried here with this test.
fn path() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_BIN_EXE_holosig-cuda"));
    std::env::var_os("HOLOSIG").map_or(here, PathBuf::from)
}

fn program() -> Command {
    Command::new(path())
}

/// Hash of the last checkpoint of a quickstart run, and its losses.
fn quickstart(out: &std::path::Path, command: &mut Command, device: &str) -> (String, Vec<f64>) {
    command.args(["train", "jobs/quickstart.toml", "--device", device]);
    command.args(["--set", "train.steps=20", "--set", "train.log_every=1"]);
    run(command.arg("--out").arg(out)).success();
    let newest = out.join("checkpoints/step-20.h5");
    let hash = run(program().arg("hash").arg(newest)).success().stdout;
    let lines = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let losses = lines
        .lines()
        .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap())
        .filter(|l| l["event"] == "train")
        .map(|l| l["reconstruction"].as_f64().unwrap());
    (hash, losses.collect())
}

#[test]
fn training_follows_the_cpu_and_does_not_depend_on_the_ranks() {
    if gpu().is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (_, cpu) = quickstart(&at("cpu"), &mut program(), "cpu");
    let (hash, losses) = quickstart(&at("one"), &mut program(), "cuda");
    assert_eq!(cpu.len(), 20);
    close("losses of 20 steps", &losses, &cpu, 2e-3);
    for ranks in [1, 2, 4] {
        let mut command = mpirun(ranks);
        command.arg(path());
        let out = at(&format!("ranks-{ranks}"));
        assert_eq!(
            quickstart(&out, &mut command, "cuda").0,
            hash,
            "{ranks} ranks"
        );
    }
}

/// Without a GPU the program says so before it opens the data; with one there is nothing to test.
#[test]
fn a_missing_gpu_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = program();
    command.env("CUDA_VISIBLE_DEVICES", "");
    command.args(["train", "jobs/quickstart.toml", "--device", "cuda", "--out"]);
    run(command.arg(dir.path().join("run"))).failure(2, "no GPU on ");
}
