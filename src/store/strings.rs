//! Strings in datasets and attributes, as h5py writes and reads them.
//!
//! Arrays of short strings are stored with a fixed width (they compress), longer ones with
//! variable length. Reading accepts both, ASCII or UTF-8.

use hdf5::types::{FixedAscii, FixedUnicode, TypeDescriptor, VarLenAscii, VarLenUnicode};
use hdf5::{Container, H5Type};
use std::str::FromStr;

/// Widest fixed-width string.
const WIDEST: usize = 1024;

fn decode<T: H5Type>(from: &Container, text: fn(&T) -> &str) -> Result<Vec<String>, String> {
    let raw = from.read_raw::<T>().map_err(|e| e.to_string())?;
    Ok(raw.iter().map(|s| text(s).to_string()).collect())
}

/// All strings of a dataset or an attribute.
pub(super) fn read(from: &Container) -> Result<Vec<String>, String> {
    let kind = from
        .dtype()
        .and_then(|t| t.to_descriptor())
        .map_err(|e| e.to_string())?;
    match kind {
        TypeDescriptor::VarLenUnicode => decode::<VarLenUnicode>(from, VarLenUnicode::as_str),
        TypeDescriptor::VarLenAscii => decode::<VarLenAscii>(from, VarLenAscii::as_str),
        TypeDescriptor::FixedUnicode(n) if n <= 16 => {
            decode::<FixedUnicode<16>>(from, FixedUnicode::as_str)
        }
        TypeDescriptor::FixedUnicode(n) if n <= WIDEST => {
            decode::<FixedUnicode<WIDEST>>(from, FixedUnicode::as_str)
        }
        TypeDescriptor::FixedAscii(n) if n <= 16 => {
            decode::<FixedAscii<16>>(from, FixedAscii::as_str)
        }
        TypeDescriptor::FixedAscii(n) if n <= WIDEST => {
            decode::<FixedAscii<WIDEST>>(from, FixedAscii::as_str)
        }
        other => Err(format!(
            "holds {}, where strings are needed",
            super::element::describe(&other)
        )),
    }
}

/// A string as the HDF5 library takes it; the error says why it cannot.
pub(super) fn encode<T: FromStr>(text: &str) -> Result<T, String> {
    T::from_str(text).map_err(|_| format!("the text {text:?} holds a zero byte"))
}
