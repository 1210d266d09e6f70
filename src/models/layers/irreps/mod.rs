//! Layers on features of irreps: rows of [`Blocks`](crate::so3::blocks::Blocks), `[rows, dim]`.
//!
//! | layer | what it does |
//! |---|---|
//! | [`spherical_harmonics`] | the edges' directions as irreps |
//! | [`BlockLinear`] | mixes the channels of each irrep |
//! | [`FullProduct`] | tensor product with a weight for every pair of input and output channels |
//! | [`Gate`] | activations of scalars, which gate the other irreps |
//! | [`BlockNorm`] | divides each block by its norm |
//! | [`NormalizedMlp`] | a network of invariants whose layers keep the variance |

mod full;
mod gate;
mod harmonics;
mod linear;
mod mlp;
mod norm;

pub use full::FullProduct;
pub use gate::{Gate, Gating, Normalized};
pub use harmonics::spherical_harmonics;
pub use linear::{BlockLinear, ByKind, Scale, Style};
pub use mlp::NormalizedMlp;
pub use norm::{BlockNorm, Over};
