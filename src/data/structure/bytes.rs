//! A structure file's text, whatever its name says about format and compression.

use crate::{Error, Result, files};
use flate2::read::MultiGzDecoder;
use std::io::{ErrorKind, Read};
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Pdb,
    Mmcif,
}

pub(super) struct Loaded {
    pub text: Vec<u8>,
    pub format: Format,
    /// XXH3-128 of the bytes on the disk.
    pub digest: u128,
}

const ENDINGS: [&str; 6] = ["pdb", "ent", "cif", "mmcif", "pdb1", "pdbx"];

/// Whether a file of this name is taken from a folder.
pub fn is_structure_name(name: &str) -> bool {
    !name.starts_with('.') && strip_endings(name) != name.strip_suffix(".gz").unwrap_or(name)
}

pub(super) fn strip_endings(name: &str) -> &str {
    let name = name.strip_suffix(".gz").unwrap_or(name);
    match name.rsplit_once('.') {
        Some((stem, end)) if ENDINGS.contains(&end.to_ascii_lowercase().as_str()) => stem,
        _ => name,
    }
}

pub(super) fn load(path: &Path) -> Result<Loaded> {
    let raw = files::read(path)?;
    let digest = xxhash_rust::xxh3::xxh3_128(&raw);
    let text = match raw.starts_with(&[0x1f, 0x8b]) {
        true => gunzip(path, &raw)?,
        false => raw,
    };
    let text = files::plain(text);
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(Error::file(path, "empty file"));
    }
    let Some(format) = detect(&text) else {
        let what = match text[..text.len().min(4096)].contains(&0) {
            true => "binary data",
            false => "no ATOM record and no data_ block",
        };
        return Err(Error::file(
            path,
            format!("{what}: neither a PDB nor an mmCIF file"),
        ));
    };
    Ok(Loaded {
        text,
        format,
        digest,
    })
}

/// How many times larger than its packed form a text may be, beyond [`ALWAYS_FITS`]; tables of atoms
/// shrink to a fourth or tenth.
const LARGEST_RATIO: u64 = 64;

/// Unpacked bytes that need no such comparison.
const ALWAYS_FITS: u64 = 16 << 20;

/// Bytes that so many packed ones may become.
pub fn most_unpacked(packed: u64) -> u64 {
    ALWAYS_FITS.saturating_add(LARGEST_RATIO.saturating_mul(packed))
}

/// Unpacks gzip, of one member or several.
///
/// # Errors
/// A truncated or damaged file, which `path` names; one that unpacks to far more than text does.
pub fn gunzip(path: &Path, raw: &[u8]) -> Result<Vec<u8>> {
    let mut text = Vec::with_capacity(4 * raw.len());
    let most = most_unpacked(raw.len() as u64);
    match MultiGzDecoder::new(raw)
        .take(most + 1)
        .read_to_end(&mut text)
    {
        Ok(_) if text.len() as u64 > most => Err(Error::file(
            path,
            format!(
                "gzip data that unpack to more than {LARGEST_RATIO} times their size: no file of \
                 this kind; unpack it by hand if it is one"
            ),
        )),
        Ok(_) => Ok(text),
        Err(e) => {
            let what = match e.kind() {
                ErrorKind::UnexpectedEof => "truncated gzip file; fetch it again".to_string(),
                _ => format!("damaged gzip file ({e}); fetch it again"),
            };
            Err(Error::file(path, what))
        }
    }
}

/// mmCIF opens with a `data_` block; a PDB file has atom records.
fn detect(text: &[u8]) -> Option<Format> {
    let mut lines = text.split(|&b| b == b'\n').map(<[u8]>::trim_ascii);
    let first = lines.find(|l| !l.is_empty() && !l.starts_with(b"#"))?;
    let head = &first[..first.len().min(5)];
    if head.eq_ignore_ascii_case(b"data_") {
        return Some(Format::Mmcif);
    }
    let is_atom = |l: &[u8]| l.starts_with(b"ATOM  ") || l.starts_with(b"HETATM");
    text.split(|&b| b == b'\n')
        .any(is_atom)
        .then_some(Format::Pdb)
}
