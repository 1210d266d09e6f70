//! Which structures are for training, validation and test.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// A part of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    Train,
    Validation,
    Test,
}

impl Split {
    pub const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Test];
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        })
    }
}

impl FromStr for Split {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let found = match text {
            "val" | "valid" => Some(Split::Validation),
            _ => Split::ALL.into_iter().find(|s| s.to_string() == text),
        };
        found.ok_or_else(|| Error::input(format!("split {text:?}: use train, validation or test")))
    }
}
