//! What networks of atoms are made of against formulas and differences: radial bases, cutoffs, the
//! geometry of edges, messages, readouts.

use super::*;
use crate::ops::dual::Dual;
use crate::ops::pointwise::Functions;
use crate::ops::segment::{Ends, Incidence, Place};
use candle_core::{Device, Tensor};
use std::f64::consts::PI;
use std::sync::Arc;

/// Derivatives of an order of all functions at one place.
fn at<F: Functions>(f: &F, order: usize, x: f64) -> Vec<f64> {
    let mut out = vec![0.0; f.count()];
    f.evaluate(order, &[x], &mut out);
    out
}

#[track_caller]
fn close(a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{a} for {b}");
    }
}

/// Derivatives against differences, and single precision against double.
fn check_derivatives<F: Functions>(f: &F, places: &[f64]) {
    const STEP: f64 = 1e-5;
    for &x in places {
        for order in 1..=F::HIGHEST {
            let (after, before) = (at(f, order - 1, x + STEP), at(f, order - 1, x - STEP));
            let slopes: Vec<_> = after
                .iter()
                .zip(before)
                .map(|(a, b)| (a - b) / (2.0 * STEP))
                .collect();
            close(&at(f, order, x), &slopes, 1e-7);
        }
        for order in 0..=F::HIGHEST {
            let mut single = vec![0f32; f.count()];
            f.evaluate(order, &[x as f32], &mut single);
            let single: Vec<_> = single.into_iter().map(f64::from).collect();
            close(&single, &at(f, order, f64::from(x as f32)), 5e-6);
        }
    }
}

#[test]
fn gaussians() {
    let f = Gaussians::new(6.0, 4);
    let formula = |x: f64| [0.0, 2.0, 4.0, 6.0].map(|mu| (-(x - mu) * (x - mu) / 8.0).exp());
    for x in [0.3, 1.0, 2.0, 5.9] {
        close(&at(&f, 0, x), &formula(x), 1e-15);
    }
    check_derivatives(&f, &[0.3, 1.0, 2.0, 5.9]);
}

#[test]
fn far_gaussians_are_zero_and_never_denormal() {
    let f = Gaussians::new(10.0, 51);
    for order in 0..3 {
        let mut out = vec![0f32; 51];
        f.evaluate(order, &[0.9], &mut out);
        assert!(out.iter().all(|v| *v == 0.0 || v.is_normal()));
        assert_eq!(out[50], 0.0);
    }
}

#[test]
fn bessel() {
    let f = Bessel::new(5.0, 6);
    for x in [0.7f64, 2.5, 4.9] {
        let n = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let formula = n.map(|n| 0.4f64.sqrt() * (n * PI * x / 5.0).sin() / x);
        close(&at(&f, 0, x), &formula, 1e-14);
    }
    check_derivatives(&f, &[0.7, 2.5, 4.9]);
}

#[test]
fn spherical_bessel() {
    let f = SphericalBessel::new(5.0, 7, 6);
    // The norms are of zeros that are rounded; at the cutoff all functions are zero.
    close(&at(&f, 0, 5.0), &[0.0; 42], 3e-6);
    for x in [0.7f64, 2.5, 4.9] {
        let (values, y) = (at(&f, 0, x), PI * x / 5.0);
        // j_0(pi) = 0 and j_1(pi) = 1 / pi.
        close(&values[..1], &[2f64.sqrt() * PI * y.sin() / y], 1e-6);
        // The first zero of j_1 is 4.4934, where j_2 = -j_0.
        let z = 4.493_409_457_909_064f64;
        let y = z * x / 5.0;
        let norm = 2f64.sqrt() / (z.sin() / z).abs();
        close(&values[6..7], &[norm * (y.sin() / y - y.cos()) / y], 1e-6);
    }
    check_derivatives(&f, &[0.1, 0.7, 1.3, 2.5, 4.9]);
}

#[test]
fn spherical_bessel_functions_of_small_arguments_are_not_lost() {
    let f = SphericalBessel::new(5.0, 7, 1);
    let [near, nearer] = [1e-3, 5e-4].map(|x| at(&f, 0, x));
    for l in 0..7 {
        let ratio = near[l] / nearer[l];
        assert!(
            (ratio / 2f64.powi(l as i32) - 1.0).abs() < 1e-5,
            "{l}: {ratio}"
        );
    }
    let mut single = [0f32; 7];
    f.evaluate(0, &[1e-7], &mut single);
    assert!(single.iter().all(|v| *v == 0.0 || v.is_normal()));
}

#[test]
fn zonal_harmonics() {
    let f = AngularPolynomials::zonal(7);
    for x in [-1.0f64, -0.3, 0.6, 1.0] {
        let norm = |l: f64| ((2.0 * l + 1.0) / (4.0 * PI)).sqrt();
        let own = at(&f, 0, x);
        let expected = [norm(0.0), norm(1.0) * x, norm(2.0) * (1.5 * x * x - 0.5)];
        close(&own[..3], &expected, 1e-14);
        let sixth = (231.0 * x.powi(6) - 315.0 * x.powi(4) + 105.0 * x * x - 5.0) / 16.0;
        close(&own[6..], &[norm(6.0) * sixth], 1e-14);
    }
    check_derivatives(&f, &[-0.9, -0.3, 0.6, 0.99]);
}

#[test]
fn tesseral_harmonics() {
    let (theta, phi) = (0.7f64, 2.1f64);
    let direction = [
        theta.sin() * phi.cos(),
        theta.sin() * phi.sin(),
        theta.cos(),
    ];
    let [x, y, z] = direction.map(|c| Dual::from(Tensor::new(&[c], &Device::Cpu).unwrap()));
    let polynomials = Arc::new(AngularPolynomials::associated(6));
    check_derivatives(&*polynomials, &[-0.9, 0.3]);
    let own = values(&tesseral(&polynomials, 6, [&x, &y, &z]).unwrap().value);
    // sqrt(2) N_11 P_1^1 cos phi with P_1^1 = -sin theta, and so on.
    let norm = |c: f64| (c / PI).sqrt();
    let [s, c] = [theta.sin(), theta.cos()];
    let expected = [
        norm(0.25),
        norm(0.75) * c,
        -norm(0.75) * s * phi.cos(),
        -norm(0.75) * s * phi.sin(),
        norm(5.0 / 16.0) * (3.0 * c * c - 1.0),
        -norm(15.0 / 4.0) * s * c * phi.cos(),
        norm(15.0 / 16.0) * s * s * (2.0 * phi).cos(),
        norm(15.0 / 16.0) * s * s * (2.0 * phi).sin(),
        -norm(15.0 / 4.0) * s * c * phi.sin(),
    ];
    close(&own[..9], &expected, 1e-14);
    // The sum of the squares of a degree does not depend on the direction.
    for l in 0..6 {
        let sum: f64 = own[l * l..(l + 1) * (l + 1)].iter().map(|y| y * y).sum();
        close(&[sum], &[(2 * l + 1) as f64 / (4.0 * PI)], 1e-13);
    }
}

#[test]
fn cutoffs_start_at_one_and_end_at_zero() {
    for shape in [
        CutoffShape::Cosine,
        CutoffShape::Polynomial(2),
        CutoffShape::Polynomial(6),
    ] {
        let f = Cutoff { shape, radius: 5.0 };
        close(&at(&f, 0, 0.0), &[1.0], 1e-15);
        close(&at(&f, 1, 0.0), &[0.0], 1e-15);
        check_derivatives(&f, &[0.5, 2.5, 4.0, 6.0]);
        let smooth = if shape == CutoffShape::Cosine { 2 } else { 3 };
        for order in 0..smooth {
            close(&at(&f, order, 5.0 - 1e-9), &[0.0], 1e-8);
            assert_eq!(at(&f, order, 5.0), [0.0]);
        }
    }
    let half = |shape| at(&Cutoff { shape, radius: 5.0 }, 0, 2.5);
    close(&half(CutoffShape::Cosine), &[0.5], 1e-15);
    close(
        &half(CutoffShape::Polynomial(6)),
        &[1.0 - 28.0 / 64.0 + 48.0 / 128.0 - 21.0 / 256.0],
        1e-15,
    );
}

fn tensor<const N: usize>(rows: &[[f64; N]]) -> Tensor {
    Tensor::from_slice(rows.as_flattened(), (rows.len(), N), &Device::Cpu).unwrap()
}

fn values(t: &Tensor) -> Vec<f64> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

/// Atoms 1 and 2 send to atom 0, atom 0 to atom 2.
fn edges() -> Arc<Incidence> {
    let ends = |rows| Ends { rows, count: 3 };
    Incidence::new(ends(&[0, 0, 2]), ends(&[1, 2, 0])).unwrap()
}

#[test]
fn geometry_and_its_tangent() {
    let positions = tensor(&[[0.0; 3], [3.0, 4.0, 0.0], [0.0, 0.0, 2.0]]);
    let moves = tensor(&[[0.5, 0.0, 0.0], [0.0; 3], [0.1, 0.2, 0.3]]);
    let at = |step: f64| {
        let moved = (&positions + (&moves * step).unwrap()).unwrap();
        Geometry::new(&edges(), differences(&edges(), &moved).unwrap().into()).unwrap()
    };
    assert_eq!(values(&at(0.0).distances.value), [5.0, 2.0, 2.0]);
    let directions = at(0.0).directions().unwrap();
    let expected = [0.6, 0.8, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, -1.0];
    close(&values(&directions.value), &expected, 1e-15);
    assert!(directions.tangent.is_none());
    const STEP: f64 = 1e-6;
    let tangent = differences(&edges(), &moves).unwrap();
    let vectors = Dual::new(at(0.0).vectors.value, tangent);
    let own = Geometry::new(&edges(), vectors).unwrap();
    let slope = |f: &dyn Fn(&Geometry) -> Tensor| -> Vec<f64> {
        values(&((f(&at(STEP)) - f(&at(-STEP))).unwrap() / (2.0 * STEP)).unwrap())
    };
    let distances = slope(&|g| g.distances.value.clone());
    close(
        &values(own.distances.tangent.as_ref().unwrap()),
        &distances,
        1e-9,
    );
    let directions = slope(&|g| g.directions().unwrap().value);
    close(
        &values(&own.directions().unwrap().tangent.unwrap()),
        &directions,
        1e-9,
    );
    let bessel = Basis::Bessel.functions(6.0, 3);
    let radial = slope(&|g| g.radial(&bessel).unwrap().value);
    close(
        &values(&own.radial(&bessel).unwrap().tangent.unwrap()),
        &radial,
        1e-8,
    );
}

#[test]
fn pairs_have_the_first_edges_geometry() {
    // Atoms 0 and 1 see each other, and atom 2 sees atom 1.
    let ends = |rows| Ends { rows, count: 3 };
    let both = Incidence::in_pairs(ends(&[0, 1, 2]), ends(&[1, 0, 1]), &[1, 0, 2]).unwrap();
    let positions = tensor(&[[0.0; 3], [3.0, 4.0, 0.0], [3.0, 4.0, 2.0]]);
    let vectors = differences(&both, &positions).unwrap();
    let pairs = Geometry::new(&both, Dual::new(vectors.clone(), vectors)).unwrap();
    let pairs = pairs.pairs().unwrap();
    assert_eq!(values(&pairs.distances.value), [5.0, 2.0]);
    assert_eq!(values(&pairs.distances.tangent.unwrap()), [5.0, 2.0]);
    assert_eq!(
        values(&pairs.vectors.value),
        [3.0, 4.0, 0.0, 0.0, 0.0, -2.0]
    );
    assert_eq!(pairs.edges.receivers(), [0, 2]);
}

#[test]
fn forces_are_the_transpose_of_differences() {
    let (x, g) = (
        tensor(&[[1.0, 2.0, 3.0], [4.0, 5.0, 7.0], [8.0, 9.0, 11.0]]),
        tensor(&[[0.5, -1.0, 2.0], [1.5, 0.25, -3.0], [2.5, 1.0, 0.5]]),
    );
    let inner = |a: &Tensor, b: &Tensor| values(&(a * b).unwrap().sum_all().unwrap())[0];
    let along = inner(&differences(&edges(), &x).unwrap(), &g);
    assert_eq!(along, -inner(&forces(&edges(), &g).unwrap(), &x));
}

#[test]
fn messages() {
    let x: Dual = tensor(&[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).into();
    let filter: Dual = tensor(&[[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]).into();
    let envelope: Dual = Tensor::new(&[0.5, 1.0, 2.0], &Device::Cpu).unwrap().into();
    let sums = convolve(&edges(), &x, &filter, &envelope).unwrap();
    assert_eq!(
        values(&sums.value),
        [1.5 + 10.0, 20.0 + 120.0, 0.0, 0.0, 6.0, 120.0]
    );
    let vectors: Dual = tensor(&[[1.0, 0.0, -1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).into();
    let along = convolve_along(&edges(), &x, &filter, &vectors).unwrap();
    let atom = [3.0, 40.0, 10.0, 120.0, -3.0, -40.0];
    assert_eq!(values(&along.value)[..6], atom);
    let turned = convolve_vectors(&edges(), &along, &filter, &envelope).unwrap();
    let expected: Vec<f64> = atom
        .chunks(2)
        .flat_map(|c| [6.0 * c[0], 60.0 * c[1]])
        .collect();
    assert_eq!(values(&turned.value)[12..], expected);
}

#[test]
fn readouts_of_graphs_with_and_without_atoms() {
    let graphs = Incidence::groups(Ends {
        rows: &[0, 0, 2],
        count: 3,
    })
    .unwrap();
    let x: Dual = tensor(&[[1.0, 2.0], [3.0, 5.0], [7.0, 8.0]]).into();
    let read = |readout: Readout| values(&readout.forward(&x, &graphs).unwrap().value);
    assert_eq!(read(Readout::Sum), [4.0, 7.0, 0.0, 0.0, 7.0, 8.0]);
    assert_eq!(read(Readout::Mean), [2.0, 3.5, 0.0, 0.0, 7.0, 8.0]);
    let told = Readout::Max.forward(&x, &graphs).unwrap_err().to_string();
    assert!(told.contains("the largest of no atoms, graph 1"), "{told}");
}

#[test]
fn the_largest_of_each_channel_and_its_tangent() {
    let groups = |rows, count| Incidence::groups(Ends { rows, count }).unwrap();
    let graphs = groups(&[0, 0, 0, 1], 2);
    let x = tensor(&[[1.0, -5.0], [3.0, -7.0], [3.0, -6.0], [-1.0, 4.0]]);
    let t = tensor(&[[10.0, 11.0], [20.0, 21.0], [30.0, 31.0], [40.0, 41.0]]);
    let largest = Readout::Max.forward(&Dual::new(x, t), &graphs).unwrap();
    assert_eq!(values(&largest.value), [3.0, -5.0, -1.0, 4.0]);
    // Of equal ones the first counts.
    assert_eq!(values(&largest.tangent.unwrap()), [20.0, 11.0, 40.0, 41.0]);
}

#[test]
fn attention_is_shared_at_either_end() {
    let ends = |rows| Ends { rows, count: 3 };
    let edges = Incidence::new(ends(&[0, 0, 1, 1, 2]), ends(&[1, 2, 2, 0, 1])).unwrap();
    // As large as would overflow.
    let scores = [0.3, -1.0, 900.0, 902.0, 0.5];
    let all = tensor(&scores.map(|s| [s]));
    for (over, rows) in [
        (Place::Receiver, edges.receivers()),
        (Place::Sender, edges.senders()),
    ] {
        let shares = edge_softmax(&edges, over, &all.clone().into(), None).unwrap();
        let share = |e: usize| -> f64 {
            let own = (0..rows.len()).filter(|&o| rows[o] == rows[e]);
            1.0 / own.map(|o| (scores[o] - scores[e]).exp()).sum::<f64>()
        };
        let expected: Vec<f64> = (0..rows.len()).map(share).collect();
        close(&values(&shares.value), &expected, 1e-12);
    }
}
