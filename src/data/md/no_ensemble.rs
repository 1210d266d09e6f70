//! Stands in for the reader of trajectories in a program built without the feature `chemfiles`.

use super::Settings;
use super::manifest::Row;
use crate::data::trajectory::{Header, Item, Source};
use crate::{Error, Result};

/// No trajectories can be read.
pub enum Ensemble {}

impl Ensemble {
    /// # Errors
    /// Always.
    pub fn new(_rows: Vec<Row>, _settings: Settings) -> Result<Self> {
        Err(Error::feature(
            "trajectories of molecular dynamics",
            "chemfiles",
        ))
    }
}

impl Source for Ensemble {
    fn items(&self) -> &[Item] {
        match *self {}
    }

    fn cost(&self, _index: usize) -> u64 {
        match *self {}
    }

    fn produce(&self, _: usize, _: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<Header> {
        match *self {}
    }
}
