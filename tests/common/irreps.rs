//! Rotations of tensors that turn with their input.

use super::numbers::values;
use candle_core::{Device, Tensor};
use holosig::so3::irreps::Irreps;
use holosig::so3::rotation::Matrix;
use holosig::so3::wigner::d_matrices;

/// Rotates `[batch, dim]` in the published layout.
pub fn rotate_published(x: &Tensor, irreps: &Irreps, r: &Matrix) -> Tensor {
    let d = d_matrices(irreps.lmax(), r);
    let x_values = values(x);
    let mut out = vec![0.0; x_values.len()];
    for (out, x) in out
        .chunks_exact_mut(irreps.dim())
        .zip(x_values.chunks_exact(irreps.dim()))
    {
        for (l, d) in d.iter().enumerate() {
            let n = 2 * l + 1;
            for c in 0..irreps.channels(l) {
                let at = irreps.offset(l) + c * n;
                for m in 0..n {
                    out[at + m] = (0..n).map(|k| d[m * n + k] * x[at + k]).sum();
                }
            }
        }
    }
    Tensor::from_vec(out, x.shape(), &Device::Cpu)
        .unwrap()
        .to_dtype(x.dtype())
        .unwrap()
}
