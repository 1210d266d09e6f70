//! Batch normalisation of steerable tensors (e3nn's `BatchNorm`, equations in the style of
//! Ioffe & Szegedy): scalars lose their batch mean, every feature is divided by the root of
//! its mean squared component, scaled by a weight, and scalars gain a bias. Rotations commute
//! with it, as a feature's orders share one scale.

mod cpu;
pub mod launches;
mod norm;

pub(in crate::ops) use cpu::{Map, Sums};
pub use norm::{BatchNorm, Mode, Normalization, Statistics, features};

use super::adapter::apply_once;
use super::cache::cached;
use super::cpu::{Real, view};
use super::device::Kind;
use super::op::{Array, Backward, Call, Once, Op, Operand};
use crate::so3::irreps::Irreps;
use crate::with_real;
use candle_core::{Result, Shape, Tensor};
use std::sync::Arc;

/// Batch statistics of `x` `[batch, irreps.dim()]`, as constants: [`batch_norm`] in
/// [`Mode::Train`] differentiates through them.
///
/// # Errors
/// A tensor of another type than f32 and f64.
pub fn statistics(x: &Tensor, irreps: &Irreps, normalization: Normalization) -> Result<Statistics> {
    let x = x.contiguous()?;
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        let sequence = launches::statistics(&tables(irreps), normalization, x.dim(0)?);
        return match <[Tensor; 2]>::try_from(super::cuda::run_tensors(&sequence, &[&x])?) {
            Ok([mean, variance]) => Ok(Statistics { mean, variance }),
            Err(_) => candle_core::bail!("batch statistics are two vectors"),
        };
    }
    let cpu::Moments { mean, variance } =
        with_real!(x.dtype(), T => cpu::statistics::<T>(&view(&x)?, irreps, normalization));
    Ok(Statistics {
        mean: Tensor::from_vec(mean, irreps.channels(0), x.device())?,
        variance: Tensor::from_vec(variance, features(irreps), x.device())?,
    })
}

/// Normalises `x` `[batch, norm.irreps.dim()]`; `weight` has one value per feature, `bias` one
/// per scalar channel.
///
/// # Errors
/// Tensors of another type than f32 and f64.
pub fn batch_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, norm: BatchNorm) -> Result<Tensor> {
    apply_once(norm, [x, weight, bias])
}

fn tables(irreps: &Irreps) -> Arc<launches::Tables> {
    let key = format!("batch norm {irreps:?}");
    cached(key, || launches::Tables::new(irreps))
}

impl BatchNorm {
    fn constants(&self) -> [Operand; 2] {
        let Statistics { mean, variance } = &self.statistics;
        [mean, variance].map(|t| Operand::Constant(t.clone()))
    }
}

impl Op<3> for BatchNorm {
    const NAME: &'static str = "the batch norm of steerable tensors";

    fn shape(&self, [x, ..]: [&Shape; 3]) -> Result<Shape> {
        Ok(x.clone())
    }

    fn forward<T: Real>(&self, [x, weight, bias]: [Array<T>; 3]) -> Result<Vec<T>> {
        self.apply(&x, &weight, &bias)
    }

    fn launches(&self, _: Kind, [x, ..]: [&Shape; 3]) -> Result<Call> {
        let sequence = launches::forward(&tables(&self.irreps), x.dims()[0]);
        let mut call = Call::forward(sequence, 3);
        call.operands.extend(self.constants());
        Ok(call)
    }
}

impl Once<3> for BatchNorm {
    fn vjp<T: Real>(&self, call: Backward<T, 3>) -> Result<[Option<Vec<T>>; 3]> {
        let [x, weight, bias] = call.inputs;
        Ok(self.unapply(&x, &weight, &bias, &call.grad)?.map(Some))
    }

    fn vjp_launches(&self, _: Kind, [x, ..]: [&Shape; 3], _: [bool; 3]) -> Result<Call> {
        let tables = tables(&self.irreps);
        let sequence = launches::backward(&tables, self.normalization, self.mode, x.dims()[0]);
        let [mean, variance] = self.constants();
        let inputs = [Operand::Input(0), Operand::Input(1)];
        let operands = inputs.into_iter().chain([mean, variance, Operand::Grad]);
        Ok(Call::backward(sequence, operands.collect(), &[0, 1, 2]))
    }
}
