//! Grey images and their projection onto the sphere.

mod folder;
mod glyphs;
mod idx;
mod numpy;
mod project;

pub use glyphs::glyphs;
pub use numpy::permutation;
pub use project::{HALF_TURN, Projection, Taps};

use crate::data::structure::gunzip;
use crate::{Error, Result, files};
use std::path::{Path, PathBuf};

/// Grey images of one size, with their labels.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Images {
    pub rows: usize,
    pub columns: usize,
    /// `[N, rows, columns]`
    pub pixels: Vec<u8>,
    /// File name or number of each.
    pub ids: Vec<String>,
    /// Class of each; empty where unknown.
    pub labels: Vec<String>,
}

impl Images {
    /// Reads idx files (as MNIST comes, gzipped or not) or folders of PNG files, one after another.
    /// `labels` are idx files of numbers, one after another, or a table with the columns `file` and
    /// `label`.
    ///
    /// # Errors
    /// A file that is damaged or of another kind, images of different sizes, another number of labels
    /// than of images.
    pub fn read(inputs: &[PathBuf], labels: &[PathBuf]) -> Result<Self> {
        let mut all = Self::default();
        for input in inputs {
            let more = match input.is_dir() {
                true => folder::read(input)?,
                false => idx::images(input, all.ids.len())?,
            };
            all.append(more, input)?;
        }
        let Some(first) = labels.first() else {
            all.labels = vec![String::new(); all.ids.len()];
            return Ok(all);
        };
        for path in labels {
            let more = match idx::is_idx(path)? {
                true => idx::labels(path)?,
                false => folder::labels(path, &all.ids)?,
            };
            all.labels.extend(more);
        }
        match all.labels.len() == all.ids.len() {
            true => Ok(all),
            false => Err(Error::file(
                first,
                format!("{} labels for {} images", all.labels.len(), all.ids.len()),
            )),
        }
    }

    fn append(&mut self, more: Self, path: &Path) -> Result<()> {
        if self.ids.is_empty() {
            *self = more;
            return Ok(());
        }
        more.check_size(self, path)?;
        self.pixels.extend(more.pixels);
        self.ids.extend(more.ids);
        Ok(())
    }

    /// Whether these images, of `path`, have the size of `others`, which may be none.
    ///
    /// # Errors
    /// Both sizes.
    pub fn check_size(&self, others: &Self, path: &Path) -> Result<()> {
        let size = |images: &Self| (images.rows, images.columns);
        if others.is_empty() || size(self) == size(others) {
            return Ok(());
        }
        let what = format!(
            "images of {} x {} pixels, those before are of {} x {}; all must be of one size",
            self.rows, self.columns, others.rows, others.columns
        );
        Err(Error::file(path, what))
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The pixels of one image, `[rows, columns]`.
    pub fn image(&self, i: usize) -> &[u8] {
        let size = self.rows * self.columns;
        &self.pixels[i * size..(i + 1) * size]
    }
}

/// The bytes of a file, unpacked if they are gzip.
pub(in crate::data::spheres) fn unpacked(path: &Path) -> Result<Vec<u8>> {
    let raw = files::read(path)?;
    match raw.starts_with(&[0x1f, 0x8b]) {
        true => gunzip(path, &raw),
        false => Ok(raw),
    }
}
