//! Additive skip connection between steerable tensors of different degrees and channels
//! (truncate or zero-pad channels, as the published code does).

#[cfg(feature = "cuda")]
mod cuda;

use super::cpu::{dtype, output, slice, view};
use crate::so3::irreps::Irreps;
use crate::with_real;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, WithDType};

/// `out + input` on the degrees and channels that both have; the rest of `out` is kept.
/// `out` is `[batch, to.dim()]`, `input` is `[batch, from.dim()]`.
pub fn skip(out: &Tensor, to: &Irreps, input: &Tensor, from: &Irreps) -> Result<Tensor> {
    out.contiguous()?.apply_op2(
        &input.contiguous()?,
        Skip {
            to: to.clone(),
            from: from.clone(),
        },
    )
}

struct Skip {
    to: Irreps,
    from: Irreps,
}

impl Skip {
    /// Calls `f(start in out, start in input, length)` for every shared run of channels.
    fn runs(&self, mut f: impl FnMut(usize, usize, usize)) {
        for l in 0..=self.to.lmax().min(self.from.lmax()) {
            let (a, b) = (self.to.channels(l), self.from.channels(l));
            for m in 0..2 * l + 1 {
                f(
                    self.to.offset(l) + m * a,
                    self.from.offset(l) + m * b,
                    a.min(b),
                );
            }
        }
    }

    fn forward<T: WithDType>(&self, out: &[T], input: &[T]) -> Vec<T> {
        let mut sum = out.to_vec();
        let samples = sum
            .chunks_exact_mut(self.to.dim())
            .zip(input.chunks_exact(self.from.dim()));
        for (s, x) in samples {
            self.runs(|a, b, n| {
                for (s, &x) in s[a..a + n].iter_mut().zip(&x[b..b + n]) {
                    *s += x;
                }
            });
        }
        sum
    }

    fn backward<T: WithDType>(&self, grad: &[T]) -> Vec<T> {
        let batch = grad.len() / self.to.dim();
        let mut out = vec![T::zero(); batch * self.from.dim()];
        let samples = out
            .chunks_exact_mut(self.from.dim())
            .zip(grad.chunks_exact(self.to.dim()));
        for (x, g) in samples {
            self.runs(|a, b, n| x[b..b + n].copy_from_slice(&g[a..a + n]));
        }
        out
    }
}

impl CustomOp2 for Skip {
    fn name(&self) -> &'static str {
        "skip"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        with_real!(dtype(s1), T => {
            let sum = self.forward::<T>(slice(s1, l1)?, slice(s2, l2)?);
            Ok(output(sum, l1.shape().clone()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        s1: &candle_core::CudaStorage,
        l1: &Layout,
        s2: &candle_core::CudaStorage,
        l2: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        self.cuda_forward([(s1, l1), (s2, l2)])
    }

    fn bwd(
        &self,
        _: &Tensor,
        input: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        #[cfg(feature = "cuda")]
        if grad.device().is_cuda() {
            let ginput = self.cuda_backward(input, &grad)?;
            return Ok((Some(grad), Some(ginput)));
        }
        let input_grad = with_real!(grad.dtype(), T => {
            Tensor::from_vec(self.backward::<T>(&view(&grad)?), input.shape(), grad.device())?
        });
        Ok((Some(grad), Some(input_grad)))
    }
}
