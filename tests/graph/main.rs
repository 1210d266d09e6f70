//! Networks of atoms: parity with the published code, symmetry, derivatives of every kind.

#[path = "../common/numbers.rs"]
mod numbers;

mod batches;
mod golden;
mod parity;
mod properties;
mod second;
