//! A constant sparse matrix.

use crate::ops::cpu::Real;
use rayon::prelude::*;
use std::sync::Arc;

/// Compressed rows.
#[derive(Debug, Clone)]
pub(in crate::ops) struct Rows {
    pub(in crate::ops) offsets: Vec<usize>,
    pub(in crate::ops) entries: Vec<(u32, f64)>,
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
    pub(in crate::ops) fn apply<T: Real>(&self, x: &[T], width: usize) -> Vec<T> {
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
    pub(in crate::ops) rows: Rows,
    pub(in crate::ops) columns: Rows,
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

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.rows.offsets.len() - 1, self.columns.offsets.len() - 1)
    }
}
