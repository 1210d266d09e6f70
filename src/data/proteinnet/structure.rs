//! Structures made of ProteinNet's own backbone coordinates.

use super::{Backbone, Fields, read};
use crate::data::Split;
use crate::data::dataset::Chosen;
use crate::data::structure::{CANONICAL, Structure};
use crate::data::system::{Label, Residue, System};
use crate::{Error, Result};
use std::path::Path;

/// One-letter codes in the order of [`CANONICAL`].
const LETTERS: &str = "ARNDCQEGHILKMFPSTWYV";

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
    for (letter, number, [n, ca, c]) in &backbone.residues {
        let place = LETTERS.find(*letter);
        let name = place.map_or("UNK", |i| CANONICAL[i]);
        if place.is_some() {
            centres.push(system.len() as u32 + 1);
        }
        system.residue_of.extend([system.residues.len() as u32; 3]);
        system.residues.push(Residue {
            chain,
            number: i32::try_from(*number).map_err(|_| format!("record {}: too long", id.text))?,
            icode: b' ',
            name: name.into(),
        });
        system.positions.extend([*n, *ca, *c]);
        system.numbers.extend([7, 6, 6]);
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
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::proteinnet::RecordId;

    #[test]
    fn a_record_becomes_residues_of_three_atoms() {
        let at = |x: f32| [[x, 0.0, 0.0], [x, 1.0, 0.0], [x, 2.0, 0.0]];
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
        assert_eq!(s.system.positions[7], [6.0, 1.0, 0.0]);
    }
}
