//! PDB files of several models as trajectories, gzipped or not.
//!
//! A frame is what stands between two of `MODEL`, `ENDMDL` and `END`, and the file's two ends, if
//! there are atoms in it: programs close their models with either record, with both or with none.
//! A `CRYST1` record holds until the next one.

use super::{Frame, Frames, wrong_atoms};
use crate::data::md::{simulation_box, text::Lines};
use crate::data::system::{Cell, Point};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// An open file.
pub(super) struct Pdb {
    path: PathBuf,
    atoms: usize,
    lines: Lines,
    /// The frame that begins where the file is read next.
    next: usize,
    cell: Option<Cell>,
    /// Whether a `MODEL` record has been seen.
    models: bool,
}

impl Pdb {
    pub fn open(path: &Path, atoms: usize) -> Result<Self> {
        Ok(Self {
            path: path.to_path_buf(),
            atoms,
            lines: Lines::open(path)?,
            next: 0,
            cell: None,
            models: false,
        })
    }

    /// Reads up to the end of the next frame that has atoms, and puts their positions into
    /// `positions` if they are wanted; false at the end of the file.
    fn scan(&mut self, mut positions: Option<&mut Vec<Point>>) -> Result<bool> {
        let (mut count, mut closed) = (0, false);
        while !closed && let Some(line) = self.lines.next_line()? {
            match record_name(line) {
                b"ATOM" | b"HETATM" => {
                    if let Some(positions) = positions.as_deref_mut().filter(|_| count < self.atoms)
                    {
                        let point = position(line);
                        positions.push(point.map_err(|what| self.lines.error(what))?);
                    }
                    count += 1;
                }
                b"CRYST1" => self.cell = cell(line),
                b"MODEL" => {
                    self.models = true;
                    closed = count > 0;
                }
                b"ENDMDL" | b"END" => closed = count > 0,
                _ => {}
            }
        }
        if count == 0 {
            return Ok(false);
        }
        if count != self.atoms {
            if !closed && count < self.atoms && (self.models || self.next > 0) {
                let what = "truncated: it ends within its last model; copy it again or remove \
                            that model";
                return Err(Error::file(&self.path, what));
            }
            return Err(wrong_atoms(&self.path, self.next, count as u64, self.atoms));
        }
        self.next += 1;
        Ok(true)
    }
}

impl Frames for Pdb {
    fn read(&mut self, index: usize, frame: &mut Frame) -> Result<bool> {
        if index < self.next {
            *self = Self::open(&self.path, self.atoms)?;
        }
        while self.next < index {
            if !self.scan(None)? {
                return Ok(false);
            }
        }
        frame.positions.clear();
        frame.time = None;
        let found = self.scan(Some(&mut frame.positions))?;
        frame.cell = self.cell;
        Ok(found)
    }
}

/// The record's name without trailing blanks.
pub(in crate::data::md) fn record_name(line: &[u8]) -> &[u8] {
    line[..line.len().min(6)].trim_ascii_end()
}

fn number(line: &[u8], from: usize, to: usize) -> Option<f64> {
    let field = line.get(from..to.min(line.len()))?;
    std::str::from_utf8(field).ok()?.trim().parse().ok()
}

/// The coordinates of an atom in Å.
pub(in crate::data::md) fn position(line: &[u8]) -> std::result::Result<Point, &'static str> {
    const END: usize = 54;
    if line.len() < END {
        return Err("the atom has no coordinates in columns 31 to 54: truncated");
    }
    let mut point = [0.0; 3];
    for (axis, x) in point.iter_mut().enumerate() {
        let from = 30 + 8 * axis;
        *x = number(line, from, from + 8).ok_or("a coordinate is not a number")?;
    }
    Ok(point)
}

/// The box of a `CRYST1` record: lengths in Å and angles in degrees.
pub(in crate::data::md) fn cell(line: &[u8]) -> Option<Cell> {
    let lengths = [(6, 15), (15, 24), (24, 33)];
    let angles = [(33, 40), (40, 47), (47, 54)];
    let [a, b, c] = lengths.map(|(from, to)| number(line, from, to));
    let [alpha, beta, gamma] = angles.map(|(from, to)| number(line, from, to).map(super::cosine));
    simulation_box(super::vectors([a?, b?, c?], [alpha?, beta?, gamma?]))
}
