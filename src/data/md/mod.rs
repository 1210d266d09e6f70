//! Molecular-dynamics trajectories: from the programs' own files to graphs and coordinates.
//!
//! Files are read by chemfiles (XTC, TRR, DCD, AMBER NetCDF, multi-model PDB and others), which
//! brings every length to Å; without the cargo feature `chemfiles` there is no [`Ensemble`].
//! Molecules that a periodic box tears apart are made whole.

#[cfg(feature = "chemfiles")]
mod ensemble;
#[cfg(not(feature = "chemfiles"))]
#[path = "no_ensemble.rs"]
mod ensemble;
pub mod manifest;
mod select;

pub use ensemble::Ensemble;
pub use select::Selection;

/// What is taken from every trajectory.
#[derive(Debug, Clone)]
pub struct Settings {
    pub selection: Selection,
    /// Every how many frames one is kept.
    pub stride: usize,
    /// Distance in Å within which nodes without bonds are neighbors.
    pub cutoff: f64,
}
