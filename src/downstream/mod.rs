//! What a trained model is used for.

pub mod affinity;
pub mod annotate;
pub mod chains;
pub mod coarse;
pub mod embedding;
pub mod evaluation;
pub mod generate;
pub mod motion;
pub mod pca;
pub mod pockets;
pub mod regression;
pub mod report;
pub mod spheres;
pub mod systems;
