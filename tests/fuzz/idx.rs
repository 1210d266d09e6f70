//! Images of MNIST.

pub use super::spheres::IDX as TARGET;
