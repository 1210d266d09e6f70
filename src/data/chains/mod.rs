//! Chains of proteins as residues: what networks of residues take, and its dataset.

mod file;
pub mod geometry;
pub mod manifest;
mod read;

pub use file::Chains;
pub use read::{Notes, Record, of_structure};

use crate::data::system::{Point, sub};
use geometry::dihedral;

/// One-letter codes of the kinds of residues; the last one stands for all others.
pub const KINDS: &str = "ACDEFGHIKLMNPQRSTVWYX";

/// Place of the unknown residue in [`KINDS`].
pub const UNKNOWN: u8 = 20;

/// The residues of a chain, in the order of the sequence.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chain {
    /// Place in [`KINDS`], `[residues]`.
    pub kinds: Vec<u8>,
    /// Å: N, CA and C of each residue; CA in place of one that is missing.
    pub backbone: Vec<[Point; 3]>,
    /// Cosines, then sines, of the torsions phi, psi and omega: [`torsions`].
    pub torsions: Vec<[f64; 6]>,
    /// Sines, then cosines, of the torsions chi 1 to 4 of the side chain; 0 and 1 for one that
    /// there is not.
    pub side: Vec<[f64; 8]>,
}

impl Chain {
    /// A chain whose backbone torsions are those of `backbone`.
    pub fn new(kinds: Vec<u8>, backbone: Vec<[Point; 3]>, side: Vec<[f64; 8]>) -> Self {
        Self {
            torsions: torsions(&backbone),
            kinds,
            backbone,
            side,
        }
    }

    /// Number of residues.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Å: the alpha carbons, `[residues]`.
    pub fn carbons(&self) -> Vec<Point> {
        self.backbone.iter().map(|[_, ca, _]| *ca).collect()
    }
}

/// Cosines, then sines, of phi, psi and omega of each residue, in Geom3D's order: the dihedrals of
/// the bonds of the whole chain one after another, 0 for the first one and the last two.
pub fn torsions(backbone: &[[Point; 3]]) -> Vec<[f64; 6]> {
    let atoms = backbone.as_flattened();
    let bonds: Vec<Point> = atoms.windows(2).map(|p| sub(p[1], p[0])).collect();
    let inner = bonds.windows(3).map(|b| dihedral([b[0], b[1], b[2]]));
    let mut angles = vec![0.0];
    angles.extend(inner);
    angles.resize(atoms.len(), 0.0);
    let (angles, _) = angles.as_chunks::<3>();
    let features = |[a, b, c]: &[f64; 3]| [a.cos(), b.cos(), c.cos(), a.sin(), b.sin(), c.sin()];
    angles.iter().map(features).collect()
}

/// Sines, then cosines, of the angles chi 1 to 4, radians.
pub fn side(angles: [f64; 4]) -> [f64; 8] {
    std::array::from_fn(|k| match k < 4 {
        true => angles[k].sin(),
        false => angles[k - 4].cos(),
    })
}
