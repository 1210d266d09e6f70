//! Counts that need no learning: atoms of the ligand by element, and pairs of atoms of protein and
//! ligand by their elements and distance (as in Ballester and Mitchell, Bioinformatics 26, 1169
//! (2010), in shells).

use crate::data::system::System;
use crate::elements;

/// Upper ends of the shells, in Å.
pub const SHELLS: [f64; 4] = [4.0, 6.0, 8.0, 12.0];

/// Elements of the ligand that are told apart, and one class for all others.
const LIGAND: [u8; 9] = [6, 7, 8, 16, 15, 9, 17, 35, 53];
/// Those of the protein's side (cofactors and metals too).
const PROTEIN: [u8; 4] = [6, 7, 8, 16];

fn class(known: &[u8], number: u8) -> usize {
    known
        .iter()
        .position(|&z| z == number)
        .unwrap_or(known.len())
}

fn names(known: &[u8]) -> Vec<&'static str> {
    let symbols = known.iter().filter_map(|&z| elements::symbol(z));
    symbols.chain(["other"]).collect()
}

/// Names of what [`ligand_elements`] counts.
pub fn element_names() -> Vec<String> {
    names(&LIGAND).into_iter().map(str::to_string).collect()
}

/// Heavy atoms of the ligand by element.
pub fn ligand_elements(ligand: &System) -> Vec<i32> {
    let mut counts = vec![0; LIGAND.len() + 1];
    for &number in &ligand.numbers {
        counts[class(&LIGAND, number)] += 1;
    }
    counts
}

/// Names of what [`contacts`] counts: `LIGAND-PROTEIN<Å`.
pub fn contact_names() -> Vec<String> {
    let mut all = Vec::new();
    for ligand in names(&LIGAND) {
        for protein in names(&PROTEIN) {
            all.extend(SHELLS.map(|end| format!("{ligand}-{protein}<{end}")));
        }
    }
    all
}

/// Pairs of an atom of the ligand and one of the protein's side, by element of the ligand's, element
/// of the protein's and shell ([`SHELLS`]; each pair counts in the innermost that has it).
pub fn contacts(protein: &System, ligand: &System) -> Vec<i32> {
    let mut counts = vec![0; (LIGAND.len() + 1) * (PROTEIN.len() + 1) * SHELLS.len()];
    let kinds: Vec<usize> = protein
        .numbers
        .iter()
        .map(|&z| class(&PROTEIN, z))
        .collect();
    for (a, &number) in ligand.positions.iter().zip(&ligand.numbers) {
        let row = class(&LIGAND, number) * (PROTEIN.len() + 1);
        for (b, kind) in protein.positions.iter().zip(&kinds) {
            let squared = |k: usize| (f64::from(a[k]) - f64::from(b[k])).powi(2);
            let distance = (squared(0) + squared(1) + squared(2)).sqrt();
            if let Some(shell) = SHELLS.iter().position(|&end| distance < end) {
                counts[(row + kind) * SHELLS.len() + shell] += 1;
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(atoms: &[(u8, f32)]) -> System {
        System {
            numbers: atoms.iter().map(|a| a.0).collect(),
            positions: atoms.iter().map(|a| [a.1, 0.0, 0.0]).collect(),
            ..System::default()
        }
    }

    #[test]
    fn every_pair_counts_once_under_its_name() {
        let ligand = system(&[(6, 0.0), (17, 1.0), (5, 2.0)]);
        let protein = system(&[(8, 3.9), (30, 5.0), (6, 40.0)]);
        let counts = contacts(&protein, &ligand);
        let names = contact_names();
        assert_eq!(names.len(), counts.len());
        let told: Vec<(&str, i32)> = names
            .iter()
            .zip(&counts)
            .filter(|(_, n)| **n > 0)
            .map(|(name, n)| (name.as_str(), *n))
            .collect();
        let expected = [
            ("C-O<4", 1),
            ("C-other<6", 1),
            ("Cl-O<4", 1),
            ("Cl-other<6", 1),
            ("other-O<4", 1),
            ("other-other<4", 1),
        ];
        assert_eq!(told, expected);
        let elements = ligand_elements(&ligand);
        assert_eq!(elements, [1, 0, 0, 0, 0, 0, 1, 0, 0, 1]);
        assert_eq!(element_names()[6], "Cl");
    }
}
