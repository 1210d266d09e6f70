//! Reading the frames of one trajectory in order.

use super::{chem, complete};
use crate::data::system::Cell;
use crate::{Error, Result};
use chemfiles::{Frame, Property, Trajectory};
use std::path::{Path, PathBuf};

/// CHARMM's unit of time in ps, in which DCD files state theirs.
const AKMA: f64 = 0.048_888_21;

/// Every `stride`-th frame of a trajectory file.
pub struct Frames {
    path: PathBuf,
    file: Trajectory,
    frame: Frame,
    atoms: usize,
    /// Frames in the file.
    total: usize,
    stride: usize,
    next: usize,
    times: Option<(f64, f64)>,
}

/// Coordinates of a frame in Å, to be changed in place, and its box.
pub struct View<'a> {
    pub positions: &'a mut [[f64; 3]],
    pub cell: Option<Cell>,
}

impl Frames {
    /// Opens a file that must hold `atoms` atoms in every frame.
    ///
    /// # Errors
    /// A missing, damaged or truncated file, or one without frames.
    pub fn open(path: &Path, atoms: usize, stride: usize) -> Result<Self> {
        if !path.is_file() {
            return Err(Error::file(path, "no such trajectory file"));
        }
        complete::check(path)?;
        let mut file = chem::open(path)?;
        let total = file.nsteps();
        if total == 0 {
            return Err(Error::file(path, "no frames"));
        }
        Ok(Self {
            path: path.to_path_buf(),
            file,
            frame: Frame::new(),
            atoms,
            total,
            stride,
            next: 0,
            times: None,
        })
    }

    /// The next frame; `None` after the last.
    ///
    /// # Errors
    /// A frame that cannot be read, or of another number of atoms than the topology has.
    pub fn advance(&mut self) -> Result<Option<View<'_>>> {
        if self.next >= self.total {
            return Ok(None);
        }
        let at = self.next;
        let read = match self.stride {
            1 => self.file.read(&mut self.frame),
            _ => self.file.read_step(at, &mut self.frame),
        };
        read.map_err(|e| {
            let text = e.message.lines().next().unwrap_or_default().to_string();
            Error::file(
                &self.path,
                format!("frame {at}: {text}; truncated or damaged?"),
            )
        })?;
        self.next += self.stride;
        let atoms = self.frame.size();
        // The END after the last model of a PDB file counts as a frame.
        if atoms == 0 && at > 0 && at + 1 == self.total {
            return Ok(None);
        }
        if atoms != self.atoms {
            return Err(Error::file(
                &self.path,
                format!("frame {at} has {atoms} atoms, the topology {}", self.atoms),
            ));
        }
        if let Some(Property::Double(time)) = self.frame.get("time") {
            let first = self.times.map_or(time, |(first, _)| first);
            self.times = Some((first, time));
        }
        Ok(Some(View {
            cell: chem::cell(&self.frame),
            positions: self.frame.positions_mut(),
        }))
    }

    /// Mean time between the frames read so far, in ps, where the format has times.
    pub fn time_step(&self) -> Option<f64> {
        let steps = self.next.div_ceil(self.stride).checked_sub(1)?;
        let (first, last) = self.times?;
        let is_dcd = self
            .path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("dcd"));
        let unit = if is_dcd { AKMA } else { 1.0 };
        let step = unit * (last - first) / steps as f64;
        (step > 0.0 && step.is_finite()).then_some(step)
    }
}
