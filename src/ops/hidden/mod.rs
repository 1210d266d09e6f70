//! A hidden layer `h = relu(u W + b)` that is too large to keep: it is seen only through its
//! average over time and through narrow projections, and computed again on the way back.
//!
//! Shapes: N nodes, T frames, d features, H width. `layer` is `[d + 1, H]`, the rows of W and b.

mod cpu;
pub mod launches;
mod pooled;
mod sizes;

pub use sizes::Sizes;

use super::adapter::apply_once;
use super::cpu::Real;
use super::device::Kind;
use super::op::{Array, Backward, Call, Once, Op, Operand};
use candle_core::{DType, Device, Result, Shape, Tensor};
use cpu::Projection;
use pooled::Pooled;
use std::sync::Arc;

/// `sum_t weights[t] h[n, t]` for `u` `[N, T, d]`: `[N, H]`.
///
/// # Errors
/// Other shapes or types.
pub fn average(u: &Tensor, layer: &Tensor, weights: Arc<[f64]>) -> Result<Tensor> {
    apply_once(Average { weights }, [u, layer])
}

/// `h[n, t] Q_w` for `u` `[N, T, d]` and `words` matrices `Q_w` side by side, `right`
/// `[H, words e]`: `[N words, T e]`, words innermost in the rows.
///
/// # Errors
/// Other shapes or types.
pub fn project(u: &Tensor, layer: &Tensor, right: &Tensor, words: usize) -> Result<Tensor> {
    apply_once(Project { words }, [u, layer, right])
}

/// `sum_{n, w} left[n, w, k] h[n, t] Q_w`, `h` as in [`project`], for `left`
/// `[N, words K]`, words outermost in the rows, and `right` `[H, words e]`: `[K, e T]`.
///
/// # Errors
/// Other shapes or types.
pub fn project_pooled(
    left: &Tensor,
    u: &Tensor,
    layer: &Tensor,
    right: &Tensor,
    words: usize,
) -> Result<Tensor> {
    let (nodes, columns) = left.dims2()?;
    let (frames, beads) = (u.dim(1)?, columns / words);
    if !left.device().is_cpu() {
        let left = left.reshape((nodes * words, beads))?;
        let all = left.t()?.matmul(&project(u, layer, right, words)?)?;
        let all = all.reshape((beads, frames, ()))?.transpose(1, 2)?;
        return all.flatten_from(1);
    }
    let op = Pooled {
        words,
        sizes: Sizes::new(u.shape(), layer.shape())?,
        columns: right.dim(1)?,
        beads,
    };
    let weights = Tensor::cat(&[layer.flatten_all()?, right.flatten_all()?], 0)?;
    apply_once(op, [left, u, &weights])
}

struct Average {
    weights: Arc<[f64]>,
}

impl Average {
    fn on_gpu(&self) -> Result<Operand> {
        let weights = Tensor::new(&*self.weights, &Device::Cpu)?;
        Ok(Operand::Constant(weights.to_dtype(DType::F32)?))
    }
}

impl Op<2> for Average {
    const NAME: &'static str = "the average of a hidden layer";

    fn shape(&self, [u, layer]: [&Shape; 2]) -> Result<Shape> {
        let s = Sizes::new(u, layer)?;
        Ok((s.nodes, s.width).into())
    }

    fn forward<T: Real>(&self, [u, layer]: [Array<T>; 2]) -> Result<Vec<T>> {
        let s = Sizes::new(u.shape, layer.shape)?;
        Ok(cpu::average(s, &self.weights, &u, &layer))
    }

    fn launches(&self, _: Kind, [u, layer]: [&Shape; 2]) -> Result<Call> {
        let mut call = Call::forward(launches::average(&Sizes::new(u, layer)?), 2);
        call.operands.push(self.on_gpu()?);
        Ok(call)
    }
}

impl Once<2> for Average {
    fn vjp<T: Real>(&self, call: Backward<T, 2>) -> Result<[Option<Vec<T>>; 2]> {
        let [u, layer] = call.inputs;
        let s = Sizes::new(u.shape, layer.shape)?;
        let all = [u.data, layer.data, call.grad.data];
        let out = cpu::unaverage(s, &self.weights, all, call.wanted[0]);
        Ok([out.u, Some(out.layer)])
    }

    fn vjp_launches(&self, _: Kind, [u, layer]: [&Shape; 2], wanted: [bool; 2]) -> Result<Call> {
        let sequence = launches::average_backward(&Sizes::new(u, layer)?, wanted[0]);
        let inputs = [Operand::Input(0), Operand::Input(1)];
        let operands = inputs.into_iter().chain([self.on_gpu()?, Operand::Grad]);
        Ok(Call::backward(sequence, operands.collect(), &[1, 0]))
    }
}

struct Project {
    words: usize,
}

impl Project {
    fn projection(&self, [u, layer, right]: [&Shape; 3]) -> Result<Projection> {
        Ok(Projection {
            sizes: Sizes::new(u, layer)?,
            words: self.words,
            columns: right.dims2()?.1,
        })
    }
}

impl Op<3> for Project {
    const NAME: &'static str = "the projection of a hidden layer";

    fn shape(&self, inputs: [&Shape; 3]) -> Result<Shape> {
        let p = self.projection(inputs)?;
        let width = p.sizes.frames * p.columns / p.words;
        Ok((p.sizes.nodes * p.words, width).into())
    }

    fn forward<T: Real>(&self, inputs: [Array<T>; 3]) -> Result<Vec<T>> {
        let [u, layer, right] = inputs;
        let projection = self.projection(inputs.map(|input| input.shape))?;
        Ok(projection.forward(&u, &layer, &right))
    }

    fn launches(&self, _: Kind, inputs: [&Shape; 3]) -> Result<Call> {
        let p = self.projection(inputs)?;
        let sequence = launches::project(&p.sizes, p.words, p.columns);
        Ok(Call::forward(sequence, 3))
    }
}

impl Once<3> for Project {
    fn vjp<T: Real>(&self, call: Backward<T, 3>) -> Result<[Option<Vec<T>>; 3]> {
        let projection = self.projection(call.inputs.map(|input| input.shape))?;
        let [u, layer, right] = call.inputs.map(|input| input.data);
        let out = projection.backward([u, layer, right, &call.grad], call.wanted[0]);
        Ok([out.u, Some(out.layer), Some(out.right)])
    }

    fn vjp_launches(&self, _: Kind, inputs: [&Shape; 3], wanted: [bool; 3]) -> Result<Call> {
        let p = self.projection(inputs)?;
        let sequence = launches::project_backward(&p.sizes, p.words, p.columns, wanted[0]);
        let inputs = (0..3).map(Operand::Input);
        let operands = inputs.chain([Operand::Grad]).collect();
        Ok(Call::backward(sequence, operands, &[1, 2, 0]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    fn var(shape: &[usize], seed: f64) -> Var {
        let len = shape.iter().product::<usize>();
        let values: Vec<f64> = (0..len).map(|i| (seed + 1.7 * i as f64).sin()).collect();
        Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
    }

    fn flat(t: &Tensor) -> Vec<f64> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn close(a: &Tensor, b: &Tensor) {
        for (a, b) in flat(a).iter().zip(flat(b)) {
            assert!((a - b).abs() < 1e-12, "{a} against {b}");
        }
    }

    #[test]
    fn equal_to_plain_operations() {
        let (n, t, d, h, words, e) = (11, 5, 3, 4, 2, 3);
        let (u, layer, right) = (
            var(&[n, t, d], 0.3),
            var(&[d + 1, h], 0.1),
            var(&[h, words * e], 0.7),
        );
        let all = [u.as_tensor(), layer.as_tensor(), right.as_tensor()];
        let weights: Vec<f64> = (0..t).map(|i| 0.1 + 0.05 * i as f64).collect();
        let plain = || -> Result<[Tensor; 2]> {
            let x = all[0]
                .reshape((n * t, d))?
                .matmul(&all[1].narrow(0, 0, d)?)?;
            let x = x.broadcast_add(&all[1].narrow(0, d, 1)?)?.relu()?;
            let w = Tensor::new(weights.as_slice(), &Device::Cpu)?.reshape((1, t, 1))?;
            let y = x
                .matmul(all[2])?
                .reshape((n, t, words, e))?
                .transpose(1, 2)?;
            let average = x.reshape((n, t, h))?.broadcast_mul(&w)?.sum(1)?;
            Ok([average, y.reshape((n * words, t * e))?])
        };
        let left = var(&[n, words * 6], 0.9);
        let pooled = |y: &Tensor| {
            let left = left.reshape((n * words, 6))?;
            let pooled = left.t()?.matmul(y)?.reshape((6, t, e))?;
            pooled.transpose(1, 2)?.flatten_from(1)
        };
        let fused = [
            average(all[0], all[1], weights.clone().into()).unwrap(),
            project(all[0], all[1], all[2], words).unwrap(),
            project_pooled(&left, all[0], all[1], all[2], words).unwrap(),
        ];
        let [a, y] = plain().unwrap();
        let all = [all[0], all[1], all[2], left.as_tensor()];
        for (fused, plain) in fused.iter().zip(&[a, y.clone(), pooled(&y).unwrap()]) {
            close(fused, plain);
            let gradient = |x: &Tensor| {
                let w = var(x.dims(), 2.0);
                (x * w.as_tensor())
                    .unwrap()
                    .sum_all()
                    .unwrap()
                    .backward()
                    .unwrap()
            };
            let (ours, reference) = (gradient(fused), gradient(plain));
            for v in all {
                assert_eq!(ours.get(v).is_some(), reference.get(v).is_some());
                if let (Some(a), Some(b)) = (ours.get(v), reference.get(v)) {
                    close(a, b);
                }
            }
        }
    }
}
