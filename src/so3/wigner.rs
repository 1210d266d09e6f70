//! Real Wigner 3j symbols and Wigner D matrices, stable to degree 14 and beyond.

use super::irreps::Irreps;
use super::rotation::Matrix;

/// Real Wigner 3j symbol, row-major `[2 l1 + 1, 2 l2 + 1, 2 l3 + 1]` over `(m1, m2, m3)`, with
/// Frobenius norm 1 and the signs of e3nn: the complex Clebsch-Gordan coefficients taken to the
/// real basis. It is invariant under simultaneous rotation of its three indices.
///
/// # Panics
/// If `(l1, l2, l3)` breaks the triangle rule.
pub fn w3j(l1: usize, l2: usize, l3: usize) -> Vec<f64> {
    assert!(
        l1.abs_diff(l2) <= l3 && l3 <= l1 + l2,
        "no coupling of degrees {l1} and {l2} to {l3}"
    );
    let (n2, n3) = (2 * l2 + 1, 2 * l3 + 1);
    let mut tensor = vec![0.0; (2 * l1 + 1) * n2 * n3];
    let degrees = [l1, l2, l3].map(|l| l as i64);
    let [d1, d2, d3] = degrees;
    for m1 in -d1..=d1 {
        for m2 in (-d2).max(-d3 - m1)..=d2.min(d3 - m1) {
            let coupling = clebsch_gordan(degrees, m1, m2);
            for (r1, q1) in to_real(d1, m1) {
                for (r2, q2) in to_real(d2, m2) {
                    for (r3, q3) in to_real(d3, m1 + m2) {
                        let factor = times(times(q1, q2), (q3.0, -q3.1)).0;
                        let at = (index(d1, r1) * n2 + index(d2, r2)) * n3 + index(d3, r3);
                        tensor[at] += factor * coupling;
                    }
                }
            }
        }
    }
    let norm = tensor.iter().map(|c| c * c).sum::<f64>().sqrt();
    tensor.iter_mut().for_each(|c| *c /= norm);
    tensor
}

/// Wigner D matrices of degrees `0..=lmax` for the rotation matrix `r`, row-major `[2l + 1, 2l + 1]`:
/// `Y(R v) = D Y(v)`; a vector of coefficients transforms by the same `D`. `D` of degree 1 is `R`.
///
/// By the recurrence over degrees of Ivanic and Ruedenberg (J. Phys. Chem. 100, 6342 (1996), with the
/// corrections of 102, 9099 (1998)).
pub fn d_matrices(lmax: usize, r: &Matrix) -> Vec<Vec<f64>> {
    let mut degrees = vec![vec![1.0]];
    if lmax > 0 {
        degrees.push(r.concat());
    }
    for l in 2..=lmax as i64 {
        let step = Step {
            l,
            r,
            lower: &degrees[l as usize - 1],
        };
        degrees.push(
            (-l..=l)
                .flat_map(|m| (-l..=l).map(move |n| (m, n)))
                .map(|(m, n)| step.entry(m, n))
                .collect(),
        );
    }
    degrees
}

/// Coefficients `[n, dim]` in the published layout (per degree, channels by orders), each turned by
/// `r`.
pub fn turned(irreps: &Irreps, x: &[f64], r: &Matrix) -> Vec<f64> {
    let d = d_matrices(irreps.lmax(), r);
    let mut out = Vec::with_capacity(x.len());
    for signal in x.chunks_exact(irreps.dim()) {
        for (l, d) in d.iter().enumerate() {
            let start = irreps.offset(l);
            let orders = 2 * l + 1;
            for c in 0..irreps.channels(l) {
                let v = &signal[start + c * orders..start + (c + 1) * orders];
                let row = |row: &[f64]| row.iter().zip(v).map(|(a, b)| a * b).sum::<f64>();
                out.extend(d.chunks_exact(orders).map(row));
            }
        }
    }
    out
}

/// From degree `l - 1` to degree `l`.
struct Step<'a> {
    l: i64,
    r: &'a Matrix,
    lower: &'a [f64],
}

impl Step<'_> {
    /// Entry `(m, n)` as `u U + v V + w W` of the paper's tables 1 and 2.
    fn entry(&self, m: i64, n: i64) -> f64 {
        let l = self.l;
        let a = m.abs();
        let below = if n.abs() == l {
            2 * l * (2 * l - 1)
        } else {
            (l + n) * (l - n)
        } as f64;
        let root = |x: i64| (x as f64 / below).sqrt();
        let mut sum = 0.0;
        if a < l {
            sum += root((l + m) * (l - m)) * self.product(0, m, n);
        }
        if m == 0 {
            let v = root(2 * l * (l - 1)) / 2.0;
            sum -= v * (self.product(1, 1, n) + self.product(-1, -1, n));
            return sum;
        }
        let s = m.signum();
        let v = root((l + a - 1) * (l + a)) / 2.0;
        sum += v * match a {
            1 => std::f64::consts::SQRT_2 * self.product(s, 0, n),
            _ => self.product(1, m - s, n) - s as f64 * self.product(-1, s - m, n),
        };
        if a < l - 1 {
            let w = root((l - a - 1) * (l - a)) / 2.0;
            sum -= w * (self.product(1, m + s, n) + s as f64 * self.product(-1, -m - s, n));
        }
        sum
    }

    /// `P_i(mu, n)` of the paper: a row of `R` times a row of the lower degree.
    fn product(&self, i: i64, mu: i64, n: i64) -> f64 {
        let l = self.l;
        let row = self.r[(i + 1) as usize];
        let lower = |n: i64| self.lower[((mu + l - 1) * (2 * l - 1) + n + l - 1) as usize];
        if n == l {
            row[2] * lower(l - 1) - row[0] * lower(1 - l)
        } else if n == -l {
            row[2] * lower(1 - l) + row[0] * lower(l - 1)
        } else {
            row[1] * lower(n)
        }
    }
}

type Complex = (f64, f64);

fn times(a: Complex, b: Complex) -> Complex {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

fn index(l: i64, m: i64) -> usize {
    (l + m) as usize
}

/// The real orders that the complex harmonic `(l, m)` mixes, with their coefficients; the common
/// phase `(-i)^l` makes every 3j symbol real.
fn to_real(l: i64, m: i64) -> impl Iterator<Item = (i64, Complex)> {
    let half = std::f64::consts::FRAC_1_SQRT_2;
    let sign = if m % 2 == 0 { half } else { -half };
    let terms = match m.signum() {
        -1 => [(-m, (half, 0.0)), (m, (0.0, -half))],
        0 => [(0, (1.0, 0.0)), (0, (0.0, 0.0))],
        _ => [(m, (sign, 0.0)), (-m, (0.0, sign))],
    };
    let phase = [(1.0, 0.0), (0.0, -1.0), (-1.0, 0.0), (0.0, 1.0)][l as usize % 4];
    let used = if m == 0 { 1 } else { 2 };
    terms
        .into_iter()
        .take(used)
        .map(move |(r, q)| (r, times(phase, q)))
}

/// Clebsch-Gordan coefficient `<l1 m1 l2 m2 | l3 m1+m2>` up to a positive factor common to all
/// orders. Racah's alternating sum is taken over products of binomials in integers, so that no
/// digits cancel.
fn clebsch_gordan([l1, l2, l3]: [i64; 3], m1: i64, m2: i64) -> f64 {
    let sum: i128 = (0..=l1 + l2 - l3)
        .map(|k| {
            let term = binomial(l1 + l2 - l3, k)
                * binomial(l1 - l2 + l3, l1 - m1 - k)
                * binomial(l2 - l1 + l3, l2 + m2 - k);
            if k % 2 == 0 { term } else { -term }
        })
        .sum();
    let orders = [(l1, m1), (l2, m2), (l3, m1 + m2)];
    let weight: f64 = orders
        .iter()
        .map(|&(l, m)| binomial(2 * l, l - m) as f64)
        .product();
    sum as f64 / weight.sqrt()
}

fn binomial(n: i64, k: i64) -> i128 {
    if k < 0 || k > n {
        return 0;
    }
    (1..=k.min(n - k) as i128).fold(1, |b, i| b * (n as i128 - i + 1) / i)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::so3::{harmonics::harmonics, rotation};

    #[test]
    fn d_matches_the_published_matrices() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/a_so3.h5");
        let group = hdf5::File::open(path).unwrap().group("rot").unwrap();
        let read = |name: &str| -> Vec<f64> { group.dataset(name).unwrap().read_raw().unwrap() };
        for (i, r) in read("matrix").chunks(9).enumerate() {
            let r = std::array::from_fn(|row| std::array::from_fn(|c| r[3 * row + c]));
            for (l, ours) in d_matrices(6, &r).iter().enumerate() {
                let size = (2 * l + 1) * (2 * l + 1);
                let expected = &read(&format!("D{l}"))[i * size..(i + 1) * size];
                for (a, b) in ours.iter().zip(expected) {
                    assert!((a - b).abs() < 1e-6, "degree {l}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn d_rotates_harmonics_to_degree_14() {
        for seed in 0..20 {
            let (r, v) = (rotation::random(seed), rotation::random(seed + 50)[2]);
            let (turned, fixed) = (harmonics(14, rotation::rotate(&r, v)), harmonics(14, v));
            for (l, d) in d_matrices(14, &r).iter().enumerate() {
                let rows = l * l..(l + 1) * (l + 1);
                let mapped = apply(d, &fixed[rows.clone()]);
                for (a, b) in mapped.iter().zip(&turned[rows]) {
                    assert!((a - b).abs() < 1e-12, "degree {l}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn d_is_an_orthogonal_homomorphism_to_degree_14() {
        for seed in 0..5 {
            let (a, b) = (rotation::random(seed), rotation::random(seed + 10));
            let product = d_matrices(14, &rotation::compose(&a, &b));
            let (a, b) = (d_matrices(14, &a), d_matrices(14, &b));
            for l in 0..=14 {
                let n = 2 * l + 1;
                let column =
                    |d: &[f64], j: usize| -> Vec<f64> { (0..n).map(|i| d[i * n + j]).collect() };
                for j in 0..n {
                    let ours = apply(&a[l], &column(&b[l], j));
                    let expected = column(&product[l], j);
                    for (x, y) in ours.iter().zip(&expected) {
                        assert!((x - y).abs() < 1e-12, "degree {l}");
                    }
                    let norm: f64 = expected.iter().map(|c| c * c).sum();
                    assert!((norm - 1.0).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn w3j_is_invariant_under_rotation_to_degree_14() {
        let triples = [
            (1, 1, 1),
            (2, 3, 4),
            (6, 6, 5),
            (8, 7, 14),
            (14, 14, 14),
            (14, 13, 1),
        ];
        for (seed, (l1, l2, l3)) in triples.into_iter().enumerate() {
            let d = d_matrices(14, &rotation::random(seed as u64));
            let tensor = w3j(l1, l2, l3);
            // Rotating one index after another; each pass moves the last axis to the front.
            let mut turned = tensor.clone();
            for l in [l3, l2, l1] {
                let n = 2 * l + 1;
                let rows: Vec<Vec<f64>> = turned.chunks(n).map(|v| apply(&d[l], v)).collect();
                turned = (0..n)
                    .flat_map(|m| rows.iter().map(move |row| row[m]))
                    .collect();
            }
            for (a, b) in tensor.iter().zip(&turned) {
                assert!((a - b).abs() < 1e-13, "{l1} {l2} {l3}: {a} {b}");
            }
        }
    }

    fn apply(matrix: &[f64], v: &[f64]) -> Vec<f64> {
        let dot = |row: &[f64]| row.iter().zip(v).map(|(a, b)| a * b).sum();
        matrix.chunks(v.len()).map(dot).collect()
    }

    #[test]
    fn w3j_matches_the_published_tensors() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/a_so3.h5");
        let group = hdf5::File::open(path).unwrap().group("w3j").unwrap();
        let names = group.member_names().unwrap();
        assert_eq!(names.len(), 82);
        for name in names {
            let l: Vec<usize> = name.split('_').map(|s| s.parse().unwrap()).collect();
            let expected: Vec<f64> = group.dataset(&name).unwrap().read_raw().unwrap();
            let ours = w3j(l[0], l[1], l[2]);
            assert_eq!(ours.len(), expected.len());
            for (a, b) in ours.iter().zip(&expected) {
                assert!((a - b).abs() < 2e-7, "{name}: {a} {b}");
            }
        }
    }

    #[test]
    fn w3j_couplings_are_orthonormal() {
        // The couplings of (l1, l2) to all l3, scaled by sqrt(2 l3 + 1), form an orthogonal matrix.
        for (l1, l2) in [(0, 0), (1, 1), (4, 3), (7, 7), (14, 9), (14, 14)] {
            let rows = (2 * l1 + 1) * (2 * l2 + 1);
            let mut columns: Vec<Vec<f64>> = Vec::new();
            for l3 in usize::abs_diff(l1, l2)..=l1 + l2 {
                let (tensor, n3) = (w3j(l1, l2, l3), 2 * l3 + 1);
                let scale = (n3 as f64).sqrt();
                columns.extend(
                    (0..n3).map(|m| (0..rows).map(|r| tensor[r * n3 + m] * scale).collect()),
                );
            }
            assert_eq!(columns.len(), rows);
            for (i, a) in columns.iter().enumerate() {
                for (j, b) in columns
                    .iter()
                    .enumerate()
                    .take(i + 1)
                    .skip(i.saturating_sub(40))
                {
                    let dot: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                    let expected = if i == j { 1.0 } else { 0.0 };
                    assert!((dot - expected).abs() < 1e-12, "{l1} {l2}: {i} {j} {dot}");
                }
            }
        }
    }

    #[test]
    fn w3j_changes_sign_by_parity_when_swapped() {
        for (l1, l2, l3) in [(2, 1, 3), (2, 1, 2), (6, 4, 5), (14, 13, 14), (5, 5, 3)] {
            let (a, b) = (w3j(l1, l2, l3), w3j(l2, l1, l3));
            let sign = if (l1 + l2 + l3) % 2 == 0 { 1.0 } else { -1.0 };
            let (n1, n2, n3) = (2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1);
            for i in 0..n1 {
                for j in 0..n2 {
                    for k in 0..n3 {
                        let d = a[(i * n2 + j) * n3 + k] - sign * b[(j * n1 + i) * n3 + k];
                        assert!(d.abs() < 1e-14);
                    }
                }
            }
        }
    }
}
