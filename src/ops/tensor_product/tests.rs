use super::*;
use crate::ops::adapter::{Adapter, Apply};
use crate::ops::form::Derivative;
use crate::ops::segment::Ends;
use crate::so3::blocks::{Blocks, Irrep, paths};
use candle_core::{DType, Device, Tensor, Var};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const PLACES: [Place; 4] = [Place::Receiver, Place::Sender, Place::Edge, Place::Pair];

fn incidence() -> Arc<Incidence> {
    // Receiver 1 has no edge, sender 4 none, and edges 2 and 3 join the same rows.
    let ends = |rows, count| Ends { rows, count };
    let receivers = ends(&[0, 0, 2, 2, 3, 3, 3], 4);
    let senders = ends(&[1, 3, 0, 0, 2, 1, 3], 5);
    Incidence::in_pairs(receivers, senders, &[0, 2, 1, 6, 4, 5, 3]).unwrap()
}

/// More channels than lanes, and fewer; two blocks of one irrep.
fn left() -> Blocks {
    let vectors = Irrep::natural(1);
    [
        Irrep::SCALAR.of(18),
        vectors.of(3),
        vectors.of(16),
        Irrep::even(2).of(5),
    ]
    .into_iter()
    .collect()
}

fn random(seed: u64, dims: [usize; 2]) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f64> = (0..dims[0] * dims[1])
        .map(|_| rng.random_range(-1.0..1.0))
        .collect();
    Tensor::from_vec(values, dims.as_slice(), &Device::Cpu).unwrap()
}

fn values(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64)
        .and_then(|t| t.flatten_all()?.to_vec1())
        .unwrap()
}

/// The form term by term, and its derivatives by all arguments.
fn naive(plan: &Plan, edges: &Incidence, places: [Place; 4], all: &[Vec<f64>]) -> [Vec<f64>; 4] {
    let mut out: [Vec<f64>; 4] = std::array::from_fn(|a| match all.get(a) {
        Some(values) => vec![0.0; values.len()],
        None => vec![],
    });
    for edge in 0..edges.len() {
        for c in &plan.couplings {
            for (term, u) in c
                .terms
                .iter()
                .flat_map(|t| (0..c.channels).map(move |u| (t, u)))
            {
                let at = |a: usize| {
                    let row = match places[a] {
                        Place::Receiver => edges.receivers()[edge] as usize,
                        Place::Sender => edges.senders()[edge] as usize,
                        Place::Edge => edge,
                        Place::Pair => [0, 1, 1, 2, 3, 4, 2][edge],
                    };
                    let in_block = match a {
                        WEIGHTS => u,
                        RIGHT if c.right_channels == 1 => term.at[a],
                        _ => term.at[a] * c.channels + u,
                    };
                    row * plan.widths()[a] + c.starts[a] + in_block
                };
                for by in 0..all.len() {
                    let others = (0..all.len()).filter(|&a| a != by);
                    out[by][at(by)] += others.map(|a| all[a][at(a)]).product::<f64>() * term.factor;
                }
            }
        }
    }
    out
}

/// Checks the op and its gradients against the definition.
fn check<const N: usize>(plan: &Arc<Plan>, places: [Place; 4], dtype: DType, tolerance: f64)
where
    Adapter<Derivative<TensorProduct>, N>: Apply<N>,
{
    let edges = incidence();
    let dims = |a: usize| [edges.rows(places[a]), plan.widths()[a]];
    let all: Vec<Tensor> = (0..=N).map(|a| random(a as u64, dims(a))).collect();
    let expected = naive(
        plan,
        &edges,
        places,
        &all.iter().map(values).collect::<Vec<_>>(),
    );
    let inputs: [Tensor; N] = std::array::from_fn(|k| {
        let tensor = all[k + usize::from(k >= OUT)].to_dtype(dtype).unwrap();
        Var::from_tensor(&tensor).unwrap().into_inner()
    });
    let form = TensorProduct::new(plan, &edges, places);
    let out = multiply(form, inputs.each_ref()).unwrap();
    let close = |own: &Tensor, a: usize| {
        for (x, y) in values(own).iter().zip(&expected[a]) {
            assert!((x - y).abs() < tolerance, "{places:?} by {a}: {x} for {y}");
        }
    };
    close(&out, OUT);
    let loss = (out * all[OUT].to_dtype(dtype).unwrap()).unwrap();
    let store = loss.sum_all().unwrap().backward().unwrap();
    for (k, input) in inputs.iter().enumerate() {
        close(store.get(input).unwrap(), k + usize::from(k >= OUT));
    }
}

#[test]
fn products_and_their_gradients_equal_the_definition() {
    let right = Blocks::harmonics(2, false);
    let all = paths(&left(), &right, |irrep| irrep.l < 3);
    let plan = Arc::new(Plan::new(&left(), &right, &all, |irrep| irrep));
    for places in PLACES
        .iter()
        .flat_map(|&a| PLACES.map(|out| [a, Place::Edge, out, Place::Edge]))
    {
        check::<2>(&plan, places, DType::F64, 1e-12);
        check::<3>(&plan, places, DType::F64, 1e-12);
        check::<3>(&plan, places, DType::F32, 1e-5);
    }
    for weights in [Place::Sender, Place::Pair] {
        let places = [Place::Edge, Place::Receiver, Place::Edge, weights];
        check::<3>(&plan, places, DType::F64, 1e-12);
    }
}

#[test]
fn channel_by_channel() {
    let right: Blocks = [
        Irrep::SCALAR.of(18),
        Irrep::natural(1).of(3),
        Irrep::natural(1).of(16),
    ]
    .into_iter()
    .collect();
    let mut fitting = paths(&left(), &right, |_| true);
    fitting.retain(|p| left()[p.left].channels == right[p.right].channels);
    assert!(fitting.len() > 5);
    let plan = Arc::new(Plan::new(&left(), &right, &fitting, |_| ()));
    for places in PLACES.map(|out| [Place::Edge, Place::Receiver, out, out]) {
        check::<2>(&plan, places, DType::F64, 1e-12);
    }
    let [x, y, w] =
        [left().dim(), right.dim(), plan.weights()].map(|width| Dual::from(random(1, [7, width])));
    let at = |dual| At(Place::Edge, dual);
    let told = weighted_product(&plan, &incidence(), [at(&x), at(&y), at(&w)], Place::Edge);
    assert!(told.unwrap_err().to_string().contains("with channels"));
}

#[test]
fn the_tangent_is_the_derivative_along_it() {
    const STEP: f64 = 1e-5;
    let right = Blocks::harmonics(1, false);
    let all = paths(&left(), &right, |irrep| irrep.l < 3);
    let plan = Arc::new(Plan::new(&left(), &right, &all, |irrep| irrep));
    let edges = incidence();
    let [x, y, w] = [left().dim(), right.dim(), plan.weights()]
        .map(|width| Dual::new(random(1, [7, width]), random(2, [7, width])));
    let out = |x: &Dual, y: &Dual, w: &Dual| {
        let at = |dual| At(Place::Edge, dual);
        weighted_product(&plan, &edges, [at(x), at(y), at(w)], Place::Receiver).unwrap()
    };
    let moved = |step: f64| {
        let at = |d: &Dual| {
            let tangent = d.tangent.as_ref().unwrap();
            Dual::from((&d.value + (tangent * step).unwrap()).unwrap())
        };
        values(&out(&at(&x), &at(&y), &at(&w)).value)
    };
    let tangent = values(&out(&x, &y, &w).tangent.unwrap());
    for ((t, a), b) in tangent.iter().zip(moved(STEP)).zip(moved(-STEP)) {
        assert!((t - (a - b) / (2.0 * STEP)).abs() < 1e-8);
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let right = Blocks::harmonics(1, false);
    let all = paths(&left(), &right, |_| true);
    let plan = Arc::new(Plan::new(&left(), &right, &all, |_| ()));
    let [x, y] = [[5, left().dim()], [7, 3]].map(|dims| Dual::from(random(1, dims)));
    let [left, right] = [At(Place::Sender, &x), At(Place::Edge, &y)];
    let told = product(&plan, &incidence(), left, right, Place::Receiver).unwrap_err();
    assert!(
        told.to_string()
            .contains("argument 1 is [7, 3], not [7, 4]"),
        "{told}"
    );
}
