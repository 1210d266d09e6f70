//! Networks of atoms: symmetry, derivatives of every kind.

#[path = "../common/graphs.rs"]
mod graphs;
#[path = "../common/numbers.rs"]
mod numbers;

mod batches;
mod properties;
mod second;
mod stress;
