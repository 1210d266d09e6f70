//! Molecular-dynamics trajectories: from the programs' own files to graphs and coordinates.
//!
//! XTC, TRR, DCD and PDB trajectories and PDB, GRO, PSF and PRMTOP topologies are read by readers
//! of our own; files of other formats by the chemfiles library (with the cargo feature of that
//! name), in a child process. Molecules that a periodic box tears apart are made whole.

mod ensemble;
mod foreign;
pub mod formats;
#[cfg(feature = "chemfiles")]
mod library;
pub mod manifest;
mod select;
mod text;

pub use ensemble::Ensemble;
use ensemble::{simulation_box, topology};
pub use foreign::TASKS;
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
