//! From files on disk to samples: structures, datasets, the order in which samples are seen.

pub mod grd;
pub mod sampler;
pub mod trajectory;
pub mod zernikegrams;
