//! Crystals in CIF.

use super::Target;
use super::systems::READER;

pub const TARGET: Target = Target {
    corpus: || vec![CRYSTAL.into()],
    words: &["loop_", "data_", "_atom_site_fract_x", "_cell_length_a", "_symmetry_equiv_pos_as_xyz", "x+1/2", "'", "\n;", "(3)"],
    ending: ".cif",
    ..READER
};

const CRYSTAL: &str = "data_NaCl
_cell_length_a 5.64(1)
_cell_length_b 5.64
_cell_length_c 5.64
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_symmetry_equiv_pos_as_xyz
'x, y, z'
'x, y+1/2, z+1/2'
'x+1/2, y, z+1/2'
'x+1/2, y+1/2, z'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Na1 Na 0 0 0 1
Cl1 Cl 0.5 0.5 0.5 1.0
";
