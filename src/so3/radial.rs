//! 3D Zernike radial polynomials.
//!
//! With `k = (n - l) / 2`, `n - l` even, the published code evaluates
//!
//! ```text
//! R_nl(rho) = (-1)^k sqrt(2n + 3) B 2F1(-k, (n + l + 3)/2; l + 3/2; rho^2) rho^l
//! ```
//!
//! which is `sqrt(2n + 3) rho^l P_k^(0, l + 1/2)(2 rho^2 - 1)` with the Jacobi polynomial `P_k` when
//! `B` is the true binomial (H-(V)AE paper, eq. A.7): then the functions of one degree are
//! orthonormal on the unit ball, `int_0^1 R_nl R_n'l rho^2 drho = delta_nn'`. The three-term
//! recurrence of the Jacobi polynomials is stable on the whole interval.

use super::irreps::radial_orders;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The binomial factor `B` of the radial polynomials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Binomial {
    /// `C((n + l)/2, k)`: the published code and all published models. It damps high `n`.
    Published,
    /// `C((n + l + 1)/2, k)` by the gamma function: orthonormal polynomials.
    Exact,
}

impl Binomial {
    /// Its word in job files, options and attributes.
    pub fn name(self) -> &'static str {
        match self {
            Binomial::Published => "published",
            Binomial::Exact => "exact",
        }
    }
}

/// The radial polynomials of degrees `0..=lmax` and orders `n <= nmax`, as recurrences in
/// `k = (n - l) / 2`:
///
/// ```text
/// R_(l,l) = first_l rho^l
/// R_(l+2k,l) = (a rho^2 + b) R_(l+2k-2,l) - c R_(l+2k-4,l)
/// ```
#[derive(Debug, Clone)]
pub struct Radial {
    degrees: Vec<Degree>,
}

#[derive(Debug, Clone)]
struct Degree {
    first: f64,
    steps: Vec<[f64; 3]>,
}

impl Radial {
    /// `nmax >= lmax`, so that every degree has at least one order.
    pub fn new(lmax: usize, nmax: usize, binomial: Binomial) -> Self {
        let degrees = (0..=lmax)
            .map(|l| {
                let orders = radial_orders(nmax, l);
                let scale = |k: usize| {
                    let norm = ((2 * (l + 2 * k) + 3) as f64).sqrt();
                    match binomial {
                        Binomial::Published => norm * damping(l, k),
                        Binomial::Exact => norm,
                    }
                };
                let steps = (1..orders)
                    .map(|k| {
                        let [a, b, c] = jacobi_step(l, k);
                        let ratio = scale(k) / scale(k - 1);
                        let c = if k == 1 {
                            0.0
                        } else {
                            c * scale(k) / scale(k - 2)
                        };
                        [a * ratio, b * ratio, c]
                    })
                    .collect();
                Degree {
                    first: scale(0),
                    steps,
                }
            })
            .collect();
        Self { degrees }
    }

    /// The highest degree.
    pub fn lmax(&self) -> usize {
        self.degrees.len() - 1
    }

    /// Number of radial orders of degree `l`.
    pub fn orders(&self, l: usize) -> usize {
        self.degrees[l].steps.len() + 1
    }

    /// `first_l` of the recurrence.
    pub fn first(&self, l: usize) -> f64 {
        self.degrees[l].first
    }

    /// `[a, b, c]` of the recurrence of degree `l` for `k = 1, 2, ...`.
    pub fn steps(&self, l: usize) -> &[[f64; 3]] {
        &self.degrees[l].steps
    }

    /// All `R_nl(rho)`: `l` ascending, inside `l` `n` ascending.
    pub fn evaluate(&self, rho: f64) -> Vec<f64> {
        let square = rho * rho;
        let mut out = Vec::new();
        let mut power = 1.0;
        for degree in &self.degrees {
            let (mut before, mut last) = (0.0, degree.first * power);
            out.push(last);
            for [a, b, c] in &degree.steps {
                (before, last) = (last, (a * square + b) * last - c * before);
                out.push(last);
            }
            power *= rho;
        }
        out
    }
}

/// Published over exact polynomial of degree `l` and order `n = l + 2k`, a constant:
/// `C(l + k, k) / C(l + k + 1/2, k)`.
pub fn damping(l: usize, k: usize) -> f64 {
    (1..=k)
        .map(|i| (l + i) as f64 / ((l + i) as f64 + 0.5))
        .product()
}

/// `P_k^(0, beta)(2t - 1) = (a t + b) P_(k-1) - c P_(k-2)` with `beta = l + 1/2`.
fn jacobi_step(l: usize, k: usize) -> [f64; 3] {
    let (beta, k) = (l as f64 + 0.5, k as f64);
    let top = 2.0 * k + beta;
    let below = 2.0 * k * (k + beta) * (top - 2.0);
    let slope = (top - 1.0) * top * (top - 2.0) / below;
    let shift = (top - 1.0) * beta * beta / below;
    let c = 2.0 * (k - 1.0) * (k + beta - 1.0) * top / below;
    [2.0 * slope, -slope - shift, c]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Nodes and weights of Gauss-Legendre quadrature on [0, 1], by Newton's method.
    pub(crate) fn gauss(count: usize) -> Vec<(f64, f64)> {
        let legendre = |x: f64| {
            let (mut before, mut last) = (1.0, x);
            for k in 2..=count {
                let k = k as f64;
                (before, last) = (last, ((2.0 * k - 1.0) * x * last - (k - 1.0) * before) / k);
            }
            let slope = count as f64 * (before - x * last) / (1.0 - x * x);
            (last, slope)
        };
        (0..count)
            .map(|i| {
                let angle = std::f64::consts::PI * (i as f64 + 0.75) / (count as f64 + 0.5);
                let mut x = angle.cos();
                for _ in 0..20 {
                    let (p, slope) = legendre(x);
                    x -= p / slope;
                }
                let slope = legendre(x).1;
                (0.5 + 0.5 * x, 1.0 / ((1.0 - x * x) * slope * slope))
            })
            .collect()
    }

    #[test]
    fn exact_polynomials_are_orthonormal_to_order_40() {
        let radial = Radial::new(14, 40, Binomial::Exact);
        let nodes = gauss(44);
        let values: Vec<_> = nodes.iter().map(|&(rho, _)| radial.evaluate(rho)).collect();
        let mut at = 0;
        for l in 0..=14 {
            for i in 0..radial.orders(l) {
                for j in 0..=i {
                    let integral: f64 = nodes
                        .iter()
                        .zip(&values)
                        .map(|(&(rho, w), v)| w * rho * rho * v[at + i] * v[at + j])
                        .sum();
                    let expected = if i == j { 1.0 } else { 0.0 };
                    assert!(
                        (integral - expected).abs() < 1e-11,
                        "{l} {i} {j}: {integral}"
                    );
                }
            }
            at += radial.orders(l);
        }
    }

    #[test]
    fn published_polynomials_match_the_reference() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/b_zft.h5");
        let group = hdf5::File::open(path).unwrap().group("radial").unwrap();
        let read = |name: &str| -> Vec<f64> { group.dataset(name).unwrap().read_raw().unwrap() };
        let radii = read("r");
        for (binomial, name) in [
            (Binomial::Published, "R_floor_f64"),
            (Binomial::Exact, "R_correct_f64"),
        ] {
            let radial = Radial::new(8, 20, binomial);
            let expected = read(name);
            for (i, r) in radii.iter().enumerate() {
                let ours = radial.evaluate(r / 10.0);
                assert_eq!(ours.len(), 79);
                for (j, value) in ours.iter().enumerate() {
                    let expected = expected[j * radii.len() + i];
                    // The reference sums the hypergeometric series, which loses some digits.
                    assert!(
                        (value - expected).abs() < 1e-8,
                        "{name} {j} {r}: {value} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_rim_value_is_the_norm() {
        // P_k^(0, beta)(1) = 1, for every k.
        let radial = Radial::new(14, 40, Binomial::Exact);
        let mut values = radial.evaluate(1.0).into_iter();
        for l in 0..=14 {
            for n in (l..=40).step_by(2) {
                let norm = ((2 * n + 3) as f64).sqrt();
                assert!((values.next().unwrap() / norm - 1.0).abs() < 1e-12);
            }
        }
    }
}
