//! Products of matrices.

use super::Real;

/// A matrix operand: elements, and strides of its rows and columns.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    row: usize,
    column: usize,
}

impl<'a, T> Matrix<'a, T> {
    pub fn strided(data: &'a [T], row: usize, column: usize) -> Self {
        Self { data, row, column }
    }

    /// A matrix of rows that start `width` elements apart.
    pub fn rows(data: &'a [T], width: usize) -> Self {
        Self::strided(data, width, 1)
    }

    /// The transpose of [`Matrix::rows`].
    pub fn turned(data: &'a [T], width: usize) -> Self {
        Self::strided(data, 1, width)
    }
}

/// A matrix that a product is written to.
pub struct MatrixMut<'a, T> {
    data: &'a mut [T],
    row: usize,
    column: usize,
}

impl<'a, T: Real> MatrixMut<'a, T> {
    pub fn strided(data: &'a mut [T], row: usize, column: usize) -> Self {
        Self { data, row, column }
    }

    /// A matrix of rows that start `width` elements apart.
    pub fn rows(data: &'a mut [T], width: usize) -> Self {
        Self::strided(data, width, 1)
    }

    /// `self[m, n] = a[m, k] b[k, n]` on one thread.
    pub fn set(self, dims: [usize; 3], a: Matrix<T>, b: Matrix<T>) {
        self.write(dims, a, b, false);
    }

    /// `self[m, n] += a[m, k] b[k, n]` on one thread.
    pub fn add(self, dims: [usize; 3], a: Matrix<T>, b: Matrix<T>) {
        self.write(dims, a, b, true);
    }

    /// [`MatrixMut::add`] where `add` says so, else [`MatrixMut::set`].
    ///
    /// # Panics
    /// An operand too short for its sizes.
    pub fn write(self, [m, n, k]: [usize; 3], a: Matrix<T>, b: Matrix<T>, add: bool) {
        if m == 0 || n == 0 {
            return;
        }
        let last = |rows: usize, columns: usize, row: usize, column: usize| match rows * columns {
            0 => 0,
            _ => (rows - 1) * row + (columns - 1) * column + 1,
        };
        let out_end = last(m, n, self.row, self.column);
        assert!(out_end <= self.data.len(), "product: output too short");
        let a_end = last(m, k, a.row, a.column);
        assert!(a_end <= a.data.len(), "product: left operand too short");
        let b_end = last(k, n, b.row, b.column);
        assert!(b_end <= b.data.len(), "product: right operand too short");
        // SAFETY: the largest index of each operand was checked above; the output is borrowed
        // mutably, so it overlaps neither operand.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                self.data.as_mut_ptr(),
                self.column as isize,
                self.row as isize,
                add,
                a.data.as_ptr(),
                a.column as isize,
                a.row as isize,
                b.data.as_ptr(),
                b.column as isize,
                b.row as isize,
                if add { T::one() } else { T::zero() },
                T::one(),
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}
