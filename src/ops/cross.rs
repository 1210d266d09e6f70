//! Cross products of vectors, row by row.

use super::adapter::apply;
use super::cpu::Real;
use super::op::{Array, Closed, Gradients, Op};
use candle_core::{Result, Shape, Tensor, bail};

/// `a x b` of every row of `a` and `b`, `[rows, 3]` each. The op is bilinear, and closed under
/// differentiation.
///
/// # Errors
/// Other shapes, or another type than f32 and f64.
pub fn cross(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    apply(Cross, [a, b])
}

struct Cross;

impl Op<2> for Cross {
    const NAME: &'static str = "the cross product";

    fn shape(&self, [a, b]: [&Shape; 2]) -> Result<Shape> {
        match a.dims2()? {
            (_, 3) if a == b => Ok(a.clone()),
            _ => bail!("cross products of {a:?} and {b:?}"),
        }
    }

    fn forward<T: Real>(&self, [a, b]: [Array<T>; 2]) -> Result<Vec<T>> {
        let rows = a.as_chunks::<3>().0.iter().zip(b.as_chunks::<3>().0);
        let product = |(a, b): (&[T; 3], &[T; 3])| {
            [0, 1, 2].map(|k| {
                let (i, j) = ((k + 1) % 3, (k + 2) % 3);
                a[i] * b[j] - a[j] * b[i]
            })
        };
        Ok(rows.flat_map(product).collect())
    }
}

impl Closed<2> for Cross {
    /// `g . (da x b) = da . (b x g)` and `g . (a x db) = db . (g x a)`.
    fn backward(
        &self,
        [a, b]: [&Tensor; 2],
        grad: &Tensor,
        [wants_a, wants_b]: [bool; 2],
    ) -> Result<Gradients<2>> {
        Ok([
            wants_a.then(|| cross(b, grad)).transpose()?,
            wants_b.then(|| cross(grad, a)).transpose()?,
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn product_and_gradients() {
        let row = |row: [f64; 3]| Var::new(&[row], &Device::Cpu).unwrap();
        let (a, b) = (row([1.0, 2.0, 3.0]), row([-2.0, 0.5, 4.0]));
        let values = |t: &Tensor| t.to_vec2::<f64>().unwrap()[0].clone();
        let product = cross(&a, &b).unwrap();
        assert_eq!(values(&product), [6.5, -10.0, 4.5]);
        // The gradient of (a x b) . c is b x c, and c x a.
        let c = row([0.3, -1.0, 2.0]);
        let triple = (product * c.as_tensor()).unwrap().sum_all().unwrap();
        let store = triple.backward().unwrap();
        let gradient = |of: &Var| values(store.get(of).unwrap());
        assert_eq!(gradient(&a), values(&cross(&b, &c).unwrap()));
        assert_eq!(gradient(&b), values(&cross(&c, &a).unwrap()));
        assert!(
            cross(
                &a,
                &Tensor::zeros((1, 2), candle_core::DType::F64, &Device::Cpu).unwrap()
            )
            .is_err()
        );
    }
}
