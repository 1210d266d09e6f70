//! Steerable tensors by degree, for the general (unfused) layers.

use crate::so3::irreps::Irreps;
use candle_core::{Result, Tensor};

/// Degree `l` of `h` `[batch, irreps.dim()]` as `[batch, 2l+1, channels]`.
pub fn degree(h: &Tensor, irreps: &Irreps, l: usize) -> Result<Tensor> {
    let (n, c) = (2 * l + 1, irreps.channels(l));
    h.narrow(1, irreps.offset(l), n * c)?.reshape(((), n, c))
}

/// All degrees of `h`.
pub fn degrees(h: &Tensor, irreps: &Irreps) -> Result<Vec<Tensor>> {
    (0..=irreps.lmax()).map(|l| degree(h, irreps, l)).collect()
}

/// Puts degrees `[batch, 2l+1, channels_l]` back together.
pub fn join(parts: &[Tensor]) -> Result<Tensor> {
    let flat = parts
        .iter()
        .map(|p| p.flatten_from(1))
        .collect::<Result<Vec<_>>>()?;
    Tensor::cat(&flat, 1)
}

/// From the published flat layout (channel-major inside a degree) to steerable, and back.
/// Only models without a first linear map need it.
pub fn from_published(x: &Tensor, irreps: &Irreps) -> Result<Tensor> {
    swap(x, irreps, |l| (irreps.channels(l), 2 * l + 1))
}

/// Inverse of [`from_published`].
pub fn to_published(h: &Tensor, irreps: &Irreps) -> Result<Tensor> {
    swap(h, irreps, |l| (2 * l + 1, irreps.channels(l)))
}

fn swap(x: &Tensor, irreps: &Irreps, shape: impl Fn(usize) -> (usize, usize)) -> Result<Tensor> {
    let parts = (0..=irreps.lmax()).map(|l| {
        let (a, b) = shape(l);
        x.narrow(1, irreps.offset(l), a * b)?
            .reshape(((), a, b))?
            .transpose(1, 2)?
            .contiguous()
    });
    join(&parts.collect::<Result<Vec<_>>>()?)
}
