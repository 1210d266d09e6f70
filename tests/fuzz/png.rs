//! Folders of PNG files.

pub use super::spheres::PNG as TARGET;
