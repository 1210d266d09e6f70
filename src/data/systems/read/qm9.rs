//! QM9 in three forms: its own xyz files, the tables of `qm9pack`, and one HDF5 file.
//!
//! Energies are hartree, as QM9 has them; nothing is taken off.

use super::{Options, Source, at_line, element, number};
use crate::data::Split;
use crate::data::system::System;
use crate::data::systems::{Sample, Value};
use crate::store;
use crate::{Error, Result};

/// Names and units of the targets in the order of QM9's files, after rotational constants.
const TARGETS: [(&str, &str); 12] = [
    ("mu", "D"),
    ("alpha", "bohr^3"),
    ("homo", "hartree"),
    ("lumo", "hartree"),
    ("gap", "hartree"),
    ("r2", "bohr^2"),
    ("zpve", "hartree"),
    ("u0", "hartree"),
    ("u298", "hartree"),
    ("h298", "hartree"),
    ("g298", "hartree"),
    ("cv", "cal/mol/K"),
];

/// QM9's targets from numbers in its order.
pub(super) fn values(
    numbers: impl IntoIterator<Item = f64>,
    options: &Options,
) -> Result<Vec<Value>> {
    let named = TARGETS.iter().zip(numbers);
    named
        .map(|((name, unit), value)| Ok(Value::new(name, &options.unit(name, unit)?, value)))
        .collect()
}

/// Groups of molecules one after another: `index`, `atom_ptr`, `z`, `pos` (Å), perhaps `targets`, and
/// bonds with their orders in `bond_ptr` and `bonds`. Groups `train`, `val` and `test` name splits.
pub(super) fn read_hdf5(source: &Source, options: &Options) -> Result<Vec<Sample>> {
    let file = store::open_plain(&source.path)?;
    let mut samples = Vec::new();
    for name in file.names()? {
        let Some(group) = file.group(&name).ok().filter(|g| g.has("atom_ptr")) else {
            continue;
        };
        let count = group.shape("index")?.first().copied().unwrap_or(0);
        let index: Vec<i64> = group.read("index")?;
        let offsets = offsets(&group, "atom_ptr", count)?;
        let numbers: Vec<u8> = group.read("z")?;
        let (flat, _) = group.read_shaped::<f64>("pos", &[Some(numbers.len()), Some(3)])?;
        let positions: &[[f64; 3]] = flat.as_chunks().0;
        let targets = match group.has("targets") {
            true => {
                group
                    .read_shaped::<f64>("targets", &[Some(count), Some(12)])?
                    .0
            }
            false => Vec::new(),
        };
        let targets: &[[f64; 12]] = targets.as_chunks().0;
        let bonds = match group.has("bonds") {
            true => group.read_shaped::<u8>("bonds", &[None, Some(3)])?.0,
            false => Vec::new(),
        };
        let bonds: &[[u8; 3]] = bonds.as_chunks().0;
        let of_bonds = match group.has("bonds") {
            true => self::offsets(&group, "bond_ptr", count)?,
            false => vec![0; count + 1],
        };
        let beyond = offsets[count] > numbers.len() || of_bonds[count] > bonds.len();
        if beyond {
            return Err(Error::input(format!(
                "group {name}: more atoms or bonds than it holds"
            )));
        }
        for i in 0..count {
            let atoms = offsets[i]..offsets[i + 1];
            let own = &bonds[of_bonds[i]..of_bonds[i + 1]];
            let id = format!("dsgdb9nsd_{:06}", index[i]);
            let mut system = System {
                numbers: numbers[atoms.clone()].to_vec(),
                positions: positions[atoms].to_vec(),
                ..System::default()
            };
            let bond = |b: &[u8; 3]| ([b[0], b[1]].map(u32::from), b[2]);
            system.bind(own.iter().map(bond));
            samples.push(Sample {
                group: id.clone(),
                id,
                split: name.parse::<Split>().ok(),
                system,
                values: values(targets.get(i).into_iter().flatten().copied(), options)?,
                ..Sample::default()
            });
        }
    }
    match samples.is_empty() {
        true => Err(Error::input(
            "no group with atom_ptr, z and pos, as HDF5 of QM9 has",
        )),
        false => Ok(samples),
    }
}

fn offsets(group: &store::Node, name: &str, count: usize) -> Result<Vec<usize>> {
    let offsets: Vec<u64> = group.read(name)?;
    match offsets.len() == count + 1 && offsets.is_sorted() {
        true => Ok(offsets.into_iter().map(|o| o as usize).collect()),
        false => Err(Error::input(format!(
            "{name}: {count} molecules need {} ascending numbers",
            count + 1
        ))),
    }
}

/// QM9's own files have `gdb N` and 15 numbers in their second line.
pub(super) fn is_xyz(source: &Source) -> Result<bool> {
    let text = source.text()?;
    let line = text.lines().nth(1).unwrap_or_default();
    Ok(line.starts_with("gdb ") && line.split_whitespace().count() == 17)
}

/// One molecule: number of atoms, `gdb N` with properties, atoms with charges, frequencies, SMILES,
/// InChI. Some numbers are written as `1.5*^-6`.
pub(super) fn read_xyz(source: &Source, options: &Options) -> Result<Vec<Sample>> {
    let text = source.text()?;
    let lines: Vec<&str> = text.lines().collect();
    let float = |text: &str, line: usize| -> Result<f64> {
        number(&text.replace("*^", "e"), "a number").map_err(|what| at_line(line, what))
    };
    let first = lines.first().map_or("", |l| l.trim());
    let atoms: usize = number(first, "a number of atoms").map_err(|what| at_line(1, what))?;
    let properties: Vec<&str> = lines[1].split_whitespace().skip(5).collect();
    let properties: Vec<f64> = properties
        .iter()
        .map(|text| float(text, 2))
        .collect::<Result<_>>()?;
    let mut sample = source.sample(None);
    for i in 2..2 + atoms {
        let Some(line) = lines.get(i) else {
            return Err(at_line(
                i,
                format!("{atoms} atoms are announced: truncated"),
            ));
        };
        let fields: Vec<&str> = line.split_whitespace().collect();
        let &[symbol, x, y, z, _] = fields.as_slice() else {
            return Err(at_line(i + 1, format!("{line:?} is not an atom of QM9")));
        };
        let z_of = element(symbol).map_err(|what| at_line(i + 1, what))?;
        sample.system.numbers.push(z_of);
        let at = |text| float(text, i + 1);
        sample.system.positions.push([at(x)?, at(y)?, at(z)?]);
    }
    sample.values = values(properties, options)?;
    Ok(vec![sample])
}
