//! The layers that models are made of, each with PyTorch's names, shapes and initialisation.
//!
//! A layer is built at a place in the model, by relative names, and asks the [`Parameters`] of a
//! forward pass for its values; it holds handles only:
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use holosig::models::layers::{Activation, Linear, Mlp};
//! use holosig::models::{Init, ParametersBuilder};
//!
//! let mut builder = ParametersBuilder::default();
//! let b = &mut builder.root();
//! let embed = Linear::new(&mut b.scope("embed"), 4, 8, Init::glorot(4, 8));
//! let readout = Mlp::new(
//!     &mut b.scope("readout"),
//!     8,
//!     &[(16, Activation::Swish), (1, Activation::Identity)],
//! );
//! let p = builder.build(1, DType::F32, &Device::Cpu, 0.0)?;
//!
//! let x = Tensor::ones((3, 4), DType::F32, &Device::Cpu)?;
//! let energies = readout.forward(&embed.forward(&x, &p)?, &p)?;
//! assert_eq!(energies.dims(), [3, 1]);
//! assert_eq!(p.entries()[2].name, "readout.0.weight");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Parameters`]: crate::models::Parameters

mod activation;
mod batch_norm;
mod cutoff;
mod dual;
mod embedding;
#[cfg(test)]
mod geometry_tests;
pub mod irreps;
mod linear;
mod lstm;
mod message;
mod mlp;
mod norm;
mod pass;
mod radial;
mod readout;
mod softmax;
mod spherical;
#[cfg(test)]
mod tests;
mod whole;

pub use activation::Activation;
pub use batch_norm::BatchNorm;
pub use cutoff::{Cutoff, CutoffShape, check_cutoff, check_radial};
pub use embedding::Embedding;
pub use linear::Linear;
pub use lstm::{Direction, Lstm};
pub use message::{
    Geometry, convolve, convolve_along, convolve_vectors, differences, forces, joined,
};
pub use mlp::Mlp;
pub use norm::LayerNorm;
pub(in crate::models) use pass::mask;
pub use pass::{Mode, Pass};
pub use radial::{Basis, Bessel, Gaussians, Radial, SineBasis};
pub use readout::Readout;
pub use softmax::edge_softmax;
pub use spherical::{AngularPolynomials, SphericalBessel, tesseral};
pub use whole::{Others, Told};
