//! Pieces of a binary file, never longer than the file.

use crate::{Error, Result, files};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// An open file of known length.
pub(super) struct Bytes {
    path: PathBuf,
    file: File,
    length: u64,
    big_endian: bool,
}

impl Bytes {
    /// # Errors
    /// A missing or empty file.
    pub fn open(path: &Path) -> Result<Self> {
        let io = |e| Error::io(path, e);
        let file = files::open(path)?;
        let length = file.metadata().map_err(io)?.len();
        if length == 0 {
            return Err(Error::file(path, "an empty file"));
        }
        Ok(Self {
            path: path.to_path_buf(),
            file,
            length,
            big_endian: true,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    /// Numbers in the file are read with their lowest byte first.
    pub fn set_little_endian(&mut self) {
        self.big_endian = false;
    }

    /// The file is not of the format `what`, or broken at byte `at`.
    pub fn damaged(&self, what: &str, at: u64) -> Error {
        Error::file(
            &self.path,
            format!("not a {what} file, or damaged at byte {at}"),
        )
    }

    /// What frame `number` holds from byte `at` on cannot be.
    pub fn damaged_frame(&self, number: usize, at: u64) -> Error {
        Error::file(
            &self.path,
            format!("frame {number} is damaged (it begins at byte {at}); copy the file again"),
        )
    }

    /// `count` bytes from `at` on, in `buffer`; `None` where the file ends before.
    pub fn read<'a>(
        &self,
        at: u64,
        count: u64,
        buffer: &'a mut Vec<u8>,
    ) -> Result<Option<Fields<'a>>> {
        if at.checked_add(count).is_none_or(|end| end > self.length) {
            return Ok(None);
        }
        buffer.resize(count as usize, 0);
        self.file
            .read_exact_at(buffer, at)
            .map_err(|e| Error::io(&self.path, e))?;
        Ok(Some(Fields {
            bytes: buffer,
            big_endian: self.big_endian,
        }))
    }
}

/// Numbers one after the other; reading behind the last one gives `None`.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl<'a> Fields<'a> {
    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    /// The next `count` bytes, as numbers.
    pub fn part(&mut self, count: usize) -> Option<Self> {
        let bytes = self.take(count)?;
        Some(Self { bytes, ..*self })
    }

    fn next<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes: [u8; N] = self.take(N)?.try_into().ok()?;
        if !self.big_endian {
            bytes.reverse();
        }
        Some(bytes)
    }

    pub fn i32(&mut self) -> Option<i32> {
        self.next().map(i32::from_be_bytes)
    }

    pub fn i64(&mut self) -> Option<i64> {
        self.next().map(i64::from_be_bytes)
    }

    pub fn f32(&mut self) -> Option<f32> {
        self.next().map(f32::from_be_bytes)
    }

    pub fn f64(&mut self) -> Option<f64> {
        self.next().map(f64::from_be_bytes)
    }

    /// A count or a size: a number that is not negative.
    pub fn size(&mut self) -> Option<u64> {
        self.i32().and_then(|n| u64::try_from(n).ok())
    }

    /// The next `N` numbers as `number` reads them.
    pub fn array<T: Copy + Default, const N: usize>(
        &mut self,
        number: impl Fn(&mut Self) -> Option<T>,
    ) -> Option<[T; N]> {
        let mut all = [T::default(); N];
        for one in &mut all {
            *one = number(self)?;
        }
        Some(all)
    }

    /// The next `count` values of f32.
    pub fn floats(&mut self, count: usize) -> Option<impl Iterator<Item = f32> + use<'a>> {
        let big_endian = self.big_endian;
        let bytes = self.take(count.checked_mul(4)?)?;
        Some(
            bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(move |b| match big_endian {
                    true => f32::from_be_bytes(*b),
                    false => f32::from_le_bytes(*b),
                }),
        )
    }
}
