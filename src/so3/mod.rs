//! Numbers of the rotation group, in f64 and free of any tensor library: spherical harmonics,
//! Wigner 3j symbols and D matrices, Zernike radial polynomials, irreps bookkeeping, and the
//! coupling paths of tensor products.

pub mod irreps;
