//! Crystals in POSCAR files.

use super::Target;
use super::systems::READER;

pub const TARGET: Target = Target {
    corpus: || vec![DIRECT.into(), CARTESIAN.into()],
    words: &["Selective dynamics\n", "Direct\n", "Cartesian\n", "Fe_pv", "-1", "1e308", "99999999999"],
    ending: ".poscar",
    ..READER
};

const DIRECT: &str = "salt\n1.0\n5.64 0 0\n0 5.64 0\n0 0 5.64\nNa Cl\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n";
const CARTESIAN: &str =
    "iron\n-23.0\n1 0 0\n0 1 0\n0 0 1\nFe_pv\n2\nSelective dynamics\nCartesian\n0 0 0 T T T\n0.5 0.5 0.5 F F F\n";
