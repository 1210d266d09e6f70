//! Bases of a distance and an angle: spherical Bessel functions times spherical harmonics
//! (Gasteiger et al., ICLR 2020, eq. 6).

use crate::ops::cpu::Real;
use crate::ops::dual::Dual;
use crate::ops::pointwise::Functions;
use candle_core::Result;
use std::f64::consts::PI;
use std::sync::Arc;

/// `b_ln(d) = sqrt(2) / |j_(l+1)(z_ln)| j_l(z_ln d / cutoff)` for `l < degrees`, `1 <= n <= radial`,
/// at index `l radial + n - 1`; `z_ln` is the `n`-th positive zero of `j_l`, rounded to single
/// precision as in the released networks.
#[derive(Debug, Clone, PartialEq)]
pub struct SphericalBessel {
    cutoff: f64,
    /// Degree, zero and norm of each function.
    functions: Vec<(usize, f64, f64)>,
}

impl SphericalBessel {
    /// Functions on `[0, cutoff]`, Å.
    pub fn new(cutoff: f64, degrees: usize, radial: usize) -> Self {
        Self::of_values(cutoff, degrees, radial, |l, z| bessel(l, z)[1])
    }

    /// [`SphericalBessel::new`] with norms of Bessel functions that are computed in single precision,
    /// as in the released ProNet: relative differences of 1e-7.
    pub fn single(cutoff: f64, degrees: usize, radial: usize) -> Self {
        let above = |l: usize, z: f64| {
            let z = z as f32;
            let [sin, cos] = [f64::from(z).sin() as f32, f64::from(z).cos() as f32];
            let (mut last, mut next) = (sin / z, sin / (z * z) - cos / z);
            for k in 1..=l {
                (last, next) = (next, (2 * k + 1) as f32 / z * next - last);
            }
            f64::from(next)
        };
        Self::of_values(cutoff, degrees, radial, above)
    }

    /// Functions whose norms are of `j_(l+1)(z)` as `above` has it.
    fn of_values(
        cutoff: f64,
        degrees: usize,
        radial: usize,
        above: impl Fn(usize, f64) -> f64,
    ) -> Self {
        let zeros = zeros(degrees, radial);
        let function = |(l, z): (usize, f64)| {
            let z = f64::from(z as f32);
            (l, z, 2f64.sqrt() / above(l, z).abs())
        };
        let all = (0..)
            .zip(zeros)
            .flat_map(|(l, zeros)| zeros.into_iter().map(move |z| (l, z)));
        Self {
            cutoff,
            functions: all.map(function).collect(),
        }
    }
}

/// `j_l(x)` and `j_(l+1)(x)`, `x >= 0`, to about 1e-15 absolutely and relatively for small `x`.
fn bessel(l: usize, x: f64) -> [f64; 2] {
    // Upwards the recurrence is stable as long as the argument is above the degree.
    if x < l as f64 + 1.0 {
        return [series(l, x), series(l + 1, x)];
    }
    let (sin, cos) = x.sin_cos();
    let (mut last, mut next) = (sin / x, (sin / x - cos) / x);
    for k in 1..=l {
        (last, next) = (next, (2 * k + 1) as f64 / x * next - last);
    }
    [last, next]
}

/// `j_l(x) = x^l / (2l+1)!! sum_k (-x^2/2)^k / (k! (2l+3) (2l+5) .. (2l+2k+1))`.
fn series(l: usize, x: f64) -> f64 {
    let mut term: f64 = (1..=l).map(|k| x / (2 * k + 1) as f64).product();
    let mut sum = term;
    for k in 1..60 {
        term *= -0.5 * x * x / (k * (2 * l + 2 * k + 1)) as f64;
        sum += term;
        if term.abs() <= 1e-17 * sum.abs() {
            break;
        }
    }
    sum
}

/// The first `radial` positive zeros of `j_l` for each degree: one lies between two neighbors of
/// the degree before.
fn zeros(degrees: usize, radial: usize) -> Vec<Vec<f64>> {
    let mut zeros: Vec<f64> = (1..radial + degrees).map(|n| n as f64 * PI).collect();
    let mut all = Vec::new();
    for l in 0..degrees {
        if l > 0 {
            zeros = zeros.windows(2).map(|w| root(l, w[0], w[1])).collect();
        }
        all.push(zeros[..radial].to_vec());
    }
    all
}

/// The zero of `j_l` in an interval, by halving it.
fn root(l: usize, mut low: f64, mut high: f64) -> f64 {
    let sign = bessel(l, low)[0].signum();
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        match bessel(l, middle)[0].signum() == sign {
            true => low = middle,
            false => high = middle,
        }
    }
    0.5 * (low + high)
}

impl Functions for SphericalBessel {
    const NAME: &'static str = "the spherical Bessel basis";
    const HIGHEST: usize = 2;

    fn count(&self) -> usize {
        self.functions.len()
    }

    fn evaluate<T: Real>(&self, order: usize, x: &[T], out: &mut [T]) {
        for (out, &d) in out.chunks_exact_mut(self.count()).zip(x) {
            for (out, &(l, z, norm)) in out.iter_mut().zip(&self.functions) {
                let k = z / self.cutoff;
                let x = k * d.to_f64();
                let degree = l as f64;
                let [value, above] = bessel(l, x);
                // j' = l j / x - j_(l+1), and x^2 j'' + 2 x j' + (x^2 - l (l + 1)) j = 0.
                let slope = degree / x * value - above;
                let value = norm
                    * match order {
                        0 => value,
                        1 => k * slope,
                        _ => {
                            let square = degree * (degree + 1.0) / (x * x) - 1.0;
                            k * k * (square * value - 2.0 / x * slope)
                        }
                    };
                *out = T::from_f64(if value.abs() < 1e-30 { 0.0 } else { value });
            }
        }
    }
}

/// Polynomials of the cosine of an angle, as they occur in spherical harmonics.
#[derive(Debug, Clone, PartialEq)]
pub struct AngularPolynomials(Vec<Polynomial>);

/// Coefficients of 1, x, x^2, ..
type Polynomial = Vec<f64>;

impl AngularPolynomials {
    /// `Y_l = sqrt((2l + 1) / 4 pi) P_l(x)`, `l < degrees`: harmonics that do not depend on the
    /// other angle.
    pub fn zonal(degrees: usize) -> Self {
        let norm = |l: usize| ((2 * l + 1) as f64 / (4.0 * PI)).sqrt();
        let legendre = legendre(degrees).into_iter().enumerate();
        Self(legendre.map(|(l, p)| scaled(&p, norm(l))).collect())
    }

    /// What harmonics `Y_lm` have besides `sin^|m| theta` and the cosine or sine of `m phi`: of
    /// degree `l`, in the order `m = 0, 1, .., l, -l, .., -1`,
    /// `(-1)^m sqrt((2 - [m = 0]) (2l + 1) / 4 pi (l - |m|)! / (l + |m|)!) d^|m| P_l / dx^|m|`.
    pub fn associated(degrees: usize) -> Self {
        let mut all = Vec::new();
        for (l, p) in legendre(degrees).into_iter().enumerate() {
            for m in orders(l) {
                let m = m.unsigned_abs();
                let factorials: f64 = (l - m + 1..=l + m).map(|k| k as f64).product();
                let sign = if m % 2 == 0 { 1.0 } else { -1.0 };
                let twice = if m == 0 { 1.0 } else { 2.0 };
                let norm = (twice * (2 * l + 1) as f64 / (4.0 * PI) / factorials).sqrt();
                all.push(scaled(&derivative(&p, m), sign * norm));
            }
        }
        Self(all)
    }
}

/// Orders of a degree in the order of [`AngularPolynomials::associated`].
fn orders(l: usize) -> impl Iterator<Item = isize> {
    let l = l as isize;
    (0..=l).chain(-l..0)
}

/// `P_l` of the first degrees, by Bonnet's recurrence.
fn legendre(degrees: usize) -> Vec<Polynomial> {
    let mut all: Vec<Polynomial> = vec![vec![1.0], vec![0.0, 1.0]];
    for l in 1..degrees {
        let (n, mut next) = (l as f64, vec![0.0; l + 2]);
        for (k, c) in all[l].iter().enumerate() {
            next[k + 1] += (2.0 * n + 1.0) / (n + 1.0) * c;
        }
        for (k, c) in all[l - 1].iter().enumerate() {
            next[k] -= n / (n + 1.0) * c;
        }
        all.push(next);
    }
    all.truncate(degrees);
    all
}

fn scaled(p: &[f64], factor: f64) -> Polynomial {
    p.iter().map(|c| factor * c).collect()
}

fn derivative(p: &[f64], order: usize) -> Polynomial {
    let falling = |k: usize| (0..order).map(|i| (k - i) as f64).product::<f64>();
    let terms = p.iter().enumerate().skip(order);
    terms.map(|(k, c)| c * falling(k)).collect()
}

impl Functions for AngularPolynomials {
    const NAME: &'static str = "polynomials of an angle's cosine";
    const HIGHEST: usize = 2;

    fn count(&self) -> usize {
        self.0.len()
    }

    fn evaluate<T: Real>(&self, order: usize, x: &[T], out: &mut [T]) {
        let polynomials: Vec<Vec<T>> = (self.0.iter())
            .map(|p| derivative(p, order).into_iter().map(T::from_f64).collect())
            .collect();
        for (out, &x) in out.chunks_exact_mut(self.count()).zip(x) {
            for (out, p) in out.iter_mut().zip(&polynomials) {
                *out = p.iter().rfold(T::zero(), |sum, &c| sum * x + c);
            }
        }
    }
}

/// Spherical harmonics of directions `(x, y, z)`, `[T]` each, in the order and with the norms of
/// [`AngularPolynomials::associated`], of which `polynomials` are: `[T, degrees^2]`. With
/// `x + i y = sin theta e^(i phi)` they are regular at the poles.
///
/// # Errors
/// Those of candle.
pub fn tesseral(
    polynomials: &Arc<AngularPolynomials>,
    degrees: usize,
    [x, y, z]: [&Dual; 3],
) -> Result<Dual> {
    let latitudes = z.apply(polynomials)?;
    // Real and imaginary parts of (x + i y)^m.
    let one = Dual::from(x.value.ones_like()?);
    let zero = Dual::from(x.value.zeros_like()?);
    let mut powers = vec![[one, zero]];
    for m in 1..degrees {
        let [re, im] = &powers[m - 1];
        let next = [re.mul(x)?.sub(&im.mul(y)?)?, re.mul(y)?.add(&im.mul(x)?)?];
        powers.push(next);
    }
    let columns = (0..degrees).flat_map(orders).map(|m| {
        let power = &powers[m.unsigned_abs()][usize::from(m < 0)];
        power.linear(|x| x.unsqueeze(1))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let longitudes = Dual::cat(&columns.iter().collect::<Vec<_>>(), 1)?;
    latitudes.mul(&longitudes)
}
