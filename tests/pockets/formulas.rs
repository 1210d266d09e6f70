//! Scores and regressors against their definitions.

use holosig::downstream::regression::scores::{Scores, kendall};
use holosig::downstream::regression::{Fitted, Hyper, Samples};
use holosig::stats::ranks;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Ten numbers with ties.
fn samples(seed: u64, n: usize) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n)
        .map(|_| f64::from(rng.random_range(0..n as i32 / 2)))
        .collect()
}

#[test]
fn scores_are_what_their_definitions_say() {
    for n in [2, 5, 10, 41] {
        let (a, b) = (samples(n as u64, n), samples(100 + n as u64, n));
        // Kendall's τ-b over all pairs.
        let (mut sum, mut in_a, mut in_b) = (0.0, 0.0, 0.0);
        for i in 0..n {
            for j in 0..i {
                let sign = |x: f64| if x == 0.0 { 0.0 } else { x.signum() };
                let (x, y) = (sign(a[i] - a[j]), sign(b[i] - b[j]));
                sum += x * y;
                in_a += x * x;
                in_b += y * y;
            }
        }
        match kendall(&a, &b) {
            Some(tau) => assert!((tau - sum / f64::sqrt(in_a * in_b)).abs() < 1e-12),
            None => assert!(in_a * in_b == 0.0),
        }
        // A rank is one more than the number of smaller values, plus half the others of its size.
        for (i, rank) in ranks(&a).into_iter().enumerate() {
            let smaller = a.iter().filter(|v| **v < a[i]).count() as f64;
            let equal = a.iter().filter(|v| **v == a[i]).count() as f64;
            assert_eq!(rank, smaller + (equal + 1.0) / 2.0);
        }
    }
    let (a, b) = ([1.0, 2.0, 3.0, 10.0], [2.0, 1.0, 4.0, 9.0]);
    let scores = Scores::of(&a, &b);
    assert!((scores.rmsd - 1.0).abs() < 1e-12);
    // Spearman without ties: 1 - 6 Σd² / (n (n² - 1)).
    assert!((scores.spearman.unwrap() - (1.0 - 6.0 * 2.0 / 60.0)).abs() < 1e-12);
    assert_eq!(Scores::of(&[1.1; 4], &b).pearson, None);
}

/// Solves `a x = b` by elimination.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for k in 0..n {
        let pivot = (k..n)
            .max_by(|&i, &j| a[i][k].abs().total_cmp(&a[j][k].abs()))
            .unwrap();
        a.swap(k, pivot);
        b.swap(k, pivot);
        for i in k + 1..n {
            let factor = a[i][k] / a[k][k];
            let above = a[k].clone();
            a[i].iter_mut()
                .zip(above)
                .for_each(|(x, y)| *x -= factor * y);
            b[i] -= factor * b[k];
        }
    }
    for k in (0..n).rev() {
        b[k] = (b[k] - (k + 1..n).map(|j| a[k][j] * b[j]).sum::<f64>()) / a[k][k];
    }
    b
}

#[test]
fn ridge_solves_the_normal_equations() {
    normal_equations(30, 4, &[0.0, 3.0]);
    // More features than complexes.
    normal_equations(12, 20, &[3.0]);
}

fn normal_equations(n: usize, width: usize, penalties: &[f64]) {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let x: Vec<f64> = (0..n * width)
        .map(|i| (1 + i % width) as f64 * rng.random_range(-1.0..3.0))
        .collect();
    let y: Vec<f64> = (0..n)
        .map(|i| 2.0 + x[i * width] - 0.5 * x[i * width + 2] + rng.random_range(-0.1..0.1))
        .collect();
    let samples = Samples {
        rows: &x,
        width,
        labels: &y,
    };
    // Of standardised features and centred labels, by hand.
    let column = |j: usize| -> Vec<f64> {
        let values: Vec<f64> = x.iter().skip(j).step_by(width).copied().collect();
        let mean = values.iter().sum::<f64>() / n as f64;
        let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64).sqrt();
        values.iter().map(|v| (v - mean) / deviation).collect()
    };
    let columns: Vec<Vec<f64>> = (0..width).map(column).collect();
    let mean = y.iter().sum::<f64>() / n as f64;
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let centred: Vec<f64> = y.iter().map(|y| y - mean).collect();
    for &penalty in penalties {
        let hyper = match penalty {
            0.0 => Hyper::Linear,
            _ => Hyper::Ridge { penalty },
        };
        let matrix = (0..width)
            .map(|i| {
                (0..width)
                    .map(|j| dot(&columns[i], &columns[j]) + if i == j { penalty } else { 0.0 })
                    .collect()
            })
            .collect();
        let weights = solve(matrix, columns.iter().map(|c| dot(c, &centred)).collect());
        let expected: Vec<f64> = (0..n)
            .map(|i| mean + (0..width).map(|j| weights[j] * columns[j][i]).sum::<f64>())
            .collect();
        let predicted = Fitted::new(hyper, samples, 0)
            .unwrap()
            .predict(&x, n)
            .unwrap();
        for (p, e) in predicted.iter().zip(&expected) {
            assert!((p - e).abs() < 1e-9, "{hyper:?}: {p} {e}");
        }
    }
}

#[test]
fn neighbours_are_averaged() {
    let x = [0.0, 1.0, 2.0, 10.0, 11.0, 12.0];
    let y = [1.0, 2.0, 3.0, 7.0, 8.0, 9.0];
    let samples = Samples {
        rows: &x,
        width: 1,
        labels: &y,
    };
    let near = Fitted::new(
        Hyper::Knn {
            k: 3,
            by_distance: false,
        },
        samples,
        0,
    )
    .unwrap();
    let predicted = near.predict(&[1.1, 10.9], 2).unwrap();
    assert!(
        (predicted[0] - 2.0).abs() < 1e-9 && (predicted[1] - 8.0).abs() < 1e-9,
        "{predicted:?}"
    );
}
