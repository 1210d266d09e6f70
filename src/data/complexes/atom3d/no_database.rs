//! Stands in for the reader of databases in a program built without the feature `lmdb`.

use crate::data::structure::{ReadOptions, Structure};
use crate::data::system::System;
use crate::{Error, Result};
use std::path::Path;

fn missing(path: &Path) -> Error {
    let what = format!("{}: a database of ATOM3D", path.display());
    Error::feature(what, "lmdb")
}

/// # Errors
/// Always.
pub(super) fn ids(path: &Path) -> Result<Vec<(String, u64)>> {
    Err(missing(path))
}

/// No databases.
#[derive(Default)]
pub struct Databases;

impl Databases {
    /// # Errors
    /// Always.
    pub fn read(
        &self,
        path: &Path,
        _number: u64,
        _options: &ReadOptions,
    ) -> Result<(Structure, System, Option<f64>)> {
        Err(missing(path))
    }
}
