//! GROMACS TRR: positions, velocities and forces in full precision (big-endian XDR, nm).
//!
//! A frame is a header with the sizes of its blocks, and the blocks that are not empty. Numbers
//! are f32 or f64: the size of the box, or of the positions, tells.

use super::bytes::{Bytes, Fields};
use super::{Frame, Frames, NANOMETRE, truncated, wrong_atoms};
use crate::{Error, Result};
use std::path::Path;

const MAGIC: i32 = 1993;
/// Blocks in the order of the file: two that are not used any more, box, virial, pressure, two
/// unused, positions, velocities, forces.
const BLOCKS: usize = 10;
const BOX: usize = 2;
const POSITIONS: usize = 7;
/// Magic number, length of the version's text twice.
const START: u64 = 12;
/// Sizes, atoms, step, an unused number; then time and lambda.
const NUMBERS: u64 = 4 * (BLOCKS as u64 + 3);
/// Longest text of a version that is believed; GROMACS writes 12 letters.
const LONGEST_VERSION: u64 = 255;

/// An open file.
pub(super) struct Trr {
    bytes: Bytes,
    atoms: usize,
    /// Frames that have positions.
    places: Vec<Place>,
    buffer: Vec<u8>,
}

/// Where a frame is.
struct Place {
    /// Its number in the file.
    number: usize,
    time: f64,
    /// First byte of the box, 0 where there is none.
    cell: u64,
    positions: u64,
    double: bool,
}

impl Trr {
    pub fn open(path: &Path, atoms: usize) -> Result<Self> {
        let mut trr = Self {
            bytes: Bytes::open(path)?,
            atoms,
            places: Vec::new(),
            buffer: Vec::new(),
        };
        let (mut at, mut number) = (0, 0);
        while at < trr.bytes.length() {
            let (place, length) = trr.place_at(at, number)?;
            at += length;
            if at > trr.bytes.length() {
                return Err(truncated(path, number));
            }
            trr.places.extend(place);
            number += 1;
        }
        match trr.places.is_empty() {
            false => Ok(trr),
            true => Err(Error::file(
                path,
                "no frame has coordinates (velocities or forces only)",
            )),
        }
    }

    /// The frame that begins at a byte, `None` if it has no positions, and its length.
    fn place_at(&mut self, at: u64, number: usize) -> Result<(Option<Place>, u64)> {
        let path = self.bytes.path();
        let cut = || truncated(path, number);
        let damaged = || self.bytes.damaged("TRR", at);
        let start = self.bytes.read(at, START, &mut self.buffer)?;
        let version = match start {
            Some(mut fields) => version(&mut fields).ok_or_else(damaged)?,
            None => return Err(cut()),
        };
        let numbers = at + START + version;
        let rest = self.bytes.read(numbers, NUMBERS + 16, &mut self.buffer)?;
        let rest = match rest {
            Some(fields) => Some(fields),
            // In single precision the header is shorter, and a frame of one atom may end here.
            None => self.bytes.read(numbers, NUMBERS + 8, &mut self.buffer)?,
        };
        let header = Header::read(&mut rest.ok_or_else(cut)?).ok_or_else(damaged)?;
        if header.atoms != self.atoms as u64 {
            return Err(wrong_atoms(path, number, header.atoms, self.atoms));
        }
        let blocks = numbers + NUMBERS + 2 * header.width();
        let before = |block: usize| blocks + header.blocks[..block].iter().sum::<u64>();
        let place = (header.blocks[POSITIONS] > 0).then(|| Place {
            number,
            time: header.time,
            cell: if header.blocks[BOX] > 0 {
                before(BOX)
            } else {
                0
            },
            positions: before(POSITIONS),
            double: header.double,
        });
        Ok((place, before(BLOCKS) - at))
    }
}

/// Bytes of the version's text, filled up to a multiple of four.
fn version(fields: &mut Fields) -> Option<u64> {
    if fields.i32()? != MAGIC {
        return None;
    }
    let (with_zero, length) = (fields.size()?, fields.size()?);
    (with_zero == length + 1 && length <= LONGEST_VERSION).then_some(length.next_multiple_of(4))
}

struct Header {
    blocks: [u64; BLOCKS],
    atoms: u64,
    double: bool,
    time: f64,
}

impl Header {
    fn read(fields: &mut Fields) -> Option<Self> {
        let blocks: [u64; BLOCKS] = fields.array(Fields::size)?;
        let atoms = fields.size()?;
        let (_step, _unused) = (fields.i32()?, fields.i32()?);
        let double = is_double(&blocks, atoms)?;
        let time = match double {
            true => fields.f64()?,
            false => f64::from(fields.f32()?),
        };
        Some(Self {
            blocks,
            atoms,
            double,
            time,
        })
    }

    fn width(&self) -> u64 {
        if self.double { 8 } else { 4 }
    }
}

/// Whether numbers have eight bytes; `None` where the sizes of the blocks do not fit each other.
fn is_double(blocks: &[u64; BLOCKS], atoms: u64) -> Option<bool> {
    let [
        ir,
        energies,
        cell,
        virial,
        pressure,
        topology,
        symbols,
        rest @ ..,
    ] = *blocks;
    if [ir, energies, topology, symbols] != [0; 4] {
        return None;
    }
    let matrices = [cell, virial, pressure].map(|size| (size, 9));
    let vectors = rest.map(|size| (size, 3 * atoms));
    let fits = |width: u64| {
        let all = matrices.iter().chain(&vectors);
        let mut filled = all.filter(|(size, _)| *size > 0).peekable();
        filled.peek().is_some() && filled.all(|&(size, count)| size == width * count)
    };
    match (fits(4), fits(8)) {
        (true, false) => Some(false),
        (false, true) => Some(true),
        _ => None,
    }
}

impl Frames for Trr {
    fn read(&mut self, index: usize, frame: &mut Frame) -> Result<bool> {
        let Some(place) = self.places.get(index) else {
            return Ok(false);
        };
        let damaged = || self.bytes.damaged_frame(place.number, place.positions);
        let (number, width): (fn(&mut Fields) -> Option<f64>, u64) = match place.double {
            true => (|f| f.f64(), 8),
            false => (|f| f.f32().map(f64::from), 4),
        };
        frame.time = Some(place.time);
        frame.cell = None;
        if place.cell > 0 {
            let read = self.bytes.read(place.cell, 9 * width, &mut self.buffer)?;
            let vectors = read.and_then(|mut f| f.array(number));
            frame.cell = super::box_of(vectors.ok_or_else(damaged)?);
        }
        let count = 3 * self.atoms as u64 * width;
        let read = self.bytes.read(place.positions, count, &mut self.buffer)?;
        let mut fields = read.ok_or_else(damaged)?;
        frame.positions.clear();
        for _ in 0..self.atoms {
            let point: [f64; 3] = fields.array(number).ok_or_else(damaged)?;
            frame.positions.push(point.map(|x| x * NANOMETRE));
        }
        Ok(true)
    }
}
