//! Signatures and log-signatures, f32, length 25: forward, and forward with backward.
//! Threads: RAYON_NUM_THREADS.

use candle_core::{DType, Device, Tensor, Var};
use criterion::{
    BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use holosig::ops::signature::{Basis, log_signature, signature};
use std::hint::black_box;

const LENGTH: usize = 25;

fn cases(
    group: &mut BenchmarkGroup<'_, WallTime>,
    batch: usize,
    sizes: &[(usize, usize)],
    f: impl Fn(&Tensor, usize) -> candle_core::Result<Tensor>,
) {
    group.sample_size(10);
    for &(channels, depth) in sizes {
        let path = Tensor::randn(0f32, 0.3, (batch, LENGTH, channels), &Device::Cpu);
        let path = Var::from_tensor(&path.expect("a path")).expect("a variable");
        let path = path.as_tensor();
        let out = f(path, depth).expect("a signature");
        let weights = Tensor::ones(out.shape(), DType::F32, &Device::Cpu).expect("weights");
        drop(out);
        group.bench_function(format!("forward-{channels}-{depth}"), |b| {
            b.iter(|| black_box(f(&path.detach(), depth).expect("forward")))
        });
        group.bench_function(format!("both-{channels}-{depth}"), |b| {
            b.iter(|| {
                let out = f(path, depth).expect("forward");
                let grads = out.mul(&weights).and_then(|l| l.sum_all()?.backward());
                black_box(grads.expect("backward"))
            })
        });
    }
}

fn bench(c: &mut Criterion) {
    holosig::keep_freed_memory();
    let mut group = c.benchmark_group("signature-batch-16");
    let sizes = [(10, 3), (10, 4), (30, 2), (30, 3), (30, 4), (60, 3)];
    cases(&mut group, 16, &sizes, signature);
    group.finish();
    let mut group = c.benchmark_group("lyndon-batch-64");
    let sizes = [(60, 2), (60, 3), (150, 2), (150, 3)];
    cases(&mut group, 64, &sizes, |p, d| {
        log_signature(p, d, Basis::Words)
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
