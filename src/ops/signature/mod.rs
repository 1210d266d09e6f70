//! Truncated signatures and log-signatures of batches of paths.
//!
//! A path `[batch, L, c]` is the piecewise linear curve through its `L` points. Its signature to
//! depth `N` is `[batch, c + c^2 + .. + c^N]`, its log-signature the same in the expanded basis,
//! or one number per Lyndon word; the order of terms is that of [`crate::words`]. The result does
//! not depend on where a path starts nor on how fast it runs. Everything is differentiable with
//! respect to the path; samples are independent, so bits do not depend on the number of threads.

#[cfg(feature = "cuda")]
mod cuda;
mod horner;
mod logarithm;
mod lyndon;

use super::cpu::{Real, dtype, output, slice, view};
use crate::{with_real, words};
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::sync::Arc;

/// In which terms a log-signature is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// The coefficients of the Lyndon words, which determine all others.
    Words,
    /// The coefficients of all words.
    Expand,
}

/// Length of a signature; an error when it is beyond the machine's numbers.
fn terms(channels: usize, depth: usize) -> Result<usize> {
    if depth == 0 {
        bail!("a signature needs a depth of at least 1");
    }
    match words::terms(channels, depth) {
        Some(n) if n <= isize::MAX as usize / 16 => Ok(n),
        _ => bail!("a signature of {channels} channels to depth {depth} is too long"),
    }
}

/// The signature of `path` `[batch, L, c]` to `depth`, `[batch, c + .. + c^depth]`.
///
/// # Errors
/// Another rank or type, a path without points or channels, a depth of 0, more terms than
/// memory can address.
pub fn signature(path: &Tensor, depth: usize) -> Result<Tensor> {
    check(path)?;
    terms(path.dim(2)?, depth)?;
    path.contiguous()?.apply_op1(Signature { depth })
}

/// The logarithm of the signature of `path` `[batch, L, c]` to `depth`. In the expanded basis it
/// is `[batch, c + .. + c^depth]`; at Lyndon words `[batch, words::lyndon_terms(c, depth)]`, to
/// depth 3 without a signature in between. Otherwise an f32 path is treated in f64.
///
/// # Errors
/// As [`signature`].
pub fn log_signature(path: &Tensor, depth: usize, basis: Basis) -> Result<Tensor> {
    check(path)?;
    let channels = path.dim(2)?;
    if basis == Basis::Words && (1..=3).contains(&depth) {
        return path.contiguous()?.apply_op1(Lyndon { depth });
    }
    // The series' terms cancel: in f32 the fourth and later levels would lose two digits.
    let logarithm =
        signature(&path.to_dtype(DType::F64)?, depth)?.apply_op1(Logarithm { channels, depth })?;
    let logarithm = match basis {
        Basis::Expand => logarithm,
        Basis::Words => logarithm.apply_op1(Gather {
            positions: words::lyndon_positions(channels, depth).into(),
        })?,
    };
    logarithm.to_dtype(path.dtype())
}

fn check(path: &Tensor) -> Result<()> {
    let (_, points, channels) = path.dims3()?;
    if points == 0 || channels == 0 {
        bail!("a path needs at least one point and one channel, not {points} and {channels}");
    }
    if !matches!(path.dtype(), DType::F32 | DType::F64) {
        bail!("a path is f32 or f64, not {:?}", path.dtype());
    }
    Ok(())
}

/// Fills rows of `width` of a new vector, in parallel.
fn map_rows<T: Real>(rows: usize, width: usize, fill: impl Fn(usize, &mut [T]) + Sync) -> Vec<T> {
    let mut out = vec![T::zero(); rows * width];
    out.par_chunks_mut(width.max(1))
        .enumerate()
        .for_each(|(i, row)| fill(i, row));
    out
}

/// Row `i` of rows of equal width.
fn row<T>(data: &[T], rows: usize, i: usize) -> &[T] {
    let width = data.len() / rows;
    &data[i * width..(i + 1) * width]
}

struct Signature {
    depth: usize,
}

impl CustomOp1 for Signature {
    fn name(&self) -> &'static str {
        "signature"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, _, c) = layout.shape().dims3()?;
        let shape = horner::Shape::new(c, self.depth);
        with_real!(dtype(storage), T => {
            let path = slice::<T>(storage, layout)?;
            let out = map_rows(batch, shape.terms(), |i, out: &mut [T]| {
                horner::forward(&shape, row(path, batch, i), out)
            });
            Ok(output(out, (batch, shape.terms())))
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

    fn bwd(&self, path: &Tensor, out: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (batch, points, c) = path.dims3()?;
        let shape = horner::Shape::new(c, self.depth);
        let grad = grad.contiguous()?;
        #[cfg(feature = "cuda")]
        if grad.device().is_cuda() {
            return Ok(Some(self.cuda_backward(path, out, &grad)?));
        }
        with_real!(grad.dtype(), T => {
            let (path_data, out, grad) = (&*view::<T>(path)?, &*view::<T>(out)?, &*view::<T>(&grad)?);
            let gpath = map_rows(batch, points * c, |i, gpath: &mut [T]| {
                let of = |data| row::<T>(data, batch, i);
                horner::backward(&shape, of(path_data), of(out), of(grad), gpath)
            });
            Ok(Some(Tensor::from_vec(gpath, path.shape(), path.device())?))
        })
    }
}

struct Logarithm {
    channels: usize,
    depth: usize,
}

impl CustomOp1 for Logarithm {
    fn name(&self) -> &'static str {
        "tensor-logarithm"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, terms) = layout.shape().dims2()?;
        let shape = horner::Shape::new(self.channels, self.depth);
        with_real!(dtype(storage), T => {
            let x = slice::<T>(storage, layout)?;
            let out = map_rows(batch, terms, |i, out: &mut [T]| {
                logarithm::forward(&shape, row(x, batch, i), out)
            });
            Ok(output(out, (batch, terms)))
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
        let (batch, terms) = x.dims2()?;
        let shape = horner::Shape::new(self.channels, self.depth);
        let grad = grad.contiguous()?;
        #[cfg(feature = "cuda")]
        if grad.device().is_cuda() {
            return Ok(Some(self.cuda_backward(x, &grad)?));
        }
        with_real!(grad.dtype(), T => {
            let (data, grad) = (&*view::<T>(x)?, &*view::<T>(&grad)?);
            let gx = map_rows(batch, terms, |i, gx: &mut [T]| {
                logarithm::backward(&shape, row(data, batch, i), row(grad, batch, i), gx)
            });
            Ok(Some(Tensor::from_vec(gx, x.shape(), x.device())?))
        })
    }
}

struct Lyndon {
    depth: usize,
}

impl CustomOp1 for Lyndon {
    fn name(&self) -> &'static str {
        "lyndon-log-signature"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, _, c) = layout.shape().dims3()?;
        let Some(terms) = words::lyndon_terms(c, self.depth) else {
            bail!(
                "a log-signature of {c} channels to depth {} is too long",
                self.depth
            )
        };
        with_real!(dtype(storage), T => {
            let path = slice::<T>(storage, layout)?;
            let out = map_rows(batch, terms, |i, out: &mut [T]| {
                lyndon::forward(c, self.depth, row(path, batch, i), out)
            });
            Ok(output(out, (batch, terms)))
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

    fn bwd(&self, path: &Tensor, out: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (batch, points, c) = path.dims3()?;
        let grad = grad.contiguous()?;
        #[cfg(feature = "cuda")]
        if grad.device().is_cuda() {
            return Ok(Some(self.cuda_backward(path, out, &grad)?));
        }
        with_real!(grad.dtype(), T => {
            let (path_data, out, grad) = (&*view::<T>(path)?, &*view::<T>(out)?, &*view::<T>(&grad)?);
            let gpath = map_rows(batch, points * c, |i, gpath: &mut [T]| {
                let of = |data| row::<T>(data, batch, i);
                lyndon::backward(c, self.depth, of(path_data), of(out), of(grad), gpath)
            });
            Ok(Some(Tensor::from_vec(gpath, path.shape(), path.device())?))
        })
    }
}

/// Chosen columns of `[batch, terms]`.
struct Gather {
    positions: Arc<[usize]>,
}

impl CustomOp1 for Gather {
    fn name(&self) -> &'static str {
        "gather-words"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, _) = layout.shape().dims2()?;
        with_real!(dtype(storage), T => {
            let x = slice::<T>(storage, layout)?;
            let out = map_rows(batch, self.positions.len(), |i, out: &mut [T]| {
                let x = row(x, batch, i);
                for (o, &p) in out.iter_mut().zip(&*self.positions) {
                    *o = x[p];
                }
            });
            Ok(output(out, (batch, self.positions.len())))
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
        let (batch, terms) = x.dims2()?;
        let grad = grad.contiguous()?;
        #[cfg(feature = "cuda")]
        if grad.device().is_cuda() {
            return Ok(Some(self.cuda_backward(x, &grad)?));
        }
        with_real!(grad.dtype(), T => {
            let grad = &*view::<T>(&grad)?;
            let gx = map_rows(batch, terms, |i, gx: &mut [T]| {
                for (&g, &p) in row(grad, batch, i).iter().zip(&*self.positions) {
                    gx[p] = g;
                }
            });
            Ok(Some(Tensor::from_vec(gx, x.shape(), x.device())?))
        })
    }
}
