//! Properties that every model has, each written once; `list.rs` names the models.

#[path = "../common/irreps.rs"]
mod irreps;
#[path = "../common/molecule.rs"]
mod molecule;
#[path = "../common/numbers.rs"]
mod numbers;

mod affinities;
mod autoencoder;
mod case;
mod graphs;
mod list;
mod properties;
mod spheres;
mod trajectories;
