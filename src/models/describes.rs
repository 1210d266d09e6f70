//! What is known of a model beside its parameters.

use super::Model;
use crate::{Error, Result};
use candle_core::{DType, Device};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How to build a model, and what its inputs and outputs mean. A checkpoint carries it as TOML.
pub trait Describes: Serialize + DeserializeOwned {
    type Model: Model;

    /// The model, its parameters drawn from `seed`.
    ///
    /// # Errors
    /// A setting that cannot be built, by name.
    fn build(&self, seed: u64, dtype: DType, device: &Device) -> Result<Self::Model>;

    /// # Errors
    /// Text of another model or program, or of a newer one.
    fn from_toml(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|e| Error::input(e.message()))
    }

    /// # Errors
    /// A value that TOML cannot hold.
    fn to_toml(&self) -> Result<String> {
        toml::to_string_pretty(self).map_err(Error::internal)
    }
}
