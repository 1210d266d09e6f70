//! GROMACS XTC: compressed positions in nm (big-endian XDR).
//!
//! A frame is a header (magic number, atoms, step, time, box, atoms again) and the positions. Up
//! to nine atoms are stored as they are; more as integers, multiples of 1/precision nm: a bit
//! stream in which an atom is either a triple within the bounds of all atoms, or, in a run after
//! such an atom, a small triple relative to the one before. The first of a run is stored in front
//! of the atom that the run follows: in water, that is the oxygen between its hydrogens.

use super::bytes::{Bytes, Fields};
use super::{Frame, Frames, NANOMETRE, truncated, wrong_atoms};
use crate::Result;
use crate::data::system::{Cell, Point};
use std::path::Path;

const MAGIC: i32 = 1995;
/// Of frames whose compressed part may be longer than 2 GiB (GROMACS 2023): its length has eight
/// bytes, not four.
const MAGIC_LONG: i32 = 2023;
/// Bytes from the magic number to the second number of atoms.
const HEADER: u64 = 56;
/// Bytes from the precision to the index of the first small size.
const BOUNDS: u64 = 32;
/// So many atoms and fewer are not compressed.
const FEW: u64 = 9;

/// An open file.
pub(super) struct Xtc {
    bytes: Bytes,
    atoms: usize,
    /// Where each frame begins, and where the last one ends.
    offsets: Vec<u64>,
    buffer: Vec<u8>,
}

impl Xtc {
    pub fn open(path: &Path, atoms: usize) -> Result<Self> {
        let mut xtc = Self {
            bytes: Bytes::open(path)?,
            atoms,
            offsets: vec![0],
            buffer: Vec::new(),
        };
        let mut at = 0;
        while at < xtc.bytes.length() {
            at += xtc.length_at(at)?;
            if at > xtc.bytes.length() {
                return Err(truncated(path, xtc.offsets.len() - 1));
            }
            xtc.offsets.push(at);
        }
        Ok(xtc)
    }

    /// The length of the frame that begins at a byte.
    fn length_at(&mut self, at: u64) -> Result<u64> {
        let number = self.offsets.len() - 1;
        let cut = || truncated(self.bytes.path(), number);
        let damaged = || self.bytes.damaged("XTC", at);
        let Some(mut fields) = self.bytes.read(at, HEADER, &mut self.buffer)? else {
            // Whatever it is, it is no frame; say so where even the magic number is another.
            let head = self.bytes.read(at, 4, &mut self.buffer)?;
            return Err(match head.and_then(|mut f| f.i32()) {
                Some(MAGIC | MAGIC_LONG) | None => truncated(self.bytes.path(), number),
                Some(_) => self.bytes.damaged("XTC", at),
            });
        };
        let header = Header::read(&mut fields).ok_or_else(damaged)?;
        if header.atoms != self.atoms as u64 {
            return Err(wrong_atoms(
                self.bytes.path(),
                number,
                header.atoms,
                self.atoms,
            ));
        }
        if header.atoms <= FEW {
            return Ok(HEADER + 12 * header.atoms);
        }
        let width = if header.long { 8 } else { 4 };
        let counted = self
            .bytes
            .read(at + HEADER + BOUNDS, width, &mut self.buffer)?;
        let mut fields = counted.ok_or_else(cut)?;
        let packed = match header.long {
            true => fields.i64().and_then(|n| u64::try_from(n).ok()),
            false => fields.size(),
        };
        // No atom takes less than a bit.
        let packed = packed.filter(|&n| n < 1 << 48 && header.atoms <= 8 * n);
        let packed = packed.ok_or_else(damaged)?.next_multiple_of(4);
        Ok(HEADER + BOUNDS + width + packed)
    }
}

impl Frames for Xtc {
    fn read(&mut self, index: usize, frame: &mut Frame) -> Result<bool> {
        let Some(&[start, end]) = self.offsets.get(index..).and_then(<[u64]>::first_chunk) else {
            return Ok(false);
        };
        let read = self.bytes.read(start, end - start, &mut self.buffer)?;
        let done = read.and_then(|mut fields| decode(&mut fields, self.atoms, frame));
        match done {
            Some(()) => Ok(true),
            None => Err(self.bytes.damaged_frame(index, start)),
        }
    }
}

struct Header {
    long: bool,
    atoms: u64,
    time: f32,
    cell: Option<Cell>,
}

impl Header {
    fn read(fields: &mut Fields) -> Option<Self> {
        let magic = fields.i32()?;
        let atoms = fields.size()?;
        let _step = fields.i32()?;
        let time = fields.f32()?;
        let vectors: [f32; 9] = fields.array(Fields::f32)?;
        let again = fields.size()?;
        let known = matches!(magic, MAGIC | MAGIC_LONG);
        (known && again == atoms).then_some(Self {
            long: magic == MAGIC_LONG,
            atoms,
            time,
            cell: super::box_of(vectors.map(f64::from)),
        })
    }
}

/// Reads a whole frame; `None` where it is damaged.
fn decode(fields: &mut Fields, atoms: usize, frame: &mut Frame) -> Option<()> {
    let header = Header::read(fields)?;
    frame.cell = header.cell;
    frame.time = Some(f64::from(header.time));
    frame.positions.clear();
    frame.positions.reserve(atoms);
    if atoms as u64 <= FEW {
        for _ in 0..atoms {
            let point: [f32; 3] = fields.array(Fields::f32)?;
            frame.positions.push(in_angstrom(point));
        }
        return Some(());
    }
    let precision = fields.f32()?;
    let lowest = fields.array(Fields::i32)?;
    let highest = fields.array(Fields::i32)?;
    let small = usize::try_from(fields.i32()?).ok()?;
    let packed = match header.long {
        true => usize::try_from(fields.i64()?).ok()?,
        false => usize::try_from(fields.i32()?).ok()?,
    };
    let stream = Stream {
        bits: Bits::new(fields.take(packed)?),
        lowest,
        triple: Triple::within(lowest, highest)?,
        small: Small::new(small)?,
    };
    // The library that defined the format multiplies in single precision.
    let unit = 1.0 / precision;
    if !(unit.is_finite() && unit > 0.0) {
        return None;
    }
    let point = |at: [i32; 3]| in_angstrom(at.map(|x| x as f32 * unit));
    stream.unpack(atoms, |at| frame.positions.push(point(at)))
}

fn in_angstrom(point: [f32; 3]) -> Point {
    point.map(|x| f64::from(x) * NANOMETRE)
}

/// Edges of the cubes that small triples lie in: three numbers below `SMALL[b]` fit into `b`
/// bits. They are the rounded cube roots of the powers of two, as the format lists them.
#[rustfmt::skip]
pub(super) const SMALL: [u32; 73] = [
    0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 10, 12, 16, 20, 25, 32, 40, 50, 64, 80, 101, 128, 161, 203, 256,
    322, 406, 512, 645, 812, 1024, 1290, 1625, 2048, 2580, 3250, 4096, 5060, 6501, 8192, 10321,
    13003, 16384, 20642, 26007, 32768, 41285, 52015, 65536, 82570, 104031, 131072, 165140, 208063,
    262144, 330280, 416127, 524287, 660561, 832255, 1048576, 1321122, 1664510, 2097152, 2642245,
    3329021, 4194304, 5284491, 6658042, 8388607, 10568983, 13316085, 16777216,
];

/// A size of small triples.
#[derive(Clone, Copy)]
struct Small {
    bits: u32,
    edge: u32,
}

impl Small {
    fn new(bits: usize) -> Option<Self> {
        let edge = SMALL.get(bits).copied().filter(|&edge| edge > 0)?;
        Some(Self {
            bits: bits as u32,
            edge,
        })
    }

    fn changed(self, by: i32) -> Option<Self> {
        Self::new((self.bits as i32 + by) as usize)
    }
}

/// How a triple within the bounds of all atoms is stored.
#[derive(Clone, Copy)]
enum Triple {
    /// Each number by itself, in so many bits.
    Apart([u32; 3]),
    /// As one number below the product of these sizes.
    Together { bits: u32, sizes: [u32; 3] },
}

impl Triple {
    fn within(lowest: [i32; 3], highest: [i32; 3]) -> Option<Self> {
        /// From here on the sizes are not multiplied.
        const LARGE: u32 = 1 << 24;
        let mut sizes = [0; 3];
        for k in 0..3 {
            let size = i64::from(highest[k]) - i64::from(lowest[k]) + 1;
            sizes[k] = u32::try_from(size).ok().filter(|&s| s > 0)?;
        }
        if sizes.iter().any(|&s| s >= LARGE) {
            return Some(Self::Apart(sizes.map(|s| 32 - s.leading_zeros())));
        }
        let product: u128 = sizes.iter().map(|&s| u128::from(s)).product();
        let bits = 128 - product.leading_zeros();
        Some(Self::Together { bits, sizes })
    }
}

struct Stream<'a> {
    bits: Bits<'a>,
    lowest: [i32; 3],
    triple: Triple,
    small: Small,
}

impl Stream<'_> {
    /// Gives `atoms` positions in order; `None` where the stream is damaged.
    fn unpack(mut self, atoms: usize, mut give: impl FnMut([i32; 3])) -> Option<()> {
        let (mut given, mut run) = (0, 0);
        while given < atoms {
            let first = self.whole()?;
            let mut change = 0;
            if self.bits.next(1)? == 1 {
                let code = self.bits.next(5)? as usize;
                run = code / 3;
                change = (code % 3) as i32 - 1;
            }
            given += run + 1;
            if given > atoms {
                return None;
            }
            match run {
                0 => give(first),
                _ => self.run(run, first, &mut give)?,
            }
            self.small = self.small.changed(change)?;
        }
        Some(())
    }

    /// An atom within the bounds of all.
    fn whole(&mut self) -> Option<[i32; 3]> {
        let offset = match self.triple {
            Triple::Apart(bits) => [
                self.bits.next(bits[0])?,
                self.bits.next(bits[1])?,
                self.bits.next(bits[2])?,
            ],
            Triple::Together { bits, sizes } => self.bits.triple(bits, sizes)?,
        };
        Some(plus(self.lowest, offset))
    }

    /// An atom and the `run` atoms after it in the stream.
    fn run(&mut self, run: usize, first: [i32; 3], give: &mut impl FnMut([i32; 3])) -> Option<()> {
        let Small { bits, edge } = self.small;
        let half = (edge / 2) as i32;
        let mut near = |before: [i32; 3]| {
            let offset = self.bits.triple(bits, [edge; 3])?;
            Some(plus(before, offset).map(|x| x.wrapping_sub(half)))
        };
        let mut last = near(first)?;
        give(last);
        give(first);
        for _ in 1..run {
            last = near(last)?;
            give(last);
        }
        Some(())
    }
}

fn plus(at: [i32; 3], offset: [u32; 3]) -> [i32; 3] {
    std::array::from_fn(|k| at[k].wrapping_add_unsigned(offset[k]))
}

/// A stream of bits, highest first.
struct Bits<'a> {
    bytes: &'a [u8],
    /// Bits read.
    at: usize,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next `count` bits, at most 56, as a number; `None` behind the end.
    fn long(&mut self, count: u32) -> Option<u64> {
        let (byte, bit) = (self.at / 8, self.at % 8);
        self.at += count as usize;
        let word = match self.bytes.get(byte..).and_then(<[u8]>::first_chunk) {
            Some(bytes) => u64::from_be_bytes(*bytes),
            None if self.at > 8 * self.bytes.len() => return None,
            None => {
                let mut last = [0; 8];
                let rest = &self.bytes[byte..];
                last[..rest.len()].copy_from_slice(rest);
                u64::from_be_bytes(last)
            }
        };
        Some(match count {
            0 => 0,
            _ => (word << bit) >> (64 - count),
        })
    }

    fn next(&mut self, count: u32) -> Option<u32> {
        self.long(count).map(|n| n as u32)
    }

    /// The number of the next `bits` bits: whole bytes, the lowest one first, then the bits that
    /// are left, which are its highest.
    fn number(&mut self, bits: u32) -> Option<u128> {
        let (mut number, mut have) = (0u128, 0);
        while bits - have > 8 {
            let bytes = ((bits - have - 1) / 8).min(7);
            let swapped = self.long(8 * bytes)?.swap_bytes() >> (64 - 8 * bytes);
            number |= u128::from(swapped) << have;
            have += 8 * bytes;
        }
        Some(number | u128::from(self.long(bits - have)?) << have)
    }

    /// Three numbers that were multiplied into one of `bits` bits, each below its size.
    fn triple(&mut self, bits: u32, sizes: [u32; 3]) -> Option<[u32; 3]> {
        let number = self.number(bits)?;
        let [_, second, third] = sizes;
        // Nearly always it fits into a register, whose division is much faster.
        if let Ok(number) = u64::try_from(number) {
            let (second, third) = (u64::from(second), u64::from(third));
            let rest = number / third;
            return Some([
                (rest / second) as u32,
                (rest % second) as u32,
                (number % third) as u32,
            ]);
        }
        let (second, third) = (u128::from(second), u128::from(third));
        let rest = number / third;
        Some([
            (rest / second) as u32,
            (rest % second) as u32,
            (number % third) as u32,
        ])
    }
}
