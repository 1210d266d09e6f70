//! AMBER's NetCDF trajectories and restart files (conventions 1.0): positions in Å, in the classic
//! formats of NetCDF with places of 32 or 64 bits.
//!
//! A header lists dimensions, attributes, and variables with the place of each. Variables with the
//! one dimension that has no length are cut into records, one for each frame, which hold their parts
//! one after the other. The highest byte of a number comes first.

use super::bytes::{Bytes, Fields};
use super::{Frame, Frames, cosine, truncated, vectors, wrong_atoms};
use crate::data::md::simulation_box;
use crate::{Error, Result};
use std::path::Path;

/// Bytes of a header that are looked at.
const LONGEST_HEADER: u64 = 1 << 20;
/// Marks of the lists of a header.
const DIMENSIONS: i32 = 10;
const VARIABLES: i32 = 11;
const ATTRIBUTES: i32 = 12;
/// Types of numbers, and the bytes that one of each type takes.
const FLOAT: i32 = 5;
const DOUBLE: i32 = 6;
const SIZES: [u64; 12] = [0, 1, 1, 2, 4, 4, 8, 1, 2, 4, 8, 8];

/// An open file.
pub(super) struct NetCdf {
    bytes: Bytes,
    atoms: usize,
    frames: usize,
    /// Bytes of a record.
    record: u64,
    positions: Variable,
    lengths: Option<Variable>,
    angles: Option<Variable>,
    time: Option<Variable>,
    buffer: Vec<u8>,
}

impl NetCdf {
    pub fn open(path: &Path, atoms: usize) -> Result<Self> {
        let bytes = Bytes::open(path)?;
        let mut buffer = Vec::new();
        let head = bytes.read(0, bytes.length().min(LONGEST_HEADER), &mut buffer)?;
        let header = head.and_then(|mut fields| Header::read(&mut fields));
        let header = match header {
            Some(header) => header,
            None if buffer.starts_with(b"\x89HDF") => {
                let what =
                    "a NetCDF-4 file, which AMBER does not write; convert it by nccopy -k nc6";
                return Err(Error::file(path, what));
            }
            None => return Err(bytes.damaged("NetCDF", 0)),
        };
        let find = |name: &str| header.variables.iter().find(|v| v.name == name.as_bytes());
        let positions = find("coordinates").cloned();
        let positions = positions.ok_or_else(|| {
            Error::file(
                path,
                "no coordinates in it: not a trajectory by AMBER's conventions",
            )
        })?;
        let numbers = |name: &str| find(name).filter(|v| v.width().is_some()).cloned();
        let mut opened = Self {
            atoms,
            frames: 1,
            record: header.record(),
            lengths: numbers("cell_lengths"),
            angles: numbers("cell_angles"),
            time: numbers("time"),
            positions,
            bytes,
            buffer,
        };
        opened.check(&header)?;
        Ok(opened)
    }

    /// Compares the header with the topology and the file's length.
    fn check(&mut self, header: &Header) -> Result<()> {
        let path = self.bytes.path();
        let damaged = || self.bytes.damaged("NetCDF", 0);
        let &[has, 3] = &self.positions.shape[..] else {
            return Err(damaged());
        };
        if has != self.atoms as u64 {
            return Err(wrong_atoms(path, 0, has, self.atoms));
        }
        let known = [&self.lengths, &self.angles, &self.time];
        let mut all = known.into_iter().flatten().chain([&self.positions]);
        let three = |v: &&Option<Variable>| v.as_ref().is_none_or(|v| v.shape[..] == [3]);
        let single = self.time.as_ref().is_none_or(|v| v.shape.is_empty());
        if self.positions.width().is_none() || !known[..2].iter().all(three) || !single {
            return Err(damaged());
        }
        let Some(start) = header.start().filter(|_| self.positions.in_records) else {
            let length = self.bytes.length();
            let fits = all.all(|v| v.end(0, self.record).is_some_and(|e| e <= length));
            return if fits {
                Ok(())
            } else {
                Err(truncated(path, 0))
            };
        };
        let rest = self.bytes.length().checked_sub(start);
        let rest = rest.ok_or_else(|| truncated(path, 0))?;
        // A variable that ends the last record may lack what fills it up.
        let record = self.record.max(1);
        let whole = (rest + 3) / record;
        let more = u64::from(rest > whole * record);
        let frames = header.records.unwrap_or(whole + more);
        self.frames = frames.min(whole) as usize;
        match (frames <= whole, frames) {
            (true, 0) => Err(Error::file(path, "no frames: it ends after its header")),
            (true, _) => Ok(()),
            (false, _) => Err(truncated(path, self.frames)),
        }
    }

    /// The numbers of a variable in frame `index`.
    fn numbers(&mut self, of: fn(&Self) -> Option<&Variable>, index: usize) -> Option<Vec<f64>> {
        let variable = of(self)?;
        let (start, end) = (
            variable.start(index, self.record)?,
            variable.end(index, self.record)?,
        );
        let (double, scale) = (variable.kind == DOUBLE, variable.scale);
        let mut fields = self
            .bytes
            .read(start, end - start, &mut self.buffer)
            .ok()??;
        let width = if double { 8 } else { 4 };
        let number = |_| match double {
            true => fields.f64(),
            false => fields.f32().map(f64::from),
        };
        let values: Option<Vec<f64>> = (0..(end - start) / width).map(number).collect();
        Some(values?.into_iter().map(|x| x * scale).collect())
    }
}

impl Frames for NetCdf {
    fn read(&mut self, index: usize, frame: &mut Frame) -> Result<bool> {
        if index >= self.frames {
            return Ok(false);
        }
        let positions = self.numbers(|f| Some(&f.positions), index);
        let start = self.positions.start(index, self.record).unwrap_or(0);
        let positions = positions.ok_or_else(|| self.bytes.damaged_frame(index, start))?;
        frame.positions.clear();
        frame.positions.extend(positions.as_chunks().0);
        let time = self.numbers(|f| f.time.as_ref(), index);
        frame.time = time.and_then(|t| t.first().copied());
        let cell = [
            self.numbers(|f| f.lengths.as_ref(), index),
            self.numbers(|f| f.angles.as_ref(), index),
        ];
        frame.cell = match &cell {
            [Some(lengths), Some(angles)] => match (&lengths[..], &angles[..]) {
                (&[a, b, c], &[alpha, beta, gamma]) => {
                    simulation_box(vectors([a, b, c], [alpha, beta, gamma].map(cosine)))
                }
                _ => None,
            },
            _ => None,
        };
        Ok(true)
    }
}

/// A variable of the file.
#[derive(Clone)]
struct Variable {
    name: Vec<u8>,
    /// Lengths of its dimensions but for that of records.
    shape: Vec<u64>,
    in_records: bool,
    kind: i32,
    /// First byte.
    begin: u64,
    /// What its numbers are to be multiplied by.
    scale: f64,
}

impl Variable {
    /// Bytes of a number, if they are floating-point ones.
    fn width(&self) -> Option<u64> {
        matches!(self.kind, FLOAT | DOUBLE).then(|| SIZES[self.kind as usize])
    }

    /// Bytes, or those of a record.
    fn size(&self) -> Option<u64> {
        let one = SIZES.get(self.kind as usize).copied();
        self.shape
            .iter()
            .try_fold(one?, |size, &n| size.checked_mul(n))
    }

    fn start(&self, index: usize, record: u64) -> Option<u64> {
        let before = if self.in_records {
            record.checked_mul(index as u64)?
        } else {
            0
        };
        self.begin.checked_add(before)
    }

    fn end(&self, index: usize, record: u64) -> Option<u64> {
        self.start(index, record)?.checked_add(self.size()?)
    }
}

struct Header {
    /// `None` where the file does not tell, as while it is being written.
    records: Option<u64>,
    variables: Vec<Variable>,
}

impl Header {
    fn read(fields: &mut Fields) -> Option<Self> {
        let wide = match fields.take(4)? {
            b"CDF\x01" => false,
            b"CDF\x02" => true,
            _ => return None,
        };
        let records = fields.i32()?;
        let dimensions = list(fields, DIMENSIONS, |f| {
            name(f)?;
            f.size()
        })?;
        attributes(fields)?;
        let variables = list(fields, VARIABLES, |f| variable(f, &dimensions, wide))?;
        let known = variables.iter().all(|v| v.size().is_some());
        known.then_some(Self {
            records: u64::try_from(records).ok(),
            variables,
        })
    }

    fn in_records(&self) -> impl Iterator<Item = &Variable> {
        self.variables.iter().filter(|v| v.in_records)
    }

    /// First byte of the records.
    fn start(&self) -> Option<u64> {
        self.in_records().map(|v| v.begin).min()
    }

    /// Bytes of a record: each part is filled up to a multiple of four, unless it is the only one.
    fn record(&self) -> u64 {
        let sizes: Vec<u64> = self.in_records().filter_map(Variable::size).collect();
        match sizes[..] {
            [only] => only,
            _ => {
                let filled = sizes.iter().map(|size| size.div_ceil(4).saturating_mul(4));
                filled.fold(0, u64::saturating_add)
            }
        }
    }
}

/// A list of a header, each member of which takes a few bytes.
fn list<T>(
    fields: &mut Fields,
    mark: i32,
    mut member: impl FnMut(&mut Fields) -> Option<T>,
) -> Option<Vec<T>> {
    let (found, count) = (fields.i32()?, fields.size()?);
    let absent = found == 0 && count == 0;
    match found == mark || absent {
        true => (0..count).map(|_| member(fields)).collect(),
        false => None,
    }
}

fn name(fields: &mut Fields) -> Option<Vec<u8>> {
    let length = fields.size()? as usize;
    let name = fields.take(length)?.to_vec();
    fields.take(length.next_multiple_of(4) - length)?;
    Some(name)
}

/// Reads a list of attributes; returns the number called `scale_factor`, 1 if there is none.
fn attributes(fields: &mut Fields) -> Option<f64> {
    let mut scale = 1.0;
    list(fields, ATTRIBUTES, |f| {
        let name = name(f)?;
        let (kind, count) = (f.i32()?, f.size()?);
        let one = *SIZES
            .get(usize::try_from(kind).ok()?)
            .filter(|&&size| size > 0)?;
        let bytes = count.checked_mul(one)?.checked_next_multiple_of(4)?;
        let mut values = f.part(usize::try_from(bytes).ok()?)?;
        if name == b"scale_factor" && count == 1 {
            scale = match kind {
                FLOAT => f64::from(values.f32()?),
                DOUBLE => values.f64()?,
                _ => return None,
            };
        }
        Some(())
    })?;
    Some(scale)
}

/// Reads a variable; the dimension of length 0 is that of records and comes first.
fn variable(fields: &mut Fields, dimensions: &[u64], wide: bool) -> Option<Variable> {
    let name = name(fields)?;
    let count = fields.size()?;
    let dimension = |_| {
        dimensions
            .get(usize::try_from(fields.size()?).ok()?)
            .copied()
    };
    let mut shape = (0..count).map(dimension).collect::<Option<Vec<u64>>>()?;
    let in_records = shape.first() == Some(&0);
    if in_records {
        shape.remove(0);
    }
    let scale = attributes(fields)?;
    let kind = fields.i32()?;
    // Its size, which follows from the rest.
    fields.i32()?;
    let begin = match wide {
        true => u64::try_from(fields.i64()?).ok()?,
        false => fields.size()?,
    };
    let known = usize::try_from(kind).is_ok_and(|k| k > 0 && k < SIZES.len());
    (known && !shape.contains(&0)).then_some(Variable {
        name,
        shape,
        in_records,
        kind,
        begin,
        scale,
    })
}
