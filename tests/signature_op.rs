//! Signatures and log-signatures against golden numbers (`tests/fixtures/signature_*.h5`, from
//! signatory and an independent tensor algebra) and against the identities that define them.

use candle_core::{DType, Device, Tensor, Var};
use hdf5::File;
use holosig::ops::signature::{Basis, log_signature, signature};
use holosig::words;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

type Tested<'a> = (&'a str, &'a dyn Fn(&Tensor) -> Tensor);

fn tensor(values: &[f64], shape: &[usize], dtype: DType) -> Tensor {
    Tensor::from_slice(values, shape, &Device::Cpu)
        .and_then(|t| t.to_dtype(dtype))
        .unwrap()
}

fn flat(t: &Tensor) -> Vec<f64> {
    let t = t.to_dtype(DType::F64).unwrap();
    t.flatten_all().unwrap().to_vec1().unwrap()
}

/// A random walk of `points` points, steps of about 1.
fn walk(batch: usize, points: usize, channels: usize, seed: u64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut path = Vec::new();
    for _ in 0..batch {
        let mut at = vec![0.0; channels];
        for _ in 0..points {
            for x in &mut at {
                *x += 2.0 * rng.random::<f64>() - 1.0;
            }
            path.extend(&at);
        }
    }
    path
}

fn random(len: usize, seed: u64) -> Vec<f64> {
    walk(1, 1, len, seed)
}

/// Largest difference over max(1, largest reference value).
fn error(ours: &[f64], reference: &[f64]) -> f64 {
    assert_eq!(ours.len(), reference.len());
    let scale = reference.iter().fold(1.0f64, |m, x| m.max(x.abs()));
    let worst = ours.iter().zip(reference).map(|(a, b)| (a - b).abs());
    worst.fold(0.0, |m, d| if d.is_nan() { f64::NAN } else { d.max(m) }) / scale
}

/// Gradient of `sum(w f(path))`.
fn gradient(f: &dyn Fn(&Tensor) -> Tensor, path: &Tensor, w: &[f64]) -> Vec<f64> {
    let path = Var::from_tensor(path).unwrap();
    let out = f(path.as_tensor());
    let w = tensor(w, out.dims(), out.dtype());
    let loss = (out * w).unwrap().sum_all().unwrap();
    flat(loss.backward().unwrap().get(path.as_tensor()).unwrap())
}

#[test]
fn values_and_gradients_equal_the_golden_numbers() {
    for (c, depth) in [(2, 6), (3, 5), (5, 4)] {
        for (dtype, name, tolerance) in [(DType::F32, "f32", 1e-5), (DType::F64, "f64", 1e-12)] {
            let file = format!("tests/fixtures/signature_c{c}_d{depth}_{name}.h5");
            let file = File::open(file).unwrap();
            for group in file.groups().unwrap() {
                let read = |name: &str| group.dataset(name).unwrap().read_raw::<f64>().unwrap();
                let shape = group.dataset("path").unwrap().shape();
                let path = tensor(&read("path"), &shape, dtype);
                let ops: [(Tested, &str); 3] = [
                    (("sig", &|p| signature(p, depth).unwrap()), "sig"),
                    (
                        ("expand", &|p| {
                            log_signature(p, depth, Basis::Expand).unwrap()
                        }),
                        "logsig_expand",
                    ),
                    (
                        ("words", &|p| log_signature(p, depth, Basis::Words).unwrap()),
                        "logsig_words",
                    ),
                ];
                for ((op, f), dataset) in ops {
                    let value = error(&flat(&f(&path)), &read(dataset));
                    let ours = gradient(f, &path, &read(&format!("w_{op}")));
                    let slope = error(&ours, &read(&format!("grad_{op}")));
                    let place = format!("{} {op} {name}", group.name());
                    println!("c {c} d {depth} {place}: {value:.1e}, gradient {slope:.1e}");
                    assert!(value <= tolerance, "{place}: {value:e}");
                    assert!(slope <= tolerance, "{place}, gradient: {slope:e}");
                }
            }
        }
    }
}

#[test]
fn shallow_log_signatures_are_the_beginning_of_deep_ones() {
    let file = File::open("tests/fixtures/signature_c5_d4_f64.h5").unwrap();
    let group = file.group("random_L25").unwrap();
    let shape = group.dataset("path").unwrap().shape();
    let path = group.dataset("path").unwrap().read_raw::<f64>().unwrap();
    let path = tensor(&path, &shape, DType::F64);
    let deep = group.dataset("logsig_words").unwrap();
    let (terms, deep) = (deep.shape()[1], deep.read_raw::<f64>().unwrap());
    for depth in 1..=4 {
        let n = words::lyndon_terms(5, depth).unwrap();
        let ours = log_signature(&path, depth, Basis::Words).unwrap();
        let begin: Vec<f64> = deep
            .chunks(terms)
            .flat_map(|row| &row[..n])
            .copied()
            .collect();
        assert!(error(&flat(&ours), &begin) < 1e-13);
    }
}

/// The two ways to a log-signature at Lyndon words: blocks of matrix products, and the series.
#[test]
fn blocked_and_general_log_signatures_agree() {
    for (c, points) in [(1, 5), (2, 9), (7, 1), (7, 2), (13, 40), (40, 130)] {
        for depth in 1..=3 {
            let path = tensor(&walk(2, points, c, 7), &[2, points, c], DType::F64);
            let positions = words::lyndon_positions(c, depth);
            let index: Vec<u32> = positions.iter().map(|&p| p as u32).collect();
            let index = Tensor::new(index, &Device::Cpu).unwrap();
            let blocked = |p: &Tensor| log_signature(p, depth, Basis::Words).unwrap();
            let general = |p: &Tensor| {
                let all = log_signature(p, depth, Basis::Expand).unwrap();
                all.index_select(&index, 1).unwrap()
            };
            let (a, b) = (flat(&blocked(&path)), flat(&general(&path)));
            assert!(error(&a, &b) < 1e-12, "c {c}, depth {depth}");
            let w = random(a.len(), 3);
            let (a, b) = (gradient(&blocked, &path, &w), gradient(&general, &path, &w));
            assert!(
                error(&a, &b) < 1e-12,
                "c {c}, depth {depth}: {}",
                error(&a, &b)
            );
        }
    }
}

#[test]
fn gradients_equal_finite_differences() {
    let (batch, points) = (2, 6);
    for (c, depth) in [(1, 3), (2, 1), (3, 2), (3, 3), (2, 5)] {
        let ops: [Tested; 3] = [
            ("signature", &|p| signature(p, depth).unwrap()),
            ("expand", &|p| {
                log_signature(p, depth, Basis::Expand).unwrap()
            }),
            ("words", &|p| log_signature(p, depth, Basis::Words).unwrap()),
        ];
        for (name, f) in ops {
            let values = walk(batch, points, c, 5);
            let at = |v: &[f64]| tensor(v, &[batch, points, c], DType::F64);
            let terms = f(&at(&values)).elem_count();
            let w = random(terms, 9);
            let ours = gradient(f, &at(&values), &w);
            let sum =
                |v: &[f64]| -> f64 { flat(&f(&at(v))).iter().zip(&w).map(|(a, b)| a * b).sum() };
            let h = 1e-5;
            let differences: Vec<f64> = (0..values.len())
                .map(|i| {
                    let (mut up, mut down) = (values.clone(), values.clone());
                    up[i] += h;
                    down[i] -= h;
                    (sum(&up) - sum(&down)) / (2.0 * h)
                })
                .collect();
            let e = error(&ours, &differences);
            assert!(e < 1e-7, "{name}, c {c}, depth {depth}: {e:e}");
        }
    }
}

/// The product of two signatures with their scalar 1 left out.
fn multiply(a: &[f64], b: &[f64], c: usize, depth: usize) -> Vec<f64> {
    let at = words::offsets(c, depth);
    let mut out: Vec<f64> = a.iter().zip(b).map(|(a, b)| a + b).collect();
    for m in 2..=depth {
        for i in 1..m {
            let (left, right) = (&a[at[i - 1]..at[i]], &b[at[m - i - 1]..at[m - i]]);
            for (u, x) in left.iter().enumerate() {
                for (v, y) in right.iter().enumerate() {
                    out[at[m - 1] + u * right.len() + v] += x * y;
                }
            }
        }
    }
    out
}

#[test]
fn chen_identity() {
    let (c, depth, points, cut) = (3, 5, 80, 47);
    let path = walk(1, points, c, 21);
    let of = |from: usize, to: usize| {
        let part = tensor(&path[from * c..to * c], &[1, to - from, c], DType::F64);
        flat(&signature(&part, depth).unwrap())
    };
    let joined = multiply(&of(0, cut + 1), &of(cut, points), c, depth);
    assert!(error(&joined, &of(0, points)) < 1e-13);
}

/// All interleavings of two words.
fn shuffles(u: &[usize], v: &[usize]) -> Vec<Vec<usize>> {
    match (u.split_last(), v.split_last()) {
        (None, _) => vec![v.to_vec()],
        (_, None) => vec![u.to_vec()],
        (Some((a, rest_u)), Some((b, rest_v))) => {
            let with = |words: Vec<Vec<usize>>, letter: usize| {
                words.into_iter().map(move |mut w| {
                    w.push(letter);
                    w
                })
            };
            with(shuffles(rest_u, v), *a)
                .chain(with(shuffles(u, rest_v), *b))
                .collect()
        }
    }
}

/// The product of two terms is the sum over the shuffles of their words.
#[test]
fn shuffle_identity() {
    let (c, depth) = (3, 5);
    let path = tensor(&walk(1, 30, c, 4), &[1, 30, c], DType::F64);
    let s = flat(&signature(&path, depth).unwrap());
    let at = words::offsets(c, depth);
    let term = |w: &[usize]| s[at[w.len() - 1] + w.iter().fold(0, |i, l| i * c + l)];
    for (u, v) in [
        (vec![0], vec![1]),
        (vec![2, 2], vec![2, 2]),
        (vec![0, 1], vec![2, 0]),
        (vec![1, 0, 2], vec![0, 1]),
        (vec![2], vec![0, 1, 1, 2]),
    ] {
        let sum: f64 = shuffles(&u, &v).iter().map(|w| term(w)).sum();
        let product = term(&u) * term(&v);
        assert!(
            (sum - product).abs() < 1e-11 * product.abs().max(1.0),
            "{u:?} {v:?}"
        );
    }
}

#[test]
fn invariant_to_speed_and_place_but_not_to_direction() {
    let (c, depth, points) = (4, 4, 20);
    let path = walk(1, points, c, 8);
    let of =
        |p: &[f64]| flat(&signature(&tensor(p, &[1, p.len() / c, c], DType::F64), depth).unwrap());
    let reference = of(&path);
    // Every point a different number of times, and points added on the segments.
    let mut slow = Vec::new();
    for (t, x) in path.chunks(c).enumerate() {
        if t > 0 {
            let before: Vec<f64> = slow[slow.len() - c..].to_vec();
            for k in 1..=t % 3 {
                let f = k as f64 / 4.0;
                slow.extend(before.iter().zip(x).map(|(a, b)| a + f * (b - a)));
            }
        }
        for _ in 0..1 + t % 4 {
            slow.extend(x);
        }
    }
    assert!(error(&of(&slow), &reference) < 1e-13);
    let moved: Vec<f64> = path
        .iter()
        .enumerate()
        .map(|(i, x)| x + 3.0 + (i % c) as f64)
        .collect();
    assert!(error(&of(&moved), &reference) < 1e-13);
    // Back the same way: the inverse.
    let back: Vec<f64> = path.chunks(c).rev().flatten().copied().collect();
    let identity = multiply(&reference, &of(&back), c, depth);
    assert!(error(&identity, &vec![0.0; identity.len()]) < 1e-9);
    assert!(error(&of(&back), &reference) > 0.1);
}

#[test]
fn a_line_has_the_exponential_of_its_increment() {
    let (c, depth) = (3, 4);
    let path = tensor(&[0.0, 0.0, 0.0, 1.0, -2.0, 0.5], &[1, 2, c], DType::F64);
    let s = flat(&signature(&path, depth).unwrap());
    let dx = [1.0, -2.0, 0.5];
    let at = words::offsets(c, depth);
    let triple = s[at[2] + 9 + 3 * 2];
    assert!((triple - dx[1] * dx[2] * dx[0] / 6.0).abs() < 1e-15);
    let log = flat(&log_signature(&path, depth, Basis::Expand).unwrap());
    assert!(error(&log[..3], &dx) == 0.0);
    assert!(log[3..].iter().all(|x| x.abs() < 1e-15));
}

/// Rounding in f32 at length 1,000: values, and gradients by the reversed path.
#[test]
fn f32_stays_exact_on_long_paths() {
    for (c, depth) in [(2, 6), (4, 4), (10, 3), (10, 2)] {
        let values = walk(2, 1000, c, 3);
        // The same numbers in both types.
        let single = tensor(&values, &[2, 1000, c], DType::F32);
        let double = single.to_dtype(DType::F64).unwrap();
        let ops: [Tested; 2] = [
            ("signature", &|p| signature(p, depth).unwrap()),
            ("words", &|p| log_signature(p, depth, Basis::Words).unwrap()),
        ];
        for (name, f) in ops {
            let reference = flat(&f(&double));
            let e = error(&flat(&f(&single)), &reference);
            let w = random(reference.len(), 2);
            let g = error(&gradient(f, &single, &w), &gradient(f, &double, &w));
            println!("c {c} depth {depth} {name}: {e:.1e}, gradient {g:.1e}");
            assert!(e < 5e-6, "{name}, c {c}, depth {depth}: {e:e}");
            assert!(g < 1e-5, "{name}, c {c}, depth {depth}, gradient: {g:e}");
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let path = tensor(&walk(9, 50, 6, 1), &[9, 50, 6], DType::F32);
    let f = |p: &Tensor| log_signature(p, 4, Basis::Words).unwrap();
    let w = random(flat(&f(&path)).len(), 2);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| (flat(&f(&path)), gradient(&f, &path, &w)))
    };
    let one = with(1);
    assert!(one == with(2) && one == with(5));
}

#[test]
fn impossible_requests_are_refused() {
    let path = tensor(&walk(1, 3, 2, 1), &[1, 3, 2], DType::F32);
    assert!(signature(&path, 0).is_err());
    assert!(
        signature(&path, 80)
            .unwrap_err()
            .to_string()
            .contains("too long")
    );
    assert!(log_signature(&path, 0, Basis::Words).is_err());
    assert!(signature(&path.squeeze(0).unwrap(), 2).is_err());
    assert!(signature(&path.narrow(1, 0, 0).unwrap(), 2).is_err());
    assert!(signature(&path.to_dtype(DType::U8).unwrap(), 2).is_err());
}
