//! Reading with the chemfiles library: in child processes only. It gives lengths in Å whatever
//! the format.

use super::formats::Frame;
use super::simulation_box;
use super::topology::RawAtom;
use crate::data::system::Cell;
use crate::{Error, Result, files};
use chemfiles::{CellShape, MemoryTrajectoryReader, Property, Topology, Trajectory};
use std::path::{Path, PathBuf};

/// An error of the library, about `path`.
fn failed(path: &Path, e: chemfiles::Error) -> Error {
    let text = e.message.lines().next().unwrap_or_default();
    Error::file(path, text)
}

/// An open file, or its text.
enum Source {
    File(Trajectory),
    Text(MemoryTrajectoryReader<'static>),
}

impl Source {
    /// Opens a file for reading; the format follows from the name. The library would write its
    /// remarks straight to standard error, which a child does not have.
    fn open(path: &Path) -> Result<Self> {
        let format = format(path);
        let cleaned = match &format {
            Some(format) if TEXT.contains(&format.as_str()) => cleaned(path)?,
            _ => None,
        };
        let opened = match (cleaned, &format) {
            // A child reads one file: it is kept until the end anyway.
            (Some(text), Some(format)) => {
                let text: &'static [u8] = text.leak();
                MemoryTrajectoryReader::new(text, format).map(Self::Text)
            }
            (None, Some(format)) => {
                Trajectory::open_with_format(path, 'r', format.as_str()).map(Self::File)
            }
            _ => Trajectory::open(path, 'r').map(Self::File),
        };
        opened.map_err(|e| failed(path, e))
    }

    fn trajectory(&mut self) -> &mut Trajectory {
        match self {
            Self::File(file) => file,
            Self::Text(text) => text,
        }
    }
}

/// Formats of text, some of which old programs wrote in old encodings.
const TEXT: [&str; 3] = ["mmCIF", "GRO", "XYZ"];

/// The text of a file whose bytes are not all ASCII, with a question mark for each that is not:
/// the library's binding takes no other. `None` where nothing is to be done.
fn cleaned(path: &Path) -> Result<Option<Vec<u8>>> {
    let mut bytes = files::read(path)?;
    let strange = |b: &u8| !b.is_ascii() || *b == 0;
    if !bytes.iter().any(strange) {
        return Ok(None);
    }
    let all = bytes.iter_mut();
    all.filter(|b| strange(b)).for_each(|b| *b = b'?');
    Ok(Some(bytes))
}

/// The library's name for a format, where its own guess from the file's name would be another
/// one or none.
fn format(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy().to_lowercase();
    let (name, packing) = match name.rsplit_once('.') {
        Some((rest, "gz")) => (rest.to_string(), " / GZ"),
        Some((rest, "bz2")) => (rest.to_string(), " / BZ2"),
        Some((rest, "xz")) => (rest.to_string(), " / XZ"),
        _ => (name, ""),
    };
    let format = match name.rsplit_once('.')?.1 {
        "pdb" | "ent" => "PDB",
        "cif" | "mmcif" => "mmCIF",
        "gro" => "GRO",
        "xyz" => "XYZ",
        _ => return None,
    };
    Some(format!("{format}{packing}"))
}

/// The box of a frame.
fn cell(frame: &chemfiles::Frame) -> Option<Cell> {
    let cell = frame.cell();
    if cell.shape() == CellShape::Infinite {
        return None;
    }
    // The library's columns are our rows: the vectors.
    let m = cell.matrix();
    simulation_box(std::array::from_fn(|i| std::array::from_fn(|k| m[k][i])))
}

/// The frames of an open file.
pub(super) struct Frames {
    path: PathBuf,
    file: Source,
    frame: chemfiles::Frame,
    total: usize,
}

impl Frames {
    /// # Errors
    /// A file that the library cannot open.
    pub fn open(path: &Path) -> Result<Self> {
        let mut file = Source::open(path)?;
        let total = file.trajectory().nsteps();
        Ok(Self {
            path: path.to_path_buf(),
            file,
            frame: chemfiles::Frame::new(),
            total,
        })
    }

    /// Reads frame `index`; false where there are fewer.
    ///
    /// # Errors
    /// A frame that the library cannot read.
    pub fn read(&mut self, index: usize, to: &mut Frame) -> Result<bool> {
        if index >= self.total {
            return Ok(false);
        }
        let read = self.file.trajectory().read_step(index, &mut self.frame);
        read.map_err(|e| {
            let text = e.message.lines().next().unwrap_or_default().to_string();
            let what = format!("frame {index}: {text}; truncated or damaged?");
            Error::file(&self.path, what)
        })?;
        to.positions.clear();
        to.positions.extend_from_slice(self.frame.positions());
        to.cell = cell(&self.frame);
        to.time = match self.frame.get("time") {
            Some(Property::Double(time)) => Some(time),
            _ => None,
        };
        Ok(true)
    }
}

/// Atoms, bonds, positions and box of a file's first frame.
///
/// # Errors
/// A file that the library cannot read.
pub(super) fn topology(path: &Path) -> Result<(Vec<RawAtom>, Vec<[u32; 2]>, Frame)> {
    let mut file = Source::open(path)?;
    let mut frame = chemfiles::Frame::new();
    file.trajectory()
        .read(&mut frame)
        .map_err(|e| failed(path, e))?;
    let topology = frame.topology();
    let positions = frame.positions().to_vec();
    let bonds = topology.bonds().into_iter().map(|b| b.map(|a| a as u32));
    let bonds = bonds.filter(|&b| super::topology::plausible(&positions, b));
    let first = Frame {
        cell: cell(&frame),
        positions: positions.clone(),
        time: None,
    };
    Ok((raw_atoms(&topology), bonds.collect(), first))
}

/// What is known of a residue.
#[derive(Clone, Default)]
struct Described {
    name: String,
    number: i32,
    chain: String,
}

fn described(residue: &chemfiles::ResidueRef) -> Described {
    let text = |name: &str| match residue.get(name) {
        Some(Property::String(text)) if !text.trim().is_empty() => Some(text),
        _ => None,
    };
    let chain = text("chainname")
        .or_else(|| text("chainid"))
        .or_else(|| text("segname"));
    let number = residue.id().and_then(|n| i32::try_from(n).ok());
    Described {
        name: residue.name(),
        number: number.unwrap_or(0),
        chain: chain.unwrap_or_default(),
    }
}

fn raw_atoms(topology: &Topology) -> Vec<RawAtom> {
    let count = topology.size();
    let mut residue_of = vec![None; count];
    let residues: Vec<_> = (0..topology.residues_count())
        .filter_map(|r| topology.residue(r as usize))
        .collect();
    for (r, residue) in residues.iter().enumerate() {
        for atom in residue.atoms() {
            residue_of[atom] = Some(r);
        }
    }
    let described: Vec<_> = residues.iter().map(|r| described(r)).collect();
    (0..count)
        .map(|i| {
            let atom = topology.atom(i);
            let residue = residue_of[i].map_or_else(Default::default, |r| described[r].clone());
            RawAtom {
                name: atom.name(),
                element: u8::try_from(atom.atomic_number()).ok().filter(|&n| n > 0),
                mass: Some(atom.mass()),
                // Atoms without a residue form one of their own together.
                key: residue_of[i].map_or(0, |r| r as u64 + 1),
                residue_name: residue.name,
                residue_number: residue.number,
                chain: residue.chain,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_formats() {
        let of = |name: &str| format(Path::new(name));
        assert_eq!(of("a/B.PDB").as_deref(), Some("PDB"));
        assert_eq!(of("a.cif.gz").as_deref(), Some("mmCIF / GZ"));
        assert_eq!(of("run.v2.xyz").as_deref(), Some("XYZ"));
        assert_eq!(of("a.tng"), None);
        assert_eq!(of("a"), None);
    }

    #[test]
    fn skewed_boxes_keep_their_vectors() {
        let mut frame = chemfiles::Frame::new();
        assert_eq!(cell(&frame), None);
        frame.set_cell(&chemfiles::UnitCell::triclinic(
            [20.0, 30.0, 40.0],
            [90.0, 90.0, 60.0],
        ));
        let b = [15.0, 30.0 * 0.75f64.sqrt(), 0.0];
        let cell = cell(&frame).unwrap();
        // One step along b is no distance at all.
        let d = cell.separation([1.0, 2.0, 3.0], [1.0 + b[0], 2.0 + b[1], 3.0]);
        assert!(d.iter().all(|x| x.abs() < 1e-9), "{d:?}");
    }
}
