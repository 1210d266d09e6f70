//! The PDB format (wwPDB, version 3.3): fixed columns of `ATOM`, `HETATM`, `TER`, `MODEL`,
//! `ENDMDL` and `END` records; every other record is passed over.

use super::assemble::{Assembler, Model, Record, coordinate};
use super::{Models, ReadOptions, element};

/// The models of a PDB file that `options` ask for.
///
/// # Errors
/// What is wrong and in which line.
pub(super) fn parse(text: &[u8], options: &ReadOptions) -> Result<Vec<Model>, String> {
    let mut models = Vec::new();
    let mut model = Assembler::new(options);
    let mut number = 1;
    let mut segment = 0;
    let mut width = 0;
    let mut lines = text.split(|&b| b == b'\n').zip(1usize..).peekable();
    while let Some((line, at)) = lines.next() {
        let at_line = |what: String| format!("line {at}: {what}");
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match record_name(line) {
            b"ATOM" | b"HETATM" => {
                let last = lines.peek().is_none();
                if last && line.len() < width {
                    return Err(at_line("the file ends inside this atom: truncated".into()));
                }
                width = line.len();
                let record = atom(line, segment).map_err(at_line)?;
                model.push(&record).map_err(at_line)?;
            }
            b"TER" => segment += 1,
            b"MODEL" => {
                let text = column(line, 6, line.len());
                number = parse_number(text).unwrap_or(number);
            }
            b"ENDMDL" => {
                models.push(std::mem::replace(&mut model, Assembler::new(options)).finish(number));
                number += 1;
                segment = 0;
                if options.models == Models::First {
                    return Ok(models);
                }
            }
            b"END" => break,
            _ => {}
        }
    }
    if !model.is_empty() || models.is_empty() {
        models.push(model.finish(number));
    }
    Ok(models)
}

/// The record's name without trailing blanks.
fn record_name(line: &[u8]) -> &[u8] {
    line[..line.len().min(6)].trim_ascii_end()
}

/// Columns `from..to` (counted from 0) without blanks around; short lines give less.
fn column(line: &[u8], from: usize, to: usize) -> &[u8] {
    let to = to.min(line.len());
    line.get(from..to).unwrap_or(b"").trim_ascii()
}

fn parse_number(text: &[u8]) -> Option<i32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn atom(line: &[u8], segment: u32) -> Result<Record<'_>, String> {
    const COORDINATES_END: usize = 54;
    if line.len() < COORDINATES_END {
        return Err(format!(
            "atom record of {} columns, where coordinates need {COORDINATES_END}: truncated",
            line.len()
        ));
    }
    let hetero = line.starts_with(b"HETATM");
    let name = column(line, 12, 16);
    // Four-letter residue names of MD programs (TIP3) reach into the blank column before the
    // chain.
    let residue = column(line, 17, 21);
    let chain = match column(line, 21, 22) {
        b"" => column(line, 72, 76),
        chain => chain,
    };
    let [x, y, z] = [('x', 30), ('y', 38), ('z', 46)]
        .map(|(axis, from)| coordinate(axis, column(line, from, from + 8)));
    let two_letters = hetero && line[12].is_ascii_alphabetic() && name.len() < 4;
    let element = element::number(column(line, 76, 78))
        .unwrap_or_else(|| element::of_name(name, residue, two_letters));
    let number = column(line, 22, 26);
    Ok(Record {
        hetero,
        name,
        altloc: line[16],
        residue,
        chain,
        // A chain may come back after its TER with ligands of its own numbers; without a
        // name, only TER tells chains apart.
        segment: if chain.is_empty() { segment } else { 0 },
        number: residue_number(number).ok_or_else(|| {
            let shown = String::from_utf8_lossy(number).into_owned();
            format!("residue number {shown:?} is not a number")
        })?,
        icode: line[26],
        position: [x?, y?, z?],
        occupancy: occupancy(column(line, 54, 60)),
        element,
    })
}

/// Missing or malformed occupancies count as full, as in most programs.
fn occupancy(text: &[u8]) -> f32 {
    let value = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
    value.filter(|o: &f32| o.is_finite()).unwrap_or(1.0)
}

/// A residue number in four columns: decimal up to 9999, then hybrid-36
/// (Grosse-Kunstleve et al., cctbx): `A000` is 10000, and after `ZZZZ` comes `a000`.
fn residue_number(text: &[u8]) -> Option<i32> {
    if let Some(n) = parse_number(text) {
        return Some(n);
    }
    let first = *text.first()?;
    if text.len() != 4 || !first.is_ascii_alphabetic() {
        return None;
    }
    let lower = first.is_ascii_lowercase();
    let mut value = 0;
    for &b in text {
        let same_case = b.is_ascii_digit() || b.is_ascii_lowercase() == lower;
        let digit = (b as char).to_digit(36).filter(|_| same_case)?;
        value = 36 * value + digit as i32;
    }
    let block = 26 * 36i32.pow(3);
    let start = 10 * 36i32.pow(3);
    Some(value - start + 10_000 + if lower { block } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::residue_number;

    #[test]
    fn hybrid_36_residue_numbers() {
        let cases: [(&[u8], Option<i32>); 9] = [
            (b"-12", Some(-12)),
            (b"9999", Some(9999)),
            (b"A000", Some(10_000)),
            (b"A001", Some(10_001)),
            (b"ZZZZ", Some(10_000 + 26 * 46_656 - 1)),
            (b"a000", Some(10_000 + 26 * 46_656)),
            (b"Aa00", None),
            (b"12x", None),
            (b"", None),
        ];
        for (text, number) in cases {
            assert_eq!(residue_number(text), number, "{}", text.escape_ascii());
        }
    }
}
