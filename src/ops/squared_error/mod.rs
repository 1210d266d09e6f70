//! Weighted squared errors `w (x - t)^2` against a target that is data, in one walk. Made of candle's
//! operations they would keep every step between, and gradients of the target and of the weights
//! besides, until the end of the backward pass: seven arrays of the size of the batch.

pub mod launches;

use super::adapter::apply_once;
use super::cpu::{Real, view};
use super::device::Kind;
use super::op::{Array, Backward, Call, Once, Op, Operand};
use candle_core::{Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// `weights[i] (x[b, i] - target[b, i])^2`, `[B, D]`; `weights` is `[D]`.
///
/// # Errors
/// Other shapes; a target or weights that are to have a gradient, which they would not get.
pub fn squared_error(x: &Tensor, target: &Tensor, weights: &Tensor) -> Result<Tensor> {
    if target.track_op() || weights.track_op() {
        bail!("{}: targets and weights are data", SquaredError::NAME);
    }
    let (target, weights) = (target.contiguous()?, weights.contiguous()?);
    apply_once(SquaredError { target, weights }, [x])
}

struct SquaredError {
    target: Tensor,
    weights: Tensor,
}

/// Rows that are computed by one thread at a time.
const ROWS: usize = 16;

impl SquaredError {
    fn constants(&self) -> [Operand; 2] {
        [&self.target, &self.weights].map(|t| Operand::Constant(t.clone()))
    }

    /// Replaces each number of `out` by `f(difference to the target, weight, number)`.
    fn each<T: Real>(&self, x: &[T], out: &mut [T], f: impl Fn(T, T, T) -> T + Sync) -> Result<()> {
        let (target, weights) = (view::<T>(&self.target)?, view::<T>(&self.weights)?);
        let (dim, block) = (weights.len(), ROWS * weights.len());
        let blocks = x.par_chunks(block).zip(target.par_chunks(block));
        let blocks = blocks.zip(out.par_chunks_mut(block));
        blocks.for_each(|((x, target), out)| {
            let rows = x.chunks_exact(dim).zip(target.chunks_exact(dim));
            for ((x, target), out) in rows.zip(out.chunks_exact_mut(dim)) {
                let pairs = x.iter().zip(target).zip(weights.iter());
                for (out, ((&x, &target), &weight)) in out.iter_mut().zip(pairs) {
                    *out = f(x - target, weight, *out);
                }
            }
        });
        Ok(())
    }
}

impl Op<1> for SquaredError {
    const NAME: &'static str = "the weighted squared error";

    fn shape(&self, [x]: [&Shape; 1]) -> Result<Shape> {
        let (target, weights) = (self.target.shape(), self.weights.shape());
        if x != target || x.dims2()?.1 != weights.dims1()? || weights.elem_count() == 0 {
            bail!(
                "{} of {x:?} to {target:?} with weights {weights:?}",
                Self::NAME
            );
        }
        Ok(x.clone())
    }

    fn forward<T: Real>(&self, [x]: [Array<T>; 1]) -> Result<Vec<T>> {
        let mut out = vec![T::zero(); x.len()];
        self.each(&x, &mut out, |error, weight, _| error * error * weight)?;
        Ok(out)
    }

    fn launches(&self, _: Kind, [x]: [&Shape; 1]) -> Result<Call> {
        let (batch, dim) = x.dims2()?;
        let mut call = Call::forward(launches::forward(batch, dim), 1);
        call.operands.extend(self.constants());
        Ok(call)
    }
}

impl Once<1> for SquaredError {
    fn vjp<T: Real>(&self, call: Backward<T, 1>) -> Result<[Option<Vec<T>>; 1]> {
        let mut gradient = call.grad.to_vec();
        let two = T::one() + T::one();
        let [x] = call.inputs;
        self.each(&x, &mut gradient, |error, weight, grad| {
            error * (grad * weight) * two
        })?;
        Ok([Some(gradient)])
    }

    fn vjp_launches(&self, _: Kind, [x]: [&Shape; 1], _: [bool; 1]) -> Result<Call> {
        let (batch, dim) = x.dims2()?;
        let [target, weights] = self.constants();
        let operands = vec![Operand::Input(0), target, weights, Operand::Grad];
        Ok(Call::backward(
            launches::backward(batch, dim),
            operands,
            &[0],
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    fn numbers(seed: f32, shape: &[usize]) -> Tensor {
        let count: usize = shape.iter().product();
        let values = (0..count).map(|i| (seed + i as f32 * 0.37).sin());
        Tensor::from_iter(values, &Device::Cpu)
            .and_then(|t| t.reshape(shape))
            .expect("numbers")
    }

    /// The same bits as the formula in candle's operations, value and gradient.
    #[test]
    fn it_is_what_the_operations_give() -> Result<()> {
        let x = Var::from_tensor(&numbers(1.0, &[37, 11]))?;
        let (target, weights) = (numbers(2.0, &[37, 11]), numbers(3.0, &[11]));
        let by_op = squared_error(&x, &target, &weights)?;
        let by_hand = (x.as_tensor() - &target)?.sqr()?.broadcast_mul(&weights)?;
        let bits = |t: &Tensor| t.to_vec2::<f32>();
        assert_eq!(bits(&by_op)?, bits(&by_hand)?);
        let gradient = |loss: Tensor| {
            let store = loss.mean_all()?.backward()?;
            bits(store.get(&x).expect("a gradient"))
        };
        assert_eq!(gradient(by_op)?, gradient(by_hand)?);
        Ok(())
    }

    #[test]
    fn what_would_get_no_gradient_is_refused() -> Result<()> {
        let x = numbers(1.0, &[2, 3]);
        let target = Var::from_tensor(&x)?;
        let weights = numbers(2.0, &[3]);
        assert!(squared_error(&x, &target, &weights).is_err());
        assert!(squared_error(&x, &x, &numbers(2.0, &[2])).is_err());
        Ok(())
    }
}
