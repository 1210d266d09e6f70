//! Constant sparse matrices times dense tensors.

#[cfg(feature = "cuda")]
mod cuda;

use super::cpu::{Real, dtype, output, slice, view};
use crate::with_real;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::sync::Arc;

/// Compressed rows.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    pub(super) offsets: Vec<usize>,
    pub(super) entries: Vec<(u32, f64)>,
}

impl Rows {
    fn new(rows: usize, entries: impl Iterator<Item = (usize, usize, f64)> + Clone) -> Self {
        let mut offsets = vec![0; rows + 1];
        for (row, ..) in entries.clone() {
            offsets[row + 1] += 1;
        }
        for i in 0..rows {
            offsets[i + 1] += offsets[i];
        }
        let mut next = offsets.clone();
        let mut out = vec![(0, 0.0); offsets[rows]];
        for (row, column, value) in entries {
            out[next[row]] = (column as u32, value);
            next[row] += 1;
        }
        Self {
            offsets,
            entries: out,
        }
    }

    /// `A x`, `x` `[columns, width]`.
    pub(super) fn apply<T: Real>(&self, x: &[T], width: usize) -> Vec<T> {
        let rows = self.offsets.len() - 1;
        let mut out = vec![T::zero(); rows * width];
        out.par_chunks_mut(width.max(1))
            .enumerate()
            .for_each(|(row, out)| {
                for &(column, value) in &self.entries[self.offsets[row]..self.offsets[row + 1]] {
                    let value = T::from_f64(value);
                    let x = &x[column as usize * width..][..width];
                    for (o, &x) in out.iter_mut().zip(x) {
                        *o += value * x;
                    }
                }
            });
        out
    }
}

/// A sparse matrix and its transpose.
#[derive(Debug, Clone)]
pub struct Sparse {
    pub(super) rows: Rows,
    pub(super) columns: Rows,
}

impl Sparse {
    /// A matrix of `rows` x `columns` from `(row, column, value)`; equal places add up.
    ///
    /// # Panics
    /// An entry outside the matrix.
    pub fn new(rows: usize, columns: usize, entries: &[(usize, usize, f64)]) -> Arc<Self> {
        let turned = entries.iter().map(|&(r, c, v)| (c, r, v));
        Arc::new(Self {
            rows: Rows::new(rows, entries.iter().copied()),
            columns: Rows::new(columns, turned),
        })
    }

    /// `A x` for `x` `[columns, width]`.
    ///
    /// # Errors
    /// Another shape, or another type than f32 and f64.
    pub fn apply(self: &Arc<Self>, x: &Tensor) -> Result<Tensor> {
        x.contiguous()?.apply_op1(Product(self.clone()))
    }

    /// Rows and columns.
    fn shape(&self) -> (usize, usize) {
        (self.rows.offsets.len() - 1, self.columns.offsets.len() - 1)
    }

    /// Width of a matrix that this one can be multiplied with.
    fn check(&self, x: &Shape) -> Result<usize> {
        let (columns, width) = x.dims2()?;
        let own = self.shape().1;
        if columns != own {
            bail!("a sparse matrix of {own} columns times a matrix of {columns} rows");
        }
        Ok(width)
    }
}

struct Product(Arc<Sparse>);

impl CustomOp1 for Product {
    fn name(&self) -> &'static str {
        "sparse-product"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let width = self.0.check(layout.shape())?;
        let rows = self.0.shape().0;
        with_real!(dtype(storage), T => {
            let out = self.0.rows.apply(slice::<T>(storage, layout)?, width);
            Ok(output(out, (rows, width)))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        self.cuda_forward((storage, layout))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        #[cfg(feature = "cuda")]
        if grad.device().is_cuda() {
            return Ok(Some(self.cuda_backward(x, &grad)?));
        }
        with_real!(grad.dtype(), T => {
            let g = self.0.columns.apply::<T>(&view(&grad)?, grad.dim(1)?);
            Ok(Some(Tensor::from_vec(g, x.shape(), x.device())?))
        })
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
