//! The reader of ProteinNet text.

use super::{Fields, Record, RecordId, Tertiary};
use crate::{Error, Result, files};
use flate2::bufread::MultiGzDecoder;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

/// A line of a protein of 100,000 residues has half of this.
const LONGEST_LINE: usize = 64 << 20;
const EVOLUTIONARY_LINES: usize = 21;
const ANGSTROM_PER_PICOMETRE: f64 = 0.01;

/// Reads the records of a ProteinNet text file, plain or gzipped, and hands each to `each`.
/// Returns how many there were.
///
/// # Errors
/// The file cannot be read; it is not of the format; a record is cut, or its lines do not
/// agree in number or length; a coordinate is not a finite number; coordinates are asked for
/// and a record has none; what `each` returns. The file, the line and the record are named.
pub fn read(
    path: &Path,
    fields: Fields,
    mut each: impl FnMut(Record) -> Result<()>,
) -> Result<usize> {
    let mut reader = Reader::open(path)?;
    let mut records = 0;
    while let Some(record) = reader.record(fields)? {
        each(record)?;
        records += 1;
    }
    if records == 0 {
        return Err(Error::file(path, "no ProteinNet record in this file"));
    }
    Ok(records)
}

struct Reader<'a> {
    path: &'a Path,
    source: Box<dyn BufRead>,
    /// The current line, without white space at its end.
    line: Vec<u8>,
    /// Its number, from 1.
    number: u64,
    /// The current line is to be read again.
    again: bool,
    /// Id of the record in hand.
    id: Option<RecordId>,
}

impl<'a> Reader<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        let mut file = BufReader::with_capacity(1 << 20, files::open(path)?);
        let start = file.fill_buf().map_err(|e| Error::io(path, e))?;
        let source: Box<dyn BufRead> = if start.starts_with(&[0x1f, 0x8b]) {
            let text = MultiGzDecoder::new(file);
            Box::new(BufReader::with_capacity(1 << 20, text))
        } else {
            Box::new(file)
        };
        Ok(Self {
            path,
            source,
            line: Vec::new(),
            number: 0,
            again: false,
            id: None,
        })
    }

    fn record(&mut self, fields: Fields) -> Result<Option<Record>> {
        self.id = None;
        while self.advance()? && self.line.is_empty() {}
        if self.line.is_empty() {
            return Ok(None);
        }
        if self.line != b"[ID]" {
            return Err(self.error("expected [ID]: not ProteinNet text, or damaged"));
        }
        let id = self.read_id()?;
        let line = self.number;
        self.id = Some(id.clone());
        let sections = self.sections(fields)?;
        let Some(sequence) = sections.sequence else {
            return Err(self.error("there is no [PRIMARY]"));
        };
        let tertiary = match (fields, sections.backbone, sections.mask) {
            (Fields::Sequence, ..) => None,
            (_, Some(backbone), Some(mask)) => Some(Tertiary { backbone, mask }),
            (_, None, _) => return Err(self.error("there is no [TERTIARY]: no coordinates")),
            (_, _, None) => return Err(self.error("there is no [MASK]: which coordinates count?")),
        };
        Ok(Some(Record {
            id,
            line,
            sequence,
            tertiary,
        }))
    }

    fn read_id(&mut self) -> Result<RecordId> {
        self.content("[ID]")?;
        let text = std::str::from_utf8(&self.line).unwrap_or_default();
        if text.is_empty() || text.contains(char::is_whitespace) || text.len() > 256 {
            return Err(self.error("expected a record's id"));
        }
        Ok(RecordId::new(text))
    }

    fn sections(&mut self, fields: Fields) -> Result<Sections> {
        let mut sections = Sections::default();
        let mut skipping = false;
        while self.advance()? {
            let length = sections.sequence.as_ref().map(String::len);
            match (&self.line[..], length) {
                (b"", _) => return Ok(sections),
                (b"[ID]", _) => {
                    self.again = true;
                    break;
                }
                (b"[PRIMARY]", None) => sections.sequence = Some(self.primary()?),
                (b"[PRIMARY]", Some(_)) => return Err(self.error("a second [PRIMARY]")),
                (b"[EVOLUTIONARY]", Some(length)) => {
                    for _ in 0..EVOLUTIONARY_LINES {
                        self.numbers("[EVOLUTIONARY]", length)?;
                    }
                }
                (b"[TERTIARY]", Some(length)) => {
                    sections.backbone = self.tertiary(length, fields)?;
                }
                (b"[MASK]", Some(length)) => sections.mask = Some(self.mask(length)?),
                (b"[EVOLUTIONARY]" | b"[TERTIARY]" | b"[MASK]", None) => {
                    return Err(self.error("expected [PRIMARY] first"));
                }
                ([b'[', ..], _) => {
                    skipping = true;
                    continue;
                }
                _ if skipping => continue,
                _ => return Err(self.error("expected a section or an empty line")),
            }
            skipping = false;
        }
        // No empty line ends the record: it is whole only if its last section is there.
        match sections.mask {
            Some(_) => Ok(sections),
            None => Err(self.cut()),
        }
    }

    fn primary(&mut self) -> Result<String> {
        self.content("[PRIMARY]")?;
        match std::str::from_utf8(&self.line) {
            Ok(text) if text.bytes().all(|b| b.is_ascii_alphabetic()) => Ok(text.to_owned()),
            _ => Err(self.error("[PRIMARY] holds something else than letters")),
        }
    }

    /// `None` if the coordinates are not asked for.
    fn tertiary(&mut self, length: usize, fields: Fields) -> Result<Option<Backbone>> {
        let mut backbone = vec![[[0.0; 3]; 3]; length];
        for axis in 0..3 {
            self.numbers("[TERTIARY]", 3 * length)?;
            if fields == Fields::Sequence {
                continue;
            }
            let words = self.line.split(u8::is_ascii_whitespace);
            let words = words.filter(|w| !w.is_empty());
            for (atom, word) in backbone.iter_mut().flatten().zip(words) {
                let text = std::str::from_utf8(word).unwrap_or_default();
                let number = text.parse::<f64>().ok().filter(|x| x.is_finite());
                let Some(picometres) = number else {
                    let word = String::from_utf8_lossy(&word[..word.len().min(40)]);
                    return Err(self.error(format!("[TERTIARY]: {word:?} is not a finite number")));
                };
                atom[axis] = (picometres * ANGSTROM_PER_PICOMETRE) as f32;
            }
        }
        Ok((fields == Fields::Backbone).then_some(backbone))
    }

    fn mask(&mut self, length: usize) -> Result<Vec<bool>> {
        self.content("[MASK]")?;
        self.agree("[MASK]", self.line.len(), length)?;
        let signs = self.line.iter().map(|sign| match sign {
            b'+' => Some(true),
            b'-' => Some(false),
            _ => None,
        });
        let mask: Option<Vec<bool>> = signs.collect();
        mask.ok_or_else(|| self.error("[MASK] holds something else than + and -"))
    }

    /// Moves to a line of `expected` numbers, which are counted, not parsed.
    fn numbers(&mut self, section: &str, expected: usize) -> Result<()> {
        self.content(section)?;
        self.agree(section, count_words(&self.line), expected)
    }

    fn agree(&self, section: &str, found: usize, expected: usize) -> Result<()> {
        if found == expected {
            return Ok(());
        }
        Err(self.error(format!(
            "{section} has {found} values in this line where the sequence asks for {expected}"
        )))
    }

    /// Moves to a line that must be there and hold something.
    fn content(&mut self, section: &str) -> Result<()> {
        if !self.advance()? {
            return Err(self.cut());
        }
        if self.line.is_empty() || self.line.starts_with(b"[") {
            return Err(self.error(format!("{section} has too few lines")));
        }
        Ok(())
    }

    /// Moves to the next line; false at the end of the file.
    fn advance(&mut self) -> Result<bool> {
        if std::mem::take(&mut self.again) {
            return Ok(true);
        }
        self.line.clear();
        let mut limited = (&mut self.source).take(LONGEST_LINE as u64);
        let read = limited.read_until(b'\n', &mut self.line);
        match read {
            Ok(0) => return Ok(false),
            Ok(_) => self.number += 1,
            Err(e) => return Err(self.failed(e)),
        }
        if self.number == 1 && self.line.starts_with(files::UTF_8_MARK) {
            self.line.drain(..files::UTF_8_MARK.len());
        }
        if self.line.len() == LONGEST_LINE {
            return Err(self.error("the line has no end: not ProteinNet text"));
        }
        self.line.truncate(self.line.trim_ascii_end().len());
        Ok(true)
    }

    fn failed(&self, e: std::io::Error) -> Error {
        match e.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput => {
                self.error("the gzip data end too early or are damaged: copy the file again")
            }
            _ => Error::io(self.path, e),
        }
    }

    fn cut(&self) -> Error {
        self.error("the record is cut: the file ends too early or lines are missing")
    }

    fn error(&self, what: impl std::fmt::Display) -> Error {
        let record = match &self.id {
            Some(id) => format!("record {id}: "),
            None => String::new(),
        };
        Error::file(self.path, format!("line {}: {record}{what}", self.number))
    }
}

type Backbone = Vec<[[f32; 3]; 3]>;

#[derive(Default)]
struct Sections {
    sequence: Option<String>,
    backbone: Option<Backbone>,
    mask: Option<Vec<bool>>,
}

fn count_words(line: &[u8]) -> usize {
    let starts = |after: u8, byte: u8| after.is_ascii_whitespace() && !byte.is_ascii_whitespace();
    let first = line.first().is_some_and(|b| !b.is_ascii_whitespace());
    let others = line.windows(2).filter(|w| starts(w[0], w[1])).count();
    usize::from(first) + others
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
