//! AMBER topologies.

use super::Target;
use super::md::{peptide, topology};

pub const TARGET: Target = Target {
    corpus: || vec![peptide::prmtop().into_bytes()],
    words: &["%FLAG", "%FORMAT", "POINTERS", "%COMMENT", "(10I8)", "(20a4)"],
    ending: ".prmtop",
    read: topology,
};
