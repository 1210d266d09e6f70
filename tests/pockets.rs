//! Pockets of complexes, and affinities learned from them.

mod common;
#[path = "common/gzip.rs"]
mod gzip;

#[path = "pockets/complexes.rs"]
mod complexes;
#[path = "pockets/files.rs"]
mod files;
#[path = "pockets/formulas.rs"]
mod formulas;
#[path = "pockets/regression.rs"]
mod regression;
#[path = "pockets/two_sided.rs"]
mod two_sided;
