//! DCD of CHARMM, NAMD, X-PLOR, OpenMM: positions in Å, single precision.
//!
//! The file is a list of Fortran records: each lies between two copies of its length, of four or
//! eight bytes, in the byte order of the machine that wrote it. A header, a title, the number of
//! atoms and perhaps the list of those that move; then for each frame the box (CHARMM), x, y, z
//! and perhaps a fourth coordinate. Atoms that never move are in the first frame only.

use super::bytes::{Bytes, Fields};
use super::{Frame, Frames, truncated, wrong_atoms};
use crate::data::md::simulation_box;
use crate::data::system::{Cell, Point};
use crate::{Error, Result};
use std::path::Path;

/// Length of the first record.
const HEADER: u64 = 84;
/// Bytes of a title that are believed.
const LONGEST_TITLE: u64 = 1 << 20;
/// CHARMM's unit of time in ps.
const AKMA: f64 = 0.048_888_21;
/// From this version of CHARMM on a box is its shape matrix, not lengths and angles.
const SHAPE_MATRIX: i32 = 26;

/// An open file.
pub(super) struct Dcd {
    bytes: Bytes,
    /// Bytes of a record's length.
    marker: u64,
    header: Header,
    atoms: usize,
    /// The atoms that move, ascending; empty if all do.
    free: Vec<u32>,
    /// First byte of the first frame.
    start: u64,
    frames: usize,
    /// Positions of the first frame, if some atoms move in no other.
    first: Vec<Point>,
    buffer: Vec<u8>,
}

impl Dcd {
    pub fn open(path: &Path, atoms: usize) -> Result<Self> {
        let mut bytes = Bytes::open(path)?;
        let mut buffer = Vec::new();
        let marker = marker(&mut bytes, &mut buffer)?;
        let mut dcd = Self {
            bytes,
            marker,
            header: Header::default(),
            atoms,
            free: Vec::new(),
            start: 0,
            frames: 0,
            first: Vec::new(),
            buffer,
        };
        dcd.read_head()?;
        dcd.count()?;
        if !dcd.free.is_empty() {
            let mut frame = Frame::default();
            dcd.read(0, &mut frame)?;
            dcd.first = frame.positions;
        }
        Ok(dcd)
    }

    /// What stands before the frames.
    fn read_head(&mut self) -> Result<()> {
        let damaged = |dcd: &Self, at| dcd.bytes.damaged("DCD", at);
        let mut fields = self.record(0, HEADER)?;
        let header = Header::read(&mut fields);
        self.header = header.ok_or_else(|| damaged(self, 0))?;
        let mut at = HEADER + 2 * self.marker;
        let length = self.length_at(at)?;
        if length > LONGEST_TITLE {
            return Err(damaged(self, at));
        }
        let mut title = self.record(at, length)?;
        // Some programs write other titles than lines of 80; what they say does not matter.
        let lines = title.size();
        if length >= 4 && (length - 4).is_multiple_of(80) && lines != Some((length - 4) / 80) {
            return Err(damaged(self, at));
        }
        at += length + 2 * self.marker;
        let has = self.record(at, 4)?.size();
        let has = has.ok_or_else(|| damaged(self, at))?;
        if has != self.atoms as u64 {
            return Err(wrong_atoms(self.bytes.path(), 0, has, self.atoms));
        }
        at += 4 + 2 * self.marker;
        if self.header.fixed > 0 {
            let free = has.checked_sub(self.header.fixed).filter(|&n| n > 0);
            let free = free.ok_or_else(|| damaged(self, 0))?;
            let mut fields = self.record(at, 4 * free)?;
            let list = free_atoms(&mut fields, free, has);
            self.free = list.ok_or_else(|| damaged(self, at))?;
            at += 4 * free + 2 * self.marker;
        }
        self.start = at;
        Ok(())
    }

    /// Counts the frames by the file's length: the number in the header is often wrong.
    fn count(&mut self) -> Result<()> {
        let path = self.bytes.path();
        if self.start == self.bytes.length() {
            let what = "no frames: it ends after its header";
            return Err(Error::file(path, what));
        }
        let rest = self.bytes.length().checked_sub(self.start + self.size(0));
        let rest = rest.ok_or_else(|| truncated(path, 0))?;
        let further = self.size(1);
        self.frames = 1 + (rest / further) as usize;
        if !rest.is_multiple_of(further) {
            return Err(truncated(path, self.frames));
        }
        if self.header.frames != self.frames as i32 {
            let (announced, frames) = (self.header.frames, self.frames);
            log::debug!("its header announces {announced} frames, it holds {frames}");
        }
        Ok(())
    }

    /// Atoms that a frame holds.
    fn stored(&self, index: usize) -> usize {
        match index > 0 && !self.free.is_empty() {
            true => self.free.len(),
            false => self.atoms,
        }
    }

    /// Bytes of a frame.
    fn size(&self, index: usize) -> u64 {
        let coordinates = 4 * self.stored(index) as u64 + 2 * self.marker;
        let cell = u64::from(self.header.has_cell) * (48 + 2 * self.marker);
        cell + (3 + u64::from(self.header.fourth)) * coordinates
    }

    /// The length that stands before a record.
    fn length_at(&mut self, at: u64) -> Result<u64> {
        let fields = self.bytes.read(at, self.marker, &mut self.buffer)?;
        let length = fields.and_then(|mut f| length(&mut f, self.marker));
        length.ok_or_else(|| self.bytes.damaged("DCD", at))
    }

    /// The content of the record at a byte, which must be of `size` bytes.
    fn record(&mut self, at: u64, size: u64) -> Result<Fields<'_>> {
        let whole = size.saturating_add(2 * self.marker);
        let fields = self.bytes.read(at, whole, &mut self.buffer)?;
        let content = fields.and_then(|mut f| record(&mut f, self.marker, size));
        content.ok_or_else(|| self.bytes.damaged("DCD", at))
    }

    fn decode(&self, index: usize, fields: &mut Fields, frame: &mut Frame) -> Option<()> {
        let Header {
            has_cell, version, ..
        } = self.header;
        frame.cell = match has_cell {
            true => cell(
                record(fields, self.marker, 48)?.array(Fields::f64)?,
                version,
            ),
            false => None,
        };
        frame.time = self.header.time(index);
        frame.positions.clear();
        frame.positions.resize(self.atoms, [0.0; 3]);
        let stored = self.stored(index);
        let all = stored == self.atoms;
        if !all {
            frame.positions.copy_from_slice(&self.first);
        }
        for axis in 0..3 {
            let mut values = record(fields, self.marker, 4 * stored as u64)?;
            let values = values.floats(stored)?.map(f64::from);
            match all {
                true => {
                    let places = frame.positions.iter_mut().zip(values);
                    places.for_each(|(point, x)| point[axis] = x);
                }
                false => {
                    let places = self.free.iter().zip(values);
                    places.for_each(|(&a, x)| frame.positions[a as usize][axis] = x);
                }
            }
        }
        Some(())
    }
}

impl Frames for Dcd {
    fn read(&mut self, index: usize, frame: &mut Frame) -> Result<bool> {
        if index >= self.frames {
            return Ok(false);
        }
        let before = match index {
            0 => 0,
            _ => self.size(0) + (index as u64 - 1) * self.size(1),
        };
        let (at, size) = (self.start + before, self.size(index));
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = self.bytes.read(at, size, &mut buffer)?;
        let done = read.and_then(|mut fields| self.decode(index, &mut fields, frame));
        self.buffer = buffer;
        match done {
            Some(()) => Ok(true),
            None => Err(self.bytes.damaged_frame(index, at)),
        }
    }
}

/// Learns the byte order and the width of record lengths.
fn marker(bytes: &mut Bytes, buffer: &mut Vec<u8>) -> Result<u64> {
    let fields = bytes.read(0, 12, buffer)?;
    let head = fields.and_then(|mut f| f.take(12)).unwrap_or_default();
    let (little, marker) = match head {
        [84, 0, 0, 0, b'C', b'O', b'R', b'D', ..] => (true, 4),
        [0, 0, 0, 84, b'C', b'O', b'R', b'D', ..] => (false, 4),
        [84, 0, 0, 0, 0, 0, 0, 0, b'C', b'O', b'R', b'D'] => (true, 8),
        [0, 0, 0, 0, 0, 0, 0, 84, b'C', b'O', b'R', b'D'] => (false, 8),
        _ => return Err(bytes.damaged("DCD", 0)),
    };
    if little {
        bytes.set_little_endian();
    }
    Ok(marker)
}

fn length(fields: &mut Fields, marker: u64) -> Option<u64> {
    match marker {
        8 => fields.i64().and_then(|n| u64::try_from(n).ok()),
        _ => fields.size(),
    }
}

/// The content of the record that is next, which must be of `size` bytes.
fn record<'a>(fields: &mut Fields<'a>, marker: u64, size: u64) -> Option<Fields<'a>> {
    let before = length(fields, marker)?;
    let content = fields.part(usize::try_from(size).ok()?)?;
    let after = length(fields, marker)?;
    (before == size && after == size).then_some(content)
}

/// The list of atoms that move: their numbers, from 1 on, ascending.
fn free_atoms(fields: &mut Fields, count: u64, atoms: u64) -> Option<Vec<u32>> {
    let mut free = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let atom = fields.size()?.checked_sub(1).filter(|&a| a < atoms)?;
        free.push(atom as u32);
    }
    free.is_sorted_by(|a, b| a < b).then_some(free)
}

#[derive(Debug, Clone, Copy, Default)]
struct Header {
    frames: i32,
    /// Step of the simulation at the first frame, and steps between frames.
    first: i32,
    every: i32,
    /// Atoms that never move.
    fixed: u64,
    /// Length of a step in CHARMM's unit of time.
    step: f64,
    has_cell: bool,
    fourth: bool,
    /// Version of CHARMM; 0 for X-PLOR.
    version: i32,
}

impl Header {
    fn read(fields: &mut Fields) -> Option<Self> {
        let mut step = *fields;
        let words: [i32; 21] = fields.array(Fields::i32)?;
        let version = words[20];
        let charmm = version != 0;
        step.take(40)?;
        // X-PLOR has a f64 where CHARMM has a f32 and a flag.
        let step = match charmm {
            true => f64::from(step.f32()?),
            false => step.f64()?,
        };
        Some(Self {
            frames: words[1],
            first: words[2],
            every: words[3],
            fixed: u64::try_from(words[9]).ok()?,
            step,
            has_cell: charmm && words[11] != 0,
            fourth: charmm && words[12] == 1,
            version,
        })
    }

    /// The time of a frame in ps; `None` where the file tells none.
    fn time(&self, index: usize) -> Option<f64> {
        let steps = i64::from(self.every) * index as i64 + i64::from(self.first);
        let told = self.step != 0.0 && self.step.is_finite() && self.every != 0;
        told.then_some(AKMA * (self.step * steps as f64))
    }
}

/// The box of a frame.
fn cell(stored: [f64; 6], version: i32) -> Option<Cell> {
    let [a, gamma, b, beta, alpha, c] = stored;
    if version >= SHAPE_MATRIX {
        let [xx, xy, yy, xz, yz, zz] = stored;
        return simulation_box([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]);
    }
    // Angles are stored in degrees, or as their cosines.
    let cosines = [alpha, beta, gamma].iter().all(|x| x.abs() <= 1.0);
    let cosine = |angle: f64| match cosines {
        true => angle,
        false => super::cosine(angle),
    };
    let [alpha, beta, gamma] = [alpha, beta, gamma].map(cosine);
    simulation_box(super::vectors([a, b, c], [alpha, beta, gamma]))
}
