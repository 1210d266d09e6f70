//! Sums of weighted squared errors `sum_i w_i (x_i - t_i)^2` of samples, against targets that are data,
//! in one walk. Made of candle's operations they would keep every step between, and gradients of targets
//! and weights besides, until the end of the backward pass: eight arrays of the size of the batch.

pub mod launches;

use super::adapter::apply_once;
use super::cpu::{Real, view};
use super::device::Kind;
use super::op::{Array, Backward, Call, Once, Op, Operand};
use candle_core::{Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// `sum_i weights[i] (x[b, i] - target[b, i])^2`, `[B]`; `weights` is `[D]`.
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

impl SquaredError {
    fn constants(&self) -> [Operand; 2] {
        [&self.target, &self.weights].map(|t| Operand::Constant(t.clone()))
    }
}

impl Op<1> for SquaredError {
    const NAME: &'static str = "the weighted squared error";

    fn shape(&self, [x]: [&Shape; 1]) -> Result<Shape> {
        let (target, weights) = (self.target.shape(), self.weights.shape());
        let (batch, dim) = x.dims2()?;
        if x != target || dim != weights.dims1()? || dim == 0 {
            bail!(
                "{} of {x:?} to {target:?} with weights {weights:?}",
                Self::NAME
            );
        }
        Ok(batch.into())
    }

    fn forward<T: Real>(&self, [x]: [Array<T>; 1]) -> Result<Vec<T>> {
        let (target, weights) = (view::<T>(&self.target)?, view::<T>(&self.weights)?);
        let rows = x.par_chunks_exact(weights.len());
        let sums = rows.zip(target.par_chunks_exact(weights.len()));
        let sums = sums.map(|(x, target)| {
            let pairs = x.iter().zip(target).zip(weights.iter());
            let errors = pairs.map(|((&x, &target), &weight)| {
                let error = x - target;
                (error * error * weight).to_f64()
            });
            T::from_f64(errors.sum())
        });
        Ok(sums.collect())
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
        let (target, weights) = (view::<T>(&self.target)?, view::<T>(&self.weights)?);
        let ([x], grad, dim) = (call.inputs, call.grad, weights.len());
        let mut gradient = vec![T::zero(); x.len()];
        let two = T::one() + T::one();
        let rows = x.par_chunks_exact(dim).zip(target.par_chunks_exact(dim));
        let rows = rows.zip(grad.par_iter());
        let out = gradient.par_chunks_exact_mut(dim);
        out.zip(rows).for_each(|(out, ((x, target), &grad))| {
            let pairs = x.iter().zip(target).zip(weights.iter());
            for (out, ((&x, &target), &weight)) in out.iter_mut().zip(pairs) {
                *out = (x - target) * (grad * weight) * two;
            }
        });
        Ok([Some(gradient)])
    }

    fn vjp_launches(&self, _: Kind, [x]: [&Shape; 1], _: [bool; 1]) -> Result<Call> {
        let (batch, dim) = x.dims2()?;
        let [target, weights] = self.constants();
        let operands = vec![Operand::Input(0), target, weights, Operand::Grad];
        let sequence = launches::backward(batch, dim);
        Ok(Call::backward(sequence, operands, &[0]))
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

    /// What the formula gives in candle's operations; of the gradient the same bits.
    #[test]
    fn it_is_what_the_operations_give() -> Result<()> {
        let x = Var::from_tensor(&numbers(1.0, &[37, 11]))?;
        let (target, weights) = (numbers(2.0, &[37, 11]), numbers(3.0, &[11]));
        let by_op = squared_error(&x, &target, &weights)?;
        let by_hand = (x.as_tensor() - &target)?.sqr()?.broadcast_mul(&weights)?;
        let sums = by_hand.sum(1)?.to_vec1::<f32>()?;
        for (a, b) in by_op.to_vec1::<f32>()?.into_iter().zip(sums) {
            assert!((a - b).abs() <= 2e-6 * b.abs().max(1.0), "{a}, not {b}");
        }
        let gradient = |loss: Tensor| {
            let gradient = loss
                .backward()?
                .get(&x)
                .expect("a gradient")
                .to_vec2::<f32>()?;
            Ok::<_, candle_core::Error>(gradient)
        };
        let mean = (by_op.sum_all()? / (37.0 * 11.0))?;
        assert_eq!(gradient(mean)?, gradient(by_hand.mean_all()?)?);
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
