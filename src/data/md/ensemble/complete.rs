//! Whether a trajectory file holds whole frames only.
//!
//! A file that a crash, a full disk or a broken copy cut short ends in part of a frame. Readers
//! drop that part in silence, so it is looked for here, by the formats' own record lengths.

use crate::{Error, Result, files};
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

/// # Errors
/// A file that ends within a frame, or whose frames do not follow each other.
pub(super) fn check(path: &Path) -> Result<()> {
    let name = path.to_string_lossy().to_lowercase();
    let walk = match name.rsplit('.').next() {
        Some("xtc") => xtc,
        Some("trr") => trr,
        Some("dcd") => dcd,
        Some("pdb" | "ent") => pdb,
        _ => return Ok(()),
    };
    let file = files::open(path)?;
    let length = file.metadata().map_err(|e| Error::io(path, e))?.len();
    if length == 0 {
        return Err(Error::file(path, "an empty file"));
    }
    let mut records = Records {
        file: BufReader::with_capacity(1 << 12, file),
        at: 0,
        length,
        big_endian: true,
    };
    walk(&mut records).map_err(|e| match e {
        Broken::Truncated { whole: 0 } => Error::file(
            path,
            "truncated: it ends within its first frame; copy it again",
        ),
        Broken::Truncated { whole } => Error::file(
            path,
            format!(
                "truncated: it ends within frame {whole}; cut it back to its {whole} whole frames \
                 (gmx trjconv, cpptraj or catdcd can) or copy it again"
            ),
        ),
        Broken::Foreign(what) => Error::file(path, what),
        Broken::Io(e) => Error::io(path, e),
    })
}

enum Broken {
    Truncated { whole: u64 },
    Foreign(String),
    Io(std::io::Error),
}

impl From<std::io::Error> for Broken {
    fn from(e: std::io::Error) -> Self {
        match e.kind() {
            ErrorKind::UnexpectedEof => Broken::Truncated { whole: 0 },
            _ => Broken::Io(e),
        }
    }
}

struct Records {
    file: BufReader<File>,
    at: u64,
    length: u64,
    big_endian: bool,
}

impl Records {
    fn seek(&mut self, to: u64) -> std::io::Result<()> {
        // Relative, so that short steps stay within the buffer.
        self.file.seek_relative(to as i64 - self.at as i64)?;
        self.at = to;
        Ok(())
    }

    fn number(&mut self) -> std::io::Result<i64> {
        let mut bytes = [0; 4];
        self.file.read_exact(&mut bytes)?;
        self.at += 4;
        Ok(i64::from(match self.big_endian {
            true => i32::from_be_bytes(bytes),
            false => i32::from_le_bytes(bytes),
        }))
    }

    /// Walks frames from the start; `frame` reads a header at the given place and returns the
    /// whole length of that frame.
    fn walk(
        &mut self,
        mut frame: impl FnMut(&mut Records) -> std::result::Result<u64, Broken>,
    ) -> std::result::Result<(), Broken> {
        let (mut start, mut whole) = (0, 0);
        while start < self.length {
            self.seek(start)?;
            let length = match frame(self) {
                Err(Broken::Truncated { .. }) => return Err(Broken::Truncated { whole }),
                other => other?,
            };
            start += length;
            if start > self.length {
                return Err(Broken::Truncated { whole });
            }
            whole += 1;
        }
        Ok(())
    }
}

fn size(number: i64, what: &str, at: u64) -> std::result::Result<u64, Broken> {
    u64::try_from(number).map_err(|_| damaged(what, at))
}

fn damaged(what: &str, at: u64) -> Broken {
    Broken::Foreign(format!("not a {what} file, or damaged at byte {at}"))
}

fn xtc(records: &mut Records) -> std::result::Result<(), Broken> {
    const MAGIC: i64 = 1995;
    // Magic number, atoms, step, time, box, atoms again.
    const HEADER: u64 = 56;
    records.walk(|r| {
        let at = r.at;
        if r.number()? != MAGIC {
            return Err(damaged("XTC", at));
        }
        let atoms = size(r.number()?, "XTC", at)?;
        if atoms <= 9 {
            return Ok(HEADER + 12 * atoms);
        }
        // Then precision, the bounds of the integers, an index, and the length of what follows.
        r.seek(at + HEADER + 32)?;
        let packed = size(r.number()?, "XTC", at)?;
        Ok(HEADER + 36 + packed.next_multiple_of(4))
    })
}

fn trr(records: &mut Records) -> std::result::Result<(), Broken> {
    const MAGIC: i64 = 1993;
    // Sizes of the blocks of a frame; the eighth is the positions, the third the box.
    const BLOCKS: usize = 10;
    records.walk(|r| {
        let at = r.at;
        if r.number()? != MAGIC {
            return Err(damaged("TRR", at));
        }
        r.number()?;
        let text = size(r.number()?, "TRR", at)?;
        let after = r.at + text.next_multiple_of(4);
        r.seek(after)?;
        let mut blocks = [0; BLOCKS];
        for block in &mut blocks {
            *block = size(r.number()?, "TRR", at)?;
        }
        let atoms = size(r.number()?, "TRR", at)?;
        let (boxes, positions) = (blocks[2], blocks[7]);
        if positions == 0 {
            return Err(Broken::Foreign(format!(
                "the frame at byte {at} has no coordinates (velocities or forces only)"
            )));
        }
        let double = boxes == 72 || positions == 24 * atoms;
        // Step, an unused number, time and lambda.
        let header = r.at - at + 8 + if double { 16 } else { 8 };
        Ok(header + blocks.iter().sum::<u64>())
    })
}

/// A file of several models ends with a record that closes the last one.
fn pdb(r: &mut Records) -> std::result::Result<(), Broken> {
    const PIECE: u64 = 1 << 16;
    let mut piece = |from: u64| -> std::io::Result<String> {
        let mut bytes = Vec::new();
        r.file.seek(SeekFrom::Start(from))?;
        r.file.by_ref().take(PIECE).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let (head, tail) = (piece(0)?, piece(r.length.saturating_sub(PIECE))?);
    let last = tail.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("");
    let closed = ["END", "MASTER", "CONECT"]
        .iter()
        .any(|c| last.starts_with(c));
    match closed || !head.lines().any(|l| l.starts_with("MODEL ")) {
        true => Ok(()),
        false => Err(Broken::Foreign(
            "truncated: it ends within its last model; copy it again or remove that model".into(),
        )),
    }
}

fn dcd(r: &mut Records) -> std::result::Result<(), Broken> {
    let foreign = || damaged("DCD", 0);
    // Each record lies between two copies of its length; these tell the byte order and width.
    let mut head = [0; 12];
    r.file.read_exact(&mut head)?;
    let (big_endian, marker) = match (&head[..8], &head[8..]) {
        ([84, 0, 0, 0, b'C', b'O', b'R', b'D'], _) => (false, 4),
        ([0, 0, 0, 84, b'C', b'O', b'R', b'D'], _) => (true, 4),
        ([84, 0, 0, 0, 0, 0, 0, 0], b"CORD") => (false, 8),
        ([0, 0, 0, 0, 0, 0, 0, 84], b"CORD") => (true, 8),
        _ => return Err(foreign()),
    };
    r.big_endian = big_endian;
    r.file.seek(SeekFrom::Start(marker))?;
    r.at = marker;
    let mut head = [0; 21];
    for number in &mut head {
        *number = r.number()?;
    }
    let announced = head[1];
    let fixed = size(head[9], "DCD", 0)?;
    let charmm = head[20] != 0;
    let (boxes, fourth) = (charmm && head[11] != 0, charmm && head[12] == 1);
    let record = |r: &mut Records, at: u64| -> std::result::Result<(u64, i64), Broken> {
        r.seek(at)?;
        let first = r.number()?;
        let length = match (marker, big_endian) {
            (8, true) => r.number()?,
            _ => first,
        };
        let length = size(length, "DCD", at)?;
        r.seek(at + marker)?;
        let content = if length >= 4 { r.number()? } else { 0 };
        Ok((length + 2 * marker, content))
    };
    let (title, _) = record(r, 84 + 2 * marker)?;
    let (numbers, atoms) = record(r, 84 + 2 * marker + title)?;
    let mut start = 84 + 2 * marker + title + numbers;
    let atoms = size(atoms, "DCD", start)?;
    if fixed > 0 {
        start += record(r, start)?.0;
    }
    let frame = |atoms: u64| {
        let one = 2 * marker + 4 * atoms;
        u64::from(boxes) * (48 + 2 * marker) + (3 + u64::from(fourth)) * one
    };
    let (first, further) = (frame(atoms), frame(atoms.saturating_sub(fixed)));
    if start == r.length {
        return Err(Broken::Foreign(
            "no frames: it ends after its header".into(),
        ));
    }
    if start + first > r.length {
        return Err(Broken::Truncated { whole: 0 });
    }
    let rest = r.length - start - first;
    let whole = 1 + rest / further;
    if !rest.is_multiple_of(further) {
        return Err(Broken::Truncated { whole });
    }
    if announced != whole as i64 {
        log::debug!("its header announces {announced} frames, it holds {whole}");
    }
    Ok(())
}
