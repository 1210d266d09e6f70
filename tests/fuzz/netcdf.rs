//! AMBER NetCDF trajectories.

use super::Target;
use super::md::{frames, run_as};

pub const TARGET: Target = Target {
    corpus: || run_as("nc"),
    words: &["CDF", "coordinates", "frame", "atom", "spatial"],
    ending: ".nc",
    read: frames,
};
