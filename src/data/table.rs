//! Tables that users write: CSV and TSV files whose first line names the columns.
//!
//! Commas, tabs or semicolons part the columns, whichever the first line has most of. Cells may be
//! quoted, blanks around them do not count, nor does a byte order mark; the file may be gzipped, and
//! text that is not UTF-8 is read as Latin-1.
//! Lines are counted from 1 as an editor does, blank and quoted ones included.

use crate::data::structure::gunzip;
use crate::{Error, Result, files};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A table, in memory.
pub struct Table {
    path: PathBuf,
    columns: Vec<String>,
    rows: Vec<Line>,
}

/// Cells and where they stand.
struct Line {
    number: u64,
    cells: csv::StringRecord,
}

/// What may part columns, in the order of preference.
const DELIMITERS: [u8; 3] = [b',', b'\t', b';'];

impl Table {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that cannot be read; a line with more or fewer cells than the
    /// first one.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(path, &bytes(path)?, None)
    }

    /// [`Table::read`] for files in which lines that begin with `#` are remarks.
    ///
    /// # Errors
    /// As [`Table::read`].
    pub fn read_with_remarks(path: &Path) -> Result<Self> {
        Self::parse(path, &bytes(path)?, Some(b'#'))
    }

    fn parse(path: &Path, bytes: &[u8], remark: Option<u8>) -> Result<Self> {
        if is_binary(bytes) {
            return Err(Error::file(
                path,
                "not a table: a binary file, where CSV or TSV is needed",
            ));
        }
        let text = text(path, bytes);
        let text = text.as_bytes();
        let mut lines = Lines {
            text,
            remark,
            at: 0,
            number: 1,
        };
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter(&text[lines.skip(0)..]))
            .trim(csv::Trim::All)
            .comment(remark)
            .from_reader(text);
        let mut table = Self {
            path: path.to_path_buf(),
            columns: Vec::new(),
            rows: Vec::new(),
        };
        let mut cells = csv::StringRecord::new();
        let mut first = true;
        loop {
            let start = reader.position().byte() as usize;
            let more = reader.read_record(&mut cells);
            let number = lines.number(start);
            let bad = |what: String| Error::file(path, format!("line {number}: {what}"));
            if !more.map_err(|e| bad(e.to_string()))? {
                return Ok(table);
            }
            if std::mem::take(&mut first) {
                table.columns = cells.iter().map(str::to_string).collect();
            } else if cells.iter().any(|c| !c.is_empty()) {
                let (here, wanted) = (cells.len(), table.columns.len());
                if here != wanted {
                    let what = format!("{here} columns where the first line has {wanted}");
                    return Err(bad(what));
                }
                let cells = cells.clone();
                table.rows.push(Line { number, cells });
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the columns, as they are written.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The rows that are not blank, in order.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|line| Row { table: self, line })
    }

    /// The place of the column of this name: the one that is written so, else the one that is but
    /// for letter case.
    ///
    /// # Errors
    /// Several such columns.
    pub fn find(&self, name: &str) -> Result<Option<usize>> {
        let places = |same: fn(&str, &str) -> bool| -> Vec<usize> {
            let all = self.columns.iter().enumerate();
            let fitting = all.filter(|(_, c)| same(c, name));
            fitting.map(|(place, _)| place).collect()
        };
        let mut found = places(|a, b| a == b);
        if found.is_empty() {
            found = places(str::eq_ignore_ascii_case);
        }
        match found[..] {
            [] => Ok(None),
            [place] => Ok(Some(place)),
            _ => Err(self.in_header(format!("two columns {name:?}: rename or remove one"))),
        }
    }

    /// [`Table::find`] for a column that must be there.
    ///
    /// # Errors
    /// No such column: those that are there are listed.
    pub fn column(&self, name: &str) -> Result<usize> {
        self.find(name)?
            .ok_or_else(|| self.in_header(format!("no column {name:?}; {}", self.listed())))
    }

    /// Which columns there are, for an error.
    pub fn listed(&self) -> String {
        match self.columns.is_empty() {
            true => "the file is empty".into(),
            false => format!("the columns are {}", self.columns.join(", ")),
        }
    }

    /// # Errors
    /// Two columns of one name; several may have none, as an index that pandas writes has.
    pub fn check_names(&self) -> Result<()> {
        let mut names: Vec<&String> = self.columns.iter().filter(|c| !c.is_empty()).collect();
        names.sort();
        match names.windows(2).find(|w| w[0] == w[1]) {
            Some(w) => Err(self.in_header(format!("two columns {:?}: rename or remove one", w[0]))),
            None => Ok(()),
        }
    }

    /// An error about the first line.
    pub fn in_header(&self, what: impl Display) -> Error {
        Error::file(&self.path, format!("line 1: {what}"))
    }
}

/// A row of a table.
#[derive(Clone, Copy)]
pub struct Row<'t> {
    table: &'t Table,
    line: &'t Line,
}

impl<'t> Row<'t> {
    /// Number of its (first) line in the file, from 1.
    pub fn line(self) -> u64 {
        self.line.number
    }

    /// The cell in a column, empty where it is blank.
    pub fn text(self, column: usize) -> &'t str {
        &self.line.cells[column]
    }

    /// The cell in a column that may be missing; `None` where the column or the text is.
    pub fn optional(self, column: Option<usize>) -> Option<&'t str> {
        column.map(|c| self.text(c)).filter(|t| !t.is_empty())
    }

    /// The cell in a column that must not be blank.
    ///
    /// # Errors
    /// A blank cell.
    pub fn filled(self, column: usize) -> Result<&'t str> {
        match self.text(column) {
            "" => Err(self.error(format!("{} is empty", self.table.columns[column]))),
            text => Ok(text),
        }
    }

    /// The cell in a column as a value; `what` says what that is (`a whole number`).
    ///
    /// # Errors
    /// Text that is no such value.
    pub fn parse<T: FromStr>(self, column: usize, what: &str) -> Result<T> {
        let text = self.text(column);
        text.parse().map_err(|_| {
            let name = &self.table.columns[column];
            self.error(format!("{name} {text:?} is not {what}"))
        })
    }

    /// An error about this row.
    pub fn error(self, what: impl Display) -> Error {
        let line = self.line.number;
        Error::file(&self.table.path, format!("line {line}: {what}"))
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>> {
    let raw = files::read(path)?;
    match raw.starts_with(&[0x1f, 0x8b]) {
        true => gunzip(path, &raw),
        false => Ok(raw),
    }
}

/// Whether a file is no text at all: zero bytes near its beginning, where it is not UTF-16.
fn is_binary(bytes: &[u8]) -> bool {
    let utf_16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    !utf_16 && bytes.iter().take(512).any(|&b| b == 0)
}

/// The text of a table. What is not UTF-8 is taken for Latin-1, in which old spreadsheets write: every
/// byte is then a character, and what such a cell says is right in most of Europe's languages.
fn text(path: &Path, bytes: &[u8]) -> String {
    String::from_utf8(files::plain(bytes.to_vec())).unwrap_or_else(|e| {
        let at = e.utf8_error().valid_up_to();
        let name = path.display();
        log::warn!("{name}: byte {at} is not UTF-8: the table is read as Latin-1");
        e.into_bytes().into_iter().map(char::from).collect()
    })
}

/// The delimiter that the first line has most of outside quotes.
fn delimiter(text: &[u8]) -> u8 {
    let mut quoted = false;
    let mut counts = [0usize; DELIMITERS.len()];
    for &byte in text {
        quoted ^= byte == b'"';
        if !quoted && matches!(byte, b'\n' | b'\r') {
            break;
        }
        if let Some(i) = DELIMITERS.iter().position(|&d| d == byte && !quoted) {
            counts[i] += 1;
        }
    }
    let most = counts.into_iter().max().unwrap_or(0);
    let first = counts.iter().position(|&c| c == most);
    DELIMITERS[first.unwrap_or(0)]
}

/// Numbers of lines, counted once from the start of the text on. The numbers that the CSV reader
/// keeps are those of the blank lines and remarks before a row.
struct Lines<'t> {
    text: &'t [u8],
    remark: Option<u8>,
    at: usize,
    number: u64,
}

impl Lines<'_> {
    /// The number of the first line from `start` on that holds anything.
    fn number(&mut self, start: usize) -> u64 {
        let here = self.skip(start);
        let passed = &self.text[self.at..here];
        self.number += passed.iter().filter(|&&b| b == b'\n').count() as u64;
        self.at = here;
        self.number
    }

    /// Where the first line from `start` on begins that is neither blank nor a remark.
    fn skip(&self, start: usize) -> usize {
        let mut at = start.min(self.text.len());
        while let Some(&byte) = self.text.get(at) {
            let rest = &self.text[at..];
            at += match byte {
                b'\n' | b'\r' => 1,
                b if Some(b) == self.remark => {
                    rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len())
                }
                _ => break,
            };
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Result<Table> {
        Table::parse(Path::new("a/t.csv"), text.as_bytes(), None)
    }

    fn refused(text: &str) -> String {
        table(text).map(drop).unwrap_err().to_string()
    }

    #[test]
    fn delimiters_marks_and_case_do_not_matter() {
        for text in [
            "id,pK\na,7.5\n",
            "ID\tpk\na\t7.5",
            "Id;PK\r\na;7.5\r\n",
            "\u{feff}\"id\" ,\"pK\" \n\n a ,\"7.5\"\n\n",
            "id,pK\n,\n  \na,7.5\n , \n",
        ] {
            let table = table(text).unwrap();
            let (id, pk) = (table.column("id").unwrap(), table.column("pK").unwrap());
            let rows: Vec<Row> = table.rows().collect();
            assert_eq!(rows.len(), 1, "{text:?}");
            assert_eq!(rows[0].filled(id).unwrap(), "a", "{text:?}");
            assert_eq!(rows[0].parse::<f64>(pk, "a number").unwrap(), 7.5);
        }
        // What stands in quotes parts no columns.
        let quoted = table("\"a;b;c\",\"d\te\"\n1,2\n").unwrap();
        assert_eq!(quoted.columns(), ["a;b;c", "d\te"]);
        let one = table("id\na b\n").unwrap();
        assert_eq!(one.rows().next().unwrap().text(0), "a b");
    }

    #[test]
    fn lines_are_those_of_an_editor() {
        for end in ["\n", "\r\n"] {
            let text = "a,b\n\n1,2\n\"3\n3\",4\n\n\n5,6\n".replace('\n', end);
            let table = table(&text).unwrap();
            let lines: Vec<u64> = table.rows().map(Row::line).collect();
            assert_eq!(lines, [3, 4, 8], "{text:?}");
        }
        let text = b"# two\n# remarks\na;b\n1;2\n#,,,,\n\n3;4";
        let remarks = Table::parse(Path::new("t"), text, Some(b'#')).unwrap();
        assert_eq!(remarks.columns(), ["a", "b"]);
        assert_eq!(remarks.rows().map(Row::line).collect::<Vec<_>>(), [4, 7]);
        // Elsewhere it is text.
        assert_eq!(table("a\n#1\n").unwrap().rows().count(), 1);
    }

    #[test]
    fn names_are_found_or_listed() {
        let table = table("Group,group,ID,id \n").unwrap();
        assert_eq!(table.find("group").unwrap(), Some(1));
        assert_eq!(table.find("id").unwrap(), Some(3));
        assert_eq!(table.find("split").unwrap(), None);
        let error = table.column("split").unwrap_err().to_string();
        assert_eq!(
            error,
            "a/t.csv: line 1: no column \"split\"; the columns are Group, group, ID, id"
        );
        let twice = table.find("GROUP").unwrap_err().to_string();
        assert!(twice.contains("line 1: two columns \"GROUP\""), "{twice}");
        table.check_names().unwrap();
        super::tests::table(",,a\n0,1,2\n")
            .unwrap()
            .check_names()
            .unwrap();
        let same = super::tests::table("a,b,a\n").unwrap();
        assert!(same.check_names().is_err() && same.find("a").is_err());
        let empty = super::tests::table("").unwrap().column("id").unwrap_err();
        assert!(
            empty
                .to_string()
                .ends_with("no column \"id\"; the file is empty"),
            "{empty}"
        );
    }

    #[test]
    fn binary_files_are_no_tables() {
        for text in ["holosig dataset version=2\n\0\0", "\0", "id,pK\na,\0\n"] {
            assert!(
                refused(text).contains("a/t.csv: not a table: a binary file"),
                "{text:?}"
            );
        }
        let wide: Vec<u8> = "\u{feff}id\na\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let table = Table::parse(Path::new("t.csv"), &wide, None).unwrap();
        assert_eq!(table.columns(), ["id"]);
    }

    #[test]
    fn mistakes_are_placed() {
        let short = refused("a,b\n1,2\n\n3\n");
        assert_eq!(
            short,
            "a/t.csv: line 4: 1 columns where the first line has 2"
        );
        assert!(refused("a\n1,2\n").contains("line 2: 2 columns where the first line has 1"));
        let latin = Table::parse(Path::new("t"), b"a\nM\xfcller\n", None).unwrap();
        assert_eq!(latin.rows().next().unwrap().text(0), "Müller");
        let table = table("a,b\nx,\n").unwrap();
        let row = table.rows().next().unwrap();
        let empty = row.filled(1).unwrap_err().to_string();
        assert_eq!(empty, "a/t.csv: line 2: b is empty");
        let number = row.parse::<i32>(0, "a whole number").unwrap_err();
        assert!(
            number
                .to_string()
                .ends_with("line 2: a \"x\" is not a whole number")
        );
        assert_eq!((row.optional(Some(1)), row.optional(None)), (None, None));
    }

    #[test]
    fn files_are_read_plain_and_packed() {
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv.gz");
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"a\n1\n").unwrap();
        std::fs::write(&path, packed.finish().unwrap()).unwrap();
        assert_eq!(Table::read(&path).unwrap().rows().count(), 1);
        for (path, what) in [
            (folder.path().join("none"), "no such file"),
            (folder.path().to_path_buf(), "a folder"),
        ] {
            let error = Table::read(&path).map(drop).unwrap_err();
            assert_eq!(error.exit_code(), crate::error::EXIT_INPUT);
            assert!(error.to_string().contains(what), "{error}");
        }
    }
}
