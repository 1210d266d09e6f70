//! Every CUDA kernel, run on this machine's processor, against its CPU twin.
//!
//! The sequences are those that a GPU is given; the kernels are the same sources, compiled with
//! the system's C++ compiler (`kernels/host`). Each runs three times: with every access to memory
//! watched (races, bounds, unwritten memory) and threads in random and reversed order, and with
//! the address sanitizer; all must have the same bits.

mod clouds;
mod graphs;
mod host;
mod optimizer;
mod paths;
mod steerable;
mod twin;

use holosig::ops::device::Sequence;
use host::{Data, Flavour, Order, Results};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Runs a sequence in every way; the results, which agree.
fn run(what: &str, sequence: &Sequence, inputs: &[Data]) -> Results {
    let run = |flavour, order| {
        host::run(flavour, order, sequence, inputs)
            .unwrap_or_else(|e| panic!("{what}, {flavour:?}, {order:?}:\n{e}"))
    };
    let first = run(Flavour::Watched, Order::Random);
    let mut others = vec![run(Flavour::Watched, Order::Reversed)];
    if address_sanitizer() {
        others.push(run(Flavour::Address, Order::Forward));
    }
    for other in others {
        let same = |a: &[Data], b: &[Data]| {
            a.iter().zip(b).all(|(a, b)| {
                let (a, b) = (a.numbers(), b.numbers());
                a.iter().zip(&b).all(|(a, b)| a.to_bits() == b.to_bits())
            })
        };
        assert!(
            same(&first.outputs, &other.outputs) && same(&first.inputs, &other.inputs),
            "{what}: the order of threads changes the result"
        );
    }
    first
}

/// Whether the compiler has one; says so, loudly, when not.
fn address_sanitizer() -> bool {
    static HAS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *HAS.get_or_init(|| {
        let has = host::has_address_sanitizer();
        if !has {
            eprintln!(
                "\n*** The C++ compiler has no address sanitizer: the kernels are tested WITHOUT it. ***\n"
            );
        }
        has
    })
}

/// Fails unless `got` is within `tolerance` of `want`, relative to the largest value of `want`.
fn close(what: &str, got: &Data, want: &[f32], tolerance: f64) {
    let got = got.numbers();
    assert_eq!(got.len(), want.len(), "{what}: length");
    let largest = want.iter().fold(0f64, |m, &v| m.max(f64::from(v).abs()));
    let mut worst = (0.0, 0);
    for (i, (g, &w)) in got.iter().zip(want).enumerate() {
        let error = (g - f64::from(w)).abs();
        if error > worst.0 || error.is_nan() {
            worst = (error, i);
        }
        assert!(!g.is_nan(), "{what}: NaN at {i} of {}", got.len());
    }
    let relative = worst.0 / largest.max(1e-30);
    assert!(
        relative <= tolerance,
        "{what}: {} instead of {} at {} of {}, {relative:.1e} of the largest value",
        got[worst.1],
        want[worst.1],
        worst.1,
        got.len()
    );
}

/// Reproducible numbers in -1..1.
fn random(seed: u64, len: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}
