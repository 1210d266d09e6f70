//! npz files of molecular dynamics: those of rMD17 and MD17.
//!
//! A file holds frames of one molecule: atomic numbers (`nuclear_charges` or `z`), positions in Å
//! (`coords` or `R`), energies (`energies` or `E`) and forces (`forces` or `F`) in kcal/mol.

use super::super::Value;
use super::{Labels, Options, Source};
use crate::data::structure::most_unpacked;
use crate::data::system::System;
use crate::data::systems::Sample;
use crate::{Error, Result};
use flate2::Crc;
use flate2::read::DeflateDecoder;
use std::borrow::Cow;
use std::io::{Cursor, Read};
use zip::{CompressionMethod, ZipArchive};

pub(super) fn read(source: &Source, options: &Options) -> Result<Vec<Sample>> {
    let mut file = Npz::new(source.bytes()?)?;
    let numbers = file.any(&["nuclear_charges", "z"])?;
    let coordinates = file.any(&["coords", "R"])?;
    // Frames without labels can still be predicted.
    let (energies, forces) = match options.labels {
        Labels::Main => (
            file.first(&["energies", "E"])?,
            file.first(&["forces", "F"])?,
        ),
        Labels::Md17 => (
            Some(file.any(&["old_energies"])?),
            Some(file.any(&["old_forces"])?),
        ),
    };
    let atoms = numbers.values.len();
    let frames = coordinates.shape.first().copied().unwrap_or(0);
    let atomic: Vec<u8> = numbers
        .values
        .iter()
        .map(|&z| match z.fract() == 0.0 && (1.0..=255.0).contains(&z) {
            true => Ok(z as u8),
            false => Err(Error::input(format!(
                "{}: {z} is not an element",
                numbers.name
            ))),
        })
        .collect::<Result<_>>()?;
    if atoms == 0 {
        return Err(Error::input(format!("{}: no atoms", numbers.name)));
    }
    coordinates.expect(&[frames, atoms, 3])?;
    if let Some(forces) = &forces {
        forces.expect(&[frames, atoms, 3])?;
    }
    if let Some(energies) = &energies
        && energies.values.len() != frames
    {
        let found = energies.values.len();
        return Err(Error::input(format!(
            "{}: {found} for {frames} frames",
            energies.name
        )));
    }
    let unit = options.unit("energy", "kcal/mol")?;
    let frame = |i: usize| {
        let own = |array: &Array| array.values.as_chunks().0[i * atoms..(i + 1) * atoms].to_vec();
        Sample {
            system: System {
                numbers: atomic.clone(),
                positions: own(&coordinates),
                ..System::default()
            },
            values: energies
                .iter()
                .map(|e| Value::new("energy", &unit, e.values[i]))
                .collect(),
            forces: forces.as_ref().map(own),
            ..source.sample(Some(i))
        }
    };
    Ok((0..frames).map(frame).collect())
}

/// An open npz file.
struct Npz(ZipArchive<Cursor<Vec<u8>>>);

/// An array of it, as f64.
struct Array {
    name: String,
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl Npz {
    fn new(bytes: Vec<u8>) -> Result<Self> {
        let archive = ZipArchive::new(Cursor::new(bytes));
        let bad = |e| Error::input(format!("not an npz file, or a truncated one ({e})"));
        archive.map(Self).map_err(bad)
    }

    /// The array of the first of these names that there is.
    fn any(&mut self, names: &[&str]) -> Result<Array> {
        if let Some(array) = self.first(names)? {
            return Ok(array);
        }
        let all: Vec<String> = self.0.file_names().flatten().map(Cow::into_owned).collect();
        let (names, all) = (names.join(" or "), all.join(", ").replace(".npy", ""));
        Err(Error::input(format!("no array {names}; it has {all}")))
    }

    /// [`Npz::any`], and `None` where there is no such array.
    fn first(&mut self, names: &[&str]) -> Result<Option<Array>> {
        let all: Vec<String> = self.0.file_names().flatten().map(Cow::into_owned).collect();
        let has = |name: &&&str| all.contains(&format!("{name}.npy"));
        let Some(name) = names.iter().find(has) else {
            return Ok(None);
        };
        let bytes = self.unpacked(&format!("{name}.npy"));
        let bytes =
            bytes.map_err(|e| Error::input(format!("{name}: damaged ({e}); fetch it again")))?;
        let (shape, values) =
            array(&bytes).map_err(|what| Error::input(format!("{name}: {what}")))?;
        let name = name.to_string();
        Ok(Some(Array {
            name,
            shape,
            values,
        }))
    }
}

impl Npz {
    /// An entry as it was before packing. Inflating is left to the library that the rest of the
    /// program uses for it.
    fn unpacked(&mut self, name: &str) -> std::io::Result<Vec<u8>> {
        let place = self.0.index_for_name(name);
        let place = place.ok_or(std::io::ErrorKind::NotFound)?;
        let entry = self.0.by_index_raw(place).map_err(std::io::Error::other)?;
        let (size, method, checksum) = (entry.size(), entry.compression(), entry.crc32());
        if size > most_unpacked(entry.compressed_size()) {
            let what = format!("{size} bytes in {}", entry.compressed_size());
            return Err(std::io::Error::other(what));
        }
        let mut bytes = Vec::new();
        // One byte more shows an entry that is longer than it says.
        match method {
            CompressionMethod::Stored => entry.take(size + 1).read_to_end(&mut bytes)?,
            CompressionMethod::DEFLATE => DeflateDecoder::new(entry)
                .take(size + 1)
                .read_to_end(&mut bytes)?,
            other => return Err(std::io::Error::other(format!("packed by {other}"))),
        };
        let mut crc = Crc::new();
        crc.update(&bytes);
        match bytes.len() as u64 == size && crc.sum() == checksum {
            true => Ok(bytes),
            false => Err(std::io::Error::other("its checksum differs")),
        }
    }
}

impl Array {
    fn expect(&self, shape: &[usize]) -> Result<()> {
        match self.shape == shape {
            true => Ok(()),
            false => Err(Error::input(format!(
                "{}: shape {:?}, where {shape:?} is needed (frames, atoms, 3)",
                self.name, self.shape
            ))),
        }
    }
}

/// Shape and values of an npy file (NEP 1 of NumPy), row-major.
fn array(bytes: &[u8]) -> std::result::Result<(Vec<usize>, Vec<f64>), String> {
    const MAGIC: &[u8] = b"\x93NUMPY";
    let cut = || "a truncated npy array".to_string();
    if !bytes.starts_with(MAGIC) {
        return Err("not an npy array".into());
    }
    let word = |range| bytes.get(range).ok_or_else(cut);
    let (start, length) = match bytes.get(6) {
        Some(1) => (
            10,
            u32::from(u16::from_le_bytes(
                word(8..10)?.try_into().map_err(|_| cut())?,
            )),
        ),
        Some(2 | 3) => (
            12,
            u32::from_le_bytes(word(8..12)?.try_into().map_err(|_| cut())?),
        ),
        _ => return Err("an npy array of a version that is not known".into()),
    };
    let end = start + length as usize;
    let header = String::from_utf8_lossy(word(start..end)?);
    if field(&header, "fortran_order")?.starts_with("True") {
        return Err("in Fortran order; save it with numpy.ascontiguousarray".into());
    }
    let kind = field(&header, "descr")?;
    let kind = kind
        .trim_start_matches('\'')
        .split('\'')
        .next()
        .unwrap_or_default();
    let shape = field(&header, "shape")?.trim_start_matches('(');
    let shape = shape.split(')').next().unwrap_or_default();
    let axes = shape.split(',').map(str::trim).filter(|t| !t.is_empty());
    let shape: Vec<usize> = axes
        .map(|t| {
            t.parse()
                .map_err(|_| format!("shape ({shape}) is not one of numbers"))
        })
        .collect::<std::result::Result<_, _>>()?;
    let count = shape
        .iter()
        .try_fold(1usize, |n, &axis| n.checked_mul(axis))
        .ok_or_else(cut)?;
    let values = decode(kind, &bytes[end..])?;
    match values.len() == count {
        true => Ok((shape, values)),
        false => Err(format!(
            "{} values for shape {shape:?}: truncated",
            values.len()
        )),
    }
}

/// What stands behind a key of the header.
fn field<'h>(header: &'h str, key: &str) -> std::result::Result<&'h str, String> {
    let found = header
        .split_once(&format!("'{key}':"))
        .map(|(_, rest)| rest.trim_start());
    found.ok_or_else(|| format!("an npy header without {key}"))
}

/// Numbers of a NumPy type, little endian.
fn decode(kind: &str, bytes: &[u8]) -> std::result::Result<Vec<f64>, String> {
    macro_rules! of {
        ($T:ty) => {
            bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| <$T>::from_le_bytes(*b) as f64)
                .collect()
        };
    }
    Ok(match kind {
        "<f8" => of!(f64),
        "<f4" => of!(f32),
        "<i8" => of!(i64),
        "<i4" => of!(i32),
        "<i2" => of!(i16),
        "|i1" => of!(i8),
        "<u8" => of!(u64),
        "<u4" => of!(u32),
        "<u2" => of!(u16),
        "|u1" => of!(u8),
        other => return Err(format!("holds {other:?}, where numbers are needed")),
    })
}
