//! Trains a model of your own on batches of your own:
//!
//! ```sh
//! cargo run --release --example train_your_model -- runs/distances
//! mpirun -np 2 target/release/examples/train_your_model runs/distances-2    # the same bits
//! target/release/holosig report runs/distances
//! ```
//!
//! The model, two layers, learns the distance of a point in space from the origin. Everything else,
//! from the sums over ranks to checkpoints and resuming, is holosig's.

use candle_core::{DType, Device, Tensor};
use holosig::comm::World;
use holosig::data::Split;
use holosig::models::layers::{Activation, Mlp};
use holosig::models::{Losses, Model, Parameters, ParametersBuilder, StepKey};
use holosig::train::{LossSchedule, Plan, RunFolder, Settings, Start, Task, train};
use holosig::{Error, Result};
use serde::Serialize;
use std::path::Path;

const HIDDEN: usize = 32;

/// Points `[n, 3]` and their distances `[n]`.
struct Batch {
    points: Tensor,
    distances: Tensor,
}

struct Distance {
    parameters: Parameters,
    network: Mlp,
}

impl Distance {
    fn new(seed: u64) -> Result<Self> {
        let mut builder = ParametersBuilder::default();
        let layers = [(HIDDEN, Activation::Swish), (1, Activation::Identity)];
        let network = Mlp::new(&mut builder.root(), 3, &layers);
        let parameters = builder.build(seed, DType::F32, &Device::Cpu, 0.0)?;
        Ok(Self {
            parameters,
            network,
        })
    }

    /// Squared errors `[n]`.
    fn squared_errors(&self, batch: &Batch) -> Result<Tensor> {
        let found = self.network.forward(&batch.points, &self.parameters)?;
        Ok((found.squeeze(1)? - &batch.distances)?.sqr()?)
    }
}

impl Model for Distance {
    type Batch = Batch;

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn losses(&self, batch: &Batch, _: StepKey) -> Result<Losses> {
        Ok(Losses {
            terms: vec![("squared_error", self.squared_errors(batch)?.mean_all()?)],
            statistics: Vec::new(),
        })
    }

    fn metrics(&self, batch: &Batch) -> Result<Vec<(&'static str, Vec<f64>)>> {
        let errors: Vec<f32> = self.squared_errors(batch)?.to_vec1()?;
        Ok(vec![(
            "squared_error",
            errors.into_iter().map(f64::from).collect(),
        )])
    }
}

/// What a reader of a checkpoint needs to build the model.
#[derive(Serialize)]
struct Description {
    hidden: usize,
}

/// The model and where its batches come from.
struct Distances(Distance);

/// A point: any function of the number of the sample will do.
fn point(split: Split, sample: u64) -> [f32; 3] {
    let offset = if split == Split::Train { 0 } else { 1_000_000 };
    [1.0, 2.0, 3.0].map(|k: f64| (k * 12.9898 * (sample + offset) as f64).sin() as f32)
}

impl Task for Distances {
    const NAME: &'static str = "distances";

    type Model = Distance;

    type Description = Description;

    fn model(&self) -> &Distance {
        &self.0
    }

    fn samples(&self, split: Split) -> u64 {
        match split {
            Split::Train => 10_000,
            Split::Validation => 1_000,
            Split::Test => 0,
        }
    }

    fn batch(&self, split: Split, samples: &[u64]) -> Result<Batch> {
        let points: Vec<[f32; 3]> = samples.iter().map(|&s| point(split, s)).collect();
        let distances: Vec<f32> = points
            .iter()
            .map(|p| p.iter().map(|v| v * v).sum::<f32>().sqrt())
            .collect();
        Ok(Batch {
            distances: Tensor::new(distances, &Device::Cpu)?,
            points: Tensor::from_vec(points.concat(), (samples.len(), 3), &Device::Cpu)?,
        })
    }

    fn sample_name(&self, _: Split, sample: u64) -> String {
        format!("point {sample}")
    }

    fn fingerprint(&self) -> String {
        "points of sines".into()
    }

    fn description(&self) -> &Description {
        &Description { hidden: HIDDEN }
    }
}

fn main() -> Result<()> {
    holosig::leave_threads_to_rayon();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
    let folder = std::env::args_os()
        .nth(1)
        .ok_or_else(|| Error::input("usage: train_your_model RUN_FOLDER"))?;

    let job = "batch = 200\nslices = 4\nepochs = 10\nlearning_rate = 1e-2\n";
    let settings: Settings = toml::from_str(job).map_err(Error::internal)?;
    let task = Distances(Distance::new(settings.seed)?);
    World::run(|world| {
        let folder = RunFolder::new(Path::new(&folder));
        let checkpoint = folder.open(world, Start::Auto)?;
        let plan = Plan {
            task: &task,
            settings: &settings,
            loss: &LossSchedule::constant(&[("squared_error", 1.0)]),
            job: format!("[train]\n{job}"),
            folder: &folder,
        };
        train(world, &plan, checkpoint.as_ref())
    })
}
