//! An op of your own, with derivatives of any order:
//!
//! ```sh
//! cargo run --release --example your_op
//! ```
//!
//! The op is the running sum of every row. It is linear, and its gradient is a running sum from the
//! other end: an op of the same kind, so it can be differentiated as often as one likes
//! (`holosig::ops::op::Closed`). An op whose gradient has code of its own implements
//! `holosig::ops::op::Once` instead; differentiating it twice is then an error that names it.

use candle_core::{Device, Result, Shape, Tensor, Var};
use holosig::ops::adapter::apply;
use holosig::ops::cpu::Real;
use holosig::ops::op::{Array, Closed, Op};

/// Running sums of the rows of `[rows, columns]`, from the first column on or from the last.
struct RunningSum {
    from_last: bool,
}

impl Op<1> for RunningSum {
    const NAME: &'static str = "the running sum";

    fn shape(&self, [x]: [&Shape; 1]) -> Result<Shape> {
        Ok(x.dims2()?.into())
    }

    fn forward<T: Real>(&self, [x]: [Array<T>; 1]) -> Result<Vec<T>> {
        let (_, columns) = x.shape.dims2()?;
        let mut sums = x.data.to_vec();
        for row in sums.chunks_exact_mut(columns) {
            for i in 1..columns {
                match self.from_last {
                    true => row[columns - 1 - i] += row[columns - i],
                    false => row[i] += row[i - 1],
                }
            }
        }
        Ok(sums)
    }
}

impl Closed<1> for RunningSum {
    fn backward(
        &self,
        _: [&Tensor; 1],
        grad: &Tensor,
        _: [bool; 1],
    ) -> Result<[Option<Tensor>; 1]> {
        let from_last = !self.from_last;
        Ok([Some(apply(RunningSum { from_last }, [grad])?)])
    }
}

fn main() -> Result<()> {
    let x = Var::new(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], &Device::Cpu)?;
    let sums = apply(RunningSum { from_last: false }, [x.as_tensor()])?;
    println!("running sums: {:?}", sums.to_vec2::<f64>()?);

    // The gradient of half the sum of their squares is the running sum of them from the other end.
    let energy = (sums.sqr()?.sum_all()? * 0.5)?;
    let gradients = energy.backward()?;
    if let Some(gradient) = gradients.get(x.as_tensor()) {
        println!("gradient: {:?}", gradient.to_vec2::<f64>()?);
    }
    Ok(())
}
