//! Tensors from seeds, and their values.

#![allow(dead_code)]

use candle_core::{DType, Device, Tensor};
use holosig::models::Parameters;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Numbers in [-1, 1] from a seed.
pub fn numbers(seed: u64, len: usize) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| 2.0 * rng.random::<f64>() - 1.0).collect()
}

pub fn tensor(seed: u64, shape: &[usize], dtype: DType) -> Tensor {
    let len = shape.iter().product();
    Tensor::from_vec(numbers(seed, len), shape, &Device::Cpu)
        .unwrap()
        .to_dtype(dtype)
        .unwrap()
}

pub fn values(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

/// The gradient of a scalar in flat order, in double precision; zero for a parameter that the
/// model declares unused.
pub fn gradient(parameters: &Parameters, objective: &Tensor) -> Vec<f64> {
    let store = objective.backward().unwrap();
    let mut all = Vec::with_capacity(parameters.len());
    for variable in parameters.variables() {
        match store.get(variable) {
            Some(gradient) => all.extend(values(gradient)),
            None => {
                let place = all.len()..all.len() + variable.elem_count();
                let entries = parameters.entries().iter();
                for entry in entries.filter(|e| place.contains(&e.offset)) {
                    let name = &entry.name;
                    assert!(
                        parameters.unused().any(|n| n == name),
                        "{name} has no gradient"
                    );
                }
                all.resize(place.end, 0.0);
            }
        }
    }
    all
}
