//! The op on a GPU.

use super::matrix::{Rows, Sparse};
use crate::ops::device::{Arg, Kind, Sequence};
use std::sync::Arc;

/// Largest second dimension of a grid.
const GRID: usize = 65_535;

/// A sparse matrix and its transpose, by rows.
pub struct Tables {
    matrix: Compressed,
    transpose: Compressed,
}

struct Compressed {
    offsets: Arc<[i32]>,
    columns: Arc<[i32]>,
    values: Arc<[f32]>,
}

impl Compressed {
    fn new(rows: &Rows) -> Self {
        Self {
            offsets: rows.offsets.iter().map(|&o| o as i32).collect(),
            columns: rows.entries.iter().map(|e| e.0 as i32).collect(),
            values: rows.entries.iter().map(|e| e.1 as f32).collect(),
        }
    }

    fn rows(&self) -> usize {
        self.offsets.len() - 1
    }
}

impl Tables {
    pub fn new(sparse: &Sparse) -> Self {
        Self {
            matrix: Compressed::new(&sparse.rows),
            transpose: Compressed::new(&sparse.columns),
        }
    }
}

/// Input x `[columns, width]`; output A x. The transpose's product is the gradient.
pub fn apply(t: &Tables, transposed: bool, width: usize) -> Sequence {
    let (a, other) = match transposed {
        false => (&t.matrix, &t.transpose),
        true => (&t.transpose, &t.matrix),
    };
    let rows = a.rows();
    let mut s = Sequence::default();
    let x = s.input(Kind::F32, other.rows() * width);
    let out = s.output(Kind::F32, rows * width);
    let tables = [s.ints(&a.offsets), s.ints(&a.columns), s.floats(&a.values)];
    let mut args = vec![x, out];
    args.extend(tables);
    args.extend([rows, width].map(|v| Arg::I32(v as i32)));
    let grid = [width.div_ceil(128), rows.min(GRID), rows.div_ceil(GRID)];
    s.launch("sparse", "sparse_product", grid, [128, 1, 1], 0, args);
    s
}
