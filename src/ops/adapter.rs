//! The one adapter from [`Op`] to candle's ops of one, two and three arguments.

use super::count;
use super::cpu::{slice, view};
use super::derivatives::keeps_graphs;
use super::op::{Array, Backward, Closed, Gradients, Once, Op};
use crate::{trace, with_real};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use candle_core::{WithDType, bail};

/// Applies an op whose gradients have gradients.
///
/// # Errors
/// Those of the op.
pub fn apply<O: Closed<N>, const N: usize>(op: O, inputs: [&Tensor; N]) -> Result<Tensor>
where
    Adapter<O, N>: Apply<N>,
{
    let backward = closed::<O, N>;
    Adapter { op, backward }.apply(all(|i| inputs[i].contiguous())?)
}

/// Applies an op that can be differentiated once.
///
/// # Errors
/// Those of the op.
pub fn apply_once<O: Once<N>, const N: usize>(op: O, inputs: [&Tensor; N]) -> Result<Tensor>
where
    Adapter<O, N>: Apply<N>,
{
    let backward = once::<O, N>;
    Adapter { op, backward }.apply(all(|i| inputs[i].contiguous())?)
}

/// An op, and what makes its gradients.
pub struct Adapter<O, const N: usize> {
    op: O,
    backward: fn(&O, [&Tensor; N], &Tensor, &Tensor) -> Result<Gradients<N>>,
}

/// What candle has a method of its own for, by the number of arguments.
pub trait Apply<const N: usize> {
    /// # Errors
    /// Those of the op.
    fn apply(self, inputs: [Tensor; N]) -> Result<Tensor>;
}

/// What `make` makes of 0, 1, .., N - 1.
fn all<T, const N: usize>(make: impl FnMut(usize) -> Result<T>) -> Result<[T; N]> {
    let all = (0..N).map(make).collect::<Result<Vec<T>>>()?;
    match all.try_into() {
        Ok(all) => Ok(all),
        Err(_) => unreachable!("N of them were made"),
    }
}

fn forward<O: Op<N>, const N: usize>(
    op: &O,
    inputs: [(&CpuStorage, &Layout); N],
) -> Result<(CpuStorage, Shape)> {
    let shapes = inputs.map(|(_, layout)| layout.shape());
    let shape = op.shape(shapes)?;
    count::add(op.products(shapes));
    let out = with_real!(inputs[0].0.dtype(), T => {
        let arrays = all(|i| {
            let (storage, layout) = inputs[i];
            Ok(Array { data: slice::<T>(storage, layout)?, shape: layout.shape() })
        })?;
        T::to_cpu_storage_owned(op.forward(arrays)?)
    });
    Ok((out, shape))
}

/// Gradients made by ops. Unless they are to be differentiated, what they are made of is cut from
/// its graph: otherwise the gradients of the parameters would keep the whole pass in memory.
fn closed<O: Closed<N>, const N: usize>(
    op: &O,
    inputs: [&Tensor; N],
    _: &Tensor,
    grad: &Tensor,
) -> Result<Gradients<N>> {
    let wanted = inputs.map(Tensor::track_op);
    if keeps_graphs() {
        return op.backward(inputs, grad, wanted);
    }
    let inputs = inputs.map(Tensor::detach);
    op.backward(inputs.each_ref(), &grad.detach(), wanted)
}

/// Gradients made by the op's own code.
fn once<O: Once<N>, const N: usize>(
    op: &O,
    inputs: [&Tensor; N],
    output: &Tensor,
    grad: &Tensor,
) -> Result<Gradients<N>> {
    if grad.track_op() || keeps_graphs() {
        bail!(
            "{} can be differentiated once, but CANDLE_GRAD_DO_NOT_DETACH asks for gradients that \
             can be differentiated again: unset it; for a loss made of gradients carry a tangent \
             beside each value (see ops::derivatives)",
            O::NAME
        );
    }
    let grad = grad.contiguous()?;
    let wanted = inputs.map(Tensor::track_op);
    #[cfg(feature = "cuda")]
    if grad.device().is_cuda() {
        return super::cuda::backward(op, inputs, output, &grad, wanted);
    }
    with_real!(grad.dtype(), T => {
        let views = all::<_, N>(|i| view::<T>(inputs[i]))?;
        let call = Backward {
            inputs: std::array::from_fn(|i| Array { data: &views[i], shape: inputs[i].shape() }),
            output: Array { data: &view(output)?, shape: output.shape() },
            grad: Array { data: &view(&grad)?, shape: grad.shape() },
            wanted,
        };
        let gradients = op.vjp(call)?;
        let mut gradients = gradients.into_iter().zip(inputs);
        all(|_| match gradients.next() {
            Some((Some(data), of)) => {
                Tensor::from_vec(data, of.shape(), of.device()).map(Some)
            }
            _ => Ok(None),
        })
    })
}

/// Implements one of candle's traits: its method of a tensor, its arguments and their layouts, and
/// its gradients.
macro_rules! candle_op {
    ($n:literal, $trait:ident, $apply:ident($a:ident $la:ident $(, $b:ident $lb:ident)*), $gradients:ty) => {
        impl<O: Op<$n>> Apply<$n> for Adapter<O, $n> {
            fn apply(self, [$a $(, $b)*]: [Tensor; $n]) -> Result<Tensor> {
                $a.$apply($(&$b,)* self)
            }
        }

        impl<O: Op<$n>> $trait for Adapter<O, $n> {
            fn name(&self) -> &'static str {
                O::NAME
            }

            fn cpu_fwd(
                &self,
                $a: &CpuStorage,
                $la: &Layout,
                $($b: &CpuStorage, $lb: &Layout,)*
            ) -> Result<(CpuStorage, Shape)> {
                let _span = trace::span(O::NAME);
                forward(&self.op, [($a, $la) $(, ($b, $lb))*])
            }

            #[cfg(feature = "cuda")]
            fn cuda_fwd(
                &self,
                $a: &candle_core::CudaStorage,
                $la: &Layout,
                $($b: &candle_core::CudaStorage, $lb: &Layout,)*
            ) -> Result<(candle_core::CudaStorage, Shape)> {
                super::cuda::forward(&self.op, [($a, $la) $(, ($b, $lb))*])
            }

            fn bwd(
                &self,
                $a: &Tensor,
                $($b: &Tensor,)*
                output: &Tensor,
                grad: &Tensor,
            ) -> Result<$gradients> {
                let inputs = [$a $(, $b)*];
                let _span = trace::gradient_of(O::NAME);
                let [$a $(, $b)*] = (self.backward)(&self.op, inputs, output, grad)?;
                let gradients = ($a $(, $b)*);
                Ok(gradients)
            }
        }
    };
}

type Gradient = Option<Tensor>;

candle_op!(1, CustomOp1, apply_op1(a la), Gradient);
candle_op!(2, CustomOp2, apply_op2(a la, b lb), (Gradient, Gradient));
candle_op!(3, CustomOp3, apply_op3(a la, b lb, c lc), (Gradient, Gradient, Gradient));
