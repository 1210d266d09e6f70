//! One trajectory on its way into the file: frames in a scratch file beside the output, written
//! by the rank that read them and copied by rank 0.

use super::Header;
use crate::{Error, Result};
use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Where part number `index` of the file `out` lies; `token` tells concurrent jobs apart.
pub(super) fn place(out: &Path, token: u32, index: usize) -> PathBuf {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    out.with_file_name(format!(".{name}.{token}.{index:06}.part"))
}

/// A finished scratch file; removed when dropped.
pub(super) struct Part {
    path: PathBuf,
}

impl Drop for Part {
    fn drop(&mut self) {
        // Best effort: nothing depends on it.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Takes frames in order.
pub(super) struct Writer {
    part: Part,
    file: BufWriter<File>,
    values: u64,
}

impl Writer {
    pub fn create(path: PathBuf) -> Result<Self> {
        let file = File::create(&path).map_err(|e| Error::io(&path, e))?;
        Ok(Self {
            part: Part { path },
            file: BufWriter::with_capacity(1 << 18, file),
            values: 0,
        })
    }

    pub fn push(&mut self, frame: &[f32]) -> Result<()> {
        self.values += frame.len() as u64;
        frame
            .iter()
            .try_for_each(|v| self.file.write_all(&v.to_le_bytes()))
            .map_err(|e| Error::io(&self.part.path, e))
    }

    /// Closes the file with the header and the number of values at its end.
    pub fn finish(mut self, header: &Header) -> Result<Part> {
        let io = |e| Error::io(&self.part.path, e);
        let text = serde_json::to_vec(header).map_err(Error::internal)?;
        self.file
            .write_all(&text)
            .and_then(|_| self.file.write_all(&self.values.to_le_bytes()))
            .and_then(|_| self.file.flush())
            .map_err(io)?;
        Ok(self.part)
    }
}

/// Reads a finished part.
pub(super) struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    pub header: Header,
    /// Values in all frames together.
    pub values: u64,
}

impl Reader {
    pub fn open(path: PathBuf) -> Result<Self> {
        let file = File::open(&path).map_err(|e| match e.kind() {
            ErrorKind::NotFound => Error::file(
                &path,
                "written by another rank but not seen here; the output's folder must be on a \
                 file system that all hosts share",
            ),
            _ => Error::io(&path, e),
        })?;
        let mut file = BufReader::with_capacity(1 << 18, file);
        let (header, values) = Self::trailer(&mut file).map_err(|e| Error::io(&path, e))?;
        Ok(Self {
            path,
            file,
            header,
            values,
        })
    }

    fn trailer(file: &mut BufReader<File>) -> std::io::Result<(Header, u64)> {
        let end = file.seek(SeekFrom::End(-8))?;
        let mut number = [0; 8];
        file.read_exact(&mut number)?;
        let values = u64::from_le_bytes(number);
        file.seek(SeekFrom::Start(4 * values))?;
        let mut text = Vec::new();
        file.by_ref()
            .take(end.saturating_sub(4 * values))
            .read_to_end(&mut text)?;
        file.seek(SeekFrom::Start(0))?;
        Ok((serde_json::from_slice(&text)?, values))
    }

    /// The next values, as many as `into` holds.
    pub fn read(&mut self, into: &mut [f32]) -> Result<()> {
        let mut bytes = [0; 4];
        for value in into {
            self.file
                .read_exact(&mut bytes)
                .map_err(|e| Error::io(&self.path, e))?;
            *value = f32::from_le_bytes(bytes);
        }
        Ok(())
    }
}
