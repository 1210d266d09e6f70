//! Molecules of an SDF file (V2000), with their bonds; data items that are numbers are targets.

use super::{Options, Source, at_line, element, number};
use crate::Result;
use crate::data::systems::{Sample, Value};

pub(super) fn read(source: &Source, options: &Options) -> Result<Vec<Result<Sample>>> {
    let text = source.text()?;
    let lines: Vec<&str> = text.lines().collect();
    let mut samples = Vec::new();
    let mut at = 0;
    while lines[at..].iter().any(|l| !l.trim().is_empty()) {
        let end = lines[at..].iter().position(|l| l.starts_with("$$$$"));
        let end = end.map_or(lines.len(), |n| at + n);
        let sample = source.sample(Some(samples.len()));
        samples.push(molecule(sample, &lines[..end], at, options));
        at = (end + 1).min(lines.len());
    }
    if let [Ok(only)] = &mut samples[..] {
        only.id.clone_from(&source.name);
    }
    Ok(samples)
}

/// The molecule whose header begins at line `at`, from 0.
fn molecule(mut sample: Sample, lines: &[&str], at: usize, options: &Options) -> Result<Sample> {
    let line = |i: usize| {
        let found = lines.get(i).copied();
        found.ok_or_else(|| at_line(i + 1, "the molecule ends before it: truncated"))
    };
    let counts = line(at + 3)?;
    if counts.trim_end().ends_with("V3000") {
        return Err(at_line(at + 4, "V3000 is not read here; save it as V2000"));
    }
    let field = |i: usize, from: usize, to: usize| -> Result<&str> {
        let text = line(i)?;
        let cut = || at_line(i + 1, format!("{text:?} is shorter than V2000 needs"));
        Ok(text.get(from..to.min(text.len())).ok_or_else(cut)?.trim())
    };
    let count = |i: usize, from: usize| -> Result<usize> {
        number(field(i, from, from + 3)?, "a number of V2000").map_err(|what| at_line(i + 1, what))
    };
    let (atoms, bonds) = (count(at + 3, 0)?, count(at + 3, 3)?);
    for i in at + 4..at + 4 + atoms {
        let mut place = [0.0; 3];
        for (k, x) in place.iter_mut().enumerate() {
            let text = field(i, 10 * k, 10 * k + 10)?;
            *x = number(text, "a coordinate").map_err(|what| at_line(i + 1, what))?;
        }
        let z = element(field(i, 31, 34)?).map_err(|what| at_line(i + 1, what))?;
        sample.system.numbers.push(z);
        sample.system.positions.push(place);
    }
    let first = at + 4 + atoms;
    let mut bound = Vec::new();
    for i in first..first + bonds {
        let ends = [count(i, 0)?, count(i, 3)?];
        if ends[0] == ends[1] || ends.iter().any(|&a| a == 0 || a > atoms) {
            return Err(at_line(
                i + 1,
                format!("a bond of atoms {ends:?} of {atoms}"),
            ));
        }
        let order = count(i, 6)?.min(4) as u8;
        bound.push((ends.map(|a| a as u32 - 1), order));
    }
    sample.system.bind(bound);
    let mut i = first + bonds;
    while i + 1 < lines.len() {
        let name = lines[i].strip_prefix('>').and_then(|l| l.split_once('<'));
        let name = name
            .and_then(|(_, l)| l.split_once('>'))
            .map(|(name, _)| name.trim());
        if let (Some(name), Ok(value)) = (name, lines[i + 1].trim().parse::<f64>()) {
            let value = Value::new(name, &options.unit(name, "")?, value);
            sample.values.push(value);
        }
        i += 1;
    }
    Ok(sample)
}
