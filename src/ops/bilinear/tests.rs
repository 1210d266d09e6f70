use super::*;
use candle_core::{Device, Var};

/// More rows than one block, and no whole number of lanes.
const SIZES: [usize; 5] = [70, 3, 2, 19, 5];

fn numbers(shape: &[usize], step: f64) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f64> = (0..count).map(|i| (i as f64 * step).sin()).collect();
    let values = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
    Var::from_tensor(&values).unwrap().into_inner()
}

fn values(t: &Tensor) -> Vec<f64> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn results_and_gradients_equal_those_of_products_of_matrices() {
    let [rows, c, l, i, o] = SIZES;
    let (a, s) = (numbers(&[rows, c, l], 0.37), numbers(&[rows, l, i], 0.71));
    let w = numbers(&[o, c * i], 1.3);
    let of = numbers(&[rows, o], 0.11).detach();
    let own = bilinear(&a.clone().into(), &s.clone().into(), &w).unwrap();
    let products = a.matmul(&s).unwrap().reshape((rows, c * i)).unwrap();
    let plain = products.matmul(&w.t().unwrap()).unwrap();
    let [own, plain] = [own.value, plain].map(|y| {
        let store = (&y * &of).unwrap().sum_all().unwrap().backward().unwrap();
        let gradients = [&a, &s, &w].map(|v| values(store.get(v).unwrap()));
        [vec![values(&y)], gradients.to_vec()].concat()
    });
    for (own, plain) in own.iter().zip(&plain) {
        assert_eq!(own.len(), plain.len());
        let apart = own.iter().zip(plain).map(|(a, b)| (a - b).abs());
        assert!(apart.fold(0.0, f64::max) < 1e-11);
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let [rows, c, l, i, o] = SIZES;
    let a = Dual::from(numbers(&[rows, c, l], 0.37));
    let s = Dual::from(numbers(&[rows, l + 1, i], 0.71));
    let w = numbers(&[o, c * i], 1.3);
    assert!(bilinear(&a, &s, &w).is_err());
    let s = Dual::from(numbers(&[rows, l, i], 0.71));
    assert!(bilinear(&a, &s, &numbers(&[o, c], 1.3)).is_err());
    assert!(bilinear(&a, &s, &w).is_ok());
}
