//! Structures made of ProteinNet's own backbone coordinates.

use super::{Backbone, Fields, is_placeholder, read};
use crate::data::Split;
use crate::data::dataset::Chosen;
use crate::data::structure::{CANONICAL, Notes, Structure};
use crate::data::system::{Label, Residue, System};
use crate::{Error, Result};
use std::path::Path;

/// One-letter codes in the order of [`CANONICAL`].
const LETTERS: &str = "ARNDCQEGHILKMFPSTWYV";

/// Elements of N, CA and C, and the place of CA among them.
const ELEMENTS: [u8; 3] = [7, 6, 6];
const CA: usize = 1;

/// Every record of some files with at least one resolved residue, as a structure of N, CA and C
/// atoms; residues are numbered by their place in the sequence.
///
/// # Errors
/// Those of [`read`].
pub fn structures<P: AsRef<Path>>(files: &[(P, Split)]) -> Result<Vec<Chosen>> {
    let mut chosen = Vec::new();
    for (path, split) in files {
        let path = path.as_ref();
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        read(path, Fields::Backbone, |record| {
            let backbone = record.into_backbone().ok_or_else(|| {
                Error::internal("a record was read without the coordinates asked for")
            })?;
            if !backbone.residues.is_empty() {
                let structure =
                    structure(&backbone, &file).map_err(|what| Error::file(path, what))?;
                chosen.push(Chosen {
                    structure,
                    split: *split,
                    chains: None,
                    complex: None,
                });
            }
            Ok(())
        })?;
    }
    Ok(chosen)
}

fn structure(backbone: &Backbone, file: &str) -> std::result::Result<Structure, String> {
    let id = &backbone.id;
    let chain = id.chain.as_deref().unwrap_or("A");
    let chain = Label::short(chain.as_bytes()).ok_or_else(|| {
        format!(
            "record {}: chain {chain:?} is longer than eight ASCII characters",
            id.text
        )
    })?;
    let mut system = System::default();
    let mut centres = Vec::new();
    let mut notes = Notes::default();
    for (letter, number, atoms) in &backbone.residues {
        let place = LETTERS.find(*letter);
        let name = place.map_or("UNK", |i| CANONICAL[i]);
        let residue = system.residues.len() as u32;
        for (k, atom) in atoms.iter().enumerate() {
            if is_placeholder(atom) {
                let what = "atoms at the origin under a \"+\" of ProteinNet, which are left out";
                notes.add(what, 1);
                continue;
            }
            if k == CA && place.is_some() {
                centres.push(system.len() as u32);
            }
            system.positions.push(*atom);
            system.numbers.push(ELEMENTS[k]);
            system.residue_of.push(residue);
        }
        system.residues.push(Residue {
            chain,
            number: i32::try_from(*number).map_err(|_| format!("record {}: too long", id.text))?,
            icode: b' ',
            name: name.into(),
        });
    }
    // A file holds tens of thousands of records: the digest is of this record's coordinates.
    let bytes: Vec<u8> = system
        .positions
        .as_flattened()
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    Ok(Structure {
        id: id.text.clone(),
        file: file.to_string(),
        format: "proteinnet".into(),
        digest: xxhash_rust::xxh3::xxh3_128(&bytes),
        model: 1,
        system,
        centres,
        notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::proteinnet::RecordId;

    #[test]
    fn zeros_are_no_atoms() {
        let (zero, at) = ([0.0; 3], [1.0, 2.0, 3.0]);
        let backbone = Backbone {
            id: RecordId::new("1A2B_1_B"),
            residues: vec![('G', 1, [zero, at, zero]), ('A', 2, [at, zero, at])],
        };
        let s = structure(&backbone, "training_30").unwrap();
        assert_eq!(s.system.numbers, [6, 7, 6]);
        assert_eq!(
            (&s.centres[..], &s.system.residue_of[..]),
            (&[0][..], &[0, 1, 1][..])
        );
        assert_eq!(s.notes.lines().count(), 1);
        assert!(
            s.notes
                .lines()
                .all(|l| l.starts_with("atoms at the origin") && l.contains(": 3"))
        );
    }

    #[test]
    fn a_record_becomes_residues_of_three_atoms() {
        let at = |x: f32| [[x, 0.0, 9.0], [x, 1.0, 9.0], [x, 2.0, 9.0]];
        let backbone = Backbone {
            id: RecordId::new("1A2B_1_B"),
            residues: vec![('G', 3, at(0.0)), ('X', 4, at(3.0)), ('W', 7, at(6.0))],
        };
        let s = structure(&backbone, "training_30").unwrap();
        assert_eq!(s.system.numbers, [7, 6, 6, 7, 6, 6, 7, 6, 6]);
        assert_eq!(s.centres, [1, 7]);
        let names: Vec<_> = s
            .system
            .residues
            .iter()
            .map(|r| (r.name.as_str(), r.number, r.chain.as_str()))
            .collect();
        assert_eq!(names, [("GLY", 3, "B"), ("UNK", 4, "B"), ("TRP", 7, "B")]);
        assert_eq!(s.system.positions[7], [6.0, 1.0, 9.0]);
    }
}
