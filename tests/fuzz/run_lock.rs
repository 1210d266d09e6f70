//! The lock of a run folder.

pub use super::run::LOCK as TARGET;
