//! Distances between points of many dimensions.

use super::cpu::{Real, fma};
use crate::for_isa;

for_isa!(
    /// Squared distances of rows `[n, d]` from a point `[d]` to `out` `[n]`, summed in f64 and in
    /// eight lanes.
    pub fn squared_distances(point: &[T], rows: &[T], out: &mut [f64]) = squared_distances_any
);

#[inline(always)]
fn squared_distances_any<T: Real, const FUSED: bool>(point: &[T], rows: &[T], out: &mut [f64]) {
    let (point, point_rest) = point.as_chunks::<8>();
    for (out, row) in out
        .iter_mut()
        .zip(rows.chunks_exact(point.len() * 8 + point_rest.len()))
    {
        let (row, row_rest) = row.as_chunks::<8>();
        let mut lanes = [0f64; 8];
        for (a, b) in point.iter().zip(row) {
            for s in 0..8 {
                let d = a[s].to_f64() - b[s].to_f64();
                lanes[s] = fma::<f64, FUSED>(d, d, lanes[s]);
            }
        }
        let rest = point_rest.iter().zip(row_rest);
        let rest: f64 = rest.map(|(a, b)| (a.to_f64() - b.to_f64()).powi(2)).sum();
        *out = rest + lanes.into_iter().sum::<f64>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_of_the_definition() {
        for d in [1, 8, 11] {
            let at = |i: usize| (i as f64 * 0.7).sin();
            let point: Vec<f64> = (0..d).map(at).collect();
            let rows: Vec<f64> = (5..5 + 3 * d).map(at).collect();
            let mut found = [0.0; 3];
            squared_distances(&point, &rows, &mut found);
            for (row, found) in rows.chunks(d).zip(found) {
                let pairs = point.iter().zip(row);
                let expected: f64 = pairs.map(|(a, b)| (a - b) * (a - b)).sum();
                assert!((found - expected).abs() < 1e-12, "{d}: {found} {expected}");
            }
        }
    }
}
