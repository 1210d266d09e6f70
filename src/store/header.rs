//! The user block: one line that says what a file is and proves that it is whole.

use super::Kind;
use crate::{Error, Result, files};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;
use std::str::FromStr;
use xxhash_rust::xxh3::Xxh3;

/// Length of the user block (HDF5 looks for its own signature at 0, 512, 1024, ...).
pub(super) const BLOCK: usize = 512;
const SIGNATURE: &[u8] = b"\x89HDF\r\n\x1a\n";

/// XXH3-128 of a file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub u128);

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The first line of a file: `holosig KIND version=N bytes=N xxh3-128=HEX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What the file holds.
    pub kind: Kind,
    /// Version of the schema.
    pub version: u32,
    /// Length of the file after the user block.
    pub bytes: u64,
    /// Checksum of these bytes.
    pub digest: Digest,
}

impl Header {
    /// The header that the finished HDF5 file at `path` should carry.
    pub(super) fn of(path: &Path, kind: Kind) -> Result<Self> {
        let (bytes, digest) = digest_after_block(path)?;
        Ok(Self {
            kind,
            version: kind.version(),
            bytes,
            digest,
        })
    }

    pub(super) fn to_block(&self) -> [u8; BLOCK] {
        let line = format!(
            "holosig {} version={} bytes={} xxh3-128={}\n",
            self.kind, self.version, self.bytes, self.digest
        );
        let mut block = [0; BLOCK];
        block[..line.len()].copy_from_slice(line.as_bytes());
        block
    }

    /// Reads the header without looking at the rest of the file.
    ///
    /// # Errors
    /// A missing or unreadable file, one that is not HDF5, one that is HDF5 but not ours.
    pub fn read(path: &Path) -> Result<Self> {
        let mut file = files::open(path)?;
        let mut block = Vec::with_capacity(BLOCK);
        Read::by_ref(&mut file)
            .take(BLOCK as u64)
            .read_to_end(&mut block)
            .map_err(|e| Error::io(path, e))?;
        if block.starts_with(SIGNATURE) {
            return Err(Error::file(
                path,
                "an HDF5 file, but not one that holosig wrote",
            ));
        }
        if !block.starts_with(b"holosig ") {
            return Err(Error::file(path, "not an HDF5 file"));
        }
        if block.len() < BLOCK {
            return Err(truncated(path, block.len() as u64, None));
        }
        Self::parse(&block).ok_or_else(|| damaged(path))
    }

    fn parse(block: &[u8]) -> Option<Self> {
        let end = block.iter().position(|&b| b == b'\n')?;
        let line = std::str::from_utf8(&block[..end]).ok()?;
        let mut words = line.strip_prefix("holosig ")?.split(' ');
        let kind = words.next()?;
        let kind = Kind::ALL.into_iter().find(|k| k.name() == kind)?;
        fn number<T: FromStr>(word: Option<&str>, key: &str) -> Option<T> {
            word?.strip_prefix(key)?.parse().ok()
        }
        let version = number(words.next(), "version=")?;
        let bytes = number(words.next(), "bytes=")?;
        let digest = words.next()?.strip_prefix("xxh3-128=")?;
        let digest = Digest(u128::from_str_radix(digest, 16).ok()?);
        let header = Self {
            kind,
            version,
            bytes,
            digest,
        };
        // One spelling only, so that no flipped byte passes for another way to write the same.
        (version > 0 && header.to_block() == block).then_some(header)
    }

    /// Refuses another kind and a schema version that this program does not know.
    pub(super) fn expect(&self, path: &Path, kind: Kind) -> Result<()> {
        if self.kind != kind {
            return Err(Error::file(
                path,
                format!("{}, where {} is needed", self.kind.phrase(), kind.phrase()),
            ));
        }
        if self.version > kind.version() {
            return Err(Error::file(
                path,
                format!(
                    "written by a newer holosig ({kind} version {}, this program reads up to {}); \
                     update holosig",
                    self.version,
                    kind.version()
                ),
            ));
        }
        Ok(())
    }

    /// Compares the length and the digest with the file's bytes.
    ///
    /// # Errors
    /// A truncated or damaged file.
    pub fn verify(&self, path: &Path) -> Result<()> {
        let (bytes, digest) = digest_after_block(path)?;
        if bytes < self.bytes {
            let block = BLOCK as u64;
            return Err(truncated(path, bytes + block, Some(self.bytes + block)));
        }
        if bytes != self.bytes || digest != self.digest {
            return Err(damaged(path));
        }
        Ok(())
    }
}

fn truncated(path: &Path, has: u64, of: Option<u64>) -> Error {
    let of = of.map(|n| format!(" of {n}")).unwrap_or_default();
    Error::file(
        path,
        format!("truncated: {has}{of} bytes; restore it from a copy or make it again"),
    )
}

fn damaged(path: &Path) -> Error {
    Error::file(
        path,
        "damaged: its content does not match its checksum; \
         restore it from a copy or make it again",
    )
}

fn digest_after_block(path: &Path) -> Result<(u64, Digest)> {
    let io = |e| Error::io(path, e);
    let mut file = files::open(path)?;
    file.seek(SeekFrom::Start(BLOCK as u64)).map_err(io)?;
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err(io(e)),
        };
        hash.update(&buffer[..n]);
        bytes += n as u64;
    }
    Ok((bytes, Digest(hash.digest128())))
}
