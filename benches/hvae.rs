//! Forward, and forward with backward, of the paper's H-AE models (Table S2), batch 64.
//! Threads: RAYON_NUM_THREADS.

use candle_core::{DType, Device, Tensor};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use holosig::models::hvae::{Hvae, HvaeConfig, TERMS};
use holosig::models::{Model, Weights};
use holosig::so3::irreps::Irreps;
use std::hint::black_box;

const BATCH: usize = 64;

fn model(lmax: usize, config: &str) -> (Hvae, Tensor) {
    let irreps = Irreps::zernike(lmax, 20, 4);
    let config: HvaeConfig = toml::from_str(config).expect("the bench's own configuration");
    let model = Hvae::new(&config, &irreps, 1, DType::F32, &Device::Cpu).expect("a model");
    let x = Tensor::randn(0f32, 1.0, (BATCH, irreps.dim()), &Device::Cpu).expect("an input");
    (model, x)
}

fn bench(c: &mut Criterion) {
    holosig::keep_freed_memory();
    let cases = [
        (
            "z64-l4",
            4,
            "latent_dim = 64\nchannels = [50, 50, 50, 64, 64, 64]\ndegrees = [4, 4, 4, 4, 2, 1]\nprojection = 44",
        ),
        (
            "z128-l6",
            6,
            "latent_dim = 128\nchannels = [60, 60, 60, 90, 128, 128]\ndegrees = [6, 6, 6, 4, 2, 1]\nprojection = 44",
        ),
    ];
    let mut group = c.benchmark_group("hae");
    group
        .throughput(Throughput::Elements(BATCH as u64))
        .sample_size(10);
    for (name, lmax, config) in cases {
        let (model, x) = model(lmax, config);
        let noise = Tensor::zeros((BATCH, model.config().latent_dim), DType::F32, &Device::Cpu)
            .expect("noise");
        group.bench_function(format!("encode-{name}"), |b| {
            b.iter(|| black_box(model.encode(&x).expect("encode")))
        });
        group.bench_function(format!("train-{name}"), |b| {
            b.iter(|| {
                let losses = model.pass_with(&x, &noise).expect("losses").losses;
                let objective = losses.objective(&Weights::from(TERMS)).expect("objective");
                let gradient = model.parameters().gradient(&objective);
                black_box(gradient.expect("a gradient"))
            })
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
