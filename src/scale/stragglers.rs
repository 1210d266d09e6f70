//! Waiting for the slowest: the expected maximum of the ranks' times.
//!
//! A step's computing time on a rank is its median times exp(sigma Z), Z standard normal; all
//! ranks wait for the largest of them.

/// How much longer than the median the slowest of `n` ranks takes, on average:
/// E max_i exp(sigma Z_i), by a sum over the distribution of the maximum, Phi(z)^n.
pub fn slowest(n: usize, sigma: f64) -> f64 {
    mean_of_maximum(n, |z| (sigma * z).exp())
}

/// E f(max of n standard normal numbers).
fn mean_of_maximum(n: usize, f: impl Fn(f64) -> f64) -> f64 {
    const CELLS: usize = 4000;
    const REACH: f64 = 10.0;
    let width = 2.0 * REACH / CELLS as f64;
    let at = |i: usize| -REACH + i as f64 * width;
    let density = |z: f64| (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
    // Mass of each cell by Simpson's rule, summed from the nearer end: small tails stay exact.
    let mass = |i: usize| {
        let (a, b) = (at(i), at(i + 1));
        width / 6.0 * (density(a) + 4.0 * density(0.5 * (a + b)) + density(b))
    };
    let mut tail = vec![0.0; CELLS / 2 + 1];
    for i in 0..CELLS / 2 {
        tail[i + 1] = tail[i] + mass(i);
    }
    // Phi(at(i))^n.
    let below = |i: usize| match i <= CELLS / 2 {
        true => tail[i].powf(n as f64),
        false => (n as f64 * (-tail[CELLS - i]).ln_1p()).exp(),
    };
    let mut sum = 0.0;
    let mut before = below(0);
    for i in 0..CELLS {
        let after = below(i + 1);
        sum += f(0.5 * (at(i) + at(i + 1))) * (after - before);
        before = after;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Means of the largest of n normal numbers: 1/sqrt(pi) and 3/(2 sqrt(pi)) exactly, the rest
    /// from Harter (1961).
    #[test]
    fn the_normal_maximum_has_its_known_mean() {
        let pi = std::f64::consts::PI;
        for (n, mean) in [
            (1, 0.0),
            (2, 1.0 / pi.sqrt()),
            (3, 1.5 / pi.sqrt()),
            (10, 1.53875),
            (100, 2.50759),
        ] {
            let found = mean_of_maximum(n, |z| z);
            assert!((found - mean).abs() < 2e-5, "{n}: {found}, {mean}");
        }
    }

    #[test]
    fn one_rank_has_the_lognormal_mean_and_more_wait_longer() {
        for sigma in [0.0, 0.03, 0.5] {
            assert!((slowest(1, sigma) - (0.5f64 * sigma * sigma).exp()).abs() < 1e-5);
        }
        let ranks = [1, 2, 3, 8, 64, 4096, 1_000_000];
        let times = ranks.map(|n| slowest(n, 0.05));
        assert!(times.is_sorted() && times[0] < times[6], "{times:?}");
        assert!(ranks.iter().all(|&n| (slowest(n, 0.0) - 1.0).abs() < 1e-12));
    }
}
