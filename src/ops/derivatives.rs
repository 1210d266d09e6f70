//! Derivatives of derivatives: what candle does, and what this program allows.
//!
//! By default candle cuts every gradient from the graph that made it before it goes on through
//! the backward pass. A loss that is made of gradients (forces in a loss, a gradient penalty) has
//! then gradients that lack terms, and nothing says so. The environment variable
//! `CANDLE_GRAD_DO_NOT_DETACH` makes candle keep those graphs; it counts for the whole process,
//! and is read once in each thread, at its first backward pass.
//!
//! Two ways are right:
//!
//! - The dual pass ([`super::dual`]): carry a tangent beside each value, and take one ordinary gradient of the
//!   energy's tangent. It needs no second derivative of any op, so it works with all of them. The
//!   forces themselves come from [`gradients`], which are constants.
//! - Gradients that keep their graphs, in a process with that variable: right for candle's own ops
//!   and for [`super::op::Closed`] ones. In such a process the backward pass of an
//!   [`super::op::Once`] op is an error, whether or not the gradient that it is given has a graph:
//!   the gradients that it would make are constants.

use candle_core::{Device, Result, Tensor, Var, bail};

thread_local! {
    static KEEPS_GRAPHS: bool = probe().unwrap_or(true);
}

/// Whether gradients keep the graphs that made them, in this thread.
pub fn keeps_graphs() -> bool {
    KEEPS_GRAPHS.with(|&keeps| keeps)
}

/// The second derivative of x^4 at 1 is 12; without the graphs of gradients 4 is found.
fn probe() -> Result<bool> {
    let x = Var::new(1f64, &Device::Cpu)?;
    let first = gradient(&x.sqr()?.sqr()?, &x)?;
    let second = gradient(&first, &x)?;
    Ok(second.to_scalar::<f64>()? > 8.0)
}

fn gradient(value: &Tensor, of: &Tensor) -> Result<Tensor> {
    match value.backward()?.get(of) {
        Some(gradient) => Ok(gradient.clone()),
        None => bail!("the value does not depend on the variable"),
    }
}

/// The gradients of a scalar by each of `arguments`, as constants: a loss that is made of them has
/// no gradient through them, rather than one that lacks terms.
///
/// # Errors
/// An argument that the value does not depend on; those of the backward pass.
pub fn gradients<const N: usize>(value: &Tensor, arguments: [&Tensor; N]) -> Result<[Tensor; N]> {
    let store = value.backward()?;
    for (i, argument) in arguments.iter().enumerate() {
        if store.get(argument).is_none() {
            bail!("the value does not depend on argument {i}, so it has no gradient by it");
        }
    }
    Ok(arguments.map(|argument| match store.get(argument) {
        Some(gradient) => gradient.detach(),
        None => unreachable!("every argument has a gradient"),
    }))
}
