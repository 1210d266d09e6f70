//! The log of a run.

pub use super::run::LOG as TARGET;
