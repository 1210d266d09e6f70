//! From the atoms of a structure to the residues of one of its chains.

use super::geometry::dihedral;
use super::{KINDS, UNKNOWN};
use crate::data::structure::{CANONICAL, Structure};
use crate::data::system::{Label, Point, sub};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Residues that a chain must have, so that it has a direction at each.
pub const LEAST: usize = 3;

/// A chain as it is stored.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Record {
    /// Place in [`KINDS`], `[residues]`.
    pub kinds: Vec<u8>,
    /// Å: N, CA and C of each residue; CA in place of one that is missing.
    pub backbone: Vec<[[f32; 3]; 3]>,
    /// Torsions chi 1 to 4 of each side chain, radians; 0 for one that there is not.
    pub side: Vec<[f32; 4]>,
}

/// What a reader met that a user should know of: how many residues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Notes {
    /// Left out for want of an alpha carbon.
    pub without_carbon: usize,
    /// Lack N or C, in whose place the alpha carbon stands.
    pub without_ends: usize,
    /// Of a kind that is none of the 20 amino acids.
    pub unknown: usize,
}

impl Notes {
    pub fn add(&mut self, other: Self) {
        self.without_carbon += other.without_carbon;
        self.without_ends += other.without_ends;
        self.unknown += other.unknown;
    }

    /// What there is to tell, a line each.
    pub fn lines(&self) -> Vec<String> {
        let all = [
            (self.without_carbon, "have no CA atom and are left out"),
            (self.without_ends, "lack N or C, in whose place CA stands"),
            (self.unknown, "are none of the 20 amino acids"),
        ];
        let some = all.into_iter().filter(|(n, _)| *n > 0);
        some.map(|(n, what)| format!("residues that {what}: {n}"))
            .collect()
    }
}

/// Atoms that the chain of chi torsions goes through, as names of any amino acid.
const SIDE: [&[&str]; 5] = [
    &["CB"],
    &["CG", "SG", "OG", "CG1", "OG1"],
    &["CD", "SD", "CD1", "OD1", "ND1"],
    &["CE", "NE", "OE1"],
    &["CZ", "NZ"],
];

/// The place of an amino acid's three-letter name in [`KINDS`].
fn kind(name: Label) -> u8 {
    // In the order of the names.
    const LETTERS: &str = "ARNDCQEGHILKMFPSTWYV";
    let place = CANONICAL.iter().position(|c| name == *c);
    let letter = place.and_then(|p| LETTERS.as_bytes().get(p));
    let of = |l: &u8| KINDS.bytes().position(|k| k == *l);
    letter.and_then(of).map_or(UNKNOWN, |k| k as u8)
}

/// The residues of the chain called `name` that have an alpha carbon, in the order of the file;
/// without a name, those of the only chain. The structure has names of atoms.
///
/// Residues are the 20 amino acids and whatever else has N, CA and C.
///
/// # Errors
/// No such chain, several where none is named, fewer than three residues, two of them at the
/// same place.
pub fn of_structure(structure: &Structure, name: Option<&str>) -> Result<(Record, Notes)> {
    let system = &structure.system;
    let members = system.members();
    let (mut record, mut notes) = (Record::default(), Notes::default());
    let mut chain: Option<Label> = None;
    let mut places: HashMap<[u32; 3], usize> = HashMap::new();
    for (residue, atoms) in system.residues.iter().zip(members.iter()) {
        if name.is_some_and(|n| residue.chain != n) {
            continue;
        }
        let kind = kind(residue.name);
        let last = |names: &[&str], carbon: bool| -> Option<Point> {
            let fits = |&&a: &&u32| {
                let label = system.names[a as usize];
                let metal = carbon && system.numbers[a as usize] != 6;
                names.iter().any(|n| label == *n) && !metal
            };
            let atom = atoms.iter().rev().find(fits)?;
            Some(system.positions[*atom as usize].map(f64::from))
        };
        let [n, ca, c] = [last(&["N"], false), last(&["CA"], true), last(&["C"], true)];
        if kind == UNKNOWN && [n, ca, c].iter().any(Option::is_none) {
            continue;
        }
        let Some(ca) = ca else {
            notes.without_carbon += 1;
            continue;
        };
        match chain {
            Some(first) if first != residue.chain => {
                return Err(Error::input(format!(
                    "chains {first} and {}: say which one is meant",
                    residue.chain
                )));
            }
            _ => chain = Some(residue.chain),
        }
        let number = record.kinds.len();
        let place = ca.map(|x| (x as f32).to_bits());
        if let Some(other) = places.insert(place, number) {
            let what = format!(
                "the CA atoms of residues {} and {} of",
                other + 1,
                number + 1
            );
            let chain = residue.chain;
            return Err(Error::input(format!(
                "{what} chain {chain} are at the same place"
            )));
        }
        notes.unknown += usize::from(kind == UNKNOWN);
        notes.without_ends += usize::from(n.is_none() || c.is_none());
        let backbone = [n.unwrap_or(ca), ca, c.unwrap_or(ca)];
        let side = SIDE.map(|names| last(names, false));
        record.kinds.push(kind);
        record.backbone.push(backbone.map(|p| p.map(|x| x as f32)));
        record
            .side
            .push(torsions([n, Some(ca)], side).map(|x| x as f32));
    }
    match record.kinds.len() {
        LEAST.. => Ok((record, notes)),
        count => Err(Error::input(format!(
            "{}: {count} residues with a CA atom; {LEAST} or more are needed",
            name.map_or("its only chain".into(), |n| format!("chain {n:?}"))
        ))),
    }
}

/// Torsions about the bonds of a side chain, given its two first atoms and those of [`SIDE`].
fn torsions(first: [Option<Point>; 2], side: [Option<Point>; 5]) -> [f64; 4] {
    let atoms: Vec<Option<Point>> = first.into_iter().chain(side).collect();
    let bond = |k: usize| Some(sub(atoms[k + 1]?, atoms[k]?));
    let torsion = |k: usize| Some(dihedral([bond(k)?, bond(k + 1)?, bond(k + 2)?]));
    std::array::from_fn(|k| torsion(k).unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_those_of_one_letter_codes() {
        for (name, letter) in [
            ("ALA", 'A'),
            ("ARG", 'R'),
            ("LYS", 'K'),
            ("TRP", 'W'),
            ("VAL", 'V'),
        ] {
            let found = kind(name.into()) as usize;
            assert_eq!(KINDS.as_bytes()[found] as char, letter, "{name}");
        }
        let all: std::collections::BTreeSet<u8> = CANONICAL.map(|n| kind(n.into())).into();
        assert_eq!(all.len(), 20);
        assert_eq!(kind("UNK".into()), UNKNOWN);
    }
}
