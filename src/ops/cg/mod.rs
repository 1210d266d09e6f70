//! A Clebsch-Gordan block as one op: batch norm, tensor product of a steerable tensor with
//! itself, signal norm, linear map, skip connection (the norm and the skip where the plan has
//! them).
//!
//! With `h` the batch-normalised input, per sample and output degree `l3`:
//! ```text
//! t_l3[p, c, m3] = sum_{m1 m2} C(l1 l2 l3)[m1, m2, m3] h_l1[c, m1] h_l2[c, m2]   for pairs p = (l1, l2)
//! n              = sqrt( sum_l3 sum_{p c m3} t_l3[p, c, m3]^2 / (2 l3 + 1) + 1e-8 )
//! out_l3[j, m3]  = sum_{p c} W_l3[p c, j] (w_l3 t_l3[p, c, m3] / n + b [l3 = 0]) + x_l3[j, m3]
//! ```
//! The product is channel-wise. Its result is 10 to 20 times larger than input and output, so
//! it only ever exists for sixteen samples and a few pairs at a time in a core's cache: the
//! norm's scale is applied after the linear map, and the backward pass computes the product
//! again. Pairs whose product is identically zero (`(l, l)` to odd `l3`) cost nothing; their
//! weights stay.

mod backward;
mod forward;
pub mod launches;
mod plan;
mod product;

pub use plan::{NORM_EPS, Plan, Size};

use super::adapter::apply_once;
use super::batch_norm::{BatchNorm, Map, batch_norm};
use super::cache::cached_for;
use super::cpu::Real;
use super::device::Kind;
use super::op::{Array, Backward, Call, Once, Op, Operand};
use super::skip::skip;
use candle_core::{Result, Shape, Tensor, bail};
use std::sync::{Arc, OnceLock};

/// Applies the step to `x` `[batch, plan.input.dim()]`; `parameters` are flat
/// ([`Plan::parameter_len`]). `norm` is there exactly if the plan has a batch norm. Returns
/// `[batch, plan.output.dim()]`.
///
/// # Errors
/// Statistics without a batch norm, or none with one; tensors of other types than f32 and f64.
pub fn cg(
    x: &Tensor,
    parameters: &Tensor,
    plan: &Arc<Plan>,
    norm: Option<BatchNorm>,
) -> Result<Tensor> {
    if norm.is_some() != plan.batch_norm.is_some() {
        bail!("statistics must be given exactly if the plan has a batch norm");
    }
    if !x.device().is_cpu() {
        return in_steps(x, parameters, plan, norm);
    }
    let op = Cg {
        plan: plan.clone(),
        norm,
        inverses: OnceLock::new(),
    };
    apply_once(op, [x, parameters])
}

/// [`cg`] on a GPU: product, signal norm and linear map are one op, the batch norm before it and
/// the skip connection after it their own.
fn in_steps(
    x: &Tensor,
    parameters: &Tensor,
    plan: &Arc<Plan>,
    norm: Option<BatchNorm>,
) -> Result<Tensor> {
    let [gain, shift, scales] = plan.lengths();
    let part = |start, len| parameters.narrow(0, start, len)?.contiguous();
    let h = match norm {
        Some(norm) => batch_norm(x, &part(0, gain)?, &part(gain, shift)?, norm)?,
        None => x.clone(),
    };
    let weights = part(gain + shift + scales, plan.weight_len())?;
    let scales = part(gain + shift, scales)?;
    let out = apply_once(Step(plan.clone()), [&h, &weights, &scales])?;
    match plan.skip {
        true => skip(&out, &plan.output, x, &plan.input),
        false => Ok(out),
    }
}

struct Cg {
    plan: Arc<Plan>,
    norm: Option<BatchNorm>,
    /// `1 / n` of every sample, kept for the backward pass (f64 holds an f32 exactly).
    inverses: OnceLock<Vec<f64>>,
}

impl Cg {
    /// What the batch norm does to every feature, if there is one.
    fn map<T: Real>(&self, parameters: &[T]) -> Result<Option<Map<T>>> {
        let p = self.plan.split(parameters);
        let map = self.norm.as_ref().map(|norm| norm.map(p.gain, p.shift));
        map.transpose()
    }
}

impl Op<2> for Cg {
    const NAME: &'static str = "the Clebsch-Gordan step";

    fn shape(&self, [x, _]: [&Shape; 2]) -> Result<Shape> {
        Ok((x.dims()[0], self.plan.output.dim()).into())
    }

    fn forward<T: Real>(&self, [x, parameters]: [Array<T>; 2]) -> Result<Vec<T>> {
        let map = self.map(&parameters)?;
        let (out, inverses) = forward::forward(&self.plan, map.as_ref(), &x, &parameters);
        self.inverses.get_or_init(|| inverses);
        Ok(out)
    }
}

impl Once<2> for Cg {
    fn vjp<T: Real>(&self, call: Backward<T, 2>) -> Result<[Option<Vec<T>>; 2]> {
        let Some(inverses) = self.inverses.get() else {
            bail!("the backward pass of a Clebsch-Gordan step came before the forward pass");
        };
        let [x, parameters] = call.inputs;
        let map = self.map(&parameters)?;
        let saved = backward::Saved {
            norm: self.norm.as_ref().zip(map.as_ref()),
            x: &x,
            parameters: &parameters,
            inverses,
            out: &call.output,
            grad: &call.grad,
        };
        let (gx, gradient) = backward::backward(&self.plan, &saved);
        Ok([Some(gx), Some(gradient)])
    }
}

/// Product, signal norm and linear map, of the input, the weights and the norm's scales.
struct Step(Arc<Plan>);

impl Op<3> for Step {
    const NAME: &'static str = "the Clebsch-Gordan step on a GPU";

    fn shape(&self, [h, ..]: [&Shape; 3]) -> Result<Shape> {
        Ok((h.dims()[0], self.0.output.dim()).into())
    }

    fn forward<T: Real>(&self, _: [Array<T>; 3]) -> Result<Vec<T>> {
        bail!("this form of the Clebsch-Gordan step is for GPUs")
    }

    fn launches(&self, _: Kind, [h, ..]: [&Shape; 3]) -> Result<Call> {
        let tables = cached_for(&self.0, launches::Tables::new);
        let sequence = launches::forward(&tables, h.dims()[0]);
        Ok(Call::forward(sequence, 3))
    }
}

impl Once<3> for Step {
    fn vjp<T: Real>(&self, _: Backward<T, 3>) -> Result<[Option<Vec<T>>; 3]> {
        bail!("this form of the Clebsch-Gordan step is for GPUs")
    }

    fn vjp_launches(&self, _: Kind, [h, ..]: [&Shape; 3], _: [bool; 3]) -> Result<Call> {
        let tables = cached_for(&self.0, launches::Tables::new);
        let sequence = launches::backward(&tables, h.dims()[0])?;
        let inputs = (0..3).map(Operand::Input);
        let operands = inputs.chain([Operand::Output, Operand::Grad]).collect();
        Ok(Call::backward(sequence, operands, &[0, 1, 2]))
    }
}
