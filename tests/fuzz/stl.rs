//! STL meshes.

pub use super::spheres::STL as TARGET;
