use super::*;
use candle_core::{DType, Device, Var};

fn tensor(values: &[f64], dtype: DType) -> Tensor {
    Tensor::new(values, &Device::Cpu)
        .unwrap()
        .to_dtype(dtype)
        .unwrap()
}

fn to_vec(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

const POINTS: [f64; 10] = [-700.0, -30.0, -3.0, -0.7, -1e-3, 0.0, 0.4, 2.0, 20.0, 700.0];

fn check<F: Functions>(f: F, formula: impl Fn(f64) -> f64) {
    check_at(f, &POINTS, formula);
}

/// Checks values against a formula, and each derivative against differences of the one before.
fn check_at<F: Functions>(f: F, points: &[f64], formula: impl Fn(f64) -> f64) {
    let f = Arc::new(f);
    for (dtype, tolerance) in [(DType::F64, 1e-14), (DType::F32, 3e-7)] {
        let own = to_vec(&values(&f, &tensor(points, dtype)).unwrap());
        for (own, x) in own.into_iter().zip(points.iter().copied()) {
            let expected = formula(x);
            assert!(
                (own - expected).abs() <= tolerance * (1.0 + expected.abs()),
                "{x}: {own} for {expected}"
            );
        }
    }
    const STEP: f64 = 1e-5;
    for order in 1..=F::HIGHEST {
        let at = |order, shift: f64, dtype| {
            let shifted: Vec<f64> = points.iter().map(|x| x + shift).collect();
            to_vec(&derivatives(&f, order, &tensor(&shifted, dtype)).unwrap())
        };
        let below = |shift| at(order - 1, shift, DType::F64);
        let slopes = below(STEP)
            .into_iter()
            .zip(below(-STEP))
            .map(|(p, m)| (p - m) / (2.0 * STEP));
        let [double, single] = [DType::F64, DType::F32].map(|dtype| at(order, 0.0, dtype));
        for (k, slope) in slopes.enumerate() {
            // Rounding of large values limits the difference.
            let tolerance = 1e-9 + 1e-11 * points[k].abs();
            assert!(
                (double[k] - slope).abs() < tolerance,
                "order {order} at {}: {} for {slope}",
                points[k],
                double[k]
            );
            assert!(
                (single[k] - double[k]).abs() < 1e-6,
                "order {order} at {} in f32",
                points[k]
            );
        }
    }
}

#[test]
fn silu_and_its_derivatives() {
    check(Silu, |x| x / (1.0 + (-x).exp()));
}

#[test]
fn tanh_and_its_derivatives() {
    check(Tanh, f64::tanh);
}

#[test]
fn elu_and_its_derivatives() {
    // Its slope has a step at 0, where differences say nothing.
    let below = POINTS.iter().filter(|x| **x != 0.0).copied();
    check_at(Elu, &below.collect::<Vec<_>>(), |x| {
        if x > 0.0 { x } else { x.exp_m1() }
    });
    let at_zero =
        |order| to_vec(&derivatives(&Arc::new(Elu), order, &tensor(&[0.0], DType::F64)).unwrap());
    assert_eq!([at_zero(0), at_zero(1)], [[0.0], [1.0]]);
}

#[test]
fn tanh_and_elu_keep_all_digits_near_zero() {
    for k in -60..0 {
        let x = 1.3f64.powi(k);
        let x = tensor(&[x, -x], DType::F64);
        let [t, e] =
            [values(&Arc::new(Tanh), &x), values(&Arc::new(Elu), &x)].map(|y| to_vec(&y.unwrap()));
        for (i, x) in to_vec(&x).into_iter().enumerate() {
            assert!((t[i] / x.tanh() - 1.0).abs() < 1e-15, "tanh {x}");
            let exact = if x > 0.0 { x } else { x.exp_m1() };
            assert!((e[i] / exact - 1.0).abs() < 1e-15, "ELU {x}");
        }
    }
}

#[test]
fn shifted_softplus_and_its_derivatives() {
    check(ShiftedSoftplus, |x| {
        x.max(0.0) + (-x.abs()).exp().ln_1p() - 2f64.ln()
    });
}

/// `x^1, x^2, x^3`.
struct Powers;

impl Functions for Powers {
    const NAME: &'static str = "the powers";
    const HIGHEST: usize = 2;

    fn count(&self) -> usize {
        3
    }

    fn evaluate<T: Real>(&self, order: usize, x: &[T], out: &mut [T]) {
        for (out, x) in out.chunks_exact_mut(3).zip(x) {
            let x = x.to_f64();
            let powers = match order {
                0 => [x, x * x, x * x * x],
                1 => [1.0, 2.0 * x, 3.0 * x * x],
                _ => [0.0, 2.0, 6.0 * x],
            };
            out.copy_from_slice(&powers.map(T::from_f64));
        }
    }
}

#[test]
fn gradients_of_values_and_slopes() {
    let f = Arc::new(Powers);
    let var = |v: &[f64]| {
        Var::from_tensor(&tensor(v, DType::F64))
            .unwrap()
            .into_inner()
    };
    let (x, t) = (var(&[2.0, -1.0]), var(&[3.0, 5.0]));
    let weights = Tensor::new(&[[1f64, 10.0, 100.0], [2.0, 20.0, 200.0]], &Device::Cpu).unwrap();
    let weighted = |y: Tensor| (y * &weights).unwrap().sum_all().unwrap();
    let store = weighted(values(&f, &x).unwrap()).backward().unwrap();
    assert_eq!(
        to_vec(store.get(&x).unwrap()),
        [1.0 + 40.0 + 1200.0, 2.0 - 40.0 + 600.0]
    );
    let slopes = slopes(&f, &x, &t).unwrap();
    assert_eq!(to_vec(&slopes), [3.0, 12.0, 36.0, 5.0, -10.0, 15.0]);
    let store = weighted(slopes).backward().unwrap();
    assert_eq!(
        to_vec(store.get(&x).unwrap()),
        [3.0 * 1220.0, 5.0 * (40.0 - 1200.0)]
    );
    assert_eq!(
        to_vec(store.get(&t).unwrap()),
        [1.0 + 40.0 + 1200.0, 2.0 - 40.0 + 600.0]
    );
}

#[test]
fn a_derivative_that_is_not_known_is_an_error_that_names_the_function() {
    let f = Arc::new(Powers);
    let x = Var::from_tensor(&tensor(&[1.0], DType::F64))
        .unwrap()
        .into_inner();
    let told = derivatives(&f, 3, &x).unwrap_err().to_string();
    assert!(
        told.contains("the powers: no derivative of order 3"),
        "{told}"
    );
    let third = derivatives(&f, 2, &x)
        .unwrap()
        .sum_all()
        .unwrap()
        .backward();
    let told = third.unwrap_err().to_string();
    assert!(
        told.contains("the powers: no derivative of order 3"),
        "{told}"
    );
}
