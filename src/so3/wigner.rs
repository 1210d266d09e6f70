//! Real Wigner 3j symbols and Wigner D matrices, stable to degree 14 and beyond.

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
