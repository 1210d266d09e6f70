//! Models of signals on the sphere, on random coefficients with labels.

use crate::case::{Case, Change, section};
use crate::irreps::rotate_published;
use crate::numbers::{numbers, values};
use candle_core::{DType, Device, Tensor};
use holosig::data::spheres::Signal;
use holosig::models::hvae::{
    ClassifierDescription, Hvae, HvaeBatch, LabelledBatch, SphereClassifier, SphereDescription,
};
use holosig::models::{Describes, Weights};
use holosig::so3::rotation;
use holosig::so3::sphere::{Grid, Rings};

/// A conditional H-VAE; settings of the model beside the small sizes.
pub struct Conditional(pub &'static str);

/// A supervised network.
pub struct Classifier(pub &'static str);

const CLASSES: usize = 3;

fn classes() -> Vec<String> {
    (0..CLASSES).map(|c| format!("class {c}")).collect()
}

fn signal() -> Signal {
    Signal {
        lmax: 3,
        grid: Grid {
            rings: Rings::Soft,
            bandwidth: 8,
        },
        channels: vec!["one".into(), "two".into()],
    }
}

/// Coefficients of the samples, changed.
fn coefficients(ids: &[u64], change: Change, dtype: DType) -> Tensor {
    let irreps = signal().irreps();
    let x = ids.iter().flat_map(|&id| numbers(id, irreps.dim()));
    let x = Tensor::from_iter(x, &Device::Cpu).unwrap();
    let x = x.reshape((ids.len(), irreps.dim())).unwrap();
    let x = match change {
        Change::Rotated(seed) => rotate_published(&x, &irreps, &rotation::random(seed)),
        _ => x,
    };
    x.to_dtype(dtype).unwrap()
}

fn class(id: &u64) -> u32 {
    (id % CLASSES as u64) as u32
}

fn rows(t: &Tensor) -> Vec<Vec<f64>> {
    let width = t.dim(1).unwrap();
    values(t).chunks(width).map(<[f64]>::to_vec).collect()
}

fn rotations() -> Vec<(Change, f64, f64)> {
    [1, 2]
        .map(|seed| (Change::Rotated(seed), 1e-9, 2e-3))
        .into()
}

impl Case for Conditional {
    type Model = Hvae;

    const TASK: &'static str = "spheres";

    fn job(&self) -> String {
        let Self(settings) = self;
        format!(
            "task = 'spheres'\n[data]\ndataset = 'signals.h5'\n[model]\nlatent_dim = 5\n\
             channels = [6, 6, 8]\ndegrees = [3, 2, 1]\nvariational = true\nconditions = 3\n{settings}\n\
             [train]\nsteps = 2\n"
        )
    }

    fn description(&self) -> String {
        let description = SphereDescription {
            norm_factor: 1.0,
            signal: signal(),
            classes: classes(),
            model: section(&self.job(), "model"),
        };
        description.to_toml().unwrap()
    }

    fn build(&self, description: &str, seed: u64, dtype: DType) -> holosig::Result<Hvae> {
        SphereDescription::from_toml(description)?.build(seed, dtype, &Device::Cpu)
    }

    fn batch(&self, ids: &[u64], change: Change, dtype: DType) -> HvaeBatch {
        let description = SphereDescription::from_toml(&self.description()).unwrap();
        let names = classes();
        let labels = ids.iter().map(|id| names[class(id) as usize].as_str());
        let labels = description.one_hot(labels).unwrap();
        let labels = Tensor::from_vec(labels, (ids.len(), CLASSES), &Device::Cpu).unwrap();
        HvaeBatch {
            x: coefficients(ids, change, dtype),
            ids: ids.to_vec(),
            labels: Some(labels.to_dtype(dtype).unwrap()),
        }
    }

    /// The latent, and the signal decoded with the label in the frame of no rotation.
    fn predict(&self, model: &Hvae, batch: &HvaeBatch) -> Vec<Vec<f64>> {
        let mean = model.encode(&batch.x).unwrap().mean;
        let z = Tensor::cat(&[&mean, batch.labels.as_ref().unwrap()], 1).unwrap();
        let frame = Tensor::eye(3, z.dtype(), z.device()).unwrap();
        let frames = frame.unsqueeze(0).unwrap();
        let frames = frames.repeat((batch.ids.len(), 1, 1)).unwrap();
        let decoded = model.decode(&z, &frames).unwrap();
        rows(&Tensor::cat(&[mean, decoded], 1).unwrap())
    }

    fn symmetries(&self) -> Vec<(Change, f64, f64)> {
        rotations()
    }

    fn weights(&self) -> Weights<'static> {
        Weights::from([("reconstruction", 1.0), ("kl", 0.1)])
    }
}

impl Case for Classifier {
    type Model = SphereClassifier;

    const TASK: &'static str = "sphere-classes";

    fn job(&self) -> String {
        let Self(settings) = self;
        format!(
            "task = 'sphere-classes'\n[data]\ndataset = 'signals.h5'\n[model]\n\
             channels = [6, 6, 8]\ndegrees = [3, 2, 0]\nhidden = [7]\n{settings}\n[train]\nsteps = 2\n"
        )
    }

    fn description(&self) -> String {
        let description = ClassifierDescription {
            norm_factor: 1.0,
            signal: signal(),
            classes: classes(),
            model: section(&self.job(), "model"),
        };
        toml::to_string(&description).unwrap()
    }

    fn build(&self, text: &str, seed: u64, dtype: DType) -> holosig::Result<SphereClassifier> {
        ClassifierDescription::from_toml(text)?.build(seed, dtype, &Device::Cpu)
    }

    fn batch(&self, ids: &[u64], change: Change, dtype: DType) -> LabelledBatch {
        LabelledBatch {
            x: coefficients(ids, change, dtype),
            ids: ids.to_vec(),
            classes: Tensor::from_iter(ids.iter().map(class), &Device::Cpu).unwrap(),
        }
    }

    fn predict(&self, model: &SphereClassifier, batch: &LabelledBatch) -> Vec<Vec<f64>> {
        rows(&model.logits(&batch.x).unwrap())
    }

    fn symmetries(&self) -> Vec<(Change, f64, f64)> {
        rotations()
    }

    fn weights(&self) -> Weights<'static> {
        Weights::from([("prediction", 1.0)])
    }
}
