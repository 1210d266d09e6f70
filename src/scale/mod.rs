//! How long a step takes on other machines and more ranks: a model, its measurement, its curves.
//!
//! A step is computing on each rank, waiting for the slowest, the sum over the ranks, and the
//! optimizer ([`model`]). Links are latency and bandwidth, inside a node and between nodes
//! ([`reduction`]); equal ranks differ by a lognormal factor ([`stragglers`]). The numbers are in
//! a machine file ([`machine`]), which [`measure`] writes and [`check`] compares with real steps.

pub mod machine;
mod measure;
pub mod model;
pub mod plots;
pub mod reduction;
pub mod stragglers;
pub mod table;

pub use machine::Machine;
pub use measure::{algorithm_of, check, measure, of_job};
