//! Differentiable operations, and the CPU kernels and GPU launches behind them.
//!
//! One folder per op: `mod.rs` says what it means (formula, shapes, where its derivatives come
//! from), `cpu.rs` computes it on the processor, `launches.rs` asks a GPU for it. [`op`] has the
//! traits that an op implements, [`adapter`] makes candle's ops of them; an op that is linear in each
//! of its arguments says only how its [`form`] is differentiated.
//!
//! | op | what it does | derivatives |
//! |---|---|---|
//! | [`linear`] | linear map over the channels of each degree | of any order |
//! | [`skip`] | sum of steerable tensors of different sizes | of any order |
//! | [`cross`] | cross products | of any order |
//! | [`sparse`] | product with a constant sparse matrix | of any order |
//! | [`signature::at_lyndon_words`] | choice of words | of any order |
//! | [`tensor_product`] | products of irreps along edges | of any order |
//! | [`blockwise`] | linear map of blocks of irreps | of any order |
//! | [`edge_map`] | a linear map of its own for each edge | of any order |
//! | [`bilinear`] | products of two small matrices for each row, mapped | of any order |
//! | [`squared_error`] | sums of weighted squared errors to data | first |
//! | [`batch_norm`] | batch norm of steerable tensors | first |
//! | [`cg`] | Clebsch-Gordan product, signal norm and linear map | first |
//! | [`hidden`] | a hidden layer that is not kept | first |
//! | [`assign`], [`mincut`] | soft assignment to clusters, min-cut pooling | first |
//! | [`signature`] | signatures and log-signatures of paths | first |
//! | [`sphere`] | spherical Fourier transform, forward and inverse: products of matrices | of any order |
//! | [`zernike`] | point clouds to zernikegrams: no op, data has no gradient | none |
//!
//! What happens when a gradient is differentiated again, and how to train on forces, is said in
//! [`derivatives`]: read it before a gradient becomes part of a loss.
//!
//! A *steerable tensor* is `[batch, dim]`: per degree `l` ascending, then order `m` ascending,
//! then channel (channels innermost). With equal channels in every degree it is the contiguous
//! form of `[batch, (lmax+1)^2, channels]`, row `l*l + l + m`. The published flat layout
//! (channel-major inside a degree) occurs at the model's two ends only; [`linear`] reads and
//! writes both.
//!
//! Every op cuts its batch into parts whose sizes depend on the batch alone and sums weight
//! gradients over the parts in a fixed order, so bits do not depend on the number of threads.

pub mod adapter;
pub mod assign;
pub mod batch_norm;
pub mod bilinear;
pub mod blockwise;
mod cache;
pub mod cg;
pub mod count;
pub mod cpu;
pub mod cross;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod dense;
pub mod derivatives;
pub mod device;
pub mod distances;
pub mod dual;
pub mod edge_map;
pub mod form;
pub mod hidden;
mod lanes;
pub mod linear;
pub mod mincut;
pub mod op;
pub mod pointwise;
pub mod segment;
pub mod signature;
pub mod skip;
pub mod sparse;
pub mod sphere;
pub mod squared_error;
pub mod tensor_product;
pub mod zernike;

/// Runs `work` on a thread of rayon's pool, as the trainer runs the slices of a step. There every
/// parallel operation begins at once; from a thread outside of the pool each of the hundreds in a
/// step would wake a thread and wait for it.
pub fn in_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| work())
}
