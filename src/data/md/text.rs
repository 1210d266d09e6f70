//! Lines of a text file, whatever its bytes, gzipped or not.

use crate::{Error, Result, files};
use flate2::bufread::MultiGzDecoder;
use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Bytes of a line that are kept: far more than any format has columns.
const LONGEST: usize = 1 << 12;

/// The lines of an open file, one at a time.
pub(super) struct Lines {
    path: PathBuf,
    source: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    number: u64,
}

impl Lines {
    /// # Errors
    /// A missing or empty file.
    pub fn open(path: &Path) -> Result<Self> {
        const BUFFER: usize = 1 << 16;
        let io = |e| Error::io(path, e);
        let file = files::open(path)?;
        let mut file = BufReader::with_capacity(BUFFER, file);
        let head = file.fill_buf().map_err(io)?;
        if head.is_empty() {
            return Err(Error::file(path, "an empty file"));
        }
        let packed = head.starts_with(&[0x1f, 0x8b]);
        let source: Box<dyn BufRead + Send> = match packed {
            true => Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(file))),
            false => Box::new(file),
        };
        let mut lines = Self {
            path: path.to_path_buf(),
            source,
            line: Vec::new(),
            number: 0,
        };
        if lines.begin().map_err(|e| lines.failed(e))? {
            return Ok(lines);
        }
        let what = "UTF-16 or text without line feeds, and large: convert it to UTF-8 first";
        Err(Error::file(path, what))
    }

    /// Passes over a byte order mark. What is in UTF-16, or has no line feeds, is read as a whole;
    /// false if it is too large for that.
    fn begin(&mut self) -> std::io::Result<bool> {
        const MOST: u64 = 1 << 28;
        let head = self.source.fill_buf()?;
        let utf_16 = head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]);
        if utf_16 || (head.contains(&b'\r') && !head.contains(&b'\n')) {
            let mut whole = Vec::new();
            (&mut self.source).take(MOST).read_to_end(&mut whole)?;
            let fits = (whole.len() as u64) < MOST;
            self.source = Box::new(Cursor::new(files::plain(whole)));
            return Ok(fits);
        }
        if head.starts_with(files::UTF_8_MARK) {
            self.source.consume(files::UTF_8_MARK.len());
        }
        Ok(true)
    }

    /// An error about the line that was read last.
    pub fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::file(&self.path, format!("line {}: {what}", self.number))
    }

    /// The next line without its end, and of very long ones the beginning; `None` after the last.
    ///
    /// # Errors
    /// A failed read, damaged gzip.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>> {
        self.line.clear();
        self.number += 1;
        let mut any = false;
        loop {
            let piece = match self.source.fill_buf() {
                Ok(piece) => piece,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(self.failed(e)),
            };
            if piece.is_empty() {
                break;
            }
            any = true;
            let end = piece.iter().position(|&b| b == b'\n');
            let part = &piece[..end.unwrap_or(piece.len())];
            let room = LONGEST - self.line.len();
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            let used = part.len() + usize::from(end.is_some());
            self.source.consume(used);
            if end.is_some() {
                break;
            }
        }
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        Ok(any.then_some(self.line.as_slice()))
    }

    fn failed(&self, e: std::io::Error) -> Error {
        match e.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::InvalidInput | ErrorKind::InvalidData => {
                Error::file(
                    &self.path,
                    format!("damaged gzip file ({e}); fetch it again"),
                )
            }
            _ => Error::io(&self.path, e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_line_of_any_length_the_beginning_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long.pdb");
        std::fs::write(&path, format!("{}\r\nb\n", "a".repeat(10 << 20))).unwrap();
        let mut lines = Lines::open(&path).unwrap();
        let first = lines.next_line().unwrap().unwrap();
        assert!(first == [b'a'; LONGEST], "{} bytes", first.len());
        assert!(lines.line.capacity() < 1 << 16);
        assert_eq!(lines.next_line().unwrap(), Some(&b"b"[..]));
        assert_eq!(lines.next_line().unwrap(), None);
        assert_eq!(lines.number, 3);
    }
}
