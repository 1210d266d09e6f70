//! The atoms of an mmCIF file: its first `data_` block's `_atom_site` category.
//!
//! Author names (`auth_*`) are taken where the file has them, `label_*` otherwise: in each row and for
//! each value by itself, for either may be null (`.`, `?`).

use super::assemble::{Assembler, Model, Record, coordinate};
use super::b_factors::Slots;
use super::{Models, ReadOptions, element};
use crate::data::names::{self, Named};
use std::collections::HashMap;

/// The models of an mmCIF file that `options` ask for, in file order.
///
/// # Errors
/// What is wrong and in which line: a missing column, a row that ends early, a bad value.
pub(super) fn parse(text: &[u8], options: &ReadOptions) -> Result<Vec<Model>, String> {
    let mut tokens = Tokens::new(text);
    let Some(table) = find_atoms(&mut tokens)? else {
        return Err("no _atom_site category: an mmCIF file without atoms".into());
    };
    let columns =
        Columns::new(&table.names).map_err(|what| format!("line {}: {what}", table.line))?;
    // Models come one after the other; a number that returns goes to its own model.
    let mut models: Vec<(i32, Assembler)> = Vec::new();
    let mut places: HashMap<i32, usize> = HashMap::new();
    let mut row = table.first_row;
    while !row.is_empty() || table.looped {
        if table.looped && !next_row(&mut tokens, table.names.len(), &mut row)? {
            break;
        }
        let at_line = |what: String| format!("line {}: {what}", row[0].line);
        let (number, record) = columns.record(&row).map_err(at_line)?;
        let model = match places.get(&number) {
            Some(&i) => i,
            None if options.models == Models::First && !models.is_empty() => {
                let what = "files with further models, of which the first is read";
                models[0].1.notes().add(what, 1);
                break;
            }
            None => {
                models.push((number, Assembler::new(options)));
                places.insert(number, models.len() - 1);
                models.len() - 1
            }
        };
        let model = &mut models[model].1;
        match record {
            Some(record) => model.push(&record).map_err(at_line)?,
            None => model
                .notes()
                .add("atoms without coordinates, which are left out", 1),
        }
        if !table.looped {
            break;
        }
    }
    if models.is_empty() {
        return Err("the _atom_site category has no rows: an mmCIF file without atoms".into());
    }
    Ok(models.into_iter().map(|(n, m)| m.finish(n)).collect())
}

/// Where the B-factors of all atoms of a file stand.
///
/// # Errors
/// As [`parse`]; no column of B-factors.
pub(super) fn slots(text: &[u8], slots: &mut Slots) -> Result<(), String> {
    let mut tokens = Tokens::new(text);
    let Some(table) = find_atoms(&mut tokens)? else {
        return Err("no _atom_site category: an mmCIF file without atoms".into());
    };
    let at_line = |line: usize| move |what: String| format!("line {line}: {what}");
    let columns = Columns::new(&table.names).map_err(at_line(table.line))?;
    let none = "no column _atom_site.B_iso_or_equiv to write to; write a .defattr file".to_string();
    let b_factor = columns.b_factor.ok_or_else(|| at_line(table.line)(none))?;
    let mut row = table.first_row;
    while !row.is_empty() || table.looped {
        if table.looped && !next_row(&mut tokens, table.names.len(), &mut row)? {
            break;
        }
        let (number, record) = columns.record(&row).map_err(at_line(row[0].line))?;
        if let Some(record) = record {
            let value = row[b_factor].text;
            // A token is a part of the text.
            let start = value.as_ptr() as usize - text.as_ptr() as usize;
            slots.add(number, &record, start..start + value.len(), 0);
        }
        if !table.looped {
            break;
        }
    }
    Ok(())
}

/// A word or a quoted text.
#[derive(Clone, Copy)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a [u8],
    /// From 1.
    pub(crate) line: usize,
    quoted: bool,
}

impl<'a> Token<'a> {
    pub(crate) fn is_name(&self) -> bool {
        !self.quoted && self.text.starts_with(b"_")
    }

    pub(crate) fn is_word(&self, word: &[u8]) -> bool {
        let head = &self.text[..self.text.len().min(word.len())];
        !self.quoted && head.eq_ignore_ascii_case(word)
    }

    /// Whether it ends a loop's values.
    pub(crate) fn is_structural(&self) -> bool {
        self.is_name() || self.is_word(b"loop_") || self.is_word(b"data_") || self.is_word(b"save_")
    }

    /// The value, unless it is unknown or inapplicable.
    pub(crate) fn value(&self) -> Option<&'a [u8]> {
        let null = !self.quoted && (self.text == b"." || self.text == b"?");
        (!null).then_some(self.text)
    }
}

/// The words of a CIF file (Hall, Allen and Brown 1991; CIF 1.1 syntax).
#[derive(Clone, Copy)]
pub(crate) struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            at: 0,
            line: 1,
        }
    }

    /// The next word; `None` at the end.
    ///
    /// # Errors
    /// A text or quote that is not closed, with its line.
    pub(crate) fn next(&mut self) -> Result<Option<Token<'a>>, String> {
        self.skip_blanks();
        let Some(&first) = self.text.get(self.at) else {
            return Ok(None);
        };
        let line = self.line;
        let line_start = self.at == 0 || self.text[self.at - 1] == b'\n';
        let (text, quoted) = match first {
            b';' if line_start => (self.text_field()?, true),
            b'\'' | b'"' => (self.quoted(first)?, true),
            _ => {
                let rest = &self.text[self.at..];
                let end = rest.iter().position(u8::is_ascii_whitespace);
                let word = &rest[..end.unwrap_or(rest.len())];
                self.at += word.len();
                (word, false)
            }
        };
        Ok(Some(Token { text, line, quoted }))
    }

    fn skip_blanks(&mut self) {
        while let Some(&b) = self.text.get(self.at) {
            match b {
                b'\n' => self.line += 1,
                b'#' => {
                    let rest = &self.text[self.at..];
                    self.at += rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
                    continue;
                }
                _ if b.is_ascii_whitespace() => {}
                _ => break,
            }
            self.at += 1;
        }
    }

    /// From a `;` at the start of a line to the next one.
    fn text_field(&mut self) -> Result<&'a [u8], String> {
        let start = self.at + 1;
        let rest = &self.text[start..];
        let end = rest.windows(2).position(|w| w == b"\n;").ok_or_else(|| {
            format!(
                "line {}: the file ends inside this text field: truncated",
                self.line
            )
        })?;
        let field = &rest[..end];
        self.line += field.iter().filter(|&&b| b == b'\n').count() + 1;
        self.at = start + end + 2;
        Ok(field)
    }

    /// Up to a closing quote that a blank follows.
    fn quoted(&mut self, quote: u8) -> Result<&'a [u8], String> {
        let start = self.at + 1;
        let rest = &self.text[start..];
        let line_end = rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
        let closes =
            |&i: &usize| rest[i] == quote && rest.get(i + 1).is_none_or(u8::is_ascii_whitespace);
        let end = (0..line_end)
            .find(closes)
            .ok_or_else(|| format!("line {}: a quote that is not closed", self.line))?;
        self.at = start + end + 1;
        Ok(&rest[..end])
    }
}

/// The `_atom_site` category: its column names, and its one row where it is no loop.
struct Table<'a> {
    names: Vec<&'a [u8]>,
    first_row: Vec<Token<'a>>,
    looped: bool,
    line: usize,
}

fn atom_site(token: &Token) -> bool {
    token.is_name() && token.is_word(b"_atom_site.")
}

/// Moves past the header of the `_atom_site` loop.
fn find_atoms<'a>(tokens: &mut Tokens<'a>) -> Result<Option<Table<'a>>, String> {
    let mut in_loop_header = false;
    while let Some(token) = tokens.next()? {
        if atom_site(&token) {
            return Ok(Some(table(tokens, token, in_loop_header)?));
        }
        in_loop_header = token.is_word(b"loop_") && token.text.len() == 5;
    }
    Ok(None)
}

fn table<'a>(tokens: &mut Tokens<'a>, first: Token<'a>, looped: bool) -> Result<Table<'a>, String> {
    let mut table = Table {
        names: vec![first.text],
        first_row: Vec::new(),
        looped,
        line: first.line,
    };
    if !looped {
        table.first_row.extend(tokens.next()?);
    }
    loop {
        let before = *tokens;
        match tokens.next()? {
            Some(token) if atom_site(&token) => {
                table.names.push(token.text);
                if !looped {
                    table.first_row.extend(tokens.next()?);
                }
            }
            _ => {
                *tokens = before;
                break;
            }
        }
    }
    if !looped && table.first_row.len() < table.names.len() {
        return Err(format!(
            "line {}: _atom_site ends early: truncated",
            table.line
        ));
    }
    Ok(table)
}

/// Reads a row of a loop; `false` at its end.
fn next_row<'a>(
    tokens: &mut Tokens<'a>,
    width: usize,
    row: &mut Vec<Token<'a>>,
) -> Result<bool, String> {
    row.clear();
    while row.len() < width {
        match tokens.next()? {
            Some(token) if !token.is_structural() => row.push(token),
            _ => break,
        }
    }
    match row.len() {
        0 => Ok(false),
        n if n == width => Ok(true),
        n => Err(format!(
            "line {}: an atom of {n} values, where the header names {width} columns: truncated \
             or malformed",
            row[0].line
        )),
    }
}

/// Where the columns are.
struct Columns {
    group: Option<usize>,
    symbol: Option<usize>,
    name: Pair,
    altloc: Option<usize>,
    residue: Pair,
    chain: Pair,
    number: Pair,
    icode: Option<usize>,
    xyz: [usize; 3],
    occupancy: Option<usize>,
    b_factor: Option<usize>,
    model: Option<usize>,
}

/// The places of two columns that say the same, the preferred one first.
#[derive(Clone, Copy)]
struct Pair([Option<usize>; 2]);

impl Pair {
    /// The first value of a row that is not null.
    fn value<'a>(self, row: &[Token<'a>]) -> Option<&'a [u8]> {
        self.0.into_iter().flatten().find_map(|c| row[c].value())
    }
}

impl Columns {
    fn new(names: &[&[u8]]) -> Result<Self, String> {
        let find = |column: &str| {
            names.iter().position(|n| {
                let name = &n["_atom_site.".len()..];
                name.eq_ignore_ascii_case(column.as_bytes())
            })
        };
        let pair = |columns: [&str; 2]| match columns.map(find) {
            [None, None] => Err(format!(
                "missing column _atom_site.{} or _atom_site.{}",
                columns[0], columns[1]
            )),
            places => Ok(Pair(places)),
        };
        let needed =
            |column: &str| find(column).ok_or(format!("missing column _atom_site.{column}"));
        Ok(Self {
            group: find("group_PDB"),
            symbol: find("type_symbol"),
            name: pair(["label_atom_id", "auth_atom_id"])?,
            altloc: find("label_alt_id"),
            residue: pair(["auth_comp_id", "label_comp_id"])?,
            chain: pair(["auth_asym_id", "label_asym_id"])?,
            number: pair(["auth_seq_id", "label_seq_id"])?,
            icode: find("pdbx_PDB_ins_code"),
            xyz: [needed("Cartn_x")?, needed("Cartn_y")?, needed("Cartn_z")?],
            occupancy: find("occupancy"),
            b_factor: find("B_iso_or_equiv"),
            model: find("pdbx_PDB_model_num"),
        })
    }

    /// A row's model number and atom; `None` for an atom whose place is unknown.
    fn record<'a>(&self, row: &[Token<'a>]) -> Result<(i32, Option<Record<'a>>), String> {
        let optional = |column: Option<usize>| column.and_then(|c| row[c].value());
        let needed = |column: Pair, what: &str| {
            let value = column.value(row);
            value.ok_or_else(|| format!("an atom without {what}"))
        };
        let model = optional(self.model).map_or(Ok(1), |t| integer(t, "model number"))?;
        // Waters are left out anyway: what they lack is no fault of the file.
        let water = self.residue.value(row).is_some_and(names::is_water);
        let mut lacking = self.xyz.iter().map(|&c| row[c].value().is_none());
        let placeless = match water {
            true => lacking.any(|l| l),
            false => lacking.all(|l| l),
        };
        if placeless {
            return Ok((model, None));
        }
        let residue = needed(self.residue, "a residue name")?;
        let name = match self.name.value(row) {
            None if water => &b""[..],
            name => name.ok_or("an atom without a name")?,
        };
        let [x, y, z] = [0, 1, 2].map(|i| coordinate(['x', 'y', 'z'][i], row[self.xyz[i]].text));
        let decimal = |column| {
            let number = optional(column).and_then(|t| std::str::from_utf8(t).ok()?.parse().ok());
            number.filter(|o: &f32| o.is_finite())
        };
        let one = |column| optional(column).and_then(|t| t.first().copied());
        // Ligands and water have no number in `label_seq_id`.
        let number = self.number.value(row);
        let number = number.map_or(Ok(0), |t| integer(t, "residue number"))?;
        let named = || {
            names::element(&Named {
                name,
                residue,
                ..Named::default()
            })
        };
        let record = Record {
            hetero: optional(self.group) == Some(b"HETATM"),
            name,
            altloc: one(self.altloc).unwrap_or(b' '),
            residue,
            chain: self.chain.value(row).unwrap_or_default(),
            segid: b"",
            segment: 0,
            number,
            icode: one(self.icode).unwrap_or(b' '),
            position: [x?, y?, z?],
            occupancy: decimal(self.occupancy).unwrap_or(1.0),
            b_factor: decimal(self.b_factor),
            element: optional(self.symbol)
                .and_then(element::number)
                .unwrap_or_else(named),
        };
        Ok((model, Some(record)))
    }
}

fn integer(text: &[u8], what: &str) -> Result<i32, String> {
    let value = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
    let shown = || String::from_utf8_lossy(text).into_owned();
    value.ok_or_else(|| format!("{what} {:?} is not a number", shown()))
}
