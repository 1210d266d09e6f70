//! Images and shapes to samples: projected or seen from the sphere, and transformed.

use super::images::{Images, Projection, Taps};
use super::mesh::{self, Mesh, channels, standardise};
use super::moves::{rotation_of, shift_of};
use super::{Sample, Signal};
use crate::data::Split;
use crate::ops::sphere::SphereTransform;
use crate::so3::rotation::Matrix;
use crate::so3::sphere::{Grid, Rings};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Images of one origin, to be brought onto the sphere.
pub struct ImagePart<'a> {
    pub images: &'a Images,
    /// Where they come from, for messages.
    pub path: &'a Path,
    /// Split of each.
    pub splits: Vec<Split>,
    /// Turn the grid by random rotations.
    pub rotated: bool,
    /// Tells the random numbers of one part from those of another.
    pub number: u64,
}

/// How images become samples.
pub struct ImageMaker {
    signal: Signal,
    transform: SphereTransform,
    projection: Projection,
    /// Consecutive images that share a random rotation.
    together: usize,
    seed: u64,
}

impl ImageMaker {
    /// On a Driscoll-Healy grid, in f64.
    ///
    /// # Errors
    /// A grid too coarse for `lmax`; no images that share a rotation.
    pub fn new(
        lmax: usize,
        bandwidth: usize,
        projection: Projection,
        together: usize,
        seed: u64,
    ) -> Result<Self> {
        let signal = Signal {
            lmax,
            grid: Grid {
                rings: Rings::DriscollHealy,
                bandwidth,
            },
            channels: vec!["intensity".into()],
        };
        Ok(Self {
            transform: signal.transform(DType::F64)?,
            signal,
            projection,
            together,
            seed,
        })
    }

    pub fn signal(&self) -> &Signal {
        &self.signal
    }

    /// The samples of some images of a part.
    ///
    /// # Errors
    /// A blank image, by its name.
    pub fn samples(&self, part: &ImagePart, range: Range<usize>) -> Result<Vec<Sample>> {
        let images = part.images;
        let group = |i: usize| if part.rotated { i / self.together } else { 0 };
        let groups: Vec<usize> = (group(range.start)..=group(range.end - 1)).collect();
        let looks = |&g: &usize| {
            let rotation = match part.rotated {
                true => rotation_of(self.seed, part.number, g as u64),
                false => self.projection.not_rotated(),
            };
            let (rows, columns) = (images.rows, images.columns);
            (
                rotation,
                Taps::new(self.projection, &self.signal.grid, &rotation, rows, columns),
            )
        };
        let looks: Vec<(Matrix, Taps)> = groups.par_iter().map(looks).collect();
        let of = |i: usize| &looks[group(i) - groups[0]];
        let project = |i: usize| {
            let seen = of(i).1.project(images.image(i));
            seen.map_err(|e| Error::file(part.path, format!("image {}: {e}", images.ids[i])))
        };
        let signals: Vec<Vec<f64>> = range
            .clone()
            .into_par_iter()
            .map(project)
            .collect::<Result<_>>()?;
        let rows = transform(&self.transform, signals.concat(), &self.signal)?;
        Ok(range
            .zip(rows)
            .map(|(i, coefficients)| Sample {
                id: images.ids[i].clone(),
                label: images.labels[i].clone(),
                subclass: images.labels[i].clone(),
                split: part.splits[i],
                rotation: of(i).0,
                coefficients,
            })
            .collect())
    }
}

/// Coefficients of signals `[N, C, 2b, 2b]`, a row each.
fn transform(
    transform: &SphereTransform,
    signals: Vec<f64>,
    signal: &Signal,
) -> Result<Vec<Vec<f32>>> {
    let (side, channels) = (signal.grid.side(), signal.channels.len());
    let n = signals.len() / (channels * side * side);
    let signals = Tensor::from_vec(signals, (n, channels, side, side), &Device::Cpu)?;
    Ok(transform
        .forward(&signals)?
        .to_dtype(DType::F32)?
        .to_vec2()?)
}

/// A mesh file and what is known of it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ShapeFile {
    pub path: PathBuf,
    pub id: String,
    pub label: String,
    pub subclass: String,
    pub split: Split,
}

/// How shapes become samples.
pub struct ShapeMaker {
    signal: Signal,
    transform: SphereTransform,
    rotated: bool,
    seed: u64,
}

impl ShapeMaker {
    /// On a SOFT grid, in f64, with the channels of the convex hull or without.
    ///
    /// # Errors
    /// A grid too coarse for `lmax`.
    pub fn new(
        lmax: usize,
        bandwidth: usize,
        hull: bool,
        rotated: bool,
        seed: u64,
    ) -> Result<Self> {
        let names = &mesh::CHANNELS[..if hull { 6 } else { 3 }];
        let signal = Signal {
            lmax,
            grid: Grid {
                rings: Rings::Soft,
                bandwidth,
            },
            channels: names.iter().map(|c| c.to_string()).collect(),
        };
        Ok(Self {
            transform: signal.transform(DType::F64)?,
            signal,
            rotated,
            seed,
        })
    }

    pub fn signal(&self) -> &Signal {
        &self.signal
    }

    /// The sample of one file, the number of which chooses its rotation; and a remark, where its
    /// convex hull could not be made and the shape itself stands for it. A further `copy` of it is
    /// turned anew and moved by up to a tenth of its radius (as in Cohen et al. 2018, "Spherical
    /// CNNs", in training); copy 0 stays about its centroid.
    ///
    /// # Errors
    /// A file that holds no surface.
    pub fn sample(
        &self,
        file: &ShapeFile,
        number: usize,
        copy: usize,
    ) -> Result<(Sample, Option<String>)> {
        const IDENTITY: Matrix = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let rotation = match self.rotated {
            true => rotation_of(self.seed, copy as u64, number as u64),
            false => IDENTITY,
        };
        let shift = match copy {
            0 => [0.0; 3],
            copy => shift_of(self.seed, copy as u64, number as u64),
        };
        let shape = mesh::read(&file.path)?.placed(&rotation, &shift);
        let (mut seen, remark) = look(&shape, &self.signal);
        standardise(&mut seen, self.signal.grid.len());
        let mut rows = transform(&self.transform, seen, &self.signal)?;
        let sample = Sample {
            id: match copy {
                0 => file.id.clone(),
                copy => format!("{} copy {copy}", file.id),
            },
            label: file.label.clone(),
            subclass: file.subclass.clone(),
            split: file.split,
            rotation,
            coefficients: rows.pop().unwrap_or_default(),
        };
        let remark =
            remark.map(|e| format!("{}: {e}; its own surface is taken", file.path.display()));
        Ok((sample, remark))
    }
}

/// Channels of a placed shape, and why it has no hull of its own, if it has none.
fn look(shape: &Mesh, signal: &Signal) -> (Vec<f64>, Option<Error>) {
    let mut seen = channels(shape, &signal.grid);
    if signal.channels.len() == 3 {
        return (seen, None);
    }
    match shape.hull() {
        Ok(hull) => {
            seen.extend(channels(&hull, &signal.grid));
            (seen, None)
        }
        Err(e) => {
            seen.extend_from_within(..);
            (seen, Some(e))
        }
    }
}
