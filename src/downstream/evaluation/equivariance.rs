//! How far a model is from exact equivariance (paper, Table S9).

use crate::Result;
use crate::models::Model;
use crate::models::hvae::Hvae;
use crate::so3::rotation::{self, Matrix};
use crate::so3::wigner::turned as rotate;
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

/// Random rotations of every sample.
const ROTATIONS: u64 = 8;

/// Absolute differences between the output of a rotated input and the rotated output, beside
/// the outputs' absolute values: mean and standard deviation over all numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Equivariance {
    /// `f32` or `f64`.
    pub precision: String,
    pub invariants: Difference,
    pub frames: Difference,
    pub reconstruction: Difference,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    pub error: f64,
    pub error_deviation: f64,
    pub value: f64,
    pub value_deviation: f64,
}

/// Of a model in f32 and of the same one in f64, on normalised coefficients `x` `[n, dim]`, with the
/// labels of a conditional one, `[n, K]`.
pub fn measure(
    model: &Hvae,
    double: &Hvae,
    x: &[f64],
    labels: &[f32],
    seed: u64,
) -> Result<Vec<Equivariance>> {
    let of = |model: &Hvae, dtype| {
        let labels = (!labels.is_empty()).then_some(labels);
        let labels = labels.map(|l| {
            let shape = (x.len() / model.irreps().dim(), model.config().conditions);
            Tensor::from_slice(l, shape, &Device::Cpu)?.to_dtype(dtype)
        });
        in_precision(model, labels.transpose()?.as_ref(), x, seed)
    };
    Ok(vec![of(model, DType::F32)?, of(double, DType::F64)?])
}

fn in_precision(
    model: &Hvae,
    labels: Option<&Tensor>,
    x: &[f64],
    seed: u64,
) -> Result<Equivariance> {
    let irreps = model.irreps();
    let dtype = model.parameters().dtype();
    let still = Outputs::of(model, labels, x)?;
    let mut sums = [Sums::default(), Sums::default(), Sums::default()];
    for k in 0..ROTATIONS {
        let r = rotation::random(seed.wrapping_add(k));
        let moved = Outputs::of(model, labels, &rotate(irreps, x, &r))?;
        sums[0].add(&moved.invariants, &still.invariants);
        sums[1].add(&moved.frames, &rotate_rows(&still.frames, &r));
        sums[2].add(
            &moved.reconstruction,
            &rotate(irreps, &still.reconstruction, &r),
        );
    }
    let [invariants, frames, reconstruction] = sums.map(Sums::finish);
    Ok(Equivariance {
        precision: dtype.as_str().into(),
        invariants,
        frames,
        reconstruction,
    })
}

struct Outputs {
    invariants: Vec<f64>,
    frames: Vec<f64>,
    reconstruction: Vec<f64>,
}

impl Outputs {
    fn of(model: &Hvae, labels: Option<&Tensor>, x: &[f64]) -> Result<Self> {
        let (dim, dtype) = (model.irreps().dim(), model.parameters().dtype());
        let x = Tensor::from_slice(x, (x.len() / dim, dim), &Device::Cpu)?.to_dtype(dtype)?;
        let encoding = model.encode(&x)?;
        let z = match labels {
            Some(labels) => Tensor::cat(&[&encoding.mean, labels], 1)?,
            None => encoding.mean.clone(),
        };
        let rebuilt = model.decode(&z, &encoding.frame)?;
        let values = |t: &Tensor| t.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
        Ok(Self {
            invariants: values(&encoding.mean)?,
            frames: values(&encoding.frame)?,
            reconstruction: values(&rebuilt)?,
        })
    }
}

/// Rotates the rows of frames `[n, 3, 3]`.
fn rotate_rows(frames: &[f64], r: &Matrix) -> Vec<f64> {
    let (rows, _) = frames.as_chunks::<3>();
    rows.iter().flat_map(|&v| rotation::rotate(r, v)).collect()
}

#[derive(Default)]
struct Sums {
    n: f64,
    error: [f64; 2],
    value: [f64; 2],
}

impl Sums {
    fn add(&mut self, a: &[f64], b: &[f64]) {
        for (a, b) in a.iter().zip(b) {
            let (error, value) = ((a - b).abs(), b.abs());
            self.n += 1.0;
            self.error[0] += error;
            self.error[1] += error * error;
            self.value[0] += value;
            self.value[1] += value * value;
        }
    }

    fn finish(self) -> Difference {
        let n = self.n.max(1.0);
        let both = |[sum, squares]: [f64; 2]| {
            let mean = sum / n;
            (mean, (squares / n - mean * mean).max(0.0).sqrt())
        };
        let ((error, error_deviation), (value, value_deviation)) =
            (both(self.error), both(self.value));
        Difference {
            error,
            error_deviation,
            value,
            value_deviation,
        }
    }
}
