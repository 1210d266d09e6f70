//! mmCIF files.

use super::{Target, pdb};

pub const TARGET: Target = Target {
    corpus: || vec![text().into_bytes()],
    words: &[
        "loop_", "data_", "save_", "_atom_site.", "\n;", "?", ".", "ATOM", "HETATM", "'", "\"",
        "_atom_site.auth_seq_id", "#",
    ],
    ending: ".cif",
    read: pdb::structure,
};

pub fn text() -> String {
    let columns = [
        "group_PDB",
        "type_symbol",
        "label_atom_id",
        "label_alt_id",
        "label_comp_id",
        "label_asym_id",
        "label_seq_id",
        "auth_seq_id",
        "auth_asym_id",
        "pdbx_PDB_ins_code",
        "Cartn_x",
        "Cartn_y",
        "Cartn_z",
        "occupancy",
        "pdbx_PDB_model_num",
    ];
    let header: String = columns.iter().map(|c| format!("_atom_site.{c}\n")).collect();
    format!(
        "data_TEST\n_entry.id TEST\n_struct.title\n;a title\n;\nloop_\n{header}\
         ATOM N N . ALA A 1 1 A ? 1.0 2.0 3.0 1.00 1\n\
         ATOM C CA A ALA A 1 1 A ? 2.0 2.0 3.0 0.60 1\n\
         ATOM C CA B ALA A 1 1 A ? 2.5 2.0 3.0 0.40 1\n\
         ATOM O \"O5'\" . DG B 2 ? . B 4.0 2.0 3.0 1.00 1\n\
         HETATM O O . HOH C . 301 C ? 9.0 2.0 3.0 1.00 1\n\
         ATOM C CA . GLY A 1 1 A ? 2.0 7.0 3.0 1.00 2\n#\n"
    )
}
