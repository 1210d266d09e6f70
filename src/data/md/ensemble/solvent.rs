//! What is water or a free ion, and what is left.

use crate::data::system::{Members, System};

/// The residues of a system with their atoms.
pub(super) struct Residues<'a> {
    system: &'a System<f64>,
    members: Members,
}

impl<'a> Residues<'a> {
    pub fn new(system: &'a System<f64>) -> Self {
        Self {
            system,
            members: system.members(),
        }
    }

    /// The atoms of a residue, by its place.
    pub fn atoms(&self, residue: usize) -> &[u32] {
        self.members.of(residue)
    }

    /// Whether a residue is an amino acid of a chain: it has a CA that is carbon, and N and C
    /// too unless it is reduced to one bead.
    pub fn is_amino_acid(&self, residue: usize) -> bool {
        let atoms = self.atoms(residue);
        let has = |name: &str, number: u8| {
            let is = |&a: &u32| {
                self.system.names[a as usize] == name && self.system.numbers[a as usize] == number
            };
            atoms.iter().any(is)
        };
        has("CA", 6) && (atoms.len() == 1 || (has("N", 7) && has("C", 6)))
    }

    /// Whether a residue is water or a free ion.
    pub fn is_solvent(&self, residue: usize) -> bool {
        let name = self.system.residues[residue].name.as_str().to_uppercase();
        if WATERS.contains(&name.as_str()) {
            return true;
        }
        if self.atoms(residue).len() != 1 || self.is_amino_acid(residue) {
            return false;
        }
        let bare: String = name.chars().filter(char::is_ascii_alphabetic).collect();
        IONS.contains(&bare.as_str())
    }

    /// Places of the residues that are neither water nor ions.
    pub fn of_solute(&self) -> impl Iterator<Item = usize> {
        (0..self.system.residues.len()).filter(|&r| !self.is_solvent(r))
    }

    /// Atoms that are neither water nor ions, ascending.
    pub fn solute(&self) -> Vec<u32> {
        let atoms = self.of_solute().flat_map(|r| self.atoms(r));
        atoms.copied().collect()
    }
}

/// Residue names of water in the common force fields and in the PDB.
const WATERS: [&str; 22] = [
    "HOH", "WAT", "SOL", "H2O", "HHO", "OHH", "OH2", "DOD", "D2O", "TIP", "TIP2", "TIP3", "TIP4",
    "TIP5", "T3P", "T4P", "TP3", "TP4", "TIP3P", "SPC", "SPCE", "W",
];

/// Names of free ions: element symbols, and CHARMM's and AMBER's own names, without charges.
const IONS: [&str; 44] = [
    "LI", "NA", "K", "RB", "CS", "F", "CL", "BR", "I", "IOD", "MG", "CA", "SR", "BA", "MN", "FE",
    "CO", "NI", "CU", "ZN", "CD", "HG", "PB", "AL", "AG", "IB", "SOD", "POT", "CES", "RUB", "LIT",
    "CLA", "CLO", "CAL", "BAR", "CIO", "CIM", "CIP", "QS", "U", "NAP", "KP", "CLM", "ION",
];

#[cfg(test)]
mod tests {
    use super::super::topology::{RawAtom, assemble};
    use super::*;

    fn raw(name: &str, residue: &str, key: u64) -> RawAtom {
        RawAtom {
            name: name.into(),
            element: None,
            mass: None,
            key,
            residue_name: residue.into(),
            residue_number: key as i32,
            chain: "A".into(),
        }
    }

    #[test]
    fn solvent_goes_and_alpha_carbons_stay() {
        let with_element = |element, atom| RawAtom {
            element: Some(element),
            ..atom
        };
        let system = assemble(
            &[
                raw("N", "ALA", 1),
                raw("CA", "ALA", 1),
                raw("C", "ALA", 1),
                raw("OW", "SOL", 2),
                raw("HW1", "SOL", 2),
                with_element(20, raw("CA", "CA", 3)),
                raw("NA+", "NA+", 4),
                raw("CLA", "CLA", 5),
                raw("CA", "GLY", 6),
                with_element(30, raw("ZN", "ZN2", 7)),
                with_element(26, raw("FE", "HEM", 8)),
                with_element(7, raw("NA", "HEM", 8)),
            ],
            [[1, 0], [1, 2], [1, 2]],
            Vec::new(),
            None,
        );
        assert_eq!(system.bonds, [[0, 1], [1, 2]]);
        assert_eq!(system.residues.len(), 8);
        assert_eq!(Residues::new(&system).solute(), [0, 1, 2, 8, 10, 11]);
        assert_eq!(system.numbers[1], 6);
        assert_eq!(system.numbers[8], 6);
        assert_eq!(system.bonds_among(&[0, 1]), [[0, 1]]);
    }
}
