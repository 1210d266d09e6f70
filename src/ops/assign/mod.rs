//! Soft assignment of nodes to clusters: `softmax(tanh(x W^T + b))`, row by row.
//!
//! Shapes: N nodes, H features, k clusters. Only the result is kept; the way back makes the
//! scores again, which costs less than to read and write what lies between.

mod cpu;

use super::adapter::apply_once;
use super::cpu::Real;
use super::op::{Array, Backward, Once, Op};
use candle_core::{D, Result, Shape, Tensor, bail};
use cpu::Sizes;

/// `x` `[N, H]`, `weight` `[k, H]`, `bias` `[k]` to `[N, k]`; rows sum to 1.
///
/// # Errors
/// Other shapes or types.
pub fn assign(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        let scores = x.matmul(&weight.t()?)?.broadcast_add(bias)?.tanh()?;
        return candle_nn::ops::softmax(&scores, D::Minus1);
    }
    apply_once(Assign, [x, weight, bias])
}

struct Assign;

impl Assign {
    fn sizes(&self, [x, weight, bias]: [&Shape; 3]) -> Result<Sizes> {
        let ((nodes, features), (clusters, width)) = (x.dims2()?, weight.dims2()?);
        if features != width || bias.dims1()? != clusters {
            bail!("scores of {x:?} by a weight {weight:?} and a bias {bias:?}");
        }
        Ok(Sizes {
            nodes,
            clusters,
            features,
        })
    }
}

impl Op<3> for Assign {
    const NAME: &'static str = "the soft assignment";

    fn shape(&self, inputs: [&Shape; 3]) -> Result<Shape> {
        let sizes = self.sizes(inputs)?;
        Ok((sizes.nodes, sizes.clusters).into())
    }

    fn forward<T: Real>(&self, inputs: [Array<T>; 3]) -> Result<Vec<T>> {
        let sizes = self.sizes(inputs.map(|input| input.shape))?;
        Ok(cpu::forward(sizes, inputs.map(|input| input.data)))
    }
}

impl Once<3> for Assign {
    fn vjp<T: Real>(&self, call: Backward<T, 3>) -> Result<[Option<Vec<T>>; 3]> {
        let sizes = self.sizes(call.inputs.map(|input| input.shape))?;
        let inputs = call.inputs.map(|input| input.data);
        let gradients = cpu::backward(sizes, inputs, &call.output, &call.grad);
        Ok(gradients.map(Some))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Var};

    fn var(shape: &[usize], seed: f64, dtype: DType) -> Var {
        let len = shape.iter().product::<usize>();
        let values: Vec<f64> = (0..len)
            .map(|i| 1.5 * (seed + 1.7 * i as f64).sin())
            .collect();
        let t = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        Var::from_tensor(&t.to_dtype(dtype).unwrap()).unwrap()
    }

    fn flat(t: &Tensor) -> Vec<f64> {
        let t = t.to_dtype(DType::F64).unwrap();
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn equal_to_plain_operations() {
        for (dtype, tolerance) in [(DType::F64, 1e-13), (DType::F32, 2e-6)] {
            let v = [
                var(&[75, 5], 0.3, dtype),
                var(&[37, 5], 0.1, dtype),
                var(&[37], 0.7, dtype),
            ];
            let fused = assign(&v[0], &v[1], &v[2]).unwrap();
            let scores = v[0].matmul(&v[1].t().unwrap()).unwrap();
            let scores = scores.broadcast_add(&v[2]).unwrap().tanh().unwrap();
            let plain = candle_nn::ops::softmax(&scores, D::Minus1).unwrap();
            let close = |a: &Tensor, b: &Tensor| {
                for (a, b) in flat(a).iter().zip(flat(b)) {
                    assert!((a - b).abs() < tolerance, "{a} against {b}");
                }
            };
            close(&fused, &plain);
            let gradients = [&fused, &plain].map(|y| {
                let weights = var(y.dims(), 2.0, dtype);
                let loss = (y * weights.as_tensor()).unwrap().sum_all().unwrap();
                loss.backward().unwrap()
            });
            for v in &v {
                close(gradients[0].get(v).unwrap(), gradients[1].get(v).unwrap());
            }
        }
    }
}
