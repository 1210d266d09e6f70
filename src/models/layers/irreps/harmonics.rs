//! Spherical harmonics of the edges' directions.

use crate::models::layers::Geometry;
use crate::ops::dual::{At, Dual};
use crate::ops::segment::Place;
use crate::ops::tensor_product::{Plan, product};
use crate::so3::blocks::{Blocks, Irrep, Path};
use crate::so3::harmonics::harmonics;
use candle_core::Result;
use std::sync::Arc;

/// `Y_0 .. Y_lmax` of each edge's direction, from its receiver to its sender, `[E, (lmax + 1)^2]`:
/// component normalisation, in the order of [`crate::so3::harmonics`].
///
/// The harmonics of a degree are the product of those of the degree below and of degree 1, so that
/// tangents and gradients are those of products.
///
/// # Errors
/// Those of the product.
pub fn spherical_harmonics(geometry: &Geometry, lmax: usize) -> Result<Dual> {
    let first = geometry.directions()?.linear(|r| r * 3f64.sqrt())?;
    let ones = first.value.narrow(1, 0, 1)?.detach().ones_like()?;
    let mut all = vec![Dual::from(ones)];
    if lmax > 0 {
        all.push(first.clone());
    }
    for l in 2..=lmax {
        let at = |dual| At(Place::Edge, dual);
        let plan = Arc::new(raise(l));
        let next = product(
            &plan,
            &geometry.edges,
            at(&all[l - 1]),
            at(&first),
            Place::Edge,
        )?;
        let scale = scale(l);
        all.push(next.linear(|y| y * scale)?);
    }
    Dual::cat(&all.iter().collect::<Vec<_>>(), 1)
}

/// The product of harmonics of degrees `l - 1` and 1 to degree `l`.
fn raise(l: usize) -> Plan {
    let one = |l| [Irrep::natural(l).of(1)].into_iter().collect::<Blocks>();
    let path = Path {
        left: 0,
        right: 0,
        irrep: Irrep::natural(l),
    };
    Plan::new(&one(l - 1), &one(1), &[path], |_| ())
}

/// What that product is multiplied with to have the harmonics' norm and sign, found in one
/// direction.
fn scale(l: usize) -> f64 {
    const DIRECTION: [f64; 3] = [0.48, 0.6, 0.64];
    let y = harmonics(l, DIRECTION);
    let degree = |l: usize| &y[l * l..(l + 1) * (l + 1)];
    let made = raise(l).evaluate(degree(l - 1), degree(1));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(&made, degree(l)) / dot(&made, &made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::segment::{Ends, Incidence};
    use candle_core::{Device, Tensor, Var};

    fn geometry(vectors: Dual) -> Geometry {
        let rows: Vec<u32> = (0..vectors.value.dims()[0] as u32).collect();
        let ends = || Ends {
            rows: &rows,
            count: rows.len(),
        };
        Geometry::new(&Incidence::new(ends(), ends()).unwrap(), vectors).unwrap()
    }

    const VECTORS: [[f64; 3]; 4] = [
        [1.0, 0.2, -0.7],
        [0.0, 1.5, 0.0],
        [0.3, -2.0, 0.4],
        [-1.0, 0.0, 1e-3],
    ];

    #[test]
    fn harmonics_equal_their_recurrence() {
        let vectors = Tensor::new(&VECTORS, &Device::Cpu).unwrap();
        let own = spherical_harmonics(&geometry(vectors.into()), 5).unwrap();
        for (own, v) in own.value.to_vec2::<f64>().unwrap().iter().zip(VECTORS) {
            for (a, b) in own.iter().zip(harmonics(5, v)) {
                assert!((a - b).abs() < 1e-13, "{v:?}: {a} for {b}");
            }
        }
    }

    #[test]
    fn tangents_and_gradients_equal_differences() {
        const STEP: f64 = 1e-6;
        let device = &Device::Cpu;
        let tangent: [[f64; 3]; 4] = std::array::from_fn(|e| VECTORS[(e + 1) % 4]);
        let tensor = |rows: &[[f64; 3]; 4]| Tensor::new(rows, device).unwrap();
        let at = |vectors: Tensor| -> Vec<f64> {
            let y = spherical_harmonics(&geometry(vectors.into()), 3).unwrap();
            y.value.flatten_all().unwrap().to_vec1().unwrap()
        };
        let moved =
            |step: f64| at((tensor(&VECTORS) + (tensor(&tangent) * step).unwrap()).unwrap());
        let vectors = Var::from_tensor(&tensor(&VECTORS)).unwrap().into_inner();
        let own = spherical_harmonics(&geometry(Dual::new(vectors.clone(), tensor(&tangent))), 3);
        let own = own.unwrap();
        let change = own.tangent.unwrap().flatten_all().unwrap();
        let differences = moved(STEP).into_iter().zip(moved(-STEP));
        let differences: Vec<f64> = differences.map(|(a, b)| (a - b) / (2.0 * STEP)).collect();
        for (a, b) in change.to_vec1::<f64>().unwrap().iter().zip(&differences) {
            assert!((a - b).abs() < 1e-8, "{a} for {b}");
        }
        // The gradient of a weighted sum, along the tangent.
        let weights: Vec<f64> = (0..differences.len()).map(|i| (i as f64).sin()).collect();
        let expected: f64 = weights.iter().zip(&differences).map(|(w, d)| w * d).sum();
        let weights = Tensor::from_vec(weights, own.value.dims(), device).unwrap();
        let sum = (own.value * weights).unwrap().sum_all().unwrap();
        let store = sum.backward().unwrap();
        let along = (store.get(&vectors).unwrap() * tensor(&tangent)).unwrap();
        let along: f64 = along.sum_all().unwrap().to_scalar().unwrap();
        assert!((along - expected).abs() < 1e-7, "{along} for {expected}");
    }
}
