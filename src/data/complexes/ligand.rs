//! Ligands: their heavy atoms, from SDF, MOL2, PDB and mmCIF files, or from a residue of the
//! protein's own file.

use super::{ctfile, mol2};
use crate::data::structure::{Notes, ReadOptions, atomic_number, gunzip, read_any};
use crate::data::system::{Residue, System};
use crate::{Error, Result, files};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where a ligand is found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum LigandPlace {
    File(PathBuf),
    /// A residue of the protein's file: `NAME`, `NAME:CHAIN` or `NAME:CHAIN:NUMBER`, the number
    /// with its insertion code if it has one (`LIG:A:401B`).
    Residue(String),
}

/// An atom as a file names it: its element's symbol and its position in Å.
pub(super) type RawAtom = (String, [f32; 3]);

/// Three coordinates in Å, or what is wrong with them.
pub(super) fn finite(texts: [&str; 3]) -> std::result::Result<[f32; 3], String> {
    let mut position = [0.0; 3];
    for (value, text) in position.iter_mut().zip(texts) {
        let number = text.trim().parse::<f32>().ok();
        *value = number
            .filter(|v| v.abs() <= 1e6)
            .ok_or_else(|| format!("coordinate {text:?} is not a finite number within 1e6 Å"))?;
    }
    Ok(position)
}

/// Reads the heavy atoms of the first molecule of a file; also what there is to tell of it.
///
/// # Errors
/// An unreadable or malformed file, an unknown format or element, no heavy atoms, atoms that all
/// lie in one point or in a drawing (no coordinates).
pub fn read(path: &Path) -> Result<(System, Notes)> {
    let name = path.to_string_lossy().to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let mut notes = Notes::default();
    let ligand = match name.rsplit_once('.').map_or("", |n| n.1) {
        "sdf" | "mol" | "sd" => {
            let text = text(path)?;
            let rest = text.lines().skip_while(|line| !line.starts_with("$$$$"));
            notes.add(
                FURTHER,
                rest.skip(1).any(|line| !line.trim().is_empty()).into(),
            );
            ctfile::atoms(&text).and_then(|a| heavy(&a))
        }
        "mol2" => {
            let text = text(path)?;
            let molecules = text.lines().filter(|l| l.trim() == "@<TRIPOS>MOLECULE");
            notes.add(FURTHER, (molecules.count() > 1).into());
            mol2::atoms(&text).and_then(|a| heavy(&a))
        }
        "pdb" | "ent" | "cif" | "mmcif" => {
            let structure = read_any(path, &ReadOptions::default())?.swap_remove(0);
            notes = structure.notes;
            Ok(without_residues(structure.system))
        }
        other => {
            let what = format!("ligand format {other:?}: use SDF, MOL, MOL2, PDB or mmCIF");
            return Err(Error::file(path, what));
        }
    };
    let ligand = ligand.and_then(checked);
    let ligand = ligand.map_err(|what| Error::file(path, what))?;
    Ok((ligand, notes))
}

const FURTHER: &str = "files of ligands with further molecules, of which the first is read";

/// The heavy atoms of the residue of `path` that `wanted` names ([`LigandPlace::Residue`]).
///
/// # Errors
/// No such residue, or several of them.
pub fn of_residue(path: &Path, wanted: &str) -> Result<System> {
    let mut system = read_any(path, &ReadOptions::default())?
        .swap_remove(0)
        .system;
    let found = find(&system.residues, wanted).map_err(|what| Error::file(path, what))?;
    let keep: Vec<bool> = system
        .residue_of
        .iter()
        .map(|&r| r as usize == found)
        .collect();
    system.retain(&keep);
    checked(without_residues(system))
        .map_err(|what| Error::file(path, format!("residue {wanted}: {what}")))
}

/// The place of the one residue that `wanted` names.
fn find(residues: &[Residue], wanted: &str) -> std::result::Result<usize, String> {
    let mut parts = wanted.splitn(3, ':');
    let (name, chain, number) = (parts.next(), parts.next(), parts.next());
    let code = |r: &Residue| match r.icode {
        b' ' => String::new(),
        code => char::from(code).to_string(),
    };
    let called = |r: &(usize, &Residue)| {
        let r = r.1;
        name == Some(r.name.as_str()) && chain.is_none_or(|c| c == r.chain.as_str())
    };
    let named: Vec<(usize, &Residue)> = residues.iter().enumerate().filter(called).collect();
    let with = |text: &dyn Fn(&Residue) -> String| -> Vec<(usize, &Residue)> {
        let fits = |r: &&(usize, &Residue)| number.is_none_or(|n| n == text(r.1));
        named.iter().filter(fits).copied().collect()
    };
    // The bare number stands for residues with insertion codes where none goes without.
    let mut matching = with(&|r| format!("{}{}", r.number, code(r)));
    if matching.is_empty() {
        matching = with(&|r| r.number.to_string());
    }
    match matching[..] {
        [(only, _)] => Ok(only),
        [] => Err(format!("no residue {wanted}")),
        _ => {
            let all = matching.iter().take(4);
            let all = all.map(|(_, r)| format!("{}:{}:{}{}", r.name, r.chain, r.number, code(r)));
            let (count, all) = (matching.len(), all.collect::<Vec<_>>().join(", "));
            let same = matching.iter().all(|m| m.1 == matching[0].1);
            let mend = match same {
                true => "the file must tell them apart by chain, number or insertion code",
                false => "name one of them",
            };
            Err(format!(
                "{count} residues are called {wanted} ({all}): {mend}"
            ))
        }
    }
}

/// A ligand is one whole, whatever residues its file makes of it.
fn without_residues(system: System) -> System {
    System {
        residue_of: Vec::new(),
        residues: Vec::new(),
        ..system
    }
}

/// Atoms of a file without hydrogens.
pub(super) fn heavy(atoms: &[RawAtom]) -> std::result::Result<System, String> {
    let mut ligand = System::default();
    for (symbol, position) in atoms {
        let number =
            atomic_number(symbol.as_bytes()).ok_or_else(|| format!("{symbol:?} is no element"))?;
        if number != 1 {
            ligand.positions.push(*position);
            ligand.numbers.push(number);
        }
    }
    Ok(ligand)
}

/// Refuses a ligand that is nowhere.
pub(super) fn checked(ligand: System) -> std::result::Result<System, String> {
    let Some(first) = ligand.positions.first() else {
        return Err("no heavy atoms: there is no ligand".into());
    };
    if ligand.len() > 1 && ligand.positions.iter().all(|c| c == first) {
        return Err("no coordinates: all atoms of the ligand lie in one point".into());
    }
    Ok(ligand)
}

fn text(path: &Path) -> Result<String> {
    let raw = files::read(path)?;
    let bytes = match raw.starts_with(&[0x1f, 0x8b]) {
        true => gunzip(path, &raw)?,
        false => raw,
    };
    // Titles and data fields come in whatever encoding; atoms are ASCII.
    Ok(files::lossy_text(files::plain(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::system::Label;

    #[test]
    fn insertion_codes_tell_residues_apart() {
        let residue = |chain: &str, number, icode| Residue {
            chain: chain.into(),
            number,
            icode,
            name: Label::from("LIG"),
        };
        let residues = [
            residue("A", 401, b' '),
            residue("A", 401, b'B'),
            residue("B", 7, b'A'),
            residue("C", 8, b'A'),
            residue("C", 8, b'B'),
        ];
        for (wanted, place) in [
            ("LIG:A:401", 0),
            ("LIG:A:401B", 1),
            ("LIG:B", 2),
            ("LIG:B:7", 2),
            ("LIG:B:7A", 2),
            ("LIG:C:8B", 4),
        ] {
            assert_eq!(find(&residues, wanted), Ok(place), "{wanted}");
        }
        let two = find(&residues, "LIG:C:8").unwrap_err();
        assert!(two.contains("(LIG:C:8A, LIG:C:8B)"), "{two}");
        assert!(
            find(&residues, "LIG")
                .unwrap_err()
                .starts_with("5 residues")
        );
        for none in ["LIG:A:402", "LIG:D", "ATP", "LIG:A:401:B"] {
            assert_eq!(find(&residues, none), Err(format!("no residue {none}")));
        }
    }

    #[test]
    fn titles_in_any_encoding_leave_atoms_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.sdf");
        let atom =
            |x: f32, symbol: &str| format!("{x:10.4}{:10.4}{:10.4} {symbol:<3} 0  0\n", 2.0, 3.0);
        let text = format!(
            "\u{feff}M\u{fc}ller\n  program\n\n  2  0  0  0  0  0  0  0  0  0999 V2000\n{}{}M  END\n> <Auf\u{df}en>\n\u{b5}M\n\n$$$$\n",
            atom(1.0, "C"),
            atom(2.0, "Cl")
        );
        let latin: Vec<u8> = text.chars().skip(1).map(|c| c as u8).collect();
        for bytes in [text.as_bytes(), &latin] {
            std::fs::write(&path, bytes).unwrap();
            let (ligand, notes) = read(&path).unwrap();
            assert_eq!(
                (ligand.formula().as_str(), notes),
                ("C1 Cl1", Notes::default())
            );
        }
        std::fs::write(&path, text.repeat(2)).unwrap();
        let (ligand, notes) = read(&path).unwrap();
        assert_eq!(
            (ligand.formula().as_str(), notes.count(FURTHER)),
            ("C1 Cl1", 1)
        );
    }
}
