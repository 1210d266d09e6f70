//! Extended XYZ: frames of a number of atoms, a line of `key=value`, and a line for each atom.
//!
//! Energies are eV and forces eV/Å unless the user says otherwise, positions Å. Every number of the
//! second line is a target. `Lattice` and `pbc` make the cell; `Properties` names the columns.
//! `stress` is that of ASE, nine numbers or six in Voigt's order, `virial` minus the stress times
//! the volume.

use super::{Convention, Options, Source, at_line, element, number, stress_of};
use crate::Result;
use crate::data::system::Cell;
use crate::data::systems::{Sample, Stress, Value};

pub(super) fn read(source: &Source, options: &Options) -> Result<Vec<Result<Sample>>> {
    let text = source.text()?;
    let lines: Vec<&str> = text.lines().collect();
    let mut samples = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        if lines[at].trim().is_empty() {
            at += 1;
            continue;
        }
        let atoms: usize =
            number(lines[at].trim(), "a number of atoms").map_err(|what| at_line(at + 1, what))?;
        let end = atoms.checked_add(at + 2).filter(|&end| end <= lines.len());
        let Some(end) = end else {
            let what = format!("{atoms} atoms are announced, but the file ends: truncated");
            return Err(at_line(at + 1, what));
        };
        let sample = source.sample(Some(samples.len()));
        samples.push(frame(sample, &lines[at + 1..end], at + 2, options));
        at = end;
    }
    if let [Ok(only)] = &mut samples[..] {
        only.id.clone_from(&source.name);
    }
    Ok(samples)
}

/// Names of a column of forces.
const FORCES: [&str; 4] = ["forces", "force", "REF_forces", "dft_forces"];
/// Names of an energy.
const ENERGIES: [&str; 3] = ["energy", "REF_energy", "dft_energy"];

/// Names of a stress, and of a virial, which counts where there is no stress.
const STRESSES: [(&str, Convention); 7] = [
    ("stress", Convention::Ase),
    ("REF_stress", Convention::Ase),
    ("dft_stress", Convention::Ase),
    ("virial", Convention::Virial),
    ("virials", Convention::Virial),
    ("REF_virials", Convention::Virial),
    ("dft_virial", Convention::Virial),
];

/// One frame; `line` is the number of its second line.
fn frame(mut sample: Sample, lines: &[&str], line: usize, options: &Options) -> Result<Sample> {
    let pairs = pairs(lines[0]).map_err(|what| at_line(line, what))?;
    let of = |key: &str| {
        let found = pairs.iter().find(|(k, _)| k.eq_ignore_ascii_case(key));
        found.map(|(_, value)| value.as_str())
    };
    sample.system.cell = cell(of("lattice"), of("pbc")).map_err(|what| at_line(line, what))?;
    for (key, text) in &pairs {
        if STRESSES
            .iter()
            .any(|(name, _)| key.eq_ignore_ascii_case(name))
        {
            continue;
        }
        let Ok(value) = text.parse::<f64>() else {
            continue;
        };
        let name = match ENERGIES.contains(&key.as_str()) {
            true => "energy",
            false => key,
        };
        let usual = if name.contains("energy") { "eV" } else { "" };
        let value = Value::new(name, &options.unit(name, usual)?, value);
        sample.values.push(value);
    }
    sample.stress = stress(&sample, of, options).map_err(|what| at_line(line, what))?;
    let columns = Columns::new(of("properties")).map_err(|what| at_line(line, what))?;
    let mut forces = Vec::new();
    for (i, text) in lines[1..].iter().enumerate() {
        let bad = |what: String| at_line(line + 1 + i, what);
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() < columns.count {
            let (has, wants) = (fields.len(), columns.count);
            return Err(bad(format!("{has} columns where {wants} are announced")));
        }
        let vector = |first: usize| -> Result<[f64; 3]> {
            let mut v = [0.0; 3];
            for (k, x) in v.iter_mut().enumerate() {
                *x = number(fields[first + k], "a number").map_err(bad)?;
            }
            Ok(v)
        };
        sample
            .system
            .numbers
            .push(element(fields[columns.species]).map_err(bad)?);
        sample.system.positions.push(vector(columns.positions)?);
        if let Some(first) = columns.forces {
            forces.push(vector(first)?);
        }
    }
    sample.forces = columns.forces.map(|_| forces);
    Ok(sample)
}

/// The stress among the values `of` the second line's keys.
fn stress<'a>(
    sample: &Sample,
    of: impl Fn(&str) -> Option<&'a str>,
    options: &Options,
) -> std::result::Result<Option<Stress>, String> {
    let label = |(key, convention): &(&str, Convention)| Some((of(key)?, *convention));
    let Some((text, convention)) = STRESSES.iter().find_map(label) else {
        return Ok(None);
    };
    let numbers = text.split([' ', ',', '\t']).filter(|t| !t.is_empty());
    let numbers = numbers.map(|t| number(t, "a number"));
    let numbers = numbers.collect::<std::result::Result<Vec<f64>, _>>()?;
    stress_of(sample, &numbers, convention, options).map(Some)
}

/// Where an atom's line has what.
struct Columns {
    species: usize,
    positions: usize,
    forces: Option<usize>,
    count: usize,
}

impl Columns {
    /// From `name:kind:columns` triples; plain xyz has a symbol and a position.
    fn new(properties: Option<&str>) -> std::result::Result<Self, String> {
        let text = properties.unwrap_or("species:S:1:pos:R:3");
        let fields: Vec<&str> = text.split(':').collect();
        let mut found = [None; 3];
        let mut first = 0usize;
        for triple in fields.chunks(3) {
            let &[name, _, count] = triple else {
                return Err(format!(
                    "Properties={text}: triples name:kind:columns are needed"
                ));
            };
            let count: usize = number(count, "a number of columns")?;
            let (which, needs) = match name {
                "species" | "Z" | "numbers" => (0, 1),
                "pos" | "positions" => (1, 3),
                name if FORCES.contains(&name) => (2, 3),
                _ => (3, count),
            };
            if count != needs {
                return Err(format!(
                    "Properties: {name} has {count} columns, not {needs}"
                ));
            }
            if which < 3 {
                found[which].get_or_insert(first);
            }
            let next = first.checked_add(count);
            first = next.ok_or_else(|| format!("Properties: {name} has {count} columns"))?;
        }
        let [Some(species), Some(positions), forces] = found else {
            return Err(format!("Properties={text}: species and pos are needed"));
        };
        Ok(Self {
            species,
            positions,
            forces,
            count: first,
        })
    }
}

/// The nine numbers of `Lattice`, rows are vectors, and `pbc`, which is all true if it is missing.
fn cell(lattice: Option<&str>, pbc: Option<&str>) -> std::result::Result<Option<Cell>, String> {
    let periodic = match pbc {
        None => [lattice.is_some(); 3],
        Some(text) => {
            let truth = |t: &str| match t {
                "T" | "True" | "true" | "1" => Ok(true),
                "F" | "False" | "false" | "0" => Ok(false),
                other => Err(format!("pbc: {other:?} is neither T nor F")),
            };
            let all = text
                .split_whitespace()
                .map(truth)
                .collect::<std::result::Result<Vec<_>, _>>();
            <[bool; 3]>::try_from(all?).map_err(|_| format!("pbc={text:?}: three are needed"))?
        }
    };
    let Some(lattice) = lattice.filter(|_| periodic != [false; 3]) else {
        return match periodic == [false; 3] {
            true => Ok(None),
            false => Err("pbc without Lattice".into()),
        };
    };
    let numbers = lattice
        .split_whitespace()
        .map(|t| number::<f64>(t, "a number"));
    let numbers = numbers.collect::<std::result::Result<Vec<_>, _>>()?;
    let rows: [f64; 9] = numbers
        .try_into()
        .map_err(|_| format!("Lattice={lattice:?}: nine numbers are needed"))?;
    let vectors = std::array::from_fn(|i| std::array::from_fn(|k| rows[3 * i + k]));
    match Cell::partly_periodic(vectors, periodic) {
        Some(cell) => Ok(Some(cell)),
        None => Err(format!("Lattice={lattice:?}: a cell of no volume")),
    }
}

/// `key=value` pairs; values may be quoted. A word without `=` is a switch, and left out.
fn pairs(line: &str) -> std::result::Result<Vec<(String, String)>, String> {
    let mut out = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace());
        let (key, after) = rest.split_at(end.unwrap_or(rest.len()));
        let Some(value) = after.trim_start().strip_prefix('=') else {
            rest = after.trim_start();
            continue;
        };
        let value = value.trim_start();
        let quote = value
            .chars()
            .next()
            .filter(|c| matches!(c, '"' | '\'' | '{' | '['));
        let (text, after) = match quote {
            None => value.split_at(value.find(char::is_whitespace).unwrap_or(value.len())),
            Some(open) => {
                let close = match open {
                    '{' => '}',
                    '[' => ']',
                    quote => quote,
                };
                let inner = &value[1..];
                let (text, after) = inner
                    .split_once(close)
                    .ok_or_else(|| format!("{key}: a value without its closing {close}"))?;
                (text, after)
            }
        };
        out.push((key.to_string(), text.to_string()));
        rest = after.trim_start();
    }
    Ok(out)
}
