//! Gradients of the H-(V)AE's ops against central differences in f64.

#[path = "common/numbers.rs"]
mod numbers;

use candle_core::{DType, Device, Tensor, Var};
use holosig::models::hvae::gram_schmidt;
use holosig::ops::batch_norm::{
    BatchNorm, Mode, Normalization, Statistics, batch_norm, statistics,
};
use holosig::ops::cg::{Plan, Size, cg};
use holosig::ops::linear::{Order, Side, linear};
use holosig::ops::skip::skip;
use holosig::ops::squared_error::squared_error;
use holosig::so3::irreps::Irreps;
use holosig::so3::paths::Rule;
use numbers::{tensor, values};
use std::sync::Arc;

/// Compares the gradient of `sum(f(args) * random)` with central differences in f64.
fn check_gradient(what: &str, args: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) {
    let vars: Vec<Var> = args.iter().map(|a| Var::from_tensor(a).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let out = f(&tensors);
    let pick = tensor(77, out.dims(), DType::F64);
    let value = |out: &Tensor| (out * &pick).unwrap().sum_all().unwrap();
    let grads = value(&out).backward().unwrap();
    let h = 1e-5;
    for (which, arg) in args.iter().enumerate() {
        let analytic = values(grads.get(&tensors[which]).unwrap());
        let base = values(arg);
        let largest = analytic.iter().fold(0f64, |m, v| m.max(v.abs()));
        for i in (0..base.len()).step_by(1 + base.len() / 60) {
            let shifted = |by: f64| {
                let mut moved = base.clone();
                moved[i] += by;
                let mut all = args.to_vec();
                all[which] = Tensor::from_vec(moved, arg.shape(), &Device::Cpu).unwrap();
                values(&value(&f(&all)))[0]
            };
            let numeric = (shifted(h) - shifted(-h)) / (2.0 * h);
            assert!(
                (numeric - analytic[i]).abs() < 1e-6 * largest.max(1.0),
                "{what}, argument {which}, element {i}: {numeric} against {}",
                analytic[i]
            );
        }
    }
}

#[test]
fn gradients_of_ops_equal_finite_differences() {
    let t = |seed, shape: &[usize]| tensor(seed, shape, DType::F64);
    for (rule, symmetric) in [
        (Rule::Efficient, true),
        (Rule::Elementwise, true),
        (Rule::Full, true),
        (Rule::Full, false),
    ] {
        let plan = || Plan::new(rule, symmetric, Size::new(3, 5), Size::new(4, 3));
        let fixed = statistics(&t(30, &[18, 80]), &plan().input, Normalization::Component).unwrap();
        for (what, plan, mode) in [
            ("alone", plan(), Mode::Train),
            ("with skip", plan().with_skip(), Mode::Train),
            (
                "with batch norm and skip, training",
                plan().with_skip().with_batch_norm(Normalization::Norm),
                Mode::Train,
            ),
            (
                "with batch norm, evaluation",
                plan().with_batch_norm(Normalization::Component),
                Mode::Eval,
            ),
        ] {
            let plan = Arc::new(plan);
            let args = [t(1, &[18, plan.input.dim()]), t(2, &[plan.parameter_len()])];
            check_gradient(&format!("cg {rule:?} {what}"), &args, |a| {
                let norm = plan.batch_norm.map(|normalization| BatchNorm {
                    irreps: plan.input.clone(),
                    statistics: match mode {
                        Mode::Train => statistics(&a[0], &plan.input, normalization).unwrap(),
                        Mode::Eval => fixed.clone(),
                    },
                    normalization,
                    mode,
                });
                cg(&a[0], &a[1], &plan, norm).unwrap()
            });
        }
    }
    let irreps = Irreps::new(vec![3, 2, 4]);
    for normalization in [Normalization::Component, Normalization::Norm] {
        let args = [t(4, &[7, irreps.dim()]), t(5, &[9]), t(6, &[3])];
        let norm = |statistics: Statistics, mode| BatchNorm {
            irreps: irreps.clone(),
            statistics,
            normalization,
            mode,
        };
        check_gradient("batch norm, training", &args, |a| {
            let s = statistics(&a[0], &irreps, normalization).unwrap();
            batch_norm(&a[0], &a[1], &a[2], norm(s, Mode::Train)).unwrap()
        });
        let fixed = statistics(&t(40, &[7, irreps.dim()]), &irreps, normalization).unwrap();
        check_gradient("batch norm, evaluation", &args, |a| {
            batch_norm(&a[0], &a[1], &a[2], norm(fixed.clone(), Mode::Eval)).unwrap()
        });
    }
    let side = |irreps: &Irreps, order| Side {
        irreps: irreps.clone(),
        order,
    };
    let to = Irreps::new(vec![2, 5]);
    let args = [t(7, &[20, irreps.dim()]), t(8, &[3 * 2 + 2 * 5])];
    for (a, b) in [
        (Order::Published, Order::Steerable),
        (Order::Steerable, Order::Published),
    ] {
        check_gradient("linear", &args, |x| {
            linear(&x[0], &x[1], &side(&irreps, a), &side(&to, b)).unwrap()
        });
    }
    let args = [t(9, &[4, irreps.dim()]), t(10, &[4, to.dim()])];
    check_gradient("skip", &args, |x| skip(&x[0], &irreps, &x[1], &to).unwrap());
    let (target, weights) = (t(13, &[20, 9]), t(14, &[9]));
    check_gradient("squared error", &[t(15, &[20, 9])], |x| {
        squared_error(&x[0], &target, &weights).unwrap()
    });
    check_gradient("frame", &[t(12, &[4, 2, 3])], |x| {
        gram_schmidt(&x[0]).unwrap()
    });
}
