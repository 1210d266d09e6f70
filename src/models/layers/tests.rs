use super::*;
use crate::models::{Entry, Init, Parameters, ParametersBuilder, Scope};
use candle_core::{DType, Device, Tensor};

/// Values without a pattern, between -1 and 1.
fn wave(shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    let values: Vec<f64> = (0..n).map(|i| ((i * i + 1) as f64 * 0.7).sin()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn build<L>(add: impl FnOnce(&mut Scope) -> L) -> (L, Parameters) {
    let mut builder = ParametersBuilder::default();
    let layer = add(&mut builder.root());
    let p = builder.build(3, DType::F64, &Device::Cpu, 0.0).unwrap();
    (layer, p)
}

fn vector(t: Tensor) -> Vec<f64> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_close(a: Tensor, b: Tensor) {
    assert_eq!(a.dims(), b.dims());
    let error = (a - b).unwrap().abs().unwrap().max_all().unwrap();
    let error: f64 = error.to_scalar().unwrap();
    assert!(error < 1e-13, "{error}");
}

fn names(p: &Parameters) -> Vec<(&str, &[usize])> {
    p.entries().iter().map(|e| (&*e.name, &*e.shape)).collect()
}

/// Compares the gradients of `sum(forward * wave)` by all parameters with central differences.
fn check_gradients(p: &Parameters, forward: impl Fn(&Parameters) -> Tensor) {
    let value = || {
        let y = forward(p);
        (&y * wave(y.dims())).unwrap().sum_all().unwrap()
    };
    let gradient = p.exact_gradient(&value()).unwrap();
    for (variable, entry) in p.variables().zip(p.entries()) {
        let start = vector(variable.clone());
        let put = |values: &[f64]| {
            let values = Tensor::new(values, &Device::Cpu).unwrap();
            variable.slice_set(&values, 0, 0).unwrap();
        };
        let shifted = |i: usize, by: f64| {
            let mut values = start.clone();
            values[i] += by;
            put(&values);
            value().to_scalar::<f64>().unwrap()
        };
        for (i, &ours) in gradient[entry.offset..][..entry.len()].iter().enumerate() {
            let h = 1e-5;
            let numeric = (shifted(i, h) - shifted(i, -h)) / (2.0 * h);
            let error = (numeric - ours).abs();
            assert!(error < 1e-8, "{} {i}: {ours}, {numeric}", entry.name);
        }
        put(&start);
    }
}

#[test]
fn names_and_shapes_are_pytorchs() {
    let (_, p) = build(|b| {
        let mut blocks = b.scope("blocks");
        let block = &mut blocks.scope(2);
        Linear::pytorch(&mut block.scope("lin"), 3, 5);
        LayerNorm::new(&mut block.scope("norm"), 5);
        let layers = [
            (6, Activation::Identity),
            (4, Activation::Relu),
            (2, Activation::Swish),
            (1, Activation::Identity),
        ];
        Mlp::new(&mut b.scope("net"), 5, &layers);
        Lstm::new(&mut b.scope("lstm"), 3, 2, Direction::Reverse);
    });
    let expected: [(&str, &[usize]); 16] = [
        ("blocks.2.lin.weight", &[5, 3]),
        ("blocks.2.lin.bias", &[5]),
        ("blocks.2.norm.weight", &[5]),
        ("blocks.2.norm.bias", &[5]),
        ("net.0.weight", &[6, 5]),
        ("net.0.bias", &[6]),
        ("net.1.weight", &[4, 6]),
        ("net.1.bias", &[4]),
        ("net.3.weight", &[2, 4]),
        ("net.3.bias", &[2]),
        ("net.5.weight", &[1, 2]),
        ("net.5.bias", &[1]),
        ("lstm.weight_ih_l0_reverse", &[8, 3]),
        ("lstm.weight_hh_l0_reverse", &[8, 2]),
        ("lstm.bias_ih_l0_reverse", &[8]),
        ("lstm.bias_hh_l0_reverse", &[8]),
    ];
    assert_eq!(names(&p), expected);
}

#[test]
fn an_entrys_start_depends_on_its_number_alone() {
    let first = |more: bool| {
        let (_, p) = build(|b| {
            Linear::new(&mut b.scope("a"), 2, 3, Init::glorot(2, 3));
            if more {
                Embedding::new(&mut b.scope("b"), 7, 4, Init::Normal(1.0));
            }
        });
        p.flat().unwrap()[..9].to_vec()
    };
    let values = first(false);
    assert_eq!(values, first(true));
    let limit = (6.0f32 / 5.0).sqrt();
    assert!(values[..6].iter().all(|v| v.abs() <= limit && *v != 0.0));
    assert_eq!(values[6..], [0.0; 3]);
}

#[test]
fn normal_starts_have_their_deviation() {
    let (_, p) = build(|b| Embedding::new(b, 100, 100, Init::Normal(0.5)));
    let values = p.flat().unwrap();
    let moment = |k| values.iter().map(|v| f64::from(*v).powi(k)).sum::<f64>() / 1e4;
    let (mean, square, fourth) = (moment(1), moment(2), moment(4));
    assert!(mean.abs() < 0.02, "{mean}");
    assert!((square - 0.25).abs() < 0.02, "{square}");
    assert!((fourth / (square * square) - 3.0).abs() < 0.3, "{fourth}");
}

#[test]
fn merged_groups_are_one_vector_and_unused_ones_are_named() {
    let ((kept, merged), p) = build(|b| {
        let entry = |name, n| Entry::new(name, vec![n], Init::Uniform(1.0));
        let kept = b.parameter("kept", 2, Init::Uniform(1.0));
        let first = b.group([entry("first", 3), entry("second", 1)]);
        let third = b.parameter("third", (2, 2), Init::Uniform(1.0));
        b.unused(&kept);
        b.unused(&third);
        (kept, b.merge(first))
    });
    let flat: Vec<f64> = p.flat().unwrap().into_iter().map(f64::from).collect();
    assert_eq!(vector(p.get(&kept).unwrap()), flat[..2]);
    assert_eq!(vector(p.get(&merged).unwrap()), flat[2..]);
    assert_eq!(p.unused().collect::<Vec<_>>(), ["kept"]);
}

#[test]
fn a_linear_layer_maps_the_last_axis() {
    let (layer, p) = build(|b| Linear::pytorch(b, 4, 3));
    let x = wave(&[2, 5, 4]);
    let y = layer.forward(&x, &p).unwrap();
    let (w, bias) = (layer.weight(&p).unwrap(), layer.bias(&p).unwrap());
    let (w, bias) = (w.to_vec2::<f64>().unwrap(), vector(bias));
    let rows = x.reshape((10, 4)).unwrap().to_vec2::<f64>().unwrap();
    let expected = rows.iter().flat_map(|x| {
        let dot = |w: &[f64]| w.iter().zip(x).map(|(a, b)| a * b).sum::<f64>();
        let one = w.iter().zip(&bias).map(|(w, b)| dot(w) + b);
        one.collect::<Vec<_>>()
    });
    let expected: Vec<f64> = expected.collect();
    assert_close(
        y,
        Tensor::from_vec(expected, (2, 5, 3), x.device()).unwrap(),
    );

    let dx = wave(&[2, 5, 4]).cos().unwrap();
    let change = layer.forward(&(&x + &dx).unwrap(), &p).unwrap() - layer.forward(&x, &p).unwrap();
    assert_close(layer.tangent(&dx, &p).unwrap(), change.unwrap());
}

#[test]
fn an_lstm_in_reverse_is_one_on_the_reversed_sequence() {
    let ((ahead, back), p) = build(|b| {
        let ahead = Lstm::new(&mut b.scope("a"), 3, 2, Direction::Forward);
        (
            ahead,
            Lstm::new(&mut b.scope("a"), 3, 2, Direction::Reverse),
        )
    });
    let half = p.flat().unwrap()[..p.len() / 2].to_vec();
    p.set_flat(&half.repeat(2)).unwrap();
    let x = wave(&[2, 4, 3]);
    let turn = |t: &Tensor| t.flip(&[1]).unwrap();
    let expected = turn(&ahead.forward(&turn(&x), &p).unwrap());
    assert_close(back.forward(&x, &p).unwrap(), expected);
}

#[test]
fn gradients_equal_finite_differences() {
    let x = wave(&[2, 5, 3]);
    let (layer, p) = build(|b| Linear::new(b, 3, 2, Init::fan_in(3)));
    check_gradients(&p, |p| layer.forward(&x, p).unwrap());

    let layers = [
        (4, Activation::Swish),
        (5, Activation::Sigmoid),
        (6, Activation::Relu),
        (2, Activation::Identity),
    ];
    let (layer, p) = build(|b| Mlp::new(b, 3, &layers));
    check_gradients(&p, |p| layer.forward(&x, p).unwrap());

    let (layer, p) = build(|b| LayerNorm::new(b, 3));
    check_gradients(&p, |p| layer.forward(&x, p).unwrap());

    for direction in [Direction::Forward, Direction::Reverse] {
        let (layer, p) = build(|b| Lstm::new(b, 3, 2, direction));
        check_gradients(&p, |p| layer.forward(&x, p).unwrap());
    }

    let (layer, p) = build(|b| Embedding::new(b, 4, 3, Init::Normal(1.0)));
    let kinds = Tensor::new(&[2u32, 0, 2, 3], &Device::Cpu).unwrap();
    check_gradients(&p, |p| layer.forward(&kinds, p).unwrap().sqr().unwrap());
}
