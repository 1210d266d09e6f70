//! Numbers of the rotation group, in f64 and free of any tensor library: spherical harmonics,
//! Wigner 3j symbols and D matrices, Zernike radial polynomials, irreps bookkeeping, and the
//! coupling paths of tensor products.
//!
//! Convention (that of the published code): real harmonics with `y` as the polar axis,
//! `m = -l..=l` ascending, so that degree 1 is `(x, y, z)` up to a factor; parity plays no part.

pub mod blocks;
pub mod harmonics;
pub mod irreps;
pub mod paths;
pub mod radial;
pub mod rigid;
pub mod rotation;
pub mod sphere;
pub mod wigner;
