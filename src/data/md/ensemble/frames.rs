//! Reading the frames of one trajectory in order.

use crate::data::md::formats::{self, Frame};
use crate::{Error, Result};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Every `stride`-th frame of a trajectory file, or of a range of it.
pub struct Frames {
    path: PathBuf,
    file: Box<dyn formats::Frames>,
    frame: Frame,
    range: Option<Range<usize>>,
    stride: usize,
    /// Frames read.
    done: usize,
    /// Times in ps of the first frame and of the last one read.
    times: Option<(f64, f64)>,
}

impl Frames {
    /// Opens a file that must hold `atoms` atoms in every frame, and all frames of `range`.
    ///
    /// # Errors
    /// A missing, damaged or truncated file.
    pub fn open(
        path: &Path,
        atoms: usize,
        range: Option<Range<usize>>,
        stride: usize,
    ) -> Result<Self> {
        Ok(Self {
            path: path.to_path_buf(),
            range,
            file: formats::open(path, atoms, stride)?,
            frame: Frame::default(),
            stride,
            done: 0,
            times: None,
        })
    }

    /// The next frame, whose positions may be changed in place; `None` after the last.
    ///
    /// # Errors
    /// A frame that cannot be read, or of another number of atoms than the topology has; a file
    /// that ends within the range.
    pub fn advance(&mut self) -> Result<Option<&mut Frame>> {
        let first = self.range.as_ref().map_or(0, |r| r.start);
        let next = first + self.done * self.stride;
        if self.range.as_ref().is_some_and(|r| next >= r.end) {
            return Ok(None);
        }
        if !self.file.read(next, &mut self.frame)? {
            return match &self.range {
                None => Ok(None),
                Some(Range { start, end }) => Err(Error::file(
                    &self.path,
                    format!("frames {start}:{end} of the manifest: it has no frame {next}"),
                )),
            };
        }
        self.done += 1;
        if let Some(time) = self.frame.time {
            let first = self.times.map_or(time, |(first, _)| first);
            self.times = Some((first, time));
        }
        Ok(Some(&mut self.frame))
    }

    /// Mean time between the frames read so far, in ps, where the format has times.
    pub fn time_step(&self) -> Option<f64> {
        let steps = self.done.checked_sub(1)?;
        let (first, last) = self.times?;
        let step = (last - first) / steps as f64;
        (step > 0.0 && step.is_finite()).then_some(step)
    }
}
