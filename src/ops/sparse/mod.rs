//! Constant sparse matrices times dense tensors.

pub mod launches;
mod matrix;

pub use matrix::Sparse;

use super::adapter::apply;
use super::cache::cached_for;
use super::cpu::Real;
use super::device::Kind;
use super::op::{Array, Call, Closed, Gradients, Op};
use candle_core::{Result, Shape, Tensor, bail};
use std::sync::Arc;

impl Sparse {
    /// `A x` for `x` `[columns, width]`.
    ///
    /// # Errors
    /// Another shape, or another type than f32 and f64.
    pub fn apply(self: &Arc<Self>, x: &Tensor) -> Result<Tensor> {
        let op = Product {
            matrix: self.clone(),
            transposed: false,
        };
        apply(op, [x])
    }
}

/// The product with a matrix or with its transpose; each is the gradient of the other.
struct Product {
    matrix: Arc<Sparse>,
    transposed: bool,
}

impl Op<1> for Product {
    const NAME: &'static str = "the product with a sparse matrix";

    fn shape(&self, [x]: [&Shape; 1]) -> Result<Shape> {
        let (given, width) = x.dims2()?;
        let (mut rows, mut columns) = self.matrix.shape();
        if self.transposed {
            (rows, columns) = (columns, rows);
        }
        if given != columns {
            bail!("a sparse matrix of {columns} columns times a matrix of {given} rows");
        }
        Ok((rows, width).into())
    }

    fn forward<T: Real>(&self, [x]: [Array<T>; 1]) -> Result<Vec<T>> {
        let rows = match self.transposed {
            false => &self.matrix.rows,
            true => &self.matrix.columns,
        };
        Ok(rows.apply(&x, x.shape.dims()[1]))
    }

    fn launches(&self, _: Kind, [x]: [&Shape; 1]) -> Result<Call> {
        let tables = cached_for(&self.matrix, launches::Tables::new);
        let sequence = launches::apply(&tables, self.transposed, x.dims()[1]);
        Ok(Call::forward(sequence, 1))
    }
}

impl Closed<1> for Product {
    fn backward(&self, _: [&Tensor; 1], grad: &Tensor, _: [bool; 1]) -> Result<Gradients<1>> {
        let op = Product {
            matrix: self.matrix.clone(),
            transposed: !self.transposed,
        };
        Ok([Some(apply(op, [grad])?)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn product_and_gradient_equal_the_dense_ones() {
        let entries = [
            (0, 1, 2.0),
            (2, 0, -1.0),
            (0, 1, 0.5),
            (1, 2, 3.0),
            (2, 2, 1.0),
        ];
        let sparse = Sparse::new(3, 4, &entries);
        let mut dense = vec![0.0; 12];
        for (r, c, v) in entries {
            dense[r * 4 + c] += v;
        }
        let dense = Tensor::from_vec(dense, (3, 4), &Device::Cpu).unwrap();
        let x = Tensor::arange(0f64, 20.0, &Device::Cpu).unwrap();
        let x = Var::from_tensor(&x.reshape((4, 5)).unwrap()).unwrap();
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let results = [
            sparse.apply(x.as_tensor()).unwrap(),
            dense.matmul(x.as_tensor()).unwrap(),
        ];
        let gradients = results.each_ref().map(|y| {
            let loss = y.sqr().unwrap().sum_all().unwrap();
            flat(loss.backward().unwrap().get(x.as_tensor()).unwrap())
        });
        assert_eq!(flat(&results[0]), flat(&results[1]));
        assert_eq!(gradients[0], gradients[1]);
        assert!(sparse.apply(&dense).is_err());
    }
}
