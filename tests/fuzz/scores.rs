//! Scores of a run.

pub use super::run::SCORES as TARGET;
