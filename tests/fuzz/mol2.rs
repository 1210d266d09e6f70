//! Ligands in MOL2 files.

use super::Target;
use holosig::data::complexes::ligand;

pub const TARGET: Target = Target {
    corpus: || vec![TEXT.into()],
    words: &["@<TRIPOS>ATOM", "@<TRIPOS>BOND", "@<TRIPOS>", "C.ar", "ca", "Du", "LP", "Cl"],
    ending: ".mol2",
    read: |path| ligand::read(path).map(drop),
};

const TEXT: &str = "@<TRIPOS>MOLECULE
a ligand
 4 3 1
SMALL
GASTEIGER

@<TRIPOS>ATOM
      1 C1          1.0000    2.0000    3.0000 C.ar    1  LIG         0.0100
      2 N1          2.3000    2.0000    3.0000 N.pl3   1  LIG        -0.0100
      3 CL1        -0.7000    2.0000    3.0000 Cl      1  LIG         0.0000
      4 H1          1.0000    3.0000    3.0000 H       1  LIG         0.0000
@<TRIPOS>BOND
     1     1     2    ar
     2     1     3    1
";
