//! ProteinNet text files (AlQuraishi 2019, BMC Bioinformatics 20:311), read as streams.
//!
//! A record is a number of sections, of L residues, and an empty line:
//!
//! | section | lines | in a line |
//! |---|---|---|
//! | `[ID]` | 1 | see [`RecordId`] |
//! | `[PRIMARY]` | 1 | L letters |
//! | `[EVOLUTIONARY]` | 21 | L numbers |
//! | `[TERTIARY]` | 3: x, y, z | 3 L numbers: N, CA, C of each residue, in pm |
//! | `[MASK]` | 1 | L signs: `+` where a residue's atoms are known |
//!
//! Sections of other names are skipped. The files have tens of GB: one record is held at a time.

mod id;
mod read;
mod structure;

pub use id::{RecordId, is_pdb_id};
pub use read::read;
pub use structure::structures;

use crate::data::Split;
use crate::{Error, Result};
use std::path::Path;

/// How much of a record to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fields {
    /// The id and the sequence. The other sections may be missing; those that are there are
    /// counted, not parsed.
    Sequence,
    /// The coordinates too: each record must have them.
    Backbone,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub id: RecordId,
    /// Line of the id in its file, from 1.
    pub line: u64,
    /// One letter per residue.
    pub sequence: String,
    /// Present if asked for.
    pub tertiary: Option<Tertiary>,
}

/// Coordinates and mask of a record of L residues.
#[derive(Debug, Clone, PartialEq)]
pub struct Tertiary {
    /// N, CA and C of each residue in Å, `[L]`; not known where the mask is false.
    pub backbone: Vec<[[f32; 3]; 3]>,
    /// `[L]`.
    pub mask: Vec<bool>,
}

/// The residues of a record whose coordinates are known.
#[derive(Debug, Clone, PartialEq)]
pub struct Backbone {
    pub id: RecordId,
    /// One-letter code, place in the sequence from 1, and N, CA, C in Å. An atom at the origin is a
    /// placeholder ([`is_placeholder`]).
    pub residues: Vec<(char, usize, [[f32; 3]; 3])>,
}

/// Whether an atom stands at the origin: ProteinNet writes zeros for atoms that the entry does not
/// have (N and C of entries of CA alone), also where the mask says that the residue is known.
pub fn is_placeholder(atom: &[f32; 3]) -> bool {
    *atom == [0.0; 3]
}

impl Record {
    /// `None` if the coordinates were not asked for.
    pub fn into_backbone(self) -> Option<Backbone> {
        let Tertiary { backbone, mask } = self.tertiary?;
        let letters = self.sequence.chars().zip(1..);
        let residues = letters.zip(backbone).zip(mask);
        let somewhere = |atoms: &[[f32; 3]; 3]| !atoms.iter().all(is_placeholder);
        let known = residues.filter(|((_, atoms), known)| *known && somewhere(atoms));
        Some(Backbone {
            id: self.id,
            residues: known.map(|(((c, n), atoms), _)| (c, n, atoms)).collect(),
        })
    }
}

/// The split that a file's name tells: `training_30`, `training_100`, `validation`, `testing`.
///
/// # Errors
/// The name tells none or several.
pub fn split_of(path: &Path) -> Result<Split> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_ascii_lowercase();
    let split = |word| match word {
        "training" | "train" => Some(Split::Train),
        "validation" => Some(Split::Validation),
        "testing" | "test" => Some(Split::Test),
        _ => None,
    };
    let words = name.split(|c: char| !c.is_ascii_alphabetic());
    let mut splits: Vec<Split> = words.filter_map(split).collect();
    splits.dedup();
    match splits[..] {
        [split] => Ok(split),
        _ => Err(Error::file(
            path,
            "the name does not tell the split: name the file training_…, validation or testing, \
             or give --split-name",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_split() {
        let cases = [
            ("a/training_30", Some(Split::Train)),
            ("training_100.txt.gz", Some(Split::Train)),
            ("casp12-validation", Some(Split::Validation)),
            ("testing", Some(Split::Test)),
            ("latest_training_30", Some(Split::Train)),
            ("casp12/records.txt", None),
            ("training/records.txt", None),
            ("training_and_testing", None),
        ];
        for (name, split) in cases {
            assert_eq!(split_of(Path::new(name)).ok(), split, "{name}");
        }
        let error = split_of(Path::new("x/records")).unwrap_err();
        assert!(error.to_string().starts_with("x/records: "), "{error}");
    }

    #[test]
    fn backbone_is_what_the_mask_shows() {
        let atoms = |x: f32| [[x; 3], [x + 1.0; 3], [x + 2.0; 3]];
        let record = Record {
            id: RecordId::new("1A2B_1_A"),
            line: 2,
            sequence: "AGWM".into(),
            tertiary: Some(Tertiary {
                backbone: vec![atoms(1.0), atoms(0.0), atoms(7.0), [[0.0; 3]; 3]],
                mask: vec![true, false, true, true],
            }),
        };
        let backbone = record.clone().into_backbone().unwrap();
        assert_eq!(backbone.id, record.id);
        let expected = [('A', 1, atoms(1.0)), ('W', 3, atoms(7.0))];
        assert_eq!(backbone.residues, expected);
        let sequence_only = Record {
            tertiary: None,
            ..record
        };
        assert_eq!(sequence_only.into_backbone(), None);
    }
}
