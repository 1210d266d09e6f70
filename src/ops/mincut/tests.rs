use super::*;
use crate::ops::assign::assign;
use crate::ops::sparse::Sparse;
use candle_core::{Device, Var};

fn var(shape: &[usize], seed: f64) -> Var {
    let len = shape.iter().product::<usize>();
    let values: Vec<f64> = (0..len).map(|i| (seed + 1.7 * i as f64).sin()).collect();
    Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
}

fn edges(n: usize, symmetric: bool) -> Edges {
    let mut entries = Vec::new();
    let mut degrees = vec![0.0; n];
    for i in 0..n {
        let j = (3 * i + 1) % n;
        if i != j {
            entries.push((i, j, 1.0));
            degrees[i] += 1.0;
            if symmetric {
                entries.push((j, i, 1.0));
                degrees[j] += 1.0;
            }
        }
    }
    Edges {
        matrix: Sparse::new(n, n, &entries),
        degrees: degrees.into(),
        symmetric,
    }
}

/// Two levels, so that an adjacency of clusters has a gradient too.
#[test]
fn equal_to_plain_operations() {
    let (n, h, k, m) = (31, 4, 9, 5);
    let v = [
        var(&[n, h], 0.3),
        var(&[k, h], 0.1),
        var(&[k], 0.7),
        var(&[k, h], 0.9),
        var(&[m, h], 1.1),
        var(&[m], 0.2),
    ];
    for symmetric in [true, false] {
        let edges = edges(n, symmetric);
        let run = |pool: &dyn Fn(&Tensor, Adjacency) -> Result<Pooled>| -> Result<Tensor> {
            let first = pool(&assign(&v[0], &v[1], &v[2])?, Adjacency::Graph(&edges))?;
            let clusters = Adjacency::Clusters(&first.adjacency);
            let second = pool(&assign(&v[3], &v[4], &v[5])?, clusters)?;
            let all = [first, second].map(|p| {
                let scalars = Tensor::stack(&[p.mincut, p.orthogonality], 0)?;
                Tensor::cat(&[p.adjacency.flatten_all()?, scalars], 0)
            });
            let [a, b] = all;
            Tensor::cat(&[a?, b?], 0)
        };
        let results = [run(&pool).unwrap(), run(&plain).unwrap()];
        let weights = var(results[0].dims(), 2.0);
        let gradients = results.each_ref().map(|y| {
            let loss = (y * weights.as_tensor()).unwrap().sum_all().unwrap();
            loss.backward().unwrap()
        });
        let close = |a: &Tensor, b: &Tensor| {
            let [a, b] = [a, b].map(|t| t.flatten_all().unwrap().to_vec1::<f64>().unwrap());
            for (a, b) in a.iter().zip(&b) {
                assert!((a - b).abs() < 1e-11 * (1.0 + b.abs()), "{a} against {b}");
            }
        };
        close(&results[0], &results[1]);
        for v in &v {
            close(gradients[0].get(v).unwrap(), gradients[1].get(v).unwrap());
        }
    }
}
