//! Real spherical harmonics with `y` as the polar axis, in component normalisation:
//! `sum_m Y_lm^2 = 2l + 1`, no Condon-Shortley phase.

/// All `Y_lm` of degrees `0..=lmax` in the direction of `v`, at index `l*l + l + m`. Degree 1 is
/// `sqrt(3) (x, y, z)`. `v` need not have unit length; the zero vector has no direction, and its
/// harmonics are zero but for `l = 0` (their average over all directions).
pub fn harmonics(lmax: usize, v: [f64; 3]) -> Vec<f64> {
    let norm = v.iter().map(|c| c * c).sum::<f64>().sqrt();
    if norm == 0.0 {
        let mut average = vec![0.0; (lmax + 1) * (lmax + 1)];
        average[0] = 1.0;
        return average;
    }
    Recurrence::new(lmax).evaluate(v.map(|c| c / norm))
}

/// Coefficients of the recurrence by which harmonics are evaluated, free of trigonometric calls
/// and regular on the poles:
///
/// ```text
/// Y_(m,m) + i Y_(m,-m) = diagonal_m (z + i x)^m
/// Y_(l,+-m) = a_lm y Y_(l-1,+-m) - b_lm Y_(l-2,+-m)      l > m
/// ```
pub struct Recurrence {
    lmax: usize,
    diagonal: Vec<f64>,
    steps: Vec<[f64; 2]>,
}

impl Recurrence {
    /// Harmonics of all degrees up to `lmax`.
    pub fn new(lmax: usize) -> Self {
        let mut norm = 1.0;
        let diagonal = (0..=lmax)
            .map(|m| {
                if m > 0 {
                    norm *= ((2 * m + 1) as f64 / (2 * m) as f64).sqrt();
                }
                if m == 0 { norm } else { norm * 2f64.sqrt() }
            })
            .collect();
        let steps = (0..=lmax)
            .flat_map(|l| (0..=l).map(move |m| (l, m)))
            .map(|(l, m)| if l == m { [0.0; 2] } else { step(l, m) })
            .collect();
        Self {
            lmax,
            diagonal,
            steps,
        }
    }

    /// The highest degree.
    pub fn lmax(&self) -> usize {
        self.lmax
    }

    /// Coefficient of `(z + i x)^m` in the harmonics of degree and order `m`.
    pub fn diagonal(&self, m: usize) -> f64 {
        self.diagonal[m]
    }

    /// `[a_lm, b_lm]` for `0 <= m < l`; `b` is zero when `l = m + 1`.
    pub fn step(&self, l: usize, m: usize) -> [f64; 2] {
        self.steps[l * (l + 1) / 2 + m]
    }

    /// All harmonics in the direction of the unit vector `(x, y, z)`.
    pub fn evaluate(&self, [x, y, z]: [f64; 3]) -> Vec<f64> {
        let mut out = vec![0.0; (self.lmax + 1).pow(2)];
        let mut power = (1.0, 0.0);
        for m in 0..=self.lmax {
            self.climb(m, m as isize, power.0, y, &mut out);
            if m > 0 {
                self.climb(m, -(m as isize), power.1, y, &mut out);
            }
            power = (power.0 * z - power.1 * x, power.0 * x + power.1 * z);
        }
        out
    }

    /// One order of all degrees, from `l = |m|` upwards.
    fn climb(&self, m: usize, order: isize, start: f64, y: f64, out: &mut [f64]) {
        let at = |l: usize| (l * l + l).wrapping_add_signed(order);
        let (mut before, mut last) = (0.0, self.diagonal[m] * start);
        out[at(m)] = last;
        for l in m + 1..=self.lmax {
            let [a, b] = self.step(l, m);
            (before, last) = (last, a * y * last - b * before);
            out[at(l)] = last;
        }
    }
}

/// The normalised associated Legendre recurrence.
fn step(l: usize, m: usize) -> [f64; 2] {
    let (l2, m2, k2) = ((l * l) as f64, (m * m) as f64, ((l - 1) * (l - 1)) as f64);
    let a = ((4.0 * l2 - 1.0) / (l2 - m2)).sqrt();
    let b = if l == m + 1 {
        0.0
    } else {
        a * ((k2 - m2) / (4.0 * k2 - 1.0)).sqrt()
    };
    [a, b]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::so3::rotation;

    #[test]
    fn harmonics_match_the_published_values() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/a_so3.h5");
        let file = hdf5::File::open(path).unwrap();
        let read = |name: &str| -> Vec<f64> { file.dataset(name).unwrap().read_raw().unwrap() };
        let (directions, expected) = (read("dirs_f64"), read("sh_component_f64"));
        for (v, expected) in directions.chunks(3).zip(expected.chunks(81)) {
            let ours = harmonics(8, [v[0], v[1], v[2]]);
            for (a, b) in ours.iter().zip(expected) {
                assert!((a - b).abs() < 1e-13, "{v:?}: {a} {b}");
            }
        }
    }

    #[test]
    fn component_normalisation_holds_to_degree_14_and_on_the_poles() {
        let mut directions: Vec<[f64; 3]> = (0..50).map(|s| rotation::random(s)[0]).collect();
        directions.extend([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0], [1e-300, 1.0, -1e-300]]);
        for v in directions {
            let y = harmonics(14, v);
            for l in 0..=14 {
                let sum: f64 = y[l * l..(l + 1) * (l + 1)].iter().map(|c| c * c).sum();
                assert!(
                    (sum / (2 * l + 1) as f64 - 1.0).abs() < 1e-13,
                    "{v:?} {l} {sum}"
                );
            }
        }
        let pole = harmonics(14, [0.0, 2.0, 0.0]);
        for l in 0..=14usize {
            for m in -(l as isize)..=l as isize {
                let expected = if m == 0 {
                    ((2 * l + 1) as f64).sqrt()
                } else {
                    0.0
                };
                let y = pole[(l * l + l).wrapping_add_signed(m)];
                assert!((y - expected).abs() < 1e-13);
            }
        }
    }

    #[test]
    fn addition_theorem_holds_to_degree_14() {
        // sum_m Y_lm(u) Y_lm(v) = (2l + 1) P_l(u . v), with P_l by Bonnet's recurrence.
        for seed in 0..20 {
            let r = rotation::random(seed);
            let (u, v) = (r[0], rotation::rotate(&rotation::random(seed + 100), r[1]));
            let cosine: f64 = (0..3).map(|i| u[i] * v[i]).sum();
            let (a, b) = (harmonics(14, u), harmonics(14, v));
            let (mut before, mut legendre) = (0.0, 1.0);
            for l in 0..=14 {
                let rows = l * l..(l + 1) * (l + 1);
                let sum: f64 = rows.map(|i| a[i] * b[i]).sum();
                let n = (2 * l + 1) as f64;
                assert!((sum - n * legendre).abs() < 1e-12 * n);
                let k = l as f64;
                (before, legendre) = (legendre, (n * cosine * legendre - k * before) / (k + 1.0));
            }
        }
    }

    #[test]
    fn the_zero_vector_keeps_degree_zero_only() {
        let y = harmonics(4, [0.0; 3]);
        assert_eq!(y[0], 1.0);
        assert!(y[1..].iter().all(|&c| c == 0.0));
    }
}
