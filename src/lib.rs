//! holosig: distributed representation learning on 3D molecular data.
//!
//! The modules stand on floors; a module uses only lower floors.
//!
//! | floor | module | what lives there |
//! |---|---|---|
//! | 5 | [`cli`] | one file per command |
//! | 4 | [`train`], [`downstream`] | the training loop and checkpoints; what a trained model is used for |
//! | 3 | [`models`] | networks: a batch in, losses out, named parameters |
//! | 2 | [`ops`], [`data`] | differentiable operations; sources, datasets, samplers, loaders |
//! | 1 | [`so3`], [`comm`], [`store`] | rotation-group numbers in f64; the MPI world; HDF5 files |
//! | 0 | [`error`] | the one error type |

pub mod cli;
pub mod comm;
pub mod data;
pub mod downstream;
pub mod error;
pub mod models;
pub mod ops;
pub mod so3;
pub mod store;
pub mod train;

pub use error::{Error, Result};
