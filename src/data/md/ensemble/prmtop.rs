//! AMBER PRMTOP (parm7) topologies.

use super::topology::{RawAtom, assemble};
use crate::data::system::System;
use crate::{Error, Result, files};
use std::collections::HashMap;
use std::path::Path;

pub(super) fn read(path: &Path) -> Result<System<f64>> {
    let text = files::read_columns(path)?;
    parse(&text).map_err(|what| Error::file(path, what))
}

/// Fields of each section, cut at the width that its FORMAT line gives.
fn sections(text: &str) -> std::result::Result<HashMap<&str, Vec<&str>>, String> {
    let mut sections: HashMap<&str, Vec<&str>> = HashMap::new();
    let (mut flag, mut width) = (None, 0);
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("%FLAG") {
            flag = Some(name.trim());
            sections.insert(name.trim(), Vec::new());
        } else if let Some(format) = line.strip_prefix("%FORMAT") {
            width = field_width(format)
                .ok_or_else(|| format!("not an AMBER topology: format {}", format.trim()))?;
        } else if line.starts_with('%') {
            // A remark (`%COMMENT`), or a directive that holds no fields (`%VERSION`).
        } else if let Some(fields) = flag.and_then(|f| sections.get_mut(f)) {
            let mut rest = line;
            while !rest.is_empty() && width > 0 && rest.is_ascii() {
                let (field, further) = rest.split_at(width.min(rest.len()));
                fields.push(field.trim());
                rest = further;
            }
        }
    }
    if sections.is_empty() {
        return Err("not an AMBER topology: no %FLAG line".into());
    }
    Ok(sections)
}

/// 8 of `(10I8)`, 16 of `(5E16.8)`, 4 of `(20a4)`.
fn field_width(format: &str) -> Option<usize> {
    let inner = format.trim().strip_prefix('(')?.strip_suffix(')')?;
    let after = inner.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits: String = after
        .chars()
        .skip(1)
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().ok().filter(|&w| w > 0)
}

fn parse(text: &str) -> std::result::Result<System<f64>, String> {
    let sections = sections(text)?;
    let section = |name: &str| {
        let fields = sections.get(name).map(Vec::as_slice);
        fields.ok_or_else(|| format!("section {name} is missing"))
    };
    let numbers = |name: &str| -> std::result::Result<Vec<i64>, String> {
        let bad = |f: &str| format!("section {name}: {f:?} is not a number");
        section(name)?
            .iter()
            .map(|f| f.parse().map_err(|_| bad(f)))
            .collect()
    };
    let count = *numbers("POINTERS")?
        .first()
        .ok_or("section POINTERS is empty")? as usize;
    let names = section("ATOM_NAME")?;
    let labels = section("RESIDUE_LABEL")?;
    let starts = numbers("RESIDUE_POINTER")?;
    if names.len() < count || labels.len() < starts.len() {
        return Err("truncated: fewer atoms or residues than it announces".into());
    }
    let elements = match sections.contains_key("ATOMIC_NUMBER") {
        true => numbers("ATOMIC_NUMBER")?,
        false => Vec::new(),
    };
    let masses = sections.get("MASS").map(Vec::as_slice).unwrap_or_default();

    let mut residue = 0;
    let atoms: Vec<RawAtom> = (0..count)
        .map(|i| {
            while starts.get(residue + 1).is_some_and(|&s| s <= i as i64 + 1) {
                residue += 1;
            }
            RawAtom {
                name: names[i].to_string(),
                // Extra points and unknown elements have numbers below one.
                element: elements
                    .get(i)
                    .and_then(|&n| u8::try_from(n).ok())
                    .filter(|&n| n > 0),
                mass: masses.get(i).and_then(|m| m.parse().ok()),
                key: residue as u64,
                residue_name: labels.get(residue).unwrap_or(&"").to_string(),
                residue_number: residue as i32 + 1,
                chain: String::new(),
            }
        })
        .collect();
    let mut bonds = Vec::new();
    for name in ["BONDS_INC_HYDROGEN", "BONDS_WITHOUT_HYDROGEN"] {
        for bond in numbers(name)?.chunks_exact(3) {
            // Three times the atom's number, an offset into a flat array of coordinates.
            let ends = [bond[0] / 3, bond[1] / 3];
            if ends.iter().any(|&e| e < 0 || e as usize >= count) {
                return Err(format!(
                    "section {name}: a bond to an atom that is not there"
                ));
            }
            bonds.push(ends.map(|e| e as u32));
        }
    }
    Ok(assemble(&atoms, bonds, Vec::new(), None))
}

#[cfg(test)]
mod tests {
    use super::super::solvent::Residues;
    use super::*;

    const TEXT: &str = "%VERSION  VERSION_STAMP = V0001.000
%FLAG POINTERS
%FORMAT(10I8)
       5       2
%FLAG ATOM_NAME
%FORMAT(20a4)
N   CA  C   O   H1  
%FLAG MASS
%FORMAT(5E16.8)
  1.40100000E+01  1.20100000E+01  1.20100000E+01  1.60000000E+01  1.00800000E+00
%FLAG RESIDUE_LABEL
%FORMAT(20a4)
ALA WAT 
%FLAG RESIDUE_POINTER
%FORMAT(10I8)
       1       4
%FLAG BONDS_INC_HYDROGEN
%FORMAT(10I8)
       9      12       1
%FLAG BONDS_WITHOUT_HYDROGEN
%FORMAT(10I8)
       0       3       1       3       6       2
";

    #[test]
    fn atoms_residues_and_bonds_are_read() {
        let system = parse(TEXT).unwrap();
        assert_eq!(system.numbers, [7, 6, 6, 8, 1]);
        assert_eq!(system.bonds, [[0, 1], [1, 2], [3, 4]]);
        assert_eq!(system.members().of(1), [3, 4]);
        assert_eq!(Residues::new(&system).solute(), [0, 1, 2]);
    }

    #[test]
    fn numbers_or_else_masses_tell_the_elements_of_ligands() {
        let ligand = TEXT
            .replace("N   CA  C   ", "X1  CA1 FE  ")
            .replace("ALA ", "LIG ");
        let masses = ligand.replace(
            "  1.40100000E+01  1.20100000E+01  1.20100000E+01",
            "  3.54500000E+01  4.00800000E+01  1.89980000E+01",
        );
        assert_eq!(parse(&masses).unwrap().numbers, [17, 20, 9, 8, 1]);
        // Where a number is none, the name tells.
        let numbers = format!(
            "{ligand}%FLAG ATOMIC_NUMBER\n%FORMAT(10I8)\n{:8}{:8}{:8}{:8}{:8}\n",
            17, 20, 9, 8, -1
        );
        assert_eq!(parse(&numbers).unwrap().numbers, [17, 20, 9, 8, 1]);
    }

    #[test]
    fn remarks_hold_no_fields() {
        let remark = "%COMMENT  made by a test\n";
        let text = TEXT
            .replace("%FORMAT", &format!("{remark}%FORMAT"))
            .replace("%FLAG RESIDUE", &format!("{remark}%FLAG RESIDUE"));
        assert_eq!(parse(&text).unwrap(), parse(TEXT).unwrap());
    }

    #[test]
    fn damage_is_told() {
        let refused = |text: &str, what: &str| {
            let message = parse(text).unwrap_err();
            assert!(message.contains(what), "{message}");
        };
        refused("hello\n", "no %FLAG line");
        refused(
            &TEXT.replace("ATOM_NAME", "ATOM"),
            "section ATOM_NAME is missing",
        );
        refused(
            &TEXT.replace("       9      12", "      99      12"),
            "not there",
        );
        refused(
            &TEXT.replace("       5       2", "       9       2"),
            "truncated",
        );
    }
}
