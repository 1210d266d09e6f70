//! OBJ meshes.

pub use super::spheres::OBJ as TARGET;
