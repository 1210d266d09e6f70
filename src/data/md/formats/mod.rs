//! Trajectory files, frame by frame: decoders of our own for XTC, TRR, DCD,
//! AMBER NetCDF and PDB.
//!
//! A file comes from outside: every size and count in it is compared with the file's length
//! before memory is asked for, and a frame is read only if it has as many atoms as the topology.

mod bytes;
mod dcd;
mod netcdf;
pub(super) mod pdb;
#[cfg(test)]
mod tests;
mod trr;
mod xtc;

use super::{foreign, simulation_box};
use crate::data::system::{Cell, Point};
use crate::{Error, Result, files};
use std::path::Path;

/// Å in one nm.
const NANOMETRE: f64 = 10.0;

/// One frame. Its memory is used again for the next one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Frame {
    /// Å.
    pub positions: Vec<Point>,
    /// The periodic box, where the frame has one.
    pub cell: Option<Cell>,
    /// ps, where the format has times.
    pub time: Option<f64>,
}

/// Frames of an open file, in any order; ascending ones are read fastest.
pub trait Frames {
    /// Reads frame `index` (the first is 0); false where the file has fewer.
    ///
    /// # Errors
    /// A damaged frame, one of another number of atoms than the topology, a failed read.
    fn read(&mut self, index: usize, frame: &mut Frame) -> Result<bool>;
}

/// The format that a file's name tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Xtc,
    Trr,
    Dcd,
    NetCdf,
    Pdb,
    /// H5MD and the like, which are not read.
    Hdf5,
    Foreign,
}

fn format(path: &Path) -> Format {
    let name = path.file_name().unwrap_or_default();
    let name = name.to_string_lossy().to_lowercase();
    let packed = name.strip_suffix(".gz");
    match packed.unwrap_or(&name).rsplit('.').next() {
        Some("pdb" | "ent") => Format::Pdb,
        Some("xtc") if packed.is_none() => Format::Xtc,
        Some("trr") if packed.is_none() => Format::Trr,
        Some("dcd") if packed.is_none() => Format::Dcd,
        Some("nc" | "ncdf" | "netcdf" | "ncrst") if packed.is_none() => Format::NetCdf,
        Some("h5md" | "h5" | "hdf5") => Format::Hdf5,
        _ => Format::Foreign,
    }
}

/// Opens a trajectory whose frames must have `atoms` atoms each, of which every `stride`-th will
/// be asked for.
///
/// # Errors
/// A file that is missing, empty, of another format than its name says, damaged, or cut short;
/// a file of other formats without the cargo feature `chemfiles`.
pub fn open(path: &Path, atoms: usize, stride: usize) -> Result<Box<dyn Frames>> {
    files::check(path)?;
    Ok(match format(path) {
        Format::Xtc => Box::new(xtc::Xtc::open(path, atoms)?),
        Format::Trr => Box::new(trr::Trr::open(path, atoms)?),
        Format::Dcd => Box::new(dcd::Dcd::open(path, atoms)?),
        Format::NetCdf => Box::new(netcdf::NetCdf::open(path, atoms)?),
        Format::Pdb => Box::new(pdb::Pdb::open(path, atoms)?),
        Format::Hdf5 => {
            let what = "trajectories in HDF5 (H5MD, MDTraj) are not read; write it as XTC, TRR or \
                        DCD, as MDAnalysis and mdconvert can";
            return Err(Error::file(path, what));
        }
        Format::Foreign => Box::new(foreign::Trajectory::open(path, atoms, stride)?),
    })
}

/// The box of three vectors in nm; `None` if they are too short for one.
fn box_of(nanometres: [f64; 9]) -> Option<Cell> {
    let at = |i: usize, k: usize| nanometres[3 * i + k] * NANOMETRE;
    simulation_box(std::array::from_fn(|i| std::array::from_fn(|k| at(i, k))))
}

/// The vectors of a box of three lengths, from the cosines of the angles between them: the first
/// along x, the second in the plane of x and y.
fn vectors([a, b, c]: [f64; 3], [alpha, beta, gamma]: [f64; 3]) -> [Point; 3] {
    let height = (1.0 - gamma * gamma).sqrt();
    let y = (alpha - beta * gamma) / height;
    let z = (1.0 - beta * beta - y * y).sqrt();
    [
        [a, 0.0, 0.0],
        [b * gamma, b * height, 0.0],
        [c * beta, c * y, c * z],
    ]
}

/// The cosine of an angle in degrees; that of 90 is zero.
fn cosine(degrees: f64) -> f64 {
    match degrees {
        90.0 => 0.0,
        x => x.to_radians().cos(),
    }
}

/// A frame that has other atoms than the topology.
pub(super) fn wrong_atoms(path: &Path, frame: usize, has: u64, needed: usize) -> Error {
    Error::file(
        path,
        format!("frame {frame} has {has} atoms, the topology {needed}"),
    )
}

/// A file that ends within frame number `whole`.
fn truncated(path: &Path, whole: usize) -> Error {
    Error::file(
        path,
        match whole {
            0 => "truncated: it ends within its first frame; copy it again".to_string(),
            _ => format!(
                "truncated: it ends within frame {whole}; cut it back to its {whole} whole frames \
                 (gmx trjconv, cpptraj or catdcd can) or copy it again"
            ),
        },
    )
}
