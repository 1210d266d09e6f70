//! PDB files as topologies: every atom of the first model, in file order.

use super::topology::{RawAtom, assemble, plausible};
use crate::Result;
use crate::data::md::formats::pdb::{cell, position, record_name};
use crate::data::md::text::Lines;
use crate::data::structure::{PdbLayout, pdb_record};
use crate::data::system::{Cell, Point, System};
use std::collections::HashMap;
use std::path::Path;

pub(super) fn read(path: &Path) -> Result<System<f64>> {
    let mut model = Model {
        layout: layout(path)?,
        ..Model::default()
    };
    let mut lines = Lines::open(path)?;
    while let Some(line) = lines.next_line()? {
        if let Err(what) = model.take(line) {
            return Err(lines.error(what));
        }
    }
    Ok(model.finish())
}

/// What the lines of the first model say together.
fn layout(path: &Path) -> Result<PdbLayout> {
    let (mut layout, mut any) = (PdbLayout::default(), false);
    let mut lines = Lines::open(path)?;
    while let Some(line) = lines.next_line()? {
        match record_name(line) {
            b"ATOM" | b"HETATM" => any = true,
            b"MODEL" | b"ENDMDL" | b"END" if any => break,
            _ => {}
        }
        layout.see(line);
    }
    Ok(layout)
}

/// The first model so far.
#[derive(Default)]
struct Model {
    layout: PdbLayout,
    atoms: Vec<RawAtom>,
    positions: Vec<Point>,
    /// The atom of each serial number; `None` where several have it.
    serials: HashMap<Box<[u8]>, Option<u32>>,
    bonds: Vec<[u32; 2]>,
    cell: Option<Cell>,
    /// Number of `TER` records.
    segment: u32,
    /// Segment and columns of residue name, chain, number, insertion code and segment name of the last
    /// atom.
    residue: (u32, Vec<u8>),
    /// Whether the model has ended.
    closed: bool,
}

impl Model {
    fn take(&mut self, line: &[u8]) -> std::result::Result<(), String> {
        match record_name(line) {
            b"ATOM" | b"HETATM" if !self.closed => self.atom(line)?,
            b"TER" => self.segment += 1,
            b"CRYST1" if !self.closed => self.cell = cell(line),
            b"MODEL" | b"ENDMDL" | b"END" => self.closed |= !self.atoms.is_empty(),
            b"CONECT" => self.connect(line),
            _ => {}
        }
        Ok(())
    }

    fn atom(&mut self, line: &[u8]) -> std::result::Result<(), String> {
        let point = position(line)?;
        let record = pdb_record(line, self.segment, &self.layout)?;
        let segid = line.get(72..76).unwrap_or_default();
        let residue = (self.segment, [&line[17..27], segid].concat());
        let last = self.atoms.last().map_or(0, |a| a.key);
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        self.atoms.push(RawAtom {
            name: text(record.name),
            element: Some(record.element).filter(|&z| z > 0),
            mass: None,
            key: last + u64::from(residue != self.residue),
            residue_name: text(record.residue),
            residue_number: record.number,
            chain: text(record.chain),
        });
        self.residue = residue;
        self.positions.push(point);
        let atom = self.atoms.len() as u32 - 1;
        // After 99,999 atoms serial numbers begin anew, or are stars.
        let serial = line[6..11].trim_ascii();
        self.serials
            .entry(serial.into())
            .and_modify(|known| *known = None)
            .or_insert(Some(atom));
        Ok(())
    }

    /// Takes the bonds of an atom that a `CONECT` record lists.
    fn connect(&mut self, line: &[u8]) {
        let serials = line.get(6..).unwrap_or_default().chunks(5).take(5);
        let atom = |serial: &[u8]| self.serials.get(serial.trim_ascii()).copied().flatten();
        let mut atoms = serials.map(atom);
        let Some(first) = atoms.next().flatten() else {
            return;
        };
        let bonds = atoms.flatten().map(|other| [first, other]);
        self.bonds.extend(bonds);
    }

    fn finish(self) -> System<f64> {
        let bonds = self.bonds.into_iter();
        let bonds: Vec<_> = bonds.filter(|&b| plausible(&self.positions, b)).collect();
        assemble(&self.atoms, bonds, self.positions, self.cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line with the fields of an atom in their columns.
    fn atom(serial: u32, name: &str, residue: &str, x: f64) -> String {
        format!(
            "ATOM  {serial:5} {name:4} {residue:>3} A   1    {x:8.3}{:8.3}{:8.3}\n",
            0.0, 0.0
        )
    }

    fn model(text: &str) -> std::result::Result<System<f64>, String> {
        let mut model = Model::default();
        text.split('\n')
            .try_for_each(|l| model.take(l.as_bytes()))?;
        Ok(model.finish())
    }

    #[test]
    fn the_first_model_is_read_with_its_bonds_and_box() {
        let text = [
            "CRYST1   20.000   30.000   40.000  90.00  90.00  90.00 P 1           1\n",
            "MODEL        1\n",
            &atom(1, " N", "ALA", 0.0),
            &atom(2, " CA", "ALA", 1.4),
            "TER\n",
            // Another molecule, of the same chain and number.
            &atom(7, " C1", "LIG", 20.0),
            &atom(8, " C2", "LIG", 21.4),
            "ENDMDL\nMODEL        2\n",
            &atom(1, " N", "ALA", 9.0),
            "ENDMDL\nCONECT    7    8\nCONECT    2    7   99\n",
        ]
        .concat();
        let system = model(&text).unwrap();
        assert_eq!(system.names, ["N", "CA", "C1", "C2"]);
        assert_eq!(system.numbers, [7, 6, 6, 6]);
        assert_eq!(system.residue_of, [0, 0, 1, 1]);
        // 2 and 7 are far apart, but so are atoms of a molecule that a box tears apart.
        assert_eq!(system.bonds, [[1, 2], [2, 3]]);
        let cell = system.cell.unwrap();
        assert_eq!(cell.vectors()[1], [0.0, 30.0, 0.0]);
        // Another molecule of the same name, too.
        let molecule = atom(1, " C1", "LIG", 0.0) + &atom(2, " C2", "LIG", 1.4);
        let twice = model(&format!("{molecule}TER\n{molecule}")).unwrap();
        assert_eq!(twice.residue_of, [0, 0, 1, 1]);
    }

    /// Byte order marks, UTF-16, lines that end in carriage returns; names out of their columns.
    #[test]
    fn files_of_other_editors_and_programs_are_read() {
        let lines = [
            atom(1, "CL1", "LIG", 0.0),
            atom(2, " CD1", "LIG", 1.4),
            atom(3, " C1", "LIG", 2.8),
        ];
        let text = lines.concat();
        let read_bytes = |bytes: &[u8]| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), bytes).unwrap();
            read(file.path()).unwrap()
        };
        let plain = read_bytes(text.as_bytes());
        assert_eq!(plain.numbers, [17, 6, 6]);
        let marked = format!("\u{feff}{text}");
        for bytes in [
            marked.clone().into_bytes(),
            marked.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            text.replace('\n', "\r").into_bytes(),
            text.replace('\n', "\r\n").into_bytes(),
        ] {
            assert_eq!(read_bytes(&bytes), plain);
        }
        // Segments tell residues of one number apart.
        let padded = |line: &String, segment: &str| format!("{:<72}{segment}\n", line.trim_end());
        let segments = [padded(&lines[0], "PROA"), padded(&lines[1], "PROB")];
        let residues = read_bytes(segments.concat().as_bytes()).residue_of;
        assert_eq!(residues, [0, 1]);
        // Where a name of one letter stands in column 13, columns tell nothing: CD is no cadmium.
        let left = [
            atom(1, "CD", "LIG", 0.0),
            atom(2, "HG1", "LIG", 1.4),
            atom(3, "C", "LIG", 2.8),
        ];
        assert_eq!(read_bytes(left.concat().as_bytes()).numbers, [6, 1, 6]);
    }

    #[test]
    fn serial_numbers_that_come_twice_bind_nothing() {
        let text = [
            &atom(1, " C1", "LIG", 0.0),
            &atom(2, " C2", "LIG", 1.4),
            &atom(1, " C1", "LIG", 5.0),
            "CONECT    1    2\n",
        ];
        let text = text.concat();
        assert_eq!(model(&text).unwrap().bonds, [[0u32; 2]; 0]);
    }

    #[test]
    fn bytes_of_old_encodings_are_no_error_and_damage_is_one() {
        let mut line = atom(1, " C1", "LIG", 0.0).into_bytes();
        line[14] = 0xe9;
        let mut taken = Model::default();
        taken.take(&line).unwrap();
        assert_eq!(taken.finish().names[0], "C\u{fffd}");
        let text = atom(1, " C1", "LIG", 0.0);
        let refused = model(&text[..40]).unwrap_err();
        assert!(refused.contains("truncated"), "{refused}");
        let refused = model(&text.replace("0.000", "0.0x0")).unwrap_err();
        assert!(refused.contains("not a number"), "{refused}");
    }
}
