use super::*;
use crate::so3::blocks::{Blocks, Irrep};
use candle_core::{DType, Device, Var};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const KINDS: usize = 3;

/// Two neighbours of one irrep, and a block that nothing is made of.
fn blocks() -> [Blocks; 2] {
    let vectors = Irrep::natural(1);
    let from = [
        Irrep::SCALAR.of(5),
        vectors.of(2),
        vectors.of(3),
        Irrep::even(2).of(4),
    ];
    let to = [
        vectors.of(4),
        Irrep::SCALAR.of(6),
        vectors.of(1),
        Irrep::even(1).of(2),
    ];
    [from.into_iter().collect(), to.into_iter().collect()]
}

fn random(seed: u64, dims: &[usize]) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let len = dims.iter().product();
    let values: Vec<f64> = (0..len).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

fn values(t: &Tensor) -> Vec<f64> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

/// The form term by term: its derivatives by input, output and weights.
fn naive(plan: &Plan, runs: &[Run], [x, g, w]: [&[f64]; 3]) -> [Vec<f64>; 3] {
    let mut out = [x, g, w].map(|values| vec![0.0; values.len()]);
    let [from, to, _] = plan.widths();
    for (row, kind) in runs
        .iter()
        .flat_map(|r| r.rows.clone().map(move |i| (i, r.kind)))
    {
        for map in &plan.maps {
            for c in 0..map.dim {
                for u in 0..map.channels[0] {
                    for v in 0..map.channels[1] {
                        let i = row * from + map.starts[0] + c * map.channels[0] + u;
                        let o = row * to + map.starts[1] + c * map.channels[1] + v;
                        let k = map.starts[2] + (u * plan.kinds() + kind) * map.channels[1] + v;
                        out[0][i] += map.factor * g[o] * w[k];
                        out[1][o] += map.factor * x[i] * w[k];
                        out[2][k] += map.factor * x[i] * g[o];
                    }
                }
            }
        }
    }
    out
}

#[test]
fn maps_and_their_gradients_equal_the_definition() {
    let [from, to] = blocks();
    let rows = 300;
    let run = |rows, kind| Run { rows, kind };
    let runs: Arc<[Run]> = [run(0..7, 2), run(7..290, 0), run(290..300, 1)].into();
    for groups in [single(&from), merged(&from)] {
        let plan = Plan::new([&from, &to], &groups, KINDS, |fan| {
            1.0 / (fan as f64).sqrt()
        });
        let plan = Arc::new(plan);
        assert_eq!(plan.weights(), KINDS * (5 * 6 + 5 * 4 + 5));
        let dims = [
            vec![rows, from.dim()],
            vec![rows, to.dim()],
            vec![plan.weights()],
        ];
        let [x, grad, w] = [0, 1, 2].map(|a| random(a as u64, &dims[a]));
        let all = [&x, &grad, &w].map(values);
        let expected = naive(&plan, &runs, all.each_ref().map(Vec::as_slice));
        let [x, w] = [x, w].map(|t| Var::from_tensor(&t).unwrap().into_inner());
        let out = blockwise_by_kind(&plan, &runs, &x, &w).unwrap();
        let store = (&out * &grad)
            .unwrap()
            .sum_all()
            .unwrap()
            .backward()
            .unwrap();
        let own = [store.get(&x).unwrap(), &out, store.get(&w).unwrap()];
        for (own, expected) in own.into_iter().zip(&expected) {
            for (a, b) in values(own).iter().zip(expected) {
                assert!((a - b).abs() < 1e-12, "{a} for {b}");
            }
        }
    }
}

#[test]
fn weights_of_merged_blocks_are_those_of_one_block() {
    let [from, to] = blocks();
    let plan = |from: &Blocks| Arc::new(Plan::new([from, &to], &merged(from), 1, |_| 1.0));
    let w = random(1, &[55]);
    let x = random(2, &[1, from.dim()]);
    let own = blockwise(&plan(&from), &x, &w).unwrap();
    // The rows of the two blocks of vectors, channels side by side.
    let mut row = values(&x);
    for c in 0..3 {
        for u in 0..5 {
            let old = if u < 2 {
                5 + 2 * c + u
            } else {
                11 + 3 * c + u - 2
            };
            row[5 + 5 * c + u] = values(&x)[old];
        }
    }
    let x = Tensor::from_vec(row, (1, from.dim()), &Device::Cpu).unwrap();
    let from = from.merged();
    let one = blockwise(&plan(&from), &x, &w).unwrap();
    assert!(
        values(&own)
            .iter()
            .zip(values(&one))
            .all(|(a, b)| (a - b).abs() < 1e-14)
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let [from, to] = blocks();
    let plan = Arc::new(Plan::new([&from, &to], &single(&from), 1, |_| 1.0));
    let x = Tensor::zeros((2, from.dim()), DType::F32, &Device::Cpu).unwrap();
    let w = Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap();
    let told = blockwise(&plan, &x, &w).unwrap_err().to_string();
    assert!(told.contains("argument 1 is [3], not [55]"), "{told}");
    let runs: Arc<[Run]> = [Run {
        rows: 0..2,
        kind: 1,
    }]
    .into();
    let told = blockwise_by_kind(&plan, &runs, &x, &w).unwrap_err();
    assert!(told.to_string().contains("2 rows, but kinds"), "{told}");
}
