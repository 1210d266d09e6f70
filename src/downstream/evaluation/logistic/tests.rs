use super::*;

/// Rows of `width` features and `count` classes that overlap: class c is moved by c in the
/// direction of feature c.
struct Made {
    rows: Vec<f64>,
    width: usize,
    classes: Vec<u32>,
    count: usize,
}

impl Made {
    fn new(n: usize, width: usize, count: usize) -> Self {
        let classes: Vec<u32> = (0..n).map(|i| (i % count) as u32).collect();
        let value = |i: usize, j: usize| {
            let own = j == classes[i] as usize;
            (((i * 37 + j * 101 + 11) % 997) as f64).sin() + if own { j as f64 / 2.0 } else { 0.0 }
        };
        Self {
            rows: (0..n * width)
                .map(|e| value(e / width, e % width))
                .collect(),
            width,
            classes,
            count,
        }
    }

    fn samples(&self) -> Samples<'_> {
        Samples {
            rows: &self.rows,
            width: self.width,
            classes: &self.classes,
            count: self.count,
        }
    }

    fn accuracy(&self, fitted: &Logistic) -> f64 {
        let predicted = fitted.predict(&self.rows);
        let pairs = predicted.iter().zip(&self.classes);
        pairs.filter(|(p, c)| p == c).count() as f64 / self.classes.len() as f64
    }
}

#[test]
fn derivatives_agree_with_finite_differences() {
    let made = Made::new(600, 5, 4);
    let problem = Problem::new(made.samples(), 0.7).unwrap();
    let size = problem.q * problem.k;
    let weights: Vec<f64> = (0..size).map(|i| (i as f64 * 0.7).sin()).collect();
    let along: Vec<f64> = (0..size).map(|i| (i as f64 * 1.3).cos()).collect();
    let moved = |by: f64| {
        let mut moved = weights.clone();
        add(&mut moved, by, &along);
        problem.evaluate(moved)
    };
    const STEP: f64 = 1e-5;
    let (here, before, after) = (moved(0.0), moved(-STEP), moved(STEP));
    let slope = (after.value - before.value) / (2.0 * STEP);
    let found = dot(&here.gradient, &along);
    assert!(
        (slope - found).abs() < 1e-7 * slope.abs(),
        "{slope} {found}"
    );
    let product = problem.curvature(&here, &along);
    for (i, product) in product.into_iter().enumerate() {
        let bend = (after.gradient[i] - before.gradient[i]) / (2.0 * STEP);
        assert!((bend - product).abs() < 1e-5, "{i}: {bend} {product}");
    }
}

#[test]
fn nothing_lies_below_the_minimum() {
    let made = Made::new(700, 6, 5);
    let fitted = Logistic::fit(made.samples(), 1e-3).unwrap();
    assert!(
        fitted.converged() && fitted.slope <= TOLERANCE,
        "{fitted:?}"
    );
    let problem = Problem::new(made.samples(), 1e-3).unwrap();
    let at = problem.evaluate(fitted.weights.clone());
    assert_eq!(at.value, fitted.objective);
    for i in 0..at.weights.len() {
        for off in [-0.1, 0.1] {
            let mut moved = fitted.weights.clone();
            moved[i] += off;
            assert!(problem.evaluate(moved).value > fitted.objective, "{i}");
        }
    }
}

#[test]
fn the_result_has_the_same_bits_for_any_number_of_threads() {
    let made = Made::new(2000, 7, 3);
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.build().unwrap();
        pool.install(|| Logistic::fit(made.samples(), 1e-3).unwrap())
    };
    let one = on(1);
    assert!(one.steps > 2);
    for threads in [2, 3, 8] {
        assert_eq!(on(threads), one, "{threads} threads");
    }
}

/// Of two classes the penalty is that of one vector of weights w and the sigmoid of w · x.
#[test]
fn two_classes_are_told_apart_by_one_vector() {
    let made = Made::new(300, 3, 2);
    let fitted = Logistic::fit(made.samples(), 0.5).unwrap();
    let difference: Vec<f64> = fitted
        .weights
        .chunks_exact(2)
        .map(|w| w[1] - w[0])
        .collect();
    let loss = made
        .rows
        .chunks_exact(3)
        .zip(&made.classes)
        .map(|(row, &class)| {
            let score = dot(row, &difference[..3]) + difference[3];
            let score = if class == 1 { score } else { -score };
            (-score).exp().ln_1p()
        });
    let one = loss.sum::<f64>() + 0.25 * dot(&difference[..3], &difference[..3]);
    assert!((one - fitted.objective).abs() < 1e-6, "{one} {fitted:?}");
}

#[test]
fn classes_that_can_be_separated_are() {
    let mut made = Made::new(300, 4, 3);
    for (row, &class) in made.rows.chunks_exact_mut(4).zip(&made.classes) {
        row[class as usize] += 10.0;
    }
    let fitted = Logistic::fit(made.samples(), 1e-3).unwrap();
    assert!(fitted.converged(), "{fitted:?}");
    assert_eq!(made.accuracy(&fitted), 1.0);
    // Only the penalty keeps the weights finite.
    assert!(fitted.objective < 0.1 && fitted.weights.iter().all(|w| w.is_finite()));
}

#[test]
fn features_that_tell_nothing_do_no_harm() {
    let made = Made::new(300, 4, 3);
    let plain = Logistic::fit(made.samples(), 1e-3).unwrap();
    // A constant feature, a feature of zeros and one that is there already.
    let wide = |row: &[f64]| [row, &[1.0, 0.0, row[0]]].concat();
    let more = Made {
        rows: made.rows.chunks_exact(4).flat_map(wide).collect(),
        width: 7,
        classes: made.classes.clone(),
        count: 3,
    };
    let fitted = Logistic::fit(more.samples(), 1e-3).unwrap();
    assert!(fitted.converged(), "{fitted:?}");
    assert!(fitted.objective <= plain.objective + 1e-6);
    assert!(fitted.objective > plain.objective - 0.01);
    assert_eq!(made.accuracy(&plain), more.accuracy(&fitted));
}

#[test]
fn one_class_and_no_feature_are_no_trouble() {
    let mut made = Made::new(50, 2, 1);
    let fitted = Logistic::fit(made.samples(), 1e-3).unwrap();
    assert_eq!((fitted.objective, fitted.steps), (0.0, 0));
    assert_eq!(made.accuracy(&fitted), 1.0);
    // A class without a row is never predicted.
    made.count = 2;
    let fitted = Logistic::fit(made.samples(), 1e-3).unwrap();
    assert_eq!(made.accuracy(&fitted), 1.0);
}

/// scikit-learn 1.9.1 on the same numbers: `LogisticRegression(C=1 / 0.25, tol=1e-12,
/// solver="newton-cholesky")`, F from its `predict_proba` and `coef_`.
#[test]
fn the_minimum_is_that_of_another_program() {
    let made = Made::new(400, 5, 4);
    let fitted = Logistic::fit(made.samples(), 0.25).unwrap();
    assert!(
        (fitted.objective - 153.570_325_695_286_7).abs() < 1e-5,
        "{fitted:?}"
    );
}
