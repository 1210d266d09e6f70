//! PLY meshes.

pub use super::spheres::PLY as TARGET;
