//! OFF meshes.

pub use super::spheres::OFF as TARGET;
