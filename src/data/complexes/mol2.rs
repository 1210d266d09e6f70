//! Atoms of a molecule in a Tripos MOL2 file.

use super::ligand::{RawAtom, finite};

/// The atoms of the first molecule: lines `id name x y z type ...` under `@<TRIPOS>ATOM`. The
/// element is what stands before the point of the SYBYL type (`C.ar`, `N.pl3`, `Cl`).
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
        let &[_, _, x, y, z, kind, ..] = fields.as_slice() else {
            return Err(at_line(format!("{line:?} is not an atom of MOL2")));
        };
        let symbol = kind.split('.').next().unwrap_or_default();
        // Lone pairs and dummy atoms are no matter.
        if matches!(symbol, "LP" | "Du") {
            continue;
        }
        let position = finite([x, y, z]).map_err(at_line)?;
        atoms.push((symbol.to_string(), position));
    }
    Ok(atoms)
}
