//! From files on disk to samples: structures, datasets, the order in which samples are seen.

pub mod balance;
pub mod chains;
pub mod choice;
pub mod complexes;
pub mod dataset;
pub mod features;
pub mod folds;
pub mod grd;
pub mod md;
pub mod names;
pub mod neighborhoods;
pub mod neighbors;
pub mod noise;
pub mod peptides;
pub mod prepare;
pub mod proteinnet;
pub mod sampler;
pub mod secondary;
pub mod selection;
pub mod sites;
pub mod spheres;
pub mod splits;
pub mod structure;
pub mod system;
pub mod systems;
pub mod table;
pub mod torch;
pub mod trajectory;
pub mod zernikegrams;

pub use splits::{Partition, Split};
