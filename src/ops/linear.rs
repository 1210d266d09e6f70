//! Linear map over the channels of each degree (Schur's lemma: the only SO(3)-equivariant
//! linear map), between any two layouts.
//!
//! `out[b, l, m, j] = sum_i W_l[i, j] x[b, l, m, i]` for the degrees that both sides have.
//! The weights of all degrees are one flat tensor, `W_l` row-major `[in, out]`, `l` ascending
//! (`SO3_linearity` of the published code).

#[cfg(feature = "cuda")]
mod cuda;

use super::cpu::{Matrix, Real, dtype, matmul, output, parts, slice, tree_sum, view};
use crate::so3::irreps::Irreps;
use crate::with_real;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// How channels and orders are arranged inside a degree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Order-major, channels innermost: a steerable tensor.
    Steerable,
    /// Channel-major, orders innermost: a zernikegram in the published layout.
    Published,
}

/// One side of the map.
#[derive(Debug, Clone)]
pub struct Side {
    pub irreps: Irreps,
    pub order: Order,
}

impl Side {
    /// First element of (l, m) and the stride between channels.
    fn place(&self, l: usize, m: usize) -> (usize, usize) {
        let start = self.irreps.offset(l);
        match self.order {
            Order::Steerable => (start + m * self.irreps.channels(l), 1),
            Order::Published => (start + m, 2 * l + 1),
        }
    }
}

/// Shapes `(in, out)` of the weights of each degree.
pub fn weight_shapes(from: &Irreps, to: &Irreps) -> Vec<(usize, usize)> {
    (0..=from.lmax().min(to.lmax()))
        .map(|l| (from.channels(l), to.channels(l)))
        .collect()
}

/// Applies the map: `x` `[batch, from.dim()]` to `[batch, to.dim()]`; degrees that `from` lacks
/// are zero in the output. `weights` is flat.
pub fn linear(x: &Tensor, weights: &Tensor, from: &Side, to: &Side) -> Result<Tensor> {
    x.contiguous()?.apply_op2(
        weights,
        Linear {
            from: from.clone(),
            to: to.clone(),
        },
    )
}

struct Linear {
    from: Side,
    to: Side,
}

/// Samples that one matrix product takes together.
const BLOCK: usize = 16;

impl Linear {
    /// Calls `f(l, m, weight offset, channels in, channels out)`.
    fn products(&self, mut f: impl FnMut(usize, usize, usize, usize, usize)) {
        let mut offset = 0;
        for (l, (i, o)) in weight_shapes(&self.from.irreps, &self.to.irreps)
            .into_iter()
            .enumerate()
        {
            for m in 0..2 * l + 1 {
                f(l, m, offset, i, o);
            }
            offset += i * o;
        }
    }

    fn forward<T: Real>(&self, x: &[T], w: &[T]) -> Vec<T> {
        let (di, dout) = (self.from.irreps.dim(), self.to.irreps.dim());
        let batch = x.len() / di;
        let mut out = vec![T::zero(); batch * dout];
        out.par_chunks_mut(BLOCK * dout)
            .zip(x.par_chunks(BLOCK * di))
            .for_each(|(out, x)| {
                let rows = x.len() / di;
                self.products(|l, m, offset, ci, co| {
                    let ((a, step_a), (b, step_b)) = (self.from.place(l, m), self.to.place(l, m));
                    matmul(
                        (rows, co, ci),
                        (&mut out[b..], dout, step_b),
                        Matrix {
                            data: &x[a..],
                            row: di,
                            column: step_a,
                        },
                        Matrix {
                            data: &w[offset..],
                            row: co,
                            column: 1,
                        },
                        false,
                    );
                });
            });
        out
    }

    fn backward_input<T: Real>(&self, w: &[T], grad: &[T]) -> Vec<T> {
        let (di, dout) = (self.from.irreps.dim(), self.to.irreps.dim());
        let batch = grad.len() / dout;
        let mut gx = vec![T::zero(); batch * di];
        gx.par_chunks_mut(BLOCK * di)
            .zip(grad.par_chunks(BLOCK * dout))
            .for_each(|(gx, g)| {
                let rows = g.len() / dout;
                self.products(|l, m, offset, ci, co| {
                    let ((a, step_a), (b, step_b)) = (self.from.place(l, m), self.to.place(l, m));
                    matmul(
                        (rows, ci, co),
                        (&mut gx[a..], di, step_a),
                        Matrix {
                            data: &g[b..],
                            row: dout,
                            column: step_b,
                        },
                        Matrix {
                            data: &w[offset..],
                            row: 1,
                            column: co,
                        },
                        false,
                    );
                });
            });
        gx
    }

    fn backward_weights<T: Real>(&self, x: &[T], grad: &[T], len: usize) -> Vec<T> {
        let (di, dout) = (self.from.irreps.dim(), self.to.irreps.dim());
        let sums = parts(x.len() / di, BLOCK).into_par_iter().map(|part| {
            let mut gw = vec![T::zero(); len];
            let (x, g) = (
                &x[part.start * di..part.end * di],
                &grad[part.start * dout..part.end * dout],
            );
            self.products(|l, m, offset, ci, co| {
                let ((a, step_a), (b, step_b)) = (self.from.place(l, m), self.to.place(l, m));
                matmul(
                    (ci, co, part.len()),
                    (&mut gw[offset..], co, 1),
                    Matrix {
                        data: &x[a..],
                        row: step_a,
                        column: di,
                    },
                    Matrix {
                        data: &g[b..],
                        row: dout,
                        column: step_b,
                    },
                    true,
                );
            });
            gw
        });
        tree_sum(sums.collect())
    }
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "so3-linear"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let batch = l1.dims()[0];
        with_real!(dtype(s1), T => {
            let out = self.forward::<T>(slice(s1, l1)?, slice(s2, l2)?);
            Ok(output(out, (batch, self.to.irreps.dim())))
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
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        #[cfg(feature = "cuda")]
        if grad.device().is_cuda() {
            return self.cuda_backward(x, w, &grad);
        }
        with_real!(grad.dtype(), T => {
            let (xs, ws, gs) = (view::<T>(x)?, view::<T>(w)?, view::<T>(&grad)?);
            let gw = Tensor::from_vec(self.backward_weights(&xs, &gs, ws.len()), ws.len(), w.device())?;
            let gx = if x.track_op() {
                Some(Tensor::from_vec(self.backward_input(&ws, &gs), x.shape(), x.device())?)
            } else {
                None
            };
            Ok((gx, Some(gw)))
        })
    }
}
