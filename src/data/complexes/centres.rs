//! Atoms of a complex on which neighborhoods are centred, and complexes as structures of a dataset.

use super::Complex;
use crate::data::Split;
use crate::data::dataset::{Bound, Chosen};
use crate::data::system::System;
use serde::{Deserialize, Serialize};

/// Å between heavy atoms of protein and ligand that are in contact.
pub const CONTACT: f64 = 4.0;

/// Which atoms of a complex are centres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Centres {
    /// CA atoms of the residues around the ligand
    #[default]
    Ca,
    /// Heavy atoms of the ligand
    Ligand,
    /// Heavy atoms of the protein within 4 Å of the ligand
    Contacts,
}

impl Centres {
    pub fn name(self) -> &'static str {
        match self {
            Centres::Ca => "ca",
            Centres::Ligand => "ligand",
            Centres::Contacts => "contacts",
        }
    }

    /// The centres of a complex, numbered as in [`Complex::joined`]; CA atoms within `cutoff` (Å,
    /// inclusive) of a heavy atom of the ligand.
    pub fn of(self, complex: &Complex, cutoff: f64) -> Near {
        let protein = &complex.structure.system;
        let ligand = &complex.ligand;
        let mut near = Near {
            centres: Vec::new(),
            distances: Vec::new(),
            nearest: f64::INFINITY,
        };
        let all: Box<dyn Iterator<Item = u32>> = match self {
            Centres::Contacts => Box::new(0..protein.len() as u32),
            Centres::Ca | Centres::Ligand => Box::new(complex.structure.centres.iter().copied()),
        };
        let limit = match self {
            Centres::Contacts => CONTACT,
            Centres::Ca | Centres::Ligand => cutoff,
        };
        for atom in all {
            let distance = nearest(protein.positions[atom as usize], &ligand.positions);
            near.nearest = near.nearest.min(distance);
            if distance <= limit {
                near.centres.push(atom);
                near.distances.push(distance as f32);
            }
        }
        if self == Centres::Ligand && !near.centres.is_empty() {
            near.centres = (0..ligand.len())
                .map(|i| (protein.len() + i) as u32)
                .collect();
            let to_protein = |&at: &[f32; 3]| nearest(at, &protein.positions) as f32;
            near.distances = ligand.positions.iter().map(to_protein).collect();
        }
        near
    }
}

/// Å from a point to the nearest of some others.
fn nearest(at: [f32; 3], others: &[[f32; 3]]) -> f64 {
    let squared = |o: &[f32; 3]| -> f64 {
        let d = |k: usize| f64::from(o[k]) - f64::from(at[k]);
        (0..3).map(|k| d(k).powi(2)).sum()
    };
    others
        .iter()
        .map(squared)
        .fold(f64::INFINITY, f64::min)
        .sqrt()
}

/// Centres near a ligand.
#[derive(Debug, Clone, PartialEq)]
pub struct Near {
    /// Ascending.
    pub centres: Vec<u32>,
    /// Å, of each centre to the nearest heavy atom of the other side.
    pub distances: Vec<f32>,
    /// Å, of the nearest of all candidates on the protein's side.
    pub nearest: f64,
}

impl Near {
    pub fn keep(&mut self, wanted: impl Fn(u32) -> bool) {
        let both = self.centres.iter().zip(&self.distances);
        let kept = both.filter(|(atom, _)| wanted(**atom));
        (self.centres, self.distances) = kept.map(|(a, d)| (*a, *d)).unzip();
    }

    /// Why there is no centre.
    pub fn reason(&self, cutoff: f64) -> String {
        format!(
            "no pocket: the CA nearest to the ligand is {:.1} Å away, the cutoff {cutoff} Å; is the \
             ligand in the protein's frame?",
            self.nearest
        )
    }
}

/// How complexes become structures of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Packing {
    pub centres: Centres,
    /// Å from a CA to the ligand.
    pub cutoff: f64,
    /// Å: atoms farther than this from every heavy atom of the ligand are left out.
    pub reach: f64,
}

impl Complex {
    /// Protein and ligand as one system, the ligand behind the protein, and the ligand's residue.
    pub fn joined(self) -> (System, u32) {
        let mut system = self.structure.system;
        system.append(self.ligand);
        let ligand = system.residues.len() as u32 - 1;
        (system, ligand)
    }

    /// The complex as a structure called `id`.
    ///
    /// # Errors
    /// No centre within the cutoff.
    pub fn packed(self, id: &str, split: Split, packing: &Packing) -> Result<Chosen, String> {
        let near = packing.centres.of(&self, packing.cutoff);
        if near.centres.is_empty() {
            return Err(near.reason(packing.cutoff));
        }
        let mut structure = self.structure.clone();
        let positions = self.ligand.positions.clone();
        let affinity = self.affinity;
        let (mut system, ligand) = self.joined();
        let within = |at: &[f32; 3]| nearest(*at, &positions) <= packing.reach;
        let mut keep: Vec<bool> = system.positions.iter().map(within).collect();
        near.centres.iter().for_each(|&c| keep[c as usize] = true);
        let new = system.retain(&keep);
        structure.id = id.to_string();
        structure.centres = near.centres.iter().map(|&c| new[c as usize]).collect();
        structure.system = system;
        Ok(Chosen {
            structure,
            split,
            chains: None,
            complex: Some(Bound {
                ligand,
                affinity,
                group: None,
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::structure::Structure;
    use crate::data::system::Residue;

    /// Three residues of a CA and a side-chain atom in a row, 6 Å apart, and a ligand of two atoms
    /// above the first.
    fn complex() -> Complex {
        let at = |i: usize| {
            [
                6.0 * (i / 2) as f32,
                if i % 2 == 1 { 1.5 } else { 0.0 },
                0.0,
            ]
        };
        Complex {
            structure: Structure {
                id: "x".into(),
                file: "x.pdb".into(),
                format: "pdb".into(),
                digest: 1,
                model: 1,
                system: System {
                    numbers: [6, 8].repeat(3),
                    positions: (0..6).map(at).collect(),
                    residue_of: vec![0, 0, 1, 1, 2, 2],
                    residues: vec![Residue::default(); 3],
                    ..System::default()
                },
                centres: vec![0, 2, 4],
                notes: Default::default(),
            },
            ligand: System {
                numbers: vec![7, 17],
                positions: vec![[0.0, 5.0, 0.0], [0.0, 6.5, 0.0]],
                ..System::default()
            },
            affinity: None,
            shared_atoms: 0,
        }
    }

    #[test]
    fn centres_are_where_they_are_asked_for() {
        let of = |centres: Centres, cutoff| centres.of(&complex(), cutoff);
        let near = of(Centres::Ca, 8.0);
        assert_eq!((near.centres, near.distances[0]), (vec![0, 2], 5.0));
        let near = of(Centres::Ligand, 8.0);
        assert_eq!((near.centres, near.distances), (vec![6, 7], vec![3.5, 5.0]));
        assert_eq!(of(Centres::Contacts, 8.0).centres, [1]);
        assert!(of(Centres::Ligand, 4.0).centres.is_empty());
        assert!(of(Centres::Ca, 4.0).reason(4.0).contains("5.0 Å away"));
    }

    #[test]
    fn a_complex_is_packed_with_what_is_in_reach() {
        let packing = Packing {
            centres: Centres::Ca,
            cutoff: 8.0,
            reach: 8.0,
        };
        let chosen = complex().packed("c", Split::Train, &packing).unwrap();
        let s = &chosen.structure;
        let bound = chosen.complex.as_ref().unwrap();
        assert_eq!((s.id.as_str(), bound.ligand), ("c", 3));
        assert_eq!(s.system.numbers, [6, 8, 6, 8, 7, 17]);
        assert_eq!(s.system.residue_of, [0, 0, 1, 1, 3, 3]);
        assert_eq!(s.centres, [0, 2]);
        let far = Packing {
            cutoff: 3.0,
            ..packing
        };
        assert!(complex().packed("c", Split::Train, &far).is_err());
    }
}
