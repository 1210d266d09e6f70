//! PSF topologies of CHARMM, NAMD and X-PLOR: atoms and bonds, no coordinates.
//!
//! Sections begin with a line of a count and a name (`46 !NATOM`). Atom lines are columns of
//! fixed width that differ between the dialects, but their fields do not touch: number, segment,
//! residue number, residue name, name, force-field type, charge, mass. A segment without a name
//! leaves one field out.

use super::topology::{RawAtom, assemble};
use crate::data::md::text::Lines;
use crate::data::system::System;
use crate::{Error, Result};
use std::path::Path;

/// Fewer bytes than any line of an atom or of a bond has: what a count is compared with.
const SHORTEST_ATOM: u64 = 16;
const SHORTEST_BOND: u64 = 4;

pub(super) fn read(path: &Path) -> Result<System<f64>> {
    let length = std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
    // Text is packed to no less than a thousandth.
    let mut reader = Reader {
        lines: Lines::open(path)?,
        length: length.len().saturating_mul(1000),
        line: Vec::new(),
    };
    if !reader.advance()? || !reader.line.trim_ascii_start().starts_with(b"PSF") {
        return Err(Error::file(
            path,
            "not a PSF file: its first line is not PSF",
        ));
    }
    let atoms = reader.section("!NATOM", SHORTEST_ATOM)?;
    let atoms = reader.atoms(atoms)?;
    let bonds = reader.section("!NBOND", SHORTEST_BOND)?;
    let bonds = reader.bonds(bonds, atoms.len())?;
    Ok(assemble(&atoms, bonds, Vec::new(), None))
}

struct Reader {
    lines: Lines,
    /// What the file's text is not longer than, in bytes.
    length: u64,
    line: Vec<u8>,
}

impl Reader {
    fn advance(&mut self) -> Result<bool> {
        let line = self.lines.next_line()?;
        self.line.clear();
        self.line.extend_from_slice(line.unwrap_or_default());
        Ok(line.is_some())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.line).into_owned()
    }

    /// Goes to the section of a name and reads its count.
    fn section(&mut self, name: &str, shortest: u64) -> Result<usize> {
        while self.advance()? {
            let text = self.text();
            let Some((before, after)) = text.split_once(name) else {
                continue;
            };
            let title = text.trim_start().starts_with("REMARKS") || text.starts_with('*');
            if title || !after.chars().next().is_none_or(|c| " :,\t".contains(c)) {
                continue;
            }
            let count: Option<u64> = before.trim().parse().ok();
            let count = count.filter(|n| n.saturating_mul(shortest) <= self.length);
            let count = count.ok_or_else(|| {
                let count = before.trim();
                self.lines.error(format!(
                    "{count:?} before {name} is not a count of this file"
                ))
            })?;
            return Ok(count as usize);
        }
        Err(self
            .lines
            .error(format!("the file ends before its section {name}")))
    }

    fn atoms(&mut self, count: usize) -> Result<Vec<RawAtom>> {
        let mut atoms: Vec<RawAtom> = Vec::new();
        let mut place = String::new();
        for i in 0..count {
            if !self.advance()? {
                let what = format!("the file ends after {i} of {count} atoms");
                return Err(self.lines.error(what));
            }
            let text = self.text();
            let bad = || self.lines.error("not an atom of a PSF file");
            let fields: Vec<&str> = text.split_ascii_whitespace().collect();
            let (segment, fields) = match fields[..] {
                [_, segment, number, residue, name, _, charge, mass, ..]
                    if [charge, mass].into_iter().all(is_number)
                        && residue_number(number).is_some() =>
                {
                    (segment, [number, residue, name, mass])
                }
                [_, number, residue, name, _, charge, mass, ..]
                    if is_number(charge) && is_number(mass) =>
                {
                    ("", [number, residue, name, mass])
                }
                _ => return Err(bad()),
            };
            let [number, residue, name, mass] = fields;
            let here = format!("{segment} {number} {residue}");
            let last = atoms.last().map_or(0, |a| a.key);
            atoms.push(RawAtom {
                name: name.into(),
                // Types are no elements: masses tell.
                element: None,
                mass: mass.parse().ok(),
                key: last + u64::from(here != place),
                residue_name: residue.into(),
                residue_number: residue_number(number).ok_or_else(bad)?,
                chain: segment.into(),
            });
            place = here;
        }
        Ok(atoms)
    }

    fn bonds(&mut self, count: usize, atoms: usize) -> Result<Vec<[u32; 2]>> {
        let mut ends: Vec<u32> = Vec::new();
        while ends.len() < 2 * count {
            if !self.advance()? {
                let what = format!("the file ends after {} of {count} bonds", ends.len() / 2);
                return Err(self.lines.error(what));
            }
            for field in self.text().split_ascii_whitespace() {
                let atom: Option<usize> = field.parse().ok();
                let atom = atom.filter(|&a| a > 0 && a <= atoms);
                let atom = atom.ok_or_else(|| {
                    self.lines
                        .error(format!("{field:?} is none of the {atoms} atoms, in a bond"))
                })?;
                ends.push(atom as u32 - 1);
            }
        }
        if ends.len() > 2 * count {
            return Err(self.lines.error(format!("more than {count} bonds")));
        }
        Ok(ends.as_chunks().0.to_vec())
    }
}

fn is_number(text: &str) -> bool {
    text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// The number of `27A`, which has an insertion code.
fn residue_number(text: &str) -> Option<i32> {
    let digits = text.strip_suffix(|c: char| c.is_ascii_alphabetic());
    digits.unwrap_or(text).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "PSF EXT CMAP

       2 !NTITLE
 REMARKS !NATOM is no section here
 REMARKS

       5 !NATOM
         1 PROA     20       SER      N        NH1     -0.470000       14.0070           0
         2 PROA     20       SER      CA       CT1      0.070000       12.0110           0
         3 PROA     20A      SER      N        NH1     -0.470000       14.0070           0
         4          20       CAL      CAL      CAL      2.000000       40.0800           0
         5 PROB     1        HSE      HG       H        0.090000        1.0080           0

       2 !NBOND: bonds
         1         2         3
         5

       0 !NTHETA: angles
";

    fn parse(text: &str) -> Result<System<f64>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("top.psf");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn atoms_residues_and_bonds_are_read() {
        let system = parse(TEXT).unwrap();
        assert_eq!(system.numbers, [7, 6, 7, 20, 1]);
        assert_eq!(system.residue_of, [0, 0, 1, 2, 3]);
        assert_eq!(system.bonds, [[0, 1], [2, 4]]);
        let of = |atom| {
            let r = system.residue(atom);
            (r.chain.to_string(), r.number, r.name.to_string())
        };
        assert_eq!(of(2), ("PROA".into(), 20, "SER".into()));
        assert_eq!(of(3), (String::new(), 20, "CAL".into()));
        assert!(system.positions.is_empty());
    }

    #[test]
    fn masses_tell_the_elements_of_ligands() {
        let atoms = [
            ("X1", 79.904),
            ("CA1", 40.08),
            ("F1", 18.998),
            ("FE", 18.998),
        ];
        let mut text = format!("PSF\n\n{:8} !NATOM\n", atoms.len());
        for (i, (name, mass)) in atoms.iter().enumerate() {
            text += &format!(
                "{:8} LIG  1    LIG  {name:<4} X1   0.0 {mass:13.4} 0\n",
                i + 1
            );
        }
        text += "\n       0 !NBOND: bonds\n\n";
        assert_eq!(parse(&text).unwrap().numbers, [35, 20, 9, 9]);
    }

    #[test]
    fn damage_is_placed() {
        let refused = |text: &str, what: &str| {
            let message = parse(text).unwrap_err().to_string();
            assert!(
                message.contains("top.psf: ") && message.contains(what),
                "{message}"
            );
        };
        refused("", "empty file");
        refused("hello\n", "its first line is not PSF");
        refused(
            &TEXT.replace("5 !NATOM", "x !NATOM"),
            "line 7: \"x\" before !NATOM",
        );
        refused(
            &TEXT.replace("5 !NATOM", "99999999999 !NATOM"),
            "is not a count",
        );
        refused(
            &TEXT.replace("5 !NATOM", "6 !NATOM"),
            "line 13: not an atom",
        );
        refused(&TEXT[..TEXT.len() / 2], "line ");
        refused(
            &TEXT.replace("         5\n", "         6\n"),
            "\"6\" is none of the 5 atoms",
        );
        refused(&TEXT.replace("2 !NBOND", "1 !NBOND"), "more than 1 bonds");
        refused(&TEXT.replace("2 !NBOND", "3 !NBOND"), "is none of");
        refused(&TEXT.replace("14.0070", "x"), "not an atom");
        refused(
            &TEXT.replace("!NBOND", "!NBONE"),
            "ends before its section !NBOND",
        );
    }
}
