//! Blocks of sixteen f32: a whole number of vector registers on every machine.

use pulp::bytemuck::{self, Pod, Zeroable};

pub const LANES: usize = 16;

/// Sixteen numbers side by side, aligned to the widest register.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Lanes(pub [f32; LANES]);

// SAFETY: an array of f32 as large as its alignment, so without padding.
unsafe impl Zeroable for Lanes {}
// SAFETY: as above.
unsafe impl Pod for Lanes {}

impl Lanes {
    pub const ZERO: Self = Self([0.0; LANES]);

    pub fn flat(lanes: &[Self]) -> &[f32] {
        bytemuck::cast_slice(lanes)
    }

    pub fn flat_mut(lanes: &mut [Self]) -> &mut [f32] {
        bytemuck::cast_slice_mut(lanes)
    }
}

/// Writes the columns of `rows` to `out`, `stride` apart: row `i` of `out` is column `i` of `rows`.
#[inline(always)]
pub fn transpose(rows: &[Lanes], out: &mut [Lanes], stride: usize) {
    for i in (0..LANES).step_by(4) {
        for j in (0..LANES).step_by(4) {
            let block = |k: usize| -> [f32; 4] { std::array::from_fn(|c| rows[i + k].0[j + c]) };
            let turned = transpose4([block(0), block(1), block(2), block(3)]);
            for (k, row) in turned.iter().enumerate() {
                out[(j + k) * stride].0[i..i + 4].copy_from_slice(row);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn transpose4(rows: [[f32; 4]; 4]) -> [[f32; 4]; 4] {
    use std::arch::x86_64::{__m128, _MM_TRANSPOSE4_PS};
    // SAFETY: SSE is part of every x86-64; both types are four f32 without padding.
    unsafe {
        let [mut a, mut b, mut c, mut d]: [__m128; 4] = std::mem::transmute(rows);
        _MM_TRANSPOSE4_PS(&mut a, &mut b, &mut c, &mut d);
        std::mem::transmute([a, b, c, d])
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn transpose4(rows: [[f32; 4]; 4]) -> [[f32; 4]; 4] {
    std::array::from_fn(|i| std::array::from_fn(|j| rows[j][i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transpose_swaps_rows_and_columns() {
        let mut rows = [Lanes::ZERO; LANES];
        for (i, row) in rows.iter_mut().enumerate() {
            for (j, value) in row.0.iter_mut().enumerate() {
                *value = (100 * i + j) as f32;
            }
        }
        let mut columns = [Lanes::ZERO; 3 * LANES];
        transpose(&rows, &mut columns, 3);
        for (i, column) in columns.iter().step_by(3).enumerate() {
            for (j, value) in column.0.iter().enumerate() {
                assert_eq!(*value, (100 * j + i) as f32);
            }
        }
    }
}
