//! Neighborhoods per second of the Zernike transform on one core: `cargo bench --bench zernike`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use holosig::ops::zernike::{Settings, Transform};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

const CLOUDS: usize = 200;
const ATOMS: usize = 100;

/// Clouds of protein-like composition, uniform in the ball.
fn clouds(cutoff: f32) -> (Vec<[f32; 3]>, Vec<u8>, Vec<usize>) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut coordinates = Vec::new();
    while coordinates.len() < CLOUDS * ATOMS {
        let xyz: [f32; 3] = std::array::from_fn(|_| rng.random_range(-cutoff..cutoff));
        if xyz.iter().map(|c| c * c).sum::<f32>() < cutoff * cutoff {
            coordinates.push(xyz);
        }
    }
    // 63 % C, 17 % N, 19 % O, 1 % S.
    let element = |p: f64| {
        [0.63, 0.80, 0.99]
            .iter()
            .filter(|&&limit| p > limit)
            .count() as u8
    };
    let channels = coordinates.iter().map(|_| element(rng.random())).collect();
    let offsets = (0..=CLOUDS).map(|i| i * ATOMS).collect();
    (coordinates, channels, offsets)
}

fn transform(c: &mut Criterion) {
    let one = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .expect("a thread");
    let mut group = c.benchmark_group("zernike");
    group
        .throughput(Throughput::Elements(CLOUDS as u64))
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500));
    for lmax in [4, 6, 8] {
        let settings = Settings {
            lmax,
            ..Settings::default()
        };
        let (coordinates, channels, offsets) = clouds(settings.cutoff as f32);
        let transform = Transform::new(&settings).expect("good settings");
        let mut out = vec![0.0; CLOUDS * transform.irreps().dim()];
        group.bench_function(format!("lmax {lmax}"), |b| {
            b.iter(|| {
                one.install(|| transform.apply(&coordinates, &channels, &offsets, &mut out))
                    .expect("good clouds")
            })
        });
    }
    group.finish();
}

criterion_group!(benches, transform);
criterion_main!(benches);
