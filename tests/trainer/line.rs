//! Linear regression as a task.

use candle_core::{DType, Device, Tensor};
use holosig::Result;
use holosig::data::Split;
use holosig::data::noise::Noise;
use holosig::models::layers::Linear;
use holosig::models::{Init, Losses, Model, Parameters, ParametersBuilder, StepKey};
use holosig::train::Task;
use serde::Serialize;

pub const SAMPLES: u64 = 103;
pub const WIDTH: usize = 5;

/// `y = w x + b`, with a buffer that follows the mean of `x`.
pub struct Line {
    pub parameters: Parameters,
    linear: Linear,
}

impl Model for Line {
    type Batch = (Tensor, Tensor);

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn losses(&self, batch: &Self::Batch, _: StepKey) -> Result<Losses> {
        Ok(Losses {
            terms: vec![("mse", self.error(batch)?.sqr()?.mean_all()?)],
            statistics: vec![batch.0.mean(0)?],
        })
    }

    fn metrics(&self, batch: &Self::Batch) -> Result<Vec<(&'static str, Vec<f64>)>> {
        let error: Vec<f32> = self.error(batch)?.to_vec1()?;
        let truth: Vec<f32> = batch.1.to_vec1()?;
        let right = |(e, y): (&f32, &f32)| f64::from((e + y > 0.0) == (*y > 0.0));
        let signs = error.iter().zip(&truth).map(right).collect();
        let squares = error.iter().map(|&e| f64::from(e * e)).collect();
        Ok(vec![("mse", squares), ("sign_accuracy", signs)])
    }
}

impl Line {
    pub fn new(seed: u64) -> Result<Self> {
        let mut b = ParametersBuilder::default();
        let linear = Linear::new(&mut b.root(), WIDTH, 1, Init::Uniform(1.0));
        b.root().buffer("mean", WIDTH, 0.0);
        let parameters = b.build(seed, DType::F32, &Device::Cpu, 0.1)?;
        Ok(Self { parameters, linear })
    }

    fn error(&self, (x, y): &(Tensor, Tensor)) -> candle_core::Result<Tensor> {
        self.linear.forward(x, &self.parameters)?.squeeze(1)? - y
    }
}

/// A line needs no description.
#[derive(Serialize)]
pub struct Nothing {}

pub struct Regression {
    pub model: Line,
    pub scale: f64,
    /// Training samples whose target is not what it should be.
    pub bad: Vec<(u64, f32)>,
}

pub fn sample(id: u64) -> ([f64; WIDTH], f64) {
    let x = std::array::from_fn(|j| ((id * (37 + 11 * j as u64)) as f64 + j as f64).sin());
    let noise = 0.01 * ((id * 101) as f64).cos();
    (x, x[0] - 2.0 * x[3] + 0.5 + noise)
}

impl Task for Regression {
    const NAME: &'static str = "line";

    type Model = Line;

    type Description = Nothing;

    fn model(&self) -> &Line {
        &self.model
    }

    fn samples(&self, split: Split) -> u64 {
        match split {
            Split::Train => SAMPLES,
            Split::Validation => 17,
            Split::Test => 0,
        }
    }

    fn batch(&self, split: Split, samples: &[u64]) -> Result<(Tensor, Tensor)> {
        self.points(split, samples, None)
    }

    fn check_noise(&self) -> Result<()> {
        Ok(())
    }

    fn noisy_batch(&self, samples: &[u64], noise: &Noise) -> Result<(Tensor, Tensor)> {
        self.points(Split::Train, samples, Some(noise))
    }

    fn sample_name(&self, _: Split, sample: u64) -> String {
        format!("point {sample}")
    }

    fn fingerprint(&self) -> String {
        format!("line-{}", self.scale)
    }

    fn description(&self) -> &Nothing {
        &Nothing {}
    }
}

impl Regression {
    fn points(
        &self,
        split: Split,
        samples: &[u64],
        noise: Option<&Noise>,
    ) -> Result<(Tensor, Tensor)> {
        let offset = if split == Split::Validation { 1000 } else { 0 };
        let rows: Vec<_> = samples.iter().map(|s| sample(s + offset)).collect();
        let mut x: Vec<f32> = rows.iter().flat_map(|r| r.0.map(|v| v as f32)).collect();
        for (&sample, x) in samples.iter().zip(x.chunks_mut(WIDTH)) {
            noise.iter().for_each(|noise| noise.add(sample, &mut *x));
        }
        let mut y: Vec<f32> = rows.iter().map(|r| (r.1 * self.scale) as f32).collect();
        for (id, value) in &self.bad {
            let found = samples.iter().position(|s| s + offset == *id);
            found.iter().for_each(|&i| y[i] = *value);
        }
        let n = samples.len();
        Ok((
            Tensor::from_vec(x, (n, WIDTH), &Device::Cpu)?,
            Tensor::from_vec(y, n, &Device::Cpu)?,
        ))
    }
}
