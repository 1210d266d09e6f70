//! The PDB format (wwPDB, version 3.3): fixed columns of `ATOM`, `HETATM`, `TER`, `MODEL`,
//! `ENDMDL` and `END` records; every other record is passed over.

use super::assemble::{Assembler, Model, Record, coordinate};
use super::b_factors::Slots;
use super::{Models, ReadOptions, element};
use crate::data::names::{self, Columns, Named};
use std::collections::HashSet;

/// The models of a PDB file that `options` ask for. `MODEL`, `ENDMDL` and `END` each end the model
/// before them; a model without atoms is none.
///
/// # Errors
/// What is wrong and in which line.
pub(super) fn parse(text: &[u8], options: &ReadOptions) -> Result<Vec<Model>, String> {
    let mut models = Finished::default();
    let mut model = Assembler::new(options);
    let layout = Layout::of_file(text);
    let mut number = None;
    let (mut segment, mut width) = (0, 0);
    let mut lines = text.split(|&b| b == b'\n').zip(1usize..).peekable();
    while let Some((line, at)) = lines.next() {
        let at_line = |what: String| format!("line {at}: {what}");
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match record_name(line) {
            b"ATOM" | b"HETATM" if options.models == Models::First && models.any() => {
                // Only that there is more is of interest.
                let what = "files with further models, of which the first is read";
                models.all[0].notes.add(what, 1);
                return Ok(models.all);
            }
            b"ATOM" | b"HETATM" => {
                if lines.peek().is_none() && is_cut(line, width) {
                    return Err(at_line("the file ends inside this atom: truncated".into()));
                }
                width = line.len();
                let record = atom(line, segment, &layout).map_err(at_line)?;
                model.push(&record).map_err(at_line)?;
            }
            b"TER" => segment += 1,
            end @ (b"MODEL" | b"ENDMDL" | b"END") => {
                if !model.is_empty() {
                    let done = std::mem::replace(&mut model, Assembler::new(options));
                    models.push(done, number.take());
                    segment = 0;
                }
                if end == b"MODEL" {
                    number = parse_number(column(line, 6, line.len()));
                }
            }
            _ => {}
        }
    }
    if !model.is_empty() || !models.any() {
        models.push(model, number);
    }
    Ok(models.all)
}

/// Where the B-factors of all atoms of a file stand.
///
/// # Errors
/// As [`parse`].
pub(super) fn slots(text: &[u8], slots: &mut Slots) -> Result<(), String> {
    /// Columns of the B-factor, from 0.
    const FIELD: [usize; 2] = [60, 66];
    let layout = Layout::of_file(text);
    let (mut segment, mut number, mut filled) = (0, 1, false);
    let mut start = 0;
    for (line, at) in text.split(|&b| b == b'\n').zip(1usize..) {
        let end = start + line.trim_ascii_end().len();
        match record_name(line) {
            b"ATOM" | b"HETATM" => {
                let record = atom(line, segment, &layout);
                let record = record.map_err(|what| format!("line {at}: {what}"))?;
                let place = FIELD.map(|column| (start + column).min(end));
                let blanks = (start + FIELD[0]).saturating_sub(end);
                slots.add(number, &record, place[0]..place[1], blanks);
                filled = true;
            }
            b"TER" => segment += 1,
            mark @ (b"MODEL" | b"ENDMDL" | b"END") => {
                (number, segment) = (number + i32::from(filled), 0);
                filled = false;
                if mark == b"MODEL" {
                    let given = parse_number(column(line, 6, line.len()));
                    number = given.filter(|&n| n >= number).unwrap_or(number);
                }
            }
            _ => {}
        }
        start += line.len() + 1;
    }
    Ok(())
}

/// Models that are whole, each with a number of its own.
#[derive(Default)]
struct Finished {
    all: Vec<Model>,
    numbers: HashSet<i32>,
}

impl Finished {
    fn any(&self) -> bool {
        !self.all.is_empty()
    }

    /// Takes a model under the number that the file gives it, or, where there is none or another
    /// model has it, the next free one.
    fn push(&mut self, model: Assembler, number: Option<i32>) {
        let next = self.all.last().map_or(1, |m| m.number.saturating_add(1));
        let mut number = number.unwrap_or(next);
        while !self.numbers.insert(number) {
            number = number.wrapping_add(1);
        }
        self.all.push(model.finish(number));
    }
}

/// Whether a last line without its end, shorter than the one before it, stops inside a field.
/// Columns after 54 may be missing, and blanks at the end of lines too.
fn is_cut(line: &[u8], width: usize) -> bool {
    const WHOLE: [usize; 2] = [54, 60];
    // One letter of a symbol of two: column 77 is blank before a symbol of one letter.
    let half_a_symbol = line.len() == 77 && line[76] != b' ';
    line.len() < width && (half_a_symbol || (line.len() < 66 && !WHOLE.contains(&line.len())))
}

/// What the lines of a file say together about their columns.
pub(in crate::data) struct Layout {
    /// Whether atom names stand in their columns: no name of one letter stands in column 13, as in
    /// files whose names are left-justified.
    aligned: bool,
    /// Chains of two letters, which reach into column 21: those of amino acids, nucleotides and
    /// water, whose names have three letters at most.
    chains: HashSet<[u8; 2]>,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            aligned: true,
            chains: HashSet::new(),
        }
    }
}

impl Layout {
    fn of_file(text: &[u8]) -> Self {
        let mut layout = Self::default();
        text.split(|&b| b == b'\n')
            .for_each(|line| layout.see(line));
        layout
    }

    /// Learns from a line, whatever its record.
    pub fn see(&mut self, line: &[u8]) {
        if line.len() < 27 || !matches!(record_name(line), b"ATOM" | b"HETATM") {
            return;
        }
        self.aligned &= !(b"CNOS".contains(&line[12]) && line[13..16].trim_ascii().is_empty());
        if line[20] != b' ' && is_short_residue(&line[17..21]) {
            self.chains.insert([line[20], line[21]]);
        }
    }
}

/// Whether columns 18 to 21 hold the name of a residue of at most three letters and the first
/// letter of a chain, as far as the name tells.
fn is_short_residue(field: &[u8]) -> bool {
    let (three, four) = (field[..3].trim_ascii(), field.trim_ascii());
    let known = |name: &[u8]| names::is_polymer(name) || names::is_water(name);
    // A shorter name is right-justified.
    !known(four) && (known(three) || field[0] == b' ')
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

/// Reads an atom record; `segment` counts the ends of chains before it, `layout` knows its file.
///
/// # Errors
/// What is wrong with it.
pub(in crate::data) fn atom<'l>(
    line: &'l [u8],
    segment: u32,
    layout: &Layout,
) -> Result<Record<'l>, String> {
    const COORDINATES_END: usize = 54;
    if line.len() < COORDINATES_END {
        return Err(format!(
            "atom record of {} columns, where coordinates need {COORDINATES_END}: truncated",
            line.len()
        ));
    }
    let name = column(line, 12, 16);
    let segid = column(line, 72, 76);
    let (residue, chain) = residue_and_chain(line, layout);
    let [x, y, z] = [('x', 30), ('y', 38), ('z', 46)]
        .map(|(axis, from)| coordinate(axis, column(line, from, from + 8)));
    let columns = match line[12] {
        _ if !layout.aligned => Columns::Unknown,
        first if first.is_ascii_alphabetic() => Columns::First,
        _ => Columns::Second,
    };
    let named = Named {
        name,
        residue,
        columns,
        ..Named::default()
    };
    let number = column(line, 22, 26);
    Ok(Record {
        hetero: line.starts_with(b"HETATM"),
        name,
        altloc: line[16],
        residue,
        // A segment name stands in for a missing chain.
        chain: if chain.is_empty() { segid } else { chain },
        segid,
        segment,
        number: residue_number(number).ok_or_else(|| {
            let shown = String::from_utf8_lossy(number).into_owned();
            format!("residue number {shown:?} is not a number")
        })?,
        icode: line[26],
        position: [x?, y?, z?],
        occupancy: decimal(column(line, 54, 60)).unwrap_or(1.0),
        b_factor: decimal(column(line, 60, 66)),
        element: element::number(column(line, 76, 78)).unwrap_or_else(|| names::element(&named)),
    })
}

/// Column 21, blank by the format, belongs to residue names of four letters (TIP3, POPC) or to
/// chains of two.
fn residue_and_chain<'l>(line: &'l [u8], layout: &Layout) -> (&'l [u8], &'l [u8]) {
    let long_chain = line[20] != b' '
        && (is_short_residue(&line[17..21]) || layout.chains.contains(&[line[20], line[21]]));
    match long_chain {
        true => (column(line, 17, 20), column(line, 20, 22)),
        false => (column(line, 17, 21), column(line, 21, 22)),
    }
}

/// A finite number. Missing or malformed occupancies count as full, as in most programs.
fn decimal(text: &[u8]) -> Option<f32> {
    let value = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
    value.filter(|o: &f32| o.is_finite())
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
