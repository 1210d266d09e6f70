//! A linear map of rows: `x W^T`, or `x W^T + b`.
//!
//! What candle's own product does not: the bias goes in with the product, its gradient is a product
//! too, and no gradient is made of what has none (weights that are constants, values that come
//! before all parameters). The gradients are products, so the op is closed under differentiation.

use super::adapter::apply;
use super::count;
use super::cpu::{Matrix, MatrixMut, Real, parts, tree_sum};
use super::op::{Array, Closed, Op};
use crate::for_isa;
use candle_core::{Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::ops::Range;

/// `x W^T` for `x` `[rows, from]` and `weight` `[to, from]`: `[rows, to]`.
///
/// # Errors
/// Other shapes, or another type than f32 and f64.
pub fn dense(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    apply(Dense, [x, weight])
}

/// `x W^T + b`, `bias` `[to]`.
///
/// # Errors
/// As [`dense`].
pub fn biased(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    apply(Biased, [x, weight, bias])
}

struct Dense;

struct Biased;

/// Shape of the result.
fn shape(x: &Shape, weight: &Shape) -> Result<(usize, usize)> {
    match (x.dims2()?, weight.dims2()?) {
        ((rows, from), (to, own)) if from == own => Ok((rows, to)),
        _ => bail!("a linear map {weight:?} of rows {x:?}"),
    }
}

/// Adds `x W^T` to `out`, blocks of rows side by side.
fn product<T: Real>(x: Array<T>, weight: Array<T>, mut out: Vec<T>) -> Result<Vec<T>> {
    const ROWS: usize = 512;
    let (to, from) = weight.shape.dims2()?;
    if out.is_empty() || from == 0 {
        return Ok(out);
    }
    out.par_chunks_mut(ROWS * to)
        .zip(x.par_chunks(ROWS * from))
        .for_each(|(out, x)| {
            let dims = [x.len() / from, to, from];
            let weight = Matrix::turned(&weight, from);
            MatrixMut::rows(out, to).add(dims, Matrix::rows(x, from), weight);
        });
    Ok(out)
}

/// The gradients of `x` and of the weight.
fn gradients(
    [x, weight]: [&Tensor; 2],
    grad: &Tensor,
    [wants_x, wants_weight]: [bool; 2],
) -> Result<[Option<Tensor>; 2]> {
    let wanted = usize::from(wants_x) + usize::from(wants_weight);
    count::add(wanted * grad.dim(0)? * weight.elem_count());
    Ok([
        wants_x.then(|| grad.matmul(weight)).transpose()?,
        wants_weight.then(|| grad.t()?.matmul(x)).transpose()?,
    ])
}

impl Op<2> for Dense {
    const NAME: &'static str = "the linear map of rows";

    fn shape(&self, [x, weight]: [&Shape; 2]) -> Result<Shape> {
        Ok(shape(x, weight)?.into())
    }

    fn forward<T: Real>(&self, [x, weight]: [Array<T>; 2]) -> Result<Vec<T>> {
        let (rows, to) = shape(x.shape, weight.shape)?;
        product(x, weight, vec![T::zero(); rows * to])
    }

    fn products(&self, [x, weight]: [&Shape; 2]) -> usize {
        x.dims()[0] * weight.elem_count()
    }
}

impl Closed<2> for Dense {
    fn backward(
        &self,
        inputs: [&Tensor; 2],
        grad: &Tensor,
        wanted: [bool; 2],
    ) -> Result<[Option<Tensor>; 2]> {
        gradients(inputs, grad, wanted)
    }
}

impl Op<3> for Biased {
    const NAME: &'static str = "the linear map of rows with a bias";

    fn shape(&self, [x, weight, bias]: [&Shape; 3]) -> Result<Shape> {
        let (rows, to) = shape(x, weight)?;
        match bias.dims1()? == to {
            true => Ok((rows, to).into()),
            false => bail!("a bias {bias:?} for {to} channels"),
        }
    }

    fn forward<T: Real>(&self, [x, weight, bias]: [Array<T>; 3]) -> Result<Vec<T>> {
        let (rows, _) = shape(x.shape, weight.shape)?;
        product(x, weight, bias.repeat(rows))
    }

    fn products(&self, [x, weight, _]: [&Shape; 3]) -> usize {
        x.dims()[0] * weight.elem_count()
    }
}

impl Closed<3> for Biased {
    fn backward(
        &self,
        [x, weight, _]: [&Tensor; 3],
        grad: &Tensor,
        [wants_x, wants_weight, wants_bias]: [bool; 3],
    ) -> Result<[Option<Tensor>; 3]> {
        let [of_x, of_weight] = gradients([x, weight], grad, [wants_x, wants_weight])?;
        let of_bias = || apply(Sum, [grad]);
        Ok([of_x, of_weight, wants_bias.then(of_bias).transpose()?])
    }
}

/// The sum of all rows.
struct Sum;

for_isa!(
    /// Adds the rows to `sum`.
    fn add_rows(rows: &[T], sum: &mut [T]) = add_rows_any
);

#[inline(always)]
fn add_rows_any<T: Real, const FUSED: bool>(rows: &[T], sum: &mut [T]) {
    for row in rows.chunks_exact(sum.len()) {
        sum.iter_mut().zip(row).for_each(|(sum, &x)| *sum += x);
    }
}

impl Op<1> for Sum {
    const NAME: &'static str = "the sum of rows";

    fn shape(&self, [x]: [&Shape; 1]) -> Result<Shape> {
        Ok(x.dims2()?.1.into())
    }

    fn forward<T: Real>(&self, [x]: [Array<T>; 1]) -> Result<Vec<T>> {
        const ROWS: usize = 512;
        let (rows, width) = x.shape.dims2()?;
        let sum = |part: Range<usize>| {
            let mut sum = vec![T::zero(); width];
            add_rows(&x[part.start * width..part.end * width], &mut sum);
            sum
        };
        match rows * width {
            0 => Ok(vec![T::zero(); width]),
            _ => Ok(tree_sum(
                parts(rows, ROWS).into_par_iter().map(sum).collect(),
            )),
        }
    }
}

impl Closed<1> for Sum {
    fn backward(
        &self,
        [x]: [&Tensor; 1],
        grad: &Tensor,
        _: [bool; 1],
    ) -> Result<[Option<Tensor>; 1]> {
        Ok([Some(grad.broadcast_as(x.shape())?)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    fn numbers(shape: (usize, usize), step: f64) -> Tensor {
        let values = Tensor::arange(0f64, (shape.0 * shape.1) as f64, &Device::Cpu).unwrap();
        (values * step)
            .unwrap()
            .sin()
            .unwrap()
            .reshape(shape)
            .unwrap()
    }

    fn values(t: &Tensor) -> Vec<f64> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn results_and_gradients_equal_those_of_products_of_matrices() {
        // More rows than one block.
        let var = |t: Tensor| Var::from_tensor(&t).unwrap().into_inner();
        let (x, w) = (var(numbers((700, 5), 0.37)), var(numbers((3, 5), 0.71)));
        let b = var(numbers((1, 3), 1.3).reshape(3).unwrap());
        let weights = numbers((700, 3), 0.11);
        let plain = x.matmul(&w.t().unwrap()).unwrap();
        for (own, published) in [
            (dense(&x, &w).unwrap(), plain.clone()),
            (
                biased(&x, &w, &b).unwrap(),
                plain.broadcast_add(&b).unwrap(),
            ),
        ] {
            let results = [own, published].map(|y| {
                let store = (&y * &weights)
                    .unwrap()
                    .sum_all()
                    .unwrap()
                    .backward()
                    .unwrap();
                let gradients = [&x, &w, &b].map(|v| store.get(v).map(values));
                (values(&y), gradients)
            });
            let flat = |(y, gradients): &(Vec<f64>, [Option<Vec<f64>>; 3])| {
                let parts = gradients.iter().flatten().flatten();
                y.iter().chain(parts).copied().collect::<Vec<f64>>()
            };
            let [own, published] = results.each_ref().map(flat);
            assert_eq!(own.len(), published.len());
            assert!(
                own.iter()
                    .zip(&published)
                    .all(|(a, b)| (a - b).abs() < 1e-11)
            );
        }
    }

    #[test]
    fn constants_have_no_gradient() {
        let x = Var::from_tensor(&numbers((4, 5), 0.37))
            .unwrap()
            .into_inner();
        let w = numbers((3, 5), 0.71);
        let store = dense(&x, &w)
            .unwrap()
            .sum_all()
            .unwrap()
            .backward()
            .unwrap();
        assert!(store.get(&w).is_none() && store.get(&x).is_some());
    }

    #[test]
    fn wrong_shapes_are_refused() {
        let (x, w) = (numbers((4, 5), 0.3), numbers((3, 4), 0.7));
        assert!(dense(&x, &w).is_err());
        assert!(biased(&x, &x, &numbers((1, 3), 0.1).reshape(3).unwrap()).is_err());
    }
}
