//! Reading the frames of one trajectory in order.

use crate::Result;
use crate::data::md::formats::{self, Frame};
use std::path::Path;

/// Every `stride`-th frame of a trajectory file.
pub struct Frames {
    file: Box<dyn formats::Frames>,
    frame: Frame,
    stride: usize,
    /// Frames read.
    done: usize,
    /// Times in ps of the first frame and of the last one read.
    times: Option<(f64, f64)>,
}

impl Frames {
    /// Opens a file that must hold `atoms` atoms in every frame.
    ///
    /// # Errors
    /// A missing, damaged or truncated file.
    pub fn open(path: &Path, atoms: usize, stride: usize) -> Result<Self> {
        Ok(Self {
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
    /// A frame that cannot be read, or of another number of atoms than the topology has.
    pub fn advance(&mut self) -> Result<Option<&mut Frame>> {
        if !self.file.read(self.done * self.stride, &mut self.frame)? {
            return Ok(None);
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
