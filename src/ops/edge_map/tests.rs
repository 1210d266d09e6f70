use super::*;
use crate::ops::segment::Ends;
use candle_core::{DType, Device, Var};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn random(seed: u64, dims: [usize; 2]) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let count = dims[0] * dims[1];
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn values(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64)
        .and_then(|t| t.flatten_all()?.to_vec1())
        .unwrap()
}

/// Edges of more than one block; row 3 sends nothing.
fn incidence() -> Arc<Incidence> {
    let receivers: Vec<u32> = (0..150).map(|e| e / 4).collect();
    let senders: Vec<u32> = (0..150u32).map(|e| (7 * e + e / 3) % 11).collect();
    let senders: Vec<u32> = senders
        .iter()
        .map(|s| if *s == 3 { 5 } else { *s })
        .collect();
    let ends = |rows, count| Ends { rows, count };
    Incidence::new(ends(&receivers, 40), ends(&senders, 11)).unwrap()
}

/// The form term by term: its derivatives by all arguments.
fn naive(form: &EdgeMap, all: &[Vec<f64>; 4]) -> [Vec<f64>; 4] {
    let mut out = all.each_ref().map(|values| vec![0.0; values.len()]);
    let Sizes {
        maps,
        axes,
        from,
        to,
    } = form.sizes;
    let sizes = [maps, axes, from, to, form.features];
    for e in 0..form.edges.len() {
        let sender = form.edges.senders()[e] as usize;
        for term in 0..sizes.iter().product() {
            let mut rest = term;
            let [j, a, i, o, k] = sizes.map(|n| {
                let index = rest % n;
                rest /= n;
                index
            });
            let at = [
                (sender * axes + a) * from + i,
                e * form.features + k,
                ((j * from + i) * to + o) * form.features + k,
                ((e * maps + j) * axes + a) * to + o,
            ];
            for by in 0..4 {
                let others = (0..4).filter(|&n| n != by).map(|n| all[n][at[n]]);
                out[by][at[by]] += others.product::<f64>();
            }
        }
    }
    out
}

#[test]
fn the_op_and_its_gradients_are_derivatives_of_the_form() {
    let edges = incidence();
    // Fewer channels than lanes, and more; more rows than a tile.
    for (maps, axes, from, to) in [(1, 1, 3, 2), (3, 5, 40, 17), (2, 3, 5, 33)] {
        let sizes = Sizes {
            maps,
            axes,
            from,
            to,
        };
        let form = EdgeMap {
            edges: edges.clone(),
            sizes,
            features: 4,
        };
        let all = [0, 1, 2, 3].map(|a| random(a as u64, form.rows(a)));
        let expected = naive(&form, &all);
        for (dtype, tolerance) in [(DType::F64, 1e-11), (DType::F32, 2e-4)] {
            let var = |a: usize| {
                let t = Tensor::from_slice(&all[a], form.rows(a).as_slice(), &Device::Cpu);
                let t = t.and_then(|t| t.to_dtype(dtype)).unwrap();
                Var::from_tensor(&t).unwrap().into_inner()
            };
            let [x, f, w, grad] = [0, 1, 2, 3].map(var);
            let duals = [&x, &f].map(|t| Dual::from(t.clone()));
            let out = edge_map(&edges, sizes, &duals[0], &duals[1], &w).unwrap();
            let sum = (&out.value * &grad).unwrap().sum_all().unwrap();
            let store = sum.backward().unwrap();
            let made = [
                values(store.get(&x).unwrap()),
                values(store.get(&f).unwrap()),
                values(store.get(&w).unwrap()),
                values(&out.value),
            ];
            for (a, (made, expected)) in made.iter().zip(&expected).enumerate() {
                assert_eq!(made.len(), expected.len());
                let error = made.iter().zip(expected).map(|(m, e)| (m - e).abs());
                let error = error.fold(0f64, f64::max);
                assert!(
                    error < tolerance,
                    "{sizes:?} {dtype:?} argument {a}: {error}"
                );
            }
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let edges = incidence();
    let sizes = Sizes {
        maps: 1,
        axes: 3,
        from: 2,
        to: 2,
    };
    let zeros = |dims: [usize; 2]| {
        let dims = dims.as_slice();
        Dual::from(Tensor::zeros(dims, DType::F64, &Device::Cpu).unwrap())
    };
    let run = |x, f, w| {
        let w: Dual = zeros(w);
        edge_map(&edges, sizes, &zeros(x), &zeros(f), &w.value)
    };
    assert!(run([11, 6], [150, 3], [4, 3]).is_ok());
    for (x, f, w) in [
        ([11, 5], [150, 3], [4, 3]),
        ([11, 6], [149, 3], [4, 3]),
        ([11, 6], [150, 3], [4, 2]),
    ] {
        let told = run(x, f, w).unwrap_err().to_string();
        assert!(told.contains("the linear map along edges"), "{told}");
    }
}
