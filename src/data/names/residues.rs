//! Names of residues: amino acids under their names in force fields, modified ones, nucleotides,
//! water.

/// Names of the 20 amino acids whose CA can be a centre.
pub const CANONICAL: [&str; 20] = [
    "ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIS", "ILE", "LEU", "LYS", "MET",
    "PHE", "PRO", "SER", "THR", "TRP", "TYR", "VAL",
];

/// Protonation states and bridged cysteines as AMBER, CHARMM, GROMACS and OPLS name them: the same
/// amino acids.
const VARIANTS: [(&str, &str); 36] = [
    ("HIE", "HIS"),
    ("HID", "HIS"),
    ("HIP", "HIS"),
    ("HSD", "HIS"),
    ("HSE", "HIS"),
    ("HSP", "HIS"),
    ("HISD", "HIS"),
    ("HISE", "HIS"),
    ("HISP", "HIS"),
    ("HISA", "HIS"),
    ("HISB", "HIS"),
    ("HISH", "HIS"),
    ("HIS1", "HIS"),
    ("HIS2", "HIS"),
    ("CYX", "CYS"),
    ("CYM", "CYS"),
    ("CYN", "CYS"),
    ("CYS1", "CYS"),
    ("CYS2", "CYS"),
    ("CYSH", "CYS"),
    ("CYSS", "CYS"),
    ("ASH", "ASP"),
    ("ASPH", "ASP"),
    ("ASPP", "ASP"),
    ("GLH", "GLU"),
    ("GLUH", "GLU"),
    ("GLUP", "GLU"),
    ("LYN", "LYS"),
    ("LYP", "LYS"),
    ("LSN", "LYS"),
    ("LYSH", "LYS"),
    ("LYSN", "LYS"),
    ("ARN", "ARG"),
    ("ARGN", "ARG"),
    ("TYM", "TYR"),
    ("TYRU", "TYR"),
];

/// Modified amino acids and their parents (wwPDB Chemical Component Dictionary,
/// `_chem_comp.mon_nstd_parent_comp_id`).
const MODIFIED: [(&str, &str); 36] = [
    ("MSE", "MET"),
    ("FME", "MET"),
    ("MHO", "MET"),
    ("SEP", "SER"),
    ("SAC", "SER"),
    ("TPO", "THR"),
    ("PTR", "TYR"),
    ("TYS", "TYR"),
    ("SEC", "CYS"),
    ("CSO", "CYS"),
    ("CSD", "CYS"),
    ("CSX", "CYS"),
    ("CSS", "CYS"),
    ("CME", "CYS"),
    ("OCS", "CYS"),
    ("CAS", "CYS"),
    ("SMC", "CYS"),
    ("SNC", "CYS"),
    ("SCY", "CYS"),
    ("KCX", "LYS"),
    ("MLY", "LYS"),
    ("MLZ", "LYS"),
    ("M3L", "LYS"),
    ("ALY", "LYS"),
    ("LLP", "LYS"),
    ("HYP", "PRO"),
    ("PCA", "GLN"),
    ("CGU", "GLU"),
    ("MEN", "ASN"),
    ("NEP", "HIS"),
    ("HIC", "HIS"),
    ("MHS", "HIS"),
    ("AGM", "ARG"),
    ("PHD", "ASP"),
    ("BFD", "ASP"),
    ("AYA", "ALA"),
];

/// Nucleotides of the PDB and of force fields, and the caps of chains.
const NUCLEOTIDES_AND_CAPS: [&str; 55] = [
    "A", "C", "G", "U", "I", "T", "N", "DA", "DC", "DG", "DT", "DU", "DI", "DN", "RA", "RC", "RG",
    "RU", "ADE", "CYT", "GUA", "THY", "URA", "A3", "A5", "C3", "C5", "G3", "G5", "U3", "U5", "DA3",
    "DA5", "DC3", "DC5", "DG3", "DG5", "DT3", "DT5", "RA3", "RA5", "RC3", "RC5", "RG3", "RG5",
    "RU3", "RU5", "ACE", "NME", "NMA", "NH2", "NHE", "FOR", "CT3", "UNK",
];

/// Residue names of water that structures leave out.
const WATERS: [&str; 18] = [
    "HOH", "WAT", "DOD", "H2O", "OH2", "TIP", "TIP2", "TIP3", "TIP4", "TIP5", "TP3", "TP4", "T3P",
    "T4P", "SOL", "SPC", "SPCE", "D2O",
];

/// Whether a residue is water, by its name.
pub fn is_water(name: &[u8]) -> bool {
    is_one_of(&WATERS, name)
}

/// The amino acid that a force field's name stands for (`HIE`: `HIS`); `None` for every other name,
/// that of the amino acid itself among them. GROMACS's names of the ends of chains (`NALA`, `CHIE`)
/// count too.
pub fn parent_of_variant(name: &[u8]) -> Option<&'static str> {
    if let Some(parent) = find(&VARIANTS, name) {
        return Some(parent);
    }
    let inner = match name {
        [b'N' | b'C', inner @ ..] if inner.len() == 3 => inner,
        _ => return None,
    };
    let canonical = CANONICAL.into_iter().find(|c| c.as_bytes() == inner);
    canonical.or_else(|| find(&VARIANTS, inner))
}

/// The amino acid that a modified one was made of (`MSE`: `MET`).
pub fn parent_of_modified(name: &[u8]) -> Option<&'static str> {
    find(&MODIFIED, name)
}

/// Whether the atoms of a residue have the names of amino acids or nucleotides, by its name.
pub fn is_polymer(name: &[u8]) -> bool {
    is_one_of(&CANONICAL, name)
        || parent_of_variant(name).is_some()
        || parent_of_modified(name).is_some()
        || is_one_of(&NUCLEOTIDES_AND_CAPS, name)
}

fn is_one_of(names: &[&str], name: &[u8]) -> bool {
    names.iter().any(|n| n.as_bytes() == name)
}

fn find(table: &[(&'static str, &'static str)], name: &[u8]) -> Option<&'static str> {
    let found = table.iter().find(|(n, _)| n.as_bytes() == name);
    found.map(|(_, parent)| *parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_canonical() {
        for (name, parent) in VARIANTS.iter().chain(&MODIFIED) {
            assert!(CANONICAL.contains(parent), "{name}: {parent}");
            assert!(!CANONICAL.contains(name) && is_polymer(name.as_bytes()));
        }
        assert_eq!(parent_of_variant(b"CHIE"), Some("HIS"));
        assert_eq!(parent_of_variant(b"NALA"), Some("ALA"));
        for other in ["HIS", "MSE", "CLIG", "NAG", "HOH", ""] {
            assert_eq!(parent_of_variant(other.as_bytes()), None, "{other}");
        }
        assert_eq!(parent_of_modified(b"SEP"), Some("SER"));
        assert!(is_polymer(b"DG5") && !is_polymer(b"LIG") && !is_polymer(b"HEM"));
    }
}
