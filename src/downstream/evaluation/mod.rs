//! What a latent space knows: how well it rebuilds its input, how far it is from invariant, and
//! which labels can be read off it (paper, sections IV.3 and A.5.6).
//!
//! Ranks share the encoding by blocks of residues; rank 0 classifies and clusters on all cores.
//! Every number is the same for any number of ranks.

mod classify;
pub(super) mod cluster;
pub(super) mod equivariance;
pub(super) mod labels;
pub(super) mod logistic;
pub(super) mod measured;
pub(super) mod reconstruction;

pub use classify::Score;
pub use cluster::Clustering;
pub use equivariance::{Difference, Equivariance};
pub use labels::{LabelSource, Labels};
pub use reconstruction::{Degree, Reconstruction};

use self::labels::Question;
use self::measured::Measured;
use super::embedding::{Block, Embedder, Residues};
use crate::comm::World;
use crate::data::dataset::Dataset;
use crate::data::neighborhoods::Finder;
use crate::data::sampler::Permutation;
use crate::data::zernikegrams::of_centres;
use crate::data::{Split, balance};
use crate::models::Model;
use crate::ops::zernike::Transform;
use crate::store::{self, Content, Kind, Output, Storage};
use crate::{Error, Result, files};
use candle_core::Device;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Residues per forward pass.
const BLOCK: usize = 256;
/// Name of the record in a folder of results.
pub const RECORD: &str = "evaluation.json";

/// What to evaluate on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    pub split: Split,
    /// At most this many residues of the split.
    pub residues: usize,
    /// Take every residue type in equal shares.
    pub balanced: bool,
    /// Chooses residues, folds, starts of the clustering and rotations.
    pub seed: u64,
    /// Folds of the cross-validation.
    pub folds: usize,
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
    pub evaluations: Vec<Evaluation>,
}

impl Record {
    /// # Errors
    /// A folder without a record, a record of another program.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(RECORD);
        let text = files::read_text(&path)?;
        serde_json::from_str(&text).map_err(|e| Error::file(&path, format!("not a record: {e}")))
    }

    /// The classes that were left out for being rare, one line for each kind of label.
    pub fn left_out(&self) -> impl Iterator<Item = String> {
        let labels = self.evaluations.first().into_iter().flat_map(|e| &e.labels);
        labels.filter_map(|k| left_out(&k.name, &k.left_out, self.options.folds))
    }

    /// Whether an evaluation was begun in `folder` and did not end.
    pub fn is_unfinished(folder: &Path) -> bool {
        folder.join(embeddings(0)).exists() && !folder.join(RECORD).exists()
    }
}

/// What was found out about one model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evaluation {
    pub checkpoint: String,
    pub hash: String,
    /// Training steps; none for an imported model.
    pub steps: Option<u64>,
    /// The job that trained it, one entry per key (`train.seed`).
    pub job: BTreeMap<String, toml::Value>,
    pub parameters: usize,
    pub latent_dim: usize,
    pub residues: usize,
    pub reconstruction: Reconstruction,
    /// In f32 and in f64.
    pub equivariance: Vec<Equivariance>,
    pub labels: Vec<Knowledge>,
    /// Embedding file of this model beside the record.
    pub embeddings: PathBuf,
}

/// How well one kind of label can be read off the latent space.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Knowledge {
    /// `residue`, `secondary`, or the column of a table.
    pub name: String,
    pub classes: Vec<String>,
    /// Classes with fewer residues than there are folds, and their residues.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, usize>,
    /// Residues that have one of the classes.
    pub residues: usize,
    /// Accuracy of always guessing the most frequent class.
    pub chance: f64,
    /// Linear classifier.
    pub linear: Score,
    /// Five nearest neighbours.
    pub nearest: Score,
    pub clustering: Clustering,
    /// Mean silhouette coefficient of the classes.
    pub silhouette: f64,
}

/// The residues to evaluate on, as centres of the dataset, ascending.
///
/// # Errors
/// An empty split; too few residues of a type for equal shares.
pub fn choose(dataset: &Dataset, options: &Options) -> Result<Vec<u32>> {
    let all = dataset.split(options.split);
    let named = |e: Error| Error::input(format!("split {}: {e}", options.split));
    if options.balanced {
        return balance::balanced(dataset, all, options.residues, options.seed).map_err(named);
    }
    if all.len() < options.folds {
        let what = format!("{} residues cannot make {} folds", all.len(), options.folds);
        return Err(named(Error::input(what)));
    }
    let order = Permutation::new(all.len() as u64, options.seed);
    let n = options.residues.min(all.len());
    let mut chosen: Vec<u32> = (0..n as u64).map(|i| all[order.at(i) as usize]).collect();
    chosen.sort_unstable();
    Ok(chosen)
}

/// What [`run`] writes into `folder` for this many models.
pub fn outputs(folder: &Path, models: usize) -> Vec<Output> {
    let content = Content::marked("a record of holosig evaluate", "\"code_version\":");
    let mut outputs = vec![Output::new(folder.join(RECORD), content)];
    let files = (0..models).map(|number| folder.join(embeddings(number)));
    outputs.extend(files.map(|path| Output::new(path, Kind::Embeddings)));
    outputs
}

/// Name of the embedding file of a model.
fn embeddings(number: usize) -> PathBuf {
    PathBuf::from(format!("embeddings-{number}.h5"))
}

/// What models are tried on: residues of a dataset, and what is to be read off them.
pub struct Trial<'a> {
    dataset: &'a Dataset,
    /// The dataset, for the record.
    name: String,
    options: Options,
    centres: Vec<u32>,
    labels: &'a [Labels],
    questions: Vec<Question>,
}

impl<'a> Trial<'a> {
    /// Chooses the residues, and tells which classes are too rare for the folds.
    ///
    /// # Errors
    /// Those of [`choose`]; labels of fewer than two classes that are frequent enough.
    pub fn new(
        dataset: &'a Dataset,
        name: &Path,
        labels: &'a [Labels],
        options: Options,
    ) -> Result<Self> {
        let centres = choose(dataset, &options)?;
        let questions = labels
            .iter()
            .map(|l| l.of(&centres).frequent(&l.name, &options));
        Ok(Self {
            questions: questions.collect::<Result<_>>()?,
            name: name.display().to_string(),
            dataset,
            options,
            centres,
            labels,
        })
    }

    /// Number of residues.
    pub fn len(&self) -> usize {
        self.centres.len()
    }

    pub fn is_empty(&self) -> bool {
        self.centres.is_empty()
    }

    /// The classes that are left out for being rare, one line for each kind of label.
    pub fn left_out(&self) -> impl Iterator<Item = String> {
        let told = self.labels.iter().zip(&self.questions);
        told.filter_map(|(labels, q)| left_out(&labels.name, &q.left_out, self.options.folds))
    }
}

fn left_out(name: &str, classes: &BTreeMap<String, usize>, folds: usize) -> Option<String> {
    let all = classes.iter().map(|(class, n)| format!("{class} ({n})"));
    let all = all.collect::<Vec<_>>().join(", ");
    let why = format!("fewer than {folds} residues for {folds} folds");
    (!classes.is_empty()).then(|| format!("labels {name}: left out, {why}: {all}"))
}

/// Evaluates checkpoints and writes `evaluation.json` and an embedding file per model into `folder`.
/// Collective; `progress` is told how many residues have been encoded, of all models together; the
/// record is returned on rank 0.
///
/// # Errors
/// An unreadable checkpoint, an unwritable folder.
pub fn run(
    world: &World,
    checkpoints: &[PathBuf],
    trial: &Trial,
    folder: &Path,
    progress: impl Fn(usize),
) -> Result<Option<Record>> {
    world.on_root(|| std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e)))?;
    let mut evaluations = Vec::new();
    for (number, path) in checkpoints.iter().enumerate() {
        let subject = Subject::open(world, path, trial)?;
        let before = number * trial.len();
        let measured = subject.measure(world, |done| progress(before + done))?;
        let equivariance = subject.equivariance(world)?;
        let done = world.on_root(|| {
            let file = embeddings(number);
            subject.write(&folder.join(&file), &measured)?;
            let evaluation = subject.conclude(&measured, equivariance, &file)?;
            log::info!("{}: done", path.display());
            Ok(evaluation)
        })?;
        evaluations.extend(done);
    }
    world.on_root(|| {
        let record = Record {
            code_version: env!("CARGO_PKG_VERSION").into(),
            dataset: trial.name.clone(),
            fingerprint: trial.dataset.fingerprint().into(),
            options: trial.options.clone(),
            evaluations,
        };
        let text = serde_json::to_string_pretty(&record).map_err(Error::internal)?;
        store::write_bytes(&folder.join(RECORD), text.as_bytes())?;
        Ok(record)
    })
}

/// A model and the residues that it is tried on.
struct Subject<'a> {
    path: &'a Path,
    embedder: Embedder,
    /// Rank 0 only.
    finder: Finder<'a>,
    transform: Transform,
    trial: &'a Trial<'a>,
}

impl<'a> Subject<'a> {
    fn open(world: &World, path: &'a Path, trial: &'a Trial) -> Result<Self> {
        let embedder = Embedder::open(world, path, &Device::Cpu)?;
        let transform = world.agree(Transform::new(&embedder.description.zernike))?;
        let finder = Finder::new(trial.dataset, embedder.description.neighborhood());
        Ok(Self {
            path,
            embedder,
            finder,
            transform,
            trial,
        })
    }

    fn zernikegrams(&self, centres: &[u32]) -> Result<Vec<f32>> {
        let x = of_centres(&self.transform, &self.finder, centres)?;
        match x.iter().all(|v| v.is_finite()) {
            true => Ok(x),
            false => Err(Error::file(self.path, "a zernikegram is not finite")),
        }
    }

    /// Encodes and decodes every residue.
    fn measure(&self, world: &World, progress: impl Fn(usize)) -> Result<Measured> {
        let mut all = Measured::default();
        world.ordered_by_threads(
            self.trial.len(),
            BLOCK,
            |rows| {
                let zernikegrams = self.zernikegrams(&self.trial.centres[rows])?;
                let block = self.embedder.embed(&zernikegrams, true)?;
                Ok(Measured {
                    errors: self.errors(&block),
                    invariants: block.invariants,
                    frames: block.frames,
                })
            },
            |rows, block| {
                progress(rows.end);
                all.append(block);
                Ok(())
            },
        )?;
        Ok(all)
    }

    fn errors(&self, block: &Block) -> Vec<f64> {
        let dim = self.embedder.dim();
        let factor = self.embedder.description.norm_factor as f32;
        let pairs = block
            .reconstruction
            .chunks_exact(dim)
            .zip(block.zernikegram.chunks_exact(dim));
        let rows = pairs.zip(&block.cosine_loss).flat_map(|((r, x), &cosine)| {
            let x: Vec<f32> = x.iter().map(|v| v / factor).collect();
            reconstruction::errors(self.embedder.model.irreps(), r, &x, f64::from(cosine))
        });
        rows.collect()
    }

    fn equivariance(&self, world: &World) -> Result<Vec<Equivariance>> {
        /// Residues, spread evenly over all of them.
        const SAMPLE: usize = 128;
        let centres = &self.trial.centres;
        let stride = centres.len().div_ceil(SAMPLE).max(1);
        let sample: Vec<u32> = centres.iter().copied().step_by(stride).collect();
        let done = world.on_root(|| {
            let factor = self.embedder.description.norm_factor;
            let x = self.zernikegrams(&sample)?;
            let x: Vec<f64> = x.iter().map(|&v| f64::from(v) / factor).collect();
            let model = &self.embedder.model;
            let double = self.embedder.double()?;
            equivariance::measure(model, &double, &x, &[], self.trial.options.seed)
        })?;
        Ok(done.unwrap_or_default())
    }

    /// Everything that follows from the measurements.
    fn conclude(
        &self,
        measured: &Measured,
        equivariance: Vec<Equivariance>,
        file: &Path,
    ) -> Result<Evaluation> {
        let z = self.embedder.description.model.latent_dim;
        let of = |(l, question): (&Labels, &Question)| -> Result<Knowledge> {
            let rows = question.rows.iter();
            let values = rows.flat_map(|&r| &measured.invariants[r * z..(r + 1) * z]);
            let x: Vec<f64> = values.map(|&v| f64::from(v)).collect();
            knowledge(&l.name, &x, z, question, &self.trial.options)
        };
        let questions = self.trial.labels.iter().zip(&self.trial.questions);
        let progress = self.embedder.progress.as_ref();
        Ok(Evaluation {
            checkpoint: self.path.display().to_string(),
            hash: self.embedder.hash.clone(),
            steps: progress.map(|p| p.step),
            job: progress.map_or(Ok(BTreeMap::new()), |p| flatten(&p.job))?,
            parameters: self.embedder.model.parameters().len(),
            latent_dim: z,
            residues: self.trial.len(),
            reconstruction: Reconstruction::of(self.embedder.model.irreps(), &measured.errors),
            equivariance,
            labels: questions.map(of).collect::<Result<_>>()?,
            embeddings: file.to_path_buf(),
        })
    }

    /// Writes the embedding file: invariants, frames, cosine losses, residues and labels.
    fn write(&self, path: &Path, m: &Measured) -> Result<()> {
        let (n, centres) = (self.trial.len(), &self.trial.centres);
        let z = m.invariants.len() / n.max(1);
        let irreps = self.embedder.model.irreps();
        let cosine = reconstruction::cosine_losses(irreps, &m.errors);
        let written = store::write(path, Kind::Embeddings, |root| {
            root.set_attr_text("code_version", env!("CARGO_PKG_VERSION"))?;
            root.set_attr_text("checkpoint_hash", &self.embedder.hash)?;
            root.write("invariants", &[n, z], &m.invariants, Storage::Plain)?;
            root.write("frames", &[n, 3, 3], &m.frames, Storage::Plain)?;
            root.write("cosine_loss", &[n], &cosine, Storage::Plain)?;
            let residues = Residues::of(self.finder.dataset(), centres);
            residues.write(&root.create_group("residues")?)?;
            let group = root.create_group("labels")?;
            let mut labels = self.trial.labels.iter();
            labels.try_for_each(|l| group.write_strings(&l.name, &l.texts(centres)))
        });
        written.map(drop)
    }
}

/// `x` `[n, dim]` with one class per row.
fn knowledge(
    name: &str,
    x: &[f64],
    dim: usize,
    question: &Question,
    options: &Options,
) -> Result<Knowledge> {
    let classes = &question.classes;
    let folds = classify::folds(classes, options.folds, options.seed);
    let counts = classes.counts();
    let most = counts.iter().copied().max().unwrap_or(0);
    log::info!(
        "labels {name}: {} residues of {} classes",
        classes.of.len(),
        counts.len()
    );
    Ok(Knowledge {
        name: name.into(),
        classes: classes.names.clone(),
        left_out: question.left_out.clone(),
        residues: classes.of.len(),
        chance: most as f64 / classes.of.len() as f64,
        linear: classify::linear(x, dim, classes, &folds)?,
        nearest: classify::nearest(x, dim, classes, &folds)?,
        clustering: cluster::k_means(x, dim, classes, options.restarts, options.seed)?,
        silhouette: cluster::silhouette(x, dim, classes, options.seed),
    })
}

/// A job's keys with dots between their parts.
fn flatten(job: &str) -> Result<BTreeMap<String, toml::Value>> {
    fn walk(at: &str, value: toml::Value, out: &mut BTreeMap<String, toml::Value>) {
        match value {
            toml::Value::Table(table) => {
                for (key, value) in table {
                    let dot = if at.is_empty() { "" } else { "." };
                    walk(&format!("{at}{dot}{key}"), value, out);
                }
            }
            value => drop(out.insert(at.into(), value)),
        }
    }
    let table: toml::Table = toml::from_str(job).map_err(Error::internal)?;
    let mut out = BTreeMap::new();
    walk("", toml::Value::Table(table), &mut out);
    Ok(out)
}
