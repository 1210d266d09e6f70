//! PDB topologies.

use super::Target;
use super::md::{run_as, topology};

pub const TARGET: Target = Target {
    corpus: || run_as("pdb"),
    words: &[
        "ATOM  ", "HETATM", "CONECT", "CRYST1", "MODEL ", "ENDMDL", "TER", "END", "ALA", "HOH",
        " CA ", "99999", "*****", "A0000",
    ],
    ending: ".pdb",
    read: topology,
};
