//! A dataset of protein structures: heavy atoms, residues, the CA atoms that neighborhoods are
//! centred on, and splits. Atoms are stored once; neighborhoods are found when they are needed
//! ([`super::neighborhoods`]), so the file is about 15 bytes an atom before compression.
//!
//! All per-structure arrays are concatenated; `*_offsets[i]..*_offsets[i + 1]` is structure `i`.

mod file;

use super::complexes::Packing;
use super::structure::{ReadOptions, Structure};
use super::system::{Atoms, Label, Residue};
use super::{Split, folds};
use crate::{Error, Result};
use std::collections::HashSet;

/// Where a structure came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Provenance {
    pub id: String,
    /// Name of the source file.
    pub file: String,
    /// `pdb`, `mmcif` or `proteinnet`.
    pub format: String,
    /// XXH3-128 of the source file.
    pub digest: u128,
    /// Number of the model in the source file.
    pub model: i32,
    pub split: Split,
    /// What is known of a complex.
    pub complex: Option<Bound>,
}

/// A complex of a protein and its ligand.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Bound {
    /// The residue that is the ligand, counted from the structure's first.
    pub ligand: u32,
    /// Negative decadic logarithm of Kd, Ki or IC50 in mol/l.
    pub affinity: Option<f64>,
    /// Complexes of one group, such as those of like proteins, are kept together.
    pub group: Option<String>,
}

/// A structure with what `prepare` decided about it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Chosen {
    pub structure: Structure,
    pub split: Split,
    /// Chains whose residues are centres; `None` for all. Atoms of all chains stay.
    pub chains: Option<Vec<String>>,
    /// What is known of a complex.
    pub complex: Option<Bound>,
}

/// What [`Dataset::settings`] tells that is asked for again.
#[derive(serde::Deserialize)]
struct Kept {
    read: Option<ReadOptions>,
    complexes: Option<Packing>,
}

/// A residue's full name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResidueId<'a> {
    pub structure: &'a str,
    pub residue: &'a Residue,
}

/// Everything of a dataset, in memory.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dataset {
    structures: Vec<Provenance>,
    atom_offsets: Vec<u64>,
    residue_offsets: Vec<u64>,
    /// Å.
    coordinates: Vec<[f32; 3]>,
    /// Atomic numbers.
    elements: Vec<u8>,
    /// Residue of each atom, counted from its structure's first.
    residue_of: Vec<u32>,
    residues: Vec<Residue>,
    /// Structure of each centre.
    centre_structure: Vec<u32>,
    /// Atom of each centre, counted from its structure's first.
    centre_atom: Vec<u32>,
    /// Centres by split.
    splits: [Vec<u32>; 3],
    /// How the dataset was prepared, as TOML.
    settings: String,
    /// Identifies the content; empty until the dataset has been a file.
    fingerprint: String,
}

impl Dataset {
    /// Packs structures in the given order. `settings` tells how they were read.
    ///
    /// # Errors
    /// Two structures of the same id; more centres than 32 bits can number.
    pub fn pack(chosen: &[Chosen], settings: &str) -> Result<Self> {
        let mut seen = HashSet::new();
        let mut d = Dataset {
            atom_offsets: vec![0],
            residue_offsets: vec![0],
            settings: settings.to_string(),
            ..Dataset::default()
        };
        for c in chosen {
            let s = &c.structure;
            if !seen.insert(&s.id) {
                let what = format!(
                    "two structures are called {}; rename or leave out one ({})",
                    s.id, s.file
                );
                return Err(Error::input(what));
            }
            d.push(c);
        }
        if d.centre_atom.len() > u32::MAX as usize {
            return Err(Error::input(
                "more than 4,294,967,295 neighborhoods: split the dataset",
            ));
        }
        d.index_splits();
        Ok(d)
    }

    /// The structures as a dataset in memory, with the residues of all chains as centres, for
    /// what looks at every residue and asks for no split. All count as test structures.
    ///
    /// # Errors
    /// As [`Dataset::pack`].
    pub fn of_structures(structures: Vec<Structure>) -> Result<Self> {
        let chosen: Vec<Chosen> = structures
            .into_iter()
            .map(|structure| Chosen {
                structure,
                split: Split::Test,
                chains: None,
                complex: None,
            })
            .collect();
        Self::pack(&chosen, "")
    }

    fn push(&mut self, chosen: &Chosen) {
        let s = &chosen.structure;
        let wanted = |residue: &Residue| match &chosen.chains {
            None => true,
            Some(chains) => chains.iter().any(|c| c == residue.chain.as_str()),
        };
        let number = self.structures.len() as u32;
        for &atom in &s.centres {
            if wanted(s.system.residue(atom)) {
                self.centre_structure.push(number);
                self.centre_atom.push(atom);
            }
        }
        self.structures.push(Provenance {
            id: s.id.clone(),
            file: s.file.clone(),
            format: s.format.clone(),
            digest: s.digest,
            model: s.model,
            split: chosen.split,
            complex: chosen.complex.clone(),
        });
        self.coordinates.extend(&s.system.positions);
        self.elements.extend(&s.system.numbers);
        self.residue_of.extend(&s.system.residue_of);
        self.residues.extend(&s.system.residues);
        self.atom_offsets.push(self.coordinates.len() as u64);
        self.residue_offsets.push(self.residues.len() as u64);
    }

    /// Puts the structures of another dataset, with their centres and splits, behind this one's.
    ///
    /// # Errors
    /// A structure that both have; structures that were read otherwise.
    pub fn append(&mut self, other: Dataset) -> Result<()> {
        let own: HashSet<&str> = self.structures.iter().map(|s| s.id.as_str()).collect();
        if let Some(both) = other
            .structures
            .iter()
            .find(|s| own.contains(s.id.as_str()))
        {
            return Err(Error::input(format!("structure {} is in both", both.id)));
        }
        let (read, others) = (self.read_options()?, other.read_options()?);
        if read.unwrap_or_default() != others.unwrap_or_default() {
            return Err(Error::input(
                "its structures were read with other options (hydrogens, hetero atoms, elements)",
            ));
        }
        let structures = self.structures.len() as u32;
        let (atoms, residues) = (self.coordinates.len() as u64, self.residues.len() as u64);
        self.structures.extend(other.structures);
        let behind = |offsets: Vec<u64>, by: u64| offsets.into_iter().skip(1).map(move |o| o + by);
        self.atom_offsets.extend(behind(other.atom_offsets, atoms));
        self.residue_offsets
            .extend(behind(other.residue_offsets, residues));
        self.coordinates.extend(other.coordinates);
        self.elements.extend(other.elements);
        self.residue_of.extend(other.residue_of);
        self.residues.extend(other.residues);
        let centres = other.centre_structure.iter().map(|s| s + structures);
        self.centre_structure.extend(centres);
        self.centre_atom.extend(other.centre_atom);
        self.index_splits();
        Ok(())
    }

    fn index_splits(&mut self) {
        self.splits = Default::default();
        for (centre, &structure) in self.centre_structure.iter().enumerate() {
            let split = self.structures[structure as usize].split;
            self.splits[split as usize].push(centre as u32);
        }
    }

    pub fn structures(&self) -> &[Provenance] {
        &self.structures
    }

    /// Number of centres, that is, of neighborhoods.
    pub fn len(&self) -> usize {
        self.centre_atom.len()
    }

    pub fn is_empty(&self) -> bool {
        self.centre_atom.is_empty()
    }

    pub fn atom_count(&self) -> usize {
        self.coordinates.len()
    }

    pub fn residue_count(&self) -> usize {
        self.residues.len()
    }

    /// Centres of a split, ascending.
    pub fn split(&self, split: Split) -> &[u32] {
        &self.splits[split as usize]
    }

    /// How the dataset was prepared, as TOML.
    pub fn settings(&self) -> &str {
        &self.settings
    }

    /// How the structures were read, if [`Dataset::settings`] tells.
    ///
    /// # Errors
    /// Settings of another program, or of a newer one.
    pub fn read_options(&self) -> Result<Option<ReadOptions>> {
        Ok(self.kept()?.read)
    }

    /// How complexes became structures, if [`Dataset::settings`] tells.
    ///
    /// # Errors
    /// Settings of another program, or of a newer one.
    pub fn packing(&self) -> Result<Option<Packing>> {
        Ok(self.kept()?.complexes)
    }

    fn kept(&self) -> Result<Kept> {
        toml::from_str(&self.settings)
            .map_err(|e| Error::input(format!("settings of the dataset: {}", e.message())))
    }

    /// The groups of some structures, for [`super::folds::deal`]: a complex without one is a group by
    /// itself.
    pub fn groups(&self, structures: &[u32]) -> Vec<String> {
        let group = |&s: &u32| {
            let known = self.complex(s as usize).and_then(|c| c.group.clone());
            known.unwrap_or_else(|| folds::alone(s as usize))
        };
        structures.iter().map(group).collect()
    }

    /// Identifies the content of the file that this was read from.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// What is known of structure `structure` as a complex; nothing of one without a ligand.
    pub fn complex(&self, structure: usize) -> Option<&Bound> {
        self.structures[structure].complex.as_ref()
    }

    /// Atoms of structure `structure`.
    pub fn atoms(&self, structure: usize) -> Atoms<'_> {
        let range =
            self.atom_offsets[structure] as usize..self.atom_offsets[structure + 1] as usize;
        Atoms {
            numbers: &self.elements[range.clone()],
            positions: &self.coordinates[range.clone()],
            residue_of: &self.residue_of[range],
            ligand: self.complex(structure).map(|c| c.ligand),
        }
    }

    /// Residues of structure `structure`.
    pub fn residues(&self, structure: usize) -> &[Residue] {
        let range =
            self.residue_offsets[structure] as usize..self.residue_offsets[structure + 1] as usize;
        &self.residues[range]
    }

    /// Structure and atom (counted from the structure's first) of a centre.
    pub fn centre(&self, centre: u32) -> (usize, usize) {
        let i = centre as usize;
        (
            self.centre_structure[i] as usize,
            self.centre_atom[i] as usize,
        )
    }

    /// The residue of a centre.
    pub fn residue(&self, centre: u32) -> ResidueId<'_> {
        let (structure, atom) = self.centre(centre);
        let residue = self.atoms(structure).residue_of[atom] as u64;
        ResidueId {
            structure: &self.structures[structure].id,
            residue: &self.residues[(self.residue_offsets[structure] + residue) as usize],
        }
    }
}

/// A label from a string that a file held.
fn label(text: &str) -> Option<Label> {
    Label::short(text.as_bytes())
}
