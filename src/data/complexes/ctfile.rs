//! Atoms of a molecule in an SDF or MOL file (CTfile formats, V2000 and V3000).
//!
//! Our own reader: chemfiles reads V2000 only, and of a V3000 file it makes a molecule of no
//! atoms without a word. Only the first molecule of a file is read.

use super::ligand::{RawAtom, finite};

/// The atoms of the first molecule.
///
/// # Errors
/// What is wrong and in which line.
pub(super) fn atoms(text: &str) -> Result<Vec<RawAtom>, String> {
    let lines: Vec<&str> = text.lines().collect();
    let counts = lines
        .get(3)
        .ok_or("shorter than the four lines of its header: truncated")?;
    // Columns 21-22 of the second line say what the coordinates are.
    if lines[1].get(20..22) == Some("2D") {
        return Err("line 2 calls it a 2D drawing: it has no coordinates in space".into());
    }
    match counts.trim_end() {
        c if c.ends_with("V3000") => v3000(&lines),
        _ => v2000(&lines, counts),
    }
}

fn v2000(lines: &[&str], counts: &str) -> Result<Vec<RawAtom>, String> {
    let number = counts.get(..3).and_then(|c| c.trim().parse::<usize>().ok());
    let number = number
        .ok_or_else(|| format!("line 4: {counts:?} does not begin with the number of atoms"))?;
    (4..4 + number)
        .map(|i| {
            let line = lines.get(i).ok_or_else(|| {
                format!("{number} atoms are announced, but the file ends after line {i}: truncated")
            })?;
            let cut = || format!("line {}: {line:?} is not an atom of V2000", i + 1);
            let column =
                |from: usize, to: usize| line.get(from..to.min(line.len())).ok_or_else(cut);
            let position = [column(0, 10)?, column(10, 20)?, column(20, 30)?];
            let position = finite(position).map_err(|what| format!("line {}: {what}", i + 1))?;
            Ok((column(31, 34)?.trim().to_string(), position))
        })
        .collect()
}

/// Lines `M  V30 index type x y z aamap ...` between `BEGIN ATOM` and `END ATOM`; a line that
/// ends in `-` goes on in the next.
fn v3000(lines: &[&str]) -> Result<Vec<RawAtom>, String> {
    let mut atoms = Vec::new();
    let mut inside = false;
    let mut carried = String::new();
    for (i, line) in lines.iter().enumerate().skip(4) {
        let Some(body) = line.strip_prefix("M  V30 ") else {
            continue;
        };
        carried += body.trim_end();
        if carried.ends_with('-') {
            carried.pop();
            continue;
        }
        let whole = std::mem::take(&mut carried);
        match whole.trim() {
            "BEGIN ATOM" => inside = true,
            "END ATOM" => return Ok(atoms),
            fields if inside => {
                let at_line = |what: String| format!("line {}: {what}", i + 1);
                let fields: Vec<&str> = fields.split_whitespace().collect();
                let &[_, symbol, x, y, z, ..] = fields.as_slice() else {
                    return Err(at_line(format!("{whole:?} is not an atom of V3000")));
                };
                let position = finite([x, y, z]).map_err(at_line)?;
                atoms.push((symbol.to_string(), position));
            }
            _ => {}
        }
    }
    Err("no whole atom block (M  V30 BEGIN ATOM ... END ATOM): truncated".into())
}
