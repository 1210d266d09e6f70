//! The formats that the chemfiles library reads. It gives lengths in Å whatever the format.

use super::periodic::simulation_box;
use super::topology::{RawAtom, assemble};
use crate::data::system::{Cell, System};
use crate::{Error, Result, files};
use chemfiles::{CellShape, Frame, Property, Topology, Trajectory};
use std::path::Path;
use std::sync::Once;

/// An error of the library, about `path`.
pub(super) fn failed(path: &Path, e: chemfiles::Error) -> Error {
    let text = e.message.lines().next().unwrap_or_default();
    Error::file(path, text)
}

/// Opens a file for reading; the format follows from the name.
pub(super) fn open(path: &Path) -> Result<Trajectory> {
    static QUIET: Once = Once::new();
    // The library would write its remarks straight to standard error.
    QUIET.call_once(|| chemfiles::set_warning_callback(|text| log::debug!("{text}")));
    files::check(path)?;
    let opened = match format(path) {
        Some(format) => Trajectory::open_with_format(path, 'r', format.as_str()),
        None => Trajectory::open(path, 'r'),
    };
    opened.map_err(|e| failed(path, e))
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
        "nc" | "ncdf" | "netcdf" => "Amber NetCDF",
        "xtc" => "XTC",
        "trr" => "TRR",
        "dcd" => "DCD",
        "gro" => "GRO",
        "xyz" => "XYZ",
        "psf" => "PSF",
        _ => return None,
    };
    Some(format!("{format}{packing}"))
}

/// The box of a frame.
pub(super) fn cell(frame: &Frame) -> Option<Cell> {
    let cell = frame.cell();
    if cell.shape() == CellShape::Infinite {
        return None;
    }
    // The library's columns are our rows: the vectors.
    let m = cell.matrix();
    simulation_box(std::array::from_fn(|i| std::array::from_fn(|k| m[k][i])))
}

/// The first frame of a file as a topology.
pub(super) fn read_system(path: &Path) -> Result<System<f64>> {
    let mut file = open(path)?;
    let mut frame = Frame::new();
    file.read(&mut frame).map_err(|e| failed(path, e))?;
    // PSF holds no coordinates, and force-field types where others have elements.
    let bare = path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("psf"));
    let topology = frame.topology();
    let atoms = raw_atoms(&topology, bare);
    let bonds = topology.bonds();
    let positions = match bare {
        true => Vec::new(),
        false => frame.positions().to_vec(),
    };
    let bonds: Vec<[u32; 2]> = bonds
        .into_iter()
        .map(|b| b.map(|a| a as u32))
        .filter(|&b| bare || plausible(&positions, b))
        .collect();
    Ok(assemble(&atoms, bonds, positions, cell(&frame)))
}

/// Distances in Å that no bond has: longer than any, shorter than the edge of a box that could
/// tear a molecule apart.
const GAP: std::ops::Range<f64> = 3.5..8.0;

/// Whether a bond that the library derived from residue numbers can be one: in a gap of the
/// chain it cannot.
fn plausible(positions: &[[f64; 3]], [i, j]: [u32; 2]) -> bool {
    let (a, b) = (positions[i as usize], positions[j as usize]);
    let squared: f64 = (0..3).map(|k| (a[k] - b[k]).powi(2)).sum();
    !GAP.contains(&squared.sqrt())
}

fn raw_atoms(topology: &Topology, bare: bool) -> Vec<RawAtom> {
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
    let described: Vec<(String, i32, String)> = residues
        .iter()
        .map(|residue| {
            let text = |name: &str| match residue.get(name) {
                Some(Property::String(text)) if !text.trim().is_empty() => Some(text),
                _ => None,
            };
            let chain = text("chainname")
                .or_else(|| text("chainid"))
                .or_else(|| text("segname"));
            let number = residue.id().and_then(|n| i32::try_from(n).ok());
            (
                residue.name(),
                number.unwrap_or(0),
                chain.unwrap_or_default(),
            )
        })
        .collect();
    (0..count)
        .map(|i| {
            let atom = topology.atom(i);
            let (residue_name, residue_number, chain) = match residue_of[i] {
                Some(r) => described[r].clone(),
                None => Default::default(),
            };
            let stated = u8::try_from(atom.atomic_number()).ok().filter(|&n| n > 0);
            RawAtom {
                name: atom.name(),
                element: stated.filter(|_| !bare),
                mass: Some(atom.mass()),
                // Atoms without a residue form one of their own together.
                key: residue_of[i].map_or(0, |r| r as u64 + 1),
                residue_name,
                residue_number,
                chain,
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
        assert_eq!(of("run.v2.nc").as_deref(), Some("Amber NetCDF"));
        assert_eq!(of("a.tng"), None);
        assert_eq!(of("a"), None);
    }

    #[test]
    fn skewed_boxes_keep_their_vectors() {
        let mut frame = Frame::new();
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
