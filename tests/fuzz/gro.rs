//! GRO topologies.

use super::Target;
use super::md::{run_as, topology};

pub const TARGET: Target = Target {
    corpus: || run_as("gro"),
    words: &["ALA", "HOH", "99999", "    1"],
    ending: ".gro",
    read: topology,
};
