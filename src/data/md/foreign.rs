//! Files of formats that the chemfiles library reads, and holosig has no reader of its own for:
//! in a child process, because a damaged file can end the process that reads it.

use super::formats::{self, Frame};
use super::topology::{RawAtom, assemble};
use crate::child::{Child, Pipe, Task};
use crate::data::system::{Cell, Point, System};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What children are asked to do here.
pub const TASKS: [(&str, Task); 2] = [("frames", send_frames), ("topology", send_topology)];

/// A trajectory that a child reads.
pub(super) struct Trajectory {
    path: PathBuf,
    atoms: usize,
    stride: usize,
    child: Child,
    /// The frame that the child sends next.
    next: usize,
    message: Vec<u8>,
}

impl Trajectory {
    pub fn open(path: &Path, atoms: usize, stride: usize) -> Result<Self> {
        available(path)?;
        Ok(Self {
            path: path.to_path_buf(),
            atoms,
            stride,
            child: start(path, 0, stride)?,
            next: 0,
            message: Vec::new(),
        })
    }
}

fn start(path: &Path, first: usize, stride: usize) -> Result<Child> {
    Child::start("frames", path, &[first, stride].map(|n| n.to_string()))
}

impl formats::Frames for Trajectory {
    fn read(&mut self, index: usize, frame: &mut Frame) -> Result<bool> {
        if index != self.next {
            self.child = start(&self.path, index, self.stride)?;
        }
        self.next = index + self.stride;
        if !self.child.receive(&mut self.message)? {
            return Ok(false);
        }
        let message = decode(&self.message, frame);
        let broken = || Error::internal(format!("{}: a broken message", self.path.display()));
        let has = message.ok_or_else(broken)?;
        if has != self.atoms {
            return Err(formats::wrong_atoms(
                &self.path, index, has as u64, self.atoms,
            ));
        }
        Ok(true)
    }
}

/// Numbers before the positions: time, then the vectors of the box; NaN where there is none.
const BEFORE: usize = 10;

/// A frame as a message: numbers of f64.
#[cfg(feature = "chemfiles")]
fn encode(frame: &Frame, message: &mut Vec<u8>) {
    let mut before = [f64::NAN; BEFORE];
    before[0] = frame.time.unwrap_or(f64::NAN);
    if let Some(cell) = &frame.cell {
        before[1..].copy_from_slice(cell.vectors().as_flattened());
    }
    message.clear();
    let numbers = before.iter().chain(frame.positions.as_flattened());
    numbers.for_each(|x| message.extend(x.to_le_bytes()));
}

/// Reads a frame and returns the number of its atoms.
fn decode(message: &[u8], frame: &mut Frame) -> Option<usize> {
    let (numbers, []) = message.as_chunks::<8>() else {
        return None;
    };
    let number = |i: usize| f64::from_le_bytes(numbers[i]);
    let (points, []) = numbers.get(BEFORE..)?.as_chunks::<3>() else {
        return None;
    };
    frame.time = Some(number(0)).filter(|t| !t.is_nan());
    let vectors: [Point; 3] =
        std::array::from_fn(|i| std::array::from_fn(|k| number(1 + 3 * i + k)));
    frame.cell = Cell::new(vectors);
    frame.positions.clear();
    let points = points.iter().map(|p| p.map(f64::from_le_bytes));
    frame.positions.extend(points);
    Some(frame.positions.len())
}

/// A topology on its way through the pipe.
#[derive(Serialize, Deserialize)]
struct Packed {
    atoms: Vec<RawAtom>,
    bonds: Vec<[u32; 2]>,
    positions: Vec<Point>,
    cell: Option<Cell>,
}

/// Reads the first frame of a file as a topology.
///
/// # Errors
/// A file that cannot be read; a program without the feature `chemfiles`.
pub(super) fn read_system(path: &Path) -> Result<System<f64>> {
    available(path)?;
    let mut child = Child::start("topology", path, &[])?;
    let mut message = Vec::new();
    child.receive(&mut message)?;
    let packed: Packed = ciborium::from_reader(message.as_slice()).map_err(Error::internal)?;
    let count = packed.atoms.len() as u32;
    let fits = packed.bonds.iter().flatten().all(|&a| a < count)
        && [0, count as usize].contains(&packed.positions.len());
    if !fits {
        let what = "damaged: its bonds and positions do not fit its atoms";
        return Err(Error::file(path, what));
    }
    Ok(assemble(
        &packed.atoms,
        packed.bonds,
        packed.positions,
        packed.cell,
    ))
}

#[cfg(feature = "chemfiles")]
fn available(_: &Path) -> Result<()> {
    Ok(())
}

#[cfg(not(feature = "chemfiles"))]
fn available(path: &Path) -> Result<()> {
    let what = format!(
        "{}: holosig has no reader of its own for this format",
        path.display()
    );
    Err(Error::feature(what, "chemfiles"))
}

#[cfg(feature = "chemfiles")]
fn send_frames(path: &Path, arguments: &[String], pipe: &mut Pipe) -> Result<()> {
    let number = |i: usize| arguments.get(i).and_then(|a| a.parse::<usize>().ok());
    let (Some(first), Some(stride @ 1..)) = (number(0), number(1)) else {
        return Err(Error::internal("frames: a first frame and a stride"));
    };
    let mut frames = super::library::Frames::open(path)?;
    let (mut frame, mut message) = (Frame::default(), Vec::new());
    let mut index = first;
    while frames.read(index, &mut frame)? {
        encode(&frame, &mut message);
        pipe.send(&message)?;
        index += stride;
    }
    Ok(())
}

#[cfg(feature = "chemfiles")]
fn send_topology(path: &Path, _: &[String], pipe: &mut Pipe) -> Result<()> {
    let (atoms, bonds, frame) = super::library::topology(path)?;
    let packed = Packed {
        atoms,
        bonds,
        positions: frame.positions,
        cell: frame.cell,
    };
    let mut message = Vec::new();
    ciborium::into_writer(&packed, &mut message).map_err(Error::internal)?;
    pipe.send(&message)
}

#[cfg(not(feature = "chemfiles"))]
fn send_frames(path: &Path, _: &[String], _: &mut Pipe) -> Result<()> {
    available(path)
}

#[cfg(not(feature = "chemfiles"))]
fn send_topology(path: &Path, _: &[String], _: &mut Pipe) -> Result<()> {
    available(path)
}

#[cfg(all(test, feature = "chemfiles"))]
mod tests {
    use super::*;

    #[test]
    fn frames_go_through_a_pipe_unchanged() {
        let cell = Cell::new([[20.0, 0.0, 0.0], [1.0, 30.0, 0.0], [2.0, 3.0, 40.0]]);
        let frames = [
            (None, None),
            (Some(2.5), None),
            (None, cell),
            (Some(0.0), cell),
        ];
        for (time, cell) in frames {
            let sent = Frame {
                positions: vec![[1.0, -2.0, 1e-9], [0.1, 0.2, 0.3]],
                cell,
                time,
            };
            let (mut message, mut got) = (Vec::new(), Frame::default());
            encode(&sent, &mut message);
            assert_eq!(decode(&message, &mut got), Some(2));
            assert_eq!(got, sent);
            for cut in [1, 8, 17] {
                assert_eq!(decode(&message[..message.len() - cut], &mut got), None);
            }
        }
        assert_eq!(decode(&[], &mut Frame::default()), None);
    }
}
