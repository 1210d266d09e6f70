//! The evaluation of models of signals on the sphere (paper, Tables 1, S3 and S4): reconstruction,
//! classifiers of the invariants, clusters, retrieval.
//!
//! Ranks share the encoding; rank 0 classifies and clusters on its cores. Every number is the same
//! for any number of ranks.

use super::classify::{self, Known, Probabilities};
use super::retrieval::{CUTOFF, Item, Retrieval};
use super::{Encoded, SphereModel};
use crate::comm::World;
use crate::data::Split;
use crate::data::spheres::Spheres;
use crate::downstream::evaluation::measured::Measured;
use crate::downstream::evaluation::{
    Clustering, Equivariance, RECORD, Reconstruction, cluster, equivariance, labels::Classes,
    reconstruction,
};
use crate::models::Model;
use crate::store::{self, Content, Kind, Output, Storage};
use crate::{Error, Result, stats};
use candle_core::Device;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Signals per forward pass.
const BLOCK: usize = 256;

/// What to evaluate on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// Classifiers are fitted on training and validation samples, and tried on these.
    pub split: Split,
    /// Chooses starts of the clustering and rotations.
    pub seed: u64,
    /// Starts of the clustering, of which the best is kept.
    pub restarts: usize,
}

/// The record of one call: `evaluation.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub code_version: String,
    pub dataset: String,
    pub fingerprint: String,
    pub options: Options,
    pub spheres: Vec<Evaluation>,
}

/// What was found out about one model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evaluation {
    pub checkpoint: String,
    pub hash: String,
    /// Training steps; none for an imported model.
    pub steps: Option<u64>,
    pub parameters: usize,
    pub latent_dim: usize,
    /// Samples of the split, and samples that classifiers are fitted on.
    pub samples: usize,
    pub fitted: usize,
    pub reconstruction: Reconstruction,
    /// Cosine loss by class; one of an empty name where there are no labels.
    pub classes: Vec<ClassLoss>,
    /// In f32 and in f64.
    pub equivariance: Vec<Equivariance>,
    /// None without labels.
    pub knowledge: Option<Knowledge>,
}

/// How well the signals of one class are rebuilt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClassLoss {
    pub label: String,
    pub samples: usize,
    pub cosine: f64,
    /// Standard deviation over its samples.
    pub deviation: f64,
}

/// What the invariants tell of the classes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Knowledge {
    /// Accuracy of the linear classifier, and of the five nearest neighbours.
    pub linear: f64,
    pub nearest: f64,
    /// k-means of the split's invariants, as many clusters as classes.
    pub clustering: Clustering,
    /// Of the lists that the two classifiers make.
    pub linear_retrieval: Retrieval,
    pub nearest_retrieval: Retrieval,
}

/// What [`run`] writes into `folder` for this many models.
pub fn outputs(folder: &Path, models: usize) -> Vec<Output> {
    let content = Content::marked("a record of holosig evaluate", "\"code_version\":");
    let mut outputs = vec![Output::new(folder.join(RECORD), content)];
    let files = (0..models).map(|number| folder.join(embeddings(number)));
    outputs.extend(files.map(|path| Output::new(path, Kind::Embeddings)));
    outputs
}

fn embeddings(number: usize) -> PathBuf {
    PathBuf::from(format!("embeddings-{number}.h5"))
}

/// Evaluates checkpoints on a dataset and writes `evaluation.json` and an embedding file per model
/// into `folder`. Collective; the record is returned on rank 0.
///
/// # Errors
/// An unreadable checkpoint, data that a model was not made for, an empty split, an unwritable folder.
pub fn run(
    world: &World,
    checkpoints: &[PathBuf],
    data: &Spheres,
    name: &Path,
    options: &Options,
    folder: &Path,
) -> Result<Option<Record>> {
    world.on_root(|| std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e)))?;
    let mut done = Vec::new();
    for (number, path) in checkpoints.iter().enumerate() {
        let model = SphereModel::open(world, path, &Device::Cpu)?;
        let fits = model.description.check_data(data);
        world.agree(fits.map_err(|e| Error::file(name, format!("{e} ({})", path.display()))))?;
        let subject = Subject::new(&model, data, options);
        let subject = world.agree(subject.map_err(|e| e.in_file(name)))?;
        let measured = subject.measure(world)?;
        let evaluation = world.on_root(|| {
            subject.write(&folder.join(embeddings(number)), &measured)?;
            subject.conclude(&measured, path)
        })?;
        done.extend(evaluation);
    }
    world.on_root(|| {
        let record = Record {
            code_version: env!("CARGO_PKG_VERSION").into(),
            dataset: name.display().to_string(),
            fingerprint: data.fingerprint().into(),
            options: options.clone(),
            spheres: done,
        };
        let text = serde_json::to_string_pretty(&record).map_err(Error::internal)?;
        store::write_bytes(&folder.join(RECORD), text.as_bytes())?;
        Ok(record)
    })
}

/// A model and the samples that it is tried on.
struct Subject<'a> {
    model: &'a SphereModel,
    data: &'a Spheres,
    options: &'a Options,
    /// Those of the split first, then those that classifiers are fitted on.
    samples: Vec<u32>,
    /// How many are of the split.
    tried: usize,
}

impl<'a> Subject<'a> {
    fn new(model: &'a SphereModel, data: &'a Spheres, options: &'a Options) -> Result<Self> {
        let mut samples = data.split(options.split).to_vec();
        let tried = samples.len();
        if tried == 0 {
            let split = options.split;
            return Err(Error::input(format!(
                "no signal of the split {split}; see --split"
            )));
        }
        let others = [Split::Train, Split::Validation]
            .into_iter()
            .filter(|s| *s != options.split);
        others.for_each(|s| samples.extend(data.split(s)));
        Ok(Self {
            model,
            data,
            options,
            samples,
            tried,
        })
    }

    fn measure(&self, world: &World) -> Result<Measured> {
        let mut all = Measured::default();
        let (dim, irreps) = (self.model.dim(), self.model.model.irreps());
        // Blocks do not mix what is rebuilt and what is not.
        for (start, n) in [
            (0, self.tried),
            (self.tried, self.samples.len() - self.tried),
        ] {
            world.ordered(
                n,
                BLOCK,
                |rows| {
                    let samples = &self.samples[start + rows.start..start + rows.end];
                    let x = self.model.description.normalised(self.data, samples);
                    let Encoded { invariants, frames } = self.model.encode(&x)?;
                    let mut errors = Vec::new();
                    if start == 0 {
                        let labels = samples.iter().map(|&s| self.data.label(s));
                        let z = self.model.with_labels(&invariants, labels)?;
                        let rebuilt = self.model.decode(&z, &frames)?;
                        for (r, x) in rebuilt.chunks_exact(dim).zip(x.chunks_exact(dim)) {
                            let cosine = self.model.model.cosine_loss(r, x);
                            errors.extend(reconstruction::errors(irreps, r, x, cosine));
                        }
                    }
                    Ok(Measured {
                        invariants,
                        frames,
                        errors,
                    })
                },
                |_, block| {
                    all.append(block);
                    Ok(())
                },
            )?;
        }
        Ok(all)
    }

    fn label(&self, row: usize) -> &str {
        self.data.label(self.samples[row])
    }

    fn conclude(&self, measured: &Measured, path: &Path) -> Result<Evaluation> {
        let irreps = self.model.model.irreps();
        let cosine = reconstruction::cosine_losses(irreps, &measured.errors);
        let mut of_class: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (row, &loss) in cosine.iter().enumerate() {
            of_class
                .entry(self.label(row))
                .or_default()
                .push(loss.into());
        }
        let class = |(label, losses): (&&str, &Vec<f64>)| ClassLoss {
            label: label.to_string(),
            samples: losses.len(),
            cosine: stats::mean(losses),
            deviation: stats::population_deviation(losses),
        };
        Ok(Evaluation {
            checkpoint: path.display().to_string(),
            hash: self.model.hash.clone(),
            steps: self.model.progress.as_ref().map(|p| p.step),
            parameters: self.model.model.parameters().len(),
            latent_dim: self.model.latent(),
            samples: self.tried,
            fitted: self.samples.len() - self.tried,
            reconstruction: Reconstruction::of(irreps, &measured.errors),
            classes: of_class.iter().map(class).collect(),
            equivariance: self.equivariance()?,
            knowledge: self.knowledge(&measured.invariants)?,
        })
    }

    fn equivariance(&self) -> Result<Vec<Equivariance>> {
        /// Signals, spread evenly over all of them.
        const SAMPLE: usize = 64;
        let stride = self.tried.div_ceil(SAMPLE);
        let sample: Vec<u32> = self.samples[..self.tried]
            .iter()
            .copied()
            .step_by(stride)
            .collect();
        let x = self.model.description.normalised(self.data, &sample);
        let x: Vec<f64> = x.into_iter().map(f64::from).collect();
        let labels = sample.iter().map(|&s| self.data.label(s));
        let labels = self.model.description.one_hot(labels)?;
        let (model, seed) = (&self.model, self.options.seed);
        equivariance::measure(&model.model, &model.double()?, &x, &labels, seed)
    }

    /// None without labels in both parts.
    fn knowledge(&self, invariants: &[f32]) -> Result<Option<Knowledge>> {
        let z = self.model.latent();
        let labelled = |range: std::ops::Range<usize>| -> Vec<usize> {
            range.filter(|&row| !self.label(row).is_empty()).collect()
        };
        let (tried, fitted) = (
            labelled(0..self.tried),
            labelled(self.tried..self.samples.len()),
        );
        let names: BTreeSet<&str> = tried
            .iter()
            .chain(&fitted)
            .map(|&row| self.label(row))
            .collect();
        if tried.is_empty() || fitted.is_empty() || names.len() < 2 {
            return Ok(None);
        }
        let number: BTreeMap<&str, u32> = names.iter().copied().zip(0..).collect();
        let classes = |rows: &[usize]| {
            rows.iter()
                .map(|&r| number[self.label(r)])
                .collect::<Vec<u32>>()
        };
        let values = |rows: &[usize]| -> Vec<f64> {
            let row = |&r: &usize| &invariants[r * z..(r + 1) * z];
            rows.iter().flat_map(row).map(|&v| f64::from(v)).collect()
        };
        let for_training = |&&row: &&usize| {
            let split = self.data.split_of(self.samples[row]);
            split == Split::Train
        };
        let known = Known {
            rows: values(&fitted),
            classes: classes(&fitted),
            train: fitted.iter().filter(for_training).count(),
        };
        let (x, truth) = (values(&tried), classes(&tried));
        let linear = classify::linear(&known, &x, z, names.len())?;
        let nearest = classify::nearest(&known, &x, z, names.len());
        let item = |&row: &usize| Item {
            class: self.label(row).to_string(),
            subclass: self.data.subclasses()[self.samples[row] as usize].clone(),
        };
        let items: Vec<Item> = tried.iter().map(item).collect();
        let retrieval = |p: &Probabilities| Retrieval::of(&items, p, CUTOFF);
        let of_truth = Classes {
            names: names.iter().map(|n| n.to_string()).collect(),
            of: truth.clone(),
        };
        let (restarts, seed) = (self.options.restarts, self.options.seed);
        Ok(Some(Knowledge {
            linear: classify::accuracy(&linear, &truth),
            nearest: classify::accuracy(&nearest, &truth),
            clustering: cluster::k_means(&x, z, &of_truth, restarts, seed)?,
            linear_retrieval: retrieval(&linear),
            nearest_retrieval: retrieval(&nearest),
        }))
    }

    /// Writes the embedding file: invariants and frames of all samples, cosine losses (not a number
    /// where nothing was rebuilt), names, labels and splits.
    fn write(&self, path: &Path, m: &Measured) -> Result<()> {
        let (n, z) = (self.samples.len(), self.model.latent());
        let mut cosine = reconstruction::cosine_losses(self.model.model.irreps(), &m.errors);
        cosine.resize(n, f32::NAN);
        let text =
            |of: &dyn Fn(u32) -> String| self.samples.iter().map(|&s| of(s)).collect::<Vec<_>>();
        store::write(path, Kind::Embeddings, |root| {
            root.set_attr_text("code_version", env!("CARGO_PKG_VERSION"))?;
            root.set_attr_text("checkpoint_hash", &self.model.hash)?;
            root.write("invariants", &[n, z], &m.invariants, Storage::Plain)?;
            root.write("frames", &[n, 3, 3], &m.frames, Storage::Plain)?;
            root.write("cosine_loss", &[n], &cosine, Storage::Plain)?;
            root.write_strings("id", &text(&|s| self.data.id(s).to_string()))?;
            root.write_strings("label", &text(&|s| self.data.label(s).to_string()))?;
            root.write_strings("split", &text(&|s| self.data.split_of(s).to_string()))
        })
        .map(drop)
    }
}
