//! Gradients of gradients, op by op: right, or refused by name.
//!
//! candle keeps the graphs of gradients in a process whose environment says so, and reads it once
//! in each thread; so these tests run themselves again in such a process.

#[path = "common/numbers.rs"]
mod numbers;

use candle_core::{DType, Device, Result, Tensor, Var};
use holosig::models::deep_signature::{
    Clip, DeepSignature, DeepSignatureConfig, Graph, Objective, RawClip, Variant,
};
use holosig::models::hvae::gram_schmidt;
use holosig::ops::assign::assign;
use holosig::ops::batch_norm::{BatchNorm, Mode, Normalization, batch_norm, statistics};
use holosig::ops::blockwise::{self, blockwise, single};
use holosig::ops::cg::{Plan, Size, cg};
use holosig::ops::dense::{biased, dense};
use holosig::ops::derivatives::{gradients, keeps_graphs};
use holosig::ops::dual::{At, Dual};
use holosig::ops::edge_map::{Sizes, edge_map};
use holosig::ops::hidden;
use holosig::ops::linear::{Order, Side, linear};
use holosig::ops::mincut::{self, Adjacency, Edges};
use holosig::ops::pointwise::{ShiftedSoftplus, Silu, slopes, values as values_of};
use holosig::ops::segment::{Ends, Incidence, Place, Row, contract, edge, receiver, sender};
use holosig::ops::signature::{Basis, at_lyndon_words, log_signature, signature};
use holosig::ops::skip::skip;
use holosig::ops::sparse::Sparse;
use holosig::ops::squared_error::squared_error;
use holosig::ops::tensor_product::{self, weighted_product};
use holosig::so3::blocks::{Blocks, Irrep, paths};
use holosig::so3::irreps::Irreps;
use holosig::so3::paths::Rule;
use numbers::{tensor, values};
use std::process::Command;
use std::sync::Arc;

const KEEP: &str = "CANDLE_GRAD_DO_NOT_DETACH";

/// Runs `test`, the body of the test of this name, in a process that keeps the graphs of gradients.
fn keeping_graphs(name: &str, test: impl Fn()) {
    if std::env::var_os(KEEP).is_some() {
        assert!(keeps_graphs(), "{KEEP} is set, but candle cuts gradients");
        return test();
    }
    let itself = std::env::current_exe().unwrap();
    let output = Command::new(itself)
        .args(["--exact", name, "--nocapture"])
        .env(KEEP, "1")
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}"
    );
}

fn random(seed: u64, shape: &[usize]) -> Tensor {
    tensor(seed, shape, DType::F64)
}

type Op<'a> = Box<dyn Fn(&[Tensor]) -> Result<Tensor> + 'a>;

/// An op and its arguments.
struct Case<'a> {
    name: &'a str,
    arguments: Vec<Tensor>,
    op: Op<'a>,
}

fn case<'a>(
    name: &'a str,
    arguments: impl Into<Vec<Tensor>>,
    op: impl Fn(&[Tensor]) -> Result<Tensor> + 'a,
) -> Case<'a> {
    Case {
        name,
        arguments: arguments.into(),
        op: Box::new(op),
    }
}

/// `E = sum sin(op)`: its gradient by the op's result depends on all arguments.
fn energy(op: &Op, arguments: &[Tensor]) -> Result<Tensor> {
    op(arguments)?.sin()?.sum_all()
}

/// `sum |dE/dx|^2` over all arguments, with its graph, and the variables that it is a function of.
fn squared_gradient(op: &Op, arguments: &[Tensor]) -> Result<(Tensor, Vec<Tensor>)> {
    let vars = arguments.iter().map(Var::from_tensor);
    let vars = vars.collect::<Result<Vec<_>>>()?;
    let vars: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let store = energy(op, &vars)?.backward()?;
    let squares = vars.iter().map(|v| store.get(v).unwrap().sqr()?.sum_all());
    let squares = squares.collect::<Result<Vec<_>>>()?;
    Ok((Tensor::stack(&squares, 0)?.sum_all()?, vars))
}

fn check_second(case: &Case) {
    let Case {
        name,
        arguments,
        op,
    } = case;
    let (value, vars) = squared_gradient(op, arguments).unwrap();
    let store = value.backward().unwrap();
    let h = 1e-5;
    for (which, argument) in arguments.iter().enumerate() {
        let analytic = values(store.get(&vars[which]).unwrap());
        let base = values(argument);
        let largest = analytic.iter().fold(0f64, |m, v| m.max(v.abs()));
        assert!(largest > 1e-3, "{name}, argument {which}: nothing to test");
        for i in (0..base.len()).step_by(1 + base.len() / 40) {
            let shifted = |by: f64| {
                let mut moved = base.clone();
                moved[i] += by;
                let mut all = arguments.clone();
                all[which] = Tensor::from_vec(moved, argument.shape(), &Device::Cpu).unwrap();
                values(&squared_gradient(op, &all).unwrap().0)[0]
            };
            let numeric = (shifted(h) - shifted(-h)) / (2.0 * h);
            assert!(
                (numeric - analytic[i]).abs() < 1e-6 * largest.max(1.0),
                "{name}, argument {which}, element {i}: {numeric} against {}",
                analytic[i]
            );
        }
    }
}

fn side(channels: &[usize], order: Order) -> Side {
    Side {
        irreps: Irreps::new(channels.to_vec()),
        order,
    }
}

fn edges(n: usize) -> Edges {
    let entries: Vec<_> = (1..n)
        .flat_map(|i| [(i, i - 1, 1.0), (i - 1, i, 1.0)])
        .collect();
    let degree = |i| if i == 0 || i == n - 1 { 1.0 } else { 2.0 };
    Edges {
        matrix: Sparse::new(n, n, &entries),
        degrees: (0..n).map(degree).collect(),
        symmetric: true,
    }
}

#[test]
fn closed_ops_have_right_second_derivatives() {
    keeping_graphs("closed_ops_have_right_second_derivatives", || {
        use Order::{Published, Steerable};
        let (a, b) = (side(&[3, 2, 4], Published), side(&[2, 5], Steerable));
        let (x, y, w) = (random(1, &[18, 29]), random(2, &[18, 17]), random(3, &[16]));
        let (silu, softplus) = (Arc::new(Silu), Arc::new(ShiftedSoftplus));
        let ends = |rows| Ends { rows, count: 3 };
        let incidence = Incidence::new(ends(&[0, 0, 1, 2]), ends(&[1, 2, 0, 1])).unwrap();
        let vectors = Irrep::natural(1).of(1);
        let blocks: Blocks = [Irrep::SCALAR.of(2), vectors].into_iter().collect();
        let harmonics = Blocks::harmonics(1, false);
        let all = paths(&blocks, &harmonics, |_| true);
        let coupling = Arc::new(tensor_product::Plan::new(&blocks, &harmonics, &all, |_| ()));
        assert_eq!(coupling.weights(), 8);
        let to: Blocks = [Irrep::SCALAR.of(2), vectors, vectors]
            .into_iter()
            .collect();
        let mixing = blockwise::Plan::new([&blocks, &to], &single(&blocks), 1, |_| 0.5);
        let mixing = Arc::new(mixing);
        let sparse = Sparse::new(3, 4, &[(0, 1, 2.0), (2, 0, -1.0), (0, 1, 0.5), (2, 2, 1.0)]);
        for case in [
            case("linear", [x.clone(), w.clone()], |v| {
                linear(&v[0], &v[1], &a, &b)
            }),
            case("linear, back", [y.clone(), w], |v| {
                linear(&v[0], &v[1], &b, &a)
            }),
            case("skip", [x.clone(), y.clone()], |v| {
                skip(&v[0], &a.irreps, &v[1], &b.irreps)
            }),
            case("skip, back", [y, x], |v| {
                skip(&v[0], &b.irreps, &v[1], &a.irreps)
            }),
            case("sparse", [random(4, &[4, 5])], |v| sparse.apply(&v[0])),
            case("words", [random(5, &[2, 14])], |v| {
                at_lyndon_words(&v[0], 2, 3)
            }),
            case("frame", [random(6, &[4, 2, 3])], |v| gram_schmidt(&v[0])),
            case("rows", [random(7, &[4, 3]), random(8, &[2, 3])], |v| {
                dense(&v[0], &v[1])
            }),
            case(
                "rows and bias",
                [random(7, &[4, 3]), random(8, &[2, 3]), random(9, &[2])],
                |v| biased(&v[0], &v[1], &v[2]),
            ),
            case("silu", [random(10, &[9])], |v| values_of(&silu, &v[0])),
            case("softplus", [random(10, &[9])], |v| {
                values_of(&softplus, &v[0])
            }),
            case(
                "tangent of softplus",
                [random(10, &[9]), random(11, &[9])],
                |v| slopes(&softplus, &v[0], &v[1]),
            ),
            case(
                "messages along edges",
                [
                    random(12, &[3, 5]),
                    random(13, &[4, 5]),
                    random(14, &[4, 3]),
                ],
                |v| {
                    let factors = [
                        (sender(Row::Channels), &v[0]),
                        (edge(Row::Channels), &v[1]),
                        (edge(Row::Vector), &v[2]),
                    ];
                    contract(&incidence, factors, receiver(Row::Vectors))
                },
            ),
            case(
                "product along edges",
                [
                    random(20, &[3, 5]),
                    random(21, &[4, 4]),
                    random(22, &[4, 8]),
                ],
                |v| {
                    let duals = [0, 1, 2].map(|i| Dual::from(v[i].clone()));
                    let factors = [
                        At(Place::Sender, &duals[0]),
                        At(Place::Edge, &duals[1]),
                        At(Place::Edge, &duals[2]),
                    ];
                    let out = Place::Receiver;
                    Ok(weighted_product(&coupling, &incidence, factors, out)?.value)
                },
            ),
            case(
                "map along edges",
                [
                    random(25, &[3, 6]),
                    random(26, &[4, 2]),
                    random(27, &[8, 2]),
                ],
                |v| {
                    let sizes = Sizes {
                        maps: 2,
                        axes: 3,
                        from: 2,
                        to: 2,
                    };
                    let [x, f] = [0, 1].map(|i| Dual::from(v[i].clone()));
                    Ok(edge_map(&incidence, sizes, &x, &f, &v[2])?.value)
                },
            ),
            case(
                "map of blocks",
                [random(23, &[3, 5]), random(24, &[6])],
                |v| blockwise(&mixing, &v[0], &v[1]),
            ),
        ] {
            check_second(&case);
        }
    });
}

#[test]
fn other_ops_refuse_by_name() {
    keeping_graphs("other_ops_refuse_by_name", || {
        let irreps = Irreps::new(vec![3, 2]);
        let (from, to) = (Size::new(1, 3), Size::new(1, 2));
        let plan = Arc::new(Plan::new(Rule::Efficient, true, from, to));
        let h = random(1, &[5, plan.input.dim()]);
        let graph = edges(6);
        let (u, layer) = (random(2, &[4, 3, 2]), random(3, &[3, 5]));
        let (right, left) = (random(4, &[5, 4]), random(5, &[4, 6]));
        let path = random(6, &[2, 5, 3]);
        let weights: Arc<[f64]> = [0.2, 0.3, 0.5].into();
        for case in [
            case(
                "the batch norm of steerable tensors",
                [random(7, &[5, 9]), random(8, &[5]), random(9, &[3])],
                |v| {
                    let normalization = Normalization::Component;
                    let norm = BatchNorm {
                        irreps: irreps.clone(),
                        statistics: statistics(&v[0], &irreps, normalization)?,
                        normalization,
                        mode: Mode::Train,
                    };
                    batch_norm(&v[0], &v[1], &v[2], norm)
                },
            ),
            case("the weighted squared error", [random(17, &[5, 9])], |v| {
                squared_error(&v[0], &random(18, &[5, 9]), &random(19, &[9]))
            }),
            case(
                "the Clebsch-Gordan step",
                [h, random(10, &[plan.parameter_len()])],
                |v| cg(&v[0], &v[1], &plan, None),
            ),
            case(
                "the soft assignment",
                [random(11, &[6, 3]), random(12, &[4, 3]), random(13, &[4])],
                |v| assign(&v[0], &v[1], &v[2]),
            ),
            case(
                "the min-cut pooling of a graph",
                [random(14, &[6, 3])],
                |v| Ok(mincut::pool(&v[0], Adjacency::Graph(&graph))?.adjacency),
            ),
            case(
                "the min-cut pooling of clusters",
                [random(15, &[6, 3]), random(16, &[6, 6])],
                |v| Ok(mincut::pool(&v[0], Adjacency::Clusters(&v[1]))?.mincut),
            ),
            case(
                "the average of a hidden layer",
                [u.clone(), layer.clone()],
                |v| hidden::average(&v[0], &v[1], weights.clone()),
            ),
            case(
                "the projection of a hidden layer",
                [u.clone(), layer.clone(), right.clone()],
                |v| hidden::project(&v[0], &v[1], &v[2], 2),
            ),
            case(
                "the pooled projection of a hidden layer",
                [left, u, layer, right],
                |v| hidden::project_pooled(&v[0], &v[1], &v[2], &v[3], 2),
            ),
            case("the signature of paths", [path.clone()], |v| {
                signature(&v[0], 3)
            }),
            case("the log-signature of paths", [path.clone()], |v| {
                log_signature(&v[0], 3, Basis::Words)
            }),
            case("the logarithm of signatures", [path], |v| {
                log_signature(&v[0], 3, Basis::Expand)
            }),
        ] {
            let told = match squared_gradient(&case.op, &case.arguments) {
                Ok(_) => panic!("{}: a gradient that lacks terms", case.name),
                Err(told) => told.to_string(),
            };
            assert!(told.contains(case.name) && told.contains(KEEP), "{told}");
        }
        let told = coarse_graining().backward().unwrap_err().to_string();
        assert!(told.contains("the coarse-graining of clips"), "{told}");
    });
}

/// The losses of a whole model's coarse-graining.
fn coarse_graining() -> Tensor {
    let config = DeepSignatureConfig {
        clusters: 4,
        ..DeepSignatureConfig::default()
    };
    let (nodes, frames) = (12, 9);
    let edges: Vec<(u32, u32)> = (1..nodes as u32).map(|i| (i - 1, i)).collect();
    let raw = RawClip {
        holographic: false,
        id: 0,
        graph: Arc::new(Graph::new(nodes, &edges, Variant::Corrected).unwrap()),
        features: values(&random(1, &[nodes * frames * 3]))
            .iter()
            .map(|&v| v as f32)
            .collect(),
        frames,
        target: 1.0,
    };
    let clips = [Clip::new(raw, &config, DType::F64).unwrap()];
    let device = Device::Cpu;
    let model = DeepSignature::new(&config, 3, Objective::Binary, 3, DType::F64, &device).unwrap();
    // All terms but the first, which is that of the classes.
    let terms = model.losses_with(&clips, None).unwrap().terms;
    let others = terms.into_iter().skip(1).map(|(_, term)| term);
    others.reduce(|a, b| (a + b).unwrap()).unwrap()
}

#[test]
fn gradients_are_constants() {
    let (a, b) = (
        side(&[3, 2], Order::Steerable),
        side(&[2, 5], Order::Steerable),
    );
    let variable = |t: &Tensor| Var::from_tensor(t).unwrap().as_tensor().clone();
    let (x, w) = (variable(&random(1, &[4, 9])), variable(&random(2, &[16])));
    let energy = linear(&x, &w, &a, &b)
        .and_then(|y| y.sqr()?.sum_all())
        .unwrap();
    let [force] = gradients(&energy, [&x]).unwrap();
    assert!(
        !force.track_op(),
        "a loss of forces would have a gradient that lacks terms"
    );
    let store = energy.backward().unwrap();
    assert_eq!(values(&force), values(store.get(&x).unwrap()));
    for gradient in [&x, &w].map(|v| store.get(v).unwrap()) {
        assert!(
            !gradient.track_op(),
            "a gradient that keeps the pass in memory"
        );
    }
    let other = variable(&random(3, &[2]));
    let told = gradients(&energy, [&x, &other]).unwrap_err().to_string();
    assert!(told.contains("argument 1"), "{told}");
}
