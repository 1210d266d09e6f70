//! How far a model is from exact equivariance (paper, Table S9).

use crate::Result;
use crate::downstream::embedding::Embedder;
use crate::models::Model;
use crate::models::hvae::Hvae;
use crate::so3::irreps::Irreps;
use crate::so3::rotation::{self, Matrix};
use crate::so3::wigner::d_matrices;
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

/// In f32 and in f64, on normalised zernikegrams `x` `[n, dim]`.
pub fn measure(embedder: &Embedder, x: &[f64], seed: u64) -> Result<Vec<Equivariance>> {
    let model = &embedder.model;
    let double = embedder.description.build(0, DType::F64, &Device::Cpu)?;
    double.parameters().set_flat(&model.parameters().flat()?)?;
    double
        .parameters()
        .set_buffers(&model.parameters().buffers())?;
    Ok(vec![
        in_precision(model, DType::F32, x, seed)?,
        in_precision(&double, DType::F64, x, seed)?,
    ])
}

fn in_precision(model: &Hvae, dtype: DType, x: &[f64], seed: u64) -> Result<Equivariance> {
    let irreps = model.irreps();
    let still = Outputs::of(model, dtype, x)?;
    let mut sums = [Sums::default(), Sums::default(), Sums::default()];
    for k in 0..ROTATIONS {
        let r = rotation::random(seed.wrapping_add(k));
        let moved = Outputs::of(model, dtype, &rotate(irreps, x, &r))?;
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
    fn of(model: &Hvae, dtype: DType, x: &[f64]) -> Result<Self> {
        let dim = model.irreps().dim();
        let x = Tensor::from_slice(x, (x.len() / dim, dim), &Device::Cpu)?.to_dtype(dtype)?;
        let encoding = model.encode(&x)?;
        let rebuilt = model.decode(&encoding.mean, &encoding.frame)?;
        let values = |t: &Tensor| t.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
        Ok(Self {
            invariants: values(&encoding.mean)?,
            frames: values(&encoding.frame)?,
            reconstruction: values(&rebuilt)?,
        })
    }
}

/// Rotates signals `[n, dim]` in the published layout (per degree, channels by orders).
fn rotate(irreps: &Irreps, x: &[f64], r: &Matrix) -> Vec<f64> {
    let d = d_matrices(irreps.lmax(), r);
    let mut out = Vec::with_capacity(x.len());
    for signal in x.chunks_exact(irreps.dim()) {
        for (l, d) in d.iter().enumerate() {
            let start = irreps.offset(l);
            let orders = 2 * l + 1;
            for c in 0..irreps.channels(l) {
                let v = &signal[start + c * orders..start + (c + 1) * orders];
                let row = |row: &[f64]| row.iter().zip(v).map(|(a, b)| a * b).sum::<f64>();
                out.extend(d.chunks_exact(orders).map(row));
            }
        }
    }
    out
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
