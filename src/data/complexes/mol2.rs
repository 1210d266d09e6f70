//! Atoms of a molecule in a Tripos MOL2 file.

use super::ligand::{RawAtom, finite};
use crate::data::names::{self, Named};
use crate::data::structure::atomic_number;
use crate::elements;

/// The atoms of the first molecule: lines `id name x y z type ...` under `@<TRIPOS>ATOM`.
///
/// # Errors
/// What is wrong and in which line.
pub(super) fn atoms(text: &str) -> Result<Vec<RawAtom>, String> {
    let mut atoms = Vec::new();
    let mut lines = text.lines().enumerate();
    if !lines.any(|(_, line)| line.trim() == "@<TRIPOS>ATOM") {
        return Err("no @<TRIPOS>ATOM section: truncated, or not a MOL2 file".into());
    }
    for (i, line) in lines {
        if line.starts_with("@<TRIPOS>") {
            break;
        }
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let at_line = |what: String| format!("line {}: {what}", i + 1);
        let fields: Vec<&str> = line.split_whitespace().collect();
        let &[_, name, x, y, z, kind, ..] = fields.as_slice() else {
            return Err(at_line(format!("{line:?} is not an atom of MOL2")));
        };
        let symbol = kind.split('.').next().unwrap_or_default();
        // Lone pairs and dummy atoms are no matter.
        if matches!(symbol, "LP" | "Du") {
            continue;
        }
        let position = finite([x, y, z]).map_err(at_line)?;
        let number = element(kind, name).ok_or_else(|| {
            at_line(format!(
                "{kind:?} is neither a SYBYL nor a GAFF atom type that names an element; write \
                 SYBYL types (antechamber -at sybyl) or an SDF file"
            ))
        })?;
        let symbol = elements::symbol(number).unwrap_or_default();
        atoms.push((symbol.to_string(), position));
    }
    Ok(atoms)
}

/// The element of an atom type: what stands before the point of a SYBYL type (`C.ar`, `N.pl3`,
/// `Cl`), which is written as symbols are. Types of force fields, in lower case (GAFF: `ca` is an
/// aromatic carbon) or upper case (AMBER, CGenFF), begin with the letter of their element, but for
/// chlorine, bromine and metals, which the atom's name tells.
fn element(kind: &str, name: &str) -> Option<u8> {
    let symbol = kind.split('.').next().unwrap_or_default();
    let mut letters = symbol.chars();
    let sybyl = letters.next().is_some_and(|c| c.is_ascii_uppercase())
        && letters.all(|c| c.is_ascii_lowercase());
    if sybyl && let Some(number) = atomic_number(symbol.as_bytes()) {
        return Some(number);
    }
    if matches!(symbol, "Any" | "Hal" | "Het" | "Hev") {
        return None;
    }
    let first = symbol.chars().next()?.to_ascii_uppercase();
    let of_name = names::element(&Named {
        name: name.as_bytes(),
        ..Named::default()
    });
    let two = symbol.get(..2).unwrap_or_default().to_ascii_uppercase();
    match (two.as_str(), first) {
        ("CL" | "BR" | "SI", _) => atomic_number(two.as_bytes()),
        (_, 'H' | 'C' | 'N' | 'O' | 'F' | 'P' | 'S' | 'I' | 'B') => {
            let symbol = elements::symbol(of_name).unwrap_or_default();
            // A metal's type and name begin alike (`NA` of sodium and of nitrogen do, too).
            let metal = symbol.len() == 2 && symbol.eq_ignore_ascii_case(&two);
            match metal {
                true => Some(of_name),
                false => atomic_number(first.to_string().as_bytes()),
            }
        }
        _ => atomic_number(two.as_bytes()).filter(|&z| z == of_name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_any_program_name_elements() {
        for (kind, name, number) in [
            ("C.ar", "C1", 6),
            ("N.pl3", "N1", 7),
            ("Cl", "CL1", 17),
            ("Ca", "CA", 20),
            ("Co.oh", "CO", 27),
            ("ca", "C1", 6),
            ("cd", "C3", 6),
            ("cl", "CL1", 17),
            ("br", "BR1", 35),
            ("no", "N1", 7),
            ("na", "N2", 7),
            ("nb", "N3", 7),
            ("os", "O1", 8),
            ("ho", "H1", 1),
            ("p5", "P1", 15),
            ("CT", "C7", 6),
            ("OH", "O4", 8),
            ("CG2R61", "C12", 6),
            ("CLGR1", "CL", 17),
            ("c.3", "C1", 6),
        ] {
            assert_eq!(element(kind, name), Some(number), "{kind} {name}");
        }
        for kind in ["Any", "Het", "opls", "X1", "", "*"] {
            let other = element(kind, "X1");
            assert!(other.is_none() || kind == "opls", "{kind}: {other:?}");
        }
        let line = "@<TRIPOS>ATOM\n1 X 0.0 0.0 0.0 xx 1 LIG 0.0\n";
        let told = atoms(line).unwrap_err();
        assert!(told.contains("line 2") && told.contains("GAFF"), "{told}");
    }
}
