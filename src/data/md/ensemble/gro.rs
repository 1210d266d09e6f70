//! GROMACS GRO files as topologies: columns of fixed width, in nm.
//!
//! The general reader merges residues of equal number, which every chain after the first and
//! every water after the 99,999th has; so topologies are read here.

use super::periodic::simulation_box;
use super::topology::{RawAtom, assemble};
use crate::data::system::{Cell, System};
use crate::{Error, Result, files};
use std::path::Path;

const ANGSTROM: f64 = 10.0;

pub(super) fn read(path: &Path) -> Result<System<f64>> {
    let text = files::read_columns(path)?;
    parse(&text).map_err(|(line, what)| Error::file(path, format!("line {line}: {what}")))
}

fn parse(text: &str) -> std::result::Result<System<f64>, (usize, String)> {
    let mut lines = text.lines();
    lines.next();
    let count: usize = lines
        .next()
        .and_then(|l| l.trim().parse().ok())
        .ok_or((2, "the number of atoms is missing".to_string()))?;
    let mut atoms: Vec<RawAtom> = Vec::new();
    let mut positions = Vec::new();
    for i in 0..count {
        let line = lines
            .next()
            .ok_or((i + 3, format!("the file ends after {i} of {count} atoms")))?;
        let bad = || (i + 3, "not an atom in GRO's columns".to_string());
        let field = |from: usize, to: usize| line.get(from..to).map(str::trim).ok_or_else(bad);
        let residue_number = field(0, 5)?.parse().map_err(|_| bad())?;
        let residue_name = field(5, 10)?.to_string();
        let (width, coordinates) = coordinates(line).ok_or_else(bad)?;
        if width == 0 {
            return Err(bad());
        }
        let key = match atoms.last() {
            Some(last)
                if last.residue_number == residue_number && last.residue_name == residue_name =>
            {
                last.key
            }
            Some(last) => last.key + 1,
            None => 0,
        };
        atoms.push(RawAtom {
            name: field(10, 15)?.to_string(),
            element: None,
            mass: None,
            key,
            residue_name,
            residue_number,
            chain: String::new(),
        });
        positions.push(coordinates);
    }
    let cell = lines.next().and_then(cell);
    Ok(assemble(&atoms, [], positions, cell))
}

/// Three numbers from column 20 on; their width shows in the distance between decimal points.
fn coordinates(line: &str) -> Option<(usize, [f64; 3])> {
    let rest = line.get(20..)?;
    let mut dots = rest.match_indices('.').map(|(at, _)| at);
    let width = match (dots.next(), dots.next()) {
        (Some(a), Some(b)) => b - a,
        _ => return None,
    };
    let mut xyz = [0.0; 3];
    for (k, x) in xyz.iter_mut().enumerate() {
        let number = rest.get(k * width..(k + 1) * width)?;
        *x = ANGSTROM * number.trim().parse::<f64>().ok()?;
    }
    Some((width, xyz))
}

/// Three lengths, or xx yy zz xy xz yx yz zx zy of the three vectors.
fn cell(line: &str) -> Option<Cell> {
    let v: Option<Vec<f64>> = line
        .split_whitespace()
        .map(|n| n.parse::<f64>().ok().map(|x| ANGSTROM * x))
        .collect();
    match v?[..] {
        [x, y, z] => simulation_box([[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, z]]),
        [xx, yy, zz, xy, xz, yx, yz, zx, zy] => {
            simulation_box([[xx, xy, xz], [yx, yy, yz], [zx, zy, zz]])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "two waters\n    4\n    1ALA      N    1   0.100   0.200   0.300\n    1ALA     CA    2   0.200  -0.200   1.300  0.0010  0.0020  0.0030\n    1SOL     OW    3   9.100   0.200   0.300\n    1ALA      N    4   0.100   0.200   0.300\n   3.00000   3.00000   2.12132   0.00000   0.00000   0.00000   0.00000   1.50000   1.50000\n";

    #[test]
    fn atoms_residues_and_box_are_read() {
        let system = parse(TEXT).unwrap();
        let names: Vec<&str> = system.residues.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["ALA", "SOL", "ALA"]);
        assert_eq!(system.positions[1], [2.0, -2.0, 13.0]);
        let skewed = [[30.0, 0.0, 0.0], [0.0, 30.0, 0.0], [15.0, 15.0, 21.2132]];
        assert_eq!(system.cell, Cell::new(skewed));
    }

    #[test]
    fn elements_follow_the_rules_of_names() {
        let atoms = [
            ("CA", "CA", 20u8),
            ("LIG", "CL1", 17),
            ("LIG", "BR2", 35),
            ("HEM", "FE", 26),
            ("SER", "HG", 1),
            ("NA", "NA", 11),
            ("ALA", "1HB", 1),
        ];
        let mut text = format!("names\n{}\n", atoms.len());
        for (i, (residue, name, _)) in atoms.iter().enumerate() {
            let n = i + 1;
            text += &format!("{n:5}{residue:<5}{name:>5}{n:5}   0.100   0.200{n:4}.000\n");
        }
        text += "   9.00000   9.00000   9.00000\n";
        let numbers = atoms.map(|(.., number)| number);
        assert_eq!(parse(&text).unwrap().numbers, numbers);
    }

    #[test]
    fn damage_is_placed() {
        let cut: String = TEXT.lines().take(4).map(|l| format!("{l}\n")).collect();
        let (line, what) = parse(&cut).unwrap_err();
        assert_eq!(
            (line, what.as_str()),
            (5, "the file ends after 2 of 4 atoms")
        );
        assert_eq!(parse(&TEXT.replace("9.100", "x.100")).unwrap_err().0, 5);
        assert_eq!(parse("").unwrap_err().0, 2);
    }
}
