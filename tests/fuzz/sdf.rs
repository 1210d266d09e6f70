//! Ligands in SDF files, V2000 and V3000.

use super::Target;
use holosig::data::complexes::ligand;

pub const TARGET: Target = Target {
    corpus: || vec![V2000.into(), V3000.into()],
    words: &["V2000", "V3000", "M  V30 ", "M  END", "$$$$", "BEGIN ATOM", "END ATOM", "2D", "-\n"],
    ending: ".sdf",
    read: |path| ligand::read(path).map(drop),
};

const V2000: &str = "a ligand
  program 0101000000 3D

  4  3  0  0  0  0  0  0  0  0999 V2000
    1.0000    2.0000    3.0000 C   0  0
    2.2000    2.0000    3.0000 O   0  0
   -0.2000    2.0000    3.0000 Cl  0  0
    1.0000    3.0000    3.0000 H   0  0
  1  2  2  0
  1  3  1  0
  1  4  1  0
M  END
> <pK>
7.5

$$$$
";

const V3000: &str = "a ligand
  program

  0  0  0     0  0            999 V3000
M  V30 BEGIN CTAB
M  V30 COUNTS 2 1 0 0 0
M  V30 BEGIN ATOM
M  V30 1 C 1.0 2.0 3.0 0
M  V30 2 Br 2.9 2.0 -
M  V30 3.0 0
M  V30 END ATOM
M  V30 END CTAB
M  END
";
