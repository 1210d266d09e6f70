//! The learned frame: Gram-Schmidt on two vectors.

use candle_core::{Result, Tensor};

/// Squared lengths below this count as zero. Its square, which a quotient's derivative divides
/// by, is still a normal f32.
const TINY: f64 = 1e-16;

/// Frame `[batch, 3, 3]` with rows x, y, z from two vectors `[batch, 2, 3]`: x along the first,
/// y along the second's part orthogonal to it, z = x cross y. Vectors of length zero or parallel
/// to each other give zero or arbitrary rows, never NaN, and finite gradients.
pub fn gram_schmidt(vectors: &Tensor) -> Result<Tensor> {
    let x = vectors.narrow(1, 0, 1)?.squeeze(1)?;
    let second = vectors.narrow(1, 1, 1)?.squeeze(1)?;
    let along = (dot(&x, &second)? / clamped(&dot(&x, &x)?)?)?;
    let y = (second - x.broadcast_mul(&along)?)?;
    let (x, y) = (unit(&x)?, unit(&y)?);
    let z = unit(&cross(&x, &y)?)?;
    Tensor::stack(&[x, y, z], 1)
}

/// `[batch, 1]`.
fn dot(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    (a * b)?.sum_keepdim(1)
}

fn clamped(square: &Tensor) -> Result<Tensor> {
    square.maximum(&Tensor::full(TINY, square.shape(), square.device())?.to_dtype(square.dtype())?)
}

fn unit(v: &Tensor) -> Result<Tensor> {
    v.broadcast_div(&clamped(&dot(v, v)?)?.sqrt()?)
}

fn cross(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let part = |v: &Tensor, i: usize| v.narrow(1, i, 1);
    let component =
        |i: usize, j: usize| (part(a, i)? * part(b, j)?)? - (part(a, j)? * part(b, i)?)?;
    Tensor::cat(&[component(1, 2)?, component(2, 0)?, component(0, 1)?], 1)
}
