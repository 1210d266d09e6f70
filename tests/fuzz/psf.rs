//! PSF topologies.

use super::Target;
use super::md::{peptide, topology};

pub const TARGET: Target = Target {
    corpus: || vec![peptide::psf().into_bytes()],
    words: &["PSF", "!NATOM", "!NBOND", "!NTITLE", "EXT"],
    ending: ".psf",
    read: topology,
};
