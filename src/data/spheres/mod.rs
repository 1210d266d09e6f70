//! Signals on the sphere: images projected onto it, shapes seen from it, any other. A dataset holds
//! their coefficients (spherical Fourier transform, [`crate::ops::sphere`]): an image of bandwidth
//! 30 is 3,600 values, its 121 coefficients up to degree 10 are all that a model sees of it, so that
//! nothing is transformed when a model is trained.

mod file;
pub mod images;
pub mod make;
pub mod mesh;
mod moves;
pub mod signals;

use super::Split;
use crate::ops::sphere::SphereTransform;
use crate::so3::irreps::Irreps;
use crate::so3::rotation::Matrix;
use crate::so3::sphere::Grid;
use crate::{Error, Result};
use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The largest degree: that of the couplings in the model.
pub const LMAX: usize = crate::ops::zernike::LMAX;
/// The largest bandwidth.
const WIDEST: usize = 1024;

/// What is known of a signal: its grid and how far its coefficients go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    /// The largest degree.
    pub lmax: usize,
    /// The grid that the signal was sampled on, and is drawn on.
    pub grid: Grid,
    /// Names of the channels.
    pub channels: Vec<String>,
}

impl Signal {
    /// # Errors
    /// A grid too coarse for the degree, a degree out of range, no channel.
    pub fn check(&self) -> Result<()> {
        let bandwidth = self.grid.bandwidth;
        if bandwidth == 0 || bandwidth > WIDEST {
            return Err(Error::input(format!(
                "bandwidth = {bandwidth}: 1 to {WIDEST} is needed"
            )));
        }
        if self.lmax > LMAX.min(self.grid.lmax()) {
            return Err(Error::input(format!(
                "lmax = {} with bandwidth = {bandwidth}: the largest degree is {}",
                self.lmax,
                LMAX.min(self.grid.lmax())
            )));
        }
        match self.channels.is_empty() {
            true => Err(Error::input("a signal needs one channel or more")),
            false => Ok(()),
        }
    }

    /// Refuses the signals of other data where a model takes these, with the difference.
    ///
    /// # Errors
    /// Another number of channels, or another degree.
    pub fn check_same(&self, other: &Self) -> Result<()> {
        match self.lmax == other.lmax && self.channels == other.channels {
            true => Ok(()),
            false => Err(Error::input(format!(
                "signals of lmax {} with the channels {}, where the model takes lmax {} with {}",
                other.lmax,
                other.channels.join(", "),
                self.lmax,
                self.channels.join(", ")
            ))),
        }
    }

    /// Degrees and channels of the coefficients.
    pub fn irreps(&self) -> Irreps {
        Irreps::uniform(self.lmax, self.channels.len())
    }

    /// The transform of such signals.
    ///
    /// # Errors
    /// As [`Signal::check`].
    pub fn transform(&self, dtype: DType) -> Result<SphereTransform> {
        self.check()?;
        SphereTransform::new(
            self.grid,
            self.lmax,
            self.channels.len(),
            dtype,
            &Device::Cpu,
        )
    }
}

/// One signal, transformed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub id: String,
    /// Its class; empty where unknown.
    pub label: String,
    /// A finer class within it; its class where there is none.
    pub subclass: String,
    pub split: Split,
    /// The rotation of the grid (images) or of the shape, in image axes.
    pub rotation: Matrix,
    /// Not normalised, `[D]`.
    #[serde(with = "crate::comm::packed")]
    pub coefficients: Vec<f32>,
}

/// A dataset of signals on the sphere, in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Spheres {
    signal: Signal,
    ids: Vec<String>,
    labels: Vec<String>,
    subclasses: Vec<String>,
    splits: Vec<Split>,
    rotations: Vec<Matrix>,
    /// `[N, D]`
    coefficients: Vec<f32>,
    /// How the file was made, as TOML.
    settings: String,
    /// Numbers of the samples of each split.
    by_split: [Vec<u32>; 3],
    /// Identifies the content; empty until the dataset has been a file.
    fingerprint: String,
}

impl Spheres {
    /// Packs samples in the given order; `settings` tells how they were made.
    ///
    /// # Errors
    /// No samples; coefficients of another number or that are not finite, with their sample.
    pub fn pack(signal: Signal, samples: Vec<Sample>, settings: String) -> Result<Self> {
        let mut packed = Self {
            signal,
            settings,
            ids: Vec::new(),
            labels: Vec::new(),
            subclasses: Vec::new(),
            splits: Vec::new(),
            rotations: Vec::new(),
            coefficients: Vec::new(),
            by_split: Default::default(),
            fingerprint: String::new(),
        };
        for sample in samples {
            packed.ids.push(sample.id);
            packed.labels.push(sample.label);
            packed.subclasses.push(sample.subclass);
            packed.splits.push(sample.split);
            packed.rotations.push(sample.rotation);
            packed.coefficients.extend(sample.coefficients);
        }
        packed.checked()
    }

    /// The dataset, if its parts fit together.
    fn checked(mut self) -> Result<Self> {
        self.signal.check()?;
        let (n, dim) = (self.len(), self.dim());
        let fits = [
            self.labels.len(),
            self.subclasses.len(),
            self.splits.len(),
            self.rotations.len(),
        ]
        .iter()
        .all(|&len| len == n)
            && self.coefficients.len() == n * dim;
        if n == 0 || !fits || n > u32::MAX as usize {
            return Err(Error::input(
                "no signals, or arrays that do not fit together",
            ));
        }
        if let Some(i) = self.coefficients.iter().position(|c| !c.is_finite()) {
            let id = &self.ids[i / dim];
            return Err(Error::input(format!(
                "{id}: a coefficient is not a finite number"
            )));
        }
        self.by_split = Default::default();
        for (number, &split) in self.splits.iter().enumerate() {
            self.by_split[split as usize].push(number as u32);
        }
        Ok(self)
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Never true of a dataset that was packed or read.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Coefficients of a sample.
    pub fn dim(&self) -> usize {
        self.signal.irreps().dim()
    }

    pub fn signal(&self) -> &Signal {
        &self.signal
    }

    /// Numbers of the samples of a split, ascending.
    pub fn split(&self, split: Split) -> &[u32] {
        &self.by_split[split as usize]
    }

    /// Number of a sample that is the `place`-th of its split.
    pub fn number(&self, split: Split, place: u64) -> u32 {
        self.split(split)[place as usize]
    }

    /// The split of a sample.
    pub fn split_of(&self, sample: u32) -> Split {
        self.splits[sample as usize]
    }

    pub fn id(&self, sample: u32) -> &str {
        &self.ids[sample as usize]
    }

    /// Classes of all samples.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Finer classes of all samples.
    pub fn subclasses(&self) -> &[String] {
        &self.subclasses
    }

    /// The coefficients of a sample, not normalised.
    pub fn coefficients(&self, sample: u32) -> &[f32] {
        let (i, dim) = (sample as usize, self.dim());
        &self.coefficients[i * dim..(i + 1) * dim]
    }

    /// Coefficients of some samples over a factor, `[n, D]`.
    pub fn scaled(&self, samples: &[u32], factor: f64) -> Vec<f32> {
        let factor = factor as f32;
        let rows = samples.iter().flat_map(|&sample| self.coefficients(sample));
        rows.map(|c| c / factor).collect()
    }

    /// The label of a sample; empty where unknown.
    pub fn label(&self, sample: u32) -> &str {
        &self.labels[sample as usize]
    }

    /// Classes of the training samples, in the order of their names.
    ///
    /// # Errors
    /// A sample of any split without a label, or with one that no training sample has.
    pub fn classes(&self) -> Result<Vec<String>> {
        let train = self.split(Split::Train).iter().map(|&s| self.label(s));
        let classes: BTreeSet<&str> = train.filter(|label| !label.is_empty()).collect();
        let classes: Vec<String> = classes.into_iter().map(str::to_string).collect();
        for (id, label) in self.ids.iter().zip(&self.labels) {
            class_number(&classes, label).map_err(|e| Error::input(format!("{id}: {e}")))?;
        }
        Ok(classes)
    }

    /// How the file was made, as TOML.
    pub fn settings(&self) -> &str {
        &self.settings
    }

    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// The place of a label among classes.
///
/// # Errors
/// A label that is none of them, or missing.
pub fn class_number(classes: &[String], label: &str) -> Result<u32> {
    match classes.iter().position(|c| c == label) {
        Some(place) => Ok(place as u32),
        None if label.is_empty() => Err(Error::input("no label")),
        None => Err(Error::input(format!(
            "the label {label}, where the model knows {}",
            classes.join(", ")
        ))),
    }
}

/// `sqrt(sum_f x_f^2 / (2 l_f + 1))` of flat coefficients, whose mean over the training samples is
/// what the published code divides its input by.
pub fn size(irreps: &Irreps, x: &[f32]) -> f64 {
    let mut sum = 0.0;
    for l in 0..=irreps.lmax() {
        let range = irreps.offset(l)..irreps.offset(l + 1);
        let squares: f64 = x[range].iter().map(|&v| f64::from(v).powi(2)).sum();
        sum += squares / (2 * l + 1) as f64;
    }
    sum.sqrt()
}
