//! Extended XYZ.

use super::Target;
use super::systems::READER;

pub const TARGET: Target = Target {
    corpus: || vec![FRAMES.into(), "1\nplain\nC 0 0 0\n".into()],
    words: &["Lattice=", "pbc=", "Properties=", "species:S:1:", "pos:R:3", "forces:R:3", "energy=", "stress=", "virial=", "\"", "nan"],
    ending: ".extxyz",
    ..READER
};

const FRAMES: &str = "2
Lattice=\"4 0 0 0 4 0 0 0 4\" Properties=species:S:1:pos:R:3:forces:R:3 energy=-1.5 pbc=\"T T F\"
O 0.0 0.0 0.0 0.1 0.2 0.3
H 0.9 0.0 0.0 -0.1 -0.2 -0.3
1
energy=2.0
C 1.0 1.0 1.0
1
Lattice=\"4 0 0 0 4 0 0 0 4\" energy=2.0 stress={1 2 3 0 0 0} virial=\"1 0 0 0 1 0 0 0 1\"
C 1.0 1.0 1.0
";
